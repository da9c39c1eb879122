//! The process in the background: from the layers to the mount, and from its end to the upper directory.

use crate::{
    error::{Error, Result},
    layers::{add_layer, is_kept},
    options::MountOptions,
    store::ReferenceStore,
    upper::write_upper,
    warn,
};
use nix::mount::{MsFlags, mount};
use rbuild_overlay::{Lower, Options, Overlay};
use rbuild_tree::{Snapshot, apply};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

const THREADS: usize = 2;

/// Mounts, says so with a byte on standard output, and stays until the change is in the upper directory.
///
/// # Errors
/// A sentence of what failed. The upper directory is as before then.
pub fn serve(options: &MountOptions) -> Result<()> {
    let work = options.work.join("rbuild");
    fs::create_dir_all(&work).map_err(Error::io("make", &work.display()))?;
    // A mount that is being committed comes first.
    let lock = work.join("lock");
    let held = File::create(&lock).and_then(|file| file.lock().map(|()| file));
    let _held = held.map_err(Error::io("lock", &lock.display()))?;
    let own = |name| fresh_folder(&work, name);
    let mut store = ReferenceStore::new(own("objects")?);
    let lower = lower_snapshot(&mut store, options)?;
    let start = add_layer(&store, &lower, &options.upper)?;
    let store = Arc::new(store);
    let settings =
        Options { keep_xattr: is_kept, writeback: options.writeback, ..Options::new(own("scratch")?) };
    let overlay = Overlay::new(store.clone(), Lower::Snapshot(start.clone()), settings)?;
    run(&overlay, &options.mountpoint)?;
    let begin = Instant::now();
    let changes = overlay.commit(None)?;
    warn(&format!("committed in {:.3} s", begin.elapsed().as_secs_f64()));
    changes.warnings.iter().for_each(|warning| warn(warning));
    if !changes.delta.is_empty() {
        let result = apply(&*store, &start, &changes.delta)?;
        write_upper(&store, &lower, &result, &options.upper, &own("new")?, options.user_xattr)?;
    }
    drop(overlay);
    ["objects", "scratch", "new"].iter().try_for_each(|name| remove(&work.join(name)))
}

fn run(overlay: &Overlay, mountpoint: &Path) -> Result<()> {
    let device = mount_device(mountpoint)?;
    let session = overlay.serve(device, THREADS)?;
    // Nothing of whoever started it shall end or hold it.
    let _ = nix::unistd::setsid();
    let mut out = io::stdout();
    out.write_all(b"!").and_then(|()| out.flush()).map_err(Error::io("tell", &"that it is mounted"))?;
    Ok(session.join()?)
}

fn mount_device(mountpoint: &Path) -> Result<OwnedFd> {
    let device = File::options().read(true).write(true).open("/dev/fuse");
    let device = OwnedFd::from(device.map_err(Error::io("open", &"/dev/fuse"))?);
    let descriptor = device.as_raw_fd();
    let data = format!("fd={descriptor},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other");
    mount(Some("overlay-mount"), mountpoint, Some("fuse.overlay-mount"), MsFlags::empty(), Some(&*data))
        .map_err(Error::io("mount on", &mountpoint.display()))?;
    Ok(device)
}

/// The lower directories as a snapshot; from the index if there is one.
fn lower_snapshot(store: &mut ReferenceStore, options: &MountOptions) -> Result<Snapshot> {
    let index = options.index.as_ref().map(|folder| folder.join("index"));
    if let Some(path) = &index
        && let Some(snapshot) = store.open_index(path, &options.lower)?
    {
        return Ok(snapshot);
    }
    let mut layers = options.lower.iter().rev();
    let snapshot = layers.try_fold(Snapshot::scratch(), |below, root| add_layer(store, &below, root))?;
    if let Some(path) = &index {
        store.save_index(path, &options.lower, &snapshot)?;
    }
    Ok(snapshot)
}

/// An empty folder; what a mount that was killed left in it goes.
fn fresh_folder(work: &Path, name: &str) -> Result<PathBuf> {
    let path = work.join(name);
    remove(&path)?;
    fs::create_dir(&path).map_err(Error::io("make", &path.display()))?;
    Ok(path)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", &path.display())(cause))
        }
        _ => Ok(()),
    }
}
