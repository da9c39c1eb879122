//! What runs again, why, and what does not.

use crate::support::{Build, Project, busybox};
use std::collections::BTreeSet;

/// Two sources, a chain of two steps with everything that a key is made of, an image with a label.
const SPEC: &str = r#"
[source.code]
path = "code"
[source.extra]
path = "extra"
[step.tools]
from = "base"
config = { env = { TOOL = "1" }, labels = { "made.by" = "tests" } }
[step.it]
description = "does it"
from = "tools"
user = "guest"
workdir = "/tmp"
env = { MODE = "fast" }
files = [{ path = "/etc/note", content = "note\n" }]
copy = [{ from = "extra", src = "/taken", dest = "/opt/" }]
mounts = [{ from = "code", target = "/code" }]
run = "cat /code/main /opt/taken /etc/note; echo made > made"
[step.after]
from = "it"
run = "cat /tmp/made"
[test.works]
image = "app"
run = "cat /tmp/made"
[image.app]
from = "after"
tags = ["app:1"]
tests = ["works"]
config = { entrypoint = ["/bin/cat"], labels = { version = "1" } }
output = [{ oci = "dist/app" }]
"#;

fn project() -> Project {
    busybox(SPEC)
        .file("code/main", "main\n")
        .file("code/other", "other\n")
        .file("extra/taken", "taken\n")
        .file("extra/left", "left\n")
}

#[test]
fn sandbox_the_same_again_runs_nothing() {
    needs!(fuse, busybox);
    let project = project();
    let first = project.build();
    assert_eq!(first.ran(), ["step.after", "step.base", "step.it", "step.tools", "test.works"]);
    let again = project.build();
    assert_eq!(again.ran(), [""; 0]);
    assert_eq!(again.cached(), ["step.after", "step.base", "step.it", "step.tools", "test.works"]);
    assert_eq!(again.digest("app"), first.digest("app"));
    assert_eq!(again.lines("step.it"), [""; 0]);
    assert_eq!(project.rbuild(["logs", "it"]).success(), "main\ntaken\nnote\n", "its log is that of the run");
}

#[test]
fn sandbox_each_ingredient_runs_the_step_again_and_says_why() {
    needs!(fuse, busybox);
    let project = project();
    for (old, new, why) in [
        ("echo made > made", "echo made >made", r#"run was …"cho made > made", is …"cho made >made""#),
        ("MODE = \"fast\"", "MODE = \"slow\"", r#"env.MODE was "fast", is "slow""#),
        ("{ MODE = \"fast\" }", "{ MODE = \"fast\", MORE = \"1\" }", r#"env.MORE is new: "1""#),
        ("env = { MODE = \"fast\" }", "", r#"env.MODE is gone, was "fast""#),
        ("TOOL = \"1\"", "TOOL = \"2\"", r#"env.TOOL was "1", is "2""#),
        ("user = \"guest\"", "user = \"guest:guest\"", r#"user was "guest", is "guest:guest""#),
        (
            "workdir = \"/tmp\"",
            "workdir = \"/tmp\"\nnetwork = \"host\"\nrerun-after = \"9d\"",
            r#"network was "none", is "host""#,
        ),
        ("workdir = \"/tmp\"", "workdir = \"/tmp\"\nshell = [\"/bin/sh\", \"-ec\"]", "shell was "),
        (
            "target = \"/code\" }",
            "target = \"/code\", write = \"discard\" }",
            "mounts[0] write is new: \"discard\"",
        ),
        (
            "content = \"note\\n\"",
            "content = \"Note\\n\"",
            "files: /etc/note: content was \"note\", is \"Note\"",
        ),
        (
            "dest = \"/opt/\"",
            "dest = \"/opt/\", mode = \"0600\", owner = \"guest\"",
            "copy[0] owner is new: \"guest\"",
        ),
        (
            "[step.tools]\nfrom = \"base\"",
            "[step.tools]\nfrom = \"base\"\ndirs = [{ path = \"/srv\" }]",
            "from: /srv differs",
        ),
        (
            "version = 1\nepoch = 1700000000",
            "version = 1\nepoch = 1700000001",
            "epoch was \"1700000000\", is \"1700000001\"",
        ),
    ] {
        project.write_steps(SPEC);
        project.build();
        let spec = project.read("build.toml");
        assert!(spec.contains(old), "{old}");
        project.write("build.toml", spec.replacen(old, new, 1));
        let build = project.build();
        assert!(build.why("step.it").starts_with(why), "{new}: {:?}", build.why("step.it"));
    }
}

#[test]
fn sandbox_files_of_the_workspace_are_ingredients_where_they_are_taken() {
    needs!(fuse, busybox);
    let project = project();
    project.build();
    for (path, content, mode, why) in [
        ("code/main", "Main\n", 0o644, "mounts[0] content: /main differs"),
        ("code/main", "Main\n", 0o755, "mounts[0] content: /main differs"),
        ("code/new", "", 0o644, "mounts[0] content: /new differs"),
        ("extra/taken", "Taken\n", 0o644, "copy[0] content: /taken differs"),
        ("extra/taken", "Taken\n", 0o755, "copy[0] content: /taken differs"),
    ] {
        project.write(path, content);
        project.chmod(path, mode);
        let build = project.build();
        assert!(build.why("step.it").starts_with(why), "{path} {mode:o}: {:?}", build.why("step.it"));
    }
    project.write("extra/taken", "taken\n");
    project.chmod("extra/taken", 0o644);
    assert_eq!(project.build().ran(), [""; 0], "what it was before is still known");
    for (path, content, mode) in
        [("extra/left", "not taken", 0o644), ("extra/more", "", 0o644), ("code/main", "Main\n", 0o700)]
    {
        project.write(path, content);
        project.chmod(path, mode);
    }
    assert_eq!(
        project.build().ran(),
        [""; 0],
        "what is not taken, and modes that are normalised, mean nothing"
    );
}

#[test]
fn sandbox_what_is_no_ingredient_runs_nothing() {
    needs!(fuse, busybox);
    let project = project();
    let first = project.build();
    for (old, new, same_image) in [
        ("[step.it]", "# a remark\n\n[step.it]", true),
        ("description = \"does it\"", "description = \"does something else\"", true),
        ("user = \"guest\"\nworkdir = \"/tmp\"", "workdir = \"/tmp\"\nuser = \"guest\"", true),
        ("tags = [\"app:1\"]", "tags = [\"app:2\", \"app:latest\"]", true),
        ("tests = [\"works\"]\n", "", true),
        ("\"dist/app\"", "\"dist/elsewhere\"", true),
        ("output = [", "output = [{ tar = \"dist/app.tar\" }, ", true),
        ("version = \"1\"", "version = \"2\"", false),
        ("\"made.by\" = \"tests\"", "\"made.by\" = \"hand\"", false),
        ("[image.app]", "[image.app]\nlayers = \"squash\"", false),
        ("[image.app]", "[image.app]\ncompress = \"zstd\"", false),
        ("[image.app]", "[image.app]\nannotations = { a = \"b\" }", false),
        ("[test.works]", "[step.unused]\nfrom = \"base\"\nrun = \"true\"\n[test.works]", true),
    ] {
        assert!(SPEC.contains(old), "{old}");
        project.write_steps(&SPEC.replacen(old, new, 1));
        let build = project.apply(["image.app", "--jobs", "1"]).success();
        let ran: Vec<&str> = build.ran().into_iter().filter(|name| name.starts_with("step.")).collect();
        assert_eq!(ran, [""; 0], "{new}");
        assert_eq!(build.digest("app") == first.digest("app"), same_image, "{new}");
    }
}

#[test]
fn sandbox_the_order_of_tables_means_nothing() {
    needs!(fuse, busybox);
    let project = project();
    let first = project.build();
    let mut tables: Vec<String> =
        SPEC.trim().split("\n[").map(|table| table.trim_start_matches('[').to_owned()).collect();
    tables.reverse();
    project.write_steps(&tables.iter().map(|table| format!("[{table}\n")).collect::<String>());
    let build = project.build();
    assert_eq!((build.ran(), build.digest("app")), (vec![], first.digest("app")));
}

#[test]
fn sandbox_a_step_that_gives_the_same_again_leaves_the_rest_cached() {
    needs!(fuse, busybox);
    let project = project();
    let first = project.build();
    project.write("code/main", "another text that leaves no trace in the tree\n");
    let build = project.build();
    assert_eq!(build.ran(), ["step.it"]);
    assert_eq!(build.digest("app"), first.digest("app"));
}

#[test]
fn sandbox_twins_run_once() {
    needs!(fuse, busybox);
    let run = "touch /count/$(cat /proc/sys/kernel/random/uuid); ls /count | wc -l";
    let fields =
        format!("from = 'base'\nmounts = [{{ cache = 'count', target = '/count' }}]\nrun = '{run}'\n");
    let twins: String = ["a", "b", "c"].iter().map(|name| format!("[step.{name}]\n{fields}")).collect();
    let build = busybox(&twins).apply(["--jobs", "3", "step.a", "step.b", "step.c"]).success();
    assert_eq!((build.ran().len(), build.cached().len()), (2, 2), "{}", build.output);
}

#[test]
fn sandbox_a_failed_step_is_tried_again_and_nothing_before_it() {
    needs!(fuse, busybox);
    let steps = r#"
[step.before]
from = "base"
run = "echo before"
[step.it]
from = "before"
mounts = [{ cache = "state", target = "/state" }]
run = "test -e /state/repaired || { touch /state/repaired; exit 1; }"
"#;
    let project = busybox(steps);
    let failed = project.apply(["step.it"]).failure(1);
    assert_eq!(failed.ran(), ["step.base", "step.before"]);
    let again = project.apply(["step.it"]).success();
    assert_eq!((again.ran(), again.why("step.it")), (vec!["step.it"], "it failed the last time"));
    assert_eq!(project.apply(["step.it"]).success().ran(), [""; 0]);
}

#[test]
fn sandbox_a_result_that_is_too_old_is_made_again() {
    needs!(fuse, busybox);
    let project = busybox("[step.it]\nfrom = 'base'\nrerun-after = '7d'\nrun = 'true'\n");
    project.apply(["step.it"]).success();
    age_records(&project, 7 * 86_400 - 60);
    assert_eq!(project.apply(["step.it"]).success().ran(), [""; 0]);
    age_records(&project, 120);
    let build = project.apply(["step.it"]).success();
    assert_eq!(
        (build.ran(), build.why("step.it")),
        (vec!["step.it"], "rerun-after: its result is 7d 0h old")
    );
    assert_eq!(project.apply(["step.it"]).success().ran(), [""; 0]);
}

/// Makes every result of the store older.
fn age_records(project: &Project, seconds: i64) {
    for path in files_below(&project.store().join("records")) {
        let text = std::fs::read_to_string(&path).expect("a record");
        let (_, json) = text.split_once('\n').expect("a record has two lines");
        let mut record: serde_json::Value = serde_json::from_str(json).expect("a record is JSON");
        let Some(finished) = record["finished"].as_i64() else { continue };
        record["finished"] = (finished - seconds).into();
        let json = record.to_string();
        std::fs::write(&path, format!("{}\n{json}", blake3::hash(json.as_bytes()).to_hex()))
            .expect("a record");
    }
}

/// Every file below a folder, sorted.
pub fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => files.extend(files_below(&path)),
            false => files.push(path),
        }
    }
    files.sort_unstable();
    files
}

#[test]
fn sandbox_plan_says_what_apply_then_does() {
    needs!(fuse, busybox);
    let project = project();
    let changes: [&dyn Fn(); 6] = [
        &|| {},
        &|| {},
        &|| project.write("code/main", "other\n"),
        &|| project.write_steps(&SPEC.replace("TOOL = \"1\"", "TOOL = \"2\"")),
        &|| project.write_steps(&SPEC.replace("cat /tmp/made\"\n[test", "cat /tmp/made; false\"\n[test")),
        &|| project.write_steps(&SPEC.replace("cat /tmp/made\"\n[test", "cat /tmp/made; true\"\n[test")),
    ];
    for change in changes {
        change();
        let plan = project.rbuild(["plan"]).success();
        let build = project.apply::<&str>([]);
        check_plan(&plan, &build);
        let plan = project.rbuild(["plan"]).success();
        if build.output.code == Some(0) {
            assert_eq!(plan, "0 to run, 0 waiting for those, 5 cached\n");
        }
    }
}

/// What was to run did, for the reason given; what ran besides had to wait for that.
#[track_caller]
fn check_plan(plan: &str, build: &Build) {
    let mut allowed = BTreeSet::new();
    for line in plan.lines() {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let Some((decision, why)) = words.last().and_then(|rest| rest.trim().split_once(' ')) else {
            continue;
        };
        if decision == "run" && line.starts_with("step.") {
            assert_eq!(build.why(words[0]), why.trim(), "{plan}");
        }
        allowed.insert(words[0]);
    }
    let beyond: Vec<&str> = build.ran().into_iter().filter(|name| !allowed.contains(name)).collect();
    assert_eq!(beyond, [""; 0], "{plan}");
}

#[test]
fn a_failure_before_the_step_began_is_no_change() {
    let spec = |src: &str| {
        format!(
            "version = 1\nepoch = 0\n[source.code]\npath = 'code'\n\
             [step.it]\ncopy = [{{ from = 'code', src = '{src}', dest = '/' }}]\n"
        )
    };
    let project = Project::new(&spec("/one")).file("code/one", "1").file("code/two", "2");
    let apply = || project.apply(["step.it"]);
    apply().success();
    project.write("build.toml", spec("/none"));
    assert_eq!(apply().failure(1).failed("step.it").code, "no-match");
    project.write("build.toml", spec("/two"));
    let why = apply().success().why("step.it").to_owned();
    assert_eq!(why, "copy[0] src[0] was \"/one\", is \"/two\"");
    let never = Project::new(&spec("/none")).file("code/one", "1");
    never.apply(["step.it"]).failure(1);
    never.write("build.toml", spec("/one"));
    assert_eq!(never.apply(["step.it"]).success().why("step.it"), "it failed the last time");
}

#[test]
fn a_cached_step_warns_again() {
    let project = Project::new(
        "version = 1\nepoch = 0\n[step.it]\nfiles = [{ path = '/f', content = '' }]\nremove = ['/absent']\n[image.i]\nfrom = 'it'\n",
    );
    for round in ["it runs", "it is cached"] {
        let told = project.rbuild(["apply", "--deny-warnings"]).failure(1);
        assert_eq!(told.matches("warning[remove-nothing]: it: ").count(), 1, "{round}: {told}");
    }
}
