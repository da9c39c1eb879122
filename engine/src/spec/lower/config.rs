//! `config`

use super::{
    body::environment,
    read::{self, Sink},
    table::{Table, Words},
};
use crate::spec::{
    types::{Config, Healthcheck},
    value::{Node, Value},
    words::{self, Owner, Refusal, Word},
};
use std::collections::{BTreeMap, BTreeSet};

pub const CONFIG: Words = Words {
    what: "`config`",
    known: &[
        "entrypoint",
        "cmd",
        "user",
        "workdir",
        "stop-signal",
        "shell",
        "healthcheck",
        "env",
        "labels",
        "ports",
        "volumes",
        "inherit",
    ],
    later: &[],
};
pub const HEALTHCHECK: Words = Words {
    what: "`healthcheck`",
    known: &["test", "interval", "timeout", "start-period", "retries"],
    later: &[],
};

pub fn config(node: &Node, sink: &mut Sink) -> Option<Config> {
    let table = Table::open(node, node.span, &CONFIG, sink)?;
    let command = |key, sink: &mut Sink| table.get(key).map(|node| read::plain_strings(node, sink));
    Some(Config {
        entrypoint: command("entrypoint", sink),
        cmd: command("cmd", sink),
        user: table.optional("user", sink, |node, sink| read::checked(node, user, sink)),
        workdir: table.optional("workdir", sink, |node, sink| read::checked(node, workdir, sink)),
        stop_signal: table
            .optional("stop-signal", sink, |node, sink| read::checked(node, signal, sink))
            .map(|signal| signal.value),
        shell: command("shell", sink),
        healthcheck: table.optional("healthcheck", sink, healthcheck),
        env: table.optional("env", sink, |node, sink| Some(environment(node, sink))).unwrap_or_default(),
        labels: table.optional("labels", sink, |node, sink| Some(labels(node, sink))).unwrap_or_default(),
        ports: set(&table, "ports", port, sink),
        volumes: set(&table, "volumes", volume, sink),
        discard_inherited: !table.optional("inherit", sink, read::boolean).unwrap_or(true),
    })
}

fn healthcheck(node: &Node, sink: &mut Sink) -> Option<Healthcheck> {
    let table = Table::open(node, node.span, &HEALTHCHECK, sink)?;
    let mut duration = |key| {
        table.optional(key, sink, |node, sink| read::word(node, words::duration, sink)).map(|time| time.value)
    };
    let (interval, timeout) = (duration("interval"), duration("timeout"));
    let start_period = duration("start-period");
    let retries = table.optional("retries", sink, |node, sink| read::integer(node, u32::MAX, sink));
    let test = table.get("test").map(|node| (node, read::plain_strings(node, sink)));
    if let Some((node, words)) = &test
        && let Some(first) = words.first()
        && !["CMD", "CMD-SHELL", "NONE"].contains(&first.as_str())
    {
        read::bad("`test` begins with \"CMD\", \"CMD-SHELL\" or \"NONE\"", node.span, sink);
    }
    let test = test.map(|(_, words)| words).unwrap_or_default();
    Some(Healthcheck { test, interval, timeout, start_period, retries })
}

/// Names to strings; `false` removes.
fn labels(node: &Node, sink: &mut Sink) -> BTreeMap<String, Option<String>> {
    if !matches!(node.value, Value::Map(_)) {
        read::wrong_type(node, "a table", sink);
    }
    let mut labels = BTreeMap::new();
    for (key, value) in node.entries() {
        if matches!(value.value, Value::Boolean(false)) && !value.from_variable {
            labels.insert(key.text.clone(), None);
        } else if let Some(text) = read::string(value, sink) {
            labels.insert(key.text.clone(), Some(text.value));
        }
    }
    labels
}

/// Names to strings.
pub fn annotations(node: &Node, sink: &mut Sink) -> BTreeMap<String, String> {
    if !matches!(node.value, Value::Map(_)) {
        read::wrong_type(node, "a table", sink);
    }
    let read = |(key, value): &(_, Node)| {
        let key: &crate::spec::value::Key = key;
        Some((key.text.clone(), read::string(value, sink)?.value))
    };
    node.entries().iter().filter_map(read).collect()
}

fn set(table: &Table<'_>, key: &str, parser: fn(&str) -> Word<String>, sink: &mut Sink) -> BTreeSet<String> {
    let words = table.array(key, sink, |node, sink| read::word(node, parser, sink));
    words.into_iter().map(|word| word.value).collect()
}

fn user(text: &str) -> Word<()> {
    if text.is_empty() { Ok(()) } else { Owner::parse(text).map(drop) }
}

fn workdir(text: &str) -> Word<()> {
    if text.is_empty() || text.starts_with('/') {
        return Ok(());
    }
    Err(Refusal::bad("the workdir of an image is absolute").help(format!("write \"/{text}\"")))
}

fn signal(text: &str) -> Word<()> {
    let name = text.strip_prefix("SIG").unwrap_or_default();
    let named = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-'));
    let number = text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    if text.is_empty() || named || number {
        return Ok(());
    }
    Err(Refusal::bad("a signal is written \"SIGTERM\", or as a number from 1 to 64"))
}

fn port(text: &str) -> Word<String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let fits = number.parse::<u16>().is_ok_and(|number| number > 0) && !number.starts_with('+');
    if !fits || !["tcp", "udp", "sctp"].contains(&protocol) {
        return Err(Refusal::bad("a port is written \"8080/tcp\" (or udp, sctp)"));
    }
    Ok(format!("{number}/{protocol}"))
}

fn volume(text: &str) -> Word<String> {
    if !text.starts_with('/') {
        return Err(Refusal::bad("a volume is an absolute path"));
    }
    Ok(text.to_owned())
}
