//! `[image.NAME]` and `[artifact.NAME]`

use super::{
    config,
    copy::{sources, tell_not_directory},
    read::{self, Sink},
    source::{layout_and_reference, workspace_path},
    table::{Kinds, Table, Words, kind},
};
use crate::spec::{
    Spanned,
    types::{Artifact, Compress, Image, Layers, Output},
    value::{Key, Node, Value},
    words::{self, Reference, Refusal, Tag},
};

pub const IMAGE: Words = Words {
    what: "an image",
    known: &["from", "tags", "layers", "compress", "config", "annotations", "tests", "output"],
    later: &["like", "matrix", "matrix-exclude", "platforms", "created", "attest"],
};
/// What says which kind of output it is.
pub const OUTPUTS: Kinds<'static> =
    Kinds { what: "an output", known: OUTPUT.known, later: OUTPUT.later, tables: &[&OUTPUT] };
pub const OUTPUT: Words = Words {
    what: "an output",
    known: &["oci", "oci-archive", "docker-archive", "tar", "dir", "push", "docker"],
    later: &[],
};
pub const ARTIFACT: Words = Words {
    what: "an artifact",
    known: &["from", "path", "dest", "optional", "mirror"],
    later: &["like", "matrix", "matrix-exclude"],
};

/// Reads one image.
pub fn image(key: &Key, node: &Node, sink: &mut Sink) -> Option<Image> {
    let table = Table::open(node, key.span, &IMAGE, sink)?;
    let from = table.required("from", sink, |node, sink| read::word(node, Reference::parse, sink));
    let ways = [("gzip", Compress::Gzip), ("zstd", Compress::Zstd), ("none", Compress::None)];
    let compress = table.optional("compress", sink, |node, sink| read::choice(node, &ways, &[], sink));
    let annotations = table.optional("annotations", sink, |node, sink| Some(config::annotations(node, sink)));
    Some(Image {
        name: Spanned::new(key.text.clone(), key.span),
        description: table.description(),
        tags: table.array("tags", sink, |node, sink| read::word(node, Tag::parse, sink)),
        layers: table.optional("layers", sink, layers).unwrap_or(Layers::Steps),
        compress: compress.unwrap_or_default(),
        config: table.optional("config", sink, config::config).unwrap_or_default(),
        annotations: annotations.unwrap_or_default(),
        tests: table.array("tests", sink, |node, sink| read::checked(node, words::name, sink)),
        outputs: table.array("output", sink, output),
        from: from?,
    })
}

fn layers(node: &Node, sink: &mut Sink) -> Option<Layers> {
    match &node.value {
        Value::List(_) => {
            Some(Layers::After(read::list(node, sink, |node, sink| read::checked(node, words::name, sink))))
        }
        Value::String(text) => match text.as_str() {
            "steps" => Some(Layers::Steps),
            "squash" => Some(Layers::Squash),
            "base+1" => Some(Layers::BasePlusOne),
            other => {
                let message = format!(
                    "`{other}` is none of `steps`, `squash` and `base+1`, nor an array of names of steps"
                );
                read::bad(message, node.span, sink);
                None
            }
        },
        _ => {
            read::wrong_type(node, "a string or an array of strings", sink);
            None
        }
    }
}

fn output(node: &Node, sink: &mut Sink) -> Option<Output> {
    let kind = kind(node, node.span, &OUTPUTS, sink)?;
    let table = Table::open(node, node.span, &OUTPUT, sink)?;
    if matches!(kind, "push" | "docker") {
        let wanted = table
            .required(kind, sink, |node, sink| Some(Spanned::new(read::boolean(node, sink)?, node.span)))?;
        return Some(if kind == "push" { Output::Push(wanted) } else { Output::Docker(wanted) });
    }
    if kind == "oci" {
        let (path, reference) = table.required(kind, sink, layout_and_reference)?;
        if let Some(reference) = &reference
            && !words::is_tag(reference)
        {
            read::bad(
                format!("`{reference}` is not a name for an index: it has the form of a tag"),
                node.span,
                sink,
            );
        }
        return Some(Output::Oci { path, reference });
    }
    let path = table.required(kind, sink, workspace_path)?;
    Some(match kind {
        "oci-archive" => Output::OciArchive(path),
        "docker-archive" => Output::DockerArchive(path),
        "tar" => Output::Tar(path),
        _ => Output::Dir(path),
    })
}

/// Reads one artifact.
pub fn artifact(key: &Key, node: &Node, sink: &mut Sink) -> Option<Artifact> {
    let table = Table::open(node, key.span, &ARTIFACT, sink)?;
    let from = table.required("from", sink, |node, sink| read::word(node, Reference::parse, sink));
    let path = table.required("path", sink, sources);
    let dest = table.required("dest", sink, |node, sink| {
        let not_empty = |text: &str| match text {
            "" => Err(Refusal::bad("a path can't be empty").help("the folder of this file is \"./\"")),
            _ => Ok(()),
        };
        read::checked(node, not_empty, sink)
    });
    if let (Some(path), Some(dest)) = (&path, &dest)
        && !dest.ends_with('/')
    {
        tell_not_directory(path, false, dest, sink);
    }
    Some(Artifact {
        name: Spanned::new(key.text.clone(), key.span),
        description: table.description(),
        optional: table.flag("optional", sink),
        mirror: table.flag("mirror", sink),
        from: from?,
        path: path?,
        dest: dest?,
    })
}
