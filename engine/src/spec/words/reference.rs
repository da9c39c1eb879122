//! References to trees, `name` or `name:/sub`, and tags of images, `name:tag`.

use super::{Refusal, Word, name, tree_path};
use rbuild_tree::TreePath;
use std::fmt;

/// The name of the empty tree.
pub const SCRATCH: &str = "scratch";

/// A tree: a source, a step or `scratch`, or a directory (in mounts and `copy` maybe a file) of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// The source or step; [`SCRATCH`] for the empty tree.
    pub name: String,
    /// What of it; the root if the reference says no more.
    pub path: TreePath,
}

impl Reference {
    /// The empty tree.
    pub fn scratch() -> Self {
        Self { name: SCRATCH.to_owned(), path: TreePath::root() }
    }

    /// Whether this is the empty tree.
    pub fn is_scratch(&self) -> bool {
        self.name == SCRATCH
    }

    /// Reads a reference.
    ///
    /// # Errors
    /// A bad name or path; `file/name` and `name@…` are of a later version.
    pub fn parse(text: &str) -> Word<Self> {
        let (node, path) = match text.split_once(':') {
            Some((node, path)) => (node, Some(path)),
            None => (text, None),
        };
        if let Some((file, _)) = node.split_once('/')
            && name(file).is_ok()
        {
            return Err(Refusal::not_yet("a reference into another file (`include`)"));
        }
        if node.contains('@') {
            return Err(Refusal::not_yet("a reference to an instance (`matrix`)"));
        }
        name(node)
            .map_err(|_| Refusal::bad("a reference is a `name`, or `name:/sub` for a part of its tree"))?;
        let (text, path) =
            (path.unwrap_or("/"), tree_path(path.filter(|path| !path.is_empty()).unwrap_or("/"))?);
        if !text.starts_with('/') {
            let help = format!("write \"{node}:{path}\"");
            return Err(Refusal::bad("the part after `:` is a path that starts with `/`").help(help));
        }
        Ok(Self { name: node.to_owned(), path })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.path.is_root() { Ok(()) } else { write!(f, ":{}", self.path) }
    }
}

/// A tag of an image: `name:tag`, where the name may hold a registry and folders.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// `shop`, `registry.example:5000/team/shop`
    pub name: String,
    /// `1.4.2`
    pub tag: String,
}

impl Tag {
    /// Reads `name:tag` by the rules of the OCI distribution specification.
    ///
    /// # Errors
    /// No tag, a digest, characters that are not allowed.
    pub fn parse(text: &str) -> Word<Self> {
        if text.contains('@') {
            return Err(Refusal::bad("a tag is `name:tag`; an image that is made here has no digest yet"));
        }
        let split = text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
        let Some((name, tag)) = split else {
            let latest = format!("{text}:latest");
            Self::parse(&latest)?;
            return Err(Refusal::bad("a tag is `name:tag`").help(format!("write \"{latest}\"")));
        };
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
            _ => (None, name),
        };
        if registry.is_some_and(|registry| !is_registry(registry)) || !repository.split('/').all(is_component)
        {
            let help = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                "names of images are in lower case"
            } else {
                "it is of lower-case letters and digits, with `.`, `_` or `-` between them; `/` after a registry or folder"
            };
            return Err(Refusal::bad(format!("`{name}` is not the name of an image")).help(help));
        }
        if !is_tag(tag) {
            return Err(Refusal::bad(format!(
                "`{tag}` is not a tag: letters, digits, `_`, `.` and `-`, at most 128, not first `.` or `-`"
            )));
        }
        Ok(Self { name: name.to_owned(), tag: tag.to_owned() })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

/// A tag as the distribution specification has it.
pub fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

/// A host, maybe with a port.
fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "1"));
    let label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !host.is_empty()
        && host.bytes().all(label)
        && !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
}

/// Lower-case letters and digits, with `.`, `_`, `__` or dashes between them.
fn is_component(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(|byte| word(*byte)) || !bytes.last().is_some_and(|byte| word(*byte)) {
        return false;
    }
    text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn references() {
        let read = |text: &str| Reference::parse(text).unwrap();
        assert!(read("scratch").is_scratch());
        assert_eq!(read("code").path, TreePath::root());
        assert_eq!(read("code:/"), read("code"));
        assert_eq!(read("code:/a/b/").path.as_bytes(), b"a/b");
        assert_eq!(read("code:/a").to_string(), "code:/a");
        assert_eq!(read("9-x_").to_string(), "9-x_");
        for text in ["", ":", ":/a", "code:", "code:a", "code:/../a", "a b", "/etc", "-x", "code:/a\0"] {
            assert_eq!(Reference::parse(text).map_err(|r| r.code), Err("bad-value"), "{text:?}");
        }
        for text in ["shared/img", "x@jdk=17", "x@*"] {
            assert_eq!(Reference::parse(text).map_err(|r| r.code), Err("not-yet"), "{text:?}");
        }
    }

    #[test]
    fn tags() {
        for text in
            ["shop:1", "a/b:x", "registry.example:5000/team/shop:1.4_2-x", "localhost/x:y", "a__b-c.d:Z"]
        {
            assert_eq!(Tag::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "shop",
            "registry.example:5000/shop",
            "Shop:1",
            "shop:",
            "shop:-1",
            ":1",
            "a//b:1",
            "a..b:1",
            "a@b:1",
            "",
        ] {
            assert!(Tag::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Tag::parse("shop").unwrap_err().help.unwrap(), "write \"shop:latest\"");
    }
}
