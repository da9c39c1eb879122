//! One of `copy`, and what artifacts share with it.

use super::{
    entries::mode,
    read::{self, Sink},
    source::ignore_line,
    table::{Table, Words},
};
use crate::spec::{
    Diagnostic, Span, Spanned,
    types::Copy,
    value::{Node, Value},
    words::{CopySource, Destination, Owner, Reference},
};

pub const COPY: Words = Words {
    what: "a line of `copy`",
    known: &[
        "from", "src", "dest", "owner", "mode", "dir-mode", "exclude", "parents", "follow", "replace",
        "optional",
    ],
    later: &[],
};

pub fn copy(node: &Node, sink: &mut Sink) -> Option<Copy> {
    let table = Table::open(node, node.span, &COPY, sink)?;
    let from = table.required("from", sink, |node, sink| read::word(node, Reference::parse, sink));
    let dest = table.required("dest", sink, |node, sink| read::word(node, Destination::parse, sink));
    let src = match table.get("src") {
        Some(node) => sources(node, sink),
        None => Some(vec![Spanned::new(CopySource::whole(), table.at)]),
    };
    let parents = table.flag("parents", sink);
    if let (Some(src), Some(dest)) = (&src, &dest)
        && !dest.directory
    {
        tell_not_directory(src, parents, &Spanned::new(dest.path.to_string(), dest.span), sink);
    }
    Some(Copy {
        owner: table.optional("owner", sink, |node, sink| read::word(node, Owner::parse, sink)),
        mode: mode(&table, "mode", sink),
        dir_mode: mode(&table, "dir-mode", sink),
        exclude: table.array("exclude", sink, ignore_line),
        parents,
        follow: table.flag("follow", sink),
        replace: table.flag("replace", sink),
        optional: table.flag("optional", sink),
        from: from?,
        src: src?,
        dest: dest?,
    })
}

/// One pattern or several.
pub fn sources(node: &Node, sink: &mut Sink) -> Option<Vec<Spanned<CopySource>>> {
    let one = |node: &Node, sink: &mut Sink| read::word(node, CopySource::parse, sink);
    match &node.value {
        Value::List(items) if items.is_empty() => {
            read::bad("at least one path is wanted", node.span, sink);
            None
        }
        Value::List(_) => Some(read::list(node, sink, one)),
        Value::String(_) => Some(vec![one(node, sink)?]),
        _ => {
            read::wrong_type(node, "a string or an array of strings", sink);
            None
        }
    }
}

/// Tells why a destination without a final `/` can't be, if it can't.
pub fn tell_not_directory(
    src: &[Spanned<CopySource>],
    parents: bool,
    dest: &Spanned<String>,
    sink: &mut Sink,
) {
    let place = |span: Span| (span != dest.span).then_some(span);
    let (reason, other) = match src {
        _ if parents => ("with `parents` the destination is a directory", None),
        [] => return,
        [one] if one.literal => return,
        [one] => ("a pattern may match several entries, so the destination is a directory", place(one.span)),
        [_, second, ..] => ("several entries go into a directory", place(second.span)),
    };
    let mut diagnostic =
        Diagnostic::error("bad-value", format!("{reason}: it ends in `/`")).at(dest.span, "no final `/`");
    if let Some(span) = other {
        diagnostic = diagnostic.at(span, "");
    }
    sink.push(diagnostic.help(format!("write \"{}/\"", dest.value)));
}
