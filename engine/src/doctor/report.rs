//! What is told, as data: for people `rbuild doctor`, for programs `rbuild doctor --json`.

use rbuild_sandbox::Place;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a machine gives to rbuild. Sentences may change with any version, words don't.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Format of this report.
    #[schemars(extend("const" = super::VERSION))]
    pub version: u32,
    /// The version of rbuild.
    pub rbuild: String,
    /// Who gave this process its root, as far as remedies differ.
    #[schemars(extend("enum" = Place::ALL.map(Place::word)))]
    pub place: String,
    /// The same for people.
    pub place_described: String,
    /// The file or variable that told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign: Option<String>,
    /// The kernel's release.
    pub kernel: String,
    /// How steps get their root filesystem.
    pub tier: Tier,
    /// How many ids a step has; 0 without a tier.
    pub ids: u64,
    /// Everything that rbuild can use.
    pub checks: Vec<Check>,
    /// What would give a better tier, more ids or a store: remedies of the checks, the most important first.
    pub better: Vec<String>,
}

/// How steps get their root filesystem.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// User namespaces, and a FUSE filesystem mounted inside them.
    Fuse,
    /// User namespaces, and the kernel's overlayfs mounted inside them.
    Overlay,
    /// A directory, without isolation from the container around it.
    Chroot,
    /// Not at all: what has no `run` works.
    None,
}

/// One thing that rbuild can use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// Which.
    pub name: Name,
    /// Whether it is there.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What it costs that it is missing or limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costs: Option<String>,
    /// What helps here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// User, mount, pid, IPC and UTS namespaces, and mounts inside them.
    UserNamespaces,
    /// A range of ids for steps.
    Ids,
    /// FUSE filesystems.
    Fuse,
    /// The kernel's overlayfs in a user namespace.
    Overlay,
    /// A root without namespaces.
    Chroot,
    /// A network namespace.
    Network,
    /// A way outward from one.
    PrivateNetwork,
    /// A fresh /proc.
    Proc,
    /// Control groups.
    Cgroup,
    /// System call filters.
    Seccomp,
    /// The kernel's version.
    Kernel,
    /// The store's folder.
    Store,
    /// Stores that are only read.
    ReadOnlyStores,
    /// HOME.
    Home,
}

impl Name {
    /// As it stands in a report.
    pub fn word(self) -> &'static str {
        match self {
            Self::UserNamespaces => "user-namespaces",
            Self::Ids => "ids",
            Self::Fuse => "fuse",
            Self::Overlay => "overlay",
            Self::Chroot => "chroot",
            Self::Network => "network",
            Self::PrivateNetwork => "private-network",
            Self::Proc => "proc",
            Self::Cgroup => "cgroup",
            Self::Seccomp => "seccomp",
            Self::Kernel => "kernel",
            Self::Store => "store",
            Self::ReadOnlyStores => "read-only-stores",
            Self::Home => "home",
        }
    }
}

/// Whether something is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is.
    Ok,
    /// Less than could be.
    Limited,
    /// It is not.
    Missing,
    /// It could not be tried, since something it stands on is missing.
    Untried,
}

impl State {
    /// As it stands in a report.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
            Self::Untried => "untried",
        }
    }
}

impl Tier {
    /// As it stands in a report.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fuse => "fuse",
            Self::Overlay => "overlay",
            Self::Chroot => "chroot",
            Self::None => "none",
        }
    }
}

impl Report {
    /// The JSON Schema.
    pub fn schema() -> serde_json::Value {
        let mut schema = schemars::schema_for!(Self).to_value();
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("title".to_owned(), "rbuild doctor".into());
        }
        schema
    }

    /// `tier: fuse, 65,536 ids`
    pub fn verdict(&self) -> String {
        match (self.tier, self.ids) {
            (Tier::None, _) => "tier: none, what has no `run` works".to_owned(),
            (Tier::Chroot, _) => "tier: chroot, steps are not isolated from what is around them".to_owned(),
            (tier, 1) => format!("tier: {}, one id", tier.word()),
            (tier, ids) => format!("tier: {}, {} ids", tier.word(), thousands(ids)),
        }
    }
}

/// `65,536`
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
