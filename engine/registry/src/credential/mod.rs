//! Who the user is to a registry: docker's and podman's files and helpers.
//!
//! Looked for in this order; the first place that has something for a registry wins:
//!
//! 1. `$REGISTRY_AUTH_FILE`, and then nowhere else
//! 2. `$DOCKER_CONFIG/config.json`, or else `~/.docker/config.json`
//! 3. `$XDG_RUNTIME_DIR/containers/auth.json`
//! 4. `~/.config/containers/auth.json`
//!
//! In a file, `credHelpers` and `credsStore` come before `auths`. A key of `auths` may be a registry or a repository
//! or a part of its path (podman); the longest wins. docker keeps its own registry under `https://index.docker.io/v1/`.
//!
//! Formats: docker's `config.json`, containers-auth.json(5), and the protocol of docker-credential-helpers.
//!
//! | module | what |
//! |---|---|
//! | `file` | finding, reading and changing files |
//! | `helper` | talking to `docker-credential-NAME` |
//!
//! The crate docker_credential 1.4 does the reading of it too, but: it knows no keys of repositories and no
//! `registrytoken`, stops at the first file that exists, says only "Unable to read config" where a file is malformed,
//! and puts a failed helper's output, where secrets are, into its errors. It writes nothing, which login needs.

mod file;
mod helper;

use crate::{
    Environment, Repository, Result, Secret,
    reference::{DOCKER_HUB, DOCKER_HUB_NAMES},
};
use file::AuthFile;
use std::path::PathBuf;

/// What docker calls its registry in its files.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// What shows who the user is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Credential {
    /// A name and a password (or access token that is used as one).
    Password {
        /// The name.
        user: String,
        /// The password.
        secret: Secret,
    },
    /// An OAuth 2 refresh token, exchanged at the token server.
    IdentityToken(Secret),
    /// A bearer token that the registry takes as it is.
    RegistryToken(Secret),
}

/// The user's files and helpers.
#[derive(Clone, Debug)]
pub struct Credentials {
    environment: Environment,
}

impl Credentials {
    /// Those that these variables lead to.
    pub fn new(environment: Environment) -> Self {
        Self { environment }
    }

    /// The credential for a repository.
    ///
    /// # Errors
    /// [`Error::Credentials`](crate::Error::Credentials) if a file or helper can't be used.
    pub fn find(&self, repository: &Repository) -> Result<Option<Credential>> {
        self.find_at(repository.registry(), repository.path())
    }

    /// Where the path is empty, the credential for the registry as a whole.
    pub(crate) fn find_at(&self, registry: &str, path: &str) -> Result<Option<Credential>> {
        let keys = keys(registry, path);
        for path in self.readable() {
            let Some(file) = AuthFile::load(&path)? else { continue };
            if let Some(name) = file.helper(&names(registry)) {
                let server = server_key(registry);
                if let Some(found) = helper::get(&self.environment, name, server)? {
                    return Ok(Some(found));
                }
            }
            if let Some(found) = file.entry(&keys, registry)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Keeps a credential where `docker login` would: in the helper that the file names for this registry, or else in
    /// the file, whose other content stays. Says where.
    ///
    /// # Errors
    /// [`Error::Credentials`](crate::Error::Credentials), [`Error::Io`](crate::Error::Io).
    pub fn store(&self, registry: &str, credential: &Credential) -> Result<String> {
        let path = self.writable()?;
        let file = AuthFile::load(&path)?.unwrap_or_default();
        if let Some(name) = file.helper(&names(registry)) {
            helper::store(&self.environment, name, server_key(registry), credential)?;
            // docker, too, leaves an empty entry, so that the file tells which registries there are.
            file::change(&path, |auths| file::put_empty(auths, server_key(registry)))?;
            return Ok(format!("docker-credential-{name}"));
        }
        file::change(&path, |auths| file::put(auths, server_key(registry), credential))?;
        Ok(path.display().to_string())
    }

    /// Forgets what [`Self::store`] kept. False if there was nothing.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub fn erase(&self, registry: &str) -> Result<bool> {
        let path = self.writable()?;
        let Some(file) = AuthFile::load(&path)? else { return Ok(false) };
        let mut found = false;
        if let Some(name) = file.helper(&names(registry)) {
            let server = server_key(registry);
            found |= helper::get(&self.environment, name, server)?.is_some();
            helper::erase(&self.environment, name, server)?;
        }
        let keys = keys(registry, "");
        if file.has_entry(&keys) {
            found = true;
            file::change(&path, |auths| auths.retain(|key, _| !file::is_key_of(key, &keys)))?;
        }
        Ok(found)
    }

    fn docker_file(&self) -> Option<PathBuf> {
        let folder = self.environment.path("DOCKER_CONFIG");
        let folder = folder.or_else(|| self.environment.home().map(|home| home.join(".docker")));
        folder.map(|folder| folder.join("config.json"))
    }

    fn readable(&self) -> Vec<PathBuf> {
        if let Some(path) = self.environment.path("REGISTRY_AUTH_FILE") {
            return vec![path];
        }
        let podman = "containers/auth.json";
        let runtime = self.environment.path("XDG_RUNTIME_DIR").map(|folder| folder.join(podman));
        let config = self.environment.config_home().map(|folder| folder.join(podman));
        [self.docker_file(), runtime, config].into_iter().flatten().collect()
    }

    fn writable(&self) -> Result<PathBuf> {
        self.environment.path("REGISTRY_AUTH_FILE").or_else(|| self.docker_file()).ok_or_else(|| {
            crate::Error::Credentials {
                place: "credentials".to_owned(),
                reason: "there is no home directory to keep them in: set HOME or DOCKER_CONFIG".to_owned(),
            }
        })
    }
}

/// Keys for a repository, the longest first, down to the registry.
fn keys(registry: &str, path: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut path = path;
    while !path.is_empty() {
        keys.push(format!("{registry}/{path}"));
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    keys.extend(names(registry).into_iter().map(str::to_owned));
    keys
}

/// The names under which a registry stands in files.
fn names(registry: &str) -> Vec<&str> {
    match registry {
        DOCKER_HUB => DOCKER_HUB_NAMES.into_iter().chain([DOCKER_HUB_KEY]).collect(),
        _ => vec![registry],
    }
}

/// The name that a helper is asked for, and that is written.
fn server_key(registry: &str) -> &str {
    if registry == DOCKER_HUB { DOCKER_HUB_KEY } else { registry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_key_first() {
        assert_eq!(
            keys("r.example:5000", "a/b"),
            ["r.example:5000/a/b", "r.example:5000/a", "r.example:5000"]
        );
        assert_eq!(keys("docker.io", "")[0], "docker.io");
        assert!(keys("docker.io", "library/x").contains(&DOCKER_HUB_KEY.to_owned()));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let credential = Credential::Password { user: "me".to_owned(), secret: Secret::new("hunter2") };
        let shown = format!("{credential:?} {:?}", Credential::IdentityToken(Secret::new("hunter2")));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
