//! `WWW-Authenticate`: a header's value, any text.

use rbuild_registry::Challenge;

/// The parser reads no more of a header.
const LONGEST: usize = 16 << 10;

/// What comes out is no longer than what went in, of the right alphabet, and the same when it is written and read again.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let challenges = Challenge::parse(&text);
    let mut length = 0;
    for challenge in &challenges {
        assert_word(&challenge.scheme);
        length += challenge.scheme.len();
        for (name, value) in &challenge.parameters {
            assert_word(name);
            length += name.len() + value.len();
            let first = challenge.parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value);
            assert_eq!(challenge.parameter(name), first.map(String::as_str));
        }
    }
    assert!(length <= text.len().min(LONGEST), "{length} bytes of {}", text.len());
    let again = written(&challenges);
    if again.len() <= LONGEST {
        assert_eq!(Challenge::parse(&again), challenges, "{again:?}");
    }
}

/// A token (RFC 9110, section 5.6.2) in lower case.
fn assert_word(word: &str) {
    let is_token = |byte: u8| {
        byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte)
    };
    assert!(!word.is_empty() && word.bytes().all(is_token), "{word:?}");
}

fn written(challenges: &[Challenge]) -> String {
    let parameter = |(name, value): &(String, String)| {
        format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    };
    let challenge = |one: &Challenge| {
        let parameters: Vec<String> = one.parameters.iter().map(parameter).collect();
        format!("{} {}", one.scheme, parameters.join(", "))
    };
    challenges.iter().map(challenge).collect::<Vec<_>>().join(", ")
}
