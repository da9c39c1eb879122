//! FUSE filesystems: mounted inside, served from outside.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyEntry, Request, Session, SessionACL,
};
use rbuild_sandbox::{Exit, Mount, Output, Sandbox, Setup};

use crate::Case;
use crate::runner::skip;
use crate::support::{setup, shell, with};

pub const TESTS: &[Case] = &[
    ("fuse_is_served_from_outside", is_served_from_outside),
    ("fuse_can_be_the_root", can_be_the_root),
    ("fuse_a_part_is_mounted", a_part_is_mounted),
    ("fuse_links_are_not_followed_to_a_part", links_are_not_followed_to_a_part),
];

const TTL: Duration = Duration::from_secs(3600);
const PROGRAM: u64 = 5;

/// `mov edi, 42; mov eax, 60; syscall` in the smallest x86_64 program.
#[rustfmt::skip]
const EXIT_42: &[u8] = &[
    0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    2, 0, 62, 0, 1, 0, 0, 0, 0x78, 0, 0x40, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0,
    0x84, 0, 0, 0, 0, 0, 0, 0, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0,
    0xbf, 42, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05,
];

fn content(inode: u64) -> &'static [u8] {
    if inode == PROGRAM { EXIT_42 } else { b"served\n" }
}

/// `/dir/file`, `/program` and `/link` -> /etc; remembers who asked.
struct Small {
    pids: Arc<Mutex<Vec<u32>>>,
}

impl Small {
    fn attributes(inode: u64) -> FileAttr {
        let kind = match inode {
            1 | 2 => FileType::Directory,
            3 | PROGRAM => FileType::RegularFile,
            _ => FileType::Symlink,
        };
        FileAttr {
            ino: INodeNo(inode),
            size: content(inode).len() as u64,
            blocks: 1,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: if inode == 3 { 0o644 } else { 0o755 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Small {
    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.pids.lock().unwrap().push(request.pid());
        let inode = match (parent.0, name.to_str()) {
            (1, Some("dir")) => 2,
            (2, Some("file")) => 3,
            (1, Some("link")) => 4,
            (1, Some("program")) => PROGRAM,
            _ => return reply.error(Errno::ENOENT),
        };
        reply.entry(&TTL, &Self::attributes(inode), Generation(0));
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &Self::attributes(inode.0));
    }

    fn readlink(&self, _request: &Request, _inode: INodeNo, reply: ReplyData) {
        reply.data(b"/etc");
    }

    fn read(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        _size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        reply.data(content(inode.0).get(offset as usize..).unwrap_or_default());
    }
}

struct Served {
    exit: Result<Exit, rbuild_sandbox::Error>,
    stdout: String,
    stderr: String,
    pids: Vec<u32>,
}

/// Runs a set-up, serving [`Small`] on each of its FUSE filesystems until their end.
fn serve(setup: &Setup) -> Served {
    let mut started = Sandbox::spawn(setup, Output::Separate).unwrap_or_else(|error| match &error {
        rbuild_sandbox::Error::Failed { failure, .. } if failure.part == rbuild_sandbox::Part::FuseDevice => {
            skip(&error.to_string())
        }
        _ => panic!("{error}"),
    });
    let pids = Arc::new(Mutex::new(Vec::new()));
    let mut sessions = Vec::new();
    for descriptor in std::mem::take(&mut started.fuse) {
        let filesystem = Small { pids: Arc::clone(&pids) };
        sessions.push(std::thread::spawn(move || {
            let session =
                Session::from_fd(filesystem, descriptor, SessionACL::All, Config::default()).unwrap();
            session.spawn().unwrap().join()
        }));
    }
    let pipes = [started.stdout.take(), started.stderr.take()].map(Option::unwrap);
    let readers =
        pipes.map(|pipe| std::thread::spawn(move || std::io::read_to_string(std::fs::File::from(pipe))));
    let exit = started.proceed().and_then(|mut running| running.wait());
    // The connections end with the mounts, and those before `wait` returns: else this would hang.
    for session in sessions {
        session.join().unwrap().unwrap();
    }
    let [stdout, stderr] = readers.map(|reader| reader.join().unwrap().unwrap());
    let pids = std::mem::take(&mut *pids.lock().unwrap());
    Served { exit, stdout, stderr, pids }
}

fn fuse(source: &str, target: &str, read_only: bool) -> Mount {
    Mount::Fuse { target: target.into(), source: source.into(), read_only }
}

fn is_served_from_outside() {
    let setup = with(shell("cat /mnt/dir/file; echo $$; touch /mnt/new"), |s| {
        s.mounts.push(fuse("", "/mnt", true));
    });
    let served = serve(&setup);
    assert_eq!(served.exit.unwrap(), Exit::Code(1));
    assert!(served.stdout.starts_with("served\n"), "{}", served.stdout);
    assert!(served.stderr.contains("Read-only file system"), "{}", served.stderr);
    // The numbers are ours, not the sandbox's small ones.
    assert!(!served.pids.is_empty() && served.pids.iter().all(|pid| *pid > 20), "{:?}", served.pids);
}

/// No shell, no /proc, no /dev: nothing but the program.
fn can_be_the_root() {
    if cfg!(not(target_arch = "x86_64")) {
        skip("the program is for x86_64");
    }
    let setup = with(setup(&["/program"]), |s| {
        s.mounts =
            vec![fuse("", "/", false), Mount::Tmpfs { target: "/dir".into(), size: 4096, mode: 0o755 }];
    });
    assert_eq!(serve(&setup).exit.unwrap(), Exit::Code(42));
    let missing = with(setup, |s| s.command.argv = vec!["/bin/sh".into()]);
    let what = rbuild_sandbox::ExecFailure::NotFound("/bin/sh".into());
    assert_eq!(serve(&missing).exit.unwrap(), Exit::ExecFailed { what });
}

fn a_part_is_mounted() {
    let setup = with(shell("cat /mnt/file /etc/hosts; stat -c %a:%u /mnt"), |s| {
        s.mounts.push(fuse("dir", "/mnt", true));
        s.mounts.push(fuse("/dir/file", "/etc/hosts", true));
    });
    let served = serve(&setup);
    assert_eq!(served.stdout, "served\nserved\n755:0\n", "{}", served.stderr);
    assert_eq!(served.exit.unwrap(), Exit::Code(0));
}

fn links_are_not_followed_to_a_part() {
    for (source, expected) in [
        ("link", "mount link of fuse on /mnt: ELOOP"),
        ("link/passwd", "mount link/passwd of fuse on /mnt: ELOOP"),
        ("dir/../dir", "mount dir/../dir of fuse on /mnt: EINVAL"),
        ("none", "mount none of fuse on /mnt: ENOENT"),
    ] {
        let setup = with(shell("true"), |s| s.mounts.push(fuse(source, "/mnt", true)));
        let message = serve(&setup).exit.unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
}
