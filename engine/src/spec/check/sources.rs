//! Local files of sources that are not there.

use crate::spec::{Diagnostic, Span, Spec, types::SourceKind};
use std::path::Path;

/// Tells every source of `spec` that is wanted and whose file or folder is missing; paths are relative to `folder`.
pub fn missing(spec: &Spec, folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<Diagnostic> {
    let wanted = spec.sources.values().filter(|source| is_wanted(&source.name));
    wanted
        .filter_map(|source| {
            let (path, span): (&Path, Span) = match &source.kind {
                SourceKind::Path(path) => (&path.path, path.path.span),
                SourceKind::Archive(archive) => (&archive.path, archive.path.span),
                SourceKind::Oci(image) => (&image.path, image.path.span),
                SourceKind::Image(_) => return None,
                SourceKind::Host(host) => (&host.path, host.path.span),
            };
            let error = std::fs::metadata(folder.join(path)).err()?;
            let reason = match error.kind() {
                std::io::ErrorKind::NotFound => "is not there".to_owned(),
                _ => format!("can't be read: {error}"),
            };
            let message = format!("source `{}`: {} {reason}", source.name.value, path.display());
            let help = "paths are relative to the folder of the build file";
            Some(Diagnostic::error("source-failed", message).at(span, "").help(help))
        })
        .collect()
}
