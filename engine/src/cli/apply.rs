//! `rbuild apply`

use super::arguments::{BuildArguments, ProgressArgument};
use crate::ui::{
    progress::{Options, Progress},
    shell::Shell,
};
use rbuild::{build::Request, error::Result, execute::Tier};
use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

fn one_at_least(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "a whole number, 1 or more, is wanted".to_owned())
}

/// Builds what the build file declares
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    build: BuildArguments,
    /// How many steps run at once [default: as many as there are processors for this process]
    #[arg(short, long, value_name = "N", value_parser = one_at_least)]
    jobs: Option<NonZeroUsize>,
    /// How steps get their root [default: the first that this machine has]
    #[arg(long, value_enum, value_name = "TIER")]
    tier: Option<TierArgument>,
    /// Run steps in the place of this container's own files, which are aside meanwhile: one at a time, on any kernel
    #[arg(long, conflicts_with = "tier")]
    in_place: bool,
    /// After a failure, go on with what does not need what failed
    #[arg(short, long)]
    keep_going: bool,
    /// Write outputs and artifacts below this folder instead of the build file's
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write what was made to this file, as JSON (`rbuild schema metadata`); it is removed first, so after a failed
    /// build there is none
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    #[command(flatten)]
    progress: ProgressArgument,
}

/// What `--tier` takes.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum TierArgument {
    /// A filesystem of rbuild's own, which needs /dev/fuse
    Fuse,
    /// The kernel's overlay filesystem, which needs Linux 5.11
    Overlay,
    /// A directory and no isolation, for root of a container that allows nothing
    Chroot,
    /// Nothing: steps with `run` fail
    None,
}

impl From<TierArgument> for Tier {
    fn from(argument: TierArgument) -> Self {
        match argument {
            TierArgument::Fuse => Self::Fuse,
            TierArgument::Overlay => Self::Overlay,
            TierArgument::Chroot => Self::Chroot,
            TierArgument::None => Self::None,
        }
    }
}

impl Arguments {
    /// Builds; an error that was told while building is only its exit code here.
    ///
    /// # Errors
    /// What was not told yet.
    pub fn run(self, shell: Shell) -> Result<u8> {
        // Before anything is looked for: it may be aside.
        if self.in_place && rbuild::build::put_back()? {
            let message = "the container's files, which an earlier run had moved aside, are back";
            shell.tell(&shell.warning(None, None, message));
        }
        let request = self.request()?;
        let options = Options {
            verbose: request.verbose,
            here: std::env::current_dir().ok(),
            file: (!is_found_by_itself(&request.file)).then(|| request.file.clone()),
            store: self.build.store.store.clone(),
        };
        let progress = Arc::new(Progress::new(self.progress.style, shell, options));
        let outcome = rbuild::build::apply(&request, progress.clone())?;
        match outcome.error {
            None => Ok(0),
            Some(error) if progress.has_told(&error) => Ok(error.kind().exit_code()),
            Some(error) => Err(error),
        }
    }

    fn request(&self) -> Result<Request> {
        let jobs = self.jobs.map(NonZeroUsize::get);
        let (out, metadata) = (self.out.clone(), self.metadata_file.clone());
        let tier = if self.in_place { Some(Tier::InPlace) } else { self.tier.map(Tier::from) };
        Ok(Request { jobs, tier, keep_going: self.keep_going, out, metadata, ..self.build.request()? })
    }
}

/// Whether a command in the same folder takes this file without `-f`.
fn is_found_by_itself(file: &Path) -> bool {
    ["build.toml", "build.yaml"].iter().any(|name| file == Path::new(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ui::progress::Style;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &[&str]) -> Result<Arguments, clap::Error> {
        Line::try_parse_from([&["apply"], line].concat()).map(|line| line.arguments)
    }

    #[test]
    fn every_argument_reaches_the_request() {
        let line = "ci.toml --jobs 3 --keep-going --set a=1 --set b=x=y --vars v.toml --locked --tier overlay --out out --metadata-file m.json --store store \
                    --progress json --deny-warnings -v";
        let arguments = parse(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!(arguments.progress.style, Style::Json);
        let request = arguments.request().unwrap();
        assert_eq!((request.file, request.targets), (PathBuf::from("ci.toml"), vec![]));
        assert_eq!((request.jobs, request.out), (Some(3), Some("out".into())));
        assert_eq!(request.tier, Some(Tier::Overlay));
        assert_eq!((request.store.own, request.metadata), ("store".into(), Some("m.json".into())));
        let set = [("a", "1"), ("b", "x=y")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(request.inputs.set, set);
        assert_eq!(request.inputs.vars_files, [PathBuf::from("v.toml")]);
        assert!(request.keep_going && request.locked && request.deny_warnings && request.verbose);
    }

    #[test]
    fn defaults() {
        let arguments = parse(&["-f", "a.toml", "x", "step.y", "--store", "s"]).unwrap();
        assert_eq!(arguments.progress.style, Style::Plain);
        let request = arguments.request().unwrap();
        assert_eq!(request.targets, ["x", "step.y"]);
        assert_eq!((request.jobs, request.tier, request.out), (None, None, None));
        assert!(!(request.keep_going || request.locked || request.deny_warnings || request.verbose));
    }

    #[test]
    fn wrong_arguments() {
        for line in
            [&["--jobs", "0"][..], &["--jobs", "x"], &["--set", "a"], &["--progress", "loud"], &["--no"]]
        {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }

    #[test]
    fn only_the_usual_names_need_no_option() {
        for (file, found) in
            [("build.toml", true), ("build.yaml", true), ("ci.toml", false), ("a/build.toml", false)]
        {
            assert_eq!(is_found_by_itself(Path::new(file)), found, "{file}");
        }
    }
}
