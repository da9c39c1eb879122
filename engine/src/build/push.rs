//! `push`: what was built before, to registries.

use super::{
    Request,
    metadata::{Metadata, MetadataFile},
    prepare,
};
use crate::{
    error::{Error, Result},
    image::Pushable,
    registries::Registries,
    report::{Copied, Reporter},
    spec::Kind,
};
use rbuild_registry::Reference;
use std::sync::Arc;

/// Pushes an image of the last build of the request's file to these references; none: to its tags.
///
/// # Errors
/// The image was not built, or is no longer whole in the store; it has no tags; a registry refuses; metadata can't be
/// written.
pub fn push(
    request: &Request,
    image: &str,
    references: &[String],
    reporter: Arc<dyn Reporter>,
) -> Result<Vec<Copied>> {
    let file = MetadataFile::claim(request)?;
    let prepare::History { store, build } = prepare::open_history(request)?;
    let name = image.strip_prefix("image.").unwrap_or(image);
    let node = build.nodes.get(&format!("image.{name}")).and_then(|node| node.image.clone());
    let node = node.ok_or_else(|| {
        Error::usage(format!("image `{name}` was not made by the last build of {}", request.file.display()))
            .hint(format!("`rbuild apply image.{name}` makes it"))
    })?;
    let references = match references {
        [] => tags(request, name)?,
        given => given.to_vec(),
    };
    let registries = Registries::new(&request.inputs.environment, false, Some(store.clone()), reporter);
    let client = registries.client()?;
    let references: Vec<Reference> =
        references.iter().map(|text| client.reference(text)).collect::<rbuild_registry::Result<_>>()?;
    let content = Pushable::load(&store, &node.manifest, name)?;
    let pushed: Vec<Copied> = references
        .iter()
        .map(|reference| content.push(&registries, &store, reference))
        .collect::<Result<_>>()?;
    if let Some(file) = file {
        file.write(&Metadata::of_push(&store, name, &node.manifest, &pushed)?)?;
    }
    Ok(pushed)
}

fn tags(request: &Request, name: &str) -> Result<Vec<String>> {
    let loaded = prepare::load(request)?;
    let image = loaded.spec.images.get(name);
    let tags: Vec<String> =
        image.iter().flat_map(|image| image.tags.iter().map(|tag| tag.to_string())).collect();
    if tags.is_empty() {
        let message = format!("{} `{name}` has no tags, so there is nowhere to push it", Kind::Image);
        return Err(Error::usage(message).hint(format!("say where: rbuild push {name} HOST/PATH:TAG")));
    }
    Ok(tags)
}
