//! The test suite of the `rbuild` command: one binary, so that it links once. Each test runs the real program in a
//! folder of its own, in an environment that is the same everywhere ([`support`]).

#[macro_use]
mod support;

mod cache_mounts;
mod caching;
mod check;
mod chroot;
mod copy;
mod crash;
mod damage;
mod engines;
mod environments;
mod escape;
mod explain;
mod extra_stores;
mod faults;
mod graph;
mod host;
mod images;
mod in_place;
mod judges;
mod layering;
mod limits;
mod makers;
mod malformed_layers;
mod merges;
mod metadata;
mod mounts;
mod networks;
mod old_kernels;
mod one_id;
mod one_id_owners;
mod one_id_services;
mod outputs;
mod overlay_tier;
mod parallel;
mod path_sources;
mod private_networks;
mod progress;
mod reference;
mod registries;
mod reproducible;
mod run_steps;
mod specs;
mod tiers;
mod tree_operations;
mod usage;

/// A file that is not declared above would be a test that never runs.
#[test]
fn every_file_is_declared() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let declared: Vec<&str> = include_str!("suite.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    for entry in std::fs::read_dir(folder).expect("the folder of this file") {
        let path = entry.expect("an entry of it").path();
        let module = match path.extension() {
            Some(extension) if extension == "rs" => path.file_stem(),
            None if path.join("mod.rs").is_file() => path.file_name(),
            _ => continue,
        };
        let module = module.and_then(|module| module.to_str()).expect("a module's name");
        assert!(
            module == "suite" || declared.contains(&module),
            "tests/{module} is not declared in tests/suite.rs"
        );
    }
}
