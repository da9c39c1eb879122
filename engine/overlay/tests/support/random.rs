//! Random operations, on an overlay and on a plain directory.

use super::view::{split, walk};
use proptest::prelude::*;
use rbuild_overlay::{
    Caller, Errno, FileKind, NodeId, Overlay,
    ops::{SetAttributes, Special},
};
use rustix::fs::{CWD, RenameFlags};
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    path::Path,
};

/// One operation.
#[derive(Clone, Debug)]
pub enum Op {
    Mkdir(String),
    Create(String),
    Symlink(String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, u32),
    Link(String, String),
    Write(String, u64, Vec<u8>),
    Truncate(String, u64),
    Chmod(String, u32),
    SetXattr(String, u8),
}

/// Few names, so that operations meet.
fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..4)
        .prop_map(|names| names.join("/"))
}

pub fn op() -> impl Strategy<Value = Op> {
    let bytes = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 1..40),
        1 => (50_usize..300, any::<u8>()).prop_map(|(count, byte)| vec![byte; count]),
    ];
    prop_oneof![
        4 => path().prop_map(Op::Mkdir),
        4 => path().prop_map(Op::Create),
        1 => path().prop_map(Op::Symlink),
        2 => path().prop_map(Op::Unlink),
        2 => path().prop_map(Op::Rmdir),
        4 => (path(), path(), prop_oneof![4 => Just(0), 1 => Just(1), 1 => Just(2)])
            .prop_map(|(from, to, flags)| Op::Rename(from, to, flags)),
        2 => (path(), path()).prop_map(|(from, to)| Op::Link(from, to)),
        3 => (path(), 0_u64..300, bytes).prop_map(|(path, offset, bytes)| Op::Write(path, offset, bytes)),
        1 => (path(), 0_u64..300).prop_map(|(path, size)| Op::Truncate(path, size)),
        1 => (path(), 0_u32..0o10000).prop_map(|(path, mode)| Op::Chmod(path, mode)),
        1 => (path(), any::<u8>()).prop_map(|(path, value)| Op::SetXattr(path, value)),
    ]
}

pub const ROOT_CALLER: Caller = Caller { uid: 0, gid: 0, umask: 0o022, pid: 0 };

fn file(overlay: &Overlay, path: &str) -> Result<NodeId, Errno> {
    let id = walk(overlay, path)?;
    match overlay.getattr(id)?.kind {
        FileKind::File => Ok(id),
        FileKind::Symlink => Err(Errno::LOOP),
        _ => Err(Errno::ISDIR),
    }
}

fn not_a_link(overlay: &Overlay, path: &str) -> Result<NodeId, Errno> {
    let id = walk(overlay, path)?;
    // Following a dangling link.
    if overlay.getattr(id)?.kind == FileKind::Symlink { Err(Errno::NOENT) } else { Ok(id) }
}

pub fn on_overlay(overlay: &Overlay, op: &Op) -> Result<(), Errno> {
    let caller = &ROOT_CALLER;
    match op {
        Op::Mkdir(path) => {
            split(overlay, path).and_then(|(id, name)| overlay.mkdir(id, name, 0o777, caller).map(drop))
        }
        Op::Create(path) => split(overlay, path)
            .and_then(|(id, name)| overlay.mknod(id, name, Special::File, 0o666, caller).map(drop)),
        Op::Symlink(path) => split(overlay, path)
            .and_then(|(id, name)| overlay.symlink(id, name, b"nowhere/at/all", caller).map(drop)),
        Op::Unlink(path) => split(overlay, path).and_then(|(id, name)| overlay.unlink(id, name)),
        Op::Rmdir(path) => split(overlay, path).and_then(|(id, name)| overlay.rmdir(id, name)),
        Op::Rename(from, to, flags) => {
            let ((from, name), (to, new_name)) = (split(overlay, from)?, split(overlay, to)?);
            overlay.rename(from, name, to, new_name, *flags)
        }
        Op::Link(from, to) => {
            let (id, (to, name)) = (walk(overlay, from)?, split(overlay, to)?);
            overlay.link(id, to, name).map(drop)
        }
        Op::Write(path, offset, bytes) => {
            overlay.write(file(overlay, path)?, *offset, bytes, false).map(drop)
        }
        Op::Truncate(path, size) => {
            let set = SetAttributes { size: Some(*size), ..SetAttributes::default() };
            overlay.setattr(file(overlay, path)?, &set, caller).map(drop)
        }
        Op::Chmod(path, mode) => {
            let set = SetAttributes { mode: Some(*mode), ..SetAttributes::default() };
            overlay.setattr(not_a_link(overlay, path)?, &set, caller).map(drop)
        }
        Op::SetXattr(path, value) => {
            overlay.setxattr(not_a_link(overlay, path)?, b"user.test", &[*value], 0, caller)
        }
    }
}

pub fn on_plain(root: &Path, op: &Op) -> Result<(), Errno> {
    let at = |path: &str| root.join(path);
    let nofollow = |path: &str| {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NOFOLLOW;
        rustix::fs::open(at(path), flags, rustix::fs::Mode::empty()).map(File::from)
    };
    let io = |result: std::io::Result<()>| result.map_err(|cause| Errno::from_io_error(&cause).unwrap());
    match op {
        Op::Mkdir(path) => io(fs::create_dir(at(path))),
        Op::Create(path) => io(File::options().write(true).create_new(true).open(at(path)).map(drop)),
        Op::Symlink(path) => io(symlink("nowhere/at/all", at(path))),
        Op::Unlink(path) => io(fs::remove_file(at(path))),
        Op::Rmdir(path) => io(fs::remove_dir(at(path))),
        Op::Rename(from, to, flags) => {
            rustix::fs::renameat_with(CWD, at(from), CWD, at(to), RenameFlags::from_bits_retain(*flags))
        }
        Op::Link(from, to) => io(fs::hard_link(at(from), at(to))),
        Op::Write(path, offset, bytes) => io(nofollow(path)?.write_all_at(bytes, *offset)),
        Op::Truncate(path, size) => io(nofollow(path)?.set_len(*size)),
        Op::Chmod(path, mode) => io(fs::set_permissions(at(path), fs::Permissions::from_mode(*mode))),
        Op::SetXattr(path, value) => {
            rustix::fs::setxattr(at(path), "user.test", &[*value], rustix::fs::XattrFlags::empty())
        }
    }
}

/// Operations about names of files alone.
pub fn name_op() -> impl Strategy<Value = Op> {
    let path = || {
        proptest::collection::vec(prop_oneof![Just("a"), Just("b")], 1..3).prop_map(|names| names.join("/"))
    };
    prop_oneof![
        2 => path().prop_map(Op::Create),
        1 => path().prop_map(Op::Mkdir),
        1 => path().prop_map(Op::Unlink),
        3 => (path(), path()).prop_map(|(from, to)| Op::Link(from, to)),
        2 => (path(), path(), prop_oneof![3 => Just(0), 1 => Just(2)])
            .prop_map(|(from, to, flags)| Op::Rename(from, to, flags)),
        1 => (path(), any::<bool>()).prop_map(|(path, bit)| Op::Write(path, 0, vec![u8::from(bit); 1])),
        1 => (path(), any::<bool>()).prop_map(|(path, bit)| Op::Chmod(path, if bit { 0o600 } else { 0o644 })),
    ]
}
