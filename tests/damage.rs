//! A store that lost something: never a wrong result, never a failed build.

use crate::{
    caching::files_below,
    support::{Build, Project, busybox},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

const SPEC: &str = r#"
[source.code]
path = "code"
[step.left]
from = "base"
mounts = [{ from = "code", target = "/code" }]
run = "cat /code/main > /left; ln /left /twin; mkdir -p /deep/er; echo x > /deep/er/x"
[step.right]
from = "base"
copy = [{ from = "code", src = "/main", dest = "/right" }]
run = "cat /right /right > /double"
[step.joined]
merge = ["left", "right"]
[image.app]
from = "joined"
output = [{ oci = "dist/app" }]
"#;

fn project() -> Project {
    busybox(SPEC).file("code/main", "main\n")
}

/// What happens to a file.
type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 3] = [
    ("removed", |path| fs::remove_file(path).expect("a file of the store")),
    ("cut", |path| {
        let bytes = fs::read(path).expect("a file of the store");
        rewrite(path, &bytes[..bytes.len() / 2]);
    }),
    ("flipped", |path| {
        let mut bytes = fs::read(path).expect("a file of the store");
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 0x20;
        }
        rewrite(path, &bytes);
    }),
];

fn rewrite(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("a file of the store");
    fs::write(path, bytes).expect("a file of the store");
}

/// Damages every file of a folder of the store, one after the other and in every way; each time the next build must
/// give the same image. `also` is removed each time, so that the damaged file is needed.
fn damage_all(folder: &str, also: &[&str]) {
    let project = project();
    let digest = project.build().digest("app").to_owned();
    let all = files_below(&project.store().join(folder));
    assert!(all.len() > 2, "{folder}: {all:?}");
    for path in all {
        for (what, damage) in DAMAGES {
            if !path.exists() {
                continue;
            }
            damage(&path);
            forget(&project, also);
            let build = project.apply::<&str>([]);
            let shown = path.strip_prefix(project.store()).expect("it is in the store").display();
            assert_eq!(build.output.code, Some(0), "{shown} {what}: {}", build.output);
            assert_eq!(build.digest("app"), digest, "{shown} {what}");
            project.layout("dist/app").check("latest");
        }
    }
}

fn forget(project: &Project, also: &[&str]) {
    let folders = also.iter().map(|name| project.store().join(name)).chain([project.path("dist")]);
    for path in folders.filter(|path| path.exists()) {
        fs::remove_dir_all(path).expect("a folder of the project");
    }
}

#[test]
fn sandbox_damaged_records() {
    needs!(fuse, busybox);
    damage_all("records", &[]);
}

#[test]
fn sandbox_damaged_blobs() {
    needs!(fuse, busybox);
    damage_all("blobs", &[]);
}

#[test]
fn sandbox_damaged_trees() {
    needs!(fuse, busybox);
    damage_all("trees", &["blobs"]);
}

#[test]
fn sandbox_damaged_objects() {
    needs!(fuse, busybox);
    damage_all("objects", &["blobs"]);
}

/// A step that must run over damaged objects, which came from an archive: the program sees EIO, never a missing file
/// or other bytes, and what it made of that is not kept; the archive is read again.
#[test]
fn sandbox_steps_over_damaged_objects() {
    needs!(fuse, busybox, "tar");
    let project = Project::empty();
    let applets = ["cat", "echo", "sh"];
    let staged = project.path("root/bin");
    fs::create_dir_all(&staged).expect("a folder");
    fs::copy("/bin/busybox", staged.join("busybox")).expect("busybox");
    for name in applets {
        std::os::unix::fs::symlink("busybox", staged.join(name)).expect("a link");
    }
    project.write("root/data", "right\n".repeat(3000));
    let mut tar = std::process::Command::new("tar");
    tar.args(["-C"]).arg(project.path("root")).arg("-cf").arg(project.path("base.tar")).arg(".");
    assert!(tar.status().expect("tar can be started").success());
    let spec = |number: usize| {
        let archive = "version = 1\nepoch = 1700000000\n[source.base]\narchive = 'base.tar'\n";
        let output = "[image.app]\nfrom = 'made'\noutput = [{ dir = 'out' }]\n";
        format!(
            "{archive}[step.made]\nfrom = 'base'\nrun = 'cat /data > /copy || echo gone > /copy; echo {number}'\n{output}"
        )
    };
    project.write("build.toml", spec(0));
    project.build();
    let mut number = 0;
    for path in files_below(&project.store().join("objects")) {
        for (what, damage) in DAMAGES {
            if !path.exists() {
                continue;
            }
            damage(&path);
            number += 1;
            project.write("build.toml", spec(number));
            let build = project.build();
            let shown = path.strip_prefix(project.store()).expect("it is in the store").display();
            assert_eq!(build.ran(), ["step.made"], "{shown} {what}");
            assert_eq!(project.read("out/copy"), "right\n".repeat(3000), "{shown} {what}");
        }
    }
    assert!(number >= 6, "objects were damaged: {number}");
    project.nothing_is_left();
}

#[test]
fn sandbox_a_lost_index_and_history_change_nothing() {
    needs!(fuse, busybox);
    let project = project();
    let digest = project.build().digest("app").to_owned();
    let index = || ["index.db", "index.db-wal", "index.db-shm"].map(|name| project.store().join(name));
    for damage in [|path: &PathBuf| fs::remove_file(path), |path: &PathBuf| fs::write(path, "no database")] {
        index().iter().filter(|path| path.exists()).for_each(|path| damage(path).expect("the index"));
        let build = project.build();
        assert_eq!((build.ran(), build.digest("app")), (vec![], digest.as_str()));
    }
    for name in ["history", "locks", "caches"] {
        fs::remove_dir_all(project.store().join(name)).expect("a folder of the store");
    }
    let build = project.build();
    assert_eq!((build.ran(), build.digest("app")), (vec![], digest.as_str()));
}

#[test]
fn sandbox_another_version_is_refused() {
    needs!(fuse, busybox);
    let project = project();
    project.build();
    fs::write(project.store().join("version"), "2\n").expect("the store's version");
    let told = project.rbuild(["apply"]).failure(3);
    assert!(told.contains("version"), "{told}");
}

#[test]
fn sandbox_two_engines_share_a_store() {
    needs!(fuse, busybox);
    let steps: String = (0..6)
        .map(|number| {
            format!(
                "[step.s{number}]\nfrom = 'base'\nrun = 'echo {number} > /s{number}; sleep 0.05; echo ran'\n"
            )
        })
        .collect();
    let joined = "[step.all]\nmerge = ['s0', 's1', 's2', 's3', 's4', 's5']\n[image.app]\nfrom = 'all'\noutput = [{ oci = 'dist/app' }]\n";
    let project = busybox(&(steps + joined));
    let start = |out: &str| {
        fs::create_dir(project.path(out)).expect("a folder");
        let mut command = project.command();
        command
            .args(["apply", "--progress", "json", "--out", out])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().expect("rbuild can be started")
    };
    let engines = ["one", "two", "three"].map(|out| (out, start(out)));
    let builds = engines.map(|(out, engine)| {
        let ended = engine.wait_with_output().expect("it ends");
        let build = Build::read(project.output(format!("rbuild apply --out {out}"), &ended)).success();
        project.layout(&format!("{out}/dist/app")).check("latest");
        build
    });
    for build in &builds {
        assert_eq!(build.digest("app"), builds[0].digest("app"));
    }
    for number in 0..6 {
        let step = format!("step.s{number}");
        let runs = builds.iter().filter(|build| !build.lines(&step).is_empty()).count();
        assert_eq!(runs, 1, "{step} ran once in all");
    }
    project.nothing_is_left();
}
