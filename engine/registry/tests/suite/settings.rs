//! registries.conf and our own table, seen through where requests go.

use crate::support::{
    World,
    http::{Reply, Server},
};
use rbuild_registry::{Error, Reference, RegistryTable, Settings};

fn conf(world: &World, text: &str) {
    world.write("root/etc/containers/registries.conf", text);
}

fn nothing_there() -> Server {
    Server::start(|request| if request.target == "/v2/" { Reply::ok("") } else { Reply::new(404) })
}

#[test]
fn aliases_of_short_names() {
    let world = World::new();
    conf(
        &world,
        "unqualified-search-registries = ['quay.io']\n[aliases]\nfedora = 'registry.fedoraproject.org/fedora'\n'team/x' = 'a.example/x'",
    );
    world.write(
        "root/etc/containers/registries.conf.d/1.conf",
        "[aliases]\ndebian = 'wrong.example/debian'\n",
    );
    world.write(
        ".config/containers/registries.conf.d/1.conf",
        "[aliases]\ndebian = ''\nown = 'b.example/own'\n",
    );
    world.write(".cache/containers/short-name-aliases.conf", "[aliases]\ncached = 'c.example/cached'\n");
    let settings = world.settings();
    let digest = format!("sha256:{}", "a".repeat(64));
    for (text, full) in [
        ("fedora:40", "registry.fedoraproject.org/fedora:40".to_owned()),
        (&format!("fedora:40@{digest}"), format!("registry.fedoraproject.org/fedora:40@{digest}")),
        ("team/x", "a.example/x:latest".to_owned()),
        ("debian:12", "docker.io/library/debian:12".to_owned()),
        ("own", "b.example/own:latest".to_owned()),
        ("cached", "c.example/cached:latest".to_owned()),
        ("unknown", "docker.io/library/unknown:latest".to_owned()),
        ("docker.io/fedora", "docker.io/library/fedora:latest".to_owned()),
        ("localhost:5000/fedora", "localhost:5000/fedora:latest".to_owned()),
    ] {
        assert_eq!(settings.reference(text).unwrap().to_string(), full, "{text}");
    }
}

#[test]
fn locations_mirrors_and_blocks_of_podman() {
    let (origin, first, second) = (nothing_there(), nothing_there(), nothing_there());
    let world = World::new();
    conf(
        &world,
        &format!(
            "[[registry]]\nprefix = 'far.example/team'\nlocation = '{}/moved'\n\
             [[registry.mirror]]\nlocation = '{}'\npull-from-mirror = 'digest-only'\n\
             [[registry.mirror]]\nlocation = '{}/m'\ninsecure = true\n\
             [[registry]]\nprefix = 'far.example/team/secret'\nblocked = true\n\
             [[registry]]\nprefix = '*.blocked.example'\nblocked = true\n",
            origin.host(),
            first.host(),
            second.host()
        ),
    );
    let client = world.client();
    let error = client.manifest(&"far.example/team/shop:1".parse().unwrap()).unwrap_err();
    assert!(error.is_not_found() && matches!(error, Error::AfterMirrors { .. }), "{error}");
    assert!(error.to_string().contains(&second.host()), "{error}");
    assert_eq!(first.count("GET", "/manifests/"), 0);
    assert_eq!(second.count("GET", "/v2/m/shop/manifests/1"), 1);
    assert_eq!(origin.count("GET", "/v2/moved/shop/manifests/1"), 1);
    let digest = format!("far.example/team/shop@sha256:{}", "a".repeat(64));
    client.manifest(&digest.parse::<Reference>().unwrap()).unwrap_err();
    assert_eq!(first.count("GET", "/v2/shop/manifests/sha256:"), 1);
    for blocked in ["far.example/team/secret/x", "a.blocked.example/x"] {
        let error = client.manifest(&blocked.parse().unwrap()).unwrap_err();
        assert!(
            matches!(error, Error::Blocked { .. }) && error.to_string().contains("registries.conf"),
            "{error}"
        );
    }
}

#[test]
fn the_own_table_comes_before_podmans() {
    let (origin, ours, theirs) = (nothing_there(), nothing_there(), nothing_there());
    let mut world = World::new();
    conf(
        &world,
        &format!(
            "[[registry]]\nlocation = '{}'\n[[registry.mirror]]\nlocation = '{}'\n",
            origin.host(),
            theirs.host()
        ),
    );
    let table = RegistryTable { mirrors: vec![format!("{}/x", ours.host())], ..RegistryTable::default() };
    world.tables.insert(origin.host(), table);
    let shop: Reference = format!("{}/shop:1", origin.host()).parse().unwrap();
    world.client().manifest(&shop).unwrap_err();
    let counts = [&ours, &theirs, &origin].map(|server| server.count("GET", "/manifests/"));
    assert_eq!(counts, [1, 0, 1]);
    assert_eq!(ours.count("GET", "/v2/x/shop/manifests/1"), 1);
}

#[test]
fn malformed_files_are_named() {
    let world = World::new();
    for (text, reason) in [
        ("\n[[registry]]\nblocked = true", ".conf:2: a [[registry]] needs a `prefix` or a `location`"),
        (
            "[[registry]]\nlocation = 'a.example'\n[[registry.mirror]]\ninsecure = true",
            ".conf:3: mirror \"\"",
        ),
        (
            "[[registry]]\nlocation = 'a.example'\n[[registry]]\nprefix = 'b.example'\nlocation = 'https://c.example'",
            ".conf:3: the location \"https://c.example\" is no HOST",
        ),
        (
            "[[registry]]\nlocation = 'a.example'\n[[registry.mirror]]\nlocation = 'me:hunter2@b.example'",
            ".conf:3: mirror \"***@b.example\"",
        ),
        ("[[registry]\n", "registries.conf"),
        (
            "[[registry]]\nlocation = 'a'\n[[registry.mirror]]\nlocation = 'b'\npull-from-mirror = 'x'",
            "digest-only",
        ),
    ] {
        conf(&world, text);
        let error = Settings::load(&world.environment(), world.tables.clone()).unwrap_err().to_string();
        assert!(error.contains("registries.conf") && error.contains(reason), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    // That a location has no path is seen only with a name whose path is all in the prefix.
    conf(&world, "\n[[registry]]\nprefix = 'far.example/shop'\nlocation = 'near.example'\n");
    let error = world.client().manifest(&"far.example/shop:1".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("registries.conf:2: it leads to \"near.example\""), "{error}");
}
