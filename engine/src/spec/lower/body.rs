//! What steps and tests have in common: everything but what they start from.

use super::{
    copy, entries,
    limits::limits,
    mounts,
    read::{self, Sink},
    table::Table,
};
use crate::spec::{
    Diagnostic, Spanned,
    types::{Body, Environment, Network, Run},
    value::{Node, Value},
    words::{self, EnvValue, Owner, Refusal, Word},
};

/// Reads the body of an opened step or test.
pub fn body(table: &Table<'_>, sink: &mut Sink) -> Body {
    let network = [("none", Network::None), ("private", Network::Private), ("host", Network::Host)];
    let mounts = table.array("mounts", sink, mounts::mount);
    mounts::tell_twice(&mounts, sink);
    Body {
        groups: table.array("groups", sink, entries::group),
        users: table.array("users", sink, entries::user),
        dirs: table.array("dirs", sink, entries::directory),
        copy: table.array("copy", sink, copy::copy),
        files: table.array("files", sink, entries::file),
        links: table.array("links", sink, entries::link),
        attrs: table.array("attrs", sink, entries::attr),
        run: table.optional("run", sink, run),
        remove: table.array("remove", sink, super::pattern),
        env: table.optional("env", sink, |node, sink| Some(environment(node, sink))).unwrap_or_default(),
        pass_env: table.array("pass-env", sink, |node, sink| {
            read::checked(node, variable_name, sink).map(|name| name.value)
        }),
        user: table.optional("user", sink, |node, sink| read::word(node, Owner::parse, sink)),
        workdir: table.optional("workdir", sink, |node, sink| read::word(node, words::tree_path, sink)),
        shell: table.optional("shell", sink, shell),
        network: table
            .optional("network", sink, |node, sink| read::choice(node, &network, &[], sink))
            .unwrap_or_default(),
        mounts,
        limits: table.optional("limits", sink, limits).unwrap_or_default(),
        config: table.optional("config", sink, super::config::config).unwrap_or_default(),
        rerun_after: table
            .optional("rerun-after", sink, |node, sink| read::word(node, words::duration, sink))
            .map(|duration| duration.value),
    }
}

/// A script or a command.
fn run(node: &Node, sink: &mut Sink) -> Option<Spanned<Run>> {
    let run = match &node.value {
        Value::List(_) => {
            let command = read::strings(node, sink);
            check_command(node, &command, sink)?;
            Run::Command(command.into_iter().map(|word| word.value).collect())
        }
        Value::String(_) => {
            let script = read::string(node, sink)?;
            if script.trim().is_empty() {
                read::bad("`run` is empty", node.span, sink);
                return None;
            }
            Run::Script(script.value)
        }
        _ => {
            read::wrong_type(node, "a string (a script) or an array of strings (one command)", sink);
            return None;
        }
    };
    Some(Spanned::new(run, node.span))
}

fn check_command(node: &Node, command: &[Spanned<String>], sink: &mut Sink) -> Option<()> {
    let Some(program) = command.first() else {
        read::bad("`run` is empty", node.span, sink);
        return None;
    };
    if program.is_empty() {
        read::bad("the program to run is empty", program.span, sink);
    } else if program.contains(char::is_whitespace) {
        let message = "the first element of `run` has a space: an array is one command with its arguments";
        let diagnostic =
            Diagnostic::error("argv-space", message).at(program.span, "taken as the name of a program");
        sink.push(diagnostic.help("for several shell commands write one string, with a line for each"));
    }
    Some(())
}

/// The command that a string `run` is given to.
pub fn shell(node: &Node, sink: &mut Sink) -> Option<Vec<String>> {
    let shell = read::plain_strings(node, sink);
    if shell.first().is_none_or(String::is_empty) {
        if matches!(node.value, Value::List(_)) {
            read::bad("`shell` is a command that takes the script as its last argument", node.span, sink);
        }
        return None;
    }
    Some(shell)
}

/// Names to values; `false` removes.
pub fn environment(node: &Node, sink: &mut Sink) -> Environment {
    let mut environment = Environment::new();
    if !matches!(node.value, Value::Map(_)) {
        read::wrong_type(node, "a table", sink);
    }
    for (key, value) in node.entries() {
        if let Err(refusal) = variable_name(&key.text) {
            read::refuse(refusal, key.span, sink);
        }
        let read = match &value.value {
            Value::Boolean(false) if !value.from_variable => None,
            Value::Template(template) => Some(Spanned::new(template.clone(), value.span)),
            Value::Boolean(true) if !value.from_variable => {
                read::wrong_type(value, "a string, or false to remove it,", sink);
                continue;
            }
            _ => match read::string(value, sink) {
                Some(text) => Some(text.map(EnvValue::literal)),
                None => continue,
            },
        };
        environment.insert(key.text.clone(), read);
    }
    environment
}

fn variable_name(text: &str) -> Word<()> {
    if text.is_empty() || text.contains(['=', '\0']) {
        return Err(Refusal::bad("the name of an environment variable is not empty and has no `=`"));
    }
    Ok(())
}
