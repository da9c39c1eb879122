//! Other programs, which must end well.

use super::Project;
use std::process::{Command, Stdio};

/// Runs one; gives what it printed.
///
/// # Panics
/// If it ends with anything but success.
#[track_caller]
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The same, as text without the space around it.
#[track_caller]
pub fn said(command: &mut Command) -> String {
    String::from_utf8_lossy(&run(command)).trim().to_owned()
}

/// Runs skopeo in a project's folder.
#[track_caller]
pub fn skopeo(project: &Project, arguments: &[&str]) -> Vec<u8> {
    run(Command::new("skopeo").arg("--insecure-policy").args(arguments).current_dir(project.path("")))
}

/// Unpacks an image of a layout by umoci; gives the folder of its root.
#[track_caller]
pub fn umoci_unpack(project: &Project, image: &str) -> std::path::PathBuf {
    let bundle = project.path(&format!("umoci-{}", image.replace([':', '/'], "-")));
    run(Command::new("umoci").args(["unpack", "--image", image]).arg(&bundle).current_dir(project.path("")));
    bundle.join("rootfs")
}
