//! Kernels that are older than this machine's, in a virtual machine.

use crate::{
    environments::{STEPS, old_kernel, static_program},
    support::busybox,
};
use std::{path::Path, process::Command};

/// Debian 12's own, 6.1; there a user with one id, too.
#[test]
fn sandbox_an_older_kernel_gives_the_same_image_on_all_tiers() {
    needs!(fuse, busybox, static_program, old_kernel, strip, "qemu-system-x86_64");
    let project = busybox(STEPS);
    let usual = project.build().digest("it").to_owned();
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old-kernel"));
    command.arg(old_kernel()).arg(static_program()).arg(project.path("")).arg("it");
    let told = project.output("tests/old-kernel".to_owned(), &command.output().expect("it can be started"));
    let lines: Vec<&str> = told.stdout.lines().collect();
    let [kernel, builds @ ..] = lines.as_slice() else { panic!("{told}") };
    assert!(kernel.starts_with("kernel 6.1."), "{kernel}");
    let expected =
        ["fuse", "overlay", "chroot", "one-id", "one-id-overlay"].map(|name| format!("{name} {usual}"));
    assert_eq!(builds, expected, "{told}");
}
