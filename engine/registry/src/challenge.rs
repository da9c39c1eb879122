//! `WWW-Authenticate`, as RFC 9110 (section 11.6.1) writes it.
//!
//! One header holds one or more challenges, each with parameters, everything separated by commas; several headers are
//! as good as one. Registries use `Bearer` (docker's token authentication) and `Basic`. The parser never fails: what
//! comes after something malformed is left out, and a challenge without what it needs is no use to anybody later.

const LONGEST: usize = 16 << 10;

/// One way in that a server offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub scheme: String,
    /// Names in lower case, values unquoted, in order.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The first parameter of this (lower case) name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All challenges of a header's value.
    ///
    /// ```
    /// use rbuild_registry::Challenge;
    /// let all = Challenge::parse(r#"Basic realm="a, b", Bearer realm="https://auth.example/token",service=r"#);
    /// assert_eq!(all.len(), 2);
    /// assert_eq!(all[0].parameter("realm"), Some("a, b"));
    /// assert_eq!((all[1].scheme.as_str(), all[1].parameter("service")), ("bearer", Some("r")));
    /// ```
    pub fn parse(header: &str) -> Vec<Self> {
        let end = (0..=LONGEST.min(header.len())).rev().find(|at| header.is_char_boundary(*at));
        let mut parser = Parser { rest: &header[..end.unwrap_or(0)] };
        let mut challenges = Vec::new();
        loop {
            parser.skip(b" \t,");
            let Some(scheme) = parser.token() else { return challenges };
            let scheme = scheme.to_ascii_lowercase();
            let (parameters, is_whole) = parser.parameters();
            challenges.push(Self { scheme, parameters });
            if !is_whole {
                return challenges;
            }
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip(&mut self, bytes: &[u8]) {
        let count = self.rest.bytes().take_while(|byte| bytes.contains(byte)).count();
        self.rest = &self.rest[count..];
    }

    fn skip_blanks(&mut self) {
        self.skip(b" \t");
    }

    fn eat(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> Option<&'a str> {
        let count = self.rest.bytes().take_while(|byte| is_token(*byte)).count();
        let (token, rest) = self.rest.split_at(count);
        self.rest = rest;
        (count > 0).then_some(token)
    }

    /// Parameters up to the next challenge or the end, and whether all could be read.
    fn parameters(&mut self) -> (Vec<(String, String)>, bool) {
        let mut parameters = Vec::new();
        self.skip_blanks();
        if self.token68() {
            return (parameters, true);
        }
        loop {
            self.skip(b" \t,");
            let start = self.rest;
            let Some(name) = self.token() else { return (parameters, self.rest.is_empty()) };
            self.skip_blanks();
            if !self.eat('=') {
                self.rest = start; // a scheme: the next challenge
                return (parameters, true);
            }
            self.skip_blanks();
            let Some(value) = self.value() else { return (parameters, false) };
            parameters.push((name.to_ascii_lowercase(), value));
            self.skip_blanks();
            if !self.rest.is_empty() && !self.rest.starts_with(',') {
                return (parameters, false);
            }
        }
    }

    /// Credentials in one word instead of parameters (`Negotiate YII=`): nothing registries use.
    fn token68(&mut self) -> bool {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
        let word = self.rest.bytes().take_while(is_word).count();
        let padding = self.rest[word..].bytes().take_while(|byte| *byte == b'=').count();
        let after = self.rest[word + padding..].trim_start_matches([' ', '\t']);
        let is_alone = after.is_empty() || after.starts_with(',');
        // Without padding, a word before a comma is the scheme of a challenge that has no parameters.
        let found = word > 0 && padding > 0 && is_alone;
        if found {
            self.rest = after;
        }
        found
    }

    fn value(&mut self) -> Option<String> {
        if !self.eat('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(characters.next()?.1),
                other => value.push(other),
            }
        }
        None // no closing quote
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn plain(header: &str) -> Vec<(String, Vec<(String, String)>)> {
        Challenge::parse(header).into_iter().map(|one| (one.scheme, one.parameters)).collect()
    }

    fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
        let owned = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        (scheme.to_owned(), owned.collect())
    }

    #[test]
    fn what_registries_send() {
        let docker = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/debian:pull",error="invalid_token""#;
        let parsed = Challenge::parse(docker);
        assert_eq!(parsed.len(), 1);
        assert_eq!(parsed[0].parameter("scope"), Some("repository:library/debian:pull"));
        assert_eq!(parsed[0].parameter("error"), Some("invalid_token"));
        for (header, expected) in [
            (r#"Basic realm="x""#, vec![challenge("basic", &[("realm", "x")])]),
            ("BASIC REALM=x", vec![challenge("basic", &[("realm", "x")])]),
            (r#"Basic realm="a \"b\" \\""#, vec![challenge("basic", &[("realm", "a \"b\" \\")])]),
            ("Negotiate", vec![challenge("negotiate", &[])]),
            (
                "Negotiate, Basic realm=x",
                vec![challenge("negotiate", &[]), challenge("basic", &[("realm", "x")])],
            ),
            (
                "Negotiate YIIabc==, Bearer realm = \"u\" , a=b",
                vec![challenge("negotiate", &[]), challenge("bearer", &[("realm", "u"), ("a", "b")])],
            ),
            (",, ,Basic realm=x,, ,", vec![challenge("basic", &[("realm", "x")])]),
            (r#"Bearer realm="open"#, vec![challenge("bearer", &[])]),
            ("Basic realm=x y, Bearer a=b", vec![challenge("basic", &[("realm", "x")])]),
            ("", vec![]),
            ("=", vec![]),
        ] {
            assert_eq!(plain(header), expected, "{header}");
        }
    }

    /// One whose limit fell into a character was once read whole.
    #[test]
    fn what_is_too_long_is_cut() {
        let header = format!("{}é, {}", "a".repeat(LONGEST - 1), "b".repeat(LONGEST));
        assert_eq!(plain(&header), [challenge(&"a".repeat(LONGEST - 1), &[])]);
    }

    proptest! {
        #[test]
        fn anything_is_survived(header in ".{0,200}") {
            let _ = Challenge::parse(&header);
        }

        #[test]
        fn what_is_written_is_read(
            values in prop::collection::vec(("[a-z]{1,8}", "[ -~]{0,20}"), 1..5),
            schemes in prop::collection::vec("[a-z]{1,8}", 1..4),
        ) {
            let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let parameters: Vec<String> =
                values.iter().map(|(name, value)| format!("{name}=\"{}\"", quote(value))).collect();
            let header: Vec<String> =
                schemes.iter().map(|scheme| format!("{scheme} {}", parameters.join(", "))).collect();
            let expected: Vec<_> = schemes.iter().map(|scheme| (scheme.clone(), values.clone())).collect();
            prop_assert_eq!(plain(&header.join(", ")), expected);
        }
    }
}
