//! PAX extended header records: `LENGTH KEY=VALUE\n`, the length counting itself.
//!
//! Values are bytes and may hold newlines (a file capability does), so records are cut by length and never by line.

use rbuild_tree::Timestamp;

/// Prefix of the records that hold extended attributes.
pub(crate) const XATTR: &[u8] = b"SCHILY.xattr.";

/// A key and its value.
pub(crate) type Record<'a> = (&'a [u8], &'a [u8]);

/// Cuts a header into its records.
///
/// # Errors
/// A sentence if any of it is malformed.
pub(crate) fn records(mut data: &[u8]) -> Result<Vec<Record<'_>>, &'static str> {
    const MALFORMED: &str = "malformed PAX header";
    let mut found = Vec::new();
    // Some writers fill the rest of the block with zeros and count them.
    while data.first().is_some_and(|byte| *byte != 0) {
        let space = data.iter().take(20).position(|byte| *byte == b' ').ok_or(MALFORMED)?;
        let length: usize = std::str::from_utf8(&data[..space])
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or(MALFORMED)?;
        let (record, rest) = data.split_at_checked(length).ok_or(MALFORMED)?;
        let body = record.get(space + 1..).and_then(|body| body.strip_suffix(b"\n")).ok_or(MALFORMED)?;
        let equals = body.iter().position(|byte| *byte == b'=').ok_or(MALFORMED)?;
        found.push((&body[..equals], &body[equals + 1..]));
        data = rest;
    }
    Ok(found)
}

/// Appends one record.
pub(crate) fn push_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3; // space, equals sign, newline
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A decimal number that is nothing else.
pub(crate) fn parse_number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// `SECONDS[.FRACTION]`, perhaps negative; digits beyond nanoseconds are cut off.
pub(crate) fn parse_time(value: &[u8]) -> Option<Timestamp> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let (whole, fraction) = match digits.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&digits[..dot], &digits[dot + 1..]),
        None => (digits, &[][..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = i64::try_from(parse_number(whole)?).ok()?;
    let nanoseconds =
        (0..9).fold(0, |sum, at| sum * 10 + fraction.get(at).map_or(0, |digit| u32::from(digit - b'0')));
    Some(match (negative, nanoseconds) {
        (false, nanoseconds) => Timestamp { seconds, nanoseconds },
        (true, 0) => Timestamp { seconds: -seconds, nanoseconds: 0 },
        (true, nanoseconds) => Timestamp { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

/// The shortest text that [`parse_time`] reads back.
pub(crate) fn format_time(time: Timestamp) -> String {
    let (sign, whole, fraction) = if time.seconds < 0 && time.nanoseconds > 0 {
        ("-", (time.seconds + 1).unsigned_abs(), 1_000_000_000 - time.nanoseconds)
    } else {
        (if time.seconds < 0 { "-" } else { "" }, time.seconds.unsigned_abs(), time.nanoseconds)
    };
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let digits = format!("{fraction:09}");
    format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_keep_newlines_and_equals_signs() {
        let mut header = Vec::new();
        push_record(&mut header, b"path", b"a\nb=c");
        push_record(&mut header, b"SCHILY.xattr.user.x", &[0, 10, 255]);
        assert_eq!(
            records(&header).unwrap(),
            [(&b"path"[..], &b"a\nb=c"[..]), (b"SCHILY.xattr.user.x", &[0, 10, 255])]
        );
        header.extend_from_slice(&[0; 100]);
        assert_eq!(records(&header).unwrap().len(), 2);
    }

    #[test]
    fn lengths_count_themselves() {
        for (value, expected) in [(0, "5 k=\n".to_owned()), (4, "9 k=vvvv\n".to_owned())] {
            let mut header = Vec::new();
            push_record(&mut header, b"k", "v".repeat(value).as_bytes());
            assert_eq!(header, expected.as_bytes());
        }
        for value in [5, 90, 91, 92, 93, 94, 95, 990, 991, 992, 993, 994, 995, 996] {
            let mut header = Vec::new();
            push_record(&mut header, b"k", "v".repeat(value).as_bytes());
            assert_eq!(records(&header).unwrap()[0].1.len(), value);
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        for bad in [
            "nonsense",
            "5 k=",
            "99 k=v\n",
            "0 k=v\n",
            "6 kv\n\n",
            "2 \n",
            "-5 k=v\n",
            "18446744073709551616 k=v\n",
        ] {
            assert!(records(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times() {
        for (text, seconds, nanoseconds) in [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("-1.5", -2, 500_000_000),
            ("-0.000000001", -1, 999_999_999),
            ("-7", -7, 0),
            ("1700000000.123456789", 1_700_000_000, 123_456_789),
        ] {
            let time = Timestamp { seconds, nanoseconds };
            assert_eq!(parse_time(text.as_bytes()), Some(time), "{text}");
            assert_eq!(format_time(time), text);
        }
        assert_eq!(parse_time(b"3.1234567899"), Some(Timestamp { seconds: 3, nanoseconds: 123_456_789 }));
        assert_eq!(parse_time(b"3."), Some(Timestamp::from_seconds(3)));
        for bad in ["", "-", ".5", "1.x", "+1", "1e3", "99999999999999999999"] {
            assert_eq!(parse_time(bad.as_bytes()), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_time_reads_back(seconds in -1_i64 << 40..1 << 40, nanoseconds in 0_u32..1_000_000_000) {
            let time = Timestamp { seconds, nanoseconds };
            prop_assert_eq!(parse_time(format_time(time).as_bytes()), Some(time));
        }

        #[test]
        fn no_header_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = records(&bytes);
            let _ = parse_time(&bytes);
        }
    }
}
