//! From a pattern's text to its automaton, in one pass.
//!
//! States stand in a row and each goes on with the next, so a part of a pattern can be taken up again (`**`) by a fork
//! that points back, and alternatives are laid out one after the other, each ending in a fork to the end.

use super::State;

/// Longer than any path that a kernel takes.
const MAX_LENGTH: usize = 4096;
const MAX_NESTING: usize = 16;
const OPEN_CLASS: &str = "a `[` is never closed by `]`";

/// What a pattern's text says.
pub(super) struct Parsed {
    pub(super) states: Vec<State>,
    /// Its bytes, if nothing in it is special.
    pub(super) literal: Option<Vec<u8>>,
    /// The names before the first that has something special in it.
    pub(super) prefix: Vec<u8>,
}

struct Parser<'a> {
    rest: &'a [u8],
    states: Vec<State>,
    /// Literal bytes from the start, until something special comes.
    literal: Vec<u8>,
    is_literal: bool,
    /// Where a name begins: at the start, after `/`, and at the start of a pattern's alternative there.
    at_name: bool,
    nesting: usize,
}

pub(super) fn parse(text: &str) -> Result<Parsed, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("a pattern is longer than {MAX_LENGTH} bytes"));
    }
    let mut parser = Parser {
        rest: text.as_bytes(),
        states: Vec::new(),
        literal: Vec::new(),
        is_literal: true,
        at_name: true,
        nesting: 0,
    };
    parser.sequence()?;
    parser.states.push(State::Match);
    let Parser { states, literal, is_literal, .. } = parser;
    let end =
        if is_literal { literal.len() } else { literal.iter().rposition(|byte| *byte == b'/').unwrap_or(0) };
    let prefix = literal[..end].to_vec();
    Ok(Parsed { states, literal: is_literal.then_some(literal), prefix })
}

impl Parser<'_> {
    /// Reads up to the end, or to the `,` or `}` that ends an alternative.
    fn sequence(&mut self) -> Result<(), String> {
        while let Some((byte, rest)) = self.rest.split_first() {
            match byte {
                b',' | b'}' if self.nesting > 0 => return Ok(()),
                b'/' => self.slashes(),
                b'*' => self.stars(),
                b'?' => {
                    self.rest = rest;
                    self.special(State::Class(name_bytes()));
                }
                b'[' => self.class()?,
                b'{' => self.alternatives()?,
                b'\\' => {
                    let (escaped, rest) =
                        rest.split_first().ok_or("it ends in a `\\` that escapes nothing")?;
                    self.rest = rest;
                    self.byte(*escaped);
                }
                b'.' if self.at_name && self.skip_dots()? => {}
                byte => {
                    self.rest = rest;
                    self.byte(*byte);
                }
            }
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8) {
        if self.is_literal {
            self.literal.push(byte);
        }
        self.states.push(State::Byte(byte));
        self.at_name = false;
    }

    fn special(&mut self, state: State) {
        self.is_literal = false;
        self.states.push(state);
        self.at_name = false;
    }

    /// A leading slash, a final one and a second one mean nothing.
    fn slashes(&mut self) {
        while let [b'/', rest @ ..] = self.rest {
            self.rest = rest;
        }
        if !self.at_name && !self.rest.is_empty() {
            self.byte(b'/');
        }
        self.at_name = true;
    }

    /// `.` as a whole name means nothing; `..` is refused. Says whether it was such a name.
    fn skip_dots(&mut self) -> Result<bool, String> {
        let end =
            self.rest.iter().position(|byte| matches!(byte, b'/' | b',' | b'}')).unwrap_or(self.rest.len());
        match &self.rest[..end] {
            b"." => {
                self.rest = &self.rest[end..];
                Ok(true)
            }
            b".." => Err("`..` is not allowed in a pattern".into()),
            _ => Ok(false),
        }
    }

    fn stars(&mut self) {
        let count = self.rest.iter().take_while(|byte| **byte == b'*').count();
        let rest = &self.rest[count..];
        let ends_name =
            matches!(rest.first(), None | Some(b'/')) || (self.nesting > 0 && matches!(rest[0], b',' | b'}'));
        let spans = count == 2 && self.at_name && ends_name;
        self.rest = rest;
        if !spans {
            self.star();
            return;
        }
        let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
        let is_last = slashes == 0 || slashes == rest.len();
        self.is_literal = false;
        let first = self.states.len();
        if is_last {
            // A name, then maybe a slash and all again.
            self.name();
            let after = self.states.len();
            self.states.push(State::Fork(vec![after + 1, after + 3]));
            self.states.push(State::Byte(b'/'));
            self.states.push(State::Fork(vec![first]));
            self.at_name = false;
        } else {
            // Nothing, or a name and a slash and all again.
            self.states.push(State::Fork(Vec::new()));
            self.name();
            self.states.push(State::Byte(b'/'));
            self.states.push(State::Fork(vec![first]));
            self.states[first] = State::Fork(vec![first + 1, self.states.len()]);
            self.rest = &rest[slashes..];
            self.at_name = true;
        }
    }

    /// Any number of bytes of a name.
    fn star(&mut self) {
        let first = self.states.len();
        self.special(State::Fork(vec![first + 1, first + 3]));
        self.states.push(State::Class(name_bytes()));
        self.states.push(State::Fork(vec![first]));
    }

    /// A whole name.
    fn name(&mut self) {
        self.states.push(State::Class(name_bytes()));
        self.star();
    }

    fn class(&mut self) -> Result<(), String> {
        let mut rest = &self.rest[1..];
        let mut set = [false; 256];
        let negated = matches!(rest.first(), Some(b'!' | b'^'));
        rest = if negated { &rest[1..] } else { rest };
        let mut is_first = true;
        loop {
            let low = match rest {
                [] => return Err(OPEN_CLASS.into()),
                [b']', tail @ ..] if !is_first => {
                    rest = tail;
                    break;
                }
                _ => class_byte(&mut rest).ok_or(OPEN_CLASS)?,
            };
            is_first = false;
            let high = range_end(&mut rest, low)?;
            set[usize::from(low)..=usize::from(high)].fill(true);
        }
        if negated {
            set.iter_mut().for_each(|member| *member = !*member);
        }
        (set[usize::from(b'/')], set[0]) = (false, false);
        if !set.contains(&true) {
            return Err("a `[...]` matches nothing".into());
        }
        self.rest = rest;
        self.special(State::Class(Box::new(set)));
        Ok(())
    }

    fn alternatives(&mut self) -> Result<(), String> {
        if self.nesting == MAX_NESTING {
            return Err(format!("`{{` nests deeper than {MAX_NESTING}"));
        }
        self.nesting += 1;
        let starts_name = self.at_name;
        let choice = self.states.len();
        self.special(State::Fork(Vec::new()));
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        let mut ends_at_name = true;
        loop {
            self.rest = &self.rest[1..];
            self.at_name = starts_name;
            starts.push(self.states.len());
            self.sequence()?;
            ends_at_name &= self.at_name;
            ends.push(self.states.len());
            self.states.push(State::Fork(Vec::new()));
            match self.rest.first() {
                Some(b',') => {}
                Some(_) => break,
                None => return Err("a `{` is never closed by `}`".into()),
            }
        }
        self.rest = &self.rest[1..];
        self.states[choice] = State::Fork(starts);
        let after = self.states.len();
        ends.into_iter().for_each(|end| self.states[end] = State::Fork(vec![after]));
        self.at_name = ends_at_name;
        self.nesting -= 1;
        Ok(())
    }
}

/// The next byte of a set, an escape taken literally.
fn class_byte(rest: &mut &[u8]) -> Option<u8> {
    let (byte, tail) = match rest {
        [b'\\', byte, tail @ ..] | [byte, tail @ ..] => (*byte, tail),
        [] => return None,
    };
    *rest = tail;
    Some(byte)
}

/// The end of a range that starts with `low`; `low` itself if no range follows.
fn range_end(rest: &mut &[u8], low: u8) -> Result<u8, String> {
    let mut high = low;
    if let [b'-', tail @ ..] = *rest
        && !matches!(tail, [] | [b']', ..])
    {
        *rest = tail;
        high = class_byte(rest).ok_or(OPEN_CLASS)?;
    }
    if !low.is_ascii() || !high.is_ascii() {
        return Err("only ASCII characters can stand in `[...]`; write `{ä,ö}` for others".into());
    }
    if low > high {
        return Err(format!("the range `{}-{}` is empty", char::from(low), char::from(high)));
    }
    Ok(high)
}

/// All that can be in a name.
fn name_bytes() -> Box<[bool; 256]> {
    let mut set = Box::new([true; 256]);
    (set[0], set[usize::from(b'/')]) = (false, false);
    set
}
