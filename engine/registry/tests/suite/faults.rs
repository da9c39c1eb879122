//! Pulls and pushes on a bad line: each ends right or with a clear error, and never with a wrong byte.
//!
//! `RBUILD_FAULT_SEEDS` says how many seeds are run; a failure names its seed.

use crate::support::{
    World,
    http::Line,
    image::{self, Blobs},
    proxy::FaultyLine,
    registry::Registry,
    tls::Authority,
};
use rbuild_oci::sha256;
use rbuild_registry::{Client, Error, Reference, RegistryTable, RetryPolicy, Timeouts};
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

const SEEDS: u64 = 48;
/// Of all rounds at least so many end right: errors are rare where trying again helps.
const LEAST_RIGHT: f64 = 0.9;
/// What the line lets through at once: everything, half of a layer, a small part of it.
const LARGEST_BODIES: [usize; 3] = [usize::MAX, 64_000, 20_000];

fn world(line: &FaultyLine, authority: Option<&Authority>) -> World {
    let mut world = World::new();
    if let Some(authority) = authority {
        let table = RegistryTable { ca: Some(authority.certificate().into()), ..RegistryTable::default() };
        world.tables.extend(line.hosts().map(|host| (host, table.clone())));
    }
    world.options.timeouts = Timeouts {
        connect: Duration::from_millis(150),
        first_byte: Duration::from_millis(150),
        idle: Duration::from_millis(150),
    };
    world.options.retry = RetryPolicy {
        attempts: 8,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(8),
        ..RetryPolicy::default()
    };
    world.options.upload.least_part = 1000;
    world
}

fn pull(client: &Client, shop: &Reference) -> Result<Vec<Vec<u8>>, Error> {
    let found = client.image(shop, &"linux/amd64".parse().unwrap())?;
    let mut blobs = vec![found.manifest.bytes.clone(), found.configuration.clone()];
    for layer in &found.layers {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let saved = client.save_blob(shop.repository(), &layer.descriptor, file.as_file_mut());
        let bytes = std::fs::read(file.path()).unwrap();
        if let Err(error) = saved {
            assert!(bytes.is_empty(), "nothing half is left");
            return Err(error);
        }
        assert_eq!(sha256(&bytes), *layer.descriptor.digest(), "what is called right is right");
        blobs.push(bytes);
    }
    Ok(blobs)
}

fn push(client: &Client, shop: &Reference, blobs: &Blobs, descriptor: &Value) -> Result<(), Error> {
    let manifest: Value = serde_json::from_slice(blobs.get(descriptor)).unwrap();
    for part in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
        let bytes = blobs.get(part).to_vec();
        client.push_blob(shop.repository(), &image::descriptor(part), &bytes, &[])?;
    }
    client.push_manifest(shop, blobs.get(descriptor)).map(|_| ())
}

#[test]
fn every_round_ends_right_or_clear() {
    needs!("docker-registry", "skopeo");
    run(None);
}

#[test]
fn every_round_over_tls_ends_right_or_clear() {
    needs!("docker-registry", "skopeo", "openssl");
    run(Some(&Authority::new()));
}

fn run(authority: Option<&Authority>) {
    let tls = authority.map(Authority::server);
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let layers = [image::layer(1, 150_000), image::layer(2, 40_000), image::layer(3, 10)];
    let inner = blobs.image("linux/amd64", &layers);
    let index = blobs.index(vec![image::with_platform(inner.clone(), "linux/amd64")]);
    blobs.write_layout(folder.path(), &index);
    registry.seed(&format!("oci:{}", folder.path().display()), "shop:1", &["--all"]);

    let seeds = std::env::var("RBUILD_FAULT_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let (mut rounds, mut right, mut faults) = (0, 0, BTreeSet::new());
    let mut errors = Vec::new();
    for seed in 0..seeds {
        let line = Line { largest_body: LARGEST_BODIES[seed as usize % 3], tls: tls.clone() };
        let line = FaultyLine::start(&registry.host, seed, 4, &line);
        let client = world(&line, authority).client();
        let shop: Reference = format!("{}/shop:1", line.server.host()).parse().unwrap();
        let pulled = pull(&client, &shop);
        if let Ok(found) = &pulled {
            let expected = [
                blobs.get(&inner),
                blobs.get(&serde_json::from_slice::<Value>(blobs.get(&inner)).unwrap()["config"]),
            ];
            assert_eq!([found[0].as_slice(), found[1].as_slice()], expected, "seed {seed}");
            assert_eq!(found[2..], layers, "seed {seed}");
        }
        // Blobs that no other seed has pushed.
        let mut own = Blobs::default();
        let fresh =
            own.image("linux/amd64", &[image::layer(seed + 100, 90_000), image::layer(seed + 10_000, 100)]);
        let target: Reference = format!("{}/team/shop-{seed}:1", line.server.host()).parse().unwrap();
        let pushed = push(&client, &target, &own, &fresh);
        if pushed.is_ok() {
            check_stored(&registry, seed, &own, &fresh);
        }
        assert_eq!(line.leaks.load(std::sync::atomic::Ordering::Relaxed), 0, "seed {seed}");
        for error in [pulled.map(|_| ()), pushed].into_iter().filter_map(Result::err) {
            assert_clear(seed, &error, &line);
            errors.push(format!("seed {seed}: {error}"));
        }
        rounds += 2;
        faults.extend(line.faults.lock().unwrap().iter().copied());
    }
    right += rounds - errors.len();
    let share = right as f64 / rounds as f64;
    assert!(share >= LEAST_RIGHT, "{right} of {rounds} rounds ended right: {errors:#?}");
    assert_eq!(faults.len(), 14, "every fault was met: {faults:?}");
}

/// The registry itself, asked without the line between, has every byte under the tag.
fn check_stored(registry: &Registry, seed: u64, blobs: &Blobs, descriptor: &Value) {
    let direct = World::new().client();
    let target: Reference = format!("{}/team/shop-{seed}:1", registry.host).parse().unwrap();
    let found = direct.manifest(&target).unwrap();
    assert_eq!(found.bytes, blobs.get(descriptor), "seed {seed}");
    let image = direct.image(&target, &"linux/amd64".parse().unwrap()).unwrap();
    for layer in &image.layers {
        let digest = layer.descriptor.digest();
        assert!(direct.has_blob(target.repository(), digest).unwrap(), "seed {seed}");
        assert_eq!(sha256(&registry.stored(digest.as_ref()).unwrap()), *digest, "seed {seed}");
    }
}

/// It names what was wanted, and nothing secret.
fn assert_clear(seed: u64, error: &Error, line: &FaultyLine) {
    let text = error.to_string();
    let names_it = text.contains("shop") || text.contains(&line.server.host());
    assert!(names_it && !text.contains("hunter2") && !text.contains("Error {"), "seed {seed}: {text}");
}
