//! What each code means, for `rbuild explain CODE`.

use super::Severity;

/// One code.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// As it stands in brackets after `error` or `warning`.
    pub code: &'static str,
    /// Whether it ends the build.
    pub severity: Severity,
    /// What the process ends with; 0 for warnings.
    pub exit_code: u8,
    /// A paragraph: what it means, and what to do.
    pub text: &'static str,
}

const fn error(code: &'static str, exit_code: u8, text: &'static str) -> Code {
    Code { code, severity: Severity::Error, exit_code, text }
}

const fn warning(code: &'static str, text: &'static str) -> Code {
    Code { code, severity: Severity::Warning, exit_code: 0, text }
}

/// The code with this name.
pub fn find(code: &str) -> Option<&'static Code> {
    CODES.iter().find(|known| known.code == code)
}

/// All codes: errors of the file, of a build, of the machine, then warnings.
pub const CODES: &[Code] = &[
    error(
        "bad-lock",
        2,
        "The lock file beside the build file can't be read: it is no TOML, has a key or version that this rbuild does \
         not know, or holds the marks of a merge conflict. Of two epochs keep either one. Without the file rbuild makes \
         a new one with the epoch of that moment, and everything is built again.",
    ),
    error(
        "syntax",
        2,
        "The file is not TOML or YAML as rbuild reads them: TOML 1.0, or one document of YAML 1.2 without tags and \
         without `<<`. Of a TOML file all mistakes are told at once, of a YAML file the first. A file of more than \
         50,000 values (aliases expanded) or 24 levels is refused too.",
    ),
    error(
        "unreadable",
        2,
        "The build file or a `--vars` file can't be read: it is not there, may not be read, is not UTF-8, is longer \
         than 4 MiB, or its name ends in none of .toml, .yaml and .yml.",
    ),
    error(
        "unknown-key",
        2,
        "A table has a key that it can't have. Keys that nobody reads would be mistakes that nobody sees, so they \
         are errors. The message names the nearest key there is, or all of them.",
    ),
    error(
        "not-yet",
        2,
        "The word is part of the format, but this version of rbuild can't do it yet. Take it out, or use a later \
         version.",
    ),
    error(
        "missing-field",
        2,
        "A key that must be there is missing. The message points at the table that needs it.",
    ),
    error(
        "wrong-type",
        2,
        "A value has another type than the key wants. Nothing is converted: a mode, a size, a duration and a port \
         are strings, since `0644`, `1.10` and `8080` mean different things to different readers; quote them. In \
         YAML `yes`, `no`, `on` and `off` are strings, not booleans.",
    ),
    error(
        "bad-value",
        2,
        "A value has the right type but not the form or range that the key wants. The message says which form that \
         is.",
    ),
    error(
        "one-of",
        2,
        "Of some keys exactly one must be there, because it says what the table is: `path`, `archive`, `oci` or \
         `host` of a source; `from` or `merge` of a step; `from` or `image` of a test; `from`, `cache` or `tmpfs` of \
         a mount; the kind of an output. Here are two, or none.",
    ),
    error(
        "duplicate-name",
        2,
        "One name or key stands twice. Sources and steps share one namespace, since both are trees; images, \
         artifacts and tests have one each. Two mounts of one step can't have one target either.",
    ),
    error(
        "unknown-name",
        2,
        "A reference names something that is not in this file: a source or step in `from`, `merge`, `copy.from` and \
         `mounts.from`, a test in `tests`, an image in `image`, a branch in `take`, or a target. The message names \
         the nearest name there is.",
    ),
    error(
        "cycle",
        2,
        "Steps (or variables) need one another in a ring, so none can come first. The ring is printed whole, with \
         each reference. Break it at the reference that is not really needed, often by moving what two steps share \
         into a third.",
    ),
    error(
        "unknown-variable",
        2,
        "`${name}` names no variable of `[vars]` and nothing that is always known (`platform`, `platform.os`, \
         `platform.arch`, `platform.variant`, `platform.uname`, `epoch`; in values of `env` also `env.NAME`), or \
         `--set` gives a variable that the file does not declare. A literal `${` is written `$${`. In a string `run` \
         and in `files.content` nothing is replaced: hand values to scripts by `env`.",
    ),
    error(
        "missing-variable",
        2,
        "A variable has no default and none of `--set`, `--vars` and its environment variable gives it a value.",
    ),
    error(
        "write-conflict",
        2,
        "Two outputs would write one path, or two images one tag, so that the result would depend on which comes \
         last; or an output lies outside the folder of the build file or over the build file itself. Two images can \
         share one layout if their tags differ.",
    ),
    error(
        "argv-space",
        2,
        "The first element of a `run` array has a space. An array is one command with its arguments, run without a \
         shell, and not a list of scripts. For several commands write one string with a line for each; to run a \
         program whose name has a space, write a string and quote it there.",
    ),
    error(
        "step-failed",
        1,
        "The command of a step ended with another exit code than 0, was killed by a signal, or could not be started. \
         The message shows the last lines it wrote; `rbuild logs STEP` shows all of them. Nothing of the step is \
         kept: the next build runs it again.",
    ),
    error(
        "test-failed",
        1,
        "The command of a test ended otherwise than `expect-exit` says. The image that it tests is not written.",
    ),
    error(
        "no-match",
        1,
        "A path or pattern of `copy`, `attrs` or an artifact matches nothing in its tree. Whatever the order of its \
         keys, a step applies `from` or `merge`, groups, users, dirs, copy, files, links, attrs, run, remove: what \
         `run` makes is not there for `attrs`, so change it in `run` itself, make it by `dirs`, or change it in a next \
         step. Say `optional = true` on a copy or artifact if no match is fine; `rbuild inspect --tree step.NAME` \
         lists a tree.",
    ),
    error(
        "merge-conflict",
        1,
        "Branches of a `merge` changed the same path in different ways. The message lists each path with what every \
         branch did to it, and a `resolve` line that would settle it. Databases of package managers conflict by \
         nature: install in one step what belongs to one root.",
    ),
    error(
        "type-conflict",
        1,
        "Something would take the place of another kind of thing: a directory of a file, a file of a directory. \
         `replace = true` on the copy removes what is there first.",
    ),
    error(
        "unknown-owner",
        1,
        "A user or group is named that /etc/passwd or /etc/group of the tree being made does not know. Names are \
         looked up there, after the step's own `groups` and `users`, never on this machine. Numbers always work.",
    ),
    error(
        "warnings-denied",
        1,
        "There were warnings while building, and `--deny-warnings` makes them errors. Everything was built all the \
         same; without the option the build would have succeeded. How this machine carries steps out (on the overlay \
         filesystem, with one id) is told as well, but not meant: it changes no result.",
    ),
    error(
        "source-failed",
        3,
        "The bytes of a source can't be had: a file is missing, unreadable or damaged. Paths are relative to the \
         folder of the build file. An image of a registry is `image = \"NAME\"`; what is elsewhere on the network must be \
         fetched first.",
    ),
    error(
        "digest-mismatch",
        3,
        "A file does not have the digest that the build file, a manifest or the lock gives for it. It is never \
         used: either the file is damaged, or it was replaced and the digest must be changed on purpose.",
    ),
    error(
        "not-locked",
        3,
        "`--locked` is given and the lock file is missing, so there is no epoch that the next build would have, too. \
         Build once without `--locked` and commit the lock file, or give `epoch` in the build file.",
    ),
    error(
        "offline",
        3,
        "`--offline` is given and something that is needed is not in the store: what a tag means (then it is not in the \
         lock file either), a manifest, or a layer. Build once without `--offline`.",
    ),
    error(
        "registry-failed",
        3,
        "A registry could not be reached, refused, or has not got what was asked for; the message names it. Credentials \
         are taken from where docker and podman keep them (`docker login`, `podman login`), mirrors, private CAs and \
         plain http from `[registries]` in ~/.config/rbuild/config.toml and from podman's registries.conf, proxies from \
         HTTPS_PROXY, HTTP_PROXY and NO_PROXY. What was fetched so far is kept.",
    ),
    error(
        "docker-failed",
        3,
        "An output `docker = true` could not be loaded: no container engine answers on the sockets that the message \
         names, or the engine refused. The socket is the one of DOCKER_HOST, else of CONTAINER_HOST (`unix:///PATH`), \
         else the first that answers of docker's and podman's own; contexts of docker are not read. Start docker, or \
         podman's socket (`systemctl --user enable --now podman.socket`), and see that you may use it. For an engine \
         elsewhere take `push`, or `docker-archive` and `docker load`.",
    ),
    error(
        "store-damaged",
        3,
        "The store does not hold something that it should, or holds it damaged: a disk that was full, or a file of it \
         that was removed or changed. What is damaged is dropped and built again by itself. If this is told all the \
         same, remove the store (it is a cache) and look at the disk.",
    ),
    error(
        "no-tier",
        3,
        "A step has a `run`, and this machine can't give it a root filesystem of its own: no user namespaces, no \
         mounts inside them, or no /dev/fuse; or not the network that it wants. The message names what is missing and what to do, and `rbuild \
         doctor` all that there is and is not. Steps without `run` work everywhere.",
    ),
    warning(
        "unused",
        "Nothing of the file uses the variable, source or step, for any value of a `one-of`. It is often the trace \
         of a name that was changed in one place only.",
    ),
    warning(
        "network-open",
        "A step reaches the network and has no `rerun-after`: what it fetched the first time stays in the cache for \
         ever, however old it gets. `rerun-after = \"7d\"` fetches again when the record is older.",
    ),
    warning(
        "copy-nests",
        "`src` and `dest` of a copy end in one name, and `dest` ends in `/`: the directory will lie inside its \
         namesake, as `/opt/app/app`. Leave out the final `/` of `dest` if its content is meant.",
    ),
    warning(
        "toml-1.1",
        "The file uses what only TOML 1.1 allows, such as a line break inside `{ }`. rbuild reads it; other readers, \
         Python's among them, refuse the file.",
    ),
    warning(
        "no-lock",
        "The lock file can't be written, so there is no epoch to keep: new files get 1980-01-01. Give `epoch` in \
         the file or SOURCE_DATE_EPOCH, or make the folder writable once.",
    ),
    warning(
        "foreign-platform",
        "An image of a registry is for another kind of machine than the one wanted, and it is the only one of that name. \
         Its files can be copied; its programs run only if the kernel knows how (binfmt).",
    ),
    warning(
        "registry-retry",
        "A registry or mirror did not answer as it should; it is asked again, or the next one is. Nothing is lost by it.",
    ),
    warning(
        "special-file",
        "A socket, fifo or device of a local folder is left out of the tree, one of a tree is left out of an artifact or \
         `dir` output, or a socket is left out of a layer: none of these can hold it.",
    ),
    warning(
        "remove-nothing",
        "A path of `remove` without special characters is not there. A pattern may match nothing; a path that was \
         written out was meant.",
    ),
    warning(
        "entrypoint-missing",
        "The program that an image starts is not in its tree, or may not be executed. A script starts only if its \
         interpreter is there too.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_once_and_well() {
        for (number, code) in CODES.iter().enumerate() {
            assert!(CODES[..number].iter().all(|earlier| earlier.code != code.code), "{} twice", code.code);
            assert!(code.text.ends_with('.') && code.text.len() > 60, "{}", code.code);
            assert!(!code.text.contains("  "), "{}", code.code);
            assert_eq!(code.severity == Severity::Warning, code.exit_code == 0, "{}", code.code);
        }
        assert!(find("cycle").is_some());
        assert!(find("nothing").is_none());
    }
}
