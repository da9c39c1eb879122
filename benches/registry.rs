//! How fast does an image come from a registry and become a tree, and how fast does one go there?
//!
//! Ten layers of 50 MB each of this machine's own files, compressed by umoci, in docker-registry on loopback. Against
//! what does the same: `skopeo copy` and `umoci unpack`, or `buildah pull` with overlay, which unpacks too; and for the
//! way out `skopeo copy` from a layout. Every push is to an empty registry, so that nobody finds there what he sent before.

#![allow(clippy::print_stdout, reason = "a bench is there to print")]

#[path = "../tests/support/registry.rs"]
#[allow(dead_code, reason = "a part of it")]
mod registry;
mod support;

use registry::Registry;
use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};
use support::{
    Need,
    contest::{Contest, bound},
    project::{Project, size},
    run, scratch,
};

const LAYERS: usize = 10;
const LAYER_BYTES: u64 = 50_000_000;
/// Larger ones would be a layer each.
const LARGEST_FILE: u64 = 20_000_000;

fn main() -> ExitCode {
    let needs = [
        Need::Root,
        Need::Sandbox,
        Need::Program("docker-registry"),
        Need::Program("skopeo"),
        Need::Program("umoci"),
    ];
    support::main("registry: an image of ten layers in and out", &needs, answer)
}

fn answer() {
    let layout = make_image();
    let registry = Registry::start();
    registry.push(&layout, "x", "big:1");
    println!("  {LAYERS} layers, {} MB compressed", size(&layout) / 1_000_000);
    pull(&registry);
    push(&layout);
}

/// A layout with the image `x`.
fn make_image() -> PathBuf {
    let folder = scratch::new();
    let layout = folder.join("image");
    let umoci = |arguments: &[&str]| {
        run::must(Command::new("umoci").args(arguments).current_dir(&folder));
    };
    umoci(&["init", "--layout", "image"]);
    umoci(&["new", "--image", "image:x"]);
    for files in some_files() {
        fs::write(folder.join("list"), files.join("\n")).expect("a list of files");
        let mut tar = Command::new("tar");
        tar.args(["--create", "--file=layer.tar", "--directory=/", "--no-recursion", "--files-from=list"]);
        run::must(tar.current_dir(&folder));
        umoci(&["raw", "add-layer", "--image", "image:x", "layer.tar"]);
    }
    umoci(&["gc", "--layout", "image"]);
    layout
}

/// Files of this machine for each layer, without the first `/`; always the same on one machine.
fn some_files() -> Vec<Vec<String>> {
    let mut layers = vec![Vec::new()];
    let (mut bytes, mut folders) = (0, vec![PathBuf::from("/root/.rustup"), PathBuf::from("/usr")]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort_unstable();
        for path in paths {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                folders.push(path);
            } else if metadata.is_file() && metadata.len() < LARGEST_FILE {
                if bytes >= LAYER_BYTES {
                    if layers.len() == LAYERS {
                        return layers;
                    }
                    layers.push(Vec::new());
                    bytes = 0;
                }
                let name = path.to_string_lossy().trim_start_matches('/').to_owned();
                layers.last_mut().expect("there is one").push(name);
                bytes += metadata.len();
            }
        }
    }
    layers
}

fn pull(registry: &Registry) {
    let name = format!("{}/big:1", registry.host);
    let spec =
        format!("version = 1\nepoch = 1\n[source.base]\nimage = \"{name}\"\n[step.all]\nfrom = \"base\"\n");
    let peak = Cell::new(0);
    let contest = Contest::default()
        .candidate("skopeo copy + umoci unpack", |_| {
            let folder = scratch::new();
            skopeo(&format!("docker://{name}"), "oci:image:x", &folder)
                + run::time(
                    Command::new("umoci").args(["unpack", "--image", "image:x", "root"]).current_dir(&folder),
                )
        })
        .candidate("rbuild, into an empty store", |_| {
            let project = Project::with(&spec);
            let (wall, bytes) = run::time_and_peak(&project.apply(&["step.all"]));
            peak.set(peak.get().max(bytes));
            wall
        });
    let contest = match support::has_program("buildah") {
        true => contest.candidate("buildah pull", |_| buildah_pull(&name)),
        false => contest.missing("buildah pull", "there is no program buildah"),
    };
    let results = contest.run(5);
    results.print();
    println!();
    bound("pull and unpack", results.ratio(1, 0), " times skopeo + umoci", 0.5);
    if support::has_program("buildah") {
        bound("pull and unpack", results.ratio(1, 2), " times buildah pull", 1.0);
    }
    bound("its peak memory", peak.get() as f64 / 1e6, " MB", 200.0);
}

fn buildah_pull(name: &str) -> Duration {
    let folder = scratch::new();
    let mut buildah = Command::new("buildah");
    buildah.args(["--root", "storage", "--runroot", "run", "--storage-driver", "overlay"]);
    let pulled =
        run::time(buildah.args(["pull", "--quiet", "--tls-verify=false", name]).current_dir(&folder));
    // Its storage is mounted on itself; the folder could not be removed.
    let _ = Command::new("umount").arg(folder.join("storage/overlay")).output();
    pulled
}

fn push(layout: &Path) {
    let from = format!("oci:{}:x", layout.display());
    let peak = Cell::new(0);
    let results = Contest::default()
        .candidate("skopeo copy", |_| {
            let registry = Registry::start();
            skopeo(&from, &format!("docker://{}/big:1", registry.host), &scratch::new())
        })
        .candidate("rbuild copy", |_| {
            let registry = Registry::start();
            let project = Project::new();
            let mut copy = run::rbuild();
            copy.arg("copy").arg(&from).arg(format!("{}/big:1", registry.host));
            let (wall, bytes) = run::time_and_peak(copy.env("RBUILD_STORE", project.path("store")));
            peak.set(peak.get().max(bytes));
            wall
        })
        .run(7);
    results.print();
    println!();
    bound("push", results.ratio(1, 0), " times skopeo copy", 1.0);
    bound("its peak memory", peak.get() as f64 / 1e6, " MB", 200.0);
}

fn skopeo(from: &str, to: &str, folder: &Path) -> Duration {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", from, to]);
    run::time(skopeo.current_dir(folder))
}
