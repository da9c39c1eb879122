//! Targets: what a person asks for, `name` or `kind.name`.

use super::suggest::nearest;
use super::types::Spec;
use super::words::{Refusal, Word};
use std::fmt;

/// The kinds of table that are nodes of the graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// `[source.NAME]`
    Source,
    /// `[step.NAME]`
    Step,
    /// `[test.NAME]`
    Test,
    /// `[image.NAME]`
    Image,
    /// `[artifact.NAME]`
    Artifact,
}

impl Kind {
    /// All of them, in the order of the flow.
    pub const ALL: [Self; 5] = [Self::Source, Self::Step, Self::Test, Self::Image, Self::Artifact];

    /// Its word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Step => "step",
            Self::Test => "test",
            Self::Image => "image",
            Self::Artifact => "artifact",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One table of the file, as `kind.name`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Target {
    /// Which table of tables.
    pub kind: Kind,
    /// The name in it.
    pub name: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.name)
    }
}

impl Spec {
    /// Whether there is such a table.
    pub fn contains(&self, kind: Kind, name: &str) -> bool {
        match kind {
            Kind::Source => self.sources.contains_key(name),
            Kind::Step => self.steps.contains_key(name),
            Kind::Test => self.tests.contains_key(name),
            Kind::Image => self.images.contains_key(name),
            Kind::Artifact => self.artifacts.contains_key(name),
        }
    }

    /// The names of one kind, sorted.
    pub fn names(&self, kind: Kind) -> Vec<&str> {
        match kind {
            Kind::Source => self.sources.keys().map(String::as_str).collect(),
            Kind::Step => self.steps.keys().map(String::as_str).collect(),
            Kind::Test => self.tests.keys().map(String::as_str).collect(),
            Kind::Image => self.images.keys().map(String::as_str).collect(),
            Kind::Artifact => self.artifacts.keys().map(String::as_str).collect(),
        }
    }

    /// What `text` asks for. Sources are no targets: they are fetched if a target needs them.
    ///
    /// # Errors
    /// `unknown-name` with the nearest name there is; `bad-value` if several kinds have the name.
    pub fn target(&self, text: &str) -> Word<Target> {
        if text.contains('@') {
            return Err(Refusal::not_yet("an instance (`matrix`) as a target"));
        }
        let targets = &Kind::ALL[1..];
        if let Some((word, name)) = text.split_once('.') {
            let kind = targets.iter().copied().find(|kind| kind.word() == word);
            if let Some(kind) = kind.filter(|kind| self.contains(*kind, name)) {
                return Ok(Target { kind, name: name.to_owned() });
            }
            return Err(self.unknown_target(text));
        }
        let found: Vec<Target> = targets
            .iter()
            .filter(|kind| self.contains(**kind, text))
            .map(|kind| Target { kind: *kind, name: text.to_owned() })
            .collect();
        match found.as_slice() {
            [] => Err(self.unknown_target(text)),
            [one] => Ok(one.clone()),
            several => {
                let forms: Vec<String> = several.iter().map(|target| format!("`{target}`")).collect();
                Err(Refusal::bad(format!("`{text}` is the name of several targets"))
                    .help(format!("say {}", forms.join(" or "))))
            }
        }
    }

    fn unknown_target(&self, text: &str) -> Refusal {
        let qualified: Vec<String> = Kind::ALL[1..]
            .iter()
            .flat_map(|kind| self.names(*kind).into_iter().map(move |name| format!("{kind}.{name}")))
            .collect();
        let short = qualified.iter().filter_map(|name| Some(name.split_once('.')?.1));
        let near = nearest(text, short).or_else(|| nearest(text, qualified.iter().map(String::as_str)));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if self.sources.contains_key(text) => {
                "a source is fetched when a target needs it; it is no target itself".to_owned()
            }
            None if qualified.is_empty() => "the file has no targets".to_owned(),
            None => format!("the targets are {}", super::suggest::list(&qualified)),
        };
        Refusal {
            code: "unknown-name",
            reason: format!("`{text}` is not an image, artifact, test or step of this file"),
            help: Some(help),
        }
    }
}
