//! The names of one directory as they are now.
//!
//! Names have a sequence number for as long as they exist; it is their cookie, so a listing that goes on after
//! deletions neither skips nor repeats; a new name of what was there keeps it. The lower's names come first, sorted, then
//! what was made, in that order: the same order in every run. A directory of a tree is told by what became of each of
//! the tree's entries: names that nobody touched are the tree's own, and cost 16 bytes.

use crate::{
    FileKind,
    directory::kind_of,
    node::{Name, Node},
};
use rbuild_tree::Tree;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Cookies of `.` and `..` are below it; entries follow.
pub(crate) const FIRST_COOKIE: u64 = 3;

/// The names as they are now.
#[derive(Default)]
pub(crate) struct Slots {
    /// A tree, and what became of its entries.
    lower: Option<(Arc<Tree>, Vec<Fate>)>,
    /// How many of them are still there.
    left: usize,
    by_name: HashMap<Name, u64>,
    by_sequence: BTreeMap<u64, Made>,
    next: u64,
}

/// What became of an entry of the tree.
enum Fate {
    /// As it was; nobody has its node.
    Listed,
    /// This stands under the name.
    Is(FileKind, Arc<Node>),
    Gone,
}

/// A name that is no tree's.
struct Made {
    name: Name,
    kind: FileKind,
    /// None while the live directory's entry was not looked at.
    node: Option<Arc<Node>>,
}

/// One name.
#[derive(Clone)]
pub(crate) struct Slot<N> {
    /// Its cookie.
    pub sequence: u64,
    pub name: N,
    /// What it is, for listings.
    pub kind: FileKind,
    /// None while the lower's entry was not looked at.
    pub node: Option<Arc<Node>>,
}

impl Slot<&[u8]> {
    /// For use without the directory's lock.
    pub fn to_owned(&self) -> Slot<Name> {
        let Self { sequence, name, kind, node } = self.clone();
        Slot { sequence, name: name.into(), kind, node }
    }
}

impl Slots {
    /// Of a directory that nobody changed.
    pub fn of_tree(tree: &Arc<Tree>) -> Self {
        let fates = tree.iter().map(|_| Fate::Listed).collect();
        let next = FIRST_COOKIE + tree.len() as u64;
        Self { lower: Some((Arc::clone(tree), fates)), left: tree.len(), next, ..Self::default() }
    }

    /// Of names that are not looked at yet, in their order.
    pub fn of_names(names: impl IntoIterator<Item = (Name, FileKind)>) -> Self {
        let mut slots = Self { next: FIRST_COOKIE, ..Self::default() };
        for (name, kind) in names {
            slots.push(name, kind, None);
        }
        slots
    }

    pub fn is_empty(&self) -> bool {
        self.left == 0 && self.by_sequence.is_empty()
    }

    pub fn get(&self, name: &[u8]) -> Option<Slot<&[u8]>> {
        if let Some(slot) = self.find(name).and_then(|at| self.listed(at)) {
            return Some(slot);
        }
        let sequence = self.by_name.get(name)?;
        self.by_sequence.get(sequence).map(|made| made.slot(*sequence))
    }

    /// The name with this cookie, if it is one of the tree that nobody has the node of.
    pub fn listed_at(&self, sequence: u64) -> Option<&[u8]> {
        let at = usize::try_from(sequence.checked_sub(FIRST_COOKIE)?).ok()?;
        self.listed(at).filter(|slot| slot.node.is_none()).map(|slot| slot.name)
    }

    /// Takes a name out.
    pub fn remove(&mut self, name: &[u8]) {
        if let Some(fate) = self.fate_mut(name) {
            *fate = Fate::Gone;
            self.left -= 1;
        } else if let Some(sequence) = self.by_name.remove(name) {
            self.by_sequence.remove(&sequence);
        }
    }

    /// Puts a node under a name: in place of what was there, so that a listing under way sees the name once.
    pub fn put(&mut self, name: &Name, kind: FileKind, node: Arc<Node>) {
        if let Some(fate) = self.fate_mut(name) {
            *fate = Fate::Is(kind, node);
        } else if let Some(made) = self.made_mut(name) {
            (made.kind, made.node) = (kind, Some(node));
        } else {
            self.push(Arc::clone(name), kind, Some(node));
        }
    }

    /// Gives a node another name. It keeps its cookie, if that name is new: a listing under way sees it once, and a
    /// program that renames what it lists comes to an end.
    pub fn rename(&mut self, name: &[u8], new: &Name, kind: FileKind, node: Arc<Node>) {
        let sequence = self.get(name).map(|slot| slot.sequence).filter(|_| self.get(new).is_none());
        self.remove(name);
        match sequence {
            Some(sequence) => self.insert(sequence, Arc::clone(new), kind, Some(node)),
            None => self.put(new, kind, node),
        }
    }

    /// Gives a name that was not looked at its node; nothing is made if there is no such name any more.
    pub fn settle(&mut self, name: &[u8], node: impl FnOnce() -> Arc<Node>) -> Option<Arc<Node>> {
        let kind = self.get(name).filter(|slot| slot.node.is_none())?.kind;
        let node = node();
        if let Some(fate) = self.fate_mut(name) {
            *fate = Fate::Is(kind, Arc::clone(&node));
        } else {
            self.made_mut(name)?.node = Some(Arc::clone(&node));
        }
        Some(node)
    }

    /// The cookie of a name of the tree, if this node stands under it.
    pub fn sequence_of(&self, name: &[u8], node: &Arc<Node>) -> Option<u64> {
        let at = self.find(name)?;
        match self.lower.as_ref()?.1.get(at)? {
            Fate::Is(_, there) if Arc::ptr_eq(there, node) => Some(FIRST_COOKIE + at as u64),
            _ => None,
        }
    }

    /// Lets the node of a tree's entry go that is as the tree has it.
    pub fn unlearn(&mut self, name: &[u8]) {
        if let Some(fate) = self.fate_mut(name) {
            *fate = Fate::Listed;
        }
    }

    /// Whether all is as the tree has it, and nobody has a node of it.
    pub fn is_pristine(&self) -> bool {
        let mut fates = self.lower.iter().flat_map(|(_, fates)| fates);
        self.by_sequence.is_empty() && fates.all(|fate| matches!(fate, Fate::Listed))
    }

    /// The names from a cookie on.
    pub fn after(&self, cookie: u64) -> impl Iterator<Item = Slot<&[u8]>> {
        let from =
            usize::try_from(cookie.saturating_add(1).saturating_sub(FIRST_COOKIE)).unwrap_or(usize::MAX);
        let count = self.lower.as_ref().map_or(0, |(_, fates)| fates.len());
        let made = self.by_sequence.range(cookie.saturating_add(1)..);
        let mut lower = (from.min(count)..count).filter_map(|at| self.listed(at)).peekable();
        let mut made = made.map(|(sequence, made)| made.slot(*sequence)).peekable();
        std::iter::from_fn(move || match (lower.peek(), made.peek()) {
            (Some(listed), Some(renamed)) if renamed.sequence < listed.sequence => made.next(),
            (Some(_), _) => lower.next(),
            (None, _) => made.next(),
        })
    }

    /// All names, in the order of listings.
    pub fn iter(&self) -> impl Iterator<Item = Slot<&[u8]>> {
        self.after(0)
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.lower.as_ref().and_then(|(tree, _)| tree.position(name).ok())
    }

    /// The tree's entry at a place, if its name still is there.
    fn listed(&self, at: usize) -> Option<Slot<&[u8]>> {
        let (tree, fates) = self.lower.as_ref()?;
        let (name, entry) = tree.nth(at)?;
        let (kind, node) = match fates.get(at)? {
            Fate::Listed => (kind_of(&entry.kind), None),
            Fate::Is(kind, node) => (*kind, Some(Arc::clone(node))),
            Fate::Gone => return None,
        };
        Some(Slot { sequence: FIRST_COOKIE + at as u64, name, kind, node })
    }

    fn fate_mut(&mut self, name: &[u8]) -> Option<&mut Fate> {
        let at = self.find(name)?;
        let fate = self.lower.as_mut()?.1.get_mut(at)?;
        (!matches!(fate, Fate::Gone)).then_some(fate)
    }

    fn made_mut(&mut self, name: &[u8]) -> Option<&mut Made> {
        self.by_sequence.get_mut(self.by_name.get(name)?)
    }

    /// Adds a name that is not there, at the end.
    fn push(&mut self, name: Name, kind: FileKind, node: Option<Arc<Node>>) {
        let sequence = self.next;
        self.next += 1;
        self.insert(sequence, name, kind, node);
    }

    fn insert(&mut self, sequence: u64, name: Name, kind: FileKind, node: Option<Arc<Node>>) {
        self.by_name.insert(Arc::clone(&name), sequence);
        self.by_sequence.insert(sequence, Made { name, kind, node });
    }
}

impl Made {
    fn slot(&self, sequence: u64) -> Slot<&[u8]> {
        Slot { sequence, name: &self.name, kind: self.kind, node: self.node.clone() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        NodeId,
        node::{Body, Inode},
    };
    use rbuild_tree::{Entry, Kind, Metadata, Timestamp};

    fn node() -> Arc<Node> {
        let inode = Inode::new(Metadata::root(0o644, Timestamp::default()), Body::Fifo, None);
        Node::new(NodeId(7), NodeId::ROOT, inode)
    }

    fn names(slots: &Slots, cookie: u64) -> Vec<Vec<u8>> {
        slots.after(cookie).map(|slot| slot.name.to_vec()).collect()
    }

    fn digits() -> [Name; 10] {
        std::array::from_fn(|digit| Name::from([b'0' + u8::try_from(digit).unwrap()]))
    }

    /// Of a tree, and of a live directory.
    fn both() -> [Slots; 2] {
        let entry = Entry { metadata: Metadata::root(0o644, Timestamp::default()), kind: Kind::Fifo };
        let tree = Tree::from_entries(digits().iter().map(|name| ((&**name).into(), entry.clone())));
        [Slots::of_tree(&Arc::new(tree)), Slots::of_names(digits().map(|name| (name, FileKind::Fifo)))]
    }

    #[test]
    fn cookies_survive_deletion_and_addition() {
        for mut slots in both() {
            let cookie = slots.after(0).nth(4).unwrap().sequence;
            digits()[..4].iter().for_each(|name| slots.remove(name));
            slots.remove(b"6");
            slots.put(&Name::from(&b"new"[..]), FileKind::Fifo, node());
            assert_eq!(names(&slots, cookie), [&b"5"[..], b"7", b"8", b"9", b"new"]);
            assert_eq!(names(&slots, 0).len(), 6);
            assert!(slots.after(u64::MAX).next().is_none());
            // A name that comes again is a new one.
            slots.put(&digits()[0], FileKind::Fifo, node());
            assert_eq!(names(&slots, cookie).last().unwrap(), b"0");
        }
    }

    #[test]
    fn a_name_is_looked_at_once_replaced_in_place_and_removed() {
        for mut slots in both() {
            let name = &digits()[3];
            assert!(slots.get(name).unwrap().node.is_none());
            let first = slots.settle(name, node).unwrap();
            assert!(Arc::ptr_eq(slots.get(name).unwrap().node.as_ref().unwrap(), &first));
            assert!(slots.settle(name, node).is_none());
            slots.put(name, FileKind::Directory, node());
            let slot = slots.get(name).unwrap();
            assert_eq!((slot.kind, slot.sequence), (FileKind::Directory, FIRST_COOKIE + 3));
            slots.remove(name);
            assert!(slots.get(name).is_none() && slots.settle(name, node).is_none());
            slots.remove(name);
            assert_eq!(names(&slots, 0).len(), 9);
            digits().iter().for_each(|name| slots.remove(name));
            assert!(slots.is_empty());
        }
    }

    #[test]
    fn a_new_name_of_what_was_there_keeps_its_cookie() {
        for mut slots in both() {
            let [name, other] = [&b"3.bak"[..], b"4.bak"].map(Name::from);
            slots.rename(b"3", &name, FileKind::Fifo, node());
            assert_eq!(slots.get(&name).unwrap().sequence, FIRST_COOKIE + 3);
            assert_eq!(names(&slots, FIRST_COOKIE + 1)[..3], [&b"2"[..], b"3.bak", b"4"]);
            assert_eq!(names(&slots, FIRST_COOKIE + 3)[..2], [b"4", b"5"]);
            slots.rename(&name, &digits()[3], FileKind::Fifo, node());
            assert_eq!(names(&slots, 0), digits().map(|name| name.to_vec()));
            // Over another one it takes that one's place.
            slots.rename(b"9", &digits()[0], FileKind::Fifo, node());
            assert_eq!(names(&slots, 0)[..2], [b"0", b"1"]);
            slots.rename(b"4", &other, FileKind::Fifo, node());
            slots.put(&digits()[4], FileKind::Fifo, node());
            assert_eq!(names(&slots, FIRST_COOKIE + 3), [&b"4.bak"[..], b"5", b"6", b"7", b"8", b"4"]);
        }
    }

    #[test]
    fn only_what_nobody_has_is_found_by_its_cookie() {
        let [mut slots, _] = both();
        assert_eq!(slots.listed_at(FIRST_COOKIE + 9), Some(&b"9"[..]));
        assert_eq!(slots.listed_at(FIRST_COOKIE + 10), None);
        assert_eq!(slots.listed_at(1), None);
        slots.settle(b"9", node).unwrap();
        slots.remove(b"8");
        assert_eq!((slots.listed_at(FIRST_COOKIE + 9), slots.listed_at(FIRST_COOKIE + 8)), (None, None));
    }
}
