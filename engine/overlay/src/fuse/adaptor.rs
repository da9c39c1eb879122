//! One method a request: unwrap, ask, answer.

use super::{
    answer::{Adaptor, FOR_EVER, GENERATION},
    convert::{file_type, name, nothing, set_time, special},
};
use crate::{Errno, NodeId, Overlay, ops::SetAttributes};
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::{ffi::OsStr, io, os::unix::ffi::OsStrExt, path::Path, time::SystemTime};

const MAX_WRITE: u32 = 1 << 20;
const MAX_BACKGROUND: u16 = 64;

const FS_IOC_GETFLAGS: u32 = 0x8008_6601;
const FS_IOC_SETFLAGS: u32 = 0x4008_6602;

/// What is asked for, if the kernel offers it. Left out on purpose: file locks (the kernel's own are right), and what
/// this version of the library declares but does not parse (`SETXATTR_EXT`, `SECURITY_CTX`, `CREATE_SUPP_GROUP`).
const FEATURES: [InitFlags; 10] = [
    InitFlags::FUSE_ABORT_ERROR, // or an abort would look like the end of the mount
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

impl Filesystem for Adaptor {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // An older kernel works without what it lacks, only slower or with coarser semantics.
        for feature in FEATURES {
            let _ = config.add_capabilities(feature);
        }
        if self.overlay.0.writeback {
            let _ = config.add_capabilities(InitFlags::FUSE_WRITEBACK_CACHE);
        }
        let _ = config.set_max_write(MAX_WRITE);
        let _ = config.set_max_background(MAX_BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let _turn = self.spinner.turn();
        match self.run(|overlay| overlay.lookup(NodeId(parent.0), name.as_bytes())) {
            Ok(stat) => reply.entry(&FOR_EVER, &self.attributes(&stat), GENERATION),
            Err(fuser::Errno::ENOENT) => reply.entry(&FOR_EVER, &nothing(), GENERATION),
            Err(errno) => reply.error(errno),
        }
    }

    fn forget(&self, _: &Request, id: INodeNo, count: u64) {
        let _ = self.run(|overlay| {
            overlay.forget(NodeId(id.0), count);
            Ok(())
        });
    }

    fn getattr(&self, _: &Request, id: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let _turn = self.spinner.turn();
        match self.run(|overlay| overlay.getattr(NodeId(id.0))) {
            Ok(stat) => reply.attr(&FOR_EVER, &self.attributes(&stat)),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        id: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let _turn = self.spinner.turn();
        let (uid, gid) = self.new_owner(uid, gid);
        let set = SetAttributes { mode, uid, gid, size, atime: set_time(atime), mtime: set_time(mtime) };
        match self.run(|overlay| overlay.setattr(NodeId(id.0), &set, &self.caller(request, 0))) {
            Ok(stat) => reply.attr(&FOR_EVER, &self.attributes(&stat)),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _: &Request, id: INodeNo, reply: ReplyData) {
        let _turn = self.spinner.turn();
        match self.run(|overlay| overlay.readlink(NodeId(id.0))) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let _turn = self.spinner.turn();
        self.entry(reply, |overlay| {
            let special = special(mode, rdev)?;
            overlay.mknod(NodeId(parent.0), name.as_bytes(), special, mode, &self.caller(request, umask))
        });
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
        let _turn = self.spinner.turn();
        let caller = self.caller(request, umask);
        self.entry(reply, |overlay| overlay.mkdir(NodeId(parent.0), name.as_bytes(), mode, &caller));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.spinner.turn();
        self.empty(reply, |overlay| overlay.unlink(NodeId(parent.0), name.as_bytes()));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.spinner.turn();
        self.empty(reply, |overlay| overlay.rmdir(NodeId(parent.0), name.as_bytes()));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let _turn = self.spinner.turn();
        let (target, caller) = (target.as_os_str().as_bytes(), self.caller(request, 0));
        self.entry(reply, |overlay| overlay.symlink(NodeId(parent.0), name.as_bytes(), target, &caller));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let _turn = self.spinner.turn();
        let (from, to) = (NodeId(parent.0), NodeId(new_parent.0));
        self.empty(reply, |overlay| {
            overlay.rename(from, name.as_bytes(), to, new_name.as_bytes(), flags.bits())
        });
    }

    fn link(&self, _: &Request, id: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let _turn = self.spinner.turn();
        self.entry(reply, |overlay| overlay.link(NodeId(id.0), NodeId(parent.0), name.as_bytes()));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let _turn = self.spinner.turn();
        let (exclusive, caller) = (flags & libc::O_EXCL != 0, self.caller(request, umask));
        match self.run(|overlay| overlay.create(NodeId(parent.0), name.as_bytes(), mode, exclusive, &caller))
        {
            Ok(stat) => {
                let flags = FopenFlags::FOPEN_KEEP_CACHE;
                reply.created(&FOR_EVER, &self.attributes(&stat), GENERATION, FileHandle(0), flags);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(fuser::Errno::ENOSYS);
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
        let _turn = self.spinner.turn();
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        match self.run(|overlay| overlay.read(NodeId(id.0), offset, length)) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let _turn = self.spinner.turn();
        let kill = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let cached = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let write = if cached { Overlay::write_cached } else { Overlay::write };
        match self.run(|overlay| write(overlay, NodeId(id.0), offset, data, kill)) {
            Ok(count) => reply.written(u32::try_from(count).unwrap_or(u32::MAX)),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(&self, _: &Request, id: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let _turn = self.spinner.turn();
        let listed = self.run(|overlay| {
            overlay.readdir(NodeId(id.0), offset, false, &mut |entry| {
                !reply.add(
                    INodeNo(entry.stat.id.0),
                    entry.cookie,
                    file_type(entry.stat.kind),
                    name(entry.name),
                )
            })
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let _turn = self.spinner.turn();
        let listed = self.run(|overlay| {
            overlay.readdir(NodeId(id.0), offset, true, &mut |entry| {
                // Number 0: the kernel makes nothing of it.
                let id = INodeNo(if entry.counts { entry.stat.id.0 } else { 0 });
                let attributes = self.attributes(&entry.stat);
                !reply.add(id, entry.cookie, name(entry.name), &FOR_EVER, &attributes, GENERATION)
            })
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let _turn = self.spinner.turn();
        match self.run(Overlay::statfs) {
            Ok(fs) => {
                let size = u32::try_from(fs.block_size).unwrap_or(4096);
                reply.statfs(fs.blocks, fs.free, fs.available, fs.files, fs.free_files, size, 255, size);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn setxattr(
        &self,
        request: &Request,
        id: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let _turn = self.spinner.turn();
        let (flags, caller) = (flags.cast_unsigned(), self.caller(request, 0));
        self.empty(reply, |overlay| overlay.setxattr(NodeId(id.0), name.as_bytes(), value, flags, &caller));
    }

    fn getxattr(&self, _: &Request, id: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let _turn = self.spinner.turn();
        self.xattr(size, reply, |overlay| overlay.getxattr(NodeId(id.0), name.as_bytes()));
    }

    fn listxattr(&self, _: &Request, id: INodeNo, size: u32, reply: ReplyXattr) {
        let _turn = self.spinner.turn();
        self.xattr(size, reply, |overlay| overlay.listxattr(NodeId(id.0)));
    }

    fn removexattr(&self, _: &Request, id: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.spinner.turn();
        self.empty(reply, |overlay| overlay.removexattr(NodeId(id.0), name.as_bytes()));
    }

    fn fallocate(
        &self,
        request: &Request,
        id: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let (mode, kill) = (mode.cast_unsigned(), self.kills(request));
        self.empty(reply, |overlay| overlay.fallocate(NodeId(id.0), offset, length, mode, kill));
    }

    fn lseek(&self, _: &Request, id: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let at = self.run(|overlay| {
            let offset = u64::try_from(offset).map_err(|_| Errno::NXIO)?;
            match whence {
                libc::SEEK_DATA => overlay.lseek(NodeId(id.0), offset, false),
                libc::SEEK_HOLE => overlay.lseek(NodeId(id.0), offset, true),
                _ => Err(Errno::INVAL),
            }
        });
        match at {
            Ok(at) => reply.offset(i64::try_from(at).unwrap_or(i64::MAX)),
            Err(errno) => reply.error(errno),
        }
    }

    fn copy_file_range(
        &self,
        request: &Request,
        from: INodeNo,
        _: FileHandle,
        start: u64,
        to: INodeNo,
        _: FileHandle,
        target: u64,
        length: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let (from, to) = ((NodeId(from.0), start), (NodeId(to.0), target));
        match self.run(|overlay| overlay.copy_file_range(from, to, length, self.kills(request))) {
            Ok(count) => reply.written(u32::try_from(count).unwrap_or(u32::MAX)),
            Err(errno) => reply.error(errno),
        }
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        command: u32,
        data: &[u8],
        size: u32,
        reply: ReplyIoctl,
    ) {
        // chattr(1) and lsattr(1): no file has any such flag, and none can be set.
        let length = usize::try_from(size).unwrap_or(0).min(8);
        match command {
            FS_IOC_GETFLAGS => reply.ioctl(0, &[0; 8][..length]),
            FS_IOC_SETFLAGS if data.iter().all(|byte| *byte == 0) => reply.ioctl(0, &[]),
            FS_IOC_SETFLAGS => reply.error(fuser::Errno::EOPNOTSUPP),
            _ => reply.error(fuser::Errno::ENOTTY),
        }
    }
}
