//! The checks of the fuzz targets (tests/fuzz): over their seeds, over what they found, and over a few random cases.

#[path = "../../../../tests/fuzz/src/layer.rs"]
mod layer;
#[path = "../../../../tests/fuzz/src/whiteouts.rs"]
mod whiteouts;

use proptest::{collection::vec, prelude::*};
use std::{fs, path::Path};
use whiteouts::{Item, Kind};

#[test]
fn layers_of_the_seeds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds/layer");
    let mut count = 0;
    for seed in fs::read_dir(folder).unwrap() {
        let seed = seed.unwrap().path();
        println!("{}", seed.display());
        layer::check(&fs::read(&seed).unwrap());
        count += 1;
    }
    assert!(count > 3, "{count} seeds");
}

fn item(kind: Kind, path: &str) -> Item {
    Item { kind, path: path.to_owned(), mode: 0o750 }
}

/// Every order of these over a tree in which all of it is.
#[test]
fn whiteouts_in_any_order() {
    use Kind::{Directory, File, HardLink, Opaque, Whiteout};
    let base =
        [item(File, "a/b/c"), item(File, "a/c"), item(HardLink("a/c".to_owned()), "c"), item(Directory, "b")];
    let layer = [
        item(Whiteout, "a"),
        item(Opaque, "a/b"),
        item(File, "a/b/a"),
        item(Directory, "a"),
        item(HardLink("c".to_owned()), "b/c"),
    ];
    let mut count = 0;
    permute(&layer, &mut Vec::new(), &mut |order| {
        whiteouts::check(&base, order);
        count += 1;
    });
    assert_eq!(count, 120);
}

fn permute(left: &[Item], order: &mut Vec<Item>, visit: &mut dyn FnMut(&[Item])) {
    if left.is_empty() {
        visit(order);
    }
    for at in 0..left.len() {
        let mut rest = left.to_vec();
        order.push(rest.remove(at));
        permute(&rest, order, visit);
        order.pop();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn what_layers_make_is_what_the_model_makes(base in vec(any::<[u8; 4]>(), 0..12), layer in vec(any::<[u8; 4]>(), 0..12)) {
        whiteouts::check(&whiteouts::items(&base), &whiteouts::items(&layer));
    }
}
