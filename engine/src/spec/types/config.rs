//! `config`, and environment variables.

use super::{EnvValue, Spanned};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Environment variables of one table by name; `None` removes an inherited one.
pub type Environment = BTreeMap<String, Option<Spanned<EnvValue>>>;

/// `config`: of a field only what this table says; joined to what is inherited.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Config {
    /// Setting it empties an inherited `cmd`.
    pub entrypoint: Option<Vec<String>>,
    /// Default arguments.
    pub cmd: Option<Vec<String>>,
    /// `name`, `name:group`, `uid`, `uid:gid`; empty resets.
    pub user: Option<Spanned<String>>,
    /// Absolute; empty resets.
    pub workdir: Option<Spanned<String>>,
    /// `SIGTERM` or a number; empty resets.
    pub stop_signal: Option<String>,
    /// For the string forms of other builders.
    pub shell: Option<Vec<String>>,
    /// How to see whether a container is well.
    pub healthcheck: Option<Healthcheck>,
    /// Merges by key; `None` removes. `${env.X}` means the value without this table.
    pub env: Environment,
    /// Merges by key; `None` removes.
    pub labels: BTreeMap<String, Option<String>>,
    /// `8080/tcp`; adds up. The protocol is filled in.
    pub ports: BTreeSet<String>,
    /// Absolute paths; adds up.
    pub volumes: BTreeSet<String>,
    /// `inherit = false`: starts from nothing.
    pub discard_inherited: bool,
}

/// `config.healthcheck`
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", "…"]`, `["NONE"]`; empty: inherits.
    pub test: Vec<String>,
    /// Between two checks.
    pub interval: Option<Duration>,
    /// Of one check.
    pub timeout: Option<Duration>,
    /// Failures before it do not count.
    pub start_period: Option<Duration>,
    /// Failures in a row until the container is unhealthy.
    pub retries: Option<u32>,
}
