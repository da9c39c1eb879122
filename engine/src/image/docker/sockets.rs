//! Where a container engine may answer.

use crate::error::{Error, Result};
use std::{collections::BTreeMap, path::PathBuf};

/// The variables that name a socket, the more important one first. An empty one is as one that is not set.
const VARIABLES: [&str; 2] = ["DOCKER_HOST", "CONTAINER_HOST"];

/// The sockets to be tried, in this order, for a caller with these variables: what a variable names is the only one.
///
/// # Errors
/// `docker-failed`: a variable names something else than a socket of this machine.
pub(super) fn candidates(variables: &BTreeMap<String, String>) -> Result<Vec<PathBuf>> {
    let set = |name: &str| variables.get(name).map(String::as_str).filter(|value| !value.is_empty());
    if let Some((name, value)) = VARIABLES.iter().find_map(|name| Some((name, set(name)?))) {
        return match value.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            Some(path) => Ok(vec![path.into()]),
            None => Err(not_a_socket(name, value)),
        };
    }
    let of_user = |name: &str| set("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join(name));
    let everywhere = |path: &str| Some(PathBuf::from(path));
    let all = [
        everywhere("/var/run/docker.sock"),
        of_user("docker.sock"),
        everywhere("/run/podman/podman.sock"),
        of_user("podman/podman.sock"),
    ];
    Ok(all.into_iter().flatten().collect())
}

fn not_a_socket(name: &str, value: &str) -> Error {
    // Of an address only its scheme is told: there may be a password in it.
    let told = value.split_once("://").map_or("something else", |(scheme, _)| scheme);
    let message = format!("{name} is no socket of this machine (`unix:///PATH`), but {told}");
    Error::source("docker-failed", message)
        .hint("images can be loaded through sockets only; `push` takes them to other machines")
        .hint(format!("without {name} the sockets of docker and podman are tried"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Result<Vec<String>> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let paths = candidates(&variables.iter().map(owned).collect())?;
        Ok(paths.into_iter().map(|path| path.display().to_string()).collect())
    }

    #[test]
    fn a_variable_decides_and_else_all_are_tried() {
        let own = ("XDG_RUNTIME_DIR", "/run/user/7");
        let docker = ("DOCKER_HOST", "unix:///d.sock");
        assert_eq!(found(&[own, docker, ("CONTAINER_HOST", "unix:///p.sock")]).unwrap(), ["/d.sock"]);
        assert_eq!(found(&[("DOCKER_HOST", ""), ("CONTAINER_HOST", "unix:///p.sock")]).unwrap(), ["/p.sock"]);
        let everywhere = ["/var/run/docker.sock", "/run/podman/podman.sock"];
        assert_eq!(found(&[]).unwrap(), everywhere);
        let [docker, podman] = everywhere;
        let all = [docker, "/run/user/7/docker.sock", podman, "/run/user/7/podman/podman.sock"];
        assert_eq!(found(&[own]).unwrap(), all);
    }

    #[test]
    fn other_addresses_are_refused_without_what_may_be_secret_in_them() {
        for (value, told) in [
            ("tcp://name:password@host:2375", "but tcp"),
            ("ssh://host", "but ssh"),
            ("/var/run/docker.sock", "but something else"),
            ("unix://docker.sock", "but unix"),
        ] {
            let error = found(&[("DOCKER_HOST", value)]).unwrap_err();
            assert!(error.message().ends_with(told), "{error}");
            assert_eq!(error.code(), Some("docker-failed"));
        }
    }
}
