//! What the user sees: the one place that renders errors, and the reporters that tell of a build while it goes on.
//!
//! | module | what |
//! |---|---|
//! | [`shell`] | errors, results of commands; colour; a reader that went away |
//! | [`progress`] | which reporter a build gets, and whether it has told an error already |
//! | [`plain`] | events to lines: a pure state machine, its clock is an argument |
//! | [`live`] | [`plain`] on the standard error, with a thread that speaks while steps are silent |
//! | [`summary`] | the end of a build: images, layers, how to look at them |
//! | [`json`], [`quiet`] | the other two reporters |
//! | [`text`] | sizes, counts, quoting; control characters kept off the terminal |
//!
//! Standard output is for results (`graph`, `inspect`, `schema`, the events of `--progress json`), standard error for
//! everything else. Everything is readable without colour.

pub mod json;
pub mod live;
pub mod plain;
pub mod progress;
pub mod quiet;
pub mod shell;
pub mod summary;
pub mod text;
