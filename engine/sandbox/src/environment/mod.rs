//! What a machine gives to sandboxes, why it refuses, and what to do about it.
//!
//! Nothing is guessed from version numbers: [`probe`] and [`examine`] try, in throw-away children. A bare errno has a
//! dozen causes; joined with what the machine says of itself ([`Facts`]) and where that is ([`Place`]) it becomes one
//! sentence that names cause and cure. That part is pure, so every row of its tables is tested.
//!
//! | module | what |
//! |---|---|
//! | `probe` | what steps need, tried |
//! | `examine` | all that could be used, tried one by one |
//! | `facts`, `place` | what the machine says of itself; who gave this process its root |
//! | `cause`, `cure` | errno and facts -> cause -> the sentence that helps there |

mod cause;
mod cure;
mod examine;
mod facts;
mod place;
mod probe;

pub use cure::{capabilities_cure, cure, one_id_cure, proc_cure};
pub use examine::{Examination, examine};
pub use facts::{Cgroups, Facts};
pub use place::{Place, mount_points};
pub use probe::{Capabilities, EnvironmentError, overlay_trial, probe, probe_chroot, probe_with};

use crate::Error;
use crate::error::Failure;

/// The error for a failed operation, with its cure if one is known.
pub(crate) fn explain(failure: Failure) -> Error {
    let cure = cure(&failure, &Facts::load());
    Error::Failed { failure, cure }
}
