//! How long a sandbox takes: `cargo run --release -p rbuild-sandbox --example measure [ROUNDS]`.
//!
//! Medians over the rounds of a set-up like a step's (root, proc, sys, dev) that runs `/bin/true` or, to compare, of
//! plain fork and exec. The root is bound read-only, so no FUSE server is in the way.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use rbuild_sandbox::{Command, IdMap, Limits, Mount, Network, Output, Sandbox, Setup};

fn setup(network: Network) -> Setup {
    let root = Mount::Bind { source: "/".into(), target: "/".into(), read_only: true, recursive: true };
    Setup {
        ids: IdMap::detect().unwrap(),
        hostname: "rbuild".into(),
        network,
        mounts: vec![root, Mount::Proc, Mount::Sys, Mount::Dev],
        command: Command {
            argv: vec!["/bin/true".into()],
            env: vec![],
            directory: "/".into(),
            uid: 0,
            gid: 0,
            groups: vec![],
            umask: 0o022,
        },
        limits: Limits::default(),
        supervised: false,
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    rbuild_sandbox::enter_if_child();
    let rounds: usize = std::env::args().nth(1).map_or(50, |count| count.parse().unwrap());
    for network in [Network::None, Network::Host] {
        let setup = setup(network);
        let mut phases: [Vec<f64>; 4] = Default::default();
        for _ in 0..rounds {
            let begin = Instant::now();
            let started = Sandbox::spawn(&setup, Output::Joined).unwrap();
            let spawned = begin.elapsed();
            let mut running = started.proceed().unwrap();
            let ready = begin.elapsed();
            running.wait().unwrap();
            let all = begin.elapsed();
            for (phase, time) in phases.iter_mut().zip([spawned, ready - spawned, all - ready, all]) {
                phase.push(time.as_secs_f64() * 1000.0);
            }
        }
        let [spawn, proceed, wait, all] = phases.map(median);
        println!(
            "network {network:?}: spawn {spawn:.2} + proceed {proceed:.2} + wait {wait:.2} = {all:.2} ms"
        );
    }
    let plain = (0..rounds).map(|_| {
        let begin = Instant::now();
        std::process::Command::new("/bin/true").status().unwrap();
        begin.elapsed().as_secs_f64() * 1000.0
    });
    println!("plain fork and exec: {:.2} ms", median(plain.collect()));
}
