//! The messages between the engine and the processes of a sandbox.
//!
//! A frame is a little-endian u32 length and that many bytes of JSON, over a stream socket. Descriptors travel with
//! the first byte of a frame (SCM_RIGHTS), received close-on-exec. Several processes of the sandbox write to one
//! socket: each frame is one send, far below the socket's buffer, so frames never mix.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::exit::{ExecFailure, Exit};
use crate::{Failure, Setup};

/// The kernel's SCM_MAX_FD.
const MAXIMUM_DESCRIPTORS: usize = 253;

/// No set-up is larger: the kernel takes 6 MiB of arguments and environment at most.
const MAXIMUM_FRAME: u32 = 64 << 20;

/// What the engine says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ToChild {
    Setup {
        setup: Box<Setup>,
        joined_output: bool,
    },
    /// Instead of a set-up: give this program as no sandbox can change it.
    Guard,
    /// Instead of a set-up: do the program's own work with these ids. After `Ready` the frames are the work's.
    Work {
        single: bool,
    },
    Mapped,
    Proceed,
}

/// What the sandbox says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FromChild {
    /// Comes with the program, open; nothing follows.
    Guarded,
    /// The user namespace exists and has no ids yet.
    Unshared,
    /// Comes with the init's pidfd (if the kernel has those), the read ends of the pipes, the FUSE descriptors.
    Mounted { pidfd: bool },
    /// The root is in place; the command is about to be started.
    Ready { warnings: Vec<String>, devices: Vec<u64> },
    /// Comes with the descriptor of a [`Listener`](crate::notify::Listener); calls of the command already wait for it.
    Listening,
    /// Nobody can answer the calls of the command, which goes on without.
    Alone,
    /// An operation failed; nothing follows.
    Failed(Failure),
    /// The command never began.
    ExecFailed(ExecFailure),
    /// The command ended.
    Ended(Exit),
}

/// Sends `message` with `descriptors`.
pub(crate) fn send<T: Serialize>(
    socket: &UnixStream,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    send_bytes(socket, &serde_json::to_vec(message)?, descriptors)
}

/// The same for any bytes.
pub(crate) fn send_bytes(socket: &UnixStream, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= MAXIMUM_FRAME);
    let length = length.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "message too long"))?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend_from_slice(body);
    let sent = send_first(socket, &frame, descriptors)?;
    let mut writer = socket;
    writer.write_all(&frame[sent..])
}

fn send_first(socket: &UnixStream, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAXIMUM_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "too many descriptors"));
    }
    loop {
        // NOSIGNAL: the engine's end may be gone, and that is told by the error.
        match sendmsg(socket.as_fd(), &[IoSlice::new(frame)], &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// The next message and its descriptors; `None` at the end of the stream.
pub(crate) fn receive<T: DeserializeOwned>(socket: &UnixStream) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    match receive_bytes(socket)? {
        Some((body, descriptors)) => Ok(Some((serde_json::from_slice(&body)?, descriptors))),
        None => Ok(None),
    }
}

/// The same for any bytes.
pub(crate) fn receive_bytes(socket: &UnixStream) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut header = [0; 4];
    let mut descriptors = Vec::new();
    let first = receive_first(socket, &mut header, &mut descriptors)?;
    if first == 0 {
        return Ok(None);
    }
    let mut reader = socket;
    reader.read_exact(&mut header[first..])?;
    let length = u32::from_le_bytes(header);
    if length > MAXIMUM_FRAME {
        return Err(io::Error::new(ErrorKind::InvalidData, "message too long"));
    }
    let mut body = vec![0; length as usize];
    reader.read_exact(&mut body)?;
    Ok(Some((body, descriptors)))
}

fn receive_first(
    socket: &UnixStream,
    header: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAXIMUM_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(header)];
        match recvmsg(socket.as_fd(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    // Descriptors are cut off silently when this process may not open more.
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::File;

    #[test]
    fn messages_and_descriptors_arrive_in_order() {
        let (one, two) = UnixStream::pair().unwrap();
        let null = File::open("/dev/null").unwrap();
        let many: Vec<_> = (0..MAXIMUM_DESCRIPTORS).map(|_| null.as_fd()).collect();
        send(&one, &FromChild::Unshared, &[]).unwrap();
        send(&one, &FromChild::Mounted { pidfd: false }, &many).unwrap();
        send(&one, &FromChild::Ended(Exit::Code(3)), &[]).unwrap();
        drop(one);
        let (message, descriptors) = receive::<FromChild>(&two).unwrap().unwrap();
        assert!(matches!(message, FromChild::Unshared) && descriptors.is_empty());
        let (message, descriptors) = receive::<FromChild>(&two).unwrap().unwrap();
        assert!(matches!(message, FromChild::Mounted { .. }));
        assert_eq!(descriptors.len(), MAXIMUM_DESCRIPTORS);
        for descriptor in &descriptors {
            assert!(rustix::io::fcntl_getfd(descriptor).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        }
        let (message, _) = receive::<FromChild>(&two).unwrap().unwrap();
        assert!(matches!(message, FromChild::Ended(Exit::Code(3))));
        assert!(receive::<FromChild>(&two).unwrap().is_none());
    }

    #[test]
    fn garbage_is_an_error() {
        for bytes in [&b"\xff\xff\xff\xff"[..], b"\x02\0\0\0{}", b"\x05\0\0\0{}", b"\x01"] {
            let (one, two) = UnixStream::pair().unwrap();
            (&one).write_all(bytes).unwrap();
            drop(one);
            assert!(receive::<FromChild>(&two).is_err(), "{bytes:?}");
        }
    }
}
