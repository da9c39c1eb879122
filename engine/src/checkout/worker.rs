//! The worker: does with the ids of a sandbox what the engine asks for, until nobody asks any more.

use super::{unpack::Unpack, upper::Upper, wire};
use rbuild_sandbox::Channel;
use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// What one operation gave, or why it could not be done, as a sentence.
pub(super) type Outcome<T> = Result<T, String>;

/// Names the operation that failed.
pub(super) trait Doing<T> {
    fn doing(self, what: &str, path: &Path) -> Outcome<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: &str, path: &Path) -> Outcome<T> {
        self.map_err(|error| format!("{what} /{}: {}", path.display(), error.into()))
    }
}

/// What is under way.
#[derive(Default)]
struct Worker {
    unpack: Option<Unpack>,
    upper: Option<Upper>,
}

/// An answer: its parts, and descriptors.
type Answer = (Vec<u8>, Vec<OwnedFd>);

/// The work of a [`Worker`](rbuild_sandbox::Worker), for `main`.
pub fn work(channel: &Channel) {
    let mut worker = Worker::default();
    while let Ok(Some((question, descriptors))) = channel.receive() {
        let answer = match wire::split(&question) {
            Some(parts) => worker.answer(&parts, descriptors),
            None => Err("the question is malformed".to_owned()),
        };
        let sent = match &answer {
            Ok((parts, descriptors)) => {
                let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                channel.send(&wire::join(&[b"done", parts]), &descriptors)
            }
            Err(reason) => channel.send(&wire::join(&[b"failed", reason.as_bytes()]), &[]),
        };
        if sent.is_err() {
            return;
        }
    }
}

impl Worker {
    fn answer(&mut self, question: &[&[u8]], descriptors: Vec<OwnedFd>) -> Outcome<Answer> {
        match question {
            // The folder comes along.
            [b"make", snapshot] => {
                enter(descriptors)?;
                self.unpack = Some(Unpack::begin(snapshot)?);
            }
            // The bytes of the files that have some come along, in order.
            [b"fill", path, tree] => {
                let unpack = self.unpack.as_mut().ok_or("nothing was begun")?;
                unpack.fill(path, tree, descriptors)?;
            }
            [b"finish"] => self.unpack.take().ok_or("nothing was begun")?.finish()?,
            // The folder of the changes comes along, and those of the stack below it.
            [b"read"] => {
                let mut descriptors = descriptors.into_iter();
                enter(descriptors.next())?;
                let (upper, roots) = Upper::begin(descriptors.collect())?;
                self.upper = Some(upper);
                return Ok((roots, Vec::new()));
            }
            [b"next"] => return self.upper.as_mut().ok_or("nothing was begun")?.next(),
            [b"empty"] => {
                enter(descriptors)?;
                empty()?;
            }
            _ => return Err("the question is not known".to_owned()),
        }
        Ok((Vec::new(), Vec::new()))
    }
}

/// Makes the folder that came along the current one, so that paths are relative and need no way to it.
fn enter(descriptors: impl IntoIterator<Item = OwnedFd>) -> Outcome<()> {
    let folder = descriptors.into_iter().next().ok_or("no folder came along")?;
    rustix::process::fchdir(&folder).doing("enter", Path::new(""))
}

fn empty() -> Outcome<()> {
    for entry in fs::read_dir(".").doing("list", Path::new(""))? {
        let entry = entry.doing("list", Path::new(""))?;
        let path = entry.file_name();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.doing("remove", path.as_ref())?;
    }
    Ok(())
}
