//! `rbuild inspect`

use super::{
    arguments::{FileArgument, StoreArgument},
    listing,
    past::Past,
};
use crate::ui::{shell::Shell, text};
use rbuild::{
    error::{Error, Result},
    report,
    store::{ImageNode, Node},
};
use serde_json::Value;
use std::{fmt::Write, time::Duration};

/// Shows an image or step of the last build: config, layers, tree
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The image, step or source, as it is named in the build file
    #[arg(value_name = "NAME")]
    name: String,
    /// List every entry of the tree instead
    #[arg(long)]
    tree: bool,
    #[command(flatten)]
    file: FileArgument,
    #[command(flatten)]
    store: StoreArgument,
}

impl Arguments {
    /// Shows it.
    ///
    /// # Errors
    /// The last build had no such node, or the store has lost it.
    pub fn run(self, shell: Shell) -> Result<()> {
        let past = Past::open(&self.file, &self.store)?;
        let (name, node) = past.node(&self.name, &["image", "step", "source", "test"])?;
        if self.tree {
            let snapshot = past.snapshot(name, node)?;
            return shell.print(&listing::list(&*past.store, &snapshot)?);
        }
        shell.print(&match &node.image {
            Some(image) => {
                let documents = (past.document(&image.manifest)?, past.document(&image.config)?);
                image_text(name, image, documents)?
            }
            None => node_text(name, node),
        })
    }
}

/// A step, source or test: what it gave.
fn node_text(name: &str, node: &Node) -> String {
    let mut text = format!("{name}\n");
    let mut line = |word: &str, value: &str| push(&mut text, word, value);
    match &node.snapshot {
        Some(snapshot) => line("snapshot", snapshot),
        None if !node.passed => line("snapshot", "none: it failed"),
        None => line("snapshot", "none of its own"),
    }
    line("took", &report::duration(Duration::from_millis(node.duration)));
    if node.log.is_some() {
        line("log", &format!("rbuild logs {name}"));
    }
    line("key", &node.ingredients.key().to_string());
    text
}

/// An image: what a program that runs it sees.
fn image_text(name: &str, image: &ImageNode, (manifest, config): (Value, Value)) -> Result<String> {
    let layers = manifest.get("layers").and_then(Value::as_array);
    let layers = layers.ok_or_else(|| Error::environment(format!("{} has no layers", image.manifest)))?;
    let field =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let size = |layer: &Value| layer.get("size").and_then(Value::as_u64).unwrap_or(0);
    let mut text = format!("{name} {}\n", image.manifest);
    let mut line = |word: &str, value: &str| push(&mut text, word, value);
    let variant = config.get("variant").and_then(Value::as_str).map(|variant| format!("/{variant}"));
    let platform =
        format!("{}/{}{}", field(&config, "os"), field(&config, "architecture"), variant.unwrap_or_default());
    line("platform", &platform);
    line("created", &field(&config, "created"));
    line("layers", &format!("{}, {}", layers.len(), text::size(layers.iter().map(size).sum())));
    for layer in layers {
        line("", &format!("{:>10}  {}", text::size(size(layer)), field(layer, "digest")));
    }
    line("config", &image.config);
    let settings = config.get("config").and_then(Value::as_object);
    for (setting, value) in settings.into_iter().flatten() {
        line("", &format!("{setting} = {value}"));
    }
    let annotations = manifest.get("annotations").and_then(Value::as_object);
    for (number, (annotation, value)) in annotations.into_iter().flatten().enumerate() {
        line(if number == 0 { "annotations" } else { "" }, &format!("{annotation} = {value}"));
    }
    Ok(text)
}

/// A line under the name; an empty value gives none.
fn push(text: &mut String, word: &str, value: &str) {
    if !value.is_empty() {
        // Writing to a string can't fail.
        let _ = writeln!(text, "  {word:<11} {}", text::line(value));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use insta::assert_snapshot;
    use rbuild::key::Ingredients;
    use serde_json::json;

    #[test]
    fn an_image() {
        let image = ImageNode { manifest: "sha256:aa".into(), config: "sha256:cc".into(), tags: vec![] };
        let manifest = json!({
            "layers": [{ "size": 47_185_920, "digest": "sha256:11" }, { "size": 912, "digest": "sha256:22" }],
            "annotations": { "org.example.a": "1", "org.example.b": "2" }
        });
        let config = json!({
            "os": "linux", "architecture": "arm", "variant": "v7", "created": "2025-11-24T16:00:00Z",
            "config": { "Entrypoint": ["/hello"], "Env": ["PATH=/bin"], "User": "app" }
        });
        assert_snapshot!(image_text("image.shop", &image, (manifest, config)).unwrap(), @r#"
        image.shop sha256:aa
          platform    linux/arm/v7
          created     2025-11-24T16:00:00Z
          layers      2, 45.0 MiB
                        45.0 MiB  sha256:11
                           912 B  sha256:22
          config      sha256:cc
                      Entrypoint = ["/hello"]
                      Env = ["PATH=/bin"]
                      User = "app"
          annotations org.example.a = "1"
                      org.example.b = "2"
        "#);
    }

    #[test]
    fn a_step() {
        let mut ingredients = Ingredients::default();
        ingredients.add("kind", "step");
        ingredients.add("run", "make\nmake install");
        let node = Node {
            ingredients,
            snapshot: Some("ab".repeat(32)),
            log: Some("cd".repeat(32)),
            passed: true,
            duration: 61_000,
            ..Node::default()
        };
        assert_snapshot!(node_text("step.jar", &node), @r"
        step.jar
          snapshot    abababababababababababababababababababababababababababababababab
          took        1m 1s
          log         rbuild logs step.jar
          key         6ba7998575bc63edf6a87e7e772f9f970fa43e784bceb6def16c47b37c26b35d
        ");
    }

    #[test]
    fn a_damaged_manifest() {
        let image = ImageNode { manifest: "sha256:aa".into(), config: "sha256:cc".into(), tags: vec![] };
        assert!(image_text("image.shop", &image, (json!([]), json!({}))).is_err());
    }
}
