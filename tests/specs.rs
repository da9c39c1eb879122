//! The specs that ship, each from an empty store, with the lock file that is committed.

use crate::{
    environments::static_program,
    support::{Build, Project, busybox, engine::Docker, run},
};
use rbuild::doctor::{Report, Tier};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Applies a spec where it is; what it writes goes to the project's folder.
fn apply(project: &Project, spec: &str) -> Build {
    let mut line: Vec<OsString> = ["--locked", "--out"].map(OsString::from).to_vec();
    line.extend([project.path("").into(), "-f".into(), repository(spec).into()]);
    project.apply(line)
}

/// Applies a spec twice: the second time everything is known.
#[track_caller]
fn applied(project: &Project, spec: &str) -> Build {
    let build = apply(project, spec).success();
    let again = apply(project, spec).success();
    assert_eq!(again.ran(), [""; 0], "{spec}: {}", again.output);
    build
}

#[test]
fn sandbox_hello() {
    needs!(fuse, gcc);
    let (toml, yaml) = (Project::empty(), Project::empty());
    let build = applied(&toml, "specs/hello/build.toml");
    assert_eq!(build.ran(), ["step.compile", "step.root", "test.greets"]);
    let greeting = build.lines("test.greets");
    assert!(greeting.len() == 1 && greeting[0].contains("rbuild"), "{greeting:?}");
    let layout = toml.layout("dist/hello");
    layout.check("latest");
    assert_eq!(layout.names("latest"), [["./", "hello"]], "the image is one file");
    let other = applied(&yaml, "specs/hello-yaml/build.yaml");
    assert_eq!(other.digest("hello"), build.digest("hello"), "the YAML form gives the same image");
    let told = toml.rbuild([
        OsString::from("inspect"),
        "-f".into(),
        repository("specs/hello").into(),
        "image.hello".into(),
    ]);
    assert!(told.success().contains("Entrypoint = [\"/hello\"]"));
}

#[test]
fn sandbox_hello_as_an_ordinary_user() {
    needs!(fuse, gcc, root, setpriv, unshare);
    let (root, user) = (Project::empty(), Project::empty());
    let digest = applied(&root, "specs/hello/build.toml").digest("hello").to_owned();
    for name in ["specs/hello/build.toml", "specs/hello/rbuild.lock", "specs/hello/src/hello.c"] {
        user.write(
            name.strip_prefix("specs/hello/").unwrap_or(name),
            fs::read(repository(name)).expect("a spec"),
        );
    }
    let build = Build::read(user.as_user(&["apply", "--locked", "--progress", "json"])).success();
    assert_eq!(build.digest("hello"), digest);
    user.layout("dist/hello").check("latest");
}

#[test]
fn sandbox_a_command_that_has_one_id_is_told_how_to_have_more() {
    needs!(fuse, busybox, root, setpriv, unshare);
    let project = crate::support::busybox(
        "[step.refused]\nfrom = 'base'\nrun = 'mount -t tmpfs none /tmp'\n[step.it]\nfrom = 'base'\nrun = 'false'\n",
    );
    let told = project.as_user(&["apply", "refused"]).failure(1);
    assert!(told.contains("| mount: permission denied"), "{told}");
    assert!(told.contains("one id only") && told.contains(":100000:65536` in /etc/subuid"), "{told}");
    for told in [project.as_user(&["apply", "it"]), project.rbuild(["apply", "refused"])] {
        let told = told.failure(1);
        assert!(!told.contains("one id only"), "{told}");
    }
}

#[test]
fn sandbox_graph() {
    let project = Project::empty();
    let build = applied(&project, "specs/graph/build.toml");
    assert_eq!(build.ran().len(), 40, "{:?}", build.ran());
    project.layout("dist/release").check("release");
    for (path, content) in [("dist/slim/etc/os-release", "VARIANT=branded"), ("dist/slim/VERSION", "")] {
        let file = project.path(path);
        assert_eq!(file.exists(), !content.is_empty(), "{path}");
        assert!(content.is_empty() || project.read(path).contains(content), "{path}");
    }
    for name in ["slim.tar", "appliance.oci.tar", "appliance.docker.tar"] {
        let size = fs::metadata(project.path("dist").join(name)).expect("an output").len();
        assert!(size > 10_000, "{name}: {size}");
    }
    assert!(project.path("dist/manual").is_dir());
}

#[test]
fn sandbox_graph_on_every_tier() {
    needs!(root, fuse);
    let (spec, out) = (repository("specs/graph/build.toml"), Project::empty());
    let [spec, out] = [spec, out.path("")].map(|path| path.display().to_string());
    let line = ["apply", "--locked", "--progress", "json", "--out", &out, "-f", &spec];
    let digests =
        |build: &Build| ["release", "slim", "appliance"].map(|image| build.digest(image).to_owned());
    let usual = digests(&apply(&Project::empty(), "specs/graph/build.toml").success());
    for tier in ["fuse", "overlay", "chroot"] {
        let build = Build::read(Project::empty().rbuild([&line[..], &["--tier", tier]].concat())).success();
        assert_eq!((build.ran().len(), digests(&build)), (40, usual.clone()), "{tier}");
    }
}

#[test]
fn debian_moves() {
    needs!(fuse, base);
    let project = Project::empty();
    let build = applied(&project, "specs/moves/build.toml");
    assert!(build.ran().contains(&"test.still-a-system"), "{:?}", build.ran());
    let small = project.layout("dist/small");
    small.check("moves:small".split_once(':').map_or("", |(_, tag)| tag));
    let names: Vec<String> = small.names("small").concat();
    for absent in ["data/left/never", ".rbuild-run"] {
        assert!(!names.iter().any(|name| name == absent), "{absent}: {names:?}");
    }
    for present in ["data/.wh.old", "data/new/a", "data/gone/z", "data/pair/.wh.one", "data/new/.wh.queue"] {
        assert!(names.iter().any(|name| name == present), "{present}: {names:?}");
    }
    project.layout("dist/large").check("large");
}

#[test]
fn debian_ci_java() {
    needs!(fuse, base);
    let project = Project::empty();
    let build = apply(&project, "specs/ci-java/build.toml").success();
    let steps = ["step.jar", "step.jre", "step.runtime", "step.toolchain"];
    assert!(steps.iter().all(|step| build.ran().contains(step)), "{:?}", build.ran());
    for image in ["toolchain", "runtime"] {
        assert!(build.digest(image).starts_with("sha256:"));
        project.layout(&format!("dist/{image}")).check("dev");
    }
    let again = apply(&project, "specs/ci-java/build.toml").success();
    assert_eq!(again.ran(), [""; 0]);
    for image in ["toolchain", "runtime"] {
        assert_eq!(again.digest(image), build.digest(image));
    }
    // The runtime is only that: no compiler, no package manager's downloads.
    let names: Vec<String> = project.layout("dist/runtime").names("dev").concat();
    let has = |end: &str| names.iter().any(|name| name.ends_with(end));
    assert!(has("/greeter.jar") && has("/bin/java"), "the program and what runs it");
    assert!(
        !has("/bin/javac") && !has("/bin/mvn") && !has(".deb") && !has("/bin/node"),
        "and nothing to build it"
    );
}

/// With the program that tests/run makes: to make it in the spec takes minutes.
#[test]
fn debian_rbuild_builds_in_its_own_image() {
    needs!(root, fuse, base, busybox, static_program, dockerd, docker, runc);
    let (images, docker) = (Project::empty(), Docker::start());
    let (spec, given) = (repository("specs/rbuild/build.toml"), static_program());
    let given = format!("given={}", given.display());
    let set: [OsString; 4] = ["--set", "program=given", "--set", &given].map(OsString::from);
    let line = ["--locked", "--out"].map(OsString::from).into_iter().chain([images.path("").into()]);
    let build = images.apply(line.chain(set).chain(["-f".into(), spec.into()])).success();
    assert_eq!(build.ran(), ["step.alone", "step.job", "test.alone", "test.ready"]);
    let alone = images.layout("dist/alone");
    alone.check("dev-alone");
    let names = alone.names("dev-alone").concat();
    assert!(names.iter().all(|name| name.starts_with("usr/") || name.starts_with("etc/") || name == "./"));
    run(docker.client(&["load", "--quiet", "--input"]).arg(images.path("dist/job.tar")));

    let steps = "[step.it]\nfrom = 'base'\nrun = 'seq 30000 > /numbers; chown 5:6 /numbers; ln /numbers /twin'\n\
                 [image.it]\nfrom = 'it'\noutput = [{ oci = 'dist' }]\n";
    let project = busybox(steps);
    let usual = project.build().digest("it").to_owned();
    let flags = ["--security-opt=seccomp=unconfined", "--device=/dev/fuse"];
    for (flags, tier) in [(&[][..], Tier::Chroot), (&flags, Tier::Fuse)] {
        // As a runner gives commands to a job: by a shell.
        let inside = |script: &str| {
            let mut command = docker.client(&["run", "--rm", "--network=none", "--workdir=/job"]);
            command.arg("--volume").arg(format!("{}:/job", project.path("").display()));
            let output = command.args(flags).args(["rbuild:dev", "sh", "-c", script]).output();
            project.output(format!("docker run {flags:?} {script}"), &output.expect("docker can be started"))
        };
        let told = inside("rbuild doctor --json");
        let report: Report = serde_json::from_str(&told.success()).expect("a report");
        assert_eq!((report.place.as_str(), report.tier), ("docker", tier));
        let build = Build::read(inside("rbuild apply --progress json")).success();
        assert_eq!(
            (build.ran(), build.digest("it")),
            (vec!["step.base", "step.it"], usual.as_str()),
            "{tier:?}"
        );
    }
}
