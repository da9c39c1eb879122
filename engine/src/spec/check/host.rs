//! What can't be done with this machine's files, since nobody knows all of them: they can't become an image nor be
//! merged, only what a command changed over them can be copied, and only a command can change them.

use crate::spec::{
    Diagnostic, Span, Spanned, Spec,
    lower::read::Sink,
    types::{Base, Body, SourceKind, Subject},
    words::{Reference, Refusal},
};

const COPY_INSTEAD: &str = "copy what is needed into a step that starts from `scratch`";

/// Tells every use of trees that stand on a `host` source that can't succeed.
pub fn check(spec: &Spec, sink: &mut Sink) {
    for image in spec.images.values() {
        sink.extend(refusal(spec, &image.from, "can't become an image", COPY_INSTEAD));
    }
    for step in spec.steps.values() {
        match &step.base {
            Base::From(from) => over_host(spec, from, &step.body, sink),
            Base::Merge(merge) => {
                let branches = merge.branches.iter().chain(&merge.base);
                sink.extend(
                    branches.filter_map(|branch| refusal(spec, branch, "can't be merged", COPY_INSTEAD)),
                );
            }
        }
        step.body.references().into_iter().for_each(|reference| taken(spec, reference, sink));
    }
    for test in spec.tests.values() {
        if let Subject::From(from) = &test.subject {
            over_host(spec, from, &test.body, sink);
        }
        test.body.references().into_iter().for_each(|reference| taken(spec, reference, sink));
    }
    for artifact in spec.artifacts.values() {
        taken(spec, &artifact.from, sink);
    }
}

/// Of a step over this machine's files what its command changed can be taken, of the files themselves nothing.
fn taken(spec: &Spec, tree: &Spanned<Reference>, sink: &mut Sink) {
    let changed = chain(spec, &tree.name).any(|name| {
        spec.steps
            .get(name)
            .is_some_and(|step| step.body.run.is_some() || matches!(step.base, Base::Merge(_)))
    });
    if !changed {
        let help =
            "use a `path` source for local files, or take from a step whose `run` makes what is needed";
        sink.extend(refusal(spec, tree, "has nothing to take", help));
    }
}

/// Tells what a step or test over this machine's files does without a command, and a part of them as its root.
fn over_host(spec: &Spec, from: &Spanned<Reference>, body: &Body, sink: &mut Sink) {
    if !from.path.is_root() {
        let help = "name the folder in the `host` of the source";
        sink.extend(refusal(spec, from, "can't be a root of its own", help));
    }
    if stands_on_host(spec, &from.name).is_none() {
        return;
    }
    for (word, span) in tree_operations(body) {
        let refusal = Refusal::not_yet(&format!("`{word}` over a `host` source"));
        let help = "do it in `run`, or in a later step over a tree of its own";
        sink.push(Diagnostic::refused(refusal.help(help), span));
    }
}

/// The fields that change a tree without a command, with the place of their first line.
fn tree_operations(body: &Body) -> impl Iterator<Item = (&'static str, Span)> {
    let Body { groups, users, dirs, copy, files, links, attrs, remove, .. } = body;
    [
        ("groups", groups.first().map(|one| one.name.span)),
        ("users", users.first().map(|one| one.name.span)),
        ("dirs", dirs.first().map(|one| one.path.span)),
        ("copy", copy.first().map(|one| one.from.span)),
        ("files", files.first().map(|one| one.path.span)),
        ("links", links.first().map(|one| one.path.span)),
        ("attrs", attrs.first().map(|one| one.path.span)),
        ("remove", remove.first().map(|one| one.span)),
    ]
    .into_iter()
    .filter_map(|(word, span)| Some((word, span?)))
}

fn refusal(spec: &Spec, tree: &Spanned<Reference>, what: &str, help: &str) -> Option<Diagnostic> {
    let host = spec.sources.get(stands_on_host(spec, &tree.name)?)?;
    let message = format!("`{}` {what}: it stands on this machine's files", tree.value);
    let diagnostic =
        Diagnostic::error("bad-value", message).at(tree.span, "").at(host.name.span, "this machine's files");
    Some(diagnostic.help(help))
}

/// The `host` source that a tree stands on along `from`.
fn stands_on_host<'a>(spec: &'a Spec, name: &'a str) -> Option<&'a str> {
    let bottom = chain(spec, name).last()?;
    matches!(spec.sources.get(bottom)?.kind, SourceKind::Host(_)).then_some(bottom)
}

/// A tree and those it stands on along `from`, down to a source or a merge.
fn chain<'a>(spec: &'a Spec, name: &'a str) -> impl Iterator<Item = &'a str> {
    let below = |name: &&'a str| match &spec.steps.get(*name)?.base {
        Base::From(reference) => Some(reference.name.as_str()),
        Base::Merge(_) => None,
    };
    // As many as there are steps: a cycle is told elsewhere.
    std::iter::successors(Some(name), below).take(spec.steps.len() + 1)
}
