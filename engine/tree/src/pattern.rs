//! Patterns over paths, as users write them.
//!
//! A pattern is matched against the whole path from the root, byte by byte:
//!
//! | written | matches |
//! |---|---|
//! | `*`, `?` | any bytes, one byte, of a name; never `/`, but a leading dot too |
//! | `[a-z_]`, `[!a-z]` | one byte of these, or not of these; never `/` |
//! | `{a,b/c}` | either; may nest and hold anything |
//! | `**` | between slashes: any number of directories, also none; at the end: everything beneath |
//! | `\x` | `x` itself |
//!
//! A pattern becomes a small automaton whose states are all followed at once, so that time grows with the length of
//! path times pattern, however hostile it is. Length and nesting of a pattern are bounded.

mod parse;

use crate::{Editor, Error, Result, TreePath};

/// A parsed pattern. See the module for what can be written.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    states: Vec<State>,
    start: Positions,
    literal: Option<TreePath>,
    prefix: TreePath,
}

/// What a state accepts; the next one is the one after it.
#[derive(Clone, Debug)]
enum State {
    Byte(u8),
    /// One byte of a set of 256.
    Class(Box<[bool; 256]>),
    /// Consumes nothing and goes on at all of these.
    Fork(Vec<usize>),
    Match,
}

/// States that are alive, each once; never a [`State::Fork`].
type Positions = Vec<usize>;

impl Pattern {
    /// Reads a pattern; a leading `/` and doubled or final ones mean nothing.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed = parse::parse(text)?;
        let literal = match parsed.literal {
            Some(bytes) => Some(TreePath::parse(&bytes).map_err(|error| error.to_string())?),
            None => None,
        };
        let mut pattern = Self {
            text: text.to_owned(),
            states: parsed.states,
            start: Positions::new(),
            literal,
            prefix: TreePath::parse(&parsed.prefix).map_err(|error| error.to_string())?,
        };
        pattern.start = pattern.settle([0]);
        Ok(pattern)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches the whole of `path`.
    pub fn matches(&self, path: &TreePath) -> bool {
        match &self.literal {
            Some(literal) => path == literal,
            // Not even `*` is no name at all.
            None if path.is_root() => false,
            None => self.is_match(&self.advance(&self.start, path.as_bytes())),
        }
    }

    /// Whether it could match something below the directory `path`: if not, a walk need not go there.
    pub fn could_match_below(&self, path: &TreePath) -> bool {
        if let Some(literal) = &self.literal {
            return literal != path && literal.starts_with(path);
        }
        let inside = self.advance(&self.start, path.as_bytes());
        self.could_go_on(&if path.is_root() { inside } else { self.advance(&inside, b"/") })
    }

    /// The one path it matches, if it has no special characters.
    pub fn literal(&self) -> Option<TreePath> {
        self.literal.clone()
    }

    fn is_match(&self, positions: &Positions) -> bool {
        positions.iter().any(|position| matches!(self.states[*position], State::Match))
    }

    fn could_go_on(&self, positions: &Positions) -> bool {
        positions.iter().any(|position| !matches!(self.states[*position], State::Match))
    }

    fn advance(&self, positions: &Positions, bytes: &[u8]) -> Positions {
        let mut positions = positions.clone();
        for byte in bytes {
            if positions.is_empty() {
                break;
            }
            let accepts = |position: &usize| match &self.states[*position] {
                State::Byte(wanted) => wanted == byte,
                State::Class(set) => set[usize::from(*byte)],
                State::Fork(_) | State::Match => false,
            };
            positions = self.settle(positions.into_iter().filter(accepts).map(|position| position + 1));
        }
        positions
    }

    /// Follows forks until only states are left that consume something or match.
    fn settle(&self, positions: impl IntoIterator<Item = usize>) -> Positions {
        let mut pending: Vec<usize> = positions.into_iter().collect();
        let mut seen = vec![false; self.states.len()];
        let mut settled = Positions::new();
        while let Some(position) = pending.pop() {
            if std::mem::replace(&mut seen[position], true) {
                continue;
            }
            match &self.states[position] {
                State::Fork(targets) => pending.extend(targets),
                _ => settled.push(position),
            }
        }
        settled
    }
}

/// The paths that a pattern matches, sorted bytewise. Its leading names without special characters are followed through
/// the symbolic links of directories, inside the tree, and the paths are what they lead to; below that no link is
/// followed.
///
/// # Errors
/// Those of the store.
pub fn find(editor: &mut Editor<'_>, pattern: &Pattern) -> Result<Vec<TreePath>> {
    let start = match &pattern.literal {
        Some(path) => return Ok(existing(editor, path, false)?.into_iter().collect()),
        None => &pattern.prefix,
    };
    let Some(real) = existing(editor, start, true)? else { return Ok(Vec::new()) };
    let mut positions = pattern.advance(&pattern.start, start.as_bytes());
    if !start.is_root() {
        positions = pattern.advance(&positions, b"/");
    }
    let mut found = Vec::new();
    let mut pending = vec![(real, positions)];
    while let Some((directory, positions)) = pending.pop() {
        if !editor.get(&directory)?.is_some_and(|found| found.is_directory()) {
            continue;
        }
        for (name, child) in editor.list(&directory)? {
            let path = directory.join(&name);
            let positions = pattern.advance(&positions, &name);
            let below =
                if child.is_directory() { pattern.advance(&positions, b"/") } else { Positions::new() };
            if pattern.is_match(&positions) {
                found.push(path.clone());
            }
            if pattern.could_go_on(&below) {
                pending.push((path, below));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Where a path leads, if something is there. A path that goes through a file, or round in circles, leads nowhere.
fn existing(editor: &mut Editor<'_>, path: &TreePath, follow_last: bool) -> Result<Option<TreePath>> {
    match editor.resolve(path.as_bytes(), follow_last) {
        Ok(resolved) => Ok(resolved.found.is_some().then_some(resolved.path)),
        Err(Error::At { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
