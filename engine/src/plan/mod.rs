//! Decides, for a node whose inputs are known, whether it must be made. Pure but for reading records: `plan` and
//! `apply` decide with the same code.

mod decide;
mod environment;
mod ingredients;
mod spelled;
mod why;

pub use decide::{
    Cached, Decision, Question, common_ancestor, common_base, decide_step, decide_test, join_config,
    step_config,
};
pub use environment::{CONTAINER_HOST_NAME, StepEnvironment, environment};
pub use ingredients::{Inputs, step_ingredients, test_ingredients};
pub use why::Why;
