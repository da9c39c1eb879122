//! Owners: `"user:group"`, `"user"`, `"1000"`, `"1000:0"`.

use super::{Refusal, Word};
use std::fmt;

/// A user or group, by name or by number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// As it is.
    Number(u32),
    /// Looked up in the tree being made.
    Name(String),
}

/// Who owns an entry or runs a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// The user.
    pub user: Id,
    /// The group; none: of a name that user's own group, of a number the same number.
    pub group: Option<Id>,
}

impl Owner {
    /// Reads `user`, `user:group`, with names or numbers.
    ///
    /// # Errors
    /// An empty part, a number beyond 32 bits, characters that passwd lines can't hold.
    pub fn parse(text: &str) -> Word<Self> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        Ok(Self { user: id(user)?, group: group.map(id).transpose()? })
    }
}

fn id(text: &str) -> Word<Id> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // The largest number is what chown(2) takes for "unchanged".
        let number = text.parse().ok().filter(|number| *number != u32::MAX);
        return number
            .map(Id::Number)
            .ok_or_else(|| Refusal::bad(format!("`{text}` is too large for an id")));
    }
    account(text)?;
    Ok(Id::Name(text.to_owned()))
}

/// Checks the name of a user or group of a tree: what fits in a line of /etc/passwd.
///
/// # Errors
/// An empty text, `:`, `/`, `,`, blanks, control characters, a first `-`, nothing but digits.
pub fn account(text: &str) -> Word<()> {
    let refuse = |reason: &str| Err(Refusal::bad(reason.to_owned()));
    if text.is_empty() {
        return refuse("an owner is \"user:group\", \"user\", \"1000\" or \"1000:0\", and no part is empty");
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return refuse("the name of a user or group can't be a number");
    }
    let forbidden = |c: char| matches!(c, ':' | '/' | ',') || c.is_whitespace() || c.is_control();
    if text.starts_with('-') || text.contains(forbidden) {
        return refuse("the name of a user or group has no `:`, `/`, `,`, blank or first `-`");
    }
    Ok(())
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.user.fmt(f)?;
        self.group.as_ref().map_or(Ok(()), |group| write!(f, ":{group}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn good_owners() {
        let name = |text: &str| Id::Name(text.to_owned());
        let table = [
            ("root", name("root"), None),
            ("app:staff", name("app"), Some(name("staff"))),
            ("1000", Id::Number(1000), None),
            ("1000:0", Id::Number(1000), Some(Id::Number(0))),
            ("app:0", name("app"), Some(Id::Number(0))),
            ("4294967294", Id::Number(4_294_967_294), None),
        ];
        for (text, user, group) in table {
            let owner = Owner::parse(text).unwrap();
            assert_eq!(owner, Owner { user, group }, "{text}");
            assert_eq!(owner.to_string(), text);
        }
    }

    #[test]
    fn bad_owners() {
        for text in ["", ":", "a:", ":b", "a:b:c", "a b", "4294967295", "99999999999", "-x", "a/b", "a\nb"] {
            assert!(Owner::parse(text).is_err(), "{text:?}");
        }
    }
}
