//! Keeps a trace while a step runs.

use super::{
    Attributes, Seen, Trace,
    input::{inode_attributes, live_listing, tree_listing, unchanged},
    whole,
};
use crate::{
    Overlay, Stamp,
    content::{Data, Source as Bytes},
    directory::Source,
    lower::live::LiveRoot,
    node::{Body, Inode, Node},
    place::Place,
};
use rbuild_tree::{ObjectId, TreePath};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What was seen so far.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Marks>);

#[derive(Default)]
struct Marks {
    entries: BTreeMap<TreePath, Mark>,
    /// Why the trace is worth nothing.
    spoiled: Option<String>,
}

#[derive(Default)]
struct Mark {
    attributes: Option<Attributes>,
    absent: bool,
    listing: Option<ObjectId>,
    content: Option<Content>,
}

/// What was read.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Known(ObjectId),
    /// A live file, hashed at the end: it must still be this one then.
    Live(Stamp),
}

impl Recorder {
    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, path: TreePath, action: impl FnOnce(&mut Mark)) {
        action(self.marks().entries.entry(path).or_default());
    }

    /// Bytes, or what stands for them.
    pub fn content(&self, path: TreePath, content: Content) {
        self.mark(path, |mark| {
            mark.content.get_or_insert(content);
        });
    }

    /// A listing.
    pub fn listing(&self, path: TreePath, digest: ObjectId) {
        self.mark(path, |mark| {
            mark.listing.get_or_insert(digest);
        });
    }

    fn is_listed(&self, path: &TreePath) -> bool {
        self.marks().entries.get(path).is_some_and(|mark| mark.listing.is_some())
    }

    /// The trace can't be used.
    pub fn spoil(&self, reason: String) {
        self.marks().spoiled.get_or_insert(reason);
    }

    /// The trace; or why there is none.
    pub fn finish(&self, live: Option<&LiveRoot>) -> Result<Trace, String> {
        let mut marks = self.marks();
        if let Some(reason) = &marks.spoiled {
            return Err(reason.clone());
        }
        let mut trace = Trace::default();
        for (path, mark) in std::mem::take(&mut marks.entries) {
            let content = mark.content.map(|content| finish_content(&path, content, live)).transpose()?;
            let absent = mark.absent && mark.attributes.is_none();
            let seen = Seen { attributes: mark.attributes, absent, listing: mark.listing, content };
            trace.entries.insert(path, seen);
        }
        Ok(trace)
    }
}

fn finish_content(path: &TreePath, content: Content, live: Option<&LiveRoot>) -> Result<ObjectId, String> {
    let stamp = match content {
        Content::Known(id) => return Ok(id),
        Content::Live(stamp) => stamp,
    };
    let Some(live) = live else { return Err(format!("{path} is in no live directory")) };
    live.file(path)
        .and_then(|file| unchanged(&file, &stamp))
        .map_err(|_| format!("{path} changed or vanished while the step ran"))
}

impl Overlay {
    /// A name was looked up in a directory, and this was found.
    pub(crate) fn saw_name(&self, directory: &Node, name: &[u8], child: Option<&Arc<Node>>) {
        let Some(recorder) = &self.0.recorder else { return };
        let (place, in_lower) = {
            let inode = directory.lock();
            let Some(place) = inode.traced_place().map(Arc::clone) else { return };
            (place, inode.directory().is_some_and(|directory| directory.lower_has(name)))
        };
        match child {
            Some(child) => {
                let inode = child.lock();
                if inode.is_traced() && inode.stood_at(&place, name) {
                    let attributes = inode_attributes(&inode);
                    recorder.mark(place.path().join(name), |mark| {
                        mark.attributes.get_or_insert(attributes);
                    });
                }
            }
            // What the step itself removed was seen before.
            None if !in_lower => recorder.mark(place.path().join(name), |mark| mark.absent = true),
            None => {}
        }
    }

    /// Attributes of a node were asked for that no look-up gives.
    pub(crate) fn saw_attributes(&self, inode: &Inode) {
        let (Some(recorder), Some(place)) = (&self.0.recorder, inode.traced_place()) else { return };
        let attributes = inode_attributes(inode);
        recorder.mark(place.path(), |mark| {
            mark.attributes.get_or_insert(attributes);
        });
    }

    /// A directory was listed, or found to be empty.
    pub(crate) fn saw_listing(&self, node: &Node) {
        let Some(recorder) = &self.0.recorder else { return };
        let (path, mtime, source) = {
            let inode = node.lock();
            let (Some(place), Some(directory)) = (inode.traced_place(), inode.directory()) else { return };
            (place.path(), inode.lower_metadata().mtime, directory.source.clone())
        };
        if recorder.is_listed(&path) {
            return;
        }
        match (source, self.0.base.live()) {
            (Source::Tree(_, tree), _) => {
                let digest = tree_listing(&path, mtime, &tree, &self.0.base.groups);
                recorder.listing(path, digest);
            }
            (Source::Live(_), Some(live)) => match live_listing(live, &path) {
                Ok(Some(digest)) => recorder.listing(path, digest),
                Ok(None) => recorder.spoil(format!("{path} changed or vanished while the step ran")),
                Err(cause) => recorder.spoil(format!("{path} could not be listed: {cause}")),
            },
            _ => {}
        }
    }

    /// Bytes of a node of the lower were read, or will reappear in the result.
    pub(crate) fn saw_content(&self, inode: &mut Inode) {
        let Some(recorder) = self.0.recorder.as_ref().filter(|_| !inode.read) else { return };
        let Some(origin) = inode.origin.as_ref().filter(|origin| origin.traced) else { return };
        if let Some(content) = lower_content(inode) {
            let places = std::iter::once(&origin.place).chain(&origin.aliases);
            places.for_each(|place| recorder.content(place.path(), content));
            inode.read = true;
        }
    }

    /// A node of the lower whose bytes were read turned out to have another name there.
    pub(crate) fn saw_alias(&self, inode: &Inode, alias: &Place) {
        let (Some(recorder), Some(place), true) = (&self.0.recorder, inode.traced_place(), inode.read) else {
            return;
        };
        let known = recorder.marks().entries.get(&place.path()).and_then(|mark| mark.content);
        if let Some(content) = known {
            recorder.content(alias.path(), content);
        }
    }
}

/// What the lower has as the content of a node; nothing for a directory.
pub(crate) fn lower_content(inode: &Inode) -> Option<Content> {
    if let Some(original) = &inode.original {
        return original.content;
    }
    match &inode.body {
        Body::File(Data::Lower { source: Bytes::Object(id), .. }) => Some(Content::Known(*id)),
        Body::File(Data::Lower { source: Bytes::Live { stamp, .. }, .. }) => Some(Content::Live(*stamp)),
        Body::File(_) | Body::Directory(_) => None,
        _ => Some(Content::Known(whole(inode_attributes(inode), inode.mtime))),
    }
}
