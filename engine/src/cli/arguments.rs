//! What several subcommands take.

use crate::ui::{
    progress::{Options, Progress, Style},
    shell::Shell,
    text,
};
use rbuild::{
    build::{self, Request},
    error::{Error, Result},
    report::{Copied, Event, Reporter},
    spec::{self, Inputs, Loaded, Platform},
    store::{self, Folders},
};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The build file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct FileArgument {
    /// The build file, or its folder [default: build.toml or build.yaml]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// The values of its variables.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct VariableArguments {
    /// Gives a variable a value, an array with commas (`list=a,b`); may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Takes values of variables from a TOML or YAML file; may be repeated
    #[arg(long, value_name = "FILE")]
    vars: Vec<PathBuf>,
}

/// How progress is told.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct ProgressArgument {
    /// How progress is told
    #[arg(long = "progress", value_enum, value_name = "STYLE", default_value_t)]
    pub style: Style,
}

/// The store.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StoreArgument {
    /// Where everything built is kept [default: $RBUILD_STORE, else $XDG_DATA_HOME/rbuild]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
}

/// What every command takes that looks at what would be built.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BuildArguments {
    /// What to build: NAME or KIND.NAME; a first one that ends in .toml, .yaml or .yml is the build file
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    #[command(flatten)]
    file: FileArgument,
    #[command(flatten)]
    variables: VariableArguments,
    #[command(flatten)]
    pub store: StoreArgument,
    /// Fail rather than write to the lock file
    #[arg(long)]
    locked: bool,
    /// Ask nobody outside for anything: use what the store has
    #[arg(long)]
    offline: bool,
    /// Warnings are errors
    #[arg(long)]
    deny_warnings: bool,
    /// Tell more
    #[arg(short, long)]
    pub verbose: bool,
}

impl ProgressArgument {
    /// The reporter of a command that only copies images.
    pub fn of_copy(self, shell: Shell) -> Arc<Progress> {
        Arc::new(Progress::new(self.style, shell, Options::default()))
    }

    /// Says on the standard output what is where: a line with `what` (`["blob", "copied"]`), or an event.
    ///
    /// # Errors
    /// The standard output can't be written.
    pub fn tell(self, shell: Shell, progress: &Progress, copied: Copied, what: [&str; 2]) -> Result<()> {
        match self.style {
            Style::Plain => {}
            Style::Quiet => return Ok(()),
            Style::Json => {
                progress.report(&Event::Copied(copied));
                return Ok(());
            }
        }
        let Copied { place, digest, blobs, present } = copied;
        let (place, [noun, done]) = (text::line(&place), what);
        shell.print(&format!("{place} {digest}: {} {done}, {present} were there\n", text::count(blobs, noun)))
    }
}

impl FileArgument {
    /// The build file: the one given, the first target if that is a file's name (it is taken out), or the one of the
    /// current folder.
    ///
    /// # Errors
    /// There is none, or there are two.
    pub fn find(&self, targets: &mut Vec<String>) -> Result<PathBuf> {
        match (&self.file, targets.as_slice()) {
            (Some(folder), _) if folder.is_dir() => Ok(spec::find(folder)?),
            (Some(file), _) => Ok(file.clone()),
            (None, [target]) if names_file(target) => Ok(targets.remove(0).into()),
            // `step.toml` may be a step among others; a file that is there is meant.
            (None, [target, ..]) if names_file(target) && Path::new(target).is_file() => {
                Ok(targets.remove(0).into())
            }
            (None, _) => match spec::find(Path::new(".")) {
                Ok(found) => Ok(without_dot(&found)),
                Err(refusal) => Err(targets
                    .first()
                    .filter(|target| Path::new(target).is_dir())
                    .map_or(Error::from(refusal.clone()), |folder| {
                        build::meant_as_file(refusal.into(), folder)
                    })),
            },
        }
    }
}

impl VariableArguments {
    /// With the caller's environment and this machine's platform.
    pub fn inputs(&self) -> Inputs {
        Inputs {
            set: self.set.clone(),
            vars_files: self.vars.clone(),
            environment: environment(),
            platform: Platform::host(),
            look_for_sources: false,
        }
    }
}

/// The variables of this process that are text.
pub fn environment() -> BTreeMap<String, String> {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}

impl StoreArgument {
    /// The folder, and those of stores that are only read.
    ///
    /// # Errors
    /// Nothing says where it is.
    pub fn find(&self) -> Result<Folders> {
        let known =
            self.store.clone().or_else(|| store::default_root(|name| std::env::var_os(name).map(Into::into)));
        let own = known.ok_or_else(|| {
            Error::environment(
                "nothing says where the store is: RBUILD_STORE, XDG_DATA_HOME and HOME are not set",
            )
            .hint(store::SAY_WHERE)
        })?;
        let read_only = std::env::var_os("RBUILD_STORES_RO")
            .map(|list| store::read_only_roots(&list))
            .unwrap_or_default();
        Ok(Folders { own, read_only })
    }
}

impl BuildArguments {
    /// The request that these arguments make.
    ///
    /// # Errors
    /// No build file, or no place for the store.
    pub fn request(&self) -> Result<Request> {
        let mut targets = self.targets.clone();
        let file = self.file.find(&mut targets)?;
        Ok(Request {
            targets,
            locked: self.locked,
            offline: self.offline,
            deny_warnings: self.deny_warnings,
            verbose: self.verbose,
            ..look(file, self.variables.inputs(), self.store.find()?)
        })
    }
}

/// The request of a command that only looks, at a file found already.
pub fn look(file: PathBuf, inputs: Inputs, store: Folders) -> Request {
    Request {
        file,
        targets: Vec::new(),
        inputs,
        jobs: None,
        tier: None,
        keep_going: false,
        locked: false,
        offline: false,
        out: None,
        metadata: None,
        store,
        deny_warnings: false,
        verbose: false,
    }
}

/// Loads a build file; the store is not touched.
///
/// # Errors
/// Every mistake of the file; an unreadable lock file.
pub fn load(file: &Path, inputs: Inputs) -> Result<Loaded> {
    build::load(&look(file.to_owned(), inputs, Folders::default()))
}

/// `NAME=VALUE`
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it has the form NAME=VALUE".to_owned()),
    }
}

fn names_file(target: &str) -> bool {
    [".toml", ".yaml", ".yml"].iter().any(|ending| target.ends_with(ending))
}

/// `./build.toml` as people write it.
fn without_dot(path: &Path) -> PathBuf {
    path.strip_prefix(".").unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn find(file: Option<&Path>, targets: &[&str]) -> (Result<PathBuf>, Vec<String>) {
        let mut targets: Vec<String> = targets.iter().map(|target| (*target).to_owned()).collect();
        let found = FileArgument { file: file.map(Path::to_owned) }.find(&mut targets);
        (found, targets)
    }

    #[test]
    fn a_single_target_that_looks_like_a_file_is_the_file() {
        for name in ["build.toml", "a/ci.yaml", "x.yml", ".toml"] {
            let (found, targets) = find(None, &[name]);
            assert_eq!((found.unwrap(), targets), (PathBuf::from(name), vec![]));
        }
        let (found, targets) = find(Some(Path::new("a.toml")), &["image.toml"]);
        assert_eq!((found.unwrap(), targets), (PathBuf::from("a.toml"), vec!["image.toml".to_owned()]));
    }

    #[test]
    fn a_folder_stands_for_the_build_file_in_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(find(Some(folder.path()), &[]).0.unwrap_err().kind().exit_code(), 2);
        std::fs::write(folder.path().join("build.yaml"), "version: 1\n").unwrap();
        assert_eq!(find(Some(folder.path()), &[]).0.unwrap(), folder.path().join("build.yaml"));
    }

    #[test]
    fn assignments() {
        assert_eq!(assignment("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(assignment("a="), Ok(("a".to_owned(), String::new())));
        assert!(assignment("a").is_err());
        assert!(assignment("=a").is_err());
    }

    #[test]
    fn the_files_name_is_as_people_write_it() {
        assert_eq!(without_dot(Path::new("./build.toml")), Path::new("build.toml"));
        assert_eq!(without_dot(Path::new("a/build.toml")), Path::new("a/build.toml"));
    }
}
