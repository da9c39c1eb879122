//! Wrong command lines, and how a command behaves at its edges.

use crate::support::Project;
use std::{io::Read, process::Stdio};

#[test]
fn a_wrong_command() {
    snapshot!(Project::empty().rbuild(["aply"]), @r"
    $ rbuild aply
    --- stderr
    error: unrecognized subcommand 'aply'

      tip: a similar subcommand exists: 'apply'

    Usage: rbuild <COMMAND>

    For more information, try '--help'.
    --- exit code 2
    ");
}

#[test]
fn a_wrong_option() {
    snapshot!(Project::empty().rbuild(["apply", "--job", "2"]), @r"
    $ rbuild apply --job 2
    --- stderr
    error: unexpected argument '--job' found

      tip: a similar argument exists: '--jobs'

    Usage: rbuild apply --jobs <N> [TARGET]...

    For more information, try '--help'.
    --- exit code 2
    ");
}

#[test]
fn a_wrong_value() {
    snapshot!(Project::empty().rbuild(["apply", "--set", "tag"]), @r"
    $ rbuild apply --set tag
    --- stderr
    error: invalid value 'tag' for '--set <NAME=VALUE>': it has the form NAME=VALUE

    For more information, try '--help'.
    --- exit code 2
    ");
}

#[test]
fn every_wrong_command_line_ends_with_2() {
    let project = Project::new("version = 1\n");
    for line in [
        "apply --jobs 0",
        "apply --jobs many",
        "apply --progress loud",
        "apply --set =x",
        "check a b",
        "check a -f b",
        "graph --format png",
        "explain no-such-code",
        "schema store",
        "completions csh",
        "logs",
        "inspect",
        "apply no-such-target",
        "plan no-such-target",
        "apply -f no-such-file.toml",
        "apply no-such-file.toml",
        "apply -f build.txt",
    ] {
        let told = project.rbuild(line.split_whitespace()).failure(2);
        assert!(told.contains("error"), "{line}: {told}");
    }
}

#[test]
fn a_build_file_taken_as_a_target_is_pointed_out() {
    let spec =
        "version = 1\n[step.a]\nfiles = [{ path = \"/x\", content = \"\" }]\n[image.i]\nfrom = \"a\"\n";
    let project = Project::new(spec).file("sub/build.toml", spec);
    for (line, target) in [(["apply", "sub"], "sub"), (["plan", "sub"], "sub"), (["graph", "sub"], "sub")] {
        let told = project.rbuild(line).failure(2);
        assert!(
            told.contains(&format!("hint: if `{target}` is the build file or its folder, say -f {target}")),
            "{told}"
        );
    }
    let told = project.rbuild(["apply", "i", "ci.toml"]).failure(2);
    assert!(told.contains("say -f ci.toml"), "{told}");
    let bare = Project::empty().file("sub/build.toml", spec);
    assert!(bare.rbuild(["apply", "sub"]).failure(2).contains("say -f sub"));
}

#[test]
fn a_step_that_is_asked_for_is_used() {
    let step = |name: &str| format!("[step.{name}]\nfiles = [{{ path = \"/{name}\", content = \"\" }}]\n");
    let project = Project::new(&format!("version = 1\n{}{}[step.c]\nfrom = \"b\"\n", step("a"), step("b")));
    let told = project.rbuild(["apply", "c"]).stderr;
    assert!(told.contains("step `a` is not used") && !told.contains("step `c`"), "{told}");
    assert!(!project.rbuild(["apply", "a", "c"]).stderr.contains("not used"));
}

#[test]
fn what_the_last_build_did_not_reach_is_said_so() {
    let project = Project::new(
        "version = 1\n[step.a]\nfiles = [{ path = \"/x\", content = \"\" }]\n[step.b]\nfrom = \"a\"\nattrs = [{ path = \"/no\", mode = \"0644\" }]\n\
         [image.i]\nfrom = \"b\"\n",
    );
    project.rbuild(["apply", "a"]).success();
    snapshot!(project.rbuild(["logs", "b"]), @r"
    $ rbuild logs b
    --- stderr
    error: step.b did not run in the last build of build.toml

    hint: `rbuild apply build.toml step.b` builds it
    --- exit code 2
    ");
    let told = project.rbuild(["inspect", "image.i"]).failure(2);
    assert!(told.contains("image.i did not run in the last build"), "{told}");
    let told = project.rbuild(["inspect", "nothing"]).failure(2);
    assert!(told.contains("has no image, step, source or test `nothing`"), "{told}");
}

#[test]
fn attrs_that_match_nothing_say_when_they_are_applied() {
    let project = Project::new(
        "version = 1\n[step.a]\nattrs = [{ path = \"/app\", mode = \"0755\" }]\n[image.i]\nfrom = \"a\"\n",
    );
    let told = project.rbuild(["apply"]).failure(1);
    assert!(
        told.contains("/app matches nothing") && told.contains("`attrs` is applied before `run`"),
        "{told}"
    );
}

#[test]
fn the_log_filter_is_checked() {
    snapshot!(Project::empty().rbuild_with(&[("RBUILD_LOG", "rbuild=loud")], ["explain", "cycle"]), @r#"
    $ rbuild explain cycle
    --- stderr
    error: RBUILD_LOG is no filter
      caused by: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5

    hint: `debug`, or a list of modules with their levels as `rbuild=trace,rbuild_overlay=info`
    --- exit code 2
    "#);
}

#[test]
fn the_log_goes_to_the_standard_error() {
    let project = Project::new("version = 1\n");
    let output = project.rbuild_with(&[("RBUILD_LOG", "trace")], ["check"]);
    assert_eq!(output.success(), "build.toml: nothing to build\n");
}

#[test]
fn a_place_for_the_store_is_needed() {
    let project = Project::new("version = 1\n");
    let apply = |home: Option<&str>| {
        let mut command = project.command();
        command.env_remove("HOME").env_remove("RBUILD_STORE").envs(home.map(|home| ("HOME", home)));
        let output = command.arg("apply").output().expect("rbuild can be started");
        project.output("rbuild apply".to_owned(), &output).failure(3)
    };
    let told = apply(None);
    assert!(told.contains("nothing says where the store is"), "{told}");
    assert!(told.ends_with("\nhint: say --store DIR, or set RBUILD_STORE\n"), "{told}");
    // Nobody makes a folder there, not even root.
    let told = apply(Some("/proc/self"));
    assert!(told.starts_with("error: can't make the store /proc/self/.local/share/rbuild\n"), "{told}");
    assert!(
        told.contains("\nhint: put it elsewhere with --store DIR or RBUILD_STORE: in a container "),
        "{told}"
    );
}

#[test]
fn a_file_in_which_nothing_is_asked_for_says_so() {
    let dirs = "dirs = [{ path = '/a' }]";
    let project = Project::new(&format!(
        "version = 1\nepoch = 1\n[step.first]\n{dirs}\n[step.last]\nfrom = 'first'\nlinks = [{{ path = '/b', target = 'a' }}]\n"
    ));
    let told = |project: &Project| {
        let output = project.rbuild(["apply"]);
        assert_eq!(output.code, Some(0), "{output}");
        output.stderr
    };
    let said = "warning: nothing was asked for: build.toml has no image, artifact or test; a step is built by its name: \
                rbuild apply build.toml step.last\n";
    let steps = told(&project);
    assert!(steps.contains(said), "{steps}");
    let asked = project.rbuild(["apply", "build.toml", "step.last"]);
    assert!(asked.code == Some(0) && !asked.stderr.contains("nothing was asked for"), "{asked}");
    project.write("build.toml", "version = 1\nepoch = 1\n");
    let empty = told(&project);
    assert!(empty.contains("nothing was asked for: build.toml has no image, artifact or test\n"), "{empty}");
}

#[test]
fn nothing_was_built_yet() {
    let project = Project::new("version = 1\n");
    snapshot!(project.rbuild(["inspect", "image.shop"]), @r"
    $ rbuild inspect image.shop
    --- stderr
    error: build.toml was not built yet with the store [DIR]/store

    hint: `rbuild apply build.toml` builds it
    --- exit code 2
    ");
    snapshot!(project.rbuild(["logs", "jar"]), @r"
    $ rbuild logs jar
    --- stderr
    error: build.toml was not built yet with the store [DIR]/store

    hint: `rbuild apply build.toml` builds it
    --- exit code 2
    ");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Project::empty()
        .command()
        .args(["completions", "zsh"])
        .current_dir("/")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rbuild can be started");
    drop(child.stdout.take());
    let mut told = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut told).expect("text");
    assert_eq!((child.wait().expect("it ends").code(), told.as_str()), (Some(0), ""));
}

#[test]
fn colour_is_for_terminals() {
    let told = Project::empty().rbuild(["check"]).failure(2);
    assert!(!told.contains('\u{1b}'), "{told:?}");
}
