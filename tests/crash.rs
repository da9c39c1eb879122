//! kill -9 of the engine at any moment: the next build works and gives the same, and nothing is left.
//!
//! `RBUILD_CRASH_ROUNDS` says how often (200), `RBUILD_CRASH_SEED` repeats a run that failed.

use crate::support::{Project, adopt_orphans, busybox, names, nothing_runs};
use std::{
    process::Stdio,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Each round makes everything anew, since `round` is in every step; what it makes differs, too, so that layers are
/// written each time.
const SPEC: &str = r#"
[vars]
round = "0"
[source.code]
path = "code"
[step.first]
from = "base"
env = { ROUND = "${round}" }
mounts = [{ from = "code", target = "/code" }, { cache = "kept", target = "/kept", sharing = "locked" }]
run = "seq $ROUND 3000 > /numbers; cat /code/main > /main; date > /kept/last; (sleep 100 &)"
[step.left]
from = "first"
run = "mkdir /many; for i in $(seq 60); do echo $i > /many/$i; done; rm /many/3*"
[step.right]
from = "first"
mounts = [{ from = "code", target = "/code", write = "discard" }]
run = "mv /numbers /moved; ln /main /twin; echo more >> /code/main"
[step.joined]
merge = ["left", "right"]
[image.app]
from = "joined"
output = [{ oci = "dist/app" }, { tar = "dist/app.tar" }, { dir = "dist/tree" }]
[artifact.main]
from = "joined"
path = "/main"
dest = "dist/"
"#;

fn project() -> Project {
    busybox(SPEC).file("code/main", "main\n")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// A fixed sequence for a seed: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        limit.mul_f64((mixed >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

#[test]
fn crash_at_any_moment() {
    needs!(fuse, busybox);
    adopt_orphans();
    let rounds = number("RBUILD_CRASH_ROUNDS").unwrap_or(200);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = number("RBUILD_CRASH_SEED").unwrap_or_else(|| u64::from(clock.subsec_nanos()));
    println!("RBUILD_CRASH_SEED={seed}");
    let (mut random, project) = (Random(seed), project());
    let start = Instant::now();
    apply(&project, "0");
    let whole = start.elapsed();
    let mut interrupted = 0;
    for round in 1..=rounds {
        let wait = random.below(whole);
        let (engine, ended) = killed(&project, &round.to_string(), wait);
        interrupted += u64::from(ended);
        nothing_runs();
        project.nothing_is_mounted();
        let digest = apply(&project, &round.to_string());
        let scratch = names(&project.store().join("tmp"));
        assert_eq!(scratch, [""; 0], "round {round}: engine {engine} was killed after {wait:?}");
        project.layout("dist/app").check("latest");
        assert_eq!(
            names(&project.path("dist")),
            ["app", "app.tar", "main", "tree"],
            "round {round} after {wait:?}"
        );
        if round % 20 == 0 {
            let fresh = self::project();
            assert_eq!(digest, apply(&fresh, &round.to_string()), "round {round} after {wait:?}");
        }
    }
    assert!(
        interrupted > rounds / 4,
        "only {interrupted} of {rounds} builds were interrupted: {whole:?} each"
    );
}

fn apply(project: &Project, round: &str) -> String {
    let build = project.apply(["--set", &format!("round={round}")]).success();
    build.digest("app").to_owned()
}

/// Begins a build and kills it after a time; gives its process id, and false if it was faster.
fn killed(project: &Project, round: &str, wait: Duration) -> (u32, bool) {
    let mut command = project.command();
    command.args(["apply", "--set", &format!("round={round}")]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut engine = command.spawn().expect("rbuild can be started");
    std::thread::sleep(wait);
    engine.kill().expect("it is this process's child");
    (engine.id(), !engine.wait().expect("it was killed").success())
}
