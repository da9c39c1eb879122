//! The same build file gives the same digests: in any folder, for any user, with any number of jobs, from an empty store.
//!
//! The digests below are pinned. They change only with the specs and with what rbuild writes (its layer and compression
//! format): then all at once, and CHANGELOG says so.

use crate::support::Project;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

const GRAPH: [(&str, &str); 3] = [
    ("appliance", "b50498f01e8b5876e6b4cea44e2ce53101478faed515647d38589eb625017744"),
    ("release", "597c50f381849c2b6d4de0f069ff84b9beb92bf913781fd587830119fa13c690"),
    ("slim", "1db79dee59140d6b531c53556b6fb724c2a87ac9c21edddd2553eb6e3d7992b7"),
];

/// Of specs/moves, the image that holds nothing of Debian.
const MOVES_SMALL: &str = "0b99bcf87425b00c32509c8dfca118f77dc972f4e892fde68f4fc6252db36b59";

/// Who builds.
#[derive(Clone, Copy, PartialEq)]
enum User {
    /// Who runs the tests.
    Caller,
    /// Nobody in particular, by root's leave.
    Other(u32),
}

/// A copy of a spec below `specs/` in a project of its own, with a copy of rbuild that any user can reach.
fn copy_of(spec: &str, user: User) -> Project {
    let project = Project::copy_of(&format!("specs/{spec}"));
    if let User::Other(uid) = user {
        give(&project, uid);
    }
    project
}

/// Everything of a project becomes a user's.
fn give(project: &Project, uid: u32) {
    let folder = folder(project);
    fs::copy(env!("CARGO_BIN_EXE_rbuild"), folder.join("rbuild")).expect("a copy of rbuild");
    let owned = Command::new("chown").arg("-R").arg(format!("{uid}:{uid}")).arg(&folder).status();
    assert!(owned.is_ok_and(|status| status.success()));
}

/// What is the project's own, and nobody else's.
fn folder(project: &Project) -> PathBuf {
    let folder = project.store().parent().expect("the store is in the project's folder").to_owned();
    assert!(
        folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rbuild-test-")),
        "{folder:?}"
    );
    folder
}

/// The digests of all images after `rbuild apply` with these arguments, by name.
fn digests(output: &std::process::Output) -> BTreeMap<String, String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let events =
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an event is JSON"));
    let images = events.filter(|event| event["event"] == "image");
    images
        .map(|event| {
            let text =
                |field: &str| event[field].as_str().unwrap_or_else(|| panic!("{field}: {event}")).to_owned();
            (text("name"), text("digest"))
        })
        .collect()
}

fn apply(project: &Project, user: User, jobs: &str) -> BTreeMap<String, String> {
    apply_on("fuse", project, user, jobs)
}

fn apply_on(tier: &str, project: &Project, user: User, jobs: &str) -> BTreeMap<String, String> {
    let ours = project.command();
    let mut command = match user {
        User::Caller => ours,
        User::Other(uid) => {
            let mut command = Command::new(folder(project).join("rbuild"));
            command.env_clear().envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.current_dir(project.path("")).uid(uid).gid(uid);
            command
        }
    };
    digests(
        &command
            .args(["apply", "--progress", "json", "--tier", tier, "--jobs", jobs])
            .output()
            .expect("rbuild can be started"),
    )
}

fn pinned() -> BTreeMap<String, String> {
    GRAPH.iter().map(|(name, digest)| ((*name).to_owned(), format!("sha256:{digest}"))).collect()
}

#[test]
fn graph_with_any_number_of_jobs() {
    for jobs in ["1", "8"] {
        assert_eq!(apply(&copy_of("graph", User::Caller), User::Caller, jobs), pinned(), "--jobs {jobs}");
    }
}

#[test]
fn graph_for_an_ordinary_user() {
    needs!(root);
    let user = User::Other(65_534);
    let project = copy_of("graph", user);
    assert_eq!(apply(&project, user, "8"), pinned());
    // It was that user who did it.
    let owner = fs::metadata(project.store()).map(|store| std::os::unix::fs::MetadataExt::uid(&store));
    assert_eq!(owner.ok(), Some(65_534));
}

#[test]
fn graph_with_other_times_modes_and_umask() {
    let project = copy_of("graph", User::Caller);
    let shell = "find tree -exec touch -d @1000000000 {} +; find tree -type f -exec chmod go-r {} +; chmod -R g+w,o-rwx tree; \
                 umask 077; exec \"$0\" apply --progress json";
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(shell).arg(env!("CARGO_BIN_EXE_rbuild")).current_dir(project.path(""));
    command.env_clear().envs(
        project.command().get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))),
    );
    assert_eq!(digests(&command.output().expect("sh can be started")), pinned());
}

/// The order of tables and of the keys in them means nothing.
#[test]
fn graph_in_reverse() {
    let project = copy_of("graph", User::Caller);
    let spec = project.read("build.toml");
    let (head, tables) = spec.split_once("\n[").expect("a table");
    let mut tables: Vec<&str> = tables.split("\n[").collect();
    tables.reverse();
    project.write("build.toml", format!("{head}\n[{}\n", tables.join("\n[")));
    assert_eq!(apply(&project, User::Caller, "2"), pinned());
}

#[test]
fn graph_again_in_the_same_store() {
    let project = copy_of("graph", User::Caller);
    let first = apply(&project, User::Caller, "8");
    fs::remove_dir_all(project.path("dist")).expect("the outputs");
    assert_eq!(apply(&project, User::Caller, "8"), first);
    let layout = project.layout("dist/release");
    layout.check("release");
    assert_eq!(Some(&layout.digest("release")), first.get("release"));
}

/// In a mount namespace of its own, gives a user what an ordinary machine gives: a range of ids, and a FUSE device that
/// is open to all. Arguments: a folder for it, the user's number, the command.
const AS_USER: &str = r#"
folder=$1 user=$2; shift 2
mkdir "$folder"
mount -t tmpfs -o mode=755 none "$folder"
mknod "$folder/fuse" c 10 229
chmod 666 "$folder/fuse"
mount --bind "$folder/fuse" /dev/fuse
echo "tester:300000:65536" > "$folder/ids"
for file in /etc/subuid /etc/subgid; do
    [ -e $file ] || : > $file
    mount --bind "$folder/ids" $file
done
{ cat /etc/passwd; echo "tester:x:$user:$user::/:/bin/sh"; } > "$folder/passwd"
mount --bind "$folder/passwd" /etc/passwd
exec setpriv --reuid="$user" --regid="$user" --clear-groups "$@"
"#;

fn apply_as_user(project: &Project, user: u32, jobs: &str) -> BTreeMap<String, String> {
    let ours = project.command();
    let mut command = Command::new("unshare");
    command.env_clear().envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let arguments: [OsString; 8] = [
        "--mount".into(),
        "sh".into(),
        "-euc".into(),
        AS_USER.into(),
        "sh".into(),
        folder(project).join("devices").into(),
        user.to_string().into(),
        folder(project).join("rbuild").into(),
    ];
    command
        .args(arguments)
        .args(["apply", "--progress", "json", "--jobs", jobs])
        .current_dir(project.path(""));
    digests(&command.output().expect("unshare can be started"))
}

/// Over a whole Debian, whose digests depend on the day it was made: these are compared with each other.
#[test]
fn debian_moves_for_root_and_for_a_user_and_on_the_overlay_tier() {
    needs!(root, userns, fuse, base, newuidmap, setpriv, unshare);
    let project = || {
        let project = copy_of("moves", User::Caller);
        let spec = project.read("build.toml");
        project.write("build.toml", spec.replace("../ci-java/base.tar", "base.tar"));
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/ci-java/base.tar");
        fs::copy(base, project.path("base.tar")).expect("a copy of the base archive");
        project
    };
    let root = apply(&project(), User::Caller, "1");
    assert_eq!(root.get("small").map(String::as_str), Some(&*format!("sha256:{MOVES_SMALL}")));
    let users = project();
    give(&users, 65_533);
    assert_eq!(apply_as_user(&users, 65_533, "8"), root);
    assert_eq!(apply_on("overlay", &project(), User::Caller, "2"), root);
}

/// Where the lock can't be written `plan` and `apply` have the same epoch.
#[test]
fn a_plan_in_a_folder_that_can_not_be_written_is_what_happens() {
    needs!(root, unshare);
    let project = Project::new(
        "version = 1\n[step.it]\nfiles = [{ path = '/x', content = '' }]\n[image.it]\nfrom = 'it'\n",
    );
    let script = r#"
        mount --bind "$1" "$1"
        mount -o remount,ro,bind "$1"
        cd "$1"
        "$2" apply 2>&1
        "$2" plan"#;
    let like = project.command();
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-euc", script, "sh"]).arg(project.path("")).arg(env!("CARGO_BIN_EXE_rbuild"));
    command.env_clear().envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().expect("unshare can be started");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("warning[no-lock]"), "{told}");
    assert!(told.ends_with("0 to run, 0 waiting for those, 1 cached\n"), "{told}");
}
