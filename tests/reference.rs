//! What rbuild says of itself: schemas, completions, manual pages, help.

use crate::support::Project;

/// A committed file is what a command prints; else the message is the command that rewrites it.
#[track_caller]
fn assert_committed(path: &str, arguments: &[&str]) {
    let printed = Project::empty().rbuild(arguments).success();
    let committed = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    let command = format!("cargo run --release -- {} > {path}", arguments.join(" "));
    assert!(committed.is_ok_and(|committed| committed == printed), "{path} is out of date: run `{command}`");
}

#[test]
fn the_schemas_that_are_committed_are_those_of_the_code() {
    assert_committed("schemas/build.schema.json", &["schema"]);
    assert_committed("schemas/build.schema.json", &["schema", "build"]);
    assert_committed("schemas/events.schema.json", &["schema", "events"]);
    assert_committed("schemas/lock.schema.json", &["schema", "lock"]);
    assert_committed("schemas/metadata.schema.json", &["schema", "metadata"]);
    assert_committed("schemas/doctor.schema.json", &["schema", "doctor"]);
    assert_committed("schemas/README.md", &["schema", "reference"]);
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = Project::empty().rbuild(["completions", shell]).success();
        assert!(script.contains("apply") && script.contains("keep-going"), "{shell}");
    }
}

#[test]
fn bash_takes_its_completions() {
    needs!(bash);
    let project = Project::empty();
    project.write("completions.bash", project.rbuild(["completions", "bash"]).success());
    let parsed = std::process::Command::new("bash").arg("-n").arg(project.path("completions.bash")).output();
    assert!(parsed.is_ok_and(|parsed| parsed.status.success() && parsed.stderr.is_empty()));
}

#[test]
fn manual_pages_of_every_command() {
    let project = Project::empty();
    let page = project.rbuild(["man"]).success();
    assert!(page.contains(".TH rbuild 1") && page.contains("RBUILD_STORE"), "{page}");
    project.rbuild(["man", "man/man1"]).success();
    for page in ["rbuild.1", "rbuild-apply.1", "rbuild-graph.1", "rbuild-man.1"] {
        assert!(project.read(&format!("man/man1/{page}")).contains(".SH NAME"), "{page}");
    }
    project.write("file", "");
    let told = project.rbuild(["man", "file"]).failure(3);
    assert!(told.starts_with("error: cannot write manual pages to file\n"), "{told}");
}

#[test]
fn help_names_every_command() {
    snapshot!(Project::empty().rbuild(["-h"]), @r"
    $ rbuild -h
    --- stdout
    Builds OCI images from a declarative build graph: without a daemon, without root

    Usage: rbuild <COMMAND>

    Commands:
      apply        Builds what the build file declares
      plan         Says what `apply` would run, and why
      update       Looks up again what names mean, and writes it into the lock file
      push         Pushes an image that was built to registries
      pull         Fetches images of registries into the store
      copy         Copies an image between registries, layouts and archives, byte for byte
      login        Keeps a name and password for a registry where docker would
      logout       Forgets the name and password for a registry
      check        Reads the build file and tells everything that is wrong with it
      graph        Draws the build graph: of the whole file, or of what some targets need
      inspect      Shows an image or step of the last build: config, layers, tree
      mount        Shows a tree as a filesystem, until it is unmounted or a command has ended
      logs         Prints all that a step or test wrote when it last ran
      doctor       Tells what this machine gives to rbuild, what is missing, and what helps here
      explain      Tells what the code of an error or warning means, and what to do about it
      schema       Prints a JSON Schema, for editors and for programs that read events, or a list of all
                   keys
      completions  Prints the completions of a shell: `source <(rbuild completions bash)`
      man          Prints the manual page, or writes those of all subcommands to a folder

    Options:
      -h, --help     Print help (see more with '--help')
      -V, --version  Print version
    --- exit code 0
    ");
}

#[test]
fn long_help_says_what_exit_codes_and_variables_mean() {
    let help = Project::empty().rbuild(["--help"]).success();
    for word in [
        "Exit codes:",
        "130",
        "RBUILD_STORE ",
        "RBUILD_STORES_RO",
        "RBUILD_LOG",
        "SOURCE_DATE_EPOCH",
        "NO_COLOR",
    ] {
        assert!(help.contains(word), "{word}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 120));
}

#[test]
fn help_of_apply() {
    snapshot!(Project::empty().rbuild(["apply", "-h"]), @r"
    $ rbuild apply -h
    --- stdout
    Builds what the build file declares

    Usage: rbuild apply [OPTIONS] [TARGET]...

    Arguments:
      [TARGET]...  What to build: NAME or KIND.NAME; a first one that ends in .toml, .yaml or .yml is
                   the build file

    Options:
      -f, --file <FILE>           The build file, or its folder [default: build.toml or build.yaml]
          --set <NAME=VALUE>      Gives a variable a value, an array with commas (`list=a,b`); may be
                                  repeated
          --vars <FILE>           Takes values of variables from a TOML or YAML file; may be repeated
          --store <DIR>           Where everything built is kept [default: $RBUILD_STORE, else
                                  $XDG_DATA_HOME/rbuild]
          --locked                Fail rather than write to the lock file
          --offline               Ask nobody outside for anything: use what the store has
          --deny-warnings         Warnings are errors
      -v, --verbose               Tell more
      -j, --jobs <N>              How many steps run at once [default: as many as there are processors
                                  for this process]
          --tier <TIER>           How steps get their root [default: the first that this machine has]
                                  [possible values: fuse, overlay, chroot, none]
          --in-place              Run steps in the place of this container's own files, which are aside
                                  meanwhile: one at a time, on any kernel
      -k, --keep-going            After a failure, go on with what does not need what failed
          --out <DIR>             Write outputs and artifacts below this folder instead of the build
                                  file's
          --metadata-file <FILE>  Write what was made to this file, as JSON (`rbuild schema metadata`);
                                  it is removed first, so after a failed build there is none
          --progress <STYLE>      How progress is told [default: plain] [possible values: plain, json,
                                  quiet]
      -h, --help                  Print help (see more with '--help')
    --- exit code 0
    ");
}
