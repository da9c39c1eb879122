//! Where something stood when the mount began.

use rbuild_tree::TreePath;
use std::sync::Arc;

/// A path of the lower as a chain of names, so that a tree of nodes shares its prefixes. Renames inside the mount
/// never change it: it is what a trace is keyed by and what commit compares with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    above: Option<Arc<Place>>,
    name: Box<[u8]>,
}

impl Place {
    /// The root directory.
    pub fn root() -> Arc<Self> {
        Arc::new(Self { above: None, name: Box::default() })
    }

    /// `name` in the directory at `above`.
    pub fn below(above: &Arc<Self>, name: &[u8]) -> Arc<Self> {
        Arc::new(Self { above: Some(Arc::clone(above)), name: name.into() })
    }

    /// Whether it is `name` in the directory at `above`. Every directory of the lower has one place, so the same
    /// place is the same allocation.
    pub fn is(&self, above: &Arc<Self>, name: &[u8]) -> bool {
        self.above.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, above)) && *self.name == *name
    }

    /// The whole path.
    pub fn path(&self) -> TreePath {
        let mut names = Vec::new();
        let mut place = self;
        while let Some(above) = &place.above {
            names.push(&*place.name);
            place = above;
        }
        let mut path = TreePath::root();
        names.iter().rev().for_each(|name| path.push(name));
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_knows_its_path_and_its_directory() {
        let root = Place::root();
        let usr = Place::below(&root, b"usr");
        let bin = Place::below(&usr, b"bin");
        assert_eq!(bin.path().as_bytes(), b"usr/bin");
        assert!(root.path().is_root());
        assert!(
            bin.is(&usr, b"bin") && !bin.is(&usr, b"lib") && !bin.is(&root, b"bin") && !root.is(&root, b"")
        );
    }
}
