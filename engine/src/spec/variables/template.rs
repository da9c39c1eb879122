//! The text between `${` and `}`.

use crate::spec::words::{Refusal, Word};

/// A part of a string.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece<'t> {
    /// As it is, `$$` already one `$`.
    Text(String),
    /// What stands between `${` and `}`.
    Name(&'t str),
}

/// Takes a string apart; neighbours are not both text.
///
/// # Errors
/// A `${` that is never closed.
pub fn pieces(text: &str) -> Word<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        literal.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(inner) = after.strip_prefix('{') {
            let end = inner.find('}').ok_or_else(unclosed)?;
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Name(&inner[..end]));
            rest = &inner[end + 1..];
        } else {
            literal.push('$');
            rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

fn unclosed() -> Refusal {
    Refusal::bad("a `${` is not closed by `}`").help("a literal `$` is written `$$`")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn strings_are_taken_apart() {
        let text = |text: &str| Piece::Text(text.to_owned());
        let table = [
            ("", vec![text("")]),
            ("plain", vec![text("plain")]),
            ("${a}", vec![Piece::Name("a")]),
            ("x${a}y${b.c}", vec![text("x"), Piece::Name("a"), text("y"), Piece::Name("b.c")]),
            ("$$", vec![text("$")]),
            ("$${a}", vec![text("${a}")]),
            ("$$${a}", vec![text("$"), Piece::Name("a")]),
            ("$a $ 5$", vec![text("$a $ 5$")]),
            ("${}", vec![Piece::Name("")]),
            ("${a${b}", vec![Piece::Name("a${b")]),
        ];
        for (input, expected) in table {
            assert_eq!(pieces(input).unwrap(), expected, "{input}");
        }
        assert!(pieces("${a").is_err());
        assert!(pieces("a ${").is_err());
    }
}
