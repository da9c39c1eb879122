//! Every name that is referred to is there.

use crate::spec::{
    Diagnostic, Kind, Spec,
    lower::{Declared, read::Sink},
    span::Spanned,
    suggest::{list, nearest},
    types::{Layers, Output},
    value::{Node, Value},
    words::{self, Reference, SCRATCH},
};
use std::collections::BTreeSet;

/// Tells references to what is not there. They are taken from `root`, what `spec` was read from: a table that is
/// wrong otherwise is not in `spec`, and its references are told all the same.
pub fn check(root: &Node, spec: &Spec, declared: &Declared, sink: &mut Sink) {
    let mut names = Names { spec, declared, sink, step: None };
    for (kind, name, table) in tables(root) {
        names.step = (kind == Kind::Step).then_some(name);
        table.get("from").into_iter().for_each(|from| names.tree_at(from));
        match kind {
            Kind::Step | Kind::Test => {
                for key in ["copy", "mounts"] {
                    let lines = table.get(key).into_iter().flat_map(items);
                    lines.filter_map(|line| line.get("from")).for_each(|from| names.tree_at(from));
                }
                let branches = table.get("merge").into_iter().flat_map(items);
                branches.chain(table.get("base")).for_each(|branch| names.tree_at(branch));
                table.get("image").into_iter().for_each(|image| names.name_at(Kind::Image, image));
            }
            Kind::Image => {
                let tests = table.get("tests").into_iter().flat_map(items);
                tests.for_each(|test| names.name_at(Kind::Test, test));
            }
            Kind::Source | Kind::Artifact => {}
        }
    }
    names.step = None;
    for image in spec.images.values() {
        names.layers(image.from.name.as_str(), &image.layers);
        names.outputs(&image.outputs, image.tags.is_empty());
    }
    spec.default.iter().flatten().for_each(|target| names.target(target));
}

/// Every table that refers to others, with its kind and name.
fn tables(root: &Node) -> impl Iterator<Item = (Kind, &str, &Node)> {
    Kind::ALL.into_iter().filter(|kind| *kind != Kind::Source).flat_map(move |kind| {
        let named = root.get(kind.word()).map_or(&[][..], Node::entries);
        named.iter().map(move |(key, table)| (kind, key.text.as_str(), table))
    })
}

fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        _ => &[],
    }
}

struct Names<'a> {
    spec: &'a Spec,
    declared: &'a Declared,
    sink: &'a mut Sink,
    /// The step whose references are looked at: it can't be what was meant.
    step: Option<&'a str>,
}

impl Names<'_> {
    /// A reference to a tree; one that can't be read was told.
    fn tree_at(&mut self, node: &Node) {
        if let Some(reference) = node.text().and_then(|text| Reference::parse(text).ok()) {
            self.tree(&Spanned::new(reference, node.span));
        }
    }

    fn name_at(&mut self, kind: Kind, node: &Node) {
        if let Some(name) = node.text().filter(|text| words::name(text).is_ok()) {
            self.one(kind, &Spanned::new(name.to_owned(), node.span));
        }
    }

    fn tree(&mut self, reference: &Spanned<Reference>) {
        let name = reference.name.as_str();
        let there = [Kind::Source, Kind::Step].iter().any(|kind| self.declared.place(*kind, name).is_some());
        if there || reference.is_scratch() {
            return;
        }
        let diagnostic = Diagnostic::error("unknown-name", format!("no source or step is named `{name}`"));
        let candidates =
            self.declared.names(Kind::Source).chain(self.declared.names(Kind::Step)).chain([SCRATCH]);
        let others = candidates.filter(|candidate| Some(*candidate) != self.step);
        let near = nearest(name, others).map(|near| format!("did you mean `{near}`?"));
        let help = self.elsewhere(name).or(near);
        self.sink.push(with_help(diagnostic.at(reference.span, ""), help));
    }

    /// What else has the name.
    fn elsewhere(&self, name: &str) -> Option<String> {
        let kind = Kind::ALL.into_iter().find(|kind| self.declared.place(*kind, name).is_some())?;
        let article = if matches!(kind, Kind::Image | Kind::Artifact) { "an" } else { "a" };
        let is = format!("`{name}` is {article} {kind}");
        Some(match self.spec.images.get(name).filter(|_| kind == Kind::Image) {
            Some(image) if self.step != Some(image.from.name.as_str()) => {
                format!("{is}: name the tree it is made from, `{}`", image.from.value)
            }
            _ => is,
        })
    }

    fn one(&mut self, kind: Kind, name: &Spanned<String>) {
        if self.declared.place(kind, name).is_some() {
            return;
        }
        let diagnostic = Diagnostic::error("unknown-name", format!("no {kind} is named `{name}`"));
        let near = nearest(name, self.declared.names(kind)).map(|near| format!("did you mean `{near}`?"));
        let help = self.elsewhere(name).or(near);
        self.sink.push(with_help(diagnostic.at(name.span, ""), help));
    }

    fn target(&mut self, target: &Spanned<String>) {
        let bare = target.split_once('.').map_or(target.as_str(), |(_, name)| name);
        // A table that is wrong is not in the spec; its mistakes are told already.
        let broken = Kind::ALL
            .iter()
            .any(|kind| self.declared.place(*kind, bare).is_some() && !self.spec.contains(*kind, bare));
        if let Err(refusal) = self.spec.target(target)
            && !broken
        {
            self.sink.push(Diagnostic::refused(refusal, target.span));
        }
    }

    /// Layers can be cut only after steps that the image's tree is made by.
    fn layers(&mut self, from: &str, layers: &Layers) {
        let Layers::After(steps) = layers else { return };
        let chain = chain(self.spec, from);
        for step in steps {
            if self.declared.place(Kind::Step, step).is_none() {
                self.one(Kind::Step, step);
            } else if self.spec.steps.contains_key(step.as_str()) && !chain.contains(step.as_str()) {
                let message = format!("step `{step}` is not among the steps this image is made by");
                let mut help: Vec<&str> = chain.iter().copied().collect();
                help.sort_unstable();
                let diagnostic = Diagnostic::error("bad-value", message).at(step.span, "");
                self.sink.push(diagnostic.help(format!("those are {}", list(&help))));
            }
        }
    }

    fn outputs(&mut self, outputs: &[Output], untagged: bool) {
        for output in outputs {
            let (span, message) = match output {
                Output::DockerArchive(path) => {
                    (path.span, "a docker-archive of an image without `tags` would be loaded without a name")
                }
                Output::Push(wanted) if wanted.value => {
                    (wanted.span, "`push` sends an image to its `tags`, and there are none")
                }
                Output::Docker(wanted) if wanted.value => {
                    (wanted.span, "`docker` loads an image under its `tags`, and there are none")
                }
                _ => continue,
            };
            if untagged {
                let diagnostic = Diagnostic::error("missing-field", message).at(span, "");
                self.sink.push(diagnostic.help("add `tags`"));
            }
        }
    }
}

fn with_help(diagnostic: Diagnostic, help: Option<String>) -> Diagnostic {
    match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

/// The steps along `from` and `merge` that end in `name`.
fn chain<'a>(spec: &'a Spec, name: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = vec![name];
    while let Some(name) = open.pop() {
        if let Some((name, step)) = spec.steps.get_key_value(name)
            && found.insert(name.as_str())
        {
            open.extend(step.base.references().into_iter().map(|reference| reference.name.as_str()));
        }
    }
    found
}
