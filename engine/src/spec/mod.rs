//! Build files: text to [`Spec`], with every mistake told at its place.
//!
//! TOML and YAML are read into one tree of spanned values ([`value`]), variables are replaced on that tree
//! (`variables`), and the tree is lowered by hand into the typed model ([`types`]). So both formats have the same
//! model, the same messages and the same limits, there is no text templating, and all mistakes of a file are
//! reported in one run.
//!
//! ```text
//! text ─ parse ─▶ tree of values ─ resolve: variables, lowering, checks ─▶ Spec
//!                      └▶ epoch: the caller's, the file's, or the lock's
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`types`] | the model: what the rest of the engine reads |
//! | [`words`] | the grammars inside strings: references, modes, owners, sizes … |
//! | [`target`] | `name` and `kind.name` as people ask for them |
//! | [`value`], `variables` | the tree of values, and `${name}` in it |
//! | `lower` | the tree to the model, one file a table |
//! | `check` | what can be said of the whole file |
//! | [`lock`] | `rbuild.lock` |
//! | [`schema`] | the JSON Schema of a build file |
//! | [`span`], [`diagnostic`], [`codes`] | places, messages about them, and what each code means |

pub(crate) mod check;
pub mod codes;
pub mod diagnostic;
mod load;
pub mod lock;
mod lower;
pub mod schema;
pub mod span;
mod suggest;
pub mod target;
pub mod types;
pub mod value;
mod variables;
pub mod words;

pub use check::missing_sources;
pub use diagnostic::{Diagnostic, Diagnostics, Severity, without_errno};
pub use load::{EpochSource, FALLBACK_EPOCH, Inputs, Loaded, Parsed, find, load, parse};
pub use rbuild_oci::Platform;
pub use span::{Files, Span, Spanned};
pub use target::{Kind, Target};
pub use types::Spec;
pub use value::Format;

#[cfg(test)]
mod tests;
