//! What `apply` told while it went on, as its JSON events.

use super::{Output, Project};
use rbuild::report::{Event, Outcome};
use std::ffi::{OsStr, OsString};

/// One `rbuild apply --progress json`.
pub struct Build {
    /// The events stand in its standard output.
    pub output: Output,
    events: Vec<Event>,
}

/// How a node failed.
#[derive(Debug)]
pub struct Failed<'a> {
    /// What `rbuild explain` knows.
    pub code: &'a str,
    pub message: &'a str,
    pub hints: &'a [String],
    pub last_lines: &'a [String],
}

impl Project {
    /// Applies, whatever comes of it.
    pub fn apply<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Build {
        let mut line: Vec<OsString> = ["apply", "--progress", "json"].map(OsString::from).to_vec();
        line.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        Build::read(self.rbuild(line))
    }

    /// Applies all targets; the test fails unless they are made.
    #[track_caller]
    pub fn build(&self) -> Build {
        self.apply::<&str>([]).success()
    }
}

impl Build {
    /// What a command with `--progress json` wrote. A last line that a killed one left half is no event.
    pub fn read(output: Output) -> Self {
        let whole = output.stdout.lines().filter(|line| line.ends_with('}'));
        let events =
            whole.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        Self { events: events.collect(), output }
    }

    /// Fails the test unless every target was made.
    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.output.code, Some(0), "{}", self.output);
        self
    }

    /// Fails the test unless it ended with this code.
    #[track_caller]
    pub fn failure(self, code: i32) -> Self {
        assert_eq!(self.output.code, Some(code), "{}", self.output);
        self
    }

    /// Steps and tests that were made now, by name.
    pub fn ran(&self) -> Vec<&str> {
        self.finished(Outcome::Ran)
    }

    /// Steps and tests that were known, by name.
    pub fn cached(&self) -> Vec<&str> {
        self.finished(Outcome::Cached)
    }

    /// Blobs that came or went, by what they were for; those that were told to be all there.
    pub fn transfers(&self) -> Vec<(&str, usize)> {
        let ended = self.events.iter().filter_map(|event| match event {
            Event::Transfer { what, blobs, total_blobs, bytes, total_bytes, finished: true, .. } => {
                assert_eq!((blobs, bytes), (total_blobs, total_bytes), "all of it");
                Some((what.as_str(), *blobs))
            }
            _ => None,
        });
        ended.collect()
    }

    fn finished(&self, wanted: Outcome) -> Vec<&str> {
        self.named(|event| match event {
            Event::Finished { node, outcome, .. } if *outcome == wanted => Some(node),
            _ => None,
        })
    }

    /// Nodes that were not reached, by name.
    pub fn skipped(&self) -> Vec<&str> {
        self.named(|event| match event {
            Event::Skipped { node, interrupted: false } => Some(node),
            _ => None,
        })
    }

    /// Steps and tests that were ended while they ran, by name.
    pub fn interrupted(&self) -> Vec<&str> {
        self.named(|event| match event {
            Event::Skipped { node, interrupted: true } => Some(node),
            _ => None,
        })
    }

    fn named<'a>(&'a self, of: impl Fn(&'a Event) -> Option<&'a String>) -> Vec<&'a str> {
        let is_run = |node: &&str| node.starts_with("step.") || node.starts_with("test.");
        let mut names: Vec<&str> =
            self.events.iter().filter_map(|event| of(event).map(String::as_str)).filter(is_run).collect();
        names.sort_unstable();
        names
    }

    /// Why a node ran; empty if it did not.
    pub fn why(&self, name: &str) -> &str {
        let mut why = self.events.iter().filter_map(|event| match event {
            Event::Started { node, why } if node == name => Some(why.as_str()),
            _ => None,
        });
        why.next().unwrap_or_default()
    }

    /// What a node printed.
    pub fn lines(&self, name: &str) -> Vec<&str> {
        let lines = self.events.iter().filter_map(|event| match event {
            Event::Output { node, line } if node == name => Some(line.as_str()),
            _ => None,
        });
        lines.collect()
    }

    /// What was warned of.
    pub fn warnings(&self) -> Vec<&str> {
        let warnings = self.events.iter().filter_map(|event| match event {
            Event::Warning { message, .. } => Some(message.as_str()),
            _ => None,
        });
        warnings.collect()
    }

    /// How a node failed.
    #[track_caller]
    pub fn failed(&self, name: &str) -> Failed<'_> {
        let mut failed = self.events.iter().filter_map(|event| match event {
            Event::Failed { node, code, message, hints, last_lines, .. } if node == name => {
                let code = code.as_deref().unwrap_or_default();
                Some(Failed { code, message, hints, last_lines })
            }
            _ => None,
        });
        failed.next().unwrap_or_else(|| panic!("{name} did not fail: {}", self.output))
    }

    /// The digest of an image's manifest, with its algorithm.
    #[track_caller]
    pub fn digest(&self, image: &str) -> &str {
        let mut digests = self.events.iter().filter_map(|event| match event {
            Event::Image { name, digest, .. } if name == image => Some(digest.as_str()),
            _ => None,
        });
        digests.next().unwrap_or_else(|| panic!("no image {image}: {}", self.output))
    }
}
