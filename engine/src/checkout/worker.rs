//! The worker: does with the ids of a sandbox what the engine asks for, until nobody asks any more.

use super::{
    outcome::{Doing, Outcome},
    unpack::Unpack,
    upper::Upper,
    wire,
};
use crate::store::remove_contents;
use rbuild_sandbox::{Channel, Memory};
use rustix::fs::{Mode, OFlags, openat};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

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
    rustix::process::umask(Mode::empty());
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
            Err(reason) => fail(channel, reason),
        };
        let sent = match sent {
            // Nothing was sent.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => fail(channel, wire::TOO_LARGE),
            sent => sent,
        };
        if sent.is_err() {
            return;
        }
    }
}

fn fail(channel: &Channel, reason: &str) -> io::Result<()> {
    channel.send(&wire::join(&[b"failed", reason.as_bytes()]), &[])
}

impl Worker {
    fn answer(&mut self, question: &[&[u8]], descriptors: Vec<OwnedFd>) -> Outcome<Answer> {
        match question {
            // The folder comes along.
            [b"make", snapshot] => self.unpack = Some(Unpack::begin(first(descriptors)?, snapshot)?),
            // The bytes of the files that have some come along, in order.
            [b"fill", path, tree] => {
                let unpack = self.unpack.as_mut().ok_or("nothing was begun")?;
                unpack.fill(path, tree, descriptors)?;
            }
            [b"link", paths @ ..] => self.unpack.as_ref().ok_or("nothing was begun")?.link(paths)?,
            [b"finish"] => self.unpack.take().ok_or("nothing was begun")?.finish()?,
            // The folder of the changes comes along, and those of the stack below it. Perhaps who is who must be told.
            [b"read", identities @ ..] => {
                let mut descriptors = descriptors.into_iter();
                let folder = descriptors.next().ok_or("no folder came along")?;
                let identities = *identities == [b"identities"];
                let (upper, roots) = Upper::begin(folder, descriptors.collect(), identities)?;
                self.upper = Some(upper);
                return Ok((roots, Vec::new()));
            }
            [b"next"] => return self.upper.as_mut().ok_or("nothing was begun")?.next(),
            [b"look", path] => {
                let found = self.upper.as_ref().ok_or("nothing was begun")?.look_below(path)?;
                return Ok((found, Vec::new()));
            }
            // What it is to have room for: two numbers of 8 bytes. It goes back.
            [b"memory", entries, contents] => {
                let number = |bytes: &[u8]| {
                    bytes.try_into().map(u64::from_le_bytes).map_err(|_| "the question is malformed")
                };
                let memory = Memory::make(number(entries)?, number(contents)?);
                let memory = memory.and_then(|memory| memory.as_fd().try_clone_to_owned());
                return Ok((Vec::new(), vec![memory.doing("make in memory", Path::new(""))?]));
            }
            [b"empty"] => {
                // What was read before may lie in it, open.
                *self = Self::default();
                // What came along only names it.
                let folder =
                    openat(first(descriptors)?, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
                folder.map_err(Into::into).and_then(remove_contents).doing("empty", Path::new(""))?;
            }
            _ => return Err("the question is not known".to_owned()),
        }
        Ok((Vec::new(), Vec::new()))
    }
}

fn first(descriptors: Vec<OwnedFd>) -> Outcome<OwnedFd> {
    descriptors.into_iter().next().ok_or_else(|| "no folder came along".to_owned())
}
