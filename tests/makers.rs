//! Images that others made and put into a registry: what comes from there is what umoci unpacks of them.
//!
//! All of them begin with one image that rbuild wrote and change it by the same [`CHANGES`], so that the layer above is
//! one that they write by themselves.

use crate::support::{
    Mounted, Project,
    engine::{Buildah, Docker, Podman},
    entries, odd,
    registry::Registry,
    run, said, same_entries, skopeo, umoci_unpack,
};
use std::{collections::BTreeMap, fs, process::Command};

const TOOLS: &str = r#"
[source.busybox]
path = "busybox"
[step.tools]
from = "replaced"
copy = [{ from = "busybox", dest = "/bin/" }]
[image.base]
from = "tools"
tags = ["base:1"]
output = [{ oci = "base" }, { docker-archive = "base.tar" }]
"#;

/// Whiteouts of entries and of all of a folder; what replaces another kind; metadata alone; further names of a file.
const CHANGES: &str = r"
set -e
rm -r /pair/second /odd/*dash /able-too
rm -r /gone && mkdir /gone && echo again > /gone/again
rm /folder && mkdir -m 1750 /folder && echo inside > /folder/inside
rm -r /file && ln -s large /file
mkfifo -m 640 /odd/fifo
ln /another /odd/linked
chown 12:70000 /large && chmod 6711 /large
chown -h 9:10 /dangling
chmod 2711 /shared
touch -d @1234567890 /null /odd/tab*
echo more >> /set-id
mkdir -p /new/deep && cp /able /new/deep/
";

/// The command that makes the changes, in a container.
const CHANGE: [&str; 4] = ["/bin/busybox", "sh", "-c", CHANGES];

/// A project with the image that others begin with: `base:1` in the layout `base` and in base.tar.
fn base() -> Project {
    let project = odd(TOOLS);
    fs::copy("/bin/busybox", project.path("busybox")).expect("busybox");
    project.rbuild(["apply", "base"]).success();
    project
}

/// Fails the test unless an image of a registry is to rbuild what it is to umoci; gives its entries.
#[track_caller]
fn judge(project: &Project, registry: &Registry, name: &str) -> BTreeMap<String, String> {
    let there = format!("docker://{}/{name}", registry.host);
    let layout = name.replace(':', "-");
    // umoci reads no zstd.
    let arguments = ["copy", "--quiet", "--src-tls-verify=false", "--dest-compress-format=gzip", &there];
    skopeo(project, &[&arguments[..], &[&format!("oci:{layout}:it")]].concat());
    let unpacked = entries(&umoci_unpack(project, &format!("{layout}:it")));
    let source = format!("[source.it]\nimage = '{}/{name}'\n[step.same]\nfrom = 'it'\n", registry.host);
    let user = Project::new(&format!("version = 1\n{source}"));
    user.rbuild(["apply", "same"]).success();
    same_entries(name, &entries(&Mounted::new(&user, "source.it").place), &unpacked);
    unpacked
}

/// The same, and fails it unless the changes are in the image.
#[track_caller]
fn judge_changed(project: &Project, registry: &Registry, name: &str) {
    let entries = judge(project, registry, name);
    for path in ["/pair/second", "/odd/-dash", "/able-too", "/gone/back", "/file/inside"] {
        assert!(!entries.contains_key(path), "{path} was removed");
    }
    for (path, part) in [
        ("/gone/again", " size 6 "),
        ("/folder/inside", " size 7 "),
        ("/folder", "41750 0:0 "),
        ("/file", " to large"),
        ("/odd/fifo", "10640 0:0 "),
        ("/large", "106711 12:70000 "),
        ("/dangling", "120777 9:10 "),
        ("/shared", "42711 "),
        ("/null", "20666 0:0 @1234567890.000000000 device 1:3"),
        ("/odd/caf\\xe9", " size 8 "),
        ("/able", " xattr security.capability="),
    ] {
        let line = entries.get(path).unwrap_or_else(|| panic!("no {path}"));
        assert!(line.contains(part), "{path}: {line}");
    }
}

#[test]
fn mount_what_docker_commits_and_pushes() {
    needs!(root, fuse, busybox, dockerd, docker, umoci, skopeo, "docker-registry");
    let (project, registry, docker) = (base(), Registry::start(), Docker::start());
    let client = |arguments: &[&str]| said(docker.client(arguments).current_dir(project.path("")));
    client(&["load", "--quiet", "--input", "base.tar"]);
    client(&[&["run", "--name=changed", "--network=none", "base:1"], &CHANGE[..]].concat());
    let name = format!("{}/made:docker", registry.host);
    client(&["commit", "changed", &name]);
    client(&["push", "--quiet", &name]);
    judge_changed(&project, &registry, "made:docker");
}

#[test]
fn mount_what_podman_commits_and_pushes() {
    needs!(root, fuse, busybox, podman, runc, umoci, skopeo, "docker-registry");
    let (project, registry, podman) = (base(), Registry::start(), Podman::new());
    let client = |arguments: &[&str]| said(podman.client(arguments).current_dir(project.path("")));
    client(&["load", "--quiet", "--input", "base.tar"]);
    let run = Podman::RUN.into_iter().filter(|option| *option != "--rm");
    let run: Vec<&str> = run.chain(["--name=changed", "base:1"]).chain(CHANGE).collect();
    client(&run);
    // The last ends in frames that are none of the layer's content.
    for (format, compression, part) in [
        ("docker", "gzip", "image.rootfs.diff.tar.gzip\""),
        ("oci", "gzip", "layer.v1.tar+gzip\""),
        ("oci", "zstd", "layer.v1.tar+zstd\""),
        ("oci", "zstd:chunked", "zstd-chunked.manifest-position\""),
    ] {
        let tag = format!("made:podman-{format}-{}", compression.replace(':', "-"));
        let name = format!("{}/{tag}", registry.host);
        client(&["commit", "--quiet", "--format", format, "changed", &name]);
        client(&["push", "--quiet", "--tls-verify=false", "--compression-format", compression, &name]);
        let there = format!("docker://{name}");
        let manifest = skopeo(&project, &["inspect", "--raw", "--tls-verify=false", &there]);
        let manifest = String::from_utf8_lossy(&manifest);
        assert!(manifest.contains(part), "{manifest}");
        judge_changed(&project, &registry, &tag);
    }
}

#[test]
fn mount_what_buildah_commits() {
    needs!(root, fuse, busybox, buildah, umoci, skopeo, "docker-registry");
    let (project, registry, buildah) = (base(), Registry::start(), Buildah::new());
    let client = |arguments: &[&str]| said(buildah.client(arguments).current_dir(project.path("")));
    client(&["from", "--name=changed", "oci:base:1"]);
    client(&[&["run", "--isolation=chroot", "changed", "--"], &CHANGE[..]].concat());
    let there = |tag: &str| format!("docker://{}/made:{tag}", registry.host);
    for (options, tag) in [(&[][..], "buildah"), (&["--squash"], "buildah-squash")] {
        let commit = ["commit", "--quiet", "--tls-verify=false"];
        client(&[&commit, options, &["changed", &there(tag)]].concat());
        judge_changed(&project, &registry, &format!("made:{tag}"));
    }
}

#[test]
fn mount_what_umoci_repacks() {
    needs!(root, fuse, busybox, umoci, skopeo, "docker-registry");
    let (project, registry) = (base(), Registry::start());
    let root = umoci_unpack(&project, "base:1");
    run(Command::new("chroot").arg(&root).args(CHANGE));
    let mut umoci = Command::new("umoci");
    umoci.args(["repack", "--image", "base:2"]).arg(root.parent().expect("a bundle"));
    run(umoci.current_dir(project.path("")));
    registry.push(&project.path("base"), "2", "made:umoci");
    judge_changed(&project, &registry, "made:umoci");
}

#[test]
fn mount_what_skopeo_copies_and_rbuild_pushes() {
    needs!(root, fuse, umoci, skopeo, "docker-registry");
    let (project, registry) = (odd(""), Registry::start());
    project.rbuild(["apply"]).success();
    let built = entries(&Mounted::new(&project, "step.replaced").place);
    for compression in ["gzip", "zstd", "none"] {
        registry.push(&project.path("dist"), compression, &format!("skopeo:{compression}"));
        let image = format!("image.{compression}");
        let name = format!("rbuild:{compression}");
        project.rbuild(["push", &image, &format!("{}/{name}", registry.host)]).success();
        for name in [format!("skopeo:{compression}"), name] {
            same_entries(&name, &judge(&project, &registry, &name), &built);
        }
    }
}
