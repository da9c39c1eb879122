//! Which reporter a build gets.

use super::{json::Json, live::Live, plain::Plain, quiet::Quiet, shell::Shell};
use rbuild::error::Error;
use rbuild::report::{Event, Reporter};
use std::{io::Stdout, path::PathBuf};

/// How a build is told while it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// One line an event on the standard error
    #[default]
    Plain,
    /// One JSON object an event on the standard output
    Json,
    /// Nothing but what failed
    Quiet,
}

/// What a reporter needs to know of the command line.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Tell more.
    pub verbose: bool,
    /// The current folder: paths below it are shown from there.
    pub here: Option<PathBuf>,
    /// The build file, where another command has to name it by `-f`.
    pub file: Option<PathBuf>,
    /// The store, where another command has to name it by `--store`.
    pub store: Option<PathBuf>,
}

/// The reporter of one build.
pub enum Progress {
    /// See [`Style::Plain`].
    Plain(Live),
    /// See [`Style::Json`].
    Json(Json<Stdout>),
    /// See [`Style::Quiet`].
    Quiet(Quiet),
}

impl Progress {
    /// Begins.
    pub fn new(style: Style, shell: Shell, options: Options) -> Self {
        match style {
            Style::Plain => Self::Plain(Live::new(shell, Plain::new(shell, options))),
            Style::Json => Self::Json(Json::new(std::io::stdout())),
            Style::Quiet => Self::Quiet(Quiet::new(shell, options)),
        }
    }

    /// Whether what failed has been told to a person already, so that the error that ended the build need not be.
    pub fn has_told(&self, error: &Error) -> bool {
        match self {
            Self::Plain(live) => live.has_told(error.message()),
            Self::Json(_) => false,
            Self::Quiet(quiet) => quiet.has_told(error.message()),
        }
    }
}

impl Reporter for Progress {
    fn report(&self, event: &Event) {
        match self {
            Self::Plain(live) => live.report(event),
            Self::Json(json) => json.report(event),
            Self::Quiet(quiet) => quiet.report(event),
        }
    }
}
