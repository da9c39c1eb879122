//! Machines that are not as usual: the same image comes out, or one sentence names what is missing and what helps.

use crate::support::{
    Build, MASKED, Mounted, NAME_SERVER, Output, Project, busybox,
    engine::{Docker, Podman},
    in_empty_root,
    registry::Registry,
    run, start_name_server,
};
use rbuild::doctor::{Name, Report, State, Tier};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Commands that write, link, rename, give away and remove, over one another's results.
pub(crate) const STEPS: &str = "
[step.one]
from = 'base'
run = '''
seq 300000 > /numbers
ln /numbers /linked
mkdir -p /a/b
echo x > /a/b/file
mkfifo /a/fifo
chown 5:6 /a/b/file || true
chmod 4755 /a/b/file
cat /proc/self/comm > /tmp/name
'''
[step.two]
from = 'one'
run = '''
echo more >> /numbers
mv /a /c
rm /linked
ln -s c/b /link
test \"$(cat /link/file)\" = x
'''
[image.it]
from = 'two'
";

fn project() -> Project {
    busybox(&[STEPS, "output = [{ oci = 'dist' }]\n"].concat())
}

const APPLY: [&str; 3] = ["apply", "--progress", "json"];

fn usual_digest() -> String {
    project().build().digest("it").to_owned()
}

#[track_caller]
fn report(output: &Output) -> Report {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[track_caller]
fn state(report: &Report, name: Name) -> State {
    report.checks.iter().find(|check| check.name == name).expect("every check is told").state
}

#[test]
fn sandbox_doctor_finds_what_builds() {
    needs!(fuse);
    let project = Project::empty();
    let output = project.rbuild(["doctor", "--json"]);
    let schema = include_str!("../schemas/doctor.schema.json");
    let schema = serde_json::from_str(schema).expect("the schema is JSON");
    let json = serde_json::from_str(&output.stdout).expect("a report");
    let errors: Vec<String> = jsonschema::validator_for(&schema)
        .expect("it is a schema")
        .iter_errors(&json)
        .map(|error| error.to_string())
        .collect();
    assert_eq!((errors, output.code), (vec![], Some(0)));
    let report = report(&output);
    assert_eq!((report.tier, report.ids > 0), (Tier::Fuse, true));
    for name in [Name::UserNamespaces, Name::Fuse, Name::Network, Name::Store] {
        assert_eq!(state(&report, name), State::Ok, "{output}");
    }
    assert!(!project.store().exists(), "looking makes no store");
    let told = project.rbuild(["doctor"]).success();
    assert!(told.starts_with("this is a") && told.contains(&format!("\n{}\n", report.verdict())), "{told}");
}

/// The setting is one of each user namespace, so a nested one is changed and not the machine.
const SWITCHED_OFF: &str = r#"
exec unshare --user --map-current-user --keep-caps sh -euc '
    echo 0 > /proc/sys/user/max_user_namespaces
    exec setpriv --ambient-caps=-all --inh-caps=-all "$@"' sh "$@""#;

#[test]
fn sandbox_user_namespaces_that_are_switched_off() {
    needs!(root, fuse, busybox, setpriv, unshare);
    let project =
        busybox("[step.quiet]\nfrom = 'base'\nremove = ['/tmp']\n[step.it]\nfrom = 'base'\nrun = 'true'\n");
    project.elsewhere_as_user(SWITCHED_OFF, &["apply", "quiet"]).success();
    let told = project.elsewhere_as_user(SWITCHED_OFF, &["apply", "it"]).failure(3);
    let first = told.lines().find(|line| line.starts_with("error[no-tier]: ")).unwrap_or_default();
    assert!(
        first.contains("user namespaces are switched off: ")
            && first.ends_with("sysctl user.max_user_namespaces=28633 switches them on"),
        "{told}"
    );
    assert!(!told.contains("free some space"), "{told}");
    let output = project.elsewhere_as_user(SWITCHED_OFF, &["doctor", "--json"]);
    let report = report(&output);
    assert_eq!((output.code, report.tier, report.ids), (Some(3), Tier::None, 0));
    let [better] = report.better.as_slice() else { panic!("{output}") };
    assert!(first.ends_with(better.as_str()), "the same sentence: {better}");
}

/// Root goes on without them, here with one id and without the right to make devices.
#[test]
fn sandbox_root_where_user_namespaces_are_switched_off() {
    needs!(root, fuse, busybox, unshare);
    const OFF: &str = "exec unshare --user --map-root-user sh -euc '
        echo 0 > /proc/sys/user/max_user_namespaces
        exec \"$@\"' sh \"$@\"";
    let project = busybox(
        "[step.owned]\nfrom = 'base'\nfiles = [{ path = '/own', content = 'x', owner = '7:8' }]\n\
         [step.it]\nfrom = 'owned'\nrun = 'echo > /it; cat /proc/self/comm > /comm; head -c 2 /dev/zero > /dev/null; chmod 600 /own'\n\
         [image.it]\nfrom = 'it'\noutput = [{ oci = 'dist' }]\n",
    );
    let usual = project.apply(["--store", "other", "image.it"]).success().digest("it").to_owned();
    let build = Build::read(project.elsewhere(OFF, &APPLY)).success();
    assert_eq!(build.digest("it"), usual);
    let [warning] = build.warnings()[..] else { panic!("{}", build.output) };
    assert!(
        warning.contains("not isolated") && warning.contains("sysctl user.max_user_namespaces"),
        "{warning}"
    );
    let report = report(&project.elsewhere(OFF, &["doctor", "--json"]));
    assert_eq!((report.tier, state(&report, Name::Chroot)), (Tier::Chroot, State::Ok));
}

/// Whoever needs the device says the same of it.
#[test]
fn mount_without_a_device() {
    needs!(root, fuse, busybox, unshare);
    let project =
        busybox("[step.it]\nfrom = 'base'\nrun = 'true'\n").file("ground/x", "").file("place/x", "");
    let hidden = "mount -t tmpfs none /dev; : > /dev/null; exec \"$@\"";
    let found = report(&project.elsewhere(hidden, &["doctor", "--json"]));
    assert_eq!((found.tier, state(&found, Name::UserNamespaces)), (Tier::Overlay, State::Ok));
    let [better] = found.better.as_slice() else { panic!("{found:?}") };
    let sentence = format!("open /dev/fuse: ENOENT (No such file or directory): {better}\n");
    for arguments in [
        &["apply", "--tier", "fuse", "it"][..],
        &["mount", "./ground", "place"],
        &["mount", "./ground", "--", "/x"],
    ] {
        let told = project.elsewhere(hidden, arguments).failure(3);
        assert!(told.contains(&sentence), "{arguments:?}: {told} lacks {sentence}");
    }
}

/// Which way a step runs is no warning about the file: what comes out is the same.
#[test]
fn sandbox_without_a_device_nothing_is_denied() {
    needs!(root, fuse, busybox, unshare);
    let hidden = "mount --bind /dev/null /dev/fuse; exec \"$@\"";
    let arguments = [&APPLY[..], &["--deny-warnings"]].concat();
    let build = Build::read(project().elsewhere(hidden, &arguments)).success();
    assert_eq!(build.digest("it"), usual_digest());
    let [warning] = build.warnings()[..] else { panic!("{}", build.output) };
    assert!(warning.starts_with("steps run on the kernel's overlay filesystem: "), "{warning}");
}

#[test]
fn sandbox_without_dev_null() {
    needs!(root, fuse, busybox, unshare);
    let told = project().elsewhere("mount -t tmpfs none /dev; exec \"$@\"", &["apply"]).failure(3);
    let first = told.lines().find(|line| line.starts_with("error[no-tier]: build.toml:")).unwrap_or_default();
    assert!(
        first.contains(": open /dev/null: ENOENT (No such file or directory): ")
            && first.ends_with(": mknod -m 666 /dev/null c 1 3"),
        "{told}"
    );
}

#[test]
fn sandbox_a_proc_with_hidden_parts() {
    needs!(root, fuse, busybox, unshare);
    let (project, masked) = (project(), format!("{MASKED}exec \"$@\""));
    let build = Build::read(project.elsewhere(&masked, &APPLY)).success();
    assert_eq!(build.digest("it"), usual_digest());
    assert!(build.output.stdout.contains("the machine's own /proc is shown inside"), "{}", build.output);
    let report = report(&project.elsewhere(&masked, &["doctor", "--json"]));
    assert_eq!((report.tier, state(&report, Name::Proc)), (Tier::Fuse, State::Limited));
}

#[test]
fn sandbox_any_control_groups() {
    needs!(root, fuse, busybox, unshare);
    let usual = usual_digest();
    let hidden = "mkdir -p /sys/fs/cgroup; mount -t tmpfs none /sys/fs/cgroup";
    for (circumstances, found) in [
        (hidden.to_owned(), "none; "),
        (format!("{hidden}; mount -t cgroup2 none /sys/fs/cgroup"), "version 2; "),
        (format!("{hidden}; mount -t cgroup2 -o ro none /sys/fs/cgroup"), "version 2; "),
    ] {
        let project = project();
        // What is hidden is in the list of mounts all the same.
        let script = format!("umount --recursive /sys/fs/cgroup || true; {circumstances}; exec \"$@\"");
        let build = Build::read(project.elsewhere(&script, &APPLY)).success();
        assert_eq!((build.digest("it"), build.warnings()), (usual.as_str(), vec![]), "{found}");
        let report = report(&project.elsewhere(&script, &["doctor", "--json"]));
        let cgroup = report.checks.iter().find(|check| check.name == Name::Cgroup).expect("it is told");
        assert!(cgroup.found.starts_with(found) && cgroup.state != State::Missing, "{cgroup:?}");
    }
}

/// Builds twice with the store on another filesystem: the second time everything is known.
#[track_caller]
fn with_store_on(mounted: &str, filesystem: &str) {
    let project = project();
    let script = format!("cd \"$FOLDER\"; mkdir store; {mounted}; cd work; \"$@\" > /dev/null; exec \"$@\"");
    let build = Build::read(project.elsewhere(&script, &APPLY)).success();
    assert_eq!((build.ran(), build.digest("it")), (vec![], usual_digest().as_str()), "{filesystem}");
    project.layout("dist").check("latest");
    let script = format!("cd \"$FOLDER\"; {mounted}; exec \"$@\"");
    let report = report(&project.elsewhere(&script, &["doctor", "--json"]));
    let store = report.checks.iter().find(|check| check.name == Name::Store).expect("it is told");
    assert!(store.found.contains(&format!(", on {filesystem}, ")), "{}", store.found);
}

/// The same on the kernel's overlay filesystem, too, whose folders are in the store.
#[track_caller]
fn with_folders_on(mounted: &str, filesystem: &str) {
    with_store_on(mounted, filesystem);
    let project = project();
    // The first build has its base in memory.
    let script = format!(
        "cd \"$FOLDER\"; mkdir store; {mounted}; cd work; \"$@\" > /dev/null; rm -r ../store/records; \"$@\"; \
         ls ../store/checkouts/*/stamp > kept"
    );
    let build =
        Build::read(project.elsewhere(&script, &[&APPLY[..], &["--tier", "overlay"]].concat())).success();
    assert_eq!(build.digest("it"), usual_digest().as_str(), "{filesystem}");
    assert_ne!(project.read("kept"), "", "{filesystem}");
}

#[test]
fn sandbox_a_store_in_memory() {
    needs!(root, fuse, busybox, unshare);
    with_folders_on("mount -t tmpfs none store", "tmpfs, no reflinks");
}

#[test]
fn sandbox_a_store_on_an_overlay() {
    needs!(root, fuse, busybox, unshare);
    let mounted = "mkdir -p l u w; mount -t overlay -o lowerdir=l,upperdir=u,workdir=w none store";
    with_store_on(mounted, "overlayfs");
}

#[test]
fn sandbox_a_store_on_xfs() {
    needs!(root, fuse, busybox, unshare, "mkfs.xfs");
    let mounted = "[ -e disk ] || { truncate -s 3G disk; mkfs.xfs -q disk; }; mount -o loop disk store";
    with_folders_on(mounted, "XFS, reflinks");
}

#[test]
fn sandbox_a_store_on_btrfs() {
    needs!(root, fuse, busybox, unshare, "mkfs.btrfs");
    let mounted = "[ -e disk ] || { truncate -s 3G disk; mkfs.btrfs -q disk; }; mount -o loop disk store";
    with_folders_on(mounted, "btrfs, reflinks");
}

/// On rbuild's own filesystem, of all.
#[test]
fn mount_a_store_on_a_fuse_filesystem() {
    needs!(root, fuse, busybox);
    let (outer, project) = (Project::empty().file("ground/x", ""), project());
    let mounted = Mounted::with(&outer, &["--rw"], "./ground");
    let place = mounted.place.join("store").display().to_string();
    let environment = [("RBUILD_STORE", place.as_str())];
    let build = Build::read(project.rbuild_with(&environment, APPLY)).success();
    assert_eq!(build.digest("it"), usual_digest());
    let again = Build::read(project.rbuild_with(&environment, APPLY)).success();
    assert_eq!(again.ran(), [""; 0]);
    project.layout("dist").check("latest");
}

/// rbuild without dynamic dependencies, where `tests/run` puts it.
pub fn static_program() -> PathBuf {
    target("static/rbuild")
}

/// Debian's kernel package, unpacked, where `tests/run` puts it.
pub fn old_kernel() -> PathBuf {
    target("tools/kernel")
}

fn target(path: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_rbuild")).ancestors().nth(2).expect("the target folder").join(path)
}

/// Runs it for a project in a root with nothing but it, /proc, /sys, /dev, and these files.
fn alone(project: &Project, files: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = project.path("").parent().expect("the project's folder").to_owned();
    let output = in_empty_root(&static_program(), &folder, files, arguments);
    project.output(format!("rbuild {}, in an empty root", arguments.join(" ")), &output)
}

#[test]
fn sandbox_a_root_with_nothing_but_rbuild() {
    needs!(root, fuse, busybox, static_program);
    let project = project();
    let build = Build::read(alone(&project, &[], &APPLY)).success();
    assert_eq!((build.digest("it"), build.warnings()), (usual_digest().as_str(), vec![]), "{}", build.output);
    project.layout("dist").check("latest");
    let report = report(&alone(&project, &[], &["doctor", "--json"]));
    assert_eq!((report.tier, report.ids), (Tier::Fuse, 65_536));
    assert_eq!((state(&report, Name::Home), state(&report, Name::Store)), (State::Limited, State::Ok));
}

/// It is unpacked, and there is no /tmp for that.
#[test]
fn sandbox_a_compressed_archive_in_a_root_with_nothing_but_rbuild() {
    needs!(root, fuse, busybox, static_program, gzip);
    let maker = busybox("[image.it]\nfrom = 'base'\noutput = [{ oci-archive = 'saved.tar' }]\n");
    maker.build();
    run(Command::new("gzip").arg(maker.path("saved.tar")));
    let saved = fs::read(maker.path("saved.tar.gz")).expect("an archive");
    let spec = "version = 1\n[source.saved]\noci = 'saved.tar.gz'\n[step.it]\nfrom = 'saved'\nrun = 'true'\n";
    let project = Project::new(spec).file("saved.tar.gz", saved);
    let build = Build::read(alone(&project, &[], &[&APPLY[..], &["it"]].concat())).success();
    assert_eq!(build.ran(), ["step.it"]);
}

/// The C library of a static program brings its own resolver along, and no part of it is a file.
#[test]
fn sandbox_names_are_resolved_in_a_root_with_nothing_but_rbuild() {
    needs!(root, fuse, busybox, static_program, "docker-registry", skopeo);
    let (maker, registry) = (project(), Registry::start());
    maker.build();
    registry.push(&maker.path("dist"), "latest", "test/base:1");
    let port = registry.host.split_once(':').expect("a port").1;
    start_name_server([127, 0, 0, 1]);
    for (name, file, text) in [
        ("registry.test", "etc/resolv.conf", format!("nameserver {NAME_SERVER}\n")),
        ("registry.example", "etc/hosts", "127.0.0.1 registry.example\n".to_owned()),
    ] {
        let project = Project::new(&format!(
            "version = 1\n[source.base]\nimage = '{name}:{port}/test/base:1'\n\
             [step.it]\nfrom = 'base'\nrun = 'test -s /numbers'\n"
        ));
        let settings = format!("[registries.'{name}:{port}']\nhttp = true\n");
        project.write("../settings/rbuild/config.toml", settings);
        let output = alone(&project, &[(file, &text)], &[&APPLY[..], &["it"]].concat());
        assert_eq!(Build::read(output).success().ran(), ["step.it"], "by {file}");
    }
}

/// In a real one: what there is without a flag, and that the flags which are named give all.
#[test]
fn sandbox_docker_with_and_without_the_flags_that_help() {
    needs!(root, fuse, busybox, static_program, dockerd, docker, runc);
    let (maker, project, docker) = (busybox(""), project(), Docker::start());
    maker.write_steps(
        "[image.it]\nfrom = 'base'\ntags = ['job:1']\noutput = [{ docker-archive = 'job.tar' }]\n",
    );
    maker.build();
    run(docker.client(&["load", "--quiet", "--input"]).arg(maker.path("job.tar")));
    let inside = |flags: &[&str], arguments: &[&str]| {
        let mut command = docker.client(&["run", "--rm", "--network=none", "--env=RBUILD_STORE=/data/store"]);
        let folder = project.path("").parent().expect("the project's folder").to_owned();
        command.arg("--volume").arg(format!("{}:/rbuild:ro", static_program().display()));
        command.arg("--volume").arg(format!("{}:/data", folder.display())).arg("--workdir=/data/work");
        let output = command.args(flags).args(["job:1", "/rbuild"]).args(arguments).output();
        let line = format!("docker run {} rbuild {}", flags.join(" "), arguments.join(" "));
        project.output(line, &output.expect("docker can be started"))
    };
    let plain = inside(&[], &["doctor", "--json"]);
    let found = report(&plain);
    assert_eq!((plain.code, found.place.as_str(), found.tier), (Some(0), "docker", Tier::Chroot), "{plain}");
    let flags = ["--security-opt=seccomp=unconfined", "--device=/dev/fuse"];
    for (flag, better) in flags.iter().zip(&found.better) {
        assert!(better.contains(&flag.replacen('=', " ", 1)), "{better} lacks {flag}");
    }
    let build = Build::read(inside(&[], &APPLY)).success();
    assert_eq!(build.digest("it"), usual_digest());
    let [warning] = build.warnings()[..] else { panic!("{}", build.output) };
    assert!(
        warning.contains("not isolated") && warning.contains("--security-opt seccomp=unconfined"),
        "{warning}"
    );
    // As kubernetes starts it where pods are restricted.
    let restricted = [
        "--user=1000:1000",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--env=RBUILD_STORE=/tmp/store",
    ];
    let told = inside(&restricted, &["apply"]).failure(3);
    assert!(told.contains("--security-opt seccomp=unconfined"), "{told}");
    let found = report(&inside(&restricted, &["doctor", "--json"]));
    assert_eq!((found.tier, state(&found, Name::Chroot)), (Tier::None, State::Missing));
    // What a root without the usual capabilities can do is done; of what it lacks the flags are named.
    let cut = ["--cap-drop=ALL", "--cap-add=SYS_CHROOT", "--env=RBUILD_STORE=/data/cut"];
    let build = Build::read(inside(&cut, &[&APPLY[..], &["one"]].concat())).success();
    assert!(build.ran().contains(&"step.one"), "{}", build.output);
    let told = build.warnings().join("\n");
    assert!(
        told.contains("images may be others than elsewhere") && told.contains("--cap-add FSETID"),
        "{told}"
    );
    let found = report(&inside(&cut, &["doctor", "--json"]));
    assert_eq!((found.tier, state(&found, Name::Chroot)), (Tier::Chroot, State::Limited));
    assert!(found.better.last().is_some_and(|cure| cure.contains("--cap-add CHOWN ")), "{:?}", found.better);
    let cure = found.better.last().cloned().unwrap_or_default();
    let advised = cure.split_whitespace().skip_while(|word| !word.starts_with("--"));
    let advised: Vec<&str> = cut.into_iter().chain(advised).collect();
    let build = Build::read(inside(&advised, &APPLY)).success();
    assert_eq!(
        (build.digest("it"), build.warnings().len()),
        (usual_digest().as_str(), 1),
        "{}",
        build.output
    );
    let found = report(&inside(&["--cap-drop=SETPCAP", "--cap-add=SYS_PTRACE"], &["doctor", "--json"]));
    assert_eq!((found.tier, state(&found, Name::Chroot)), (Tier::None, State::Missing));
    assert!(
        found.better.last().is_some_and(|cure| cure.ends_with("--cap-add SETPCAP")),
        "{:?}",
        found.better
    );
    let told = inside(&["--cap-drop=ALL", "--cap-add=SETUID"], &["apply", "one"]).failure(3);
    assert!(
        told.contains("nor can a chroot: ") && told.contains("--cap-add SYS_CHROOT --cap-add CHOWN"),
        "{told}"
    );
    // Most managed CI: namespaces, and no device.
    let no_device = [flags[0], "--env=RBUILD_STORE=/data/third"];
    let build = Build::read(inside(&no_device, &APPLY)).success();
    assert_eq!(build.digest("it"), usual_digest());
    let told = build.warnings().join("\n");
    assert!(told.contains("steps run on the kernel's overlay filesystem: open /dev/fuse"), "{told}");
    assert_eq!(report(&inside(&no_device, &["doctor", "--json"])).tier, Tier::Overlay);
    // The same for a user of no particular kind: owners are kept beside that filesystem.
    let folder = project.path("").parent().expect("the project's folder").to_owned();
    run(Command::new("chown").args(["-R", "1000:1000"]).arg(&folder));
    let user = ["--user=1000:1000", flags[0], "--env=RBUILD_STORE=/data/fourth", "--env=HOME=/data/home"];
    let build = Build::read(inside(&user, &APPLY)).success();
    assert_eq!(build.digest("it"), usual_digest());
    let found = report(&inside(&user, &["doctor", "--json"]));
    assert_eq!((found.tier, found.ids), (Tier::Overlay, 1));
    let flags = [&flags[..], &["--env=RBUILD_STORE=/data/other"]].concat();
    let build = Build::read(inside(&flags, &APPLY)).success();
    assert_eq!(build.digest("it"), usual_digest());
    let helped = report(&inside(&flags, &["doctor", "--json"]));
    assert_eq!((helped.place.as_str(), helped.tier, helped.ids), ("docker", Tier::Fuse, 65_536));
}

/// As `docker run --privileged`, which asks for more than a container gives that these tests may run in.
#[test]
fn sandbox_a_privileged_container() {
    needs!(root, fuse, busybox, static_program, podman, runc);
    let (project, root, podman) = (project(), Project::empty(), Podman::new());
    root.write("rbuild", "");
    let folder = project.path("").parent().expect("the project's folder").to_owned();
    let inside = |arguments: &[&str]| {
        let mut command = podman.client(&Podman::RUN);
        command.args(["--privileged", "--env=RBUILD_STORE=/data/store", "--workdir=/data/work"]);
        command.arg("--volume").arg(format!("{}:/rbuild:ro", static_program().display()));
        command.arg("--volume").arg(format!("{}:/data", folder.display()));
        command.arg("--rootfs").arg(root.path("")).arg("/rbuild").args(arguments);
        let output = command.output().expect("podman can be started");
        project.output(format!("podman run --privileged rbuild {}", arguments.join(" ")), &output)
    };
    let build = Build::read(inside(&APPLY)).success();
    assert_eq!((build.digest("it"), build.warnings()), (usual_digest().as_str(), vec![]));
    let found = report(&inside(&["doctor", "--json"]));
    assert_eq!((found.place.as_str(), found.tier, found.ids), ("podman", Tier::Fuse, 65_536));
}
