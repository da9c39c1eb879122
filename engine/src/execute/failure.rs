//! What is told of a command that did not end as it should.

use super::{
    Engine,
    limits::{Ended, memory_hint},
    run::Ran,
    task::Failure,
};
use crate::{
    error::{Error, Kind},
    spec::{Span, types::Body},
};
use rbuild_sandbox::{ExecFailure, Exit, memory_limit};

/// What programs print when a name can't be resolved: apt, glibc, curl, busybox, Node.js.
const UNREACHED: [&str; 6] = [
    "Temporary failure resolving",
    "Temporary failure in name resolution",
    "Could not resolve",
    "bad address",
    "EAI_AGAIN",
    "Network is unreachable",
];

/// What programs print when they were refused something, or miss a right, in lower case.
const ABOUT_IDS: [&str; 9] = [
    "permission",
    "not permitted",
    "denied",
    "privilege",
    "owner",
    "setuid",
    "setgid",
    "setgroups",
    "as root",
];

/// The failure of a command; `message` says of what and how, `span` is where the file says what is run.
pub(super) fn failure(
    engine: &Engine,
    code: &'static str,
    message: &str,
    span: Span,
    body: &Body,
    ran: Ran,
) -> Failure {
    let error = Error::step(code, message).placed(&engine.session.loaded.warnings.files, span);
    let hint = match &ran.ended.exit {
        Exit::ExecFailed { what } => exec_hint(what),
        _ => network_hint(body, &ran.last_lines)
            .or_else(|| lent_hint(&ran.last_lines))
            .or_else(|| range_hint(&ran.last_lines).filter(|_| engine.has_range())),
    };
    let memory = ran.ended.memory_each.filter(|_| ran.ended.beyond.is_none()).map(memory_hint);
    let ids = engine.ids_hint().filter(|_| is_about_ids(&ran.last_lines));
    let is_short = ran.ended.beyond.is_none() && is_killed(&ran.ended.exit, &ran.last_lines);
    let short = if is_short { memory_limit().map(short_of_memory) } else { None };
    let hints = hint.map(str::to_owned).into_iter().chain(memory).chain(short).chain(ids);
    let error = hints.fold(error, Error::hint);
    Failure { error: Box::new(error), last_lines: ran.last_lines, log: Some(ran.log) }
}

/// Why a command could not be run, with its place in the file.
pub(super) fn refused(engine: &Engine, span: Span, failure: Failure) -> Failure {
    if !matches!(failure.error.kind(), Kind::Environment | Kind::Step) {
        return failure;
    }
    let error = failure.error.placed(&engine.session.loaded.warnings.files, span);
    Failure { error: Box::new(error), ..failure }
}

/// How a command ended, in words.
pub(super) fn end_text(ended: &Ended) -> String {
    ended.beyond.map_or_else(|| exit_text(&ended.exit), |limit| limit.to_string())
}

fn exit_text(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("its command ended with exit code {code}"),
        Exit::Signal(signal) => {
            let name =
                nix::sys::signal::Signal::try_from(*signal).map_or("a signal", |signal| signal.as_str());
            format!("its command was killed by {name} ({signal})")
        }
        Exit::ExecFailed { what } => format!("its command could not be started: {what}"),
    }
}

fn exec_hint(what: &ExecFailure) -> Option<&'static str> {
    match what {
        ExecFailure::Other(operation) if operation.starts_with("change directory") => Some(
            "`workdir` must be a directory that the step's `user` may enter; a missing one is made, but not in a mount",
        ),
        ExecFailure::Other(_) => None,
        _ => Some("the command must be in the step's tree, for this machine's platform"),
    }
}

fn network_hint(body: &Body, lines: &[String]) -> Option<&'static str> {
    let unreached = |line: &String| UNREACHED.iter().any(|words| line.contains(words));
    (!body.network.is_open() && lines.iter().any(unreached))
        .then_some("steps have no network unless they say so: network = \"private\" or \"host\"")
}

/// Whether a command's last words are about users and what they may. One that has one id and is not granted something
/// says so; where it is granted too much there is nothing to tell.
fn is_about_ids(lines: &[String]) -> bool {
    lines.iter().any(|line| {
        let line = line.to_lowercase();
        ABOUT_IDS.iter().any(|words| line.contains(words))
    })
}

/// What a range of ids does not give.
fn range_hint(lines: &[String]) -> Option<&'static str> {
    let is_beyond = |line: &String| {
        let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
        (has(&["chown", "chgrp"]) && line.contains("Invalid argument"))
            || (line.contains("mknod") && line.contains("not permitted"))
    };
    lines.iter().any(is_beyond).then_some(
        "ids in steps are below 65,536 here, and nobody makes a device: owners of `files`, `copy` and `attrs` may be any",
    )
}

/// Whether a process was killed, as far as a command tells: a shell gives 128 and the signal for its last one.
fn is_killed(exit: &Exit, lines: &[String]) -> bool {
    matches!(exit, Exit::Signal(9) | Exit::Code(137)) || lines.iter().any(|line| line.ends_with("Killed"))
}

fn short_of_memory(bytes: u64) -> String {
    let size = bytes >> 20;
    format!(
        "all that runs here may have {size} MiB of memory together: if it ran out of that, raise the container's limit, or \
         build with --jobs 1"
    )
}

/// A file of the machine in place of the tree's is read-only, and can't be removed.
fn lent_hint(lines: &[String]) -> Option<&'static str> {
    let is_lent = |line: &String| {
        ["/etc/hosts", "/etc/resolv.conf"].iter().any(|path| line.contains(path))
            && ["Read-only file system", "resource busy"].iter().any(|words| line.contains(words))
    };
    lines.iter().any(is_lent).then_some(
        "/etc/hosts, and /etc/resolv.conf with a network, are lent while a command runs: `files` writes those of the tree",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::types::Network;

    #[test]
    fn hints_fit_what_went_wrong() {
        let closed = Body::default();
        let open = Body { network: Network::Host, ..Body::default() };
        let lines = |line: &str| vec!["before".to_owned(), line.to_owned()];
        for line in [
            "Temporary failure resolving 'mirror.example'",
            "curl: (6) Could not resolve host: example.org",
            "npm error code EAI_AGAIN",
            "wget: bad address 'example.org'",
        ] {
            assert!(network_hint(&closed, &lines(line)).is_some(), "{line}");
            assert!(network_hint(&open, &lines(line)).is_none(), "{line}");
        }
        assert!(network_hint(&closed, &lines("error: no such file")).is_none());
        assert!(lent_hint(&lines("sh: can't create /etc/hosts: Read-only file system")).is_some());
        assert!(lent_hint(&lines("tar: ./etc/hosts: Cannot open: Device or resource busy")).is_some());
        assert!(lent_hint(&lines("touch: /srv: Read-only file system")).is_none());
        for line in ["mount: permission denied (are you root?)", "chown: /x: Operation not permitted"] {
            assert!(is_about_ids(&lines(line)), "{line}");
        }
        assert!(
            is_killed(&Exit::Code(137), &[]) && is_killed(&Exit::Code(2), &lines("sh: line 1: 7 Killed"))
        );
        assert!(!is_killed(&Exit::Code(2), &lines("Killed it")));
        assert!(!is_about_ids(&lines("make: *** [all] Error 2")) && !is_about_ids(&[]));
        let failed = |what: &str| exec_hint(&ExecFailure::Other(what.to_owned()));
        assert!(failed("change directory to /x: ENOENT").is_some_and(|hint| hint.contains("workdir")));
        assert!(failed("execute /bin/x: EIO").is_none());
        assert!(exec_hint(&ExecFailure::NotFound("x".to_owned())).is_some_and(|hint| hint.contains("tree")));
    }
}
