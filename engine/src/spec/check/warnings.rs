//! What is suspicious and still allowed.

use crate::spec::{
    Diagnostic, Kind, Spec,
    lower::{Declared, read::Sink},
    types::{Body, Copy, Spanned, Subject},
};
use std::collections::BTreeSet;

/// Tells all of it. `mentions` are texts that could be names for some value of a variable.
pub fn check(spec: &Spec, declared: &Declared, mentions: &BTreeSet<String>, sink: &mut Sink) {
    unused(spec, declared, mentions, sink);
    let steps = spec.steps.values().map(|step| ("step", &step.name, &step.body));
    let tests = spec.tests.values().map(|test| ("test", &test.name, &test.body));
    for (kind, name, body) in steps.chain(tests) {
        network_open(kind, name, body, sink);
        body.copy.iter().for_each(|copy| copy_nests(copy, sink));
    }
}

/// Sources and steps that nothing refers to.
fn unused(spec: &Spec, declared: &Declared, mentions: &BTreeSet<String>, sink: &mut Sink) {
    let used = used(spec);
    for kind in [Kind::Source, Kind::Step] {
        for name in declared.names(kind) {
            let is_used = used.contains(name) || mentions.iter().any(|text| mentioned(text, name));
            if let Some(span) = declared.place(kind, name).filter(|_| !is_used) {
                let message = format!("{kind} `{name}` is not used");
                sink.push(Diagnostic::warning("unused", message).at(span, ""));
            }
        }
    }
}

/// `name`, `name:/sub`, `step.name`.
fn mentioned(text: &str, name: &str) -> bool {
    let text = text.split(':').next().unwrap_or_default();
    text == name || text.strip_prefix("step.") == Some(name)
}

fn used(spec: &Spec) -> BTreeSet<&str> {
    let steps = spec.steps.values().flat_map(|step| step.references());
    let tests = spec.tests.values().flat_map(|test| {
        let subject = match &test.subject {
            Subject::From(reference) => Some(reference),
            Subject::Image(_) => None,
        };
        test.body.references().into_iter().chain(subject)
    });
    let images = spec.images.values().map(|image| &image.from);
    let artifacts = spec.artifacts.values().map(|artifact| &artifact.from);
    let trees = steps.chain(tests).chain(images).chain(artifacts).map(|reference| reference.name.as_str());
    let targets = spec.default.iter().flatten().map(|target| target.strip_prefix("step.").unwrap_or(target));
    trees.chain(targets).collect()
}

/// What is fetched once and never again, without a word that this is meant.
fn network_open(kind: &str, name: &Spanned<String>, body: &Body, sink: &mut Sink) {
    if body.network.is_open() && body.rerun_after.is_none() && body.run.is_some() {
        let message = format!("{kind} `{name}` reaches the network and has no `rerun-after`");
        let diagnostic = Diagnostic::warning("network-open", message).at(name.span, "");
        sink.push(
            diagnostic.help("what it fetches stays as it was at the first run; say `rerun-after = \"7d\"`"),
        );
    }
}

/// `/a/x` into `/b/x/` gives `/b/x/x`.
fn copy_nests(copy: &Copy, sink: &mut Sink) {
    let [src] = copy.src.as_slice() else { return };
    let name = src.pattern.rsplit('/').next().unwrap_or_default();
    let same = copy.dest.path.name() == Some(name.as_bytes());
    if src.literal && !src.content && copy.dest.directory && !copy.parents && same {
        let target = format!("{}/{name}", copy.dest.path);
        let message = format!("this makes `{target}`, a directory inside its namesake");
        let diagnostic = Diagnostic::warning("copy-nests", message).at(copy.dest.span, "").at(src.span, "");
        sink.push(
            diagnostic.help(format!("for the content of a directory write dest = \"{}\"", copy.dest.path)),
        );
    }
}
