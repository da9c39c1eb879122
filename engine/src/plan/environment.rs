//! What a command's environment is made of (spec.md 6, "What a command sees").

use crate::{
    container::{ContainerConfig, DEFAULT_PATH, apply_environment},
    error::{Error, Result},
    spec::types::Body,
};
use std::collections::BTreeMap;

/// The name a step's machine has.
pub const CONTAINER_HOST_NAME: &str = "rbuild";

/// Proxies pass by themselves while the network is on; lower and upper case are both in use.
const PROXIES: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
];

/// The environment of a command, apart from HOME, which the tree's /etc/passwd gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepEnvironment {
    /// In the key: from the config, and the step's own.
    pub keyed: Vec<(String, String)>,
    /// In no key: from the caller.
    pub passed: Vec<(String, String)>,
}

impl StepEnvironment {
    /// All of it, each over the one before: PATH, HOME, SOURCE_DATE_EPOCH, the config's, the caller's, the step's.
    pub fn with(&self, home: &str, epoch: i64) -> Vec<(String, String)> {
        let base = [("PATH", DEFAULT_PATH), ("HOME", home), ("SOURCE_DATE_EPOCH", &epoch.to_string())]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut all: BTreeMap<String, String> = base.into_iter().collect();
        // What the step sets wins over what the caller passes, so those of both are put in last.
        all.extend(self.passed.iter().cloned());
        all.extend(self.keyed.iter().cloned());
        all.into_iter().collect()
    }
}

/// The environment of a step's `run` over this config.
///
/// # Errors
/// `${env.NAME}` of a variable that is not set.
pub fn environment(
    body: &Body,
    config: &ContainerConfig,
    caller: &BTreeMap<String, String>,
) -> Result<StepEnvironment> {
    let passed_names = body.pass_env.iter().map(String::as_str);
    let proxies = PROXIES.into_iter().filter(|_| body.network.is_open());
    let passed: Vec<(String, String)> = passed_names
        .chain(proxies)
        .filter_map(|name| Some((name.to_owned(), caller.get(name)?.clone())))
        .collect();
    let mut keyed = config.env.clone();
    // What the caller passes stands over the config's, so the config's must not win it back.
    keyed.retain(|(name, _)| !body.pass_env.contains(name) || !caller.contains_key(name));
    let inherited: Vec<(String, String)> = config.env.iter().chain(&passed).cloned().collect();
    apply_environment(&mut keyed, &body.env, &inherited).map_err(|name| {
        Error::spec(
            "unknown-variable",
            format!("`${{env.{name}}}`: {name} is not set in what the step inherits"),
        )
    })?;
    Ok(StepEnvironment { keyed, passed })
}
