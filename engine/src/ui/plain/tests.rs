//! Whole builds as text.
#![allow(clippy::unwrap_used)]

use super::*;
use insta::assert_snapshot;
use rbuild::report::{Layer, Written};

fn plain() -> Plain {
    Plain::new(Shell::plain(), Options::default())
}

fn started(node: &str) -> Event {
    Event::Started { node: node.into(), why: "no record of it yet".into() }
}

fn finished(node: &str, outcome: Outcome, duration: u64) -> Event {
    Event::Finished { node: node.into(), outcome, duration }
}

fn output(node: &str, line: &str) -> Event {
    Event::Output { node: node.into(), line: line.into() }
}

fn failed(node: &str) -> Event {
    Event::Failed {
        node: node.into(),
        code: Some("step-failed".into()),
        message: format!("{node} ended with exit code 2"),
        causes: vec![],
        hints: vec!["say `optional = true`".into()],
        last_lines: vec!["cc: main.c: no such file".into(), "make: *** [all] Error 1".into()],
        duration: 3_210,
    }
}

fn over(success: bool, [ran, cached, failed, skipped]: [usize; 4]) -> Event {
    Event::BuildFinished { success, ran, cached, failed, skipped, interrupted: 0, duration: 12_345 }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn all(plain: &mut Plain, events: &[Event]) -> String {
    events.iter().map(|event| plain.event(Duration::ZERO, event)).collect()
}

fn image() -> Event {
    let layer = |size, digit: &str, made_by: &str| Layer {
        digest: format!("sha256:{}", digit.repeat(64)),
        size,
        made_by: made_by.into(),
    };
    let written = |kind: &str, path: &str, reference: Option<&str>| Written {
        kind: kind.into(),
        path: path.into(),
        reference: reference.map(str::to_owned),
    };
    Event::Image {
        name: "shop".into(),
        digest: format!("sha256:{}", "0".repeat(64)),
        tags: vec!["shop:dev".into(), "shop:1.0".into()],
        layers: vec![layer(47_185_920, "9", "base"), layer(912, "a", "runtime")],
        outputs: vec![
            written("oci", "dist/shop", Some("dev")),
            written("oci", "dist/shop", Some("1.0")),
            written("oci-archive", "dist/shop.oci.tar", None),
            written("docker-archive", "dist/my shop.tar", None),
        ],
    }
}

#[test]
fn a_build_that_works() {
    let events = [
        Event::BuildStarted { file: "build.toml".into(), nodes: 5, jobs: 2, store: "/store".into() },
        finished("source.code", Outcome::Cached, 0),
        started("step.jar"),
        output("step.jar", "compiling"),
        output("step.jar", ""),
        output("step.jar", "\u{1b}[1m10%\r100%\u{1b}[0m"),
        finished("step.jar", Outcome::Ran, 45_200),
        Event::Warning {
            code: Some("remove-nothing".into()),
            node: Some("step.jar".into()),
            message: "no /x".into(),
        },
        Event::Warning {
            code: Some("remove-nothing".into()),
            node: Some("step.jar".into()),
            message: "no /x".into(),
        },
        image(),
        finished("image.shop", Outcome::Ran, 80),
        Event::Artifact { name: "jar".into(), path: "dist/shop.jar".into(), files: 1 },
        over(true, [1, 3, 0, 0]),
    ];
    assert_snapshot!(all(&mut plain(), &events), @r"
    build.toml: 5 nodes, 2 jobs, store /store
    [source.code] cached
    [jar] runs: no record of it yet
    [jar] compiling
    [jar]
    [jar] 100%
    [jar] done in 45s
    warning[remove-nothing]: step.jar: no /x
    [image.shop] is sha256:0000000000000000000000000000000000000000000000000000000000000000, 2 layers, 45.0 MiB
    [image.shop] done in 0.1s
    [artifact.jar] is dist/shop.jar, 1 file

    built in 12s: 1 ran, 3 cached

    image.shop sha256:0000000000000000000000000000000000000000000000000000000000000000
      tags     shop:dev, shop:1.0
      layers   2, 45.0 MiB
               45.0 MiB  999999999999  base
                  912 B  aaaaaaaaaaaa  runtime
      written  oci dist/shop:dev
               oci dist/shop:1.0
               oci-archive dist/shop.oci.tar
               docker-archive dist/my shop.tar
      look     rbuild inspect image.shop
               skopeo inspect oci:dist/shop:dev
               skopeo inspect oci-archive:dist/shop.oci.tar:dev
               docker load -i 'dist/my shop.tar'
    artifact.jar dist/shop.jar, 1 file
    ");
}

#[test]
fn a_build_that_fails_ends_with_the_reason() {
    let events = [
        started("step.jar"),
        output("step.jar", "cc: main.c: no such file"),
        failed("step.jar"),
        Event::Skipped { node: "slow".into(), interrupted: true },
        Event::Skipped { node: "image.shop".into(), interrupted: false },
        over(false, [0, 2, 1, 1]),
    ];
    let mut plain = plain();
    assert_snapshot!(all(&mut plain, &events), @r"
    [jar] runs: no record of it yet
    [jar] cc: main.c: no such file
    [jar] failed after 3.2s: step.jar ended with exit code 2
    [slow] interrupted
    [image.shop] not reached

    failed in 12s: 0 ran, 2 cached, 1 failed, 1 not reached

    error[step-failed]: step.jar ended with exit code 2
      its last lines:
        | cc: main.c: no such file
        | make: *** [all] Error 1

    hint: say `optional = true`
    hint: the whole log: rbuild logs jar
    hint: `rbuild explain step-failed` tells more
    ");
    assert!(plain.has_failure("step.jar ended with exit code 2"));
    assert!(!plain.has_failure("something else"));
    assert_eq!(plain.untold_failures(), "", "the summary has told it");
}

#[test]
fn a_build_that_is_stopped_leaves_room_for_the_reason() {
    let told = all(
        &mut plain(),
        &[Event::Skipped { node: "step.jar".into(), interrupted: false }, over(false, [0, 0, 0, 1])],
    );
    assert_eq!(told, "[jar] not reached\n\nfailed in 12s: 0 ran, 0 cached, 1 not reached\n\n");
}

#[test]
fn a_failure_is_told_even_if_the_build_does_not_end() {
    let mut plain = plain();
    all(&mut plain, &[started("test.starts"), failed("test.starts")]);
    let told = plain.untold_failures();
    assert!(told.starts_with("\nerror[step-failed]: test.starts ended with exit code 2\n"), "{told}");
    assert_eq!(plain.untold_failures(), "");
}

#[test]
fn what_another_command_line_needs_is_in_the_hints() {
    let options = Options {
        file: Some("specs/hello/build.toml".into()),
        store: Some("/my store".into()),
        ..Options::default()
    };
    let mut plain = Plain::new(Shell::plain(), options);
    let told = all(&mut plain, &[image(), over(true, [1, 0, 0, 0])]);
    assert!(
        told.contains("rbuild inspect -f specs/hello/build.toml --store '/my store' image.shop\n"),
        "{told}"
    );
    let told = all(&mut plain, &[failed("step.jar"), failed("test.starts"), over(false, [0, 0, 2, 0])]);
    for name in ["jar", "test.starts"] {
        let hint = format!(
            "hint: the whole log: rbuild logs -f specs/hello/build.toml --store '/my store' {name}\n"
        );
        assert!(told.contains(&hint), "{told}");
    }
}

#[test]
fn a_long_step_gives_signs_of_life_more_and_more_rarely() {
    let mut plain = plain();
    assert_eq!(plain.next_sign(), None);
    plain.event(seconds(100), &started("step.jar"));
    let mut signs = Vec::new();
    while signs.len() < 6 {
        let at = plain.next_sign().unwrap();
        signs.push((at.as_secs() - 100, plain.signs(at)));
        assert_eq!(plain.signs(at), "", "once");
    }
    let expected = [
        (30, "[jar] still running, 30s\n"),
        (60, "[jar] still running, 1m 0s\n"),
        (120, "[jar] still running, 2m 0s\n"),
        (240, "[jar] still running, 4m 0s\n"),
        (480, "[jar] still running, 8m 0s\n"),
        (780, "[jar] still running, 13m 0s\n"),
    ];
    assert_eq!(signs, expected.map(|(at, line)| (at, line.to_owned())));
    plain.event(seconds(900), &finished("step.jar", Outcome::Ran, 800_000));
    assert_eq!(plain.next_sign(), None);
}

#[test]
fn signs_that_were_missed_are_given_once() {
    let mut plain = plain();
    plain.event(seconds(0), &started("step.a"));
    plain.event(seconds(50), &started("step.b"));
    assert_eq!(plain.next_sign(), Some(seconds(30)));
    // The machine slept.
    assert_eq!(plain.signs(seconds(3_700)), "[a] still running, 1h 1m\n[b] still running, 1h 0m\n");
    assert!(plain.next_sign().unwrap() > seconds(3_700));
}

#[test]
fn lines_of_one_event_all_have_the_step_in_front() {
    assert_eq!(plain().event(Duration::ZERO, &output("step.jar", "a\nb")), "[jar] a\n[jar] b\n");
}

#[test]
fn a_transfer_is_told_now_and_then_and_at_its_end() {
    let mut plain = plain();
    let mut at = |now: u64, bytes: u64, finished: bool| {
        let event = Event::Transfer {
            what: "source.base".into(),
            direction: Direction::Pull,
            bytes,
            total_bytes: 10 << 20,
            blobs: 1 + usize::from(finished),
            total_blobs: 2,
            rate: 1 << 20,
            duration: now * 1000,
            finished,
        };
        plain.event(seconds(now), &event)
    };
    assert_eq!(at(1, 1 << 20, false) + &at(2, 2 << 20, false), "");
    assert_eq!(at(6, 6 << 20, false), "[source.base] 6.0 MiB of 10.0 MiB, 1 of 2 blobs, 1.0 MiB/s\n");
    assert_eq!(at(7, 7 << 20, false), "");
    assert_eq!(at(10, 10 << 20, true), "[source.base] pulled 2 blobs, 10.0 MiB in 10s, 1.0 MiB/s\n");
}
