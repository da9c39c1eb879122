//! `rbuild login`, `rbuild logout`

use super::arguments::environment;
use crate::ui::shell::Shell;
use rbuild::{
    error::{Error, Result},
    registries::Registries,
    report::Silent,
};
use rbuild_registry::{Credential, Secret};
use std::{io::Read, sync::Arc};

/// More than any password or token.
const LONGEST_SECRET: u64 = 64 << 10;

/// Keeps a name and password for a registry where docker would
///
/// Only if the registry takes them.
#[derive(Debug, clap::Args)]
pub struct LoginArguments {
    /// The registry: HOST[:PORT], or docker.io
    #[arg(value_name = "REGISTRY")]
    registry: String,
    /// Who you are there
    #[arg(short, long, value_name = "NAME")]
    username: String,
    /// Read the password, or a token that is used as one, from the standard input
    #[arg(long, required = true)]
    password_stdin: bool,
}

/// Forgets the name and password for a registry
#[derive(Debug, clap::Args)]
pub struct LogoutArguments {
    /// The registry: HOST[:PORT], or docker.io
    #[arg(value_name = "REGISTRY")]
    registry: String,
}

impl LoginArguments {
    /// Logs in and says where the credential is kept.
    ///
    /// # Errors
    /// The registry refuses, or the credential can't be kept.
    pub fn run(self, shell: Shell) -> Result<()> {
        let mut secret = String::new();
        let read = std::io::stdin().take(LONGEST_SECRET).read_to_string(&mut secret);
        read.map_err(|error| Error::usage("the password can't be read").caused_by(error))?;
        let secret = secret.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(Error::usage("the standard input holds no password")
                .hint("as in: printf %s \"$TOKEN\" | rbuild login …"));
        }
        let credential = Credential::Password { user: self.username, secret: Secret::new(secret) };
        let place = registries().client()?.login(&self.registry, &credential)?;
        shell.print(&format!("logged in to {}, kept in {place}\n", self.registry))
    }
}

impl LogoutArguments {
    /// Logs out.
    ///
    /// # Errors
    /// The credential can't be removed.
    pub fn run(self, shell: Shell) -> Result<()> {
        let known = registries().client()?.logout(&self.registry)?;
        let registry = self.registry;
        shell.print(&match known {
            true => format!("logged out of {registry}\n"),
            false => format!("nothing was kept for {registry}\n"),
        })
    }
}

fn registries() -> Registries {
    Registries::new(&environment(), false, None, Arc::new(Silent))
}
