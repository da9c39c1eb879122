//! How a build is told: `--progress`, the summary, and what `plan`, `inspect` and `logs` say of it afterwards. The
//! graph here runs no command, so it is built everywhere.

use crate::support::Project;

const SPEC: &str = r#"version = 1
epoch = 1764000000
[source.code]
path = "src"
[step.root]
description = "all there is"
copy = [{ from = "code", dest = "/opt/shop" }]
[image.shop]
from = "root"
tags = ["shop:dev"]
config = { entrypoint = ["/opt/shop/run"], labels = { a = "1" } }
output = [{ oci = "dist/shop" }, { docker-archive = "dist/shop.tar" }]
[artifact.run]
from = "root"
path = "/opt/shop/run"
dest = "dist/run"
"#;

fn project() -> Project {
    let project = Project::new(SPEC).file("src/run", "#!/bin/sh\n").file("src/read me", "x");
    project.chmod("src/run", 0o755);
    project
}

#[test]
fn plain_is_the_default() {
    let project = project();
    snapshot!(project.rbuild(["apply", "--jobs", "1"]), @r"
    $ rbuild apply --jobs 1
    --- stderr
    build.toml: 4 nodes, 1 job, store [DIR]/store
    [source.code] done in [TIME]
    [root] runs: not built before
    [root] done in [TIME]
    [image.shop] is sha256:[DIGEST], 1 layer, 178 B
    [image.shop] done in [TIME]
    [artifact.run] is [DIR]/work/dist/run, 1 file
    [artifact.run] done in [TIME]

    built in [TIME]: 1 ran, 0 cached

    image.shop sha256:[DIGEST]
      tags     shop:dev
      layers   1, 178 B
               178 B  [SHORT DIGEST]  root
      written  oci dist/shop:dev
               docker-archive dist/shop.tar
      look     rbuild inspect image.shop
               skopeo inspect oci:dist/shop:dev
               docker load -i dist/shop.tar
    artifact.run dist/run, 1 file
    --- exit code 0
    ");
    snapshot!(project.rbuild(["apply", "--jobs", "1"]), @r"
    $ rbuild apply --jobs 1
    --- stderr
    build.toml: 4 nodes, 1 job, store [DIR]/store
    [source.code] done in [TIME]
    [root] cached
    [image.shop] is sha256:[DIGEST], 1 layer, 178 B
    [image.shop] done in [TIME]
    [artifact.run] is [DIR]/work/dist/run, 1 file
    [artifact.run] done in [TIME]

    built in [TIME]: 0 ran, 1 cached

    image.shop sha256:[DIGEST]
      tags     shop:dev
      layers   1, 178 B
               178 B  [SHORT DIGEST]  root
      written  oci dist/shop:dev
               docker-archive dist/shop.tar
      look     rbuild inspect image.shop
               skopeo inspect oci:dist/shop:dev
               docker load -i dist/shop.tar
    artifact.run dist/run, 1 file
    --- exit code 0
    ");
}

#[test]
fn json_is_what_the_schema_says() {
    let project = project();
    let schema = project.rbuild(["schema", "events"]).success();
    let schema = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let output = project.rbuild(["apply", "--progress", "json"]);
    assert_eq!(output.stderr, "");
    let events = output.success();
    let events: Vec<serde_json::Value> =
        events.lines().map(|line| serde_json::from_str(line).expect("an event a line")).collect();
    events.iter().for_each(|event| assert!(validator.is_valid(event), "{event}"));
    let of_kind = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    let counts = ["build-started", "finished", "image", "artifact", "build-finished"].map(of_kind);
    assert_eq!(counts, [1, 4, 1, 1, 1]);
    let last = events.last().expect("the end");
    assert_eq!((&last["event"], &last["success"]), (&"build-finished".into(), &true.into()));
}

#[test]
fn quiet_says_nothing_if_all_is_well() {
    let output = project().rbuild(["apply", "--progress", "quiet"]);
    assert_eq!((output.stderr.as_str(), output.stdout.as_str(), output.code), ("", "", Some(0)));
}

const BROKEN: &str = r#"version = 1
epoch = 1764000000
[source.code]
path = "src"
[step.root]
copy = [{ from = "code", src = "/none", dest = "/x" }]
[image.shop]
from = "root"
"#;

#[test]
fn a_failure_is_told_once_in_every_style() {
    let project = Project::new(BROKEN).file("src/run", "");
    snapshot!(project.rbuild(["apply", "--jobs", "1"]), @r"
    $ rbuild apply --jobs 1
    --- stderr
    build.toml: 3 nodes, 1 job, store [DIR]/store
    [source.code] done in [TIME]
    [root] failed after [TIME]: build.toml:6:32: copy[0]: `code` has no /none
    [image.shop] not reached

    failed in [TIME]: 0 ran, 0 cached, 1 failed, 1 not reached

    error[no-match]: build.toml:6:32: copy[0]: `code` has no /none
      in step.root

    hint: say `optional = true` if that is fine
    hint: `rbuild explain no-match` tells more
    --- exit code 1
    ");
    snapshot!(project.rbuild(["apply", "--progress", "quiet"]), @r"
    $ rbuild apply --progress quiet
    --- stderr
    error[no-match]: build.toml:6:32: copy[0]: `code` has no /none
      in step.root

    hint: say `optional = true` if that is fine
    hint: `rbuild explain no-match` tells more
    --- exit code 1
    ");
    let output = project.rbuild(["apply", "--progress", "json"]);
    assert!(output.stdout.contains(r#""event":"failed""#), "{output}");
    let told = output.failure(1);
    assert_eq!(told.matches("/none").count(), 1, "{told}");
}

#[test]
fn plan_says_what_apply_would_do() {
    let project = project();
    snapshot!(project.rbuild(["plan", "--verbose"]), @r"
    $ rbuild plan --verbose
    --- stdout
    source.code   look
    step.root     run      not built before
        all there is
    image.shop    waiting  step.root must run first
    artifact.run  waiting  step.root must run first
    1 to run, 2 waiting for those, 0 cached
    --- exit code 0
    ");
    assert!(!project.path("dist").exists());
    project.rbuild(["apply"]).success();
    assert_eq!(project.rbuild(["plan"]).success(), "0 to run, 0 waiting for those, 1 cached\n");
    project.write("src/run", "#!/bin/false\n");
    let planned = project.rbuild(["plan"]).success();
    assert!(
        planned.starts_with("step.root") && planned.contains("  run      copy[0] content: /run differs"),
        "{planned}"
    );
}

#[test]
fn what_was_built_can_be_looked_at() {
    let project = project();
    project.rbuild(["apply", "--progress", "quiet"]).success();
    snapshot!(project.rbuild(["inspect", "shop"]), @r#"
    $ rbuild inspect shop
    --- stdout
    image.shop sha256:[DIGEST]
      platform    linux/amd64
      created     2025-11-24T16:00:00Z
      layers      1, 178 B
                       178 B  sha256:[DIGEST]
      config      sha256:[DIGEST]
                  Entrypoint = ["/opt/shop/run"]
                  Env = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
                  Labels = {"a":"1"}
    --- exit code 0
    "#);
    snapshot!(project.rbuild(["inspect", "step.root"]), @r"
    $ rbuild inspect step.root
    --- stdout
    step.root
      snapshot    [DIGEST]
      took        [TIME]
      key         [DIGEST]
    --- exit code 0
    ");
    snapshot!(project.rbuild(["inspect", "image.shop", "--tree"]), @r"
    $ rbuild inspect image.shop --tree
    --- stdout
    drwxr-xr-x 0:0                - 2025-11-24T16:00:00Z /
    drwxr-xr-x 0:0                - 2025-11-24T16:00:00Z /opt/
    drwxr-xr-x 0:0                - 2025-11-24T16:00:00Z /opt/shop/
    -rw-r--r-- 0:0                1 2025-11-24T16:00:00Z /opt/shop/read me
    -rwxr-xr-x 0:0               10 2025-11-24T16:00:00Z /opt/shop/run
    --- exit code 0
    ");
    snapshot!(project.rbuild(["inspect", "shopp"]), @r"
    $ rbuild inspect shopp
    --- stderr
    error: the last build of build.toml has no image, step, source or test `shopp`

    hint: it has image.shop, source.code, step.root
    --- exit code 2
    ");
    snapshot!(project.rbuild(["logs", "root"]), @r"
    $ rbuild logs root
    --- stderr
    error: step.root ran no command, so it has no log
    --- exit code 2
    ");
    snapshot!(project.rbuild(["logs", "image.shop"]), @r"
    $ rbuild logs image.shop
    --- stderr
    error: the last build of build.toml has no step or test `image.shop`

    hint: it has step.root
    --- exit code 2
    ");
}

#[test]
fn hints_work_in_the_folder_they_are_given_in() {
    let project = Project::empty().file("sub/build.toml", SPEC).file("sub/src/run", "");
    let told = project.rbuild(["apply", "sub/build.toml"]);
    assert_eq!(told.code, Some(0), "{told}");
    let look = told.stderr.lines().skip_while(|line| !line.starts_with("  look")).take(3);
    let look: Vec<&str> = look.map(|line| line.trim_start_matches("  look").trim()).collect();
    let expected = [
        "rbuild inspect -f sub/build.toml image.shop",
        "skopeo inspect oci:sub/dist/shop:dev",
        "docker load -i sub/dist/shop.tar",
    ];
    assert_eq!(look, expected);
    project.rbuild(look[0].split(' ').skip(1)).success();
}

#[test]
fn warnings_are_told_and_can_be_denied() {
    let project = Project::new(&format!("{SPEC}[source.spare]\npath = \"spare\"\n")).file("src/run", "");
    let told = project.rbuild(["apply"]).stderr;
    assert_eq!(told.matches("warning[unused]: build.toml:").count(), 1, "{told}");
    let denied = Project::new(&format!("{SPEC}[source.spare]\npath = \"spare\"\n")).file("src/run", "");
    let told = denied.rbuild(["apply", "--deny-warnings"]).failure(2);
    assert!(told.contains("--deny-warnings"), "{told}");
    assert!(!denied.path("dist").exists());
}
