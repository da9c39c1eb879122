//! Events as data: one JSON object a line on the standard output, as `schemas/events.schema.json` says.
//!
//! Lines of one process are whole and in the order of the events. A reader that went away is noticed and then nothing
//! is written any more; the build goes on.

use super::text;
use rbuild::report::{Event, Reporter};
use std::{
    io::Write,
    sync::{Mutex, PoisonError},
};

/// Writes events to `W`.
pub struct Json<W>(Mutex<Option<W>>);

impl<W: Write + Send> Json<W> {
    /// To this writer.
    pub fn new(output: W) -> Self {
        Self(Mutex::new(Some(output)))
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn report(&self, event: &Event) {
        let mut line = match event {
            Event::Output { node, line } => {
                encode(&Event::Output { node: node.clone(), line: text::line(line) })
            }
            other => encode(other),
        };
        line.push(b'\n');
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = output.as_mut().map(|output| output.write_all(&line).and_then(|()| output.flush()));
        if let Some(Err(_)) = written {
            *output = None;
        }
    }
}

fn encode(event: &Event) -> Vec<u8> {
    // Structs of strings, numbers and lists can always be written.
    serde_json::to_vec(event).unwrap_or_default()
}

/// The JSON Schema of one line.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Event).to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("title".to_owned(), "rbuild event".into());
        schema.insert("description".to_owned(), "One line of `--progress json`.".into());
    }
    schema
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rbuild::report::{Copied, Direction, Outcome};
    use std::io;

    /// Takes so many writes, then refuses.
    struct Narrow {
        taken: Vec<u8>,
        left: usize,
    }

    impl Write for &mut Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.left == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.left -= 1;
            self.taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn events() -> Vec<Event> {
        let node = || "step.jar".to_owned();
        vec![
            Event::BuildStarted { file: "build.toml".into(), nodes: 1, jobs: 2, store: "/s".into() },
            Event::Started { node: node(), why: "no record".into() },
            Event::Output { node: node(), line: "\u{1b}[1mbold\u{1b}[0m \"x\"".into() },
            Event::Warning { code: None, node: None, message: "w".into() },
            Event::Failed {
                node: node(),
                code: Some("step-failed".into()),
                message: "m".into(),
                causes: vec!["c".into()],
                hints: vec![],
                last_lines: vec![],
                duration: 1,
            },
            Event::Finished { node: node(), outcome: Outcome::Ran, duration: 7 },
            Event::Transfer {
                what: "source.base".into(),
                direction: Direction::Pull,
                bytes: 1,
                total_bytes: 2,
                blobs: 0,
                total_blobs: 1,
                rate: 1,
                duration: 1,
                finished: false,
            },
            Event::Copied(Copied { place: "a/b:1".into(), digest: "sha256:0".into(), blobs: 1, present: 0 }),
            Event::Skipped { node: node(), interrupted: true },
            Event::BuildFinished {
                success: false,
                ran: 1,
                cached: 0,
                failed: 1,
                skipped: 0,
                interrupted: 0,
                duration: 9,
            },
        ]
    }

    #[test]
    fn each_event_is_a_line_that_the_schema_takes() {
        let mut narrow = Narrow { taken: Vec::new(), left: usize::MAX };
        let json = Json::new(&mut narrow);
        events().iter().for_each(|event| json.report(event));
        let _ = json;
        let text = String::from_utf8(narrow.taken).unwrap();
        let validator = jsonschema::validator_for(&schema()).unwrap();
        assert_eq!(text.lines().count(), events().len());
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(validator.is_valid(&value), "{line}");
        }
        assert!(text.contains(r#"{"event":"output","node":"step.jar","line":"bold \"x\""}"#), "{text}");
        assert!(
            text.contains(r#"{"event":"finished","node":"step.jar","outcome":"ran","duration":7}"#),
            "{text}"
        );
    }

    #[test]
    fn the_schema_refuses_what_is_no_event() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        for wrong in [
            serde_json::json!({ "event": "exploded" }),
            serde_json::json!({ "event": "skipped" }),
            serde_json::json!({ "event": "finished", "node": "x", "outcome": "maybe", "duration": 1 }),
            serde_json::json!([]),
        ] {
            assert!(!validator.is_valid(&wrong), "{wrong}");
        }
    }

    #[test]
    fn a_reader_that_went_away_ends_the_writing_and_nothing_else() {
        let mut narrow = Narrow { taken: Vec::new(), left: 2 };
        let json = Json::new(&mut narrow);
        events().iter().for_each(|event| json.report(event));
        let _ = json;
        assert_eq!(narrow.taken.iter().filter(|byte| **byte == b'\n').count(), 2);
    }
}
