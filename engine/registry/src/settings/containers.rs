//! podman's `registries.conf` (containers-registries.conf(5), version 2) as far as it says where images are.
//!
//! The file is `$CONTAINERS_REGISTRIES_CONF`, or else the user's, or else the system's, or else the distribution's;
//! drop-ins (`registries.conf.d/*.conf` of system and user, in the order of their names) come after it and replace
//! what it says of a prefix or alias. What is not about places (`short-name-mode`, credential helpers) is not read.

use super::{By, Mirror, Protocol, covers, location};
use crate::{Environment, Error, Result, error::io_error};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};
use toml::Spanned;

const FILE: &str = "containers/registries.conf";
const DROP_INS: &str = "containers/registries.conf.d";
const SHORT_NAMES: &str = "containers/short-name-aliases.conf";

/// All files together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Containers {
    rules: BTreeMap<String, Rule>,
    aliases: BTreeMap<String, String>,
}

/// What is said of one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub location: Option<String>,
    pub insecure: bool,
    pub blocked: bool,
    pub mirrors: Vec<Mirror>,
    /// The file and line.
    pub place: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    registry: Vec<Spanned<RegistryEntry>>,
    aliases: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct RegistryEntry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<Spanned<MirrorEntry>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct MirrorEntry {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
}

impl Containers {
    pub fn load(environment: &Environment) -> Result<Self> {
        let mut all = Self::default();
        for path in files(environment)? {
            all.add(&path)?;
        }
        Ok(all)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let Some(text) = read(path)? else { return Ok(()) };
        let file = path.display().to_string();
        let document: Document = toml::from_str(&text).map_err(|error| Error::Settings {
            place: file.clone(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        let place = |at: usize| format!("{file}:{}", text[..at].matches('\n').count() + 1);
        for entry in document.registry {
            let (prefix, rule) = rule(entry, &place)?;
            self.rules.insert(prefix, rule);
        }
        for (name, full) in document.aliases {
            match full.is_empty() {
                true => self.aliases.remove(&name),
                false => self.aliases.insert(name, full),
            };
        }
        Ok(())
    }

    /// The rule for a repository, and the part of its name that the location stands for.
    pub fn find<'s>(&'s self, name: &'s str) -> Option<(&'s str, &'s Rule)> {
        let covering = self
            .rules
            .iter()
            .filter_map(|(prefix, rule)| covers(prefix, name).map(|count| (prefix, count, rule)));
        let (_, count, rule) =
            covering.max_by_key(|(prefix, ..)| (!prefix.starts_with('*'), prefix.len()))?;
        Some((&name[..count], rule))
    }

    /// What a short name stands for, with its tag and digest. Only names without a registry are short.
    pub fn alias(&self, text: &str) -> Option<String> {
        let end = text.find('@').unwrap_or(text.len());
        let name_end = text[..end].rfind(':').filter(|at| !text[*at..end].contains('/')).unwrap_or(end);
        let (name, rest) = text.split_at(name_end);
        let first = name.split('/').next().unwrap_or_default();
        let has_registry = name.contains('/') && (first.contains(['.', ':', '[']) || first == "localhost");
        let full = self.aliases.get(name).filter(|_| !has_registry)?;
        Some(format!("{full}{rest}"))
    }
}

/// A table's prefix and what it says. `place` tells a byte's line.
fn rule(entry: Spanned<RegistryEntry>, place: &dyn Fn(usize) -> String) -> Result<(String, Rule)> {
    let table = place(entry.span().start);
    let entry = entry.into_inner();
    let refuse = |reason: String| Error::Settings { place: table.clone(), reason };
    let prefix = if entry.prefix.is_empty() { &entry.location } else { &entry.prefix };
    let prefix = prefix.trim_end_matches('/').to_owned();
    if prefix.is_empty() {
        return Err(refuse("a [[registry]] needs a `prefix` or a `location`".to_owned()));
    }
    let moved = Some(entry.location).filter(|text| !text.is_empty());
    let moved = moved.map(|text| location(&text)).transpose();
    let moved = moved.map_err(|reason| refuse(format!("the location {reason}")))?;
    let mirrors = entry.mirror.into_iter().map(|one| mirror(one, entry.mirror_by_digest_only, place));
    let mirrors = mirrors.collect::<Result<_>>()?;
    let (insecure, blocked) = (entry.insecure, entry.blocked);
    Ok((prefix, Rule { location: moved, insecure, blocked, mirrors, place: table }))
}

fn mirror(
    entry: Spanned<MirrorEntry>,
    by_digest_only: bool,
    place: &dyn Fn(usize) -> String,
) -> Result<Mirror> {
    let place = place(entry.span().start);
    let entry = entry.into_inner();
    let refuse = |reason: String| Error::Settings { place: place.clone(), reason };
    let location = location(&entry.location).map_err(|reason| refuse(format!("mirror {reason}")))?;
    let only = match entry.pull_from_mirror.as_str() {
        "digest-only" => Some(By::Digest),
        "tag-only" => Some(By::Tag),
        "all" | "" => by_digest_only.then_some(By::Digest),
        other => {
            let reason = format!("pull-from-mirror is all, digest-only or tag-only, not {other:?}");
            return Err(refuse(reason));
        }
    };
    let protocol = entry.insecure.then_some(Protocol::Insecure);
    Ok(Mirror { location, protocol, only, place })
}

/// The files there may be, in order.
fn files(environment: &Environment) -> Result<Vec<PathBuf>> {
    let config = environment.config_home();
    let mut files = Vec::new();
    match environment.path("CONTAINERS_REGISTRIES_CONF") {
        Some(path) => files.push(path),
        None => {
            let user = config.as_ref().map(|folder| folder.join(FILE));
            let system = environment.system("/etc").join(FILE);
            let distribution = environment.system("/usr/share").join(FILE);
            let candidates = user.into_iter().chain([system, distribution]);
            files.extend(candidates.into_iter().find(|path| path.is_file()));
        }
    }
    let mut drop_ins = Vec::new();
    let folders = [Some(environment.system("/etc")), config].into_iter().flatten();
    for folder in folders {
        drop_ins.extend(conf_files(&folder.join(DROP_INS))?);
    }
    files.extend(drop_ins);
    files.extend(environment.cache_home().map(|folder| folder.join(SHORT_NAMES)));
    Ok(files)
}

fn conf_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(io_error(format!("reading {}", folder.display()))(error)),
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "conf")).collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(io_error(format!("reading {}", path.display()))(error)),
    }
}

/// What a user can't read does not count as there: podman's own files are sometimes root's.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}
