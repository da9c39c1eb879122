//! Whether the store has what the files of kept folders name, looked at while steps run: the kernel knows of no damage.

use super::locked;
use crate::{
    error::{Error, Result},
    store::Store,
};
use rbuild_tree::{Kind, ObjectId, Snapshot, TreeStore, walk};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

/// What a look found: nothing, or what is missing.
type Found = std::result::Result<(), rbuild_tree::Error>;

/// Looks of a build, those that run and what they found.
#[derive(Default)]
pub(super) struct Checks(Mutex<State>);

#[derive(Default)]
struct State {
    running: Vec<JoinHandle<Found>>,
    missing: Option<String>,
}

impl Checks {
    /// Begins to look at what a snapshot's files need.
    pub(super) fn begin(&self, store: &Arc<Store>, snapshot: &Snapshot) {
        let (store, tree) = (store.clone(), snapshot.tree);
        locked(&self.0).running.push(thread::spawn(move || look(&store, &tree)));
    }

    /// Waits for what was begun.
    ///
    /// # Errors
    /// Something is missing: said to everybody who asks, since nobody knows what a command made of it.
    pub(super) fn finish(&self) -> Result<()> {
        let mut state = locked(&self.0);
        for look in std::mem::take(&mut state.running) {
            match look.join() {
                Ok(Ok(())) => {}
                Ok(Err(rbuild_tree::Error::Missing { id, .. })) => state.missing = Some(id),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(Error::internal("looking at the store's files panicked")),
            }
        }
        match &state.missing {
            Some(id) => Err(rbuild_tree::Error::Missing { what: "object", id: id.clone() }.into()),
            None => Ok(()),
        }
    }
}

fn look(store: &Store, tree: &rbuild_tree::TreeId) -> Found {
    let mut seen: HashSet<ObjectId> = HashSet::new();
    walk(store as &dyn TreeStore, tree, &mut |_, entry| match &entry.kind {
        Kind::File { object, size: 1.. } if seen.insert(*object) && store.look_at_object(object).is_err() => {
            Err(rbuild_tree::Error::Missing { what: "object", id: object.to_string() })
        }
        _ => Ok(()),
    })
}
