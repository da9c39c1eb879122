//! Modes: `"0644"`, or chmod's symbolic `"u=rwX,go=rX"`.
//!
//! A symbolic mode means what GNU chmod makes of it with umask 0: no letter before the operator is `a`, `X` is `x`
//! for directories and for what somebody may execute already, and `=` leaves the set-id bits of a directory alone
//! unless it names them.

use super::{Refusal, Word};
use std::fmt;

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const ALL: u32 = 0o7777;

/// What a `mode` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// These permission bits, 0 to 0o7777.
    Octal(u32),
    /// A change of what is there.
    Symbolic(Symbolic),
}

/// Changes in the order they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbolic {
    changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    /// The bits that the letters before the operator may touch.
    affected: u32,
    operator: u8,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// Permission bits, the same for user, group and others; `X`; the bits named beyond rwx.
    Bits { bits: u32, search: bool },
    /// The bits of user, group or others, by how far they are shifted.
    Same { shift: u32 },
}

impl Mode {
    /// Reads a mode.
    ///
    /// # Errors
    /// Anything else than 3 or 4 octal digits or a symbolic mode.
    pub fn parse(text: &str) -> Word<Self> {
        if text.bytes().next().is_some_and(|byte| byte.is_ascii_digit()) {
            let fits =
                (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
            let bits = fits.then(|| u32::from_str_radix(text, 8).ok()).flatten();
            return bits.map(Self::Octal).ok_or_else(refusal);
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            read_clause(clause.as_bytes(), &mut changes)?;
        }
        Ok(Self::Symbolic(Symbolic { changes }))
    }

    /// The permission bits of an entry that had `old`.
    pub fn apply(&self, old: u32, is_directory: bool) -> u32 {
        match self {
            Self::Octal(bits) => *bits,
            Self::Symbolic(symbolic) => {
                symbolic.changes.iter().fold(old & ALL, |mode, change| change.apply(mode, is_directory))
            }
        }
    }

    /// Whether it depends on what is there.
    pub fn is_symbolic(&self) -> bool {
        matches!(self, Self::Symbolic(_))
    }
}

impl fmt::Display for Mode {
    /// As it could have been written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Octal(bits) => write!(f, "{bits:04o}"),
            Self::Symbolic(symbolic) => {
                let clauses: Vec<String> = symbolic.changes.iter().map(Change::to_string).collect();
                f.write_str(&clauses.join(","))
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let who = b"ugo".iter().filter(|who| self.affected & affected_by(**who) != 0);
        text.extend(who.map(|who| char::from(*who)));
        text.push(char::from(self.operator));
        match self.value {
            Value::Same { shift } => text.push(['o', 'g', 'u'][shift as usize / 3]),
            Value::Bits { bits, search } => {
                let letters = [(0o444, 'r'), (0o222, 'w'), (0o111, 'x'), (SET_UID, 's'), (STICKY, 't')];
                text.extend(letters.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, letter)| letter));
                text.extend(search.then_some('X'));
            }
        }
        f.write_str(&text)
    }
}

impl Change {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let mut named = 0;
        let value = match self.value {
            Value::Same { shift } => {
                let bits = (mode >> shift) & 7;
                bits << 6 | bits << 3 | bits
            }
            Value::Bits { bits, search } => {
                named = bits & (SET_UID | SET_GID);
                let search = search && (is_directory || mode & 0o111 != 0);
                bits | if search { 0o111 } else { 0 }
            }
        };
        let kept = if is_directory { (SET_UID | SET_GID) & !named } else { 0 };
        let value = value & self.affected & !kept;
        match self.operator {
            b'+' => mode | value,
            b'-' => mode & !value,
            _ => (mode & !(self.affected & !kept)) | value,
        }
    }
}

/// Reads one clause, `WHO OPERATOR LETTERS` with maybe more operators.
fn read_clause(clause: &[u8], changes: &mut Vec<Change>) -> Word<()> {
    let letters = clause.iter().take_while(|byte| b"ugoa".contains(byte)).count();
    let affected = clause[..letters].iter().fold(0, |bits, who| bits | affected_by(*who));
    let affected = if letters == 0 { ALL } else { affected };
    let mut rest = &clause[letters..];
    if rest.is_empty() {
        return Err(refusal());
    }
    while let Some((operator, after)) = rest.split_first() {
        if !b"+-=".contains(operator) {
            return Err(refusal());
        }
        let end = after.iter().position(|byte| b"+-=".contains(byte)).unwrap_or(after.len());
        changes.push(Change { affected, operator: *operator, value: read_value(&after[..end])? });
        rest = &after[end..];
    }
    Ok(())
}

fn read_value(letters: &[u8]) -> Word<Value> {
    match letters {
        b"u" => return Ok(Value::Same { shift: 6 }),
        b"g" => return Ok(Value::Same { shift: 3 }),
        b"o" => return Ok(Value::Same { shift: 0 }),
        _ => {}
    }
    let (mut bits, mut search) = (0, false);
    for letter in letters {
        match letter {
            b'r' => bits |= 0o444,
            b'w' => bits |= 0o222,
            b'x' => bits |= 0o111,
            b'X' => search = true,
            b's' => bits |= SET_UID | SET_GID,
            b't' => bits |= STICKY,
            _ => return Err(refusal()),
        }
    }
    Ok(Value::Bits { bits, search })
}

fn affected_by(who: u8) -> u32 {
    match who {
        b'u' => SET_UID | 0o700,
        b'g' => SET_GID | 0o070,
        b'o' => STICKY | 0o007,
        _ => ALL,
    }
}

fn refusal() -> Refusal {
    Refusal::bad("a mode is \"0644\", or chmod's \"u=rwX,go=rX\"")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn octal() {
        for (text, bits) in [("0644", 0o644), ("755", 0o755), ("4755", 0o4755), ("0000", 0)] {
            let mode = Mode::parse(text).unwrap();
            assert_eq!(mode, Mode::Octal(bits));
            assert_eq!(mode.apply(0o123, false), bits);
        }
        for text in
            ["", "8", "64", "0o644", "07777777", "00644", "0648", "u", "rwx", "u=rwz", "u=rw,", "u+gx"]
        {
            assert!(Mode::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn symbolic_as_chmod() {
        // (mode, old, of a file, of a directory), taken from GNU chmod with umask 0
        let table = [
            ("u=rwX,go=rX", 0o600, 0o644, 0o755),
            ("u=rwX,go=rX", 0o700, 0o755, 0o755),
            ("go-w", 0o666, 0o644, 0o644),
            ("+x", 0o644, 0o755, 0o755),
            ("a+x", 0o600, 0o711, 0o711),
            ("u+s", 0o755, 0o4755, 0o4755),
            ("u=rwx", 0o4755, 0o755, 0o4755),
            ("g=s", 0o755, 0o2705, 0o2705),
            ("+t", 0o755, 0o1755, 0o1755),
            ("u+t", 0o755, 0o755, 0o755),
            ("g=u", 0o740, 0o770, 0o770),
            ("o=", 0o777, 0o770, 0o770),
            ("=", 0o777, 0, 0),
            ("u+w-x", 0o555, 0o655, 0o655),
            ("a-x,u+X", 0o755, 0o644, 0o744),
        ];
        for (text, old, file, directory) in table {
            let mode = Mode::parse(text).unwrap();
            assert_eq!(mode.apply(old, false), file, "{text} of a file {old:o}");
            assert_eq!(mode.apply(old, true), directory, "{text} of a directory {old:o}");
            assert_eq!(Mode::parse(&mode.to_string()).unwrap(), mode, "{text} is spelled {mode}");
        }
    }
}
