//! The answers.

use crate::memory::{Body, Directory, Memory};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};
use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

const FOR_EVER: Duration = Duration::from_secs(3_200_000_000);
const GENERATION: Generation = Generation(0);
const FEATURES: [InitFlags; 9] = [
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_POSIX_ACL,
    InitFlags::FUSE_DONT_MASK,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_NO_OPEN_SUPPORT,
    InitFlags::FUSE_NO_OPENDIR_SUPPORT,
    InitFlags::FUSE_ASYNC_DIO,
];

pub struct Server(Mutex<Memory>);

impl Server {
    pub fn new(memory: Memory) -> Self {
        Self(Mutex::new(memory))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(
        &self,
        parent: INodeNo,
        name: &OsStr,
        (kind, body): (FileType, Body),
        mode: u32,
        request: &Request,
    ) -> FileAttr {
        let mut memory = self.memory();
        let id = memory.add(kind, body, mode, (request.uid(), request.gid()));
        memory.enter(parent.0, name, id);
        memory.get(id).attributes
    }

    fn take(&self, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.memory().directory(parent.0).remove(name) {
            Some(_) => reply.ok(),
            None => reply.error(Errno::ENOENT),
        }
    }
}

/// The bytes of a file from its beginning, at least `size` of them.
fn bytes(body: &mut Body, size: usize) -> &mut Vec<u8> {
    if let Body::Lower(path) = body {
        *body = Body::Bytes(fs::read(path).unwrap_or_default());
    }
    let Body::Bytes(bytes) = body else { unreachable!("the kernel asks only files for bytes") };
    if bytes.len() < size {
        bytes.resize(size, 0);
    }
    bytes
}

fn length(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

impl Filesystem for Server {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for feature in FEATURES {
            let _ = config.add_capabilities(feature);
        }
        let _ = config.set_max_write(1 << 20);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut memory = self.memory();
        let id = memory.directory(parent.0).get(name).unwrap_or(0);
        let mut attributes = memory.get(id).attributes;
        attributes.ino = INodeNo(id);
        reply.entry(&FOR_EVER, &attributes, GENERATION);
    }

    fn forget(&self, _: &Request, _: INodeNo, _: u64) {}

    fn getattr(&self, _: &Request, id: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_EVER, &self.memory().get(id.0).attributes);
    }

    fn setattr(
        &self,
        _: &Request,
        id: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut memory = self.memory();
        let node = memory.get(id.0);
        if let Some(size) = size {
            bytes(&mut node.body, 0).resize(length(size), 0);
            node.attributes.size = size;
        }
        let attributes = &mut node.attributes;
        attributes.perm = mode.map_or(attributes.perm, |mode| u16::try_from(mode & 0o7777).unwrap_or(0));
        attributes.uid = uid.unwrap_or(attributes.uid);
        attributes.gid = gid.unwrap_or(attributes.gid);
        match mtime {
            Some(TimeOrNow::SpecificTime(time)) => attributes.mtime = time,
            Some(TimeOrNow::Now) => attributes.mtime = SystemTime::now(),
            None => {}
        }
        reply.attr(&FOR_EVER, attributes);
    }

    fn readlink(&self, _: &Request, id: INodeNo, reply: ReplyData) {
        match &self.memory().get(id.0).body {
            Body::Link(target) => reply.data(target.as_bytes()),
            _ => reply.error(Errno::EINVAL),
        }
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let body = Body::Directory(Directory::default());
        let made = self.make(parent, name, (FileType::Directory, body), mode & !umask, request);
        reply.entry(&FOR_EVER, &made, GENERATION);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let body = Body::Link(target.into());
        let made = self.make(parent, name, (FileType::Symlink, body), 0o777, request);
        reply.entry(&FOR_EVER, &made, GENERATION);
    }

    fn link(&self, _: &Request, id: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut memory = self.memory();
        memory.enter(parent.0, name, id.0);
        memory.get(id.0).attributes.nlink += 1;
        reply.entry(&FOR_EVER, &memory.get(id.0).attributes, GENERATION);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let body = (FileType::RegularFile, Body::Bytes(Vec::new()));
        let made = self.make(parent, name, body, mode & !umask, request);
        reply.created(&FOR_EVER, &made, GENERATION, FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.take(parent, name, reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.take(parent, name, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut memory = self.memory();
        let Some(id) = memory.directory(parent.0).remove(name) else { return reply.error(Errno::ENOENT) };
        memory.directory(new_parent.0).remove(new_name);
        memory.enter(new_parent.0, new_name, id);
        reply.ok();
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut memory = self.memory();
        let bytes = bytes(&mut memory.get(id.0).body, 0);
        let from = length(offset).min(bytes.len());
        reply.data(&bytes[from..from.saturating_add(size as usize).min(bytes.len())]);
    }

    fn write(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut memory = self.memory();
        let node = memory.get(id.0);
        let from = length(offset);
        let bytes = bytes(&mut node.body, from + data.len());
        bytes[from..from + data.len()].copy_from_slice(data);
        let size = bytes.len() as u64;
        (node.attributes.size, node.attributes.blocks) = (size, size.div_ceil(4096) * 8);
        node.attributes.mtime = SystemTime::now();
        reply.written(u32::try_from(data.len()).unwrap_or(0));
    }

    fn readdirplus(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let mut memory = self.memory();
        let mut cookie = length(offset);
        while let Some(entry) = memory.directory(id.0).order.get(cookie) {
            cookie += 1;
            let Some((name, child)) = entry.clone() else { continue };
            let attributes = memory.get(child).attributes;
            if reply.add(INodeNo(child), cookie as u64, &name, &FOR_EVER, &attributes, GENERATION) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(1 << 30, 1 << 29, 1 << 29, 1 << 20, 1 << 19, 4096, 255, 4096);
    }

    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENODATA);
    }

    fn listxattr(&self, _: &Request, _: INodeNo, size: u32, reply: ReplyXattr) {
        if size == 0 { reply.size(0) } else { reply.data(&[]) }
    }

    fn setxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: &[u8], _: i32, _: u32, reply: ReplyEmpty) {
        reply.ok();
    }
}
