//! `config.json` and `auth.json`.

use super::Credential;
use crate::{Error, Result, Secret, error::io_error};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is read of a file.
#[derive(Deserialize, Default)]
pub(super) struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
    #[serde(skip)]
    place: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl AuthFile {
    /// Reads a file; none if it is not there, or empty.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        let Some(bytes) = read(path)? else { return Ok(None) };
        let place = path.display().to_string();
        // The cause is not told: it may quote a value.
        let parsed: Result<Self, _> = serde_json::from_slice(&bytes);
        let mut file = parsed.map_err(|error| malformed(&place, &error))?;
        file.place = place;
        Ok(Some(file))
    }

    /// The helper for a registry of these names: one of its own, or else the one for all.
    pub fn helper(&self, names: &[&str]) -> Option<&str> {
        let own = names.iter().filter_map(|name| self.helpers.get(*name));
        own.chain([&self.store]).map(String::as_str).find(|helper| !helper.is_empty())
    }

    /// The entry of the first of these keys that is there and says something.
    pub fn entry(&self, keys: &[String], registry: &str) -> Result<Option<Credential>> {
        for wanted in keys {
            let exact = self.auths.get_key_value(wanted);
            let old = || self.auths.iter().find(|(key, _)| host_of_key(key) == Some(wanted.as_str()));
            let Some((key, entry)) = exact.or_else(old) else { continue };
            if let Some(found) = entry.credential(&self.place, key, registry)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    pub fn has_entry(&self, names: &[String]) -> bool {
        self.auths.keys().any(|key| is_key_of(key, names))
    }
}

impl Entry {
    fn credential(&self, place: &str, key: &str, registry: &str) -> Result<Option<Credential>> {
        let refuse = |reason: &str| Error::Credentials {
            place: place.to_owned(),
            reason: format!("its entry {key:?} {reason}: log in to {registry} again"),
        };
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::IdentityToken(Secret::new(&self.identitytoken))));
        }
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credential::RegistryToken(Secret::new(&self.registrytoken))));
        }
        if !self.username.is_empty() && !self.password.is_empty() && self.auth.is_empty() {
            let secret = Secret::new(&self.password);
            return Ok(Some(Credential::Password { user: self.username.clone(), secret }));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let bytes = BASE64.decode(self.auth.trim()).map_err(|_| refuse("is no base64"))?;
        let text = String::from_utf8(bytes).map_err(|_| refuse("is no text"))?;
        let (user, password) =
            text.split_once(':').ok_or_else(|| refuse("has no `:` after the user's name"))?;
        let secret = Secret::new(password.trim_end_matches('\0'));
        Ok(Some(Credential::Password { user: user.to_owned(), secret }))
    }
}

/// The host of a key in docker's old form, which is a URL.
fn host_of_key(key: &str) -> Option<&str> {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"))?;
    rest.split('/').next()
}

/// Whether a key of `auths` stands for a registry of these names.
pub(super) fn is_key_of(key: &str, names: &[String]) -> bool {
    names.iter().any(|name| name == key || host_of_key(key) == Some(name))
}

/// Changes `auths` in a file, and nothing else: it is written anew beside the old one, for its owner alone.
pub(super) fn change(path: &Path, edit: impl FnOnce(&mut Map<String, Value>)) -> Result<()> {
    let shown = path.display().to_string();
    // A link stays a link: what it points to is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || io_error(format!("writing {shown}"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed())?;
    let lock = File::open(folder).map_err(failed())?;
    let _ = lock.lock(); // some file systems have no locks on directories; then there is just none
    let mut root = match read(&path)? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| malformed(&shown, &error))?,
        None => Value::Object(Map::new()),
    };
    let wrong =
        || Error::Credentials { place: shown.clone(), reason: "`auths` must be an object".to_owned() };
    let members = root.as_object_mut().ok_or_else(wrong)?;
    let auths = members.entry("auths").or_insert_with(|| Value::Object(Map::new()));
    edit(auths.as_object_mut().ok_or_else(wrong)?);
    let bytes = serde_json::to_vec_pretty(&root).map_err(|error| failed()(error.into()))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed())?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed())?;
    file.write_all(&bytes).and_then(|()| file.write_all(b"\n")).map_err(failed())?;
    file.as_file().sync_all().map_err(failed())?;
    file.persist(&path).map_err(|error| failed()(error.error))?;
    Ok(())
}

/// Puts a credential in.
pub(super) fn put(auths: &mut Map<String, Value>, key: &str, credential: &Credential) {
    let mut entry = Map::new();
    let (name, value) = match credential {
        Credential::Password { user, secret } => {
            ("auth", BASE64.encode(format!("{user}:{}", secret.expose())))
        }
        Credential::IdentityToken(secret) => ("identitytoken", secret.expose().to_owned()),
        Credential::RegistryToken(secret) => ("registrytoken", secret.expose().to_owned()),
    };
    entry.insert(name.to_owned(), Value::String(value));
    auths.insert(key.to_owned(), Value::Object(entry));
}

/// Says that there is a credential elsewhere.
pub(super) fn put_empty(auths: &mut Map<String, Value>, key: &str) {
    auths.insert(key.to_owned(), Value::Object(Map::new()));
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Ok(None),
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(io_error(format!("reading {}", path.display()))(error)),
    }
}

fn malformed(place: &str, error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let reason = format!("it is no file of credentials: line {line}, column {column} can't be read");
    Error::Credentials { place: place.to_owned(), reason }
}
