//! Whether the store has what the files of kept folders name, looked at while steps run: the kernel knows of no damage.

use super::locked;
use crate::{
    error::{Error, Result},
    store::Store,
};
use rbuild_tree::ObjectId;
use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

/// Looks of a build, those that run and what they found.
#[derive(Default)]
pub(super) struct Checks(Mutex<State>);

#[derive(Default)]
struct State {
    running: Vec<JoinHandle<Result<Option<ObjectId>>>>,
    missing: Option<ObjectId>,
}

impl Checks {
    /// Begins to look at the objects of a list: 32 bytes each.
    pub(super) fn begin(&self, store: &Arc<Store>, list: &Path) {
        let list = list.to_owned();
        self.run(store, move |store| {
            let bytes = fs::read(&list).map_err(|error| Error::io("read", &list, error))?;
            look(store, bytes.as_chunks().0.iter().copied().map(ObjectId::from_bytes))
        });
    }

    /// Begins to look at these.
    pub(super) fn begin_with(&self, store: &Arc<Store>, objects: Vec<ObjectId>) {
        self.run(store, move |store| look(store, objects));
    }

    fn run(
        &self,
        store: &Arc<Store>,
        find: impl FnOnce(&Store) -> Result<Option<ObjectId>> + Send + 'static,
    ) {
        let store = store.clone();
        locked(&self.0).running.push(thread::spawn(move || find(&store)));
    }

    /// Waits for what was begun.
    ///
    /// # Errors
    /// Something is missing: said to everybody who asks, since nobody knows what a command made of it.
    pub(super) fn finish(&self) -> Result<()> {
        let mut state = locked(&self.0);
        for look in std::mem::take(&mut state.running) {
            match look.join() {
                Ok(found) => state.missing = found?.or(state.missing),
                Err(_) => return Err(Error::internal("looking at the store's files panicked")),
            }
        }
        state.missing.map_or(Ok(()), |object| Err(missing(&object)))
    }
}

/// Looks at objects now.
///
/// # Errors
/// One is missing.
pub(super) fn check(store: &Store, objects: impl IntoIterator<Item = ObjectId>) -> Result<()> {
    look(store, objects)?.map_or(Ok(()), |object| Err(missing(&object)))
}

fn look(store: &Store, objects: impl IntoIterator<Item = ObjectId>) -> Result<Option<ObjectId>> {
    store.lacks_object(objects).map_err(|error| Error::io("open", &store.objects_path(), error))
}

fn missing(object: &ObjectId) -> Error {
    rbuild_tree::Error::Missing { what: "object", id: object.to_string() }.into()
}
