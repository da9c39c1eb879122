//! Images: layers, config, manifest, and where they go.
//!
//! How an image is layered is decided here, not by how it was built: a layer is the difference of two snapshots of the
//! chain the image stands on ([`crate::value::Lineage`]).

mod docker;
mod export;
mod file;
mod layers;
mod push;
mod queue;

pub(crate) use file::replace;
pub(crate) use push::Pushable;
pub use queue::LayerQueue;

use crate::{
    container::ContainerConfig,
    error::{Error, Result},
    plan::{self, Inputs},
    report::{Event, Layer},
    session::Session,
    spec::types::{Base, Compress, Image, Layers},
    store::{ImageNode, Node},
    value::{Lineage, Value},
};
use layers::Piece;
use rbuild_oci::{Compression, Image as Built, ImageSpec};
use rbuild_tree::{Kind, resolve};
use std::{collections::BTreeMap, sync::Arc};

/// Writes an image and sends it where it is to go.
///
/// # Errors
/// A layer that can't be written, a user that is not in the tree, an output that can't be written.
pub fn make(session: &Session, queue: &LayerQueue, image: &Image, inputs: &Inputs<'_>) -> Result<Node> {
    let value = inputs.value(&image.from)?;
    let (lineage, snapshot) = root_of(image, &value, inputs)?;
    let config = plan::join_config(&value.config, &image.config, &format!("image `{}`", image.name.value))?;
    check_config(session, image, &config, &snapshot)?;
    let pieces = layers::cut(&lineage, &image.layers);
    let mut history = Vec::new();
    let mut layers = Vec::new();
    for piece in &pieces {
        match piece {
            Piece::Base(base) => {
                history.extend(base.history.iter().cloned());
                layers.extend(base.layers().map(|layer| (layer.clone(), "base".to_owned())));
            }
            Piece::Layer(piece) => {
                let layer = queue.layer(piece, compression(image.compress))?;
                for warning in &layer.warnings {
                    session.warn(Some("special-file"), Some(&image.name), warning.clone());
                }
                layers.extend(layer.descriptor.iter().map(|layer| (layer.clone(), piece.made_by.clone())));
                history.push(layers::history_entry(piece, layer.descriptor, session.loaded.epoch));
            }
        }
    }
    let mut spec = ImageSpec::new(session.platform.clone());
    spec.config = config.to_oci();
    spec.docker = config.docker.clone();
    spec.author = lineage.chain().first().and_then(|bottom| bottom.image.as_ref()?.author.clone());
    spec.created = Some(layers::rfc3339(session.loaded.epoch));
    spec.annotations = image.annotations.clone();
    spec.history = history;
    let built = Built::build(&spec)?;
    keep(session, &built)?;
    let outputs = export::write(session, image, &built, &snapshot, &inputs.context)?;
    let tags: Vec<String> = image.tags.iter().map(|tag| tag.to_string()).collect();
    session.reporter.report(&Event::Image {
        name: image.name.value.clone(),
        digest: built.descriptor.digest().to_string(),
        tags: tags.clone(),
        layers: layers
            .into_iter()
            .map(|(layer, made_by)| Layer { digest: layer.digest.to_string(), size: layer.size, made_by })
            .collect(),
        outputs,
    });
    let remembered = ImageNode {
        manifest: built.descriptor.digest().to_string(),
        config: built.configuration_descriptor.digest().to_string(),
        tags,
    };
    let snapshot = session.store.put_snapshot(&snapshot)?.to_string();
    Ok(Node { snapshot: Some(snapshot), passed: true, image: Some(remembered), ..Node::default() })
}

/// The chain and the tree of an image; a directory of a tree stands on nothing.
fn root_of(
    image: &Image,
    value: &Value,
    inputs: &Inputs<'_>,
) -> Result<(Arc<Lineage>, Arc<rbuild_tree::Snapshot>)> {
    if image.from.path.is_root() {
        let snapshot = value.snapshot().cloned().ok_or_else(|| {
            let message = format!(
                "image `{}`: `{}` stands on this machine's files",
                image.name.value, image.from.value
            );
            Error::step("type-conflict", message).hint("copy what the image needs into a step of its own")
        })?;
        return Ok((value.lineage.clone(), snapshot));
    }
    let snapshot = Arc::new(inputs.snapshot(&image.from)?);
    Ok((Lineage::bottom(&image.from.to_string(), Some(snapshot.clone())), snapshot))
}

/// A named user must be in the tree; an entrypoint that is not there is worth a word.
fn check_config(
    session: &Session,
    image: &Image,
    config: &ContainerConfig,
    snapshot: &rbuild_tree::Snapshot,
) -> Result<()> {
    let name = &image.name.value;
    if !config.user.is_empty() {
        let owner = crate::spec::types::Owner::parse(&config.user)?;
        let accounts = crate::operations::accounts::Accounts::read(&session.store, snapshot)?;
        accounts.resolve(&owner).map_err(|reason| {
            Error::step("unknown-owner", format!("image `{name}`: config.user: {reason}"))
                .hint("add the user in a step with `users`, or write its number")
        })?;
    }
    if let Some(program) = config.entrypoint.first().filter(|program| program.starts_with('/')) {
        let found = resolve(&*session.store, snapshot, program.as_bytes(), true)?.found;
        let executable = found.is_some_and(|found| match found.kind {
            rbuild_tree::FoundKind::Leaf(Kind::File { .. }) => found.metadata.mode & 0o111 != 0,
            _ => false,
        });
        if !executable {
            let message =
                format!("image `{name}`: its entrypoint {program} is not an executable file of the image");
            session.warn(Some("entrypoint-missing"), Some(&format!("image.{name}")), message);
        }
    }
    Ok(())
}

/// Documents go into the store beside the layers: `inspect` and a later push find them there.
fn keep(session: &Session, built: &Built) -> Result<()> {
    let documents =
        [(&built.configuration, &built.configuration_descriptor), (&built.manifest, &built.descriptor)];
    for (bytes, descriptor) in documents {
        session.store.put_document(descriptor.digest().digest(), bytes)?;
    }
    Ok(())
}

fn compression(compress: Compress) -> Compression {
    match compress {
        Compress::Gzip => Compression::Gzip,
        Compress::Zstd => Compression::Zstd,
        Compress::None => Compression::None,
    }
}

/// The layers that will surely be asked for: how they are to be compressed, by the step or source that gives them.
#[derive(Default)]
pub struct Foreseen(BTreeMap<String, Vec<Compress>>);

impl Foreseen {
    /// What the images that are wanted stand on along `from`.
    pub fn new(session: &Session) -> Self {
        let mut foreseen = Self::default();
        let by_step = |image: &&Image| image.layers == Layers::Steps && session.is_wanted(image);
        for image in session.loaded.spec.images.values().filter(by_step) {
            let mut next = Some(&image.from.value);
            while let Some(reference) = next.take_if(|reference| reference.path.is_root()) {
                // Another image may have come here before, and has seen all below.
                let known = foreseen.0.entry(reference.name.clone()).or_default();
                if known.contains(&image.compress) {
                    break;
                }
                known.push(image.compress);
                next = match session.loaded.spec.steps.get(&reference.name).map(|step| &step.base) {
                    Some(Base::From(below)) => Some(&below.value),
                    _ => None,
                };
            }
        }
        foreseen
    }

    /// Starts writing, in the background, the layer of a node that was just made.
    pub fn prepare(&self, queue: &LayerQueue, name: &str, value: &Value) {
        for compress in self.0.get(name).into_iter().flatten() {
            if let Some(piece) = layers::top(&value.lineage) {
                queue.prepare(piece, compression(*compress));
            }
        }
    }
}
