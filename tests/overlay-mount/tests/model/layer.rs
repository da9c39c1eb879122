//! What was committed as layers, unpacked by programs that know nothing of us.

use crate::support::{Bench, mounts::must};
use rbuild_oci::{
    BlobWriter, Compression, HistoryEntry, Image, ImageSpec, LayerDescriptor, write_layer, write_layout,
};
use rbuild_tree::{Snapshot, Timestamp};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// A lower and changes of it, each as the tar of a layer.
pub struct Layers<'a> {
    bench: &'a Bench,
    tars: Vec<Vec<u8>>,
}

impl<'a> Layers<'a> {
    pub fn of(bench: &'a Bench, snapshots: &[Snapshot]) -> Self {
        let below = [None].into_iter().chain(snapshots.iter().map(Some));
        let tars = below.zip(snapshots).map(|(below, snapshot)| tar(bench, below, snapshot)).collect();
        Self { bench, tars }
    }

    /// Unpacked one over the other by GNU tar, which knows no whiteouts.
    pub fn by_tar(&self) -> PathBuf {
        let root = self.bench.folder("by-tar");
        for (number, tar) in self.tars.iter().enumerate() {
            let archive = self.bench.folder.path().join(format!("{number}.tar"));
            fs::write(&archive, tar).unwrap();
            let names = must(Command::new("tar").arg("-tf").arg(&archive));
            let date = root.metadata().unwrap().modified().unwrap();
            make_room(&names, &root);
            let mut tar = Command::new("tar");
            tar.args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-owner", "-p", "-x"]);
            tar.args(["--delay-directory-restore", "--exclude=.wh.*", "-f"]);
            must(tar.arg(&archive).arg("-C").arg(&root));
            // Of the root there is an entry only if it changed itself.
            if !names.lines().any(|name| name == "./") {
                fs::File::open(&root).unwrap().set_modified(date).unwrap();
            }
        }
        root
    }

    /// Unpacked as an image by umoci.
    pub fn by_umoci(&self) -> PathBuf {
        let (blobs, layout) = (self.bench.folder("blobs"), self.bench.folder("layout"));
        let mut spec = ImageSpec::new("linux/amd64".parse().unwrap());
        for tar in &self.tars {
            let mut writer = BlobWriter::new(Vec::new(), Compression::Gzip);
            writer.write_all(tar).unwrap();
            let (blob, bytes) = writer.finish().unwrap();
            fs::write(blobs.join(blob.digest.digest()), bytes).unwrap();
            spec.history.push(HistoryEntry::new(None, "a layer", Some(LayerDescriptor::from(&blob))));
        }
        let image = Image::build(&spec).unwrap();
        let find = |digest: &rbuild_oci::oci_spec::image::Digest| Ok(blobs.join(digest.digest()));
        write_layout(&layout, &(&image).into(), &["it".to_owned()], &find).unwrap();
        let root = self.bench.folder.path().join("by-umoci");
        let image = format!("{}:it", layout.display());
        must(Command::new("umoci").args(["raw", "unpack", "--image", &image]).arg(&root));
        root
    }
}

fn tar(bench: &Bench, base: Option<&Snapshot>, result: &Snapshot) -> Vec<u8> {
    let mut out = Vec::new();
    write_layer(&*bench.store, base, result, Timestamp::default(), &mut out).unwrap();
    out
}

/// What the specification of layers says and tar does not do: a whiteout takes its name away, an entry takes the place
/// of whatever has its name, and a directory's attributes are those of its entry alone.
fn make_room(names: &str, root: &Path) {
    for name in names.lines() {
        let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
        if let Some(hidden) = last.strip_prefix(".wh.") {
            remove(&root.join(above).join(hidden));
        } else if last.is_empty() || last == "." {
            // Without the slash behind it, which would follow a symbolic link.
            let directory = root.join(above);
            match directory.symlink_metadata() {
                Ok(there) if there.is_dir() => clear_attributes(&directory),
                _ => remove(&directory),
            }
        } else {
            remove(&root.join(name));
        }
    }
}

fn remove(path: &Path) {
    match path.symlink_metadata() {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

fn clear_attributes(directory: &Path) {
    for name in ["user.one", "user.two"] {
        // Most have none.
        let _ = rustix::fs::removexattr(directory, name);
    }
}
