//! The small grammars inside strings: names, references, owners, modes, sizes, durations, destinations, tags.
//!
//! Each parser takes the text alone and says why it refuses it in words that fit after "`TEXT` …" or stand by
//! themselves; the lowering adds the place. Nothing here reads a file or the environment.

mod capabilities;
mod environment;
mod mode;
mod owner;
mod reference;

pub use capabilities::Capabilities;
pub use environment::{EnvPart, EnvValue};
pub use mode::Mode;
pub use owner::{Id, Owner, account};
pub use reference::{Reference, SCRATCH, Tag, is_tag};

use rbuild_tree::{Pattern, TreePath};
use std::time::Duration;

/// Why a text is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `bad-value`, or `not-yet` for a form that a later version knows.
    pub code: &'static str,
    /// One clause.
    pub reason: String,
    /// What to write instead, if that is known.
    pub help: Option<String>,
}

impl Refusal {
    /// A text that no version takes.
    pub fn bad(reason: impl Into<String>) -> Self {
        Self { code: "bad-value", reason: reason.into(), help: None }
    }

    /// A form of a later version.
    pub fn not_yet(what: &str) -> Self {
        Self { code: "not-yet", reason: format!("{what}: not yet in this version"), help: None }
    }

    /// The same with a cure.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// What a small parser gives.
pub type Word<T> = Result<T, Refusal>;

/// Where `copy` puts things: a path, and whether it ended in `/` and so is a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The path.
    pub path: TreePath,
    /// Written with a final `/` (or the root itself).
    pub directory: bool,
}

impl Destination {
    /// Reads `/d` or `/d/`.
    ///
    /// # Errors
    /// As [`tree_path`].
    pub fn parse(text: &str) -> Word<Self> {
        let path = tree_path(text)?;
        Ok(Self { directory: text.ends_with('/') || path.is_root(), path })
    }
}

/// One `src` of `copy`, or `path` of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySource {
    /// The pattern, without a final `/`; `/` for the whole tree.
    pub pattern: String,
    /// Written with a final `/`, or the whole tree: the content is meant, not the directory.
    pub content: bool,
    /// Whether it has no special character, so that it names one entry.
    pub literal: bool,
}

impl CopySource {
    /// Reads a pattern.
    ///
    /// # Errors
    /// As [`pattern`].
    pub fn parse(text: &str) -> Word<Self> {
        let literal = pattern(text)?.literal();
        let trimmed = text.trim_end_matches('/');
        if literal.as_ref().is_some_and(TreePath::is_root) {
            return Ok(Self::whole());
        }
        Ok(Self {
            pattern: trimmed.to_owned(),
            content: trimmed.len() < text.len(),
            literal: literal.is_some(),
        })
    }

    /// The whole tree: what `src` left out means.
    pub fn whole() -> Self {
        Self { pattern: "/".to_owned(), content: true, literal: true }
    }
}

/// Reads a pattern over the paths of a tree.
///
/// # Errors
/// An empty text, and what the pattern language refuses.
pub fn pattern(text: &str) -> Word<Pattern> {
    if text.is_empty() {
        return Err(Refusal::bad("a pattern can't be empty").help("the whole tree is \"/\""));
    }
    Pattern::parse(text).map_err(Refusal::bad)
}

/// Reads a path in a tree.
///
/// # Errors
/// An empty text, and what [`TreePath::parse`] refuses.
pub fn tree_path(text: &str) -> Word<TreePath> {
    if text.is_empty() {
        return Err(Refusal::bad("a path can't be empty").help("the root of the tree is \"/\""));
    }
    TreePath::parse(text.as_bytes()).map_err(|error| match error {
        rbuild_tree::Error::BadPath { reason, .. } => Refusal::bad(reason),
        other => Refusal::bad(other.to_string()),
    })
}

/// Checks a name of the user's: a letter or digit, then letters, digits, `_` and `-`.
///
/// # Errors
/// Any other text.
pub fn name(text: &str) -> Word<()> {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
        return Ok(());
    }
    Err(Refusal::bad("a name is a letter or digit, then letters, digits, `_` and `-`"))
}

/// Reads a size in bytes: `512K`, `2G`, powers of 1024.
///
/// # Errors
/// No number, an unknown unit, more than 64 bits.
pub fn size(text: &str) -> Word<u64> {
    let refuse = || Refusal::bad("a size is a number with K, M, G or T, as in \"512M\"; bytes if bare");
    let (number, unit) = split_number(text);
    let factor: u64 = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return Err(refuse()),
    };
    number.and_then(|number| number.checked_mul(factor)).ok_or_else(refuse)
}

/// Writes a size as [`size`] reads it.
pub fn spelled_size(bytes: u64) -> String {
    let units = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    let unit = units.into_iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    unit.map_or_else(|| format!("{bytes} bytes"), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

/// Reads a duration: `90s`, `20m`, `24h`, `7d`.
///
/// # Errors
/// No number, an unknown unit, more than 64 bits.
pub fn duration(text: &str) -> Word<Duration> {
    let refuse = || Refusal::bad("a duration is a number with s, m, h or d, as in \"20m\"");
    let (number, unit) = split_number(text);
    let factor: u64 = match unit {
        "" if number.is_some() => {
            return Err(refuse().help(format!("write \"{text}s\" for seconds, \"{text}m\" for minutes")));
        }
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(refuse()),
    };
    number.and_then(|number| number.checked_mul(factor)).map(Duration::from_secs).ok_or_else(refuse)
}

/// Leading digits as a number, and the rest.
fn split_number(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number.parse().ok(), unit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_and_durations() {
        for (text, bytes) in [("0", 0), ("17", 17), ("512K", 512 << 10), ("2G", 2 << 30), ("1T", 1 << 40)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "1.5G", "-1", "1 K", "2GB", "2g", "99999999999T", "18446744073709551616"] {
            assert!(size(text).is_err(), "{text}");
        }
        for (text, seconds) in [("90s", 90), ("20m", 1200), ("24h", 86400), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "7", "d", "1w", "1h30m", "-1s", "99999999999999999999d", "300000000000000000d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names() {
        for text in ["a", "9lives", "my-app_2"] {
            assert_eq!(name(text), Ok(()), "{text}");
        }
        for text in ["", "-a", "_a", "a.b", "a b", "é", "a/b", "a@b", "a:b"] {
            assert!(name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sources_of_a_copy() {
        let read = |text: &str| CopySource::parse(text).unwrap();
        assert_eq!(read("/"), CopySource::whole());
        assert_eq!(read("//"), CopySource::whole());
        assert_eq!(read("/a/f"), CopySource { pattern: "/a/f".into(), content: false, literal: true });
        assert_eq!(read("a/x/"), CopySource { pattern: "a/x".into(), content: true, literal: true });
        assert_eq!(read("/a/*.c"), CopySource { pattern: "/a/*.c".into(), content: false, literal: false });
        assert!(read(r"/a/\*").literal);
        assert!(!read("/a/{b,c}").literal);
        assert!(CopySource::parse("").is_err());
        assert!(CopySource::parse("/a/../b").is_err());
    }

    #[test]
    fn destinations() {
        let read = |text: &str| Destination::parse(text).unwrap();
        assert!(read("/d/").directory);
        assert!(read("/").directory);
        assert!(!read("/d").directory);
        assert_eq!(read("d/e").path.as_bytes(), b"d/e");
        assert!(Destination::parse("").is_err());
        assert!(Destination::parse("/../x").is_err());
    }
}
