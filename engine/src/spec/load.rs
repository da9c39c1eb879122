//! From a path to a [`Spec`]: the order of things, and where the epoch comes from.

use super::{
    Diagnostic, Diagnostics, Severity, Spec, check,
    lower::{self, MAX_EPOCH, read::Sink},
    span::{FileId, Files},
    value::{self, Format, MAX_BYTES, Node},
    variables::{self, AllGiven, Scope},
    words::{Refusal, Word},
};
use rbuild_oci::Platform;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// 1980-01-01: the epoch of a build whose lock file can't be written.
pub const FALLBACK_EPOCH: i64 = 315_532_800;

/// Codes that speak of what is not there.
const ABSENCES: [&str; 6] =
    ["missing-field", "one-of", "unknown-name", "unknown-variable", "missing-variable", "unused"];

/// What a build is given besides its file.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// `--set NAME=VALUE`, in order; the last of a name wins.
    pub set: Vec<(String, String)>,
    /// `--vars FILE`, in order; later ones win.
    pub vars_files: Vec<PathBuf>,
    /// The caller's environment (variables that are not UTF-8 left out).
    pub environment: BTreeMap<String, String>,
    /// What the images are made for.
    pub platform: Platform,
    /// Whether a source whose local file is missing is a mistake of the file.
    pub look_for_sources: bool,
}

/// A build file that is ready to be built.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub spec: Spec,
    /// The file as the user named it.
    pub path: PathBuf,
    /// The folder that paths in it are relative to; `.` if the file's path has none.
    pub folder: PathBuf,
    /// The epoch in force, in seconds since 1970.
    pub epoch: i64,
    /// To be spoken once each, by [`Diagnostics::render`]; its files are those that the spans of `spec` point into.
    pub warnings: Diagnostics,
}

/// A file that has been read, its variables not yet replaced: see [`parse`].
#[derive(Debug)]
pub struct Parsed {
    path: PathBuf,
    inputs: Inputs,
    files: Files,
    root: Node,
    /// Whether its text could not be read whole.
    is_broken: bool,
    given: AllGiven,
    epoch: EpochSource,
    told: Sink,
}

/// Where the epoch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochSource {
    /// The caller's SOURCE_DATE_EPOCH.
    Caller(i64),
    /// The file's `epoch`.
    Spec(i64),
    /// Neither: the lock file's, or else [`FALLBACK_EPOCH`] with a warning.
    Lock,
}

/// The build file of a folder: `build.toml` or `build.yaml`.
///
/// # Errors
/// There is none, or there are both.
pub fn find(folder: &Path) -> Word<PathBuf> {
    let refuse = |what: &str, help: &str| {
        let reason = format!("{} holds {what} build.yaml", folder.display());
        Err(Refusal { code: "unreadable", reason, help: Some(help.to_owned()) })
    };
    match ["build.toml", "build.yaml"].map(|name| Some(folder.join(name)).filter(|path| path.exists())) {
        [Some(path), None] | [None, Some(path)] => Ok(path),
        [None, None] => refuse("neither build.toml nor", "name another file by -f FILE"),
        [Some(_), Some(_)] => refuse("both build.toml and", "say which one by -f FILE"),
    }
}

/// Reads a build file and finds out where its epoch comes from. Mistakes are kept for [`Parsed::resolve`], which
/// tells them all: so make a lock file only after that has succeeded.
///
/// # Errors
/// The file can't be read.
pub fn parse(path: &Path, inputs: &Inputs) -> Result<Parsed, Diagnostics> {
    let (mut files, mut told) = (Files::default(), Sink::new());
    let Some((file, format)) = read_file(path, &mut files, &mut told) else {
        return Err(Diagnostics::new(told, files));
    };
    let text = files.get(file).map(|file| file.text.clone()).unwrap_or_default();
    let root = value::parse(format, &text, file, &mut told);
    let is_broken = told.iter().any(|one| one.severity == Severity::Error);
    let given = AllGiven::gather(inputs, &mut files, &mut told);
    let epoch = epoch_source(&root, inputs, &files, &given, &mut told);
    Ok(Parsed { path: path.to_owned(), inputs: inputs.clone(), files, root, is_broken, given, epoch, told })
}

/// [`parse`] and [`Parsed::resolve`] in one, with `lock_epoch` where neither the caller nor the file gives an epoch.
///
/// # Errors
/// Every mistake of the file.
pub fn load(path: &Path, inputs: &Inputs, lock_epoch: i64) -> Result<Loaded, Diagnostics> {
    let parsed = parse(path, inputs)?;
    let epoch = match parsed.epoch() {
        EpochSource::Caller(epoch) | EpochSource::Spec(epoch) => epoch,
        EpochSource::Lock => lock_epoch,
    };
    parsed.resolve(epoch)
}

impl Parsed {
    /// Where the epoch comes from.
    pub fn epoch(&self) -> EpochSource {
        self.epoch
    }

    /// Replaces variables, lowers and checks.
    ///
    /// # Errors
    /// Every mistake of the file, and every warning beside them.
    pub fn resolve(self, epoch: i64) -> Result<Loaded, Diagnostics> {
        let Self { path, inputs, files, root, is_broken, given, told, .. } = self;
        let mut sink = Sink::new();
        let mut mentions = BTreeSet::new();
        let mut scope = Scope::new(&root, Some(epoch), &given, (&inputs, &files), &mut sink);
        scope.evaluate_all(&mut sink);
        let replaced = variables::replace(&root, &mut scope, &mut mentions, &mut sink);
        for (name, span) in scope.unused() {
            let message = format!("variable `{name}` is not used");
            let diagnostic = Diagnostic::warning("unused", message).at(span, "");
            sink.push(variables::spared(&root, name).into_iter().fold(diagnostic, Diagnostic::help));
        }
        let (spec, declared) = lower::file(&replaced, &mut sink);
        check::errors(&replaced, &spec, &declared, &path, &mut sink);
        check::warnings(&spec, &declared, &mentions, &mut sink);
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        if inputs.look_for_sources {
            sink.extend(check::missing_sources(&spec, &folder, |_| true));
        }
        // What a broken text leaves out is not missing: such messages would only hide the one that counts.
        if is_broken {
            sink.retain(|one| !ABSENCES.contains(&one.code));
        }
        sink.extend(told);
        let mut warnings = Diagnostics::new(sink, files);
        if warnings.has_errors() {
            // What uses a name may be among what could not be read.
            warnings.list.retain(|one| one.code != "unused");
            return Err(warnings);
        }
        Ok(Loaded { spec, path, folder, epoch, warnings })
    }
}

fn epoch_source(
    root: &Node,
    inputs: &Inputs,
    files: &Files,
    given: &AllGiven,
    sink: &mut Sink,
) -> EpochSource {
    if let Some(text) = inputs.environment.get("SOURCE_DATE_EPOCH") {
        match text.parse() {
            Ok(epoch) if (0..=MAX_EPOCH).contains(&epoch) => return EpochSource::Caller(epoch),
            _ => {
                let message = format!("SOURCE_DATE_EPOCH is `{text}`: it is a number of seconds since 1970");
                sink.push(Diagnostic::error("bad-value", message));
                return EpochSource::Caller(FALLBACK_EPOCH);
            }
        }
    }
    let Some(node) = root.get("epoch") else { return EpochSource::Lock };
    // What is wrong with the variables is told by `resolve`, once.
    let mut scope = Scope::new(root, None, given, (inputs, files), &mut Sink::new());
    let mut told = Sink::new();
    let epoch =
        variables::replace_value(node, &mut scope, &mut told).and_then(|node| lower::epoch(&node, &mut told));
    sink.extend(told.into_iter().filter(|diagnostic| diagnostic.code == "cycle"));
    EpochSource::Spec(epoch.map_or(FALLBACK_EPOCH, |epoch| epoch.value))
}

/// Takes a file into `files`; what is wrong with that is told.
pub(super) fn read_file(path: &Path, files: &mut Files, sink: &mut Sink) -> Option<(FileId, Format)> {
    let mut refuse = |reason: String, help: Option<&str>| {
        let diagnostic = Diagnostic::error("unreadable", format!("cannot read {}: {reason}", path.display()));
        sink.push(match help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        });
    };
    let Some(format) = Format::of(path) else {
        refuse(
            "its name does not say whether it is TOML or YAML".to_owned(),
            Some("it ends in .toml, .yaml or .yml"),
        );
        return None;
    };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        refuse(error.to_string(), None);
        return None;
    }
    if bytes.len() as u64 > MAX_BYTES {
        refuse(format!("it is longer than {} MiB", MAX_BYTES >> 20), None);
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some((files.add(path, text), format)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            refuse(format!("it is not UTF-8 in line {line}"), None);
            None
        }
    }
}
