//! Local folders and files as sources: what of them is taken.

use crate::support::Project;
use std::os::unix::fs::symlink;

/// An image of all of the project's folder, which it is written to, with these lines in its table.
fn of_itself(lines: &str) -> Project {
    let spec = format!("[source.all]\npath = \".\"\n[image.out]\nfrom = \"all\"\n{lines}\n");
    Project::new(&format!("version = 1\nepoch = 1764000000\n{spec}")).file("src/main.c", "main")
}

fn paths(project: &Project) -> Vec<String> {
    let told = project.rbuild(["inspect", "image.out", "--tree"]).success();
    let paths = told.lines().filter_map(|line| line.rsplit_once(" /")).map(|(_, path)| path.to_owned());
    paths.filter(|path| !path.is_empty()).collect()
}

#[test]
fn a_build_does_not_change_what_the_next_one_reads() {
    let project = of_itself("output = [{ oci = \"dist/deep/out\" }, { tar = \"made/out.tar\" }]");
    let digest = |folder: &str| {
        project.rbuild(["apply", "--out", folder]).success();
        project.layout(&format!("{folder}/dist/deep/out")).digest("latest")
    };
    let first = digest(".");
    assert_eq!(digest("."), first, "the folders of the outputs are there now");
    // Outside, or what is written there would be part of the source.
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let elsewhere = elsewhere.path().to_str().expect("a name").to_owned();
    project.rbuild(["apply", "--out", &elsewhere]).success();
    assert_eq!(paths(&project), ["build.toml", "src/", "src/main.c"]);
    // What is the user's own in such a folder is taken, as is an empty folder on the way to nothing.
    project.write("made/notes", "x");
    std::fs::create_dir(project.path("empty")).expect("a folder");
    project.rbuild(["apply"]).success();
    assert_eq!(paths(&project), ["build.toml", "empty/", "made/", "made/notes", "src/", "src/main.c"]);
}

#[test]
fn what_a_killed_build_left_is_nobodys_source() {
    let project = of_itself("output = [{ oci = \"dist\" }]")
        .file(".rbuild-lock.x1Y2z3", "version = 1")
        .file("src/.rbuild-0123456789abcdef", "half");
    project.rbuild(["apply"]).success();
    assert_eq!(paths(&project), ["build.toml", "src/", "src/main.c"]);
}

#[test]
fn a_link_to_a_file_is_called_as_it_is_written() {
    let spec = "version = 1\n[source.conf]\npath = \"conf\"\n[step.out]\n\
                copy = [{ from = \"conf\", src = \"/conf\", dest = \"/etc/\" }]\n";
    let project = Project::new(spec).file("conf-v1", "one");
    symlink("conf-v1", project.path("conf")).expect("a link");
    project.rbuild(["apply", "out"]).success();
    let told = project.rbuild(["inspect", "step.out", "--tree"]).success();
    assert!(told.contains(" /etc/conf"), "{told}");
}
