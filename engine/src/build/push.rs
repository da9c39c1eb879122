//! `push`: what was built before, to registries.

use super::{
    Request,
    metadata::{Metadata, MetadataFile},
    prepare,
};
use crate::{
    copy::check_reference,
    error::{Error, Result},
    image::Pushable,
    registries::Registries,
    report::{Copied, Reporter},
    spec::Kind,
    store::ImageNode,
};
use rbuild_registry::Reference;
use std::sync::Arc;

/// Pushes an image of the last build of the request's file to these references; none: to the tags it was built with.
/// Each is told when it is there.
///
/// # Errors
/// The image was not built, or is no longer whole in the store; it has no tags, or the file gives it others by now; a
/// registry refuses; metadata can't be written; it was interrupted.
pub fn push(
    request: &Request,
    image: &str,
    references: &[String],
    reporter: Arc<dyn Reporter>,
    tell: &mut dyn FnMut(&Copied) -> Result<()>,
) -> Result<()> {
    let file = MetadataFile::claim(request)?;
    let prepare::History { store, build } = prepare::open_history(request)?;
    let name = image.strip_prefix("image.").unwrap_or(image);
    let node = build.nodes.get(&format!("image.{name}")).and_then(|node| node.image.clone());
    let node = node.ok_or_else(|| {
        Error::usage(format!("image `{name}` was not made by the last build of {}", request.file.display()))
            .hint(format!(
                "`rbuild apply {} image.{name}` makes it, if the file has it",
                request.file.display()
            ))
    })?;
    let references = match references {
        [] => tags(request, name, &node)?,
        given => {
            given.iter().try_for_each(|reference| check_reference(reference))?;
            given.to_vec()
        }
    };
    let environment = &request.inputs.environment;
    let registries = Arc::new(Registries::new(environment, false, Some(store.clone()), reporter));
    let client = registries.client()?;
    let targets: Vec<Reference> =
        references.iter().map(|text| client.reference(text)).collect::<rbuild_registry::Result<_>>()?;
    let content = Pushable::load(&store, &node.manifest, name)?;
    let mut pushed = Vec::new();
    registries.interruptible(|| {
        for (at, reference) in targets.iter().enumerate() {
            let copied = content.push(&registries, &store, reference);
            let copied = copied.map_err(|error| not_tried(error, &references[at + 1..]))?;
            tell(&copied)?;
            pushed.push(copied);
        }
        Ok(())
    })?;
    if let Some(file) = file {
        file.write(&Metadata::of_push(&store, name, &node.manifest, &pushed)?)?;
    }
    Ok(())
}

fn not_tried(error: Error, rest: &[String]) -> Error {
    if rest.is_empty() { error } else { error.hint(format!("not tried after this: {}", rest.join(", "))) }
}

/// The tags the image was built with. The file may give it others by now, or with other values of its variables: under
/// those it was never built.
fn tags(request: &Request, name: &str, node: &ImageNode) -> Result<Vec<String>> {
    let loaded = prepare::load(request)?;
    let image = loaded.spec.images.get(name);
    let now: Vec<String> =
        image.iter().flat_map(|image| image.tags.iter().map(|tag| tag.to_string())).collect();
    let say_where = format!("say where: rbuild push {name} HOST/PATH:TAG");
    if now.is_empty() {
        let message = format!("{} `{name}` has no tags, so there is nowhere to push it", Kind::Image);
        return Err(Error::usage(message).hint(say_where));
    }
    if now != node.tags {
        let message = format!(
            "image `{name}` was built with other tags than it has by the file and the command line now: {}, not {}",
            node.tags.join(", "),
            now.join(", ")
        );
        let again =
            format!("`rbuild apply image.{name}` with the same --set and --vars builds it with these tags");
        return Err(Error::usage(message).hint(again).hint(say_where));
    }
    Ok(now)
}
