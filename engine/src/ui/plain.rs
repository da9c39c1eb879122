//! Events to lines: the reporter for logs, pipes and, for now, terminals.
//!
//! ```text
//! build.toml: 7 nodes, 2 jobs, store /home/u/.local/share/rbuild
//! [os] cached
//! [toolchain] runs: no record of it yet
//! [toolchain] Get:1 http://…
//! [toolchain] still running, 30s
//! [toolchain] done in 45.2s
//! ```
//!
//! One line an event, each with its step in front, since lines of several steps mix. Each warning stands once. The end
//! of the build is told by [`Summary`].
//!
//! A pure state machine: it does no I/O, and time is an argument (since the build began), so tests need no clock.

use super::{progress::Options, shell::Shell, summary::Summary, text};
use rbuild::report::{self, Direction, Event, Outcome};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

/// A step that is silent so long is said to be still running; then again each time it has run twice as long …
const FIRST_SIGN: Duration = Duration::from_secs(30);
/// … but at least so often: many CI services end a job that says nothing for ten minutes.
const RAREST_SIGN: Duration = Duration::from_secs(300);
/// How far a transfer is, is told so often.
const TRANSFER_SIGN: Duration = Duration::from_secs(5);

/// The state between two events.
#[derive(Debug)]
pub struct Plain {
    shell: Shell,
    running: BTreeMap<String, Running>,
    /// When a transfer was told last.
    transfers: BTreeMap<String, Duration>,
    warned: BTreeSet<String>,
    summary: Summary,
}

/// A node that is being made.
#[derive(Debug)]
struct Running {
    since: Duration,
    /// How long it will have run when it is told next that it still does.
    next_sign: Duration,
}

impl Plain {
    /// At the beginning of a build.
    pub fn new(shell: Shell, options: Options) -> Self {
        Self {
            shell,
            running: BTreeMap::new(),
            transfers: BTreeMap::new(),
            warned: BTreeSet::new(),
            summary: Summary::new(shell, options),
        }
    }

    /// What is to be written for an event, with line ends; may be nothing.
    pub fn event(&mut self, now: Duration, event: &Event) -> String {
        self.summary.keep(event);
        match event {
            Event::BuildStarted { file, nodes, jobs, store } => {
                format!(
                    "{file}: {}, {}, store {store}\n",
                    text::count(*nodes, "node"),
                    text::count(*jobs, "job")
                )
            }
            Event::Started { node, why } => {
                self.running.insert(node.clone(), Running { since: now, next_sign: FIRST_SIGN });
                tagged(node, &format!("runs: {why}"))
            }
            Event::Output { node, line } => tagged(node, line),
            Event::Finished { node, outcome, duration } => {
                self.running.remove(node);
                tagged(node, &finished(*outcome, *duration))
            }
            Event::Failed { node, message, duration: milliseconds, .. } => {
                self.running.remove(node);
                let time = report::duration(Duration::from_millis(*milliseconds));
                tagged(node, &format!("failed after {time}: {message}"))
            }
            Event::Skipped { node, interrupted } => {
                self.running.remove(node);
                tagged(node, if *interrupted { "interrupted" } else { "not reached" })
            }
            Event::Warning { code, node, message } => {
                let line = self.shell.warning(code.as_deref(), node.as_deref(), message);
                if self.warned.insert(line.clone()) { line } else { String::new() }
            }
            Event::Transfer { what, finished, .. } => {
                if self.is_transfer_due(now, what, *finished) {
                    tagged(what, &transfer(event))
                } else {
                    String::new()
                }
            }
            // The commands that copy say it on the standard output.
            Event::Copied(_) => String::new(),
            Event::Image { name, digest, layers, .. } => {
                let bytes = layers.iter().map(|layer| layer.size).sum();
                let layers = text::count(layers.len(), "layer");
                tagged(&format!("image.{name}"), &format!("is {digest}, {layers}, {}", text::size(bytes)))
            }
            Event::Artifact { name, path, files } => {
                let files = usize::try_from(*files).unwrap_or(usize::MAX);
                tagged(&format!("artifact.{name}"), &format!("is {path}, {}", text::count(files, "file")))
            }
            Event::BuildFinished { .. } => {
                self.running.clear();
                self.summary.render(event)
            }
        }
    }

    /// The end of a transfer is told, and now and then how far it is.
    fn is_transfer_due(&mut self, now: Duration, what: &str, finished: bool) -> bool {
        if finished {
            self.transfers.remove(what);
            return true;
        }
        let told = self.transfers.entry(what.to_owned()).or_insert(now);
        let is_due = now.saturating_sub(*told) >= TRANSFER_SIGN;
        if is_due {
            *told = now;
        }
        is_due
    }

    /// When something is to be said even if no event comes.
    pub fn next_sign(&self) -> Option<Duration> {
        self.running.values().map(|running| running.since + running.next_sign).min()
    }

    /// What is to be said at this time though no event came.
    pub fn signs(&mut self, now: Duration) -> String {
        let mut lines = String::new();
        for (node, running) in &mut self.running {
            let elapsed = now.saturating_sub(running.since);
            if elapsed < running.next_sign {
                continue;
            }
            lines += &tagged(node, &format!("still running, {}", report::duration(elapsed)));
            while running.next_sign <= elapsed {
                running.next_sign += running.next_sign.min(RAREST_SIGN);
            }
        }
        lines
    }

    /// What failed, told whole, if the build ended without saying so.
    pub fn untold_failures(&mut self) -> String {
        self.summary.failures()
    }

    /// Whether a failure of this message was reported.
    pub fn has_failure(&self, message: &str) -> bool {
        self.summary.has_failure(message)
    }
}

/// A step by its name, everything else by kind and name.
fn tagged(node: &str, line: &str) -> String {
    let name = node.strip_prefix("step.").unwrap_or(node);
    let mut tagged = String::new();
    for line in line.split('\n') {
        let line = text::line(line);
        let space = if line.is_empty() { "" } else { " " };
        // Writing to a string can't fail.
        let _ = writeln!(tagged, "[{name}]{space}{line}");
    }
    tagged
}

fn transfer(event: &Event) -> String {
    let Event::Transfer {
        direction, bytes, total_bytes, blobs, total_blobs, rate, duration, finished, ..
    } = event
    else {
        return String::new();
    };
    let (bytes, rate) = (text::size(*bytes), text::size(*rate));
    if !finished {
        return format!(
            "{bytes} of {}, {blobs} of {}, {rate}/s",
            text::size(*total_bytes),
            text::count(*total_blobs, "blob")
        );
    }
    let done = match direction {
        Direction::Pull => "pulled",
        Direction::Push => "pushed",
    };
    let time = report::duration(Duration::from_millis(*duration));
    format!("{done} {}, {bytes} in {time}, {rate}/s", text::count(*total_blobs, "blob"))
}

fn finished(outcome: Outcome, milliseconds: u64) -> String {
    match outcome {
        Outcome::Cached => "cached".to_owned(),
        Outcome::Ran => format!("done in {}", report::duration(Duration::from_millis(milliseconds))),
    }
}

#[cfg(test)]
mod tests;
