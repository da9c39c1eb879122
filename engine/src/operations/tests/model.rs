//! Copies of random trees against a plain model: a map from paths to what is there.

use super::{World, lines_of};
use proptest::{
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};
use std::collections::BTreeMap;

/// A directory, or the content of a file.
type Model = BTreeMap<String, Option<String>>;

fn tree() -> impl Strategy<Value = Model> {
    let path = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4);
    prop::collection::vec((path, prop::option::of("[xyz]{1,2}")), 0..8).prop_map(|entries| {
        let mut model = Model::new();
        for (names, content) in entries {
            let above = (1..names.len()).map(|end| format!("/{}", names[..end].join("/")));
            let path = format!("/{}", names.join("/"));
            let fits = above.clone().all(|outer| model.get(&outer).is_none_or(Option::is_none));
            if fits && !model.contains_key(&path) {
                above.for_each(|outer| drop(model.insert(outer, None)));
                model.insert(path, content);
            }
        }
        model
    })
}

fn text(model: &Model) -> String {
    let line = |(path, content): (&String, &Option<String>)| match content {
        Some(content) => format!("{path} ={content}\n"),
        None => format!("{path}/\n"),
    };
    model.iter().map(line).collect()
}

/// `source` put onto `base`; none if a directory and a file meet.
fn merged(base: &Model, source: &Model) -> Option<Model> {
    let mut result = base.clone();
    for (path, content) in source {
        if let Some(there) = result.insert(path.clone(), content.clone())
            && there.is_none() != content.is_none()
        {
            return None;
        }
    }
    Some(result)
}

/// Lines without times and in the order of a map.
fn plain(lines: Vec<String>) -> Vec<String> {
    let mut plain: Vec<String> = lines.iter().map(|line| line.trim_end_matches(" *").to_owned()).collect();
    plain.retain(|line| line != "/");
    plain.sort();
    plain
}

/// Runs a check on pairs of random trees: what was there, and what is copied, which is the tree `src` of the world.
fn each(check: impl Fn(&World, &Model, &Model) -> Result<(), TestCaseError>) {
    // One store for all: opening one is what takes time.
    let store = World::new();
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) });
    let checked = runner.run(&(tree(), tree()), |(base, source)| {
        let mut world = store.again();
        world.add("src", &text(&source));
        check(&world, &base, &source)
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_copy_is_the_union() {
    each(|world, base, source| {
        let copied = world.try_apply(&text(base), "copy = [{ from = 'src', dest = '/' }]");
        match (merged(base, source), copied) {
            (Some(model), Ok(applied)) => {
                prop_assert_eq!(plain(world.lines(&applied.snapshot)), plain(lines_of(&text(&model))));
            }
            (None, Err(error)) => prop_assert_eq!(error.code(), Some("type-conflict")),
            (model, copied) => {
                prop_assert!(false, "{model:?} but {:?}", copied.map(|a| world.lines(&a.snapshot)))
            }
        }
        Ok(())
    });
}

#[test]
fn a_copy_that_replaces_is_the_source() {
    each(|world, base, source| {
        let applied =
            world.try_apply(&text(base), "copy = [{ from = 'src', dest = '/', replace = true }]").unwrap();
        prop_assert_eq!(applied.snapshot, world.snapshot(&text(source)));
        Ok(())
    });
}

#[test]
fn a_copy_and_its_removal_leave_the_base() {
    each(|world, base, _| {
        let toml = "copy = [{ from = 'src', dest = '/new/' }]\nremove = ['/new']";
        let applied = world.try_apply(&text(base), toml).unwrap();
        prop_assert_eq!(
            plain(world.lines(&applied.snapshot)),
            plain(world.lines(&world.snapshot(&text(base))))
        );
        Ok(())
    });
}
