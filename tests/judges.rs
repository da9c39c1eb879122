//! What other programs say of what is written: skopeo, umoci, docker, podman.

use crate::support::{
    Mounted, Project, busybox,
    engine::{Docker, Podman},
    entries, odd,
    registry::Registry,
    run, said, same_entries, skopeo, umoci_unpack,
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

const PUSHED: &str = r#"
[step.more]
from = "base"
files = [{ path = "/gone", content = "x" }, { path = "/kept/file", content = "x", owner = "7:8", mode = "4640" }]
[step.less]
from = "more"
remove = ["/gone"]
"#;

/// Images of three layers, the last of which removes something, pushed as `test/app:gzip` and so on.
fn pushed() -> (Project, Registry) {
    let registry = Registry::start();
    let image = |compression: &str| {
        let tag = format!("{}/test/app:{compression}", registry.host);
        format!(
            "[image.{compression}]\nfrom = 'less'\ncompress = '{compression}'\ntags = ['{tag}']\n\
             output = [{{ oci = 'dist' }}]\n\
             config = {{ cmd = ['sh', '-c', 'stat -c %u:%a /kept/file && test ! -e /gone'] }}\n"
        )
    };
    let project = busybox(&(PUSHED.to_owned() + &COMPRESSIONS.map(image).concat()));
    project.rbuild(["apply"]).success();
    for compression in COMPRESSIONS {
        assert_eq!(project.layout("dist").layers(compression).len(), 3);
        project.rbuild(["push", compression]).success();
    }
    (project, registry)
}

#[test]
fn skopeo_copies_what_is_pushed() {
    needs!(busybox, skopeo, "docker-registry");
    let (project, registry) = pushed();
    for compression in COMPRESSIONS {
        let there = format!("docker://{}/test/app:{compression}", registry.host);
        let here = format!("oci:judged:{compression}");
        let copy = ["copy", "--quiet", "--preserve-digests", "--src-tls-verify=false", &there, &here];
        skopeo(&project, &copy);
        project.layout("judged").check(compression);
        assert_eq!(project.layout("judged").digest(compression), project.layout("dist").digest(compression));
    }
}

#[test]
fn sandbox_docker_pulls_and_runs_what_is_pushed() {
    needs!(root, busybox, dockerd, docker, "docker-registry");
    let ((project, registry), docker) = (pushed(), Docker::start());
    let version = said(&mut docker.client(&["version", "--format={{.Server.Version}}"]));
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).expect("a version");
    for compression in COMPRESSIONS {
        let name = format!("{}/test/app:{compression}", registry.host);
        if compression == "zstd" && major < 23 {
            // Its release notes: docker reads zstd from 23.0 on. That of Debian 12 is older.
            let pulled = docker.client(&["pull", "--quiet", &name]).output().expect("docker");
            let told = String::from_utf8_lossy(&pulled.stderr);
            assert!(told.contains("invalid tar header"), "{told}");
            continue;
        }
        said(&mut docker.client(&["pull", "--quiet", &name]));
        let digest = said(&mut docker.client(&["image", "inspect", "--format={{.RepoDigests}}", &name]));
        assert!(digest.contains(&project.layout("dist").digest(compression)), "{digest}");
        assert_eq!(said(&mut docker.client(&["run", "--rm", "--network=none", &name])), "7:4640");
        // The next one has the same config, and would be taken for this one.
        assert!(said(&mut docker.client(&["image", "rm", &name])).contains("Deleted: sha256:"));
    }
}

#[test]
fn sandbox_podman_pulls_and_runs_what_is_pushed() {
    needs!(root, busybox, podman, runc, "docker-registry");
    let ((project, registry), podman) = (pushed(), Podman::new());
    for compression in COMPRESSIONS {
        let name = format!("{}/test/app:{compression}", registry.host);
        said(&mut podman.client(&["pull", "--quiet", "--tls-verify=false", &name]));
        let digest = said(&mut podman.client(&["image", "inspect", "--format={{.Digest}}", &name]));
        assert_eq!(digest, project.layout("dist").digest(compression));
        assert_eq!(said(&mut podman.client(&[&Podman::RUN[..], &[&name]].concat())), "7:4640");
        assert!(said(&mut podman.client(&["image", "rm", &name])).contains("Deleted: "));
    }
}
