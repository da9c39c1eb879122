//! `RBUILD_STORES_RO`: what another store has is used, and nothing in it changes.

use crate::{
    caching::files_below,
    support::{Build, Project, busybox},
};
use std::{
    fs::{self, File, FileTimes},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

const SPEC: &str = "
[source.code]
path = 'code'
[step.one]
from = 'base'
mounts = [{ from = 'code', target = '/code' }]
run = 'cat /code/main > /one; mkdir -p /deep/er; seq 300000 > /deep/er/numbers'
[step.two]
from = 'one'
run = 'rm /bin/wc; chmod 4755 /one'
[test.good]
image = 'app'
run = 'test -u /one'
[image.app]
from = 'two'
tests = ['good']
output = [{ oci = 'dist' }]
";
/// One more, over what the other store has: it reads, changes and removes.
const MORE: &str = "
[step.more]
from = 'two'
run = 'wc() { grep -c . $1; }; wc /deep/er/numbers > /count; echo x >> /deep/er/numbers; rm /one'
[image.more]
from = 'more'
output = [{ oci = 'more' }]
";

fn project(more: &str) -> Project {
    busybox(&format!("{SPEC}{more}")).file("code/main", "main\n")
}

/// One that was built, and whose store nobody can write to but root; all may read it.
fn maker() -> (Project, String) {
    let maker = project("");
    let digest = maker.build().digest("app").to_owned();
    let folder = maker.store().parent().expect("the project's folder").to_owned();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("the project's folder");
    for path in files_below(&maker.store()).into_iter().chain(folders_below(&maker.store())) {
        let mode = fs::metadata(&path).expect("a file of the store").mode();
        let open = if path.is_dir() { 0o555 } else { (mode | 0o444) & 0o555 };
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).expect("a file of the store");
    }
    (maker, digest)
}

fn folders_below(folder: &Path) -> Vec<PathBuf> {
    let inner = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let below = inner.filter(|path| path.is_dir()).flat_map(|path| folders_below(&path));
    [folder.to_owned()].into_iter().chain(below).collect()
}

/// Everything that can be seen of a store but the times of access.
fn listing(store: &Path) -> Vec<String> {
    let mut all: Vec<String> = folders_below(store)
        .into_iter()
        .chain(files_below(store))
        .map(|path| {
            let found = fs::symlink_metadata(&path).expect("a file of the store");
            let (mtime, ctime) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
            format!("{path:?} {:o} {} {} {mtime:?} {ctime:?}", found.mode(), found.size(), found.nlink())
        })
        .collect();
    all.sort();
    all
}

fn with(store: &Path) -> String {
    format!("export RBUILD_STORES_RO='/nowhere/at/all::{}'; exec \"$@\"", store.display())
}

/// Builds with another store beside the own one.
fn build(project: &Project, other: &Path) -> Build {
    let other = other.display().to_string();
    let line = ["apply", "--progress", "json"];
    Build::read(project.rbuild_with(&[("RBUILD_STORES_RO", other.as_str())], line)).success()
}

#[track_caller]
fn holds_nothing_of(project: &Project, folders: &[&str]) {
    for folder in folders {
        let held = files_below(&project.store().join(folder));
        assert!(held.is_empty(), "{folder}: {held:?}");
    }
}

#[test]
fn sandbox_what_another_store_has_is_used_where_it_is() {
    needs!(fuse, busybox);
    let (maker, digest) = maker();
    let before = listing(&maker.store());
    let project = project("");
    for _ in 0..2 {
        let build = build(&project, &maker.store());
        assert_eq!((build.ran(), build.digest("app"), build.warnings()), (vec![], digest.as_str(), vec![]));
        holds_nothing_of(&project, &["objects", "trees", "records"]);
    }
    project.layout("dist").check("latest");
    let other = maker.store().display().to_string();
    let environment = [("RBUILD_STORES_RO", other.as_str())];
    let told = project.rbuild_with(&environment, ["inspect", "--tree", "step.two"]).success();
    assert!(told.contains(" /deep/er/numbers"), "{told}");
    maker.write_steps(&SPEC.replace("oci = 'dist'", "oci-archive = 'saved.tar'"));
    maker.rbuild(["apply", "--store", "../another", "app"]).success();
    let saved = format!("oci-archive:{}", maker.path("saved.tar").display());
    project.rbuild_with(&environment, ["copy", &saved, "oci:copied"]).success();
    project.layout("copied").check("latest");
    assert_eq!(listing(&maker.store()), before);
}

/// A folder that is missing is told, once.
#[test]
fn sandbox_another_users_store() {
    needs!(fuse, busybox, root, setpriv, unshare);
    let (maker, digest) = maker();
    let (before, project) = (listing(&maker.store()), project(""));
    let arguments = ["apply", "--progress", "json", "--deny-warnings"];
    let build = Build::read(project.elsewhere_as_user(&with(&maker.store()), &arguments)).success();
    assert_eq!((build.ran(), build.digest("app")), (vec![], digest.as_str()));
    let [warning] = build.warnings()[..] else { panic!("{}", build.output) };
    assert_eq!(warning, "the read-only store /nowhere/at/all is not used: No such file or directory");
    assert_eq!(listing(&maker.store()), before);
}

#[test]
fn sandbox_steps_over_what_a_read_only_filesystem_has() {
    needs!(root, fuse, busybox, unshare);
    let (maker, _) = maker();
    let (before, usual) = (listing(&maker.store()), project(MORE).build().digest("more").to_owned());
    for tier in ["fuse", "overlay", "chroot"] {
        let project = project(MORE);
        let place = maker.store().display().to_string();
        let script = format!(
            "mount --bind '{place}' '{place}'; mount -o remount,bind,ro '{place}'; {}",
            with(&maker.store())
        );
        for expected in [&["step.more"][..], &[]] {
            let line = ["apply", "--progress", "json", "--tier", tier];
            let build = Build::read(project.elsewhere(&script, &line)).success();
            assert_eq!((build.ran(), build.digest("more")), (expected.to_vec(), usual.as_str()), "{tier}");
        }
        // What the kernel's overlay filesystem is to find must be there; nothing else is copied.
        if tier != "overlay" {
            let held = files_below(&project.store().join("objects")).len();
            assert!(held <= 3, "{tier}: the log, the count and the numbers, not {held} files");
        }
        project.layout("more").check("latest");
        // It does not need the other one for what the kernel was given.
        let alone = project.apply(["--tier", tier]).success();
        assert_eq!(alone.digest("more"), usual, "{tier}");
    }
    assert_eq!(listing(&maker.store()), before);
}

fn rewrite(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("a file of the store");
    fs::write(path, bytes).expect("a file of the store");
}

fn cut(path: &Path) {
    let bytes = fs::read(path).expect("a file of the store");
    rewrite(path, &bytes[..bytes.len() / 2]);
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("a file of the store");
    bytes.iter_mut().for_each(|byte| *byte ^= 0x20);
    rewrite(path, &bytes);
}

fn flip_and_keep_the_time(path: &Path) {
    flip(path);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let file = File::options().append(true).open(path).expect("a file of the store");
    file.set_times(FileTimes::new().set_modified(time)).expect("a file of the store");
}

/// What is damaged is made in the own store, which has it from then on.
#[test]
fn sandbox_damage_in_another_store_is_a_miss() {
    needs!(fuse, busybox);
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 3] = [
        ("removed", |path| fs::remove_file(path).expect("a file of the store")),
        ("cut", cut),
        ("flipped", flip),
    ];
    for folder in ["objects", "trees", "records", "blobs"] {
        for (what, damage) in damages {
            let (maker, digest) = maker();
            folders_below(&maker.store()).iter().for_each(|folder| {
                fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
                    .expect("a folder of the store");
            });
            files_below(&maker.store().join(folder)).iter().for_each(|path| damage(path));
            let (before, project) = (listing(&maker.store()), project(MORE));
            for _ in 0..2 {
                let build = build(&project, &maker.store());
                assert_eq!(build.digest("app"), digest, "{folder}, {what}");
            }
            project.layout("dist").check("latest");
            assert_eq!(listing(&maker.store()), before, "{folder}, {what}");
        }
    }
}

/// Bytes that were lost with the file's time as it was: a mark says that there was a power cut.
#[test]
fn sandbox_another_store_after_a_power_cut() {
    needs!(fuse, busybox);
    let (maker, digest) = maker();
    let marks = maker.store().join("writers");
    fs::set_permissions(&marks, fs::Permissions::from_mode(0o755)).expect("the folder of marks");
    fs::write(marks.join("mark"), "another-boot 0").expect("a mark");
    let whole = project(MORE);
    let expected = whole.build().digest("more").to_owned();
    let numbers = files_below(&maker.store().join("objects"))
        .into_iter()
        .filter(|path| fs::metadata(path).is_ok_and(|found| found.size() > 1_000_000))
        .collect::<Vec<_>>();
    assert!(!numbers.is_empty(), "busybox, and the numbers");
    numbers.iter().for_each(|path| flip_and_keep_the_time(path));
    let project = project(MORE);
    let build = build(&project, &maker.store());
    assert_eq!((build.digest("app"), build.digest("more")), (digest.as_str(), expected.as_str()));
}

#[test]
fn what_is_no_store_or_of_another_version_is_told() {
    let project = Project::new("version = 1\nepoch = 1\n[step.it]\ndirs = [{ path = '/a' }]\n")
        .file("empty/x", "")
        .file("other/version", "999\n");
    let list = ["empty", "other"].map(|name| project.path(name).display().to_string()).join(":");
    let environment = [("RBUILD_STORES_RO", list.as_str())];
    let build =
        Build::read(project.rbuild_with(&environment, ["apply", "--progress", "json", "it"])).success();
    let [empty, other] = build.warnings()[..] else { panic!("{}", build.output) };
    assert!(empty.ends_with("/empty is not used: it is no store"), "{empty}");
    assert!(
        other.ends_with("/other is not used: it is of version \"999\", this rbuild knows \"1\""),
        "{other}"
    );
}
