//! `limits`

use super::{
    read::{self, Sink},
    table::{Table, Words},
};
use crate::spec::{
    types::Limits,
    value::{Node, Value},
    words,
};
use std::time::Duration;

pub const LIMITS: Words = Words { what: "`limits`", known: &["memory", "cpus", "time"], later: &[] };

/// More processors than a machine has.
const MOST_CPUS: f64 = 65_536.0;

pub fn limits(node: &Node, sink: &mut Sink) -> Option<Limits> {
    let table = Table::open(node, node.span, &LIMITS, sink)?;
    let memory = table.optional("memory", sink, |node, sink| {
        let size = read::word(node, words::size, sink)?.value;
        more_than(0, size, node, sink)
    });
    let time = table.optional("time", sink, |node, sink| {
        let time = read::word(node, words::duration, sink)?.value;
        more_than(Duration::ZERO, time, node, sink)
    });
    Some(Limits { memory, cpus: table.optional("cpus", sink, cpus), time })
}

fn more_than<T: PartialOrd>(least: T, value: T, node: &Node, sink: &mut Sink) -> Option<T> {
    if value > least {
        return Some(value);
    }
    read::bad("a limit of nothing leaves nothing to run: leave it out for none", node.span, sink);
    None
}

/// In thousandths.
fn cpus(node: &Node, sink: &mut Sink) -> Option<u32> {
    let number = match &node.value {
        Value::Integer(number) => *number as f64,
        Value::Float(number, _) => *number,
        _ => {
            read::wrong_type(node, "a number", sink);
            return None;
        }
    };
    let thousandths = (number * 1000.0).round();
    if thousandths >= 1.0 && number <= MOST_CPUS {
        return Some(thousandths as u32);
    }
    read::bad("`cpus` is a number of processors, as 2 or 0.5", node.span, sink);
    None
}
