//! What a name between `${` and `}` means.
//!
//! Variables are evaluated when they are first asked for, so that they may use one another in any order; one that is
//! being evaluated and is asked for again is a cycle.

use super::{
    Datum, Declaration, Type, declarations,
    given::{AllGiven, Given, from_text},
    replace,
    template::{Piece, pieces},
};
use crate::spec::{
    Diagnostic, Inputs, Span,
    lower::read::{Sink, bad, refuse},
    span::Files,
    suggest::{list, nearest},
    value::{Node, Value},
    words::{self, Refusal},
};
use rbuild_tree::TreePath;
use std::collections::{BTreeMap, BTreeSet};

/// Names that are always there.
const BUILT_IN: [&str; 6] =
    ["epoch", "platform", "platform.os", "platform.arch", "platform.variant", "platform.uname"];

/// All names that a file can use, with their values.
pub struct Scope<'a> {
    inputs: &'a Inputs,
    files: &'a Files,
    given: &'a AllGiven,
    declared: BTreeMap<&'a str, Declaration<'a>>,
    epoch: Option<i64>,
    values: BTreeMap<&'a str, Option<Datum>>,
    /// Those being evaluated, the outermost first.
    open: Vec<&'a str>,
    /// Those that something asked for.
    used: BTreeSet<&'a str>,
    /// How many more bytes variables may become.
    room: usize,
}

/// How many bytes all values of variables may become together: each of a few that double one another is short.
const MOST_BYTES: usize = 16 << 20;

impl<'a> Scope<'a> {
    /// The scope of the file `root`; mistakes of `[vars]` are told. Without `epoch`, asking for it is a cycle: it is
    /// what is being evaluated.
    pub fn new(
        root: &'a Node,
        epoch: Option<i64>,
        given: &'a AllGiven,
        (inputs, files): (&'a Inputs, &'a Files),
        sink: &mut Sink,
    ) -> Self {
        let declared: BTreeMap<_, _> = declarations(root, sink).into_iter().collect();
        given.tell_undeclared(declared.keys().copied(), sink);
        let (values, open, used) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        Self { inputs, files, given, declared, epoch, values, open, used, room: MOST_BYTES }
    }

    /// Evaluates every variable, so that a missing or wrong one is told even if nothing uses it.
    pub fn evaluate_all(&mut self, sink: &mut Sink) {
        let names: Vec<&str> = self.declared.keys().copied().collect();
        for name in names {
            self.variable(name, sink);
        }
    }

    /// Variables that nothing asked for, with the places of their names.
    pub fn unused(&self) -> impl Iterator<Item = (&'a str, Span)> {
        let unused = self.declared.iter().filter(|(name, _)| !self.used.contains(*name));
        unused.map(|(name, declaration)| (*name, declaration.span))
    }

    /// The value of a name in the string of `node`; what it does not know is told.
    pub fn lookup(&mut self, name: &str, node: &Node, sink: &mut Sink) -> Option<Datum> {
        if let Some((declared, _)) = self.declared.get_key_value(name) {
            let declared = *declared;
            self.used.insert(declared);
            if self.open.contains(&declared) {
                self.tell_cycle(declared, self.place(name, node), sink);
                return None;
            }
            return self.variable(declared, sink);
        }
        let found = self.built_in(name);
        if found.is_none() {
            self.tell_unknown(name, node, sink);
        }
        found
    }

    /// Takes what a string becomes from the room there is; if that is too little it is told, once.
    pub fn take_room(&mut self, bytes: usize, node: &Node, sink: &mut Sink) -> Option<()> {
        if let Some(left) = self.room.checked_sub(bytes) {
            self.room = left;
            return Some(());
        }
        if self.room > 0 {
            bad(format!("variables become more than {} MiB of text", MOST_BYTES >> 20), node.span, sink);
        }
        self.room = 0;
        None
    }

    /// Every text that a string can become when variables with `one-of` take each of their values; at most a few
    /// hundred, and none that is too long for a name. Nothing is told.
    pub fn variants(&mut self, text: &str, node: &Node) -> Vec<String> {
        const MOST: usize = 256;
        const LONGEST: usize = 1024;
        let Ok(pieces) = pieces(text) else { return Vec::new() };
        let mut variants = vec![String::new()];
        for piece in pieces {
            let choices = match piece {
                Piece::Text(text) => vec![text],
                Piece::Name(name) => self.choices(name, node),
            };
            variants = variants
                .iter()
                .flat_map(|start| choices.iter().map(move |choice| (start, choice)))
                .filter(|(start, choice)| start.len() + choice.len() <= LONGEST)
                .map(|(start, choice)| format!("{start}{choice}"))
                .take(MOST)
                .collect();
        }
        variants
    }

    fn choices(&mut self, name: &str, node: &Node) -> Vec<String> {
        let one_of = self.declared.get(name).and_then(|declaration| declaration.one_of);
        match one_of {
            Some(items) => items.iter().filter_map(|item| Datum::of(item)?.text()).collect(),
            None => {
                self.lookup(name, node, &mut Sink::new()).and_then(|datum| datum.text()).into_iter().collect()
            }
        }
    }

    fn built_in(&self, name: &str) -> Option<Datum> {
        let platform = &self.inputs.platform;
        let text = match name {
            "epoch" => return self.epoch.map(Datum::Integer),
            "platform" => platform.to_string(),
            "platform.os" => platform.os.clone(),
            "platform.arch" => platform.architecture.clone(),
            "platform.variant" => platform.variant.clone().unwrap_or_default(),
            "platform.uname" => platform.uname().to_owned(),
            _ => return None,
        };
        Some(Datum::String(text))
    }

    fn tell_unknown(&self, name: &str, node: &Node, sink: &mut Sink) {
        let span = self.place(name, node);
        if name == "epoch" {
            let message = "`epoch` can't be made from `${epoch}`";
            sink.push(Diagnostic::error("cycle", message).at(span, "needs itself"));
            return;
        }
        if name.starts_with("git.") {
            return refuse(Refusal::not_yet(&format!("`${{{name}}}`")), span, sink);
        }
        if name.starts_with("env.") {
            let message = format!("`${{{name}}}` is known only in values of `env`");
            let diagnostic = Diagnostic::error("unknown-variable", message).at(span, "");
            let help =
                "to take a value from the caller's environment, declare a variable with `env = \"NAME\"`";
            sink.push(diagnostic.help(help));
            return;
        }
        let diagnostic = Diagnostic::error("unknown-variable", format!("no variable is named `{name}`"));
        let candidates = self.declared.keys().copied().chain(BUILT_IN);
        sink.push(match nearest(name, candidates) {
            Some(near) => diagnostic.at(span, "").help(format!("did you mean `${{{near}}}`?")),
            None => diagnostic.at(span, "").help("declare it in `[vars]`; a literal `$` is written `$$`"),
        });
    }

    fn tell_cycle(&self, name: &str, span: Span, sink: &mut Sink) {
        let start = self.open.iter().position(|open| *open == name).unwrap_or(0);
        let round: Vec<&str> = self.open[start..].iter().copied().chain([name]).collect();
        let message = format!("variables need one another: {}", round.join(" → "));
        sink.push(Diagnostic::error("cycle", message).at(span, ""));
    }

    /// Where `${name}` stands inside the text of `node`, if it is written there as it is read; else all of it.
    pub fn place(&self, name: &str, node: &Node) -> Span {
        let span = node.span;
        let slice = self.files.get(span.file).and_then(|file| file.text.get(span.start..span.end));
        let reference = format!("${{{name}}}");
        match slice.and_then(|slice| slice.find(&reference)) {
            Some(offset) => {
                let start = span.start + offset;
                Span::new(span.file, start, start + reference.len())
            }
            None => span,
        }
    }

    fn variable(&mut self, name: &'a str, sink: &mut Sink) -> Option<Datum> {
        if let Some(value) = self.values.get(name) {
            return value.clone();
        }
        let declaration = self.declared.get(name)?.clone();
        self.open.push(name);
        let value = self.evaluate(name, &declaration, sink);
        self.open.pop();
        self.values.insert(name, value.clone());
        value
    }

    fn evaluate(&mut self, name: &'a str, declaration: &Declaration<'a>, sink: &mut Sink) -> Option<Datum> {
        let given = self.given.find(name, declaration.env.as_deref(), self.inputs);
        let choices = self.one_of(declaration, sink);
        let kind = self.kind(declaration, &choices, given.is_some(), sink);
        let (datum, place, how) = match given {
            Some(Given::Text(text, how)) => match from_text(&text, kind.unwrap_or(Type::String)) {
                Ok(datum) => (datum, None, how),
                Err(reason) => {
                    let diagnostic = Diagnostic::error("bad-value", format!("{how}: {reason}"));
                    sink.push(diagnostic.at(declaration.span, format!("`{name}` is declared here")));
                    return None;
                }
            },
            Some(Given::Node(node)) => (self.typed(&node, name, sink)?, Some(node.span), "--vars".to_owned()),
            None => match declaration.default {
                Some(node) => {
                    let node = replace::value(node, self, sink)?;
                    (self.typed(&node, name, sink)?, Some(node.span), "default".to_owned())
                }
                None => {
                    if !declaration.is_broken {
                        tell_missing(name, declaration, sink);
                    }
                    return None;
                }
            },
        };
        let place = place.unwrap_or(declaration.span);
        if let Some(kind) = kind.filter(|kind| *kind != datum.kind()) {
            let message = format!("variable `{name}` is {}, not {}", kind.what(), datum.kind().what());
            sink.push(Diagnostic::error("wrong-type", message).at(place, ""));
            return None;
        }
        check_value(name, declaration, &choices, (&datum, place, &how), sink);
        Some(datum)
    }

    /// The values that `one-of` allows.
    fn one_of(&mut self, declaration: &Declaration<'a>, sink: &mut Sink) -> Option<Vec<Datum>> {
        let items = declaration.one_of?;
        let items = items.iter().filter_map(|item| replace::value(item, self, sink));
        Some(items.filter_map(|item| Datum::of(&item)).collect())
    }

    /// What is declared, else what the default is, else what the choices are.
    fn kind(
        &mut self,
        declaration: &Declaration<'a>,
        choices: &Option<Vec<Datum>>,
        is_given: bool,
        sink: &mut Sink,
    ) -> Option<Type> {
        if declaration.kind.is_some() {
            return declaration.kind;
        }
        // A default that is used is its own type.
        let default =
            declaration.default.filter(|_| is_given).and_then(|node| replace::value(node, self, sink));
        let of_default = default.and_then(|node| Datum::of(&node)).map(|datum| datum.kind());
        of_default.or_else(|| choices.as_ref()?.first().map(Datum::kind))
    }

    fn typed(&self, node: &Node, name: &str, sink: &mut Sink) -> Option<Datum> {
        let datum = Datum::of(node);
        if datum.is_none() {
            let message = format!("variable `{name}` can't be {}", node.value.what());
            sink.push(Diagnostic::error("wrong-type", message).at(node.span, ""));
        }
        datum
    }
}

fn tell_missing(name: &str, declaration: &Declaration<'_>, sink: &mut Sink) {
    let message = match &declaration.description {
        Some(description) => format!("variable `{name}` has no value: {description}"),
        None => format!("variable `{name}` has no value"),
    };
    let mut help = format!("give it by --set {name}=VALUE");
    if let Some(env) = &declaration.env {
        help.push_str(&format!(", or set the environment variable {env}"));
    }
    sink.push(Diagnostic::error("missing-variable", message).at(declaration.span, "").help(help));
}

/// Tells a value that `one-of` or `pattern` does not allow.
fn check_value(
    name: &str,
    declaration: &Declaration<'_>,
    choices: &Option<Vec<Datum>>,
    (datum, place, how): (&Datum, Span, &str),
    sink: &mut Sink,
) {
    if let Some(choices) = choices
        && !choices.contains(datum)
    {
        let shown: Vec<String> = choices.iter().map(Datum::show).collect();
        let message = format!("{how}: {} is none of the values that `{name}` can have", datum.show());
        let diagnostic = Diagnostic::error("bad-value", message).at(place, "");
        let near = datum.text().and_then(|text| {
            let texts: Vec<String> = choices.iter().filter_map(Datum::text).collect();
            nearest(&text, texts.iter().map(String::as_str)).map(str::to_owned)
        });
        sink.push(match near {
            Some(near) => diagnostic.help(format!("did you mean \"{near}\"?")),
            None => diagnostic.help(format!("it is one of {}", list(&shown))),
        });
    }
    if let (Some(pattern), Datum::String(text)) = (&declaration.pattern, datum)
        && let Ok(parsed) = words::pattern(pattern)
        && !TreePath::parse(text.as_bytes()).is_ok_and(|path| parsed.matches(&path))
    {
        bad(format!("{how}: `{text}` does not match the pattern `{pattern}` of `{name}`"), place, sink);
    }
}

/// Marks the value of a string that is nothing but a variable.
pub fn as_node(datum: Datum, node: &Node) -> Node {
    let value = match datum {
        Datum::String(text) => Value::String(text),
        Datum::Integer(number) => Value::Integer(number),
        Datum::Boolean(boolean) => Value::Boolean(boolean),
        Datum::Strings(texts) => {
            Value::List(texts.into_iter().map(|text| Node::new(Value::String(text), node.span)).collect())
        }
    };
    Node { value, span: node.span, from_variable: true }
}
