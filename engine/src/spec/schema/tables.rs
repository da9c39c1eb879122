//! The tables of a build file, each by the name it has in the schema and in the list of the lowering.

use super::parts::{
    DURATION, MODE, NAME, OWNER, Property, REFERENCE, SIZE, arrays, choice, flag, integer, map, named,
    not_empty, one_or_more, reference, strings, table, tables, text, with, word,
};
use serde_json::{Value, json};

const PATTERN: &str = "A pattern over whole paths: *, ?, [a-z], {a,b}, **.";
const OWNER_TEXT: &str = "\"user:group\", \"user\", \"1000\" or \"1000:0\".";
const MODE_TEXT: &str = "\"0644\", or chmod's \"u=rwX,go=rX\".";
const MAX_ID: u64 = u32::MAX as u64 - 1;

/// Every table, by name.
pub fn all() -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("variable", variable()),
        ("source", one_of(&["path-source", "archive-source", "oci-source", "image-source", "host-source"])),
        ("mount", one_of(&["tree-mount", "cache-mount", "tmpfs-mount"])),
        ("step", step()),
        ("test", test()),
        ("resolve", resolve()),
        ("copy", copy()),
        ("limits", limits()),
        ("config", config()),
        ("healthcheck", healthcheck()),
        ("image", image()),
        ("output", output()),
        ("artifact", artifact()),
    ];
    all.extend(sources());
    all.extend(mounts());
    all.extend(entries());
    all
}

fn one_of(names: &[&str]) -> Value {
    let tables: Vec<Value> = names.iter().map(|name| reference(name)).collect();
    json!({ "oneOf": tables })
}

/// `[vars]`
pub fn variables() -> Value {
    let plain = json!({ "type": ["string", "integer", "boolean"] });
    let list = json!({ "type": "array", "items": { "type": "string" } });
    let mut variables = named(json!({ "anyOf": [plain, list, reference("variable")] }), false);
    if let Some(names) = variables.get_mut("propertyNames") {
        *names = with(names.clone(), json!({ "not": { "enum": ["platform", "epoch", "env", "git"] } }));
    }
    variables
}

fn variable() -> Value {
    let value = json!({ "type": ["string", "integer", "boolean", "array"], "items": { "type": "string" } });
    table(
        "A variable.",
        &[],
        vec![
            ("default", "Its value if nothing gives one.", value.clone()),
            (
                "type",
                "What it is; else what its default is. `--set` and the environment write `strings` with commas: a,b.",
                choice(&["string", "integer", "boolean", "strings"]),
            ),
            ("one-of", "The values it can have.", json!({ "type": "array", "items": value, "minItems": 1 })),
            ("pattern", PATTERN, not_empty()),
            ("env", "The environment variable of the caller that gives it.", text()),
        ],
    )
}

fn sources() -> Vec<(&'static str, Value)> {
    let ignored = "An ignore list by gitignore's rules, applied last.";
    let local = "A local folder, or a tree of one file. Never in it: .git, .rbuild-*, what this file writes.";
    let path = vec![
        ("path", local, not_empty()),
        ("only", "Patterns of what is taken; a folder means all of it.", arrays(not_empty(), 0)),
        ("exclude", ignored, strings()),
        ("gitignore", "Whether .gitignore files count.", flag(true)),
    ];
    let archive = vec![
        ("archive", "A local tar, plain or compressed by gzip, xz or zstd.", not_empty()),
        ("sha256", "The digest the file must have.", word("^[0-9a-f]{64}$")),
        ("strip", "How many leading names to drop from every entry.", integer(0, Some(1000))),
        ("owner", "`root` makes everything root:root.", choice(&["keep", "root"])),
    ];
    let oci = vec![("oci", "An image of a layout or docker-archive: PATH or PATH:REFERENCE.", not_empty())];
    let image = vec![("image", "An image of a registry, by tag or digest: HOST/PATH:TAG.", not_empty())];
    let host = vec![
        ("host", "This machine's files, read-only, never locked.", word("^/")),
        ("exclude", "Absolute paths that are left out.", arrays(word(r"^/[^*?\[!\\]*$"), 0)),
    ];
    vec![
        ("path-source", table("Local files, normalised.", &["path"], path)),
        ("archive-source", table("A local tar.", &["archive"], archive)),
        ("oci-source", table("A local image.", &["oci"], oci)),
        (
            "image-source",
            table("An image of a registry; the lock file keeps which digest a tag meant.", &["image"], image),
        ),
        ("host-source", table("This machine.", &["host"], host)),
    ]
}

/// The fields that steps and tests have in common.
fn body() -> Vec<Property> {
    let run = json!({ "anyOf": [
        { "type": "string", "pattern": r"\S" },
        { "type": "array", "items": text(), "minItems": 1, "prefixItems": [{ "pattern": r"^\S+$|\$\{" }] },
    ] });
    vec![
        ("groups", "Lines of /etc/group.", tables("group")),
        ("users", "Lines of /etc/passwd.", tables("user")),
        ("dirs", "Directories.", tables("dir")),
        ("copy", "Entries of other trees.", tables("copy")),
        ("files", "Files whose content stands here.", tables("file-text")),
        ("links", "Symbolic and hard links.", tables("link")),
        ("attrs", "Changes of owner, mode and capabilities.", tables("attr")),
        ("run", "A string is a script for the shell; an array is one command with its arguments.", run),
        ("remove", "Patterns of what goes after `run`.", arrays(not_empty(), 0)),
        ("env", "For `run`, over the inherited environment; false removes.", map("^[^=]+$", true)),
        ("pass-env", "Names taken from the caller's environment; in no key.", arrays(word("^[^=]+$"), 0)),
        ("user", "Who runs `run`.", word(OWNER)),
        ("workdir", "Where `run` runs; made if it is missing.", not_empty()),
        ("shell", "For a string `run`; `/bin/sh -eu -c` if nothing is said.", arrays(text(), 1)),
        (
            "network",
            "What `run` reaches: nobody, others but not this machine's own services, or all that this machine does.",
            choice(&["none", "private", "host"]),
        ),
        ("mounts", "Present during `run` only.", tables("mount")),
        ("limits", "What `run` may use; in no key.", reference("limits")),
        ("config", "Joined to the inherited config.", reference("config")),
        ("rerun-after", "A record older than this is not used.", word(DURATION)),
    ]
}

fn step() -> Value {
    let mut fields = vec![
        ("from", "The tree to start from.", word(REFERENCE)),
        ("merge", "Branches to join.", arrays(word(REFERENCE), 2)),
        ("base", "The common ancestor of the branches.", word(REFERENCE)),
        ("conflict", "What settles the paths that `resolve` does not.", choice(&["error", "first", "last"])),
        ("resolve", "What settles conflicts, by pattern.", tables("resolve")),
    ];
    fields.extend(body());
    let step = table("A tree made from a tree.", &[], fields);
    let needs_merge = json!({ "base": ["merge"], "conflict": ["merge"], "resolve": ["merge"] });
    with(step, json!({ "not": { "required": ["from", "merge"] }, "dependentRequired": needs_merge }))
}

fn test() -> Value {
    let mut fields = vec![
        ("from", "The tree it looks at.", word(REFERENCE)),
        ("image", "The image it looks at.", word(NAME)),
        ("expect-exit", "The exit code that passes.", integer(0, Some(255))),
    ];
    fields.extend(body());
    let test = table("A command that must pass before an image leaves.", &[], fields);
    with(
        test,
        json!({
            "oneOf": [{ "required": ["from"] }, { "required": ["image"] }],
            "dependentRequired": { "from": ["run"] },
        }),
    )
}

fn resolve() -> Value {
    table(
        "What settles a conflict.",
        &["path", "take"],
        vec![("path", PATTERN, not_empty()), ("take", "One of the branches, or `none`: absent.", text())],
    )
}

fn copy() -> Value {
    table(
        "Entries of another tree.",
        &["from", "dest"],
        vec![
            ("from", "The tree it takes from.", word(REFERENCE)),
            ("src", "A pattern or several; the whole tree if it is not there.", one_or_more()),
            ("dest", "Where it goes; a directory if it ends in `/`.", not_empty()),
            ("owner", OWNER_TEXT, word(OWNER)),
            ("mode", MODE_TEXT, word(MODE)),
            ("dir-mode", MODE_TEXT, word(MODE)),
            ("exclude", "An ignore list from each matched directory.", strings()),
            ("parents", "Each under its whole path.", flag(false)),
            ("follow", "A link named by `src` is replaced by what it points to.", flag(false)),
            ("replace", "What is at the target is removed first.", flag(false)),
            ("optional", "No match is no error.", flag(false)),
        ],
    )
}

fn entries() -> Vec<(&'static str, Value)> {
    let path = || ("path", "A path of the tree.", not_empty());
    let account = || word(r"^(?![0-9]+$)[^\s:/,-][^\s:/,]*$");
    let group = vec![
        ("name", "Its name.", account()),
        ("gid", "Its number.", integer(0, Some(MAX_ID))),
        ("members", "Names of users.", arrays(account(), 0)),
    ];
    let user = vec![
        ("name", "The login name.", account()),
        ("uid", "Its number.", integer(0, Some(MAX_ID))),
        ("gid", "Its own group; the same number if it is not there.", integer(0, Some(MAX_ID))),
        ("groups", "Names of further groups.", arrays(account(), 0)),
        ("home", "Made and owned by the user if it is missing.", word("^/[^:\n]*$")),
        ("shell", "The login shell.", word("^/[^:\n]*$")),
        ("comment", "The GECOS field.", word("^[^:\n]*$")),
    ];
    let dir = vec![path(), ("owner", OWNER_TEXT, word(OWNER)), ("mode", MODE_TEXT, word(MODE))];
    let file = vec![
        path(),
        ("content", "All of it.", text()),
        ("owner", OWNER_TEXT, word(OWNER)),
        ("mode", MODE_TEXT, word(MODE)),
        ("expand", "Whether ${name} in the content is replaced.", flag(false)),
    ];
    let link = vec![
        path(),
        ("target", "Stored as written.", not_empty()),
        ("hard", "A second name of a file instead of a symbolic link.", flag(false)),
    ];
    let attr = vec![
        ("path", PATTERN, not_empty()),
        ("owner", OWNER_TEXT, word(OWNER)),
        ("mode", MODE_TEXT, word(MODE)),
        ("dir-mode", MODE_TEXT, word(MODE)),
        ("recursive", "Everything below, too.", flag(false)),
        ("capabilities", "As for setcap: \"cap_net_bind_service+ep\".", text()),
    ];
    vec![
        ("group", table("A line of /etc/group.", &["name", "gid"], group)),
        ("user", table("A line of /etc/passwd.", &["name", "uid"], user)),
        ("dir", table("A directory.", &["path"], dir)),
        ("file-text", table("A file.", &["path", "content"], file)),
        ("link", table("A link.", &["path", "target"], link)),
        ("attr", table("A change of what is there.", &["path"], attr)),
    ]
}

fn mounts() -> Vec<(&'static str, Value)> {
    let target = || ("target", "A path of the tree.", word("^(?!/*(proc|sys|dev)?/*$)"));
    let tree = vec![
        ("from", "A tree or one file of it.", word(REFERENCE)),
        target(),
        ("write", "`discard`: writable, thrown away after.", choice(&["discard"])),
    ];
    let cache = vec![
        ("cache", "Its name: one per store and platform.", word(NAME)),
        target(),
        ("sharing", "Who may use it at once.", choice(&["shared", "locked", "private"])),
        ("owner", OWNER_TEXT, word(OWNER)),
        ("mode", MODE_TEXT, word(MODE)),
    ];
    let tmpfs = vec![
        ("tmpfs", "At most so much memory: \"512M\".", word(SIZE)),
        target(),
        ("mode", MODE_TEXT, word(MODE)),
    ];
    vec![
        ("tree-mount", table("A tree.", &["from", "target"], tree)),
        ("cache-mount", table("A directory kept between builds.", &["cache", "target"], cache)),
        ("tmpfs-mount", table("Memory.", &["tmpfs", "target"], tmpfs)),
    ]
}

fn limits() -> Value {
    let cpus = json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 65_536 });
    table(
        "What a command may use; whoever is beyond is killed, and the step fails.",
        &[],
        vec![
            ("memory", "Of all its processes together: \"2G\".", word(SIZE)),
            ("cpus", "Of all its processes together: 1.5 is one processor and a half.", cpus),
            ("time", "How long it may take: \"10m\".", word(DURATION)),
        ],
    )
}

fn config() -> Value {
    table(
        "What an image says of how it is run; joined to what is inherited.",
        &[],
        vec![
            ("entrypoint", "Setting it empties an inherited `cmd`.", strings()),
            ("cmd", "Default arguments.", strings()),
            ("user", "`name`, `name:group`, `uid`, `uid:gid`; empty resets.", text()),
            ("workdir", "Absolute; empty resets.", word("^(/.*)?$")),
            ("stop-signal", "SIGTERM, or a number.", text()),
            ("shell", "For the string forms of other builders.", strings()),
            ("healthcheck", "How to see whether a container is well.", reference("healthcheck")),
            ("env", "Merges by key; false removes.", map("^[^=]+$", true)),
            ("labels", "Merges by key; false removes.", map("", true)),
            ("ports", "Adds up.", arrays(word("^[1-9][0-9]{0,4}(/(tcp|udp|sctp))?$"), 0)),
            ("volumes", "Absolute paths; adds up.", arrays(word("^/"), 0)),
            ("inherit", "`false` starts from nothing.", flag(true)),
        ],
    )
}

fn healthcheck() -> Value {
    table(
        "How to see whether a container is well.",
        &[],
        vec![
            ("test", "[\"CMD\", …], [\"CMD-SHELL\", \"…\"] or [\"NONE\"].", strings()),
            ("interval", "Between two checks.", word(DURATION)),
            ("timeout", "Of one check.", word(DURATION)),
            ("start-period", "Failures before it do not count.", word(DURATION)),
            ("retries", "Failures in a row until it is unhealthy.", integer(0, Some(u64::from(u32::MAX)))),
        ],
    )
}

fn image() -> Value {
    let layers = json!({ "anyOf": [choice(&["steps", "squash", "base+1"]), arrays(word(NAME), 0)] });
    table(
        "An image.",
        &["from"],
        vec![
            ("from", "Its tree.", word(REFERENCE)),
            ("tags", "`name:tag`.", arrays(word("^[^@]+:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"), 0)),
            ("layers", "Where layers are cut: a word, or the steps to cut after.", layers),
            (
                "compress",
                "Of new layers; docker before 23.0 reads no zstd.",
                choice(&["gzip", "zstd", "none"]),
            ),
            ("config", "Joined to the inherited config.", reference("config")),
            ("annotations", "On the manifest.", map("", false)),
            ("tests", "Tests that must pass first.", arrays(word(NAME), 0)),
            ("output", "Where it goes; none: it stays in the store.", tables("output")),
        ],
    )
}

fn output() -> Value {
    let kinds = ["oci", "oci-archive", "docker-archive", "tar", "dir", "push", "docker"];
    let output = table(
        "One place an image goes to.",
        &[],
        vec![
            ("oci", "An image layout: DIR or DIR:REFERENCE.", not_empty()),
            ("oci-archive", "A tar of an image layout.", not_empty()),
            ("docker-archive", "What `docker load` reads.", not_empty()),
            ("tar", "The tree alone, as a tar.", not_empty()),
            ("dir", "The tree alone, as files.", not_empty()),
            ("push", "To the registries of its tags.", flag(false)),
            (
                "docker",
                "Into docker or podman, under its tags, by the socket that DOCKER_HOST or CONTAINER_HOST names; else \
                 the first that answers: /var/run/docker.sock, /run/podman/podman.sock, \
                 $XDG_RUNTIME_DIR/podman/podman.sock.",
                flag(false),
            ),
        ],
    );
    let required: Vec<Value> = kinds.iter().map(|kind| json!({ "required": [kind] })).collect();
    with(output, json!({ "oneOf": required }))
}

fn artifact() -> Value {
    table(
        "Files that go back to the workspace.",
        &["from", "path", "dest"],
        vec![
            ("from", "The tree they are in.", word(REFERENCE)),
            ("path", "A pattern or several.", one_or_more()),
            ("dest", "Where they go; a directory if it ends in `/`.", not_empty()),
            ("optional", "No match is no error.", flag(false)),
            ("mirror", "What else is in `dest` goes.", flag(false)),
        ],
    )
}
