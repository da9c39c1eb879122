//! An upload session: an address, which every answer may change, and how far the registry got.

use crate::{Error, Result, transport::Response, url::Url};
use ureq::http::header;

/// What registries may ask parts to be (distribution-spec).
const LEAST_PART: &str = "oci-chunk-min-length";

/// Where the next bytes go.
pub(super) struct Session {
    pub url: Url,
    /// Bytes the registry has.
    pub offset: u64,
    /// It takes no smaller parts than this, but for the last.
    pub least_part: u64,
}

impl Session {
    /// One that was just opened.
    pub fn opened(response: &Response, what: &str) -> Result<Self> {
        let least = response.header(LEAST_PART).and_then(|text| text.trim().parse().ok());
        Ok(Self { url: location(response, what)?, offset: 0, least_part: least.unwrap_or(0) })
    }
}

/// Where an answer says to go on.
pub(super) fn location(response: &Response, what: &str) -> Result<Url> {
    let refuse = |reason: String| Error::Malformed { what: what.to_owned(), reason };
    let location = response.header(header::LOCATION);
    let location = location.ok_or_else(|| refuse("the registry does not say where to send it".to_owned()))?;
    let url = response.url.join(location);
    url.map_err(|error| refuse(format!("the registry sends it to nowhere: {error}")))
}

/// How many bytes an answer says are there.
pub(super) fn reached(response: &Response) -> Option<u64> {
    response.header(header::RANGE).and_then(has_bytes)
}

/// The count of bytes that `Range: 0-LAST` stands for. `0-0` is what registries say of none, too, as there is no other
/// way to say it; taking one byte for none costs one byte.
fn has_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let range = text.strip_prefix("bytes=").or_else(|| text.strip_prefix("bytes ")).unwrap_or(text);
    let (first, last) = range.split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    (first.trim() == "0").then_some(if last == 0 { 0 } else { last.checked_add(1)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, bytes) in [
            ("0-9", Some(10)),
            ("bytes=0-9", Some(10)),
            ("0-0", Some(0)),
            ("5-9", None),
            ("0-", None),
            ("", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(has_bytes(text), bytes, "{text}");
        }
    }
}
