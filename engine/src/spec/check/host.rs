//! What stands on this machine's files can't become an image, nor be merged: nobody knows all of it.

use crate::spec::{
    Diagnostic, Spanned, Spec,
    lower::read::Sink,
    types::{Base, SourceKind},
    words::Reference,
};

/// Tells images and merges of trees that stand on a `host` source.
pub fn check(spec: &Spec, sink: &mut Sink) {
    for image in spec.images.values() {
        let what = "can't become an image";
        sink.extend(refusal(spec, &image.from, what));
    }
    for step in spec.steps.values() {
        if let Base::Merge(merge) = &step.base {
            let branches = merge.branches.iter().chain(&merge.base);
            sink.extend(branches.filter_map(|branch| refusal(spec, branch, "can't be merged")));
        }
    }
}

fn refusal(spec: &Spec, tree: &Spanned<Reference>, what: &str) -> Option<Diagnostic> {
    let host = spec.sources.get(stands_on_host(spec, &tree.name)?)?;
    let message = format!("`{tree}` {what}: it stands on this machine's files");
    let diagnostic =
        Diagnostic::error("bad-value", message).at(tree.span, "").at(host.name.span, "this machine's files");
    Some(diagnostic.help("copy what is needed into a step that starts from `scratch`"))
}

/// The `host` source that a tree stands on along `from`.
fn stands_on_host<'a>(spec: &'a Spec, name: &'a str) -> Option<&'a str> {
    let mut name = name;
    // As many turns as there are steps: a cycle is told elsewhere.
    for _ in 0..=spec.steps.len() {
        if let Some(source) = spec.sources.get(name) {
            return matches!(source.kind, SourceKind::Host(_)).then_some(name);
        }
        match &spec.steps.get(name)?.base {
            Base::From(reference) => name = &reference.name,
            Base::Merge(_) => return None,
        }
    }
    None
}
