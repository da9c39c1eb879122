//! `docker-credential-NAME`: `get` and `erase` take a server's name, `store` takes JSON; `get` answers JSON.

use super::Credential;
use crate::{Environment, Error, Result, Secret, error::quoted};
use serde::{Deserialize, Serialize};
use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

/// The name that stands for an identity token.
const TOKEN_USER: &str = "<token>";
/// What a helper prints if it has nothing (docker-credential-helpers, `credentials/error.go`).
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    username: String,
    secret: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Kept<'a> {
    #[serde(rename = "ServerURL")]
    server: &'a str,
    username: &'a str,
    secret: &'a str,
}

/// What the helper knows of a server.
pub(super) fn get(environment: &Environment, name: &str, server: &str) -> Result<Option<Credential>> {
    let output = run(environment, name, "get", server.as_bytes())?;
    if !output.status.success() {
        return if has_nothing(&output) { Ok(None) } else { Err(failure(name, "get", &output)) };
    }
    // Its words may be secrets, so they are not told.
    let found: Found = serde_json::from_slice(&output.stdout).map_err(|_| {
        refuse(name, "its answer to `get` is not what a credential helper answers".to_owned())
    })?;
    if found.secret.is_empty() {
        return Ok(None);
    }
    let secret = Secret::new(found.secret);
    Ok(Some(match found.username.as_str() {
        TOKEN_USER => Credential::IdentityToken(secret),
        _ => Credential::Password { user: found.username, secret },
    }))
}

/// Gives the helper a credential to keep.
pub(super) fn store(
    environment: &Environment,
    name: &str,
    server: &str,
    credential: &Credential,
) -> Result<()> {
    let (username, secret) = match credential {
        Credential::Password { user, secret } => (user.as_str(), secret),
        Credential::IdentityToken(secret) => (TOKEN_USER, secret),
        Credential::RegistryToken(_) => {
            return Err(refuse(name, "a credential helper keeps no registry tokens".to_owned()));
        }
    };
    let kept = Kept { server, username, secret: secret.expose() };
    let input =
        serde_json::to_vec(&kept).map_err(|_| refuse(name, "its input can't be written".to_owned()))?;
    let output = run(environment, name, "store", &input)?;
    if output.status.success() { Ok(()) } else { Err(failure(name, "store", &output)) }
}

/// Makes the helper forget.
pub(super) fn erase(environment: &Environment, name: &str, server: &str) -> Result<()> {
    let output = run(environment, name, "erase", server.as_bytes())?;
    if output.status.success() || has_nothing(&output) {
        Ok(())
    } else {
        Err(failure(name, "erase", &output))
    }
}

fn run(environment: &Environment, name: &str, action: &str, input: &[u8]) -> Result<Output> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(refuse(&quoted(name), "that is no name of a credential helper".to_owned()));
    }
    let failed = |error: std::io::Error| {
        let hint =
            if error.kind() == std::io::ErrorKind::NotFound { " (is it installed and in PATH?)" } else { "" };
        refuse(name, format!("it can't be run: {error}{hint}"))
    };
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg(action)
        .env_clear()
        .envs(environment.variables())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input says itself what is wrong.
        let _ = stdin.write_all(input);
    }
    child.wait_with_output().map_err(failed)
}

fn has_nothing(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stdout).trim() == NOT_FOUND
}

/// Standard output is left out: a helper that half worked may have printed a secret there.
fn failure(name: &str, action: &str, output: &Output) -> Error {
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.lines().rev().find(|line| !line.trim().is_empty()).map(quoted).unwrap_or_default();
    let colon = if words.is_empty() { "" } else { ": " };
    refuse(name, format!("`{action}` failed ({}){colon}{words}", output.status))
}

fn refuse(name: &str, reason: String) -> Error {
    Error::Credentials { place: format!("docker-credential-{name}"), reason }
}
