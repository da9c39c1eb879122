//! The end of a build: how much ran, what was made, where it is, how to look at it; or what failed, told whole.
//!
//! ```text
//! built in 12.3s: 3 ran, 4 cached
//!
//! image.shop sha256:…
//!   tags     shop:dev
//!   layers   2, 45.9 MiB
//!            45.0 MiB  999999999999  base
//!               912 B  aaaaaaaaaaaa  runtime
//!   written  oci dist/shop:dev
//!   look     rbuild inspect image.shop
//!            skopeo inspect oci:dist/shop:dev
//! artifact.jar dist/shop.jar, 1 file
//! ```
//!
//! Failures come last, where a reader of a long log looks first, each with its causes, its last lines and hints.

use super::{
    progress::Options,
    shell::{Failure, Shell},
    text,
};
use rbuild::report::{self, Event, Layer, Written};
use std::{collections::BTreeMap, fmt::Write, path::Path, time::Duration};

/// What of a build is told at its end.
#[derive(Debug)]
pub struct Summary {
    shell: Shell,
    options: Options,
    /// Images and artifacts, by kind and name: the order does not depend on which was ready first.
    made: BTreeMap<String, Event>,
    failures: Vec<Event>,
    /// How many of them were told whole.
    told: usize,
}

impl Summary {
    /// Of a build that begins.
    pub fn new(shell: Shell, options: Options) -> Self {
        Self { shell, options, made: BTreeMap::new(), failures: Vec::new(), told: 0 }
    }

    /// Takes note of an event.
    pub fn keep(&mut self, event: &Event) {
        match event {
            Event::Image { name, .. } => drop(self.made.insert(format!("image.{name}"), event.clone())),
            Event::Artifact { name, .. } => drop(self.made.insert(format!("artifact.{name}"), event.clone())),
            Event::Failed { .. } => self.failures.push(event.clone()),
            _ => {}
        }
    }

    /// Whether a failure of this message was noted.
    pub fn has_failure(&self, message: &str) -> bool {
        self.failures
            .iter()
            .any(|event| matches!(event, Event::Failed { message: known, .. } if known == message))
    }

    /// The summary; `event` is the last one.
    pub fn render(&mut self, event: &Event) -> String {
        let Event::BuildFinished { success, .. } = event else { return String::new() };
        let (totals, made) = (totals(event), self.made());
        let gap = if made.is_empty() { "" } else { "\n" };
        if *success {
            return format!("\n{totals}{gap}{made}");
        }
        let failures = self.failures();
        // Without one the build was stopped by something else, which is told next.
        let end = if failures.is_empty() { "\n" } else { &failures };
        format!("{gap}{made}\n{totals}{end}")
    }

    /// The failures that were not told whole so far.
    pub fn failures(&mut self) -> String {
        let mut rendered = String::new();
        for event in &self.failures[self.told..] {
            if let Event::Failed { node, code, message, causes, hints, last_lines, .. } = event {
                let (node, code) = (Some(node.as_str()), code.as_deref());
                rendered += "\n";
                rendered += &self.shell.failure(&Failure { node, code, message, causes, last_lines });
                let hints: Vec<String> = hints
                    .iter()
                    .cloned()
                    .chain(self.log_hint(node.unwrap_or_default(), last_lines))
                    .collect();
                let hints = self.shell.hints(&hints, code);
                if !hints.is_empty() {
                    rendered += "\n";
                    rendered += &hints;
                }
            }
        }
        self.told = self.failures.len();
        rendered
    }

    fn made(&self) -> String {
        // Images first: they are what the build is for.
        let (images, artifacts): (Vec<&Event>, Vec<&Event>) =
            self.made.values().partition(|event| matches!(event, Event::Image { .. }));
        images.into_iter().chain(artifacts).map(|event| self.one_made(event)).collect()
    }

    fn one_made(&self, event: &Event) -> String {
        match event {
            Event::Image { name, digest, tags, layers, outputs } => {
                let mut rendered = format!("image.{name} {digest}\n");
                rendered += &block("tags", &[tags.join(", ")]);
                rendered += &block("layers", &layer_lines(layers, self.options.verbose));
                rendered += &block(
                    "written",
                    &outputs.iter().map(|output| self.written_line(output)).collect::<Vec<_>>(),
                );
                rendered + &block("look", &self.look(name, tags, outputs))
            }
            Event::Artifact { name, path, files } => {
                let files = usize::try_from(*files).unwrap_or(usize::MAX);
                format!("artifact.{name} {}, {}\n", text::line(self.shown(path)), text::count(files, "file"))
            }
            _ => String::new(),
        }
    }

    /// Commands that show the image; one for each place it was written to.
    fn look(&self, name: &str, tags: &[String], outputs: &[Written]) -> Vec<String> {
        let mut commands = vec![self.command("inspect", &format!("image.{name}"))];
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for output in outputs {
            // A layout has one line even if several tags were written to it.
            if !seen.contains(&(&output.kind, &output.path)) {
                seen.push((&output.kind, &output.path));
                commands.extend(look_command(output, tags, self.shown(&output.path)));
            }
        }
        commands
    }

    /// A command that looks at a node of this build, from the current folder.
    fn command(&self, word: &str, node: &str) -> String {
        let mut command = format!("rbuild {word}");
        for (option, path) in [("-f", &self.options.file), ("--store", &self.options.store)] {
            if let Some(path) = path {
                // Writing to a string can't fail.
                let _ = write!(command, " {option} {}", text::quote(&path.to_string_lossy()));
            }
        }
        format!("{command} {node}")
    }

    /// Where the rest is of what a command printed; nothing if it printed nothing.
    fn log_hint(&self, node: &str, last_lines: &[String]) -> Option<String> {
        let name = node.strip_prefix("step.").unwrap_or(node);
        (!last_lines.is_empty()).then(|| format!("the whole log: {}", self.command("logs", name)))
    }

    fn written_line(&self, output: &Written) -> String {
        let reference =
            output.reference.as_ref().map(|reference| format!(":{reference}")).unwrap_or_default();
        format!("{} {}{reference}", output.kind, text::line(self.shown(&output.path)))
    }

    /// A path as it is named in the current folder.
    fn shown<'a>(&self, path: &'a str) -> &'a str {
        let here = self.options.here.as_deref();
        let relative = here.and_then(|here| Path::new(path).strip_prefix(here).ok()?.to_str());
        relative.filter(|relative| !relative.is_empty()).unwrap_or(path)
    }
}

fn look_command(output: &Written, tags: &[String], path: &str) -> Option<String> {
    match output.kind.as_str() {
        "oci" | "oci-archive" => {
            // An archive has a name for each tag, and of several skopeo wants to be told one.
            let first = tags.first().filter(|_| tags.len() > 1).and_then(|tag| Some(tag.rsplit_once(':')?.1));
            let reference = output.reference.as_deref().or(first);
            let reference = reference.map(|reference| format!(":{reference}")).unwrap_or_default();
            let place = text::quote(&format!("{}:{path}{reference}", output.kind));
            Some(format!("skopeo inspect {place}"))
        }
        "docker-archive" => Some(format!("docker load -i {}", text::quote(path))),
        "tar" => Some(format!("tar -tvf {}", text::quote(path))),
        "dir" => Some(format!("ls -l {}", text::quote(path))),
        "docker" | "podman" => Some(format!("{} image inspect {}", output.kind, text::quote(path))),
        "push" => Some(format!("skopeo inspect {}", text::quote(&format!("docker://{path}")))),
        _ => None,
    }
}

/// The number and size of all, then a line each, from the base up; digests are cut unless `whole`.
fn layer_lines(layers: &[Layer], whole: bool) -> Vec<String> {
    let bytes = layers.iter().map(|layer| layer.size).sum();
    let sizes: Vec<String> = layers.iter().map(|layer| text::size(layer.size)).collect();
    let width = sizes.iter().map(String::len).max().unwrap_or(0);
    let mut lines = vec![format!("{}, {}", layers.len(), text::size(bytes))];
    for (layer, size) in layers.iter().zip(&sizes) {
        let digest = layer.digest.strip_prefix("sha256:").unwrap_or(&layer.digest);
        let digest = if whole { &layer.digest } else { digest.get(..12).unwrap_or(digest) };
        lines.push(format!("{size:>width$}  {digest}  {}", layer.made_by));
    }
    lines
}

/// Lines under a word; nothing if they are empty.
fn block(word: &str, lines: &[String]) -> String {
    let mut rendered = String::new();
    for (number, line) in lines.iter().filter(|line| !line.is_empty()).enumerate() {
        let word = if number == 0 { word } else { "" };
        // Writing to a string can't fail.
        let _ = writeln!(rendered, "  {word:<8} {line}");
    }
    rendered
}

/// `built in 12.3s: 3 ran, 4 cached`
fn totals(event: &Event) -> String {
    let Event::BuildFinished { success, ran, cached, failed, skipped, interrupted, duration } = event else {
        return String::new();
    };
    let word = if *success { "built" } else { "failed" };
    let mut totals = format!(
        "{word} in {}: {ran} ran, {cached} cached",
        report::duration(Duration::from_millis(*duration))
    );
    for (number, word) in [(failed, "failed"), (interrupted, "interrupted"), (skipped, "not reached")] {
        if *number > 0 {
            // Writing to a string can't fail.
            let _ = write!(totals, ", {number} {word}");
        }
    }
    totals + "\n"
}
