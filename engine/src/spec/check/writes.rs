//! What the file writes: inside its folder, and each thing once.
//!
//! Two outputs may share a layout if their names in its index differ, and any number of artifacts may go into one
//! directory: whether their files collide is known only when they are there.

use crate::spec::{
    Diagnostic, Span, Spec,
    lower::read::Sink,
    types::{Image, Output},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

/// Tells paths outside the folder and things that two writers write.
pub fn check(spec: &Spec, file: &Path, sink: &mut Sink) {
    tags(spec, sink);
    let mut writes = Vec::new();
    for image in spec.images.values() {
        for output in &image.outputs {
            let Some(written) = output.path() else { continue };
            if let Some(path) = inside(&written.value, written.span, sink) {
                let kind = match output {
                    Output::Oci { reference, .. } => {
                        Target::Layout(names_in_index(image, reference.as_ref().map(|r| r.value.as_str())))
                    }
                    Output::Dir(_) => Target::Directory,
                    _ => Target::File,
                };
                let who = format!("image `{}`", image.name);
                writes.push(Write { path, kind, who, span: written.span });
            }
        }
    }
    for artifact in spec.artifacts.values() {
        if let Some(path) = inside(Path::new(&artifact.dest.value), artifact.dest.span, sink) {
            let kind = match (artifact.mirror, artifact.into_directory()) {
                (true, _) => Target::Directory,
                (false, true) => Target::Into,
                (false, false) => Target::File,
            };
            let who = format!("artifact `{}`", artifact.name);
            writes.push(Write { path, kind, who, span: artifact.dest.span });
        }
    }
    tell_own_files(&writes, file, sink);
    for (number, later) in writes.iter().enumerate() {
        if let Some(earlier) = writes[..number].iter().find(|earlier| collide(earlier, later)) {
            let message = format!("{} and {} write to one place", earlier.who, later.who);
            let diagnostic = Diagnostic::error("write-conflict", message).at(later.span, "");
            sink.push(diagnostic.at(earlier.span, "the other one"));
        }
    }
}

/// One thing that is written.
struct Write {
    /// Normalised, relative to the folder; empty for the folder itself.
    path: PathBuf,
    kind: Target,
    who: String,
    span: Span,
}

enum Target {
    /// One file.
    File,
    /// A directory that holds nothing else.
    Directory,
    /// Files into a directory that may hold others.
    Into,
    /// A layout, with the names of its index.
    Layout(BTreeSet<String>),
}

fn collide(left: &Write, right: &Write) -> bool {
    match (&left.kind, &right.kind) {
        // What goes into a directory meets only those who have it, or a place above it, for themselves.
        (Target::Into, Target::Into) => false,
        (Target::Into, _) => right.path == left.path || left.path.starts_with(&right.path),
        (_, Target::Into) => left.path == right.path || right.path.starts_with(&left.path),
        (Target::Layout(left_names), Target::Layout(right_names)) if left.path == right.path => {
            !left_names.is_disjoint(right_names)
        }
        _ => left.path.starts_with(&right.path) || right.path.starts_with(&left.path),
    }
}

fn names_in_index(image: &Image, reference: Option<&str>) -> BTreeSet<String> {
    match reference {
        Some(reference) => BTreeSet::from([reference.to_owned()]),
        None if image.tags.is_empty() => BTreeSet::from(["latest".to_owned()]),
        None => image.tags.iter().map(|tag| tag.tag.clone()).collect(),
    }
}

/// The path inside the folder; one that leads outside is told.
fn inside(path: &Path, span: Span, sink: &mut Sink) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        let ok = match component {
            Component::Normal(name) => {
                normal.push(name);
                true
            }
            Component::CurDir => true,
            Component::ParentDir => normal.pop(),
            Component::RootDir | Component::Prefix(_) => false,
        };
        if !ok {
            let message = format!("`{}` is outside the folder of the build file", path.display());
            let diagnostic = Diagnostic::error("write-conflict", message).at(span, "");
            sink.push(diagnostic.help("--out DIR moves all outputs elsewhere"));
            return None;
        }
    }
    Some(normal)
}

/// The build file and its lock are not to be written over.
fn tell_own_files(writes: &[Write], file: &Path, sink: &mut Sink) {
    let lock = crate::spec::lock::path_of(file);
    let own = [Some(file), Some(lock.as_path())].map(|path| path.and_then(Path::file_name).map(Path::new));
    for write in writes {
        let name = own.iter().flatten().find(|name| match write.kind {
            Target::Into => false,
            Target::Directory => name.starts_with(&write.path),
            _ => **name == write.path,
        });
        if let Some(name) = name {
            let message = format!("{} would write over `{}`", write.who, name.display());
            sink.push(Diagnostic::error("write-conflict", message).at(write.span, ""));
        }
    }
}

/// Two images that write one tag.
fn tags(spec: &Spec, sink: &mut Sink) {
    let mut first: BTreeMap<String, (&str, Span)> = BTreeMap::new();
    for image in spec.images.values() {
        for tag in &image.tags {
            let text = tag.to_string();
            match first.get(&text) {
                Some((other, span)) => {
                    let message = match *other == image.name.as_str() {
                        true => format!("image `{other}` has the tag `{text}` twice"),
                        false => format!("images `{other}` and `{}` write one tag, `{text}`", image.name),
                    };
                    let diagnostic = Diagnostic::error("write-conflict", message).at(tag.span, "");
                    sink.push(diagnostic.at(*span, "the other one"));
                }
                None => {
                    first.insert(text, (image.name.as_str(), tag.span));
                }
            }
        }
    }
}
