//! Cache mounts: what is kept between builds, who shares it, and that programs which compare times build what changed.

use crate::support::{Project, busybox};
use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

/// A shell function: waits for a file, a hundred times longer than that takes.
const WAIT: &str =
    "await() { for i in $(seq 2000); do test -e $1 && return; sleep 0.01; done; echo no $1; exit 9; }\n";

#[test]
fn sandbox_a_cache_is_kept_and_is_in_no_tree_and_no_key() {
    needs!(fuse, busybox);
    let steps = "[step.it]\nfrom = 'base'\nenv = { N = '1' }\nmounts = [{ cache = 'c', target = '/c' }]\nrun = 'ls /c; touch /c/$N'\n";
    let project = busybox(steps);
    assert_eq!(project.apply(["step.it"]).success().lines("step.it"), [""; 0]);
    let tree = project.tree("it");
    assert_eq!(tree, project.tree("base"));
    assert_eq!(project.apply(["step.it"]).success().ran(), [""; 0], "what it holds now is no ingredient");
    project.write_steps(&steps.replace("N = '1'", "N = '2'"));
    assert_eq!(project.apply(["step.it"]).success().lines("step.it"), ["1"], "it is still there");
    assert_eq!(project.tree("it"), tree);
    fs::remove_dir_all(project.store().join("caches")).expect("the caches");
    project.write_steps(&steps.replace("N = '1'", "N = '3'"));
    assert_eq!(project.apply(["step.it"]).success().lines("step.it"), [""; 0], "an empty one is as good");
}

#[test]
fn sandbox_a_cache_belongs_to_who_uses_it() {
    needs!(fuse, busybox);
    let project = busybox(
        r#"
[step.it]
from = "base"
user = "guest"
mounts = [
  { cache = "own", target = "/own" },
  { cache = "given", target = "/given", owner = "7:8", mode = "0711" },
  { cache = "named", target = "/named", owner = "root:video", mode = "2775" },
]
run = "stat -c '%u:%g %a' /own /given /named; touch /own/x; mkdir -p /own/deep/er"
[step.root]
from = "it"
mounts = [{ cache = "own", target = "/own", owner = "guest" }]
run = "stat -c '%u:%g' /own /own/x /own/deep/er"
"#,
    );
    let build = project.apply(["step.root"]).success();
    assert_eq!(build.lines("step.it"), ["1000:1001 755", "7:8 711", "0:44 2775"]);
    assert_eq!(build.lines("step.root"), ["1000:1001"; 3]);
}

/// Four steps that do the same with a cache, all at the same time if that lets them.
fn four(sharing: &str, run: &str) -> Project {
    let step = |name: &str| {
        format!(
            "[step.{name}]\nfrom = 'base'\nenv = {{ NAME = '{name}' }}\nmounts = [{{ cache = 'c', target = '/c', sharing = '{sharing}' }}, \
             {{ cache = 'meet', target = '/meet' }}]\nrun = '''\n{WAIT}{run}\n'''\n"
        )
    };
    busybox(&["a", "b", "c", "d"].map(step).concat())
}

const FOUR: [&str; 6] = ["--jobs", "4", "step.a", "step.b", "step.c", "step.d"];
/// Goes on when all four are here.
const TOGETHER: &str = "touch /meet/$NAME; for other in a b c d; do await /meet/$other; done";

#[test]
fn sandbox_a_shared_cache_is_one_for_all_at_once() {
    needs!(fuse, busybox);
    let project = four("shared", &format!("touch /c/$NAME; {TOGETHER}; ls /c"));
    let build = project.apply(FOUR).success();
    assert_eq!(build.lines("step.a"), ["a", "b", "c", "d"]);
}

#[test]
fn sandbox_a_locked_cache_is_for_one_at_a_time() {
    needs!(fuse, busybox);
    let project = four("locked", "mkdir /c/inside; sleep 0.05; ls /c; rmdir /c/inside; touch /c/$NAME");
    let build = project.apply(FOUR).success();
    let mut seen = ["a", "b", "c", "d"].map(|name| build.lines(&format!("step.{name}")).len());
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4], "each saw what those before it left");
}

#[test]
fn sandbox_a_cache_that_is_mounted_twice_is_shared_as_strictly_as_said_once() {
    needs!(fuse, busybox);
    let project =
        four("locked", "mkdir /d/inside; sleep 0.05; rmdir /d/inside; touch /c/$NAME; ls /d | wc -l");
    let twice = "sharing = 'locked' }, { cache = 'c', target = '/d' }";
    project.write("build.toml", project.read("build.toml").replace("sharing = 'locked' }", twice));
    let build = project.apply(FOUR).success();
    let mut seen = ["a", "b", "c", "d"].map(|name| build.lines(&format!("step.{name}"))[0].to_owned());
    seen.sort_unstable();
    assert_eq!(seen, ["1", "2", "3", "4"], "one at a time, and one cache");
}

#[test]
fn sandbox_a_private_cache_is_one_each() {
    needs!(fuse, busybox);
    let project = four("private", &format!("ls /c; touch /c/kept; {TOGETHER}; ls -A /c | wc -l"));
    let build = project.apply(FOUR).success();
    for name in ["a", "b", "c", "d"] {
        assert_eq!(build.lines(&format!("step.{name}")), ["1"], "it was empty, and nobody else wrote to it");
    }
    let again = project.read("build.toml").replace("ls /c; touch", "ls /c ; touch");
    project.write("build.toml", again);
    let build = project.apply(FOUR).success();
    assert_eq!(build.lines("step.a"), ["kept", "1"], "they are kept for the next build");
}

#[test]
fn sandbox_two_caches_in_any_order_never_wait_for_each_other() {
    needs!(fuse, busybox);
    let step = |name: &str, caches: [&str; 2]| {
        let mount = |cache| format!("{{ cache = '{cache}', target = '/{cache}', sharing = 'locked' }}");
        format!(
            "[step.{name}]\nfrom = 'base'\nmounts = [{}]\nrun = 'sleep 0.01 # {name}'\n",
            caches.map(mount).join(", ")
        )
    };
    let steps: String =
        (0..8).map(|n| step(&format!("s{n}"), if n % 2 == 0 { ["x", "y"] } else { ["y", "x"] })).collect();
    let names: Vec<String> = (0..8).map(|n| format!("step.s{n}")).collect();
    let build =
        busybox(&steps).apply(["--jobs".to_owned(), "4".to_owned()].into_iter().chain(names)).success();
    assert_eq!(build.ran().len(), 9);
}

// --- programs that compare times ------------------------------------------------------------------------------------

/// A time that all sources have, whatever is in them.
const TIME: Duration = Duration::from_secs(1_600_000_000);

/// As cargo writes it: another text would be written anew, which it may not.
const LOCK: &str = "# This file is automatically @generated by Cargo.\n# It is not intended for manual editing.\nversion = 4\n\n\
    [[package]]\nname = \"it\"\nversion = \"0.0.0\"\n";

/// Writes a file of always the same time; all contents in these tests have one length.
fn write(project: &Project, path: &str, content: &str) {
    project.write(path, content);
    let file = fs::File::options().write(true).open(project.path(path)).expect("it was just written");
    file.set_modified(SystemTime::UNIX_EPOCH + TIME).expect("its time");
}

/// Steps over this machine's own tools, with a kept target folder: `run` builds and shows what it built.
fn kept(run: &str, path: &str) -> String {
    format!(
        r#"version = 1
[source.code]
path = "code"
[source.host]
host = "/"
[step.it]
from = "host"
env = {{ N = "0", PATH = "{path}:${{env.PATH}}" }}
mounts = [{{ from = "code", target = "/code" }}, {{ cache = "target", target = "/target" }}]
workdir = "/code"
run = '''
{run}
'''
"#
    )
}

/// Builds with each word in turn in the source: the program must print it, and must have been compiled exactly where
/// the word is another one than before, which shows by `compiled`.
#[track_caller]
fn rebuilds(project: &Project, source: &str, text: &dyn Fn(&str) -> String, compiled: &str) {
    // Changed, not changed, changed back.
    let words = ["one", "two", "two", "one", "six"];
    for (round, word) in words.into_iter().enumerate() {
        write(project, source, &text(word));
        // Runs the step even where the source is as it was.
        let (old, new) = (format!("N = \"{round}\""), format!("N = \"{}\"", round + 1));
        project.write("build.toml", project.read("build.toml").replace(&old, &new));
        let build = project.apply(["step.it"]).success();
        let lines = build.lines("step.it");
        assert_eq!(lines.last(), Some(&word), "round {round}: {}", build.output);
        let changed = round == 0 || words[round - 1] != word;
        assert_eq!(lines.iter().any(|line| line.contains(compiled)), changed, "round {round}: {lines:?}");
    }
}

#[test]
fn sandbox_make_with_a_kept_target_folder() {
    needs!(fuse, gcc, make);
    let project =
        Project::new(&kept("make -s -f /code/Makefile VPATH=/code -C /target && /target/it", "/usr/bin"));
    write(&project, "code/Makefile", "it: it.c it.h\n\t@echo compiled\n\tcc -static -o $@ $<\n");
    write(&project, "code/it.c", "#include <stdio.h>\n#include \"it.h\"\nint main(void) { puts(WORD); }\n");
    rebuilds(&project, "code/it.h", &|word| format!("#define WORD \"{word}\"\n"), "compiled");
}

#[test]
fn sandbox_cargo_with_a_kept_target_folder() {
    needs!(fuse, gcc);
    let tools = Path::new(env!("CARGO")).parent().expect("cargo is in a folder").display().to_string();
    let run = "export CARGO_HOME=/tmp/cargo CARGO_TARGET_DIR=/target\ncargo build --offline --color never && /target/debug/it";
    let project = Project::new(&kept(run, &tools));
    write(
        &project,
        "code/Cargo.toml",
        "[package]\nname = \"it\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n",
    );
    write(&project, "code/Cargo.lock", LOCK);
    write(&project, "code/src/main.rs", "mod word;\nfn main() { println!(\"{}\", word::WORD); }\n");
    rebuilds(
        &project,
        "code/src/word.rs",
        &|word| format!("pub const WORD: &str = \"{word}\";\n"),
        "Compiling it",
    );
}

/// Says which files a kept program would build anew.
const BUILD: &str = r#"
for file in $(cd /code && find . -type f | sort); do
  if test ! -e /kept/built || test /code/$file -nt /kept/built; then echo new $file; fi
done
touch /kept/built
"#;

/// What a step of a tree mounts or copies keeps its own, old times: none of them may hide a change.
#[test]
fn sandbox_files_with_old_times_that_change_vanish_and_return() {
    needs!(fuse, busybox);
    let project = busybox("");
    let mut round = 0;
    let mut built = |files: &[(&str, &str)], copied: bool| -> Vec<String> {
        round += 1;
        // busybox compares whole seconds.
        std::thread::sleep(Duration::from_millis(1_010));
        // As old as those of an archive.
        let write =
            |(name, text): &(&str, &str)| format!("echo {text} > /out/{name}; touch -d @1000 /out/{name}\n");
        let files: String = files.iter().map(write).collect();
        let (mount, copy) = match copied {
            true => ("", "copy = [{ from = 'made:/out', dest = '/code' }]\n"),
            false => ("{ from = 'made:/out', target = '/code' }, ", ""),
        };
        project.write_steps(&format!(
            "[step.made]\nfrom = 'base'\nrun = \"\"\"\nmkdir /out\n{files}\"\"\"\n\
             [step.it]\nfrom = 'base'\nenv = {{ N = '{round}' }}\n{copy}\
             mounts = [{mount}{{ cache = 'kept-{copied}', target = '/kept' }}]\nrun = \"\"\"{BUILD}\"\"\"\n"
        ));
        let build = project.apply(["step.it"]).success();
        build.lines("step.it").iter().map(|line| (*line).to_owned()).collect()
    };
    for copied in [false, true] {
        assert_eq!(built(&[("f", "one"), ("g", "one")], copied), ["new ./f", "new ./g"], "{copied}");
        assert_eq!(built(&[("f", "one"), ("g", "one")], copied), [""; 0], "{copied}");
        assert_eq!(built(&[("f", "two"), ("g", "one")], copied), ["new ./f"], "{copied}");
        assert_eq!(built(&[("f", "two")], copied), [""; 0], "{copied}");
        assert_eq!(built(&[("f", "two"), ("g", "one")], copied), ["new ./g"], "{copied}: it was away");
    }
    let tree = project.tree("it");
    assert_eq!(tree.matches("1970-01-01T00:16:40Z /code/").count(), 2, "their own times are back: {tree}");
}

/// Waiting for a lock takes time, in which another step builds from another source.
#[test]
fn sandbox_a_step_that_waited_for_its_cache_builds_its_own_source() {
    needs!(fuse, gcc, make);
    let step = |name: &str| {
        format!(
            r#"
[source.from-{name}]
path = "{name}"
[step.{name}]
from = "host"
mounts = [
  {{ from = "from-{name}", target = "/code" }},
  {{ cache = "target", target = "/target", sharing = "locked" }},
]
run = "make -s -f /code/Makefile VPATH=/code -C /target && sleep 0.1 && /target/it"
"#
        )
    };
    let names = ["one", "two", "six"];
    let project =
        Project::new(&format!("version = 1\n[source.host]\nhost = \"/\"\n{}", names.map(step).concat()));
    for name in names {
        write(&project, &format!("{name}/Makefile"), "it: it.c\n\tcc -static -o $@ $<\n");
        write(
            &project,
            &format!("{name}/it.c"),
            &format!("#include <stdio.h>\nint main(void) {{ puts(\"{name}\"); }}\n"),
        );
    }
    let build = project.apply(["--jobs", "3", "step.one", "step.two", "step.six"]).success();
    for name in names {
        assert_eq!(build.lines(&format!("step.{name}")), [name], "{}", build.output);
    }
}
