//! Nodes to the typed model, by hand: one file a table, each with the list of its keys.
//!
//! By hand and not by serde, because derived code stops at the first mistake, loses places inside untagged values and
//! can't say "did you mean" or "not yet in this version". A table that is wrong is left out of the result after its
//! mistakes have been told; [`Declared`] remembers that it is there, so that nobody is told its name is unknown.

mod body;
mod config;
mod copy;
mod entries;
mod epoch;
mod image;
mod limits;
mod mounts;
pub mod read;
mod source;
mod step;
pub mod table;

pub use epoch::{MAX_EPOCH, epoch};

use crate::spec::{
    Diagnostic, Kind, Span, Spanned, Spec,
    value::{Key, Node, Value},
    words::{self, Word},
};
use read::Sink;
use std::collections::BTreeMap;
use table::{Table, Words};

/// The keys of the file itself.
pub const TOP: Words = Words {
    what: "a build file",
    known: &["version", "vars", "default", "epoch", "shell", "source", "step", "test", "image", "artifact"],
    later: &["sets", "secret", "include"],
};

/// The keys of every table, for the schema's test.
#[cfg(test)]
pub const ALL: &[(&str, &Words)] = &[
    ("file", &TOP),
    ("variable", &crate::spec::variables::VARIABLE),
    ("path-source", &source::PATH),
    ("archive-source", &source::ARCHIVE),
    ("oci-source", &source::OCI),
    ("image-source", &source::IMAGE),
    ("host-source", &source::HOST),
    ("step", &step::STEP),
    ("test", &step::TEST),
    ("resolve", &step::RESOLVE),
    ("group", &entries::GROUP),
    ("user", &entries::USER),
    ("dir", &entries::DIRECTORY),
    ("file-text", &entries::FILE),
    ("link", &entries::LINK),
    ("attr", &entries::ATTR),
    ("copy", &copy::COPY),
    ("tree-mount", &mounts::TREE),
    ("cache-mount", &mounts::CACHE),
    ("tmpfs-mount", &mounts::TMPFS),
    ("limits", &limits::LIMITS),
    ("config", &config::CONFIG),
    ("healthcheck", &config::HEALTHCHECK),
    ("image", &image::IMAGE),
    ("output", &image::OUTPUT),
    ("artifact", &image::ARTIFACT),
];

/// The only version of the format.
const VERSION: i64 = 1;
const SHELL: [&str; 3] = ["/bin/sh", "-eu", "-c"];

/// The tables that are there, right or wrong, with the places of their names.
#[derive(Debug, Default)]
pub struct Declared {
    names: BTreeMap<Kind, BTreeMap<String, Span>>,
}

impl Declared {
    /// Where a table is named.
    pub fn place(&self, kind: Kind, name: &str) -> Option<Span> {
        self.names.get(&kind)?.get(name).copied()
    }

    /// The names of one kind, sorted.
    pub fn names(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.names.get(&kind).into_iter().flat_map(|names| names.keys().map(String::as_str))
    }
}

/// Reads a whole file whose variables have been replaced.
pub fn file(root: &Node, sink: &mut Sink) -> (Spec, Declared) {
    let mut declared = Declared::default();
    let mut spec = Spec {
        default: None,
        epoch: None,
        shell: SHELL.map(str::to_owned).to_vec(),
        sources: BTreeMap::new(),
        steps: BTreeMap::new(),
        tests: BTreeMap::new(),
        images: BTreeMap::new(),
        artifacts: BTreeMap::new(),
    };
    let start = Span::new(root.span.file, 0, 0);
    let Some(table) = Table::open(root, start, &TOP, sink) else { return (spec, declared) };
    table.required("version", sink, version);
    spec.epoch = table.optional("epoch", sink, epoch);
    spec.default = table.get("default").map(|node| read::strings(node, sink));
    spec.shell = table.optional("shell", sink, body::shell).unwrap_or(spec.shell);
    spec.sources = tables(&table, Kind::Source, &mut declared, sink, source::source);
    spec.steps = tables(&table, Kind::Step, &mut declared, sink, step::step);
    spec.tests = tables(&table, Kind::Test, &mut declared, sink, step::test);
    spec.images = tables(&table, Kind::Image, &mut declared, sink, image::image);
    spec.artifacts = tables(&table, Kind::Artifact, &mut declared, sink, image::artifact);
    tell_shared_names(&declared, sink);
    (spec, declared)
}

fn version(node: &Node, sink: &mut Sink) -> Option<()> {
    match node.value {
        Value::Integer(VERSION) => {}
        Value::Integer(other) => {
            let message = format!("version {other} of the format is not known: this is version {VERSION}");
            read::bad(message, node.span, sink);
        }
        _ => read::wrong_type(node, "an integer", sink),
    }
    Some(())
}

/// A table of named tables.
fn tables<T>(
    top: &Table<'_>,
    kind: Kind,
    declared: &mut Declared,
    sink: &mut Sink,
    read: fn(&Key, &Node, &mut Sink) -> Option<T>,
) -> BTreeMap<String, T> {
    let mut found = BTreeMap::new();
    let Some(node) = top.get(kind.word()) else { return found };
    if !matches!(node.value, Value::Map(_)) {
        read::wrong_type(node, "a table of named tables", sink);
    }
    let is_tree = matches!(kind, Kind::Source | Kind::Step);
    let check: fn(&str) -> Word<()> = if is_tree { source::tree_name } else { words::name };
    for (key, node) in node.entries() {
        if let Err(refusal) = check(&key.text) {
            read::refuse(refusal, key.span, sink);
        }
        declared.names.entry(kind).or_default().insert(key.text.clone(), key.span);
        if let Some(table) = read(key, node, sink) {
            found.insert(key.text.clone(), table);
        }
    }
    found
}

/// Sources and steps share one namespace.
fn tell_shared_names(declared: &Declared, sink: &mut Sink) {
    for name in declared.names(Kind::Step) {
        if let (Some(step), Some(source)) =
            (declared.place(Kind::Step, name), declared.place(Kind::Source, name))
        {
            let message = format!("`{name}` is the name of a source and of a step: they share one namespace");
            sink.push(Diagnostic::error("duplicate-name", message).at(step, "").at(source, "the source"));
        }
    }
}

/// A pattern over the paths of a tree; the text is kept, and will parse again.
fn pattern(node: &Node, sink: &mut Sink) -> Option<Spanned<String>> {
    read::checked(node, |text| words::pattern(text).map(drop), sink)
}
