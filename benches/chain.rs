//! What does a step cost beyond the command it runs?
//!
//! Fifty steps, one short line each, each over what the one before left, over a Debian root that is in the store
//! already. The command itself is the same line in a plain chroot, so what is left is sandbox, mount, commit, record
//! and scheduler. `podman build` (buildah inside) runs the same lines as a Containerfile where it is installed.

#![allow(clippy::print_stdout, reason = "a bench is there to print")]

mod support;

use std::{fs, process::Command, process::ExitCode, time::Duration};
use support::{
    Need, base,
    chroot::Chroot,
    contest::{Contest, bound, ms},
    has_program,
    project::{Project, chain, chain_line, import_base},
    run,
};

const STEPS: usize = 50;

fn main() -> ExitCode {
    support::main(
        "chain: 50 one-line steps over a Debian root",
        &[Need::Root, Need::Base, Need::Sandbox],
        answer,
    )
}

fn answer() {
    let chroot = Chroot::new();
    let project = Project::new();
    import_base(&project);
    let steps = |count: usize, salt: usize| {
        project.write(&chain(count, salt));
        run::time(&mut project.apply(&[&format!("step.s{count}")]))
    };
    let peer = if has_program("podman") { Ok(Podman::new()) } else { Err("there is no program podman") };

    let mut contest = Contest::default()
        .candidate("the lines in a chroot", |round| {
            (1..=STEPS).map(|number| run::time(&mut chroot.line(&chain_line(number, round)))).sum()
        })
        .candidate("rbuild apply, 50 steps", |round| steps(STEPS, round))
        .candidate("rbuild apply, 1 step", |round| steps(1, 1000 + round));
    if let Err(reason) = &peer {
        contest = contest.missing("podman build, 50 RUN lines", reason);
    }
    let results = contest.run(7);
    results.print();
    let per_step = (results.median(1).saturating_sub(results.median(0))) / STEPS as u32;
    let slope = results.median(1).saturating_sub(results.median(2)) / (STEPS as u32 - 1);
    println!("\n  one more step costs {:.2} ms, the command in it included", ms(slope));
    bound("a step beyond its command", ms(per_step), " ms", 15.0);

    // Once only: it takes as long as all the others together.
    if let Ok(podman) = peer {
        let wall = podman.build();
        println!("  podman build, measured once: {:.0} ms a step", ms(wall) / STEPS as f64);
    }
}

/// podman with a storage of its own and the kernel's overlay.
struct Podman {
    project: Project,
}

impl Podman {
    fn new() -> Self {
        let podman = Self { project: Project::new() };
        run::must(podman.command().arg("import").arg(base()).arg("bench-base"));
        podman
    }

    fn build(&self) -> Duration {
        let lines = (1..=STEPS).map(|number| format!("RUN {}\n", chain_line(number, 0))).collect::<String>();
        let file = self.project.work().join("Containerfile");
        fs::write(&file, format!("FROM localhost/bench-base\n{lines}")).expect("the Containerfile");
        support::settle();
        let options = ["build", "--layers", "--isolation", "chroot", "--network", "host", "--file"];
        run::time(self.command().args(options).arg(file).arg(self.project.work()))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        run::clean(&mut command);
        command
            .arg("--root")
            .arg(self.project.path("root"))
            .arg("--runroot")
            .arg(self.project.path("runroot"));
        command.args(["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"]);
        command
    }
}

impl Drop for Podman {
    /// Its storage is a mount point of itself as long as it is mounted.
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.project.path("root/overlay")).output();
    }
}
