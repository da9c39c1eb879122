//! What other programs say of what is written: skopeo, umoci, docker, podman.

use crate::support::{
    Mounted, Project,
    engine::{Docker, Podman},
    entries, odd, run, said, same_entries, skopeo, umoci_unpack,
};

const COMPRESSIONS: [&str; 3] = ["gzip", "zstd", "none"];

fn project() -> Project {
    let project = odd("");
    project.rbuild(["apply"]).success();
    project
}

#[test]
fn mount_umoci_unpacks_what_is_mounted() {
    needs!(root, fuse, umoci, skopeo);
    let project = project();
    // umoci reads no zstd.
    let recompress =
        ["copy", "--quiet", "--dest-compress-format=gzip", "oci:dist:zstd", "oci:recompressed:zstd"];
    skopeo(&project, &recompress);
    let mounted = entries(&Mounted::new(&project, "image.gzip").place);
    for (layout, reference) in [("dist", "gzip"), ("dist", "none"), ("recompressed", "zstd")] {
        let unpacked = entries(&umoci_unpack(&project, &format!("{layout}:{reference}")));
        assert!(unpacked.len() > 40, "{unpacked:?}");
        same_entries(reference, &mounted, &unpacked);
    }
    let count = |text: &str| mounted.values().filter(|line| line.contains(text)).count();
    assert_eq!(
        (count("security.capability="), count("user.note=hello"), count("the same file as")),
        (1, 1, 3)
    );
}

/// The archive is what GNU tar saw, and what is shown of it is that again.
#[test]
fn mount_an_archive_shows_what_was_archived() {
    needs!(root, fuse);
    let project = project();
    let mounted = entries(&Mounted::new(&project, "source.odd").place);
    same_entries("archive", &mounted, &entries(&project.path("odd")));
}

/// The layouts, the archives and the place in the file system are one image.
#[test]
fn mount_what_was_written_is_what_was_built() {
    needs!(root, fuse);
    let project = project();
    let built = entries(&Mounted::new(&project, "step.replaced").place);
    for written in ["./zstd.oci.tar", "./gzip.oci.tar", "./none.docker.tar"] {
        same_entries(written, &built, &entries(&Mounted::new(&project, written).place));
    }
}

#[test]
fn skopeo_reads_and_copies_every_layout() {
    needs!(root, skopeo);
    let project = project();
    for reference in COMPRESSIONS {
        let ours = project.layout("dist");
        ours.check(reference);
        let image = format!("oci:dist:{reference}");
        assert_eq!(skopeo(&project, &["inspect", "--raw", &image]), ours.raw_manifest(reference));
        let (there, back) = (format!("oci:there:{reference}"), format!("oci:back:{reference}"));
        skopeo(&project, &["copy", "--quiet", "--preserve-digests", &image, &there]);
        skopeo(&project, &["copy", "--quiet", "--preserve-digests", &there, &back]);
        assert_eq!(project.layout("back").digest(reference), ours.digest(reference));
    }
}

#[test]
fn skopeo_reads_every_archive() {
    needs!(root, skopeo);
    let project = project();
    for reference in COMPRESSIONS {
        let ours = project.layout("dist");
        let archive = format!("oci-archive:{reference}.oci.tar:{reference}");
        assert_eq!(skopeo(&project, &["inspect", "--raw", &archive]), ours.raw_manifest(reference));
        let copy = format!("oci:of-archive:{reference}");
        skopeo(&project, &["copy", "--quiet", "--preserve-digests", &archive, &copy]);
        assert_eq!(project.layout("of-archive").digest(reference), ours.digest(reference));

        let archive = format!("docker-archive:{reference}.docker.tar:odd:{reference}");
        let config: serde_json::Value =
            serde_json::from_slice(&skopeo(&project, &["inspect", "--config", "--raw", &archive]))
                .expect("JSON");
        assert_eq!(config, ours.configuration(reference), "{reference}");
        let copy = format!("oci:of-docker:{reference}");
        skopeo(&project, &["copy", "--quiet", &archive, &copy]);
        project.layout("of-docker").check(reference);
    }
}

/// specs/hello with an output that engines load.
fn hello() -> Project {
    let project = Project::copy_of("specs/hello");
    let spec = project.read("build.toml");
    let wanted = spec.replace("output = [", "output = [{ docker-archive = \"hello.tar\" }, ");
    assert_ne!(spec, wanted);
    project.write("build.toml", wanted);
    project.rbuild(["apply"]).success();
    project
}

#[test]
fn sandbox_docker_loads_and_runs_it() {
    needs!(root, userns, fuse, cc, dockerd, docker);
    let project = hello();
    let docker = Docker::start();
    run(docker.client(&["load", "--input"]).arg(project.path("hello.tar")));
    let printed = said(&mut docker.client(&["run", "--rm", "--network=none", "hello:latest", "docker"]));
    assert_eq!(printed, "hello, docker");
    let id = said(&mut docker.client(&["image", "inspect", "--format={{.Id}}", "hello:latest"]));
    assert_eq!(project.layout("dist/hello").manifest("latest")["config"]["digest"], id);
}

#[test]
fn sandbox_podman_loads_and_runs_it() {
    needs!(root, userns, fuse, cc, podman, runc);
    let project = hello();
    let engine = Podman::new();
    let podman = |arguments: &[&str]| said(engine.client(arguments).current_dir(project.path("")));
    podman(&["load", "--quiet", "--input", "hello.tar"]);
    let printed = podman(&[&Podman::RUN[..], &["localhost/hello:latest", "podman"]].concat());
    assert_eq!(printed, "hello, podman");
    let labels = podman(&["image", "inspect", "--format={{.Labels}}", "localhost/hello:latest"]);
    assert_eq!(labels, "map[org.opencontainers.image.title:hello]");
}
