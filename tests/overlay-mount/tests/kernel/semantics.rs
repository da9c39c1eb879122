//! What a filesystem must do, by `benches/overlay/overlay-sem.py`: what an ext4 directory answers is right.

use crate::{machine::have_mounts, support::mounts::have};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

/// What is missing, and why.
const MISSING: [&str; 1] = [
    "o_tmpfile_linkat", // FUSE_TMPFILE is not in fuser 0.18; programs fall back
];

#[test]
fn mount_it_does_what_a_directory_does() {
    if have_mounts(&["lower"]).is_none() || !have(&["python3", "setfattr", "setfacl", "setcap"]) {
        return;
    }
    // Other users look into it.
    let public = tempfile::tempdir().unwrap();
    fs::set_permissions(public.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/overlay/overlay-sem.py");
    let mount = env!("CARGO_BIN_EXE_overlay-mount");
    let output = Command::new("python3")
        .arg(script)
        .arg("-w")
        .arg(public.path())
        .arg("native=native")
        .arg(format!("rbuild={mount} -o lowerdir={{lower}},upperdir={{upper}},workdir={{work}} {{merged}}"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Vec<&str>> = told
        .lines()
        .map(|line| line.split('|').map(str::trim).collect())
        .filter(|cells: &Vec<_>| cells.len() == 5 && !matches!(cells[1], "check" | "---"))
        .collect();
    assert!(rows.len() == 88, "{told}");
    let wrong: Vec<_> = rows.iter().filter(|row| row[3] != "+" && row[3] != row[2]).collect();
    let names: Vec<&str> = wrong.iter().map(|row| row[1]).collect();
    assert_eq!(names, MISSING, "{wrong:?}");
}
