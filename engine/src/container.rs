//! The config of a container: what a source image says, joined with what each step and the image say (spec.md 7).

use crate::spec::{
    Spanned,
    types::{Config, Environment, Healthcheck},
    words::EnvValue,
};
use rbuild_oci::oci_spec::image as oci;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// PATH where nobody sets one.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a container does by default. Field by field as in OCI's image config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerConfig {
    /// The command, before its arguments.
    pub entrypoint: Vec<String>,
    /// Default arguments, or the command itself.
    pub cmd: Vec<String>,
    /// Who runs it; empty: root.
    pub user: String,
    /// Where it runs; empty: `/`.
    pub workdir: String,
    /// Empty: SIGTERM.
    pub stop_signal: String,
    /// In the order they were first set.
    pub env: Vec<(String, String)>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `8080/tcp`
    pub ports: BTreeSet<String>,
    /// Absolute paths.
    pub volumes: BTreeSet<String>,
    /// `Healthcheck`, `Shell`, `OnBuild`: docker's, unknown to OCI.
    pub docker: BTreeMap<String, Value>,
}

impl ContainerConfig {
    /// What the configuration of an image says.
    pub fn of_image(configuration: &[u8], parsed: &oci::ImageConfiguration) -> Self {
        let raw: Value = serde_json::from_slice(configuration).unwrap_or_default();
        let docker = ["Healthcheck", "Shell", "OnBuild"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), raw.get("config")?.get(name)?.clone())))
            .filter(|(_, value)| !value.is_null())
            .collect();
        let Some(config) = parsed.config() else { return Self { docker, ..Self::default() } };
        let pair = |text: &String| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.to_owned(), value.to_owned())
        };
        Self {
            entrypoint: config.entrypoint().clone().unwrap_or_default(),
            cmd: config.cmd().clone().unwrap_or_default(),
            user: config.user().clone().unwrap_or_default(),
            workdir: config.working_dir().clone().unwrap_or_default(),
            stop_signal: config.stop_signal().clone().unwrap_or_default(),
            env: config.env().iter().flatten().map(pair).collect(),
            labels: config.labels().clone().unwrap_or_default().into_iter().collect(),
            ports: config.exposed_ports().iter().flatten().cloned().collect(),
            volumes: config.volumes().iter().flatten().cloned().collect(),
            docker,
        }
    }

    /// This config with a table of the file joined to it.
    ///
    /// # Errors
    /// The name in a `${env.NAME}` that is not set.
    pub fn joined(&self, table: &Config) -> Result<Self, String> {
        let mut config = if table.discard_inherited { Self::default() } else { self.clone() };
        let inherited_env = config.env.clone();
        if let Some(entrypoint) = &table.entrypoint {
            config.entrypoint = entrypoint.clone();
            config.cmd = Vec::new();
        }
        replace(&mut config.cmd, table.cmd.as_ref());
        replace(&mut config.user, table.user.as_ref().map(|user| &user.value));
        replace(&mut config.workdir, table.workdir.as_ref().map(|workdir| &workdir.value));
        replace(&mut config.stop_signal, table.stop_signal.as_ref());
        apply_environment(&mut config.env, &table.env, &inherited_env)?;
        for (name, value) in &table.labels {
            match value {
                Some(value) => drop(config.labels.insert(name.clone(), value.clone())),
                None => drop(config.labels.remove(name)),
            }
        }
        config.ports.extend(table.ports.iter().cloned());
        config.volumes.extend(table.volumes.iter().cloned());
        if let Some(shell) = &table.shell {
            config.set_docker("Shell", (!shell.is_empty()).then(|| json!(shell)));
        }
        if let Some(check) = &table.healthcheck {
            config.set_docker("Healthcheck", Some(healthcheck(check)));
        }
        Ok(config)
    }

    fn set_docker(&mut self, name: &str, value: Option<Value>) {
        match value {
            Some(value) => drop(self.docker.insert(name.to_owned(), value)),
            None => drop(self.docker.remove(name)),
        }
    }

    /// As OCI writes it. PATH is there even if nobody set it.
    pub fn to_oci(&self) -> oci::Config {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let list = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        let set = |set: &BTreeSet<String>| (!set.is_empty()).then(|| set.iter().cloned().collect::<Vec<_>>());
        let mut env = self.env.clone();
        if !env.iter().any(|(name, _)| name == "PATH") {
            env.insert(0, ("PATH".to_owned(), DEFAULT_PATH.to_owned()));
        }
        let mut config = oci::Config::default();
        config
            .set_entrypoint(list(&self.entrypoint))
            .set_cmd(list(&self.cmd))
            .set_user(some(&self.user))
            .set_working_dir(some(&self.workdir))
            .set_stop_signal(some(&self.stop_signal))
            .set_env(Some(env.iter().map(|(name, value)| format!("{name}={value}")).collect()))
            .set_exposed_ports(set(&self.ports))
            .set_volumes(set(&self.volumes));
        if !self.labels.is_empty() {
            config.set_labels(Some(self.labels.clone().into_iter().collect::<HashMap<_, _>>()));
        }
        config
    }
}

/// The three-way merge of configs, key by key: what one branch changed is taken. Gives the fields that several branches
/// changed differently.
pub fn merge(base: &ContainerConfig, branches: &[&ContainerConfig]) -> (ContainerConfig, Vec<String>) {
    let mut conflicts = Vec::new();
    let mut one = |name: &str, base: Value, branches: Vec<Value>| -> Value {
        let mut changed = branches.into_iter().filter(|value| *value != base);
        let Some(first) = changed.next() else { return base };
        if changed.any(|other| other != first) {
            conflicts.push(name.to_owned());
        }
        first
    };
    let mut merged = base.fields();
    let names: BTreeSet<String> =
        branches.iter().chain([&base]).flat_map(|config| config.fields().into_keys()).collect();
    for name in names {
        let of = |config: &ContainerConfig| config.fields().remove(&name).unwrap_or(Value::Null);
        let value = one(&name, of(base), branches.iter().map(|branch| of(branch)).collect());
        match value {
            Value::Null => drop(merged.remove(&name)),
            value => drop(merged.insert(name, value)),
        }
    }
    (ContainerConfig::from_fields(&merged), conflicts)
}

impl ContainerConfig {
    /// Field by field, maps key by key: `env.PATH`, `label.x`, `port.8080/tcp`.
    fn fields(&self) -> BTreeMap<String, Value> {
        let mut fields = BTreeMap::new();
        let mut put = |name: String, value: Value| drop(fields.insert(name, value));
        for (name, list) in [("entrypoint", &self.entrypoint), ("cmd", &self.cmd)] {
            if !list.is_empty() {
                put(name.to_owned(), json!(list));
            }
        }
        for (name, text) in
            [("user", &self.user), ("workdir", &self.workdir), ("stop-signal", &self.stop_signal)]
        {
            if !text.is_empty() {
                put(name.to_owned(), json!(text));
            }
        }
        self.env.iter().for_each(|(name, value)| put(format!("env.{name}"), json!(value)));
        self.labels.iter().for_each(|(name, value)| put(format!("label.{name}"), json!(value)));
        self.ports.iter().for_each(|port| put(format!("port.{port}"), json!(true)));
        self.volumes.iter().for_each(|volume| put(format!("volume.{volume}"), json!(true)));
        self.docker.iter().for_each(|(name, value)| put(format!("docker.{name}"), value.clone()));
        fields
    }

    fn from_fields(fields: &BTreeMap<String, Value>) -> Self {
        let mut config = Self::default();
        for (name, value) in fields {
            let text = value.as_str().unwrap_or_default().to_owned();
            let list = || {
                let items = value.as_array().into_iter().flatten();
                items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
            };
            match name.split_once('.') {
                None if name == "entrypoint" => config.entrypoint = list(),
                None if name == "cmd" => config.cmd = list(),
                None if name == "user" => config.user = text,
                None if name == "workdir" => config.workdir = text,
                None => config.stop_signal = text,
                Some(("env", name)) => config.env.push((name.to_owned(), text)),
                Some(("label", name)) => drop(config.labels.insert(name.to_owned(), text)),
                Some(("port", port)) => drop(config.ports.insert(port.to_owned())),
                Some(("volume", volume)) => drop(config.volumes.insert(volume.to_owned())),
                Some((_, name)) => drop(config.docker.insert(name.to_owned(), value.clone())),
            }
        }
        config
    }
}

/// Sets and removes variables of `env`; `${env.NAME}` is what NAME is in `inherited`.
///
/// # Errors
/// A NAME that is not set there. PATH always is.
pub fn apply_environment(
    env: &mut Vec<(String, String)>,
    table: &Environment,
    inherited: &[(String, String)],
) -> Result<(), String> {
    let lookup = |name: &str| {
        let found = inherited.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        found.or_else(|| (name == "PATH").then(|| DEFAULT_PATH.to_owned()))
    };
    for (name, value) in table {
        let value: Option<String> = match value {
            Some(Spanned { value, .. }) => Some(resolve(value, &lookup)?),
            None => None,
        };
        match (env.iter_mut().find(|(known, _)| known == name), value) {
            (Some(known), Some(value)) => known.1 = value,
            (None, Some(value)) => env.push((name.clone(), value)),
            (_, None) => env.retain(|(known, _)| known != name),
        }
    }
    Ok(())
}

fn resolve(value: &EnvValue, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    value.resolve(lookup).map_err(str::to_owned)
}

fn replace<T: Clone>(field: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        field.clone_from(value);
    }
}

fn healthcheck(check: &Healthcheck) -> Value {
    let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let mut value = serde_json::Map::new();
    if !check.test.is_empty() {
        value.insert("Test".to_owned(), json!(check.test));
    }
    let times =
        [("Interval", check.interval), ("Timeout", check.timeout), ("StartPeriod", check.start_period)];
    for (name, time) in times.into_iter().filter_map(|(name, time)| Some((name, time?))) {
        value.insert(name.to_owned(), json!(nanoseconds(time)));
    }
    if let Some(retries) = check.retries {
        value.insert("Retries".to_owned(), json!(retries));
    }
    Value::Object(value)
}
