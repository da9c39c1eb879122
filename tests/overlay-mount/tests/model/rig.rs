//! The same tree three times: as the lower of our mount, as a plain directory, and as the lower of overlayfs.

use crate::{
    client::{Client, date_everything},
    operations::Op,
    support::{
        Bench, Mounted,
        mounts::{must, shell},
    },
};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use rbuild_oci::{Import, ObjectStore, import};
use rbuild_overlay::{Lower, Overlay, Store};
use rbuild_tree::{ObjectId, Snapshot, apply};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::Command,
};

/// What makes it do what a directory does. Not `metacopy`: bytes that are copied up late move a date that was set.
const OVERLAYFS: &str = "index=on,redirect_dir=on,metacopy=off";

/// Mounts of this process end with it, whatever becomes of it. Says whether there can be any.
pub fn enter() -> bool {
    let private = || -> nix::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
    };
    let ready = private().map_err(io::Error::from).and_then(|()| File::open("/dev/fuse").map(drop));
    if let Err(cause) = &ready {
        assert!(std::env::var_os("CI").is_none(), "can't mount: {cause}");
        eprintln!("skipped: can't mount: {cause}");
    }
    ready.is_ok()
}

pub struct Rig {
    pub bench: Bench,
    pub live: bool,
    /// The lower, and what each commit made of it.
    pub snapshots: Vec<Snapshot>,
    overlay: Overlay,
    mounted: Mounted,
}

impl Rig {
    /// A lower whose folders these operations have made, mounted as it is or as a snapshot.
    pub fn new(make: &[(&str, &[Op])], live: bool) -> Self {
        let bench = Bench::new();
        let lower = bench.folder("lower");
        for (folder, ops) in make {
            run_all(&bench.folder(&format!("lower/{folder}")), ops);
        }
        // GNU tar archives every name of a pipe as a pipe of its own.
        must(Command::new("find").arg(&lower).args(["-type", "p", "-links", "+1", "-delete"]));
        date_everything(&lower);
        must(Command::new("cp").arg("-a").arg(lower.join(".")).arg(bench.folder("plain")));
        let base = archived(&bench, &lower);
        let shown = if live { bench.live(&lower, None) } else { Lower::Snapshot(base.clone()) };
        let (overlay, mounted) = mount_over(&bench, "scratch", shown);
        Self { bench, live, snapshots: vec![base], overlay, mounted }
    }

    /// Commits, and mounts what came of it in the same place.
    pub fn next(self) -> Self {
        let Self { bench, live, mut snapshots, overlay, mounted } = self;
        mounted.end();
        let changes = overlay.commit(None).unwrap();
        assert_eq!(changes.warnings, Vec::<String>::new());
        drop(overlay);
        // Over a directory a change is one to the directory, whatever was mounted in between.
        let below = if live { snapshots.first() } else { snapshots.last() };
        let result = apply(&*bench.store, below.unwrap(), &changes.delta).unwrap();
        let shown = if live {
            bench.live(&bench.folder("lower"), Some(changes.delta))
        } else {
            Lower::Snapshot(result.clone())
        };
        snapshots.push(result);
        let (overlay, mounted) = mount_over(&bench, &format!("scratch{}", snapshots.len()), shown);
        Self { bench, live, snapshots, overlay, mounted }
    }

    pub fn mount(&self) -> &Path {
        &self.mounted.path
    }

    pub fn plain(&self) -> PathBuf {
        self.bench.folder("plain")
    }

    pub fn overlayfs(&self) -> Overlayfs {
        let folder = |name| self.bench.folder(name);
        // Of the root it shows what the upper directory has.
        let script = "cp -a lower upper; find upper -mindepth 1 -delete; touch -r lower upper";
        shell(self.bench.folder.path(), script);
        let (lower, upper, work) = (folder("lower"), folder("upper"), folder("work"));
        let options = format!(
            "lowerdir={},upperdir={},workdir={},{OVERLAYFS}",
            lower.display(),
            upper.display(),
            work.display()
        );
        let target = folder("kernel");
        mount(Some("overlay"), &target, Some("overlay"), MsFlags::empty(), Some(&*options)).unwrap();
        Overlayfs(target)
    }
}

fn mount_over(bench: &Bench, scratch: &str, lower: Lower) -> (Overlay, Mounted) {
    let overlay = bench.overlay(scratch, lower);
    let mounted = Mounted::new(&overlay, &bench.folder("mount")).unwrap();
    (overlay, mounted)
}

/// As many fail as not; what they did counts.
pub fn run_all(at: &Path, ops: &[Op]) {
    let mut client = Client::new(at);
    for op in ops {
        let _ = client.run(op);
    }
}

/// A directory as GNU tar archives it and rbuild reads that.
fn archived(bench: &Bench, lower: &Path) -> Snapshot {
    let archive = bench.folder.path().join("lower.tar");
    let mut tar = Command::new("tar");
    tar.args(["--format=posix", "--xattrs", "--xattrs-include=user.*", "--numeric-owner", "-cf"]);
    must(tar.arg(&archive).arg("-C").arg(lower).arg("."));
    import(&mut File::open(archive).unwrap(), &*bench.store, &Import::default()).unwrap()
}

/// A mount of the kernel's overlayfs.
pub struct Overlayfs(pub PathBuf);

impl Drop for Overlayfs {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

impl ObjectStore for crate::support::FolderStore {
    fn open(&self, id: &ObjectId) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Store::open(self, id)?))
    }

    fn put_stream(&self, bytes: &mut dyn Read, _size_hint: u64) -> io::Result<(ObjectId, u64)> {
        let mut content = Vec::new();
        bytes.read_to_end(&mut content)?;
        Ok((self.put_bytes(&content)?, content.len() as u64))
    }
}
