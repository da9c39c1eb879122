//! Where the layers of an image are cut.

use crate::{
    spec::types::Layers,
    value::{BaseImage, Lineage},
};
use rbuild_oci::{HistoryEntry, LayerDescriptor};
use rbuild_tree::Snapshot;
use std::{collections::BTreeSet, sync::Arc};

/// A part of an image, from the bottom up.
pub(super) enum Piece {
    /// Layers that came with the base, byte for byte.
    Base(Arc<BaseImage>),
    /// A layer of ours.
    Layer(LayerPiece),
}

/// The difference of two snapshots.
#[derive(Clone)]
pub struct LayerPiece {
    /// What is below; none at the bottom.
    pub base: Option<Arc<Snapshot>>,
    /// What comes out.
    pub result: Arc<Snapshot>,
    /// The step or source whose layer it is.
    pub made_by: String,
}

/// Cuts the chain of an image into pieces.
pub(super) fn cut(lineage: &Arc<Lineage>, layers: &Layers) -> Vec<Piece> {
    let chain = lineage.chain();
    let squash = *layers == Layers::Squash;
    let ends: BTreeSet<&str> = match layers {
        Layers::Steps => chain.iter().map(|link| link.made_by.as_str()).collect(),
        Layers::Squash | Layers::BasePlusOne => BTreeSet::new(),
        Layers::After(steps) => steps.iter().map(|step| step.as_str()).collect(),
    };
    let mut pieces = Vec::new();
    let mut below: Option<Arc<Snapshot>> = None;
    for (at, link) in chain.iter().enumerate() {
        let (bottom, top) = (at == 0, at + 1 == chain.len());
        let Some(snapshot) = &link.snapshot else { continue };
        match &link.image {
            Some(image) if !squash => {
                pieces.push(Piece::Base(image.clone()));
                below = Some(snapshot.clone());
                continue;
            }
            _ => {}
        }
        // The base is a piece of its own unless all is one.
        let is_base = bottom && chain.len() > 1 && !squash && *layers == Layers::BasePlusOne;
        if top || is_base || ends.contains(link.made_by.as_str()) {
            let piece =
                LayerPiece { base: below.take(), result: snapshot.clone(), made_by: link.made_by.clone() };
            pieces.push(Piece::Layer(piece));
            below = Some(snapshot.clone());
        }
    }
    pieces
}

/// The last piece of a chain that is cut at every step, without a look at what is far below.
pub(super) fn top(lineage: &Lineage) -> Option<LayerPiece> {
    let result = lineage.snapshot.clone().filter(|_| lineage.image.is_none())?;
    let below = std::iter::successors(lineage.parent.as_ref(), |link| link.parent.as_ref());
    let base = below.into_iter().find_map(|link| link.snapshot.clone());
    Some(LayerPiece { base, result, made_by: lineage.made_by.clone() })
}

/// What the history of an image says of a layer.
pub(super) fn history_entry(piece: &LayerPiece, layer: Option<LayerDescriptor>, epoch: i64) -> HistoryEntry {
    HistoryEntry::new(Some(rfc3339(epoch)), format!("rbuild {}", piece.made_by), layer)
}

/// Seconds since 1970 as RFC 3339 in UTC.
pub(super) fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbuild_tree::{Metadata, Timestamp};

    #[test]
    fn the_top_of_a_chain_is_its_last_piece() {
        let tree = |time| {
            let root = Metadata::root(0o755, Timestamp::from_seconds(time));
            Some(Arc::new(Snapshot { root, ..Snapshot::scratch() }))
        };
        let image = Arc::new(BaseImage { history: Vec::new(), author: None });
        let link = |time: Option<i64>, parent: Option<Arc<Lineage>>, image| {
            let (made_by, snapshot) = (format!("{time:?}"), time.and_then(tree));
            Arc::new(Lineage { made_by, snapshot, parent, branches: Vec::new(), image })
        };
        let base = link(Some(1), None, Some(image));
        let over_image = link(Some(2), Some(base.clone()), None);
        let host = link(None, Some(over_image.clone()), None);
        let over_host = link(Some(3), Some(host.clone()), None);
        let bottom = link(Some(4), None, None);
        for chain in [&base, &over_image, &over_host, &bottom] {
            let last = cut(chain, &Layers::Steps).pop();
            let told = |piece: LayerPiece| (piece.base, piece.result, piece.made_by);
            let last = last.and_then(|piece| match piece {
                Piece::Layer(piece) => Some(told(piece)),
                Piece::Base(_) => None,
            });
            assert_eq!(top(chain).map(told), last, "{}", chain.made_by);
        }
        assert!(top(&host).is_none());
    }
}
