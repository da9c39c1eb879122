//! The folder of the store, or the nearest one above it that is there.

use rustix::fs::{ioctl_ficlone, statfs, statvfs};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// What is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    /// Where the store is or will be.
    pub path: PathBuf,
    /// The nearest folder that is there.
    pub existing: PathBuf,
    /// `ext4`
    pub filesystem: String,
    /// In bytes, for this user.
    pub free: u64,
    /// Files can share bytes.
    pub reflinks: bool,
    /// Why nothing can be written there.
    pub refused: Option<String>,
}

/// By linux/magic.h and the filesystems' own headers.
const FILESYSTEMS: [(u32, &str); 17] = [
    (0x0000_ef53, "ext4"),
    (0x5846_5342, "XFS"),
    (0x9123_683e, "btrfs"),
    (0x794c_7630, "overlayfs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x2fc1_2fc1, "ZFS"),
    (0xca45_1a4e, "bcachefs"),
    (0xf2f5_2010, "F2FS"),
    (0x6573_5546, "FUSE"),
    (0x0000_6969, "NFS"),
    (0xfe53_4d42, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0x00c3_6400, "CephFS"),
    (0x0102_1997, "9p"),
    (0x7371_7368, "squashfs"),
    (0xe0f5_e1e2, "EROFS"),
];

impl Folder {
    /// Looks at it, by writing into it.
    pub(super) fn look(path: &Path) -> Self {
        let existing = nearest(path);
        let kind = statfs(&existing).map(|kind| kind.f_type as u32);
        let known = |magic| FILESYSTEMS.iter().find(|(number, _)| *number == magic);
        let filesystem = match kind {
            Ok(magic) => known(magic)
                .map_or_else(|| format!("a filesystem {magic:#x}"), |(_, name)| (*name).to_owned()),
            Err(_) => "an unknown filesystem".to_owned(),
        };
        let mut folder = Self {
            path: path.to_owned(),
            free: statvfs(&existing).map_or(0, |room| room.f_bavail * room.f_frsize),
            existing,
            filesystem,
            reflinks: false,
            refused: None,
        };
        match folder.temporary().map(|temporary| reflinks(temporary.path())) {
            Ok(reflinks) => folder.reflinks = reflinks,
            // Without the name that was tried.
            Err(error) => {
                let text = error.to_string();
                let why = text.split(" (os error").next().unwrap_or_default();
                folder.refused = Some(format!("cannot write to {}: {why}", folder.existing.display()));
            }
        }
        folder
    }

    /// A folder in it that goes with its value.
    pub(super) fn temporary(&self) -> io::Result<TempDir> {
        tempfile::Builder::new().prefix(".rbuild-doctor-").tempdir_in(&self.existing)
    }

    pub(super) fn describe(&self) -> String {
        let state = if self.path == self.existing { "" } else { ", not made yet" };
        let reflinks = if self.reflinks { "reflinks" } else { "no reflinks" };
        let tenths = (self.free * 10) >> 30;
        let (path, filesystem) = (self.path.display(), &self.filesystem);
        format!("{path}{state}, on {filesystem}, {reflinks}, {}.{} GiB free", tenths / 10, tenths % 10)
    }
}

fn nearest(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find(|folder| folder.exists());
    found.unwrap_or(Path::new("/")).to_owned()
}

fn reflinks(folder: &Path) -> bool {
    let try_it = || {
        fs::write(folder.join("one"), [1; 8192])?;
        let (one, two) = (fs::File::open(folder.join("one"))?, fs::File::create(folder.join("two"))?);
        ioctl_ficlone(&two, &one)?;
        io::Result::Ok(())
    };
    try_it().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_made_yet_is_not_made() {
        let outside = tempfile::tempdir().expect("a folder");
        let path = outside.path().join("a/b");
        let folder = Folder::look(&path);
        assert_eq!((&folder.path, folder.existing.as_path()), (&path, outside.path()));
        assert_eq!((folder.refused.as_deref(), path.exists()), (None, false));
        assert!(folder.describe().contains("not made yet, on ") && folder.free > 0, "{}", folder.describe());
        assert_eq!(fs::read_dir(outside.path()).expect("the folder").count(), 0, "nothing stays");
    }

    #[test]
    fn a_folder_that_can_not_be_written_says_why() {
        let folder = Folder::look(Path::new("/proc/self"));
        let refused = folder.refused.unwrap_or_default();
        assert!(
            refused.starts_with("cannot write to /proc/self: No such file") && !refused.contains("doctor"),
            "{refused}"
        );
    }
}
