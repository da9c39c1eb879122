//! Random operations of a program on files.

use proptest::prelude::*;
use rustix::fs::{AtFlags, FallocateFlags, RenameFlags, XattrFlags};

/// One operation; paths are relative to what is mounted.
#[derive(Clone, Debug)]
pub enum Op {
    Create {
        path: String,
        mode: u32,
        exclusive: bool,
    },
    Mkdir {
        path: String,
        mode: u32,
    },
    Fifo {
        path: String,
    },
    Symlink {
        target: String,
        path: String,
    },
    Unlink {
        path: String,
    },
    Rmdir {
        path: String,
    },
    Rename {
        from: String,
        to: String,
        flags: RenameFlags,
    },
    Link {
        from: String,
        to: String,
    },
    Write {
        path: String,
        offset: u64,
        bytes: Vec<u8>,
    },
    Append {
        path: String,
        bytes: Vec<u8>,
    },
    Truncate {
        path: String,
        size: u64,
    },
    Allocate {
        path: String,
        flags: FallocateFlags,
        offset: u64,
        length: u64,
    },
    Copy {
        from: (String, u64),
        to: (String, u64),
        length: usize,
    },
    Chmod {
        path: String,
        mode: u32,
    },
    Chown {
        path: String,
        owner: (Option<u32>, Option<u32>),
        at: AtFlags,
    },
    /// No time is the present one.
    Date {
        path: String,
        time: Option<(i64, i64)>,
        at: AtFlags,
    },
    SetXattr {
        path: String,
        name: &'static str,
        value: Vec<u8>,
        flags: XattrFlags,
    },
    RemoveXattr {
        path: String,
        name: &'static str,
    },
    Stat {
        path: String,
    },
    List {
        path: String,
    },
    Read {
        path: String,
    },
    /// Opens something and keeps it open, in the place of what was kept there.
    Hold {
        slot: usize,
        path: String,
        how: Hold,
    },
    Held {
        slot: usize,
        act: Act,
    },
    /// The same by somebody else than root.
    AsUser(Box<Op>),
}

/// How a file is held open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Write,
    Read,
    Directory,
}

/// What is done with something that is held open.
#[derive(Clone, Debug)]
pub enum Act {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate { size: u64 },
    Allocate { flags: FallocateFlags, offset: u64, length: u64 },
    Chmod { mode: u32 },
    Read,
    Stat,
    List,
    Create { name: &'static str },
    Unlink { name: &'static str },
    Close,
}

pub const SLOTS: usize = 3;

/// Few, so that operations meet.
fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just("c")]
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(name(), 1..4).prop_map(|names| names.join("/"))
}

/// Memory and scratch files of an overlay, and pages: sizes around the limits of all three.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0_u64..150, 1 => 4000_u64..9000]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 1..40),
        1 => (50_usize..300, any::<u8>()).prop_map(|(count, byte)| vec![byte; count]),
        1 => (4000_usize..9000, any::<u8>()).prop_map(|(count, byte)| vec![byte; count]),
    ]
}

/// No set-group bit without the group's execution: a directory takes it from what somebody outside the group writes,
/// FUSE leaves it, and does not say which groups a writer has.
fn mode() -> impl Strategy<Value = u32> {
    (0_u32..0o10000).prop_map(|mode| if mode & 0o2000 == 0 { mode } else { mode | 0o010 })
}

fn follow() -> impl Strategy<Value = AtFlags> {
    prop_oneof![Just(AtFlags::empty()), Just(AtFlags::SYMLINK_NOFOLLOW)]
}

fn allocation() -> impl Strategy<Value = (FallocateFlags, u64, u64)> {
    let (keep, punch, zero) =
        (FallocateFlags::KEEP_SIZE, FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE);
    let flags = prop_oneof![
        1 => Just(FallocateFlags::empty()),
        1 => Just(keep),
        3 => Just(keep | punch),
        1 => Just(zero),
        1 => Just(zero | keep)
    ];
    (flags, offset(), 0_u64..9000)
}

fn owner() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![Just(None), Just(Some(0)), Just(Some(7)), Just(Some(1000))]
}

/// Names of the past alone: whoever compares takes what is later for the present.
fn time() -> impl Strategy<Value = Option<(i64, i64)>> {
    let past = prop_oneof![Just((0, 0)), Just((1, 5)), Just((1_000_000_000, 999_999_999))];
    prop_oneof![1 => Just(None), 3 => past.prop_map(Some)]
}

fn xattr() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("user.one"), Just("user.two")]
}

fn names() -> impl Strategy<Value = Op> {
    // Only downwards: nothing leads out of what is mounted.
    let target = prop_oneof![3 => path(), 1 => Just(".".to_owned()), 1 => Just("nowhere/at/all".to_owned())];
    let flags = prop_oneof![
        4 => Just(RenameFlags::empty()),
        1 => Just(RenameFlags::NOREPLACE),
        2 => Just(RenameFlags::EXCHANGE)
    ];
    prop_oneof![
        4 => (path(), mode(), any::<bool>())
            .prop_map(|(path, mode, exclusive)| Op::Create { path, mode, exclusive }),
        4 => (path(), mode()).prop_map(|(path, mode)| Op::Mkdir { path, mode }),
        1 => path().prop_map(|path| Op::Fifo { path }),
        1 => (target, path()).prop_map(|(target, path)| Op::Symlink { target, path }),
        2 => path().prop_map(|path| Op::Unlink { path }),
        2 => path().prop_map(|path| Op::Rmdir { path }),
        6 => (path(), path(), flags).prop_map(|(from, to, flags)| Op::Rename { from, to, flags }),
        3 => (path(), path()).prop_map(|(from, to)| Op::Link { from, to }),
    ]
}

fn content() -> impl Strategy<Value = Op> {
    let place = || (path(), offset());
    prop_oneof![
        3 => (path(), offset(), bytes())
            .prop_map(|(path, offset, bytes)| Op::Write { path, offset, bytes }),
        1 => (path(), bytes()).prop_map(|(path, bytes)| Op::Append { path, bytes }),
        1 => (path(), offset()).prop_map(|(path, size)| Op::Truncate { path, size }),
        1 => (path(), allocation())
            .prop_map(|(path, (flags, offset, length))| Op::Allocate { path, flags, offset, length }),
        1 => (place(), place(), 0_usize..9000)
            .prop_map(|(from, to, length)| Op::Copy { from, to, length }),
    ]
}

fn attributes() -> impl Strategy<Value = Op> {
    let flags = prop_oneof![
        4 => Just(XattrFlags::empty()),
        1 => Just(XattrFlags::CREATE),
        1 => Just(XattrFlags::REPLACE)
    ];
    // Not without any byte: to an archive that is no attribute.
    let value = proptest::collection::vec(any::<u8>(), 1..9);
    prop_oneof![
        (path(), mode()).prop_map(|(path, mode)| Op::Chmod { path, mode }),
        (path(), (owner(), owner()), follow()).prop_map(|(path, owner, at)| Op::Chown { path, owner, at }),
        (path(), time(), follow()).prop_map(|(path, time, at)| Op::Date { path, time, at }),
        (path(), xattr(), value, flags).prop_map(|(path, name, value, flags)| Op::SetXattr {
            path,
            name,
            value,
            flags
        }),
        (path(), xattr()).prop_map(|(path, name)| Op::RemoveXattr { path, name }),
    ]
}

fn looks() -> impl Strategy<Value = Op> {
    prop_oneof![
        path().prop_map(|path| Op::Stat { path }),
        path().prop_map(|path| Op::List { path }),
        path().prop_map(|path| Op::Read { path }),
    ]
}

fn held() -> impl Strategy<Value = Op> {
    let how = prop_oneof![3 => Just(Hold::Write), 1 => Just(Hold::Read), 1 => Just(Hold::Directory)];
    let act = prop_oneof![
        3 => (offset(), bytes()).prop_map(|(offset, bytes)| Act::Write { offset, bytes }),
        1 => offset().prop_map(|size| Act::Truncate { size }),
        1 => allocation().prop_map(|(flags, offset, length)| Act::Allocate { flags, offset, length }),
        1 => mode().prop_map(|mode| Act::Chmod { mode }),
        2 => Just(Act::Read),
        1 => Just(Act::Stat),
        1 => Just(Act::List),
        1 => name().prop_map(|name| Act::Create { name }),
        1 => name().prop_map(|name| Act::Unlink { name }),
        1 => Just(Act::Close),
    ];
    prop_oneof![
        2 => (0..SLOTS, path(), how).prop_map(|(slot, path, how)| Op::Hold { slot, path, how }),
        3 => (0..SLOTS, act).prop_map(|(slot, act)| Op::Held { slot, act }),
    ]
}

/// Any operation.
pub fn op() -> impl Strategy<Value = Op> {
    let any = || prop_oneof![5 => names(), 3 => content(), 2 => attributes(), 1 => looks(), 3 => held()];
    prop_oneof![3 => any(), 1 => any().prop_map(as_user)]
}

/// But for chown(2) of nothing: FUSE tells it by the same request as the end of set-id bits that a write brings, so
/// anybody may, where a directory asks for the owner.
fn as_user(op: Op) -> Op {
    match op {
        Op::Chown { owner: (None, None), .. } => op,
        _ => Op::AsUser(Box::new(op)),
    }
}

/// So many operations.
pub fn ops(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(op(), count)
}
