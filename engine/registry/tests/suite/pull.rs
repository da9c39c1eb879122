//! From a real registry.

use crate::support::{
    World,
    http::{Reply, Request, Server},
    image::{self, Blobs, with_platform},
    registry::Registry,
    run,
};
use rbuild_oci::{Platform, oci_spec::image::Descriptor, sha256};
use rbuild_registry::{Client, Error, Reference, RegistryTable};
use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

fn reference(registry: &Registry, name: &str) -> Reference {
    format!("{}/{name}", registry.host).parse().unwrap()
}

#[test]
fn an_image_comes_as_it_was_put_in() {
    needs!("docker-registry", "skopeo");
    let registry = Registry::start();
    let world = World::new();
    let layout = world.home().join("layout");
    let mut blobs = Blobs::default();
    let layers = [image::layer(1, 70_000), image::layer(2, 10), image::layer(1, 70_000)];
    let descriptor = blobs.image("linux/amd64", &layers);
    blobs.write_layout(&layout, &descriptor);
    registry.seed(&format!("oci:{}", layout.display()), "team/shop:1", &[]);

    let client = world.client();
    let shop = reference(&registry, "team/shop:1");
    let resolved = client.resolve(&shop).unwrap();
    assert_eq!(resolved, image::descriptor(&descriptor));
    let manifest = client.manifest(&shop).unwrap();
    assert_eq!((manifest.bytes.as_slice(), &manifest.descriptor), (blobs.get(&descriptor), &resolved));
    let found = client.image(&shop, &platform("linux/amd64")).unwrap();
    assert_eq!((found.root, found.manifest, found.layers.len()), (resolved.clone(), manifest, 3));
    assert_eq!(sha256(&found.configuration), *found.configuration_descriptor.digest());
    for (layer, expected) in found.layers.iter().zip(&layers) {
        let mut bytes = Vec::new();
        client.blob(shop.repository(), &layer.descriptor).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, *expected);
        assert_eq!(layer.layer.diff_id, sha256(expected));
    }
    let by_digest = shop.repository().with_digest(resolved.digest().clone());
    assert_eq!(client.resolve(&by_digest).unwrap(), resolved);
    assert_eq!(client.tags(shop.repository()).unwrap(), ["1"]);
    client.ping(&registry.host).unwrap();
}

#[test]
fn docker_schema_2_and_compressed_layers() {
    needs!("docker-registry", "skopeo");
    let registry = Registry::start();
    let world = World::new();
    let layout = world.home().join("layout");
    let mut blobs = Blobs::default();
    let layer = image::layer(1, 70_000);
    let descriptor = blobs.image("linux/amd64", &[layer.clone(), image::layer(2, 100)]);
    blobs.write_layout(&layout, &descriptor);
    let source = format!("oci:{}", layout.display());
    registry.seed(&source, "shop:v2s2", &["--format", "v2s2"]);
    registry.seed(&source, "shop:gzip", &["--dest-compress"]);
    registry.seed(&source, "shop:zstd", &["--dest-compress-format", "zstd", "--dest-compress"]);
    let client = world.client();
    for tag in ["v2s2", "gzip", "zstd"] {
        let found =
            client.image(&reference(&registry, &format!("shop:{tag}")), &platform("linux/amd64")).unwrap();
        let mut tar = Vec::new();
        let blob = client.blob(found.reference.repository(), &found.layers[0].descriptor).unwrap();
        rbuild_oci::decompress(Box::new(blob)).unwrap().read_to_end(&mut tar).unwrap();
        assert_eq!(tar, layer, "{tag}: {}", found.layers[0].layer.media_type);
        assert!(
            found.layers[0]
                .layer
                .media_type
                .to_string()
                .starts_with("application/vnd.oci.image.layer.v1.tar")
        );
    }
}

#[test]
fn the_platform_decides() {
    needs!("docker-registry");
    let registry = Registry::start();
    let world = World::new();
    let mut blobs = Blobs::default();
    let mut one = |seed, name: &str| blobs.image(name, &[image::layer(seed, 10)]);
    let (amd64, arm_6, arm_7, attested) =
        (one(1, "linux/amd64"), one(2, "linux/arm"), one(3, "linux/arm"), one(4, "unknown/unknown"));
    let s390x = one(5, "linux/s390x");
    let inner = blobs.index(vec![with_platform(s390x.clone(), "linux/s390x")]);
    let mut attestation = with_platform(attested.clone(), "unknown/unknown");
    attestation["annotations"] = serde_json::json!({ "vnd.docker.reference.type": "attestation-manifest" });
    let index = blobs.index(vec![
        attestation,
        with_platform(amd64.clone(), "linux/amd64"),
        with_platform(arm_6.clone(), "linux/arm/v6"),
        with_platform(arm_7.clone(), "linux/arm/v7"),
        inner.clone(),
    ]);
    // skopeo knows no index in an index.
    let client = world.client();
    let shop = reference(&registry, "shop:all");
    for bytes in blobs.0.values() {
        let blob = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
        client.push_blob(shop.repository(), &blob, bytes, &[]).unwrap();
    }
    for document in [&amd64, &arm_6, &arm_7, &attested, &s390x, &inner, &index] {
        let by_digest = shop.repository().with_digest(image::descriptor(document).digest().clone());
        client.push_manifest(&by_digest, blobs.get(document)).unwrap();
    }
    client.push_manifest(&shop, blobs.get(&index)).unwrap();
    for (wanted, expected) in
        [("linux/amd64", &amd64), ("linux/arm/v7", &arm_7), ("linux/arm/v6", &arm_6), ("linux/s390x", &s390x)]
    {
        let found = client.image(&shop, &platform(wanted)).unwrap();
        assert_eq!(found.manifest.descriptor.digest().as_ref(), expected["digest"], "{wanted}");
        assert_eq!(found.root.digest().as_ref(), index["digest"]);
    }
    let error = client.image(&shop, &platform("linux/riscv64"));
    // The nested index is looked into, as it says no platform.
    assert!(error.unwrap_err().to_string().contains("linux/s390x"));
}

#[test]
fn what_is_not_there_says_so() {
    needs!("docker-registry");
    let registry = Registry::start();
    let client = World::new().client();
    let nothing = reference(&registry, "team/nothing:1");
    for error in [client.resolve(&nothing).unwrap_err(), client.manifest(&nothing).unwrap_err()] {
        assert!(error.is_not_found(), "{error}");
        assert!(error.to_string().contains("team/nothing:1"), "{error}");
    }
    let descriptor = image::descriptor(&Blobs::default().add(image::LAYER, "x"));
    let mut blob = client.blob(nothing.repository(), &descriptor).unwrap();
    let error = Error::from_io("", blob.read(&mut [0; 10]).unwrap_err());
    assert!(error.is_not_found() && error.to_string().contains(descriptor.digest().as_ref()), "{error}");
    assert!(!client.has_blob(nothing.repository(), descriptor.digest()).unwrap());
    assert!(client.tags(nothing.repository()).unwrap_err().is_not_found());
}

#[test]
fn mirrors_come_first_and_wrong_bytes_are_refused() {
    needs!("docker-registry", "skopeo");
    let registry = Registry::start();
    let mut world = World::new();
    let layout = world.home().join("layout");
    let mut blobs = Blobs::default();
    let layer = image::layer(1, 5000);
    let descriptor = blobs.image("linux/amd64", std::slice::from_ref(&layer));
    blobs.write_layout(&layout, &descriptor);
    registry.seed(&format!("oci:{}", layout.display()), "shop:1", &[]);
    let digest = sha256(&layer).to_string();

    // It has all of the image, but one bit of the layer is wrong.
    let (held, layer_digest) = (blobs.clone(), digest.clone());
    let root = descriptor["digest"].as_str().unwrap().to_owned();
    let mirror = Server::start(move |request| {
        let key = request.path().rsplit('/').next().unwrap().to_owned();
        let key = if key == "1" { root.clone() } else { key };
        match held.0.get(&key) {
            Some(bytes) if key == layer_digest => {
                let mut bytes = bytes.clone();
                bytes[100] ^= 1;
                Reply::ok(bytes)
            }
            Some(bytes) => Reply::ok(bytes.clone()).header("Content-Type", "application/octet-stream"),
            None => Reply::new(404),
        }
    });
    let gone = Server::start(|_| Reply::new(404));
    let mirrors = vec![gone.host(), format!("http://{}", mirror.host())];
    world.tables.insert(registry.host.clone(), RegistryTable { mirrors, ..RegistryTable::default() });
    let heard = world.listen();
    let client = world.client();
    let shop = reference(&registry, "shop:1");
    let found = client.image(&shop, &platform("linux/amd64")).unwrap();
    assert_eq!(mirror.count("GET", "/manifests/"), 1);
    assert_eq!(gone.count("GET", "/manifests/"), 1);
    let read = || {
        let mut bytes = Vec::new();
        let mut blob = client.blob(shop.repository(), &found.layers[0].descriptor).unwrap();
        blob.read_to_end(&mut bytes).map(|_| bytes)
    };
    let error = Error::from_io("", read().unwrap_err());
    assert!(matches!(error, Error::Damaged { .. }) && error.to_string().contains(&mirror.host()), "{error}");
    assert_eq!(read().unwrap(), layer, "the mirror is no longer trusted with this blob");
    let mut file = tempfile::tempfile().unwrap();
    client.save_blob(shop.repository(), &found.layers[0].descriptor, &mut file).unwrap();
    assert_eq!(mirror.count("GET", &digest), 1);
    assert!(heard.places.lock().unwrap()[0].contains(&gone.host()));

    // A new client knows nothing of it yet, and comes to right bytes by itself.
    let mut file = tempfile::NamedTempFile::new().unwrap();
    world.client().save_blob(shop.repository(), &found.layers[0].descriptor, file.as_file_mut()).unwrap();
    assert_eq!(std::fs::read(file.path()).unwrap(), layer);
}

fn read(client: &Client, image: &Reference, descriptor: &Descriptor) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    client.blob(image.repository(), descriptor).unwrap().read_to_end(&mut bytes).map(|_| bytes)
}

#[test]
fn a_mirror_that_is_not_there_is_asked_once() {
    let layers = [image::layer(1, 5000), image::layer(2, 5000)];
    let mut held = Blobs::default();
    let parts: Vec<_> = layers.iter().map(|layer| held.add(image::LAYER, layer.clone())).collect();
    let missing = image::descriptor(&Blobs::default().add(image::LAYER, "x"));
    let origin = Server::start(move |request| match request.path().rsplit('/').next().unwrap() {
        "" => Reply::ok(""),
        digest => held.0.get(digest).cloned().map_or(Reply::new(404), Reply::ok),
    });
    // It takes connections and answers nothing.
    let mirror = Server::start(|_| Reply::hang_up());
    let mut world = World::new();
    let mirrors = vec![format!("http://{}", mirror.host())];
    world.tables.insert(origin.host(), RegistryTable { mirrors, ..RegistryTable::default() });
    let heard = world.listen();
    let client = world.client();
    let shop: Reference = format!("{}/shop:1", origin.host()).parse().unwrap();
    let mut asked = 0;
    for (part, layer) in parts.iter().zip(&layers) {
        assert_eq!(read(&client, &shop, &image::descriptor(part)).unwrap(), *layer);
        let before = std::mem::replace(&mut asked, mirror.requests.lock().unwrap().len());
        assert!(asked > 0 && (before == 0 || before == asked), "{before} {asked}");
    }
    let error = client.resolve(&shop).unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains(&mirror.host()), "{error}");
    let error = read(&client, &shop, &missing).unwrap_err().to_string();
    assert!(error.contains(&mirror.host()) && error.contains("broke off"), "it is told still: {error}");
    assert_eq!(mirror.requests.lock().unwrap().len(), asked);
    assert_eq!(heard.places.lock().unwrap().len(), 1, "{:?}", heard.places.lock().unwrap());
}

/// It is wrong about one blob, or sends to others who are not there: the next blob may be well.
#[test]
fn a_mirror_that_answers_is_asked_for_the_next_blob() {
    let layers = [image::layer(1, 5000), image::layer(2, 5000)];
    let mut held = Blobs::default();
    let parts = layers.clone().map(|layer| image::descriptor(&held.add(image::LAYER, layer)));
    let gone = crate::support::registry::free_host();
    let tokens_asked = AtomicUsize::new(0);
    let tokens = Server::start(move |_| match tokens_asked.fetch_add(1, Ordering::Relaxed) {
        ..6 => Reply::hang_up(),
        _ => Reply::ok(r#"{"token":"t"}"#),
    });
    let challenge = format!("Bearer realm=\"http://{}/token\"", tokens.host());
    let answers = [
        Reply { cut: Some(10), ..Reply::ok(layers[0].clone()) },
        Reply { content_length: Some(9999), ..Reply::ok(layers[0].clone()) },
        Reply::new(307).header("Location", format!("http://{gone}/x")),
        Reply::new(401).header("WWW-Authenticate", challenge),
    ];
    for answer in answers {
        let (first, all) = (parts[0].digest().to_string(), held.clone());
        let serve = move |request: &Request, first_answer: Option<&Reply>| match request
            .path()
            .rsplit('/')
            .next()
            .unwrap()
        {
            "" => Reply::ok(""),
            digest if digest == first && first_answer.is_some() => first_answer.unwrap().clone(),
            digest => Reply::ok(all.0[digest].clone()),
        };
        let serve_all = serve.clone();
        let origin = Server::start(move |request| serve_all(request, None));
        let mirror = Server::start(move |request| serve(request, Some(&answer)));
        let mut world = World::new();
        let mirrors = vec![format!("http://{}", mirror.host())];
        world.tables.insert(origin.host(), RegistryTable { mirrors, ..RegistryTable::default() });
        let (client, shop) = (world.client(), format!("{}/shop:1", origin.host()).parse().unwrap());
        for (part, layer) in parts.iter().zip(&layers) {
            assert_eq!(read(&client, &shop, part).unwrap(), *layer);
        }
        let counts = parts.each_ref().map(|part| origin.count("GET", part.digest().as_ref()));
        assert_eq!(counts, [1, 0], "the second is the mirror's");
    }
}

/// The registry itself is the last there is.
#[test]
fn an_origin_that_was_not_there_is_asked_again() {
    let bytes = image::layer(1, 5000);
    let descriptor = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    let is_up = Arc::new(AtomicBool::new(false));
    let (up, held) = (is_up.clone(), bytes.clone());
    let origin = Server::start(move |request| match request.path() {
        "/v2/" => Reply::ok(""),
        _ if !up.load(Ordering::Relaxed) => Reply::hang_up(),
        _ => Reply::ok(held.clone()),
    });
    let client = World::new().client();
    let shop: Reference = format!("{}/shop", origin.host()).parse().unwrap();
    read(&client, &shop, &descriptor).unwrap_err();
    is_up.store(true, Ordering::Relaxed);
    assert_eq!(read(&client, &shop, &descriptor).unwrap(), bytes);
}

#[test]
fn referrers_by_interface_and_by_tag() {
    let mut blobs = Blobs::default();
    let subject = blobs.image("linux/amd64", &[]);
    let mut sbom = blobs.add(image::MANIFEST, "{}");
    sbom["artifactType"] = "application/spdx+json".into();
    let mut other = blobs.add(image::MANIFEST, "{ }");
    other["artifactType"] = "application/x".into();
    let index = blobs.index(vec![sbom.clone(), other]);
    let bytes = blobs.get(&index).to_vec();
    let digest = image::descriptor(&subject).digest().clone();
    let tag = digest.to_string().replace(':', "-");
    for has_interface in [true, false] {
        let (bytes, tag) = (bytes.clone(), tag.clone());
        let server = Server::start(move |request| match request.path() {
            path if path.contains("/referrers/") && has_interface => Reply::ok(bytes.clone()),
            path if path.ends_with(&tag) => Reply::ok(bytes.clone()).header("Content-Type", image::INDEX),
            "/v2/" => Reply::ok(""),
            _ => Reply::new(404),
        });
        let shop: Reference = format!("{}/shop", server.host()).parse().unwrap();
        let client = World::new().client();
        let all = client.referrers(shop.repository(), &digest, None).unwrap();
        assert_eq!(all.len(), 2, "{has_interface}");
        let some = client.referrers(shop.repository(), &digest, Some("application/spdx+json")).unwrap();
        assert_eq!(some, [image::descriptor(&sbom)]);
        let nothing = sha256(b"nothing refers to this");
        if !has_interface {
            assert!(client.referrers(shop.repository(), &nothing, None).unwrap().is_empty());
        }
    }
}

#[test]
fn tags_come_page_by_page() {
    let server = Server::start(|request| match request.target.as_str() {
        "/v2/" => Reply::ok(""),
        "/v2/shop/tags/list?n=1000" => Reply::ok(r#"{"name":"shop","tags":["a","b"]}"#)
            .header("Link", r#"</v2/shop/tags/list?last=b&n=1000>; rel="next""#),
        "/v2/shop/tags/list?last=b&n=1000" => Reply::ok(r#"{"name":"shop","tags":["c"]}"#),
        _ => Reply::new(404),
    });
    let shop: Reference = format!("{}/shop", server.host()).parse().unwrap();
    assert_eq!(World::new().client().tags(shop.repository()).unwrap(), ["a", "b", "c"]);
}

#[test]
fn foreign_layers_come_from_their_address_without_credentials() {
    let bytes = image::layer(1, 3000);
    let foreign = {
        let bytes = bytes.clone();
        Server::start(move |_| Reply::ok(bytes.clone()))
    };
    let registry = Server::start(|request| match request.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
        Some(_) => Reply::new(404),
    });
    let world = World::new();
    world.write(
        ".docker/config.json",
        &format!(r#"{{"auths":{{"{}":{{"auth":"bWU6aHVudGVyMg=="}}}}}}"#, registry.host()),
    );
    let mut blobs = Blobs::default();
    let mut layer = blobs.add("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", bytes.clone());
    layer["urls"] = serde_json::json!([format!("http://{}/layer", foreign.host())]);
    let shop: Reference = format!("{}/shop", registry.host()).parse().unwrap();
    let mut read = Vec::new();
    let client = world.client();
    client.blob(shop.repository(), &image::descriptor(&layer)).unwrap().read_to_end(&mut read).unwrap();
    assert_eq!(read, bytes);
    let requests = foreign.requests.lock().unwrap();
    assert!(requests.iter().all(|request| request.header("authorization").is_none()));
    drop(requests);
    let asked = foreign.requests.lock().unwrap().len();
    let mut refused = |media_type: &str, url: String| {
        layer["mediaType"] = media_type.into();
        layer["urls"] = serde_json::json!([url]);
        let mut blob = client.blob(shop.repository(), &image::descriptor(&layer)).unwrap();
        Error::from_io("", blob.read_to_end(&mut Vec::new()).unwrap_err())
    };
    // An address that is of no use is told when nobody has the blob.
    let docker = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let error = refused(docker, "http://far.example/layer".to_owned());
    assert!(
        error.is_not_found() && error.to_string().contains("far.example/layer: it has no TLS"),
        "{error}"
    );
    // Other layers are the registry's.
    let error = refused(image::LAYER, format!("http://{}/layer", foreign.host()));
    assert!(error.is_not_found(), "{error}");
    assert_eq!(foreign.requests.lock().unwrap().len(), asked);
}

#[test]
fn skopeo_takes_what_was_pulled() {
    needs!("docker-registry", "skopeo");
    // Pulled byte for byte, so a copy under another name has the digest of the first.
    let registry = Registry::start();
    let world = World::new();
    let layout = world.home().join("layout");
    let mut blobs = Blobs::default();
    let descriptor = blobs.image("linux/amd64", &[image::layer(1, 1000)]);
    blobs.write_layout(&layout, &descriptor);
    registry.seed(&format!("oci:{}", layout.display()), "shop:1", &["--format", "v2s2"]);
    let client = world.client();
    let shop = reference(&registry, "shop:1");
    let found = client.image(&shop, &platform("linux/amd64")).unwrap();
    let copy = reference(&registry, "copy:1");
    let push = |descriptor| {
        let mut bytes = Vec::new();
        client.blob(shop.repository(), descriptor).unwrap().read_to_end(&mut bytes).unwrap();
        client.push_blob(copy.repository(), descriptor, &bytes, &[]).unwrap();
    };
    found.layers.iter().for_each(|layer| push(&layer.descriptor));
    push(&found.configuration_descriptor);
    let pushed = client.push_manifest(&copy, &found.manifest.bytes).unwrap();
    assert_eq!(pushed, found.manifest.descriptor);
    let name = format!("docker://{}/copy:1", registry.host);
    let digest = run("skopeo", &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &name]);
    assert_eq!(String::from_utf8(digest).unwrap().trim(), pushed.digest().as_ref());
}
