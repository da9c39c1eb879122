//! Following symbolic links inside the tree.
//!
//! The root of the tree is the root of every absolute target, and `..` stops there, as in a chroot. Nothing outside
//! the tree is ever looked at.

use super::{
    Editor, Found, FoundKind, at,
    node::{Descent, ROOT},
    too_deep,
};
use crate::{Error, Kind, Result, TreePath, encoding::MAX_DEPTH, tree::is_valid_name};

/// As many as Linux follows.
const MAX_LINKS: usize = 40;

/// Where a path leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// Without symbolic links in it (but maybe as the last part, if that was not to be followed). If nothing is
    /// there: where it would be.
    pub path: TreePath,
    /// What is there.
    pub found: Option<Found>,
}

/// How far a path has been followed.
struct Place {
    /// Directories down from the root, the root first.
    nodes: Vec<usize>,
    /// Names of `nodes`, then names that don't exist.
    names: Vec<Box<[u8]>>,
}

impl Place {
    fn is_missing(&self) -> bool {
        self.names.len() >= self.nodes.len()
    }

    fn up(&mut self) {
        if !self.is_missing() && self.nodes.len() > 1 {
            self.nodes.pop();
        }
        self.names.pop();
    }

    fn path(&self) -> TreePath {
        self.names.iter().fold(TreePath::root(), |mut path, name| {
            path.push(name);
            path
        })
    }
}

impl Editor<'_> {
    /// Follows `path` from the root of the tree through the symbolic links of the directories on its way, and through
    /// the last part too if `follow_last`. What does not exist is no error: the rest is taken as it is written.
    ///
    /// `path` is bytes since link targets are; it may hold `..`, which goes up but never above the root.
    ///
    /// # Errors
    /// [`Error::At`] if more than 40 links follow each other, a link has no target, or something on the way is no
    /// directory; [`Error::BadPath`] for names that can't be.
    pub fn resolve(&mut self, path: &[u8], follow_last: bool) -> Result<Resolved> {
        let mut place = Place { nodes: vec![ROOT], names: Vec::new() };
        let mut rest = Vec::new();
        push_names(&mut rest, path)?;
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if &*name == b".." {
                place.up();
                continue;
            }
            let directory = *place.nodes.last().unwrap_or(&ROOT);
            let found = if place.is_missing() { None } else { self.found(directory, &name)? };
            let is_last = rest.is_empty();
            if place.names.len() >= MAX_DEPTH {
                return Err(too_deep(&place.path()));
            }
            place.names.push(name);
            match found {
                None => {}
                Some(Found { kind: FoundKind::Directory, .. }) => {
                    self.push_directory(&mut place, directory)?
                }
                Some(Found { kind: FoundKind::Leaf(Kind::Symlink(target)), .. })
                    if !is_last || follow_last =>
                {
                    links += 1;
                    follow(&mut place, &mut rest, &target, links)?;
                }
                Some(found) if is_last => return Ok(Resolved { path: place.path(), found: Some(found) }),
                Some(found) => {
                    return Err(at(&place.path(), format!("is a {}, not a directory", found.word())));
                }
            }
        }
        let found = (!place.is_missing()).then(|| self.found_directory(*place.nodes.last().unwrap_or(&ROOT)));
        Ok(Resolved { path: place.path(), found })
    }

    fn push_directory(&mut self, place: &mut Place, directory: usize) -> Result<()> {
        if let Some(name) = place.names.last()
            && let Descent::Directory(child) = self.enter(directory, name)?
        {
            place.nodes.push(child);
        }
        Ok(())
    }
}

/// Goes on with a link's target: from the root if it is absolute, else from the directory the link is in.
fn follow(place: &mut Place, rest: &mut Vec<Box<[u8]>>, target: &[u8], links: usize) -> Result<()> {
    if links > MAX_LINKS {
        return Err(at(&place.path(), format!("more than {MAX_LINKS} symbolic links follow each other")));
    }
    if target.is_empty() {
        return Err(at(&place.path(), "is a symbolic link without a target"));
    }
    push_names(rest, target)?;
    place.names.pop();
    if target.starts_with(b"/") {
        *place = Place { nodes: vec![ROOT], names: Vec::new() };
    }
    Ok(())
}

/// Puts the names of a path on top of a stack, the first one uppermost.
fn push_names(stack: &mut Vec<Box<[u8]>>, path: &[u8]) -> Result<()> {
    for name in path.rsplit(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
        if name != b".." && !is_valid_name(name) {
            return Err(Error::BadPath {
                path: String::from_utf8_lossy(path).into_owned(),
                reason: "a name holds a NUL byte or is longer than 255 bytes",
            });
        }
        stack.push(name.into());
    }
    Ok(())
}
