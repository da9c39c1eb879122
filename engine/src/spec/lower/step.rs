//! `[step.NAME]` and `[test.NAME]`

use super::{
    body::body,
    read::{self, Sink},
    table::{Table, Words},
};
use crate::spec::{
    Diagnostic, Span, Spanned,
    types::{Base, Conflict, Merge, Resolve, Step, Subject, Take, Test},
    value::{Key, Node},
    words::{self, Reference},
};

pub const STEP: Words = Words {
    what: "a step",
    known: &[
        "from",
        "merge",
        "base",
        "conflict",
        "resolve",
        "groups",
        "users",
        "dirs",
        "copy",
        "files",
        "links",
        "attrs",
        "run",
        "remove",
        "env",
        "pass-env",
        "user",
        "workdir",
        "shell",
        "network",
        "mounts",
        "limits",
        "config",
        "rerun-after",
    ],
    later: &["like", "matrix", "matrix-exclude", "reports", "platform"],
};
pub const TEST: Words = Words {
    what: "a test",
    known: &[
        "from",
        "image",
        "expect-exit",
        "groups",
        "users",
        "dirs",
        "copy",
        "files",
        "links",
        "attrs",
        "run",
        "remove",
        "env",
        "pass-env",
        "user",
        "workdir",
        "shell",
        "network",
        "mounts",
        "limits",
        "config",
        "rerun-after",
    ],
    later: STEP.later,
};
pub const RESOLVE: Words = Words { what: "a line of `resolve`", known: &["path", "take"], later: &[] };

/// Reads one step.
pub fn step(key: &Key, node: &Node, sink: &mut Sink) -> Option<Step> {
    let table = Table::open(node, key.span, &STEP, sink)?;
    Some(Step {
        name: Spanned::new(key.text.clone(), key.span),
        description: table.description(),
        base: base(&table, sink),
        body: body(&table, sink),
    })
}

/// Reads one test.
pub fn test(key: &Key, node: &Node, sink: &mut Sink) -> Option<Test> {
    let table = Table::open(node, key.span, &TEST, sink)?;
    table.exclusive(&["from", "image"], sink);
    let body = body(&table, sink);
    let expect_exit = table.optional("expect-exit", sink, |node, sink| read::integer(node, 255, sink));
    let subject = match (table.get("image"), table.get("from")) {
        (Some(image), _) => Subject::Image(read::checked(image, words::name, sink)?),
        (None, Some(from)) => Subject::From(read::word(from, Reference::parse, sink)?),
        (None, None) => {
            let message = "a test needs exactly one of `from` and `image`";
            sink.push(Diagnostic::error("one-of", message).at(table.at, "none is here"));
            return None;
        }
    };
    if body.run.is_none() && matches!(subject, Subject::From(_)) {
        let message = "a test of a tree needs `run`";
        sink.push(Diagnostic::error("missing-field", message).at(table.at, "`run` is missing"));
    }
    Some(Test {
        name: Spanned::new(key.text.clone(), key.span),
        description: table.description(),
        subject,
        body,
        expect_exit: expect_exit.and_then(|code| u8::try_from(code).ok()).unwrap_or(0),
    })
}

fn base(table: &Table<'_>, sink: &mut Sink) -> Base {
    table.exclusive(&["from", "merge"], sink);
    if let Some(node) = table.get("merge") {
        return Base::Merge(merge(table, node, sink));
    }
    for key in ["base", "conflict", "resolve"] {
        if let Some(span) = table.key(key) {
            let message = format!("`{key}` belongs to `merge`, which is not here");
            sink.push(Diagnostic::error("missing-field", message).at(span, ""));
        }
    }
    let from = table.optional("from", sink, |node, sink| read::word(node, Reference::parse, sink));
    Base::From(from.unwrap_or(Spanned::new(Reference::scratch(), table.at)))
}

fn merge(table: &Table<'_>, node: &Node, sink: &mut Sink) -> Merge {
    let before = sink.len();
    let branches = read::list(node, sink, |node, sink| read::word(node, Reference::parse, sink));
    if branches.len() < 2 && sink.len() == before {
        let diagnostic = Diagnostic::error("bad-value", "`merge` joins at least two trees").at(node.span, "");
        sink.push(match branches.first() {
            Some(one) => diagnostic.help(format!("for one write from = \"{one}\"")),
            None => diagnostic,
        });
    }
    let conflicts = [("error", Conflict::Error), ("first", Conflict::First), ("last", Conflict::Last)];
    let conflict = table.optional("conflict", sink, |node, sink| read::choice(node, &conflicts, &[], sink));
    Merge {
        base: table.optional("base", sink, |node, sink| read::word(node, Reference::parse, sink)),
        conflict: conflict.unwrap_or(Conflict::Error),
        resolve: table.array("resolve", sink, |node, sink| resolve(node, &branches, sink)),
        branches,
    }
}

fn resolve(node: &Node, branches: &[Spanned<Reference>], sink: &mut Sink) -> Option<Resolve> {
    let table = Table::open(node, node.span, &RESOLVE, sink)?;
    let path = table.required("path", sink, super::pattern);
    let word = table.required("take", sink, read::string);
    let take = word.and_then(|word| take(&word, word.span, branches, sink));
    Some(Resolve { path: path?, take: take? })
}

fn take(text: &str, span: Span, branches: &[Spanned<Reference>], sink: &mut Sink) -> Option<Take> {
    let named = |branch: &Spanned<Reference>| branch.to_string() == text;
    let parsed = Reference::parse(text).ok();
    let same = |branch: &Spanned<Reference>| Some(&branch.value) == parsed.as_ref();
    match branches.iter().position(|branch| named(branch) || same(branch)) {
        Some(branch) => Some(Take::Branch(branch)),
        None if text == "none" => Some(Take::Absent),
        None => {
            let mut names: Vec<String> = branches.iter().map(ToString::to_string).collect();
            names.push("none".to_owned());
            let message = format!("`{text}` is none of {}", crate::spec::suggest::list(&names));
            sink.push(Diagnostic::error("unknown-name", message).at(span, "not a branch of this merge"));
            None
        }
    }
}
