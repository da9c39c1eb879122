//! What the caller gives for variables: `--set`, `--vars` files, the environment.

use super::{Datum, Type};
use crate::spec::{
    Diagnostic, Inputs, Span, Spanned,
    load::read_file,
    lower::read::Sink,
    span::Files,
    suggest::nearest,
    value::{self, Node},
};
use std::collections::BTreeMap;

/// A value as it was given.
#[derive(Clone, Debug)]
pub enum Given {
    /// As text, and by what: `--set tag`, `TAG`.
    Text(String, String),
    /// In a file, with its type.
    Node(Node),
}

/// All that is given, by the variable's name.
#[derive(Clone, Debug, Default)]
pub struct AllGiven {
    set: BTreeMap<String, String>,
    files: BTreeMap<String, Spanned<Node>>,
}

impl AllGiven {
    /// Gathers what `inputs` say, reading the files.
    pub fn gather(inputs: &Inputs, files: &mut Files, sink: &mut Sink) -> Self {
        let mut all = Self { set: inputs.set.iter().cloned().collect(), ..Self::default() };
        for path in &inputs.vars_files {
            let Some((file, format)) = read_file(path, files, sink) else { continue };
            let text = files.get(file).map(|file| file.text.clone()).unwrap_or_default();
            let root = value::parse(format, &text, file, sink);
            for (key, node) in root.entries() {
                all.files.insert(key.text.clone(), Spanned::new(node.clone(), key.span));
            }
        }
        all
    }

    /// What is given for one variable, the environment variable `env` last.
    pub fn find(&self, name: &str, env: Option<&str>, inputs: &Inputs) -> Option<Given> {
        if let Some(text) = self.set.get(name) {
            return Some(Given::Text(text.clone(), format!("--set {name}")));
        }
        if let Some(node) = self.files.get(name) {
            return Some(Given::Node(node.value.clone()));
        }
        let env = env?;
        let text = inputs.environment.get(env)?;
        Some(Given::Text(text.clone(), format!("the environment variable {env}")))
    }

    /// Tells what is given for variables that the file does not declare.
    pub fn tell_undeclared<'n>(&self, declared: impl Iterator<Item = &'n str> + Clone, sink: &mut Sink) {
        let mut tell = |name: &str, how: &str, span: Option<Span>| {
            if declared.clone().any(|known| known == name) {
                return;
            }
            let message = format!("{how}: the file declares no variable `{name}`");
            let mut diagnostic = Diagnostic::error("unknown-variable", message);
            if let Some(span) = span {
                diagnostic = diagnostic.at(span, "");
            }
            sink.push(match nearest(name, declared.clone()) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic,
            });
        };
        self.set.keys().for_each(|name| tell(name, &format!("--set {name}"), None));
        self.files.iter().for_each(|(name, node)| tell(name, "--vars", Some(node.span)));
    }
}

/// A text of the command line or environment as a value of a type; an array has commas.
///
/// # Errors
/// In words.
pub fn from_text(text: &str, kind: Type) -> Result<Datum, String> {
    match kind {
        Type::String => Ok(Datum::String(text.to_owned())),
        Type::Integer => text.parse().map(Datum::Integer).map_err(|_| format!("`{text}` is not an integer")),
        Type::Boolean => {
            text.parse().map(Datum::Boolean).map_err(|_| format!("`{text}` is neither `true` nor `false`"))
        }
        Type::Strings if text.is_empty() => Ok(Datum::Strings(Vec::new())),
        Type::Strings if text.starts_with('[') => {
            Err(format!("`{text}`: an array is written with commas and without brackets, as a,b"))
        }
        Type::Strings => Ok(Datum::Strings(text.split(',').map(str::to_owned).collect())),
    }
}
