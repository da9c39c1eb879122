//! `epoch`: RFC 3339, as a string or a TOML date-time, or seconds since 1970.

use super::read::{Sink, bad, wrong_type};
use crate::spec::{
    Spanned,
    value::{Node, Value},
};

/// 9999-12-31, the last day that RFC 3339 can write.
pub const MAX_EPOCH: i64 = 253_402_300_799;

/// Reads it, in seconds.
pub fn epoch(node: &Node, sink: &mut Sink) -> Option<Spanned<i64>> {
    let seconds = match &node.value {
        Value::Integer(seconds) => Some(*seconds),
        Value::String(text) | Value::DateTime(text) => date(text),
        _ => {
            wrong_type(node, "a date such as \"2026-01-31T00:00:00Z\", or an integer (seconds),", sink);
            return None;
        }
    };
    match seconds.filter(|seconds| (0..=MAX_EPOCH).contains(seconds)) {
        Some(seconds) => Some(Spanned::new(seconds, node.span)),
        None => {
            let message = "an epoch is a date with time and offset, such as \"2026-01-31T00:00:00Z\", or seconds \
                           since 1970";
            bad(message, node.span, sink);
            None
        }
    }
}

/// A date with time and offset. Without an offset it would mean another moment on another machine.
fn date(text: &str) -> Option<i64> {
    text.trim().parse::<jiff::Timestamp>().ok().map(|time| time.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Files, Span};

    #[test]
    fn dates_and_seconds() {
        let file = Files::default().add(std::path::Path::new("f"), String::new());
        let read = |value| {
            epoch(&Node::new(value, Span::new(file, 0, 0)), &mut Sink::new()).map(|epoch| epoch.value)
        };
        for text in ["2026-01-31T00:00:00Z", "2026-01-31T01:00:00+01:00", "2026-01-31 00:00:00Z"] {
            assert_eq!(read(Value::String(text.into())), Some(1_769_817_600), "{text}");
            assert_eq!(read(Value::DateTime(text.into())), Some(1_769_817_600), "{text}");
        }
        assert_eq!(read(Value::Integer(0)), Some(0));
        for text in ["2026-01-31", "2026-01-31T00:00:00", "1969-12-31T00:00:00Z", "now", "", "1700000000"] {
            assert_eq!(read(Value::String(text.into())), None, "{text}");
        }
        assert_eq!(read(Value::Integer(-1)), None);
        assert_eq!(read(Value::Boolean(true)), None);
    }
}
