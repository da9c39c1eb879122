//! Certificates for a host: docker's and podman's `certs.d/HOST[:PORT]/`, with `*.crt` the CAs to trust, and
//! `NAME.cert` with `NAME.key` the certificate to show (containers-certs.d(5)).

use super::TLS_PORT;
use crate::{Environment, Error, Result, error::io_error};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Files, not yet read.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct TlsFiles {
    /// CAs beside the system's.
    pub authorities: Vec<PathBuf>,
    /// Certificate and key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What is there for a host, named with or without the usual port; the user's directories come before the system's.
pub(super) fn of_directories(environment: &Environment, host: &str) -> Result<TlsFiles> {
    let mut files = TlsFiles { authorities: Vec::new(), client: None };
    if host.is_empty() || host.contains('/') {
        return Ok(files);
    }
    let user = [
        environment.config_home().map(|folder| folder.join("containers/certs.d")),
        environment.home().map(|folder| folder.join(".docker/certs.d")),
    ];
    let system =
        ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(|path| Some(environment.system(path)));
    let bare = host.strip_suffix(TLS_PORT).unwrap_or(host);
    let names = if bare.ends_with(']') || !bare.contains(':') {
        vec![bare.to_owned(), format!("{bare}{TLS_PORT}")]
    } else {
        vec![bare.to_owned()]
    };
    for folder in user.into_iter().chain(system).flatten() {
        names.iter().try_for_each(|name| add(&mut files, &folder.join(name)))?;
    }
    Ok(files)
}

fn add(files: &mut TlsFiles, folder: &Path) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Ok(());
        }
        Err(error) => return Err(io_error(format!("reading {}", folder.display()))(error)),
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let other = |extension: &str| path.with_extension(extension);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => files.authorities.push(path),
            Some("cert") if !other("key").is_file() => return Err(missing(&path, &other("key"))),
            Some("key") if !other("cert").is_file() => return Err(missing(&path, &other("cert"))),
            Some("cert") if files.client.is_none() => files.client = Some((path.clone(), other("key"))),
            _ => {}
        }
    }
    Ok(())
}

fn missing(path: &Path, other: &Path) -> Error {
    let reason = format!("{} must be beside it", other.display());
    Error::Settings { place: path.display().to_string(), reason }
}
