//! What tests are made of.
//!
//! ```ignore
//! needs!(userns, fuse);
//! let project = Project::new("version = 1").file("src/main.c", "…");
//! let output = project.rbuild(["apply"]);
//! snapshot!(output, @"…");              // standard output, standard error and exit code together
//! ```

#[macro_use]
pub mod needs;
mod busybox;
mod elsewhere;
mod empty_root;
pub mod engine;
mod entries;
mod events;
mod layout;
mod mounted;
mod name_server;
mod odd;
mod output;
mod process;
mod programs;
mod project;
pub mod registry;
pub mod spoiler;

pub use busybox::busybox;
pub use elsewhere::MASKED;
pub use empty_root::in_empty_root;
pub use entries::{entries, same_entries};
pub use events::Build;
pub use mounted::Mounted;
pub use name_server::{NAME_SERVER, start_name_server};
pub use odd::odd;
pub use output::Output;
pub use process::{adopt_orphans, names, nothing_runs};
pub use programs::{run, said, skopeo, umoci_unpack};
pub use project::Project;

/// Compares what a command did with a snapshot that stands in the test, after the redactions of [`output::FILTERS`].
macro_rules! snapshot {
    ($value:expr, @$snapshot:literal) => {
        insta::with_settings!({ filters => $crate::support::redactions() }, {
            insta::assert_snapshot!($value, @$snapshot);
        })
    };
}

/// The redactions of [`snapshot!`].
pub fn redactions() -> Vec<(&'static str, &'static str)> {
    output::FILTERS.to_vec()
}
