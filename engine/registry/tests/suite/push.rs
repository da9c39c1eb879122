//! To a real registry, and to stubs where one is too well-behaved.

use crate::support::{
    World,
    http::{Reply, Request, Server},
    image::{self, Blobs},
    proxy::cut,
    registry::Registry,
    run,
};
use rbuild_registry::{Client, Error, Pushed, Reference, RegistryTable, Repository};
use serde_json::{Value, json};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

fn reference(host: &str, name: &str) -> Reference {
    format!("{host}/{name}").parse().unwrap()
}

#[test]
fn a_new_image_is_what_skopeo_sees() {
    needs!("docker-registry", "skopeo");
    let registry = Registry::start();
    let world = World::new();
    let client = world.client();
    let mut blobs = Blobs::default();
    let layer = image::layer(1, 100_000);
    let descriptor = blobs.image("linux/amd64", &[layer]);
    let manifest: serde_json::Value = serde_json::from_slice(blobs.get(&descriptor)).unwrap();
    let shop = reference(&registry.host, "team/shop:1");
    for part in [&manifest["config"], &manifest["layers"][0]] {
        let bytes = blobs.get(part).to_vec();
        let part = image::descriptor(part);
        assert_eq!(client.push_blob(shop.repository(), &part, &bytes, &[]).unwrap(), Pushed::Uploaded);
        assert_eq!(client.push_blob(shop.repository(), &part, &bytes, &[]).unwrap(), Pushed::Existing);
        assert!(client.has_blob(shop.repository(), part.digest()).unwrap());
    }
    let pushed = client.push_manifest(&shop, blobs.get(&descriptor)).unwrap();
    assert_eq!(pushed, image::descriptor(&descriptor));
    let index = blobs.index(vec![image::with_platform(descriptor.clone(), "linux/amd64")]);
    client.push_manifest(&shop.repository().with_tag("all").unwrap(), blobs.get(&index)).unwrap();
    let by_digest = shop.repository().with_digest(image::descriptor(&index).digest().clone());
    client.push_manifest(&by_digest, blobs.get(&index)).unwrap();
    let wrong = client.push_manifest(&by_digest, blobs.get(&descriptor)).unwrap_err();
    assert!(matches!(wrong, Error::Damaged { .. }), "{wrong}");
    let layout = format!("oci:{}:x", world.home().join("copied").display());
    run("skopeo", &["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{}", shop), &layout]);
    let mut tags = client.tags(shop.repository()).unwrap();
    tags.sort();
    assert_eq!(tags, ["1", "all"]);

    // A tag and a digest: the digest is checked, the tag is what it is put under.
    let both = |descriptor| {
        let digest = image::descriptor(descriptor).digest().clone();
        reference(&registry.host, &format!("team/shop:both@{digest}"))
    };
    let digest = image::descriptor(&index).digest().to_string();
    assert!(!client.is_pushed(&both(&index), &digest).unwrap(), "the tag does not mean it yet");
    let wrong = client.push_manifest(&both(&descriptor), blobs.get(&index)).unwrap_err();
    assert!(matches!(wrong, Error::Damaged { .. }), "{wrong}");
    client.push_manifest(&both(&index), blobs.get(&index)).unwrap();
    assert!(client.is_pushed(&both(&index), &digest).unwrap());
    let name = format!("docker://{}/team/shop:both", registry.host);
    assert_eq!(run("skopeo", &["inspect", "--raw", "--tls-verify=false", &name]), blobs.get(&index));
}

/// Pushes an image's blobs, and its manifest by digest.
fn push_image(client: &Client, repository: &Repository, blobs: &Blobs, descriptor: &Value) {
    let manifest: Value = serde_json::from_slice(blobs.get(descriptor)).unwrap();
    for part in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
        client.push_blob(repository, &image::descriptor(part), &blobs.get(part).to_vec(), &[]).unwrap();
    }
    let digest = image::descriptor(descriptor).digest().clone();
    client.push_manifest(&repository.with_digest(digest), blobs.get(descriptor)).unwrap();
}

#[test]
fn an_index_of_images_that_are_there() {
    needs!("docker-registry", "skopeo");
    let registry = Registry::start();
    let client = World::new().client();
    let shop = reference(&registry.host, "team/shop:all");
    let mut blobs = Blobs::default();
    let platforms = ["linux/amd64", "linux/arm64"];
    let images = platforms.map(|platform| blobs.image(platform, &[image::layer(1, 1000)]));
    let entries =
        images.iter().zip(platforms).map(|(entry, platform)| image::with_platform(entry.clone(), platform));
    let index = blobs.index(entries.collect());
    push_image(&client, shop.repository(), &blobs, &images[0]);
    let error = client.push_manifest(&shop, blobs.get(&index)).unwrap_err().to_string();
    assert!(error.contains("MANIFEST_BLOB_UNKNOWN") && error.contains("team/shop:all"), "{error}");
    push_image(&client, shop.repository(), &blobs, &images[1]);
    let pushed = client.push_manifest(&shop, blobs.get(&index)).unwrap();
    assert_eq!(pushed, image::descriptor(&index));
    let inspect = |key: &str| {
        let name = format!("docker://{}/team/shop{key}", registry.host);
        run("skopeo", &["inspect", "--raw", "--tls-verify=false", &name])
    };
    assert_eq!(inspect(":all"), blobs.get(&index));
    for entry in &images {
        assert_eq!(inspect(&format!("@{}", entry["digest"].as_str().unwrap())), blobs.get(entry));
    }
}

/// docker-registry 2.8 has no interface for referrers.
#[test]
fn referrers_of_a_registry_that_keeps_them_under_a_tag() {
    needs!("docker-registry");
    let registry = Registry::start();
    let client = World::new().client();
    let shop = reference(&registry.host, "team/shop");
    let mut blobs = Blobs::default();
    let subject = blobs.image("linux/amd64", &[]);
    let digest = image::descriptor(&subject).digest().clone();
    push_image(&client, shop.repository(), &blobs, &subject);
    assert_eq!(client.referrers(shop.repository(), &digest, None).unwrap(), []);

    let config = blobs.add("application/vnd.oci.empty.v1+json", "{}");
    let layer = blobs.add("application/spdx+json", r#"{"spdxVersion":"SPDX-2.3"}"#);
    let sbom = json!({
        "schemaVersion": 2, "mediaType": image::MANIFEST, "artifactType": "application/spdx+json",
        "config": config, "layers": [layer], "subject": subject,
    });
    let mut sbom = blobs.add(image::MANIFEST, sbom.to_string());
    push_image(&client, shop.repository(), &blobs, &sbom);
    sbom["artifactType"] = "application/spdx+json".into();
    let index = blobs.index(vec![sbom.clone()]);
    let tag = digest.to_string().replace(':', "-");
    client.push_manifest(&shop.repository().with_tag(&tag).unwrap(), blobs.get(&index)).unwrap();
    let of_type = |wanted| client.referrers(shop.repository(), &digest, wanted).unwrap();
    for wanted in [None, Some("application/spdx+json")] {
        assert_eq!(of_type(wanted), [image::descriptor(&sbom)]);
    }
    assert_eq!(of_type(Some("application/x")), []);
}

#[test]
fn what_is_pushed_is_asked_of_the_registry_alone() {
    let bytes = br#"{"schemaVersion":2,"manifests":[]}"#;
    let digest = rbuild_oci::sha256(bytes).to_string();
    let has = |bytes: &'static [u8]| {
        Server::start(move |request| match request.path() {
            "/v2/" => Reply::ok(""),
            path if path.contains("/manifests/") && !bytes.is_empty() => Reply::ok(bytes),
            _ => Reply::new(404),
        })
    };
    for (at_mirror, at_origin) in [(bytes.as_slice(), [].as_slice()), (&[], bytes)] {
        let (mirror, origin) = (has(at_mirror), has(at_origin));
        let mut world = World::new();
        let mirrors = vec![format!("http://{}", mirror.host())];
        world.tables.insert(origin.host(), RegistryTable { mirrors, ..RegistryTable::default() });
        let shop = reference(&origin.host(), "shop:1");
        let client = world.client();
        assert_eq!(client.is_pushed(&shop, &digest).unwrap(), !at_origin.is_empty());
        assert!(mirror.requests.lock().unwrap().is_empty());
        assert_eq!(client.resolve(&shop).unwrap().digest().as_ref(), digest, "others ask the mirror first");
        assert_eq!(mirror.count("GET", "/manifests/1"), 1);
    }
}

#[test]
fn one_request_for_a_blob_of_any_size() {
    needs!("docker-registry");
    let registry = Registry::start();
    let upstream = registry.host.clone();
    let relay = Server::start(move |request| relay(request, &upstream));
    let mut world = World::new();
    let heard = world.listen();
    let client = world.client();
    let shop = reference(&relay.host(), "shop");
    let sizes = [0, 1000, 3_000_000];
    for size in sizes {
        let bytes = image::layer(1, 3_000_000)[..size].to_vec();
        let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
        let path = world.home().join("blob");
        std::fs::write(&path, &bytes).unwrap();
        let pushed = client.push_blob(shop.repository(), &part, &path, &[]).unwrap();
        assert_eq!(pushed, Pushed::Uploaded, "{size}");
        assert_eq!(registry.stored(part.digest().as_ref()).unwrap(), bytes, "{size}");
    }
    assert_eq!(*heard.sent.lock().unwrap(), sizes.iter().sum::<usize>() as u64);
    assert_eq!((relay.count("PUT", "/uploads/"), relay.count("PATCH", "")), (3, 0));
    // The registry itself, which is asked whether it wants the bytes.
    let bytes = image::layer(2, 3_000_000);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    client.push_blob(reference(&registry.host, "shop").repository(), &part, &bytes, &[]).unwrap();
    assert_eq!(registry.stored(part.digest().as_ref()).unwrap(), bytes);
    // A file that has less than it should.
    let part = image::descriptor(&Blobs::default().add(image::LAYER, vec![7; 9000]));
    let error = client.push_blob(shop.repository(), &part, &vec![7_u8; 5000], &[]).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("fewer bytes"), "{error}");
    assert!(error.to_string().contains(part.digest().as_ref()), "{error}");
    for (path, reason) in [(world.home().join("gone"), "No such file"), (world.home().into(), "directory")] {
        let error = client.push_blob(shop.repository(), &part, &path, &[]).unwrap_err().to_string();
        let place = format!("blob {} of {shop}, which is to be pushed ({})", part.digest(), path.display());
        assert!(error.contains(&place.replace(":latest", "")) && error.contains(reason), "{error}");
    }
    // And one that has others: it is sent once.
    let path = world.home().join("damaged");
    std::fs::write(&path, vec![8_u8; 9000]).unwrap();
    let sent = relay.count("PUT", "/uploads/");
    let error = client.push_blob(shop.repository(), &part, &path, &[]).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    let digest = rbuild_oci::sha256(&[8; 9000]).to_string();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(error.to_string().contains(&format!("its digest is {digest}")), "{error}");
    assert_eq!(relay.count("PUT", "/uploads/"), sent + 1);
}

#[test]
fn mounts_from_the_same_registry() {
    needs!("docker-registry");
    let registry = Registry::start();
    let client = World::new().client();
    let base = reference(&registry.host, "base/debian");
    let shop = reference(&registry.host, "team/shop");
    let bytes = image::layer(1, 5000);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    client.push_blob(base.repository(), &part, &bytes, &[]).unwrap();
    let elsewhere: Reference = "far.example/x".parse().unwrap();
    let sources = [elsewhere.repository().clone(), base.repository().clone()];
    let nothing: Vec<u8> = Vec::new();
    assert_eq!(client.push_blob(shop.repository(), &part, &nothing, &sources).unwrap(), Pushed::Mounted);
    assert!(client.has_blob(shop.repository(), part.digest()).unwrap());
}

#[test]
fn a_refused_mount_goes_on_in_its_session() {
    let stored = Arc::new(Mutex::new(Vec::new()));
    let kept = stored.clone();
    let server = Server::start(move |request| {
        if request.is("POST", "mount=") {
            return Reply::new(202).header("Location", "/v2/shop/blobs/uploads/abc?state=x%2By");
        }
        if request.is("PUT", "/uploads/abc?state=x%2By&digest=sha256%3A") {
            kept.lock().unwrap().extend(&request.body);
            return Reply::new(201);
        }
        if request.target == "/v2/" { Reply::ok("") } else { Reply::new(404) }
    });
    let bytes = image::layer(1, 5000);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    let (shop, base) = (reference(&server.host(), "shop"), reference(&server.host(), "base"));
    let sources = [base.repository().clone()];
    let pushed = World::new().client().push_blob(shop.repository(), &part, &bytes, &sources).unwrap();
    assert_eq!((pushed, &*stored.lock().unwrap()), (Pushed::Uploaded, &bytes));
    assert_eq!(server.count("POST", ""), 1);
}

#[test]
fn a_mount_that_fails_is_sent() {
    for (reply, mounts) in [
        (Reply::new(202), 1),
        (Reply::new(500), 6),
        (Reply::hang_up(), 6),
        (Reply::new(403), 1),
        (Reply::new(302), 1),
    ] {
        let server = Server::start(move |request| match request.method.as_str() {
            "POST" if request.target.contains("mount=") => reply.clone(),
            "POST" => Reply::new(202).header("Location", "/v2/shop/blobs/uploads/a"),
            "PUT" => Reply::new(201),
            _ if request.target == "/v2/" => Reply::ok(""),
            _ => Reply::new(404),
        });
        let bytes = image::layer(1, 5000);
        let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
        let (shop, base) = (reference(&server.host(), "shop"), reference(&server.host(), "base"));
        let sources = [base.repository().clone()];
        let pushed = World::new().client().push_blob(shop.repository(), &part, &bytes, &sources).unwrap();
        assert_eq!(pushed, Pushed::Uploaded);
        assert_eq!((server.count("POST", "mount="), server.count("PUT", "")), (mounts, 1));
    }
}

/// A registry that loses connections while it is sent to, and knows how far it got.
#[test]
fn an_upload_goes_on_where_it_broke_off() {
    let stored = Arc::new(Mutex::new(Vec::new()));
    let (kept, breaks) = (stored.clone(), Mutex::new(0));
    let server = Server::start(move |request| {
        let mut kept = kept.lock().unwrap();
        let reached = |kept: &[u8]| format!("0-{}", kept.len() - 1);
        match request.method.as_str() {
            _ if request.target == "/v2/" => Reply::ok(""),
            "HEAD" => Reply::new(404),
            "POST" => Reply::new(202).header("Location", "http://ADDRESS/v2/shop/blobs/uploads/a"),
            "PUT" | "PATCH" if !request.body.is_empty() => {
                let range = request.header("content-range").unwrap_or("0-");
                assert_eq!(range.split('-').next().unwrap(), kept.len().to_string(), "nothing twice");
                let mut breaks = breaks.lock().unwrap();
                *breaks += 1;
                if *breaks < 12 {
                    kept.extend(&request.body[..request.body.len() / 3]);
                    return Reply::hang_up();
                }
                kept.extend(&request.body);
                Reply::new(202).header("Range", reached(&kept)).header("Location", "a")
            }
            "GET" => Reply::new(204).header("Range", reached(&kept)).header("Location", "a"),
            "PUT" => Reply::new(201),
            _ => Reply::new(405),
        }
    });
    // The address is known only now; a relative one does as well.
    let mut world = World::new();
    let heard = world.listen();
    let bytes = image::layer(1, 9000);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    let relay_host = server.host();
    let relay = Server::start(move |request| relay(request, &relay_host));
    let shop = reference(&relay.host(), "shop");
    let pushed = world.client().push_blob(shop.repository(), &part, &bytes, &[]).unwrap();
    assert_eq!((pushed, &*stored.lock().unwrap()), (Pushed::Uploaded, &bytes));
    assert_eq!(relay.count("GET", "uploads/a"), 11, "more breaks than tries, but each got further");
    assert_eq!(*heard.sent.lock().unwrap(), bytes.len() as u64, "what goes out again is not told again");
}

/// docker-registry ends a session whose bytes stopped coming.
#[test]
fn a_real_registry_gets_a_broken_request_again() {
    needs!("docker-registry");
    let registry = Registry::start();
    let (upstream, is_first) = (registry.host.clone(), AtomicBool::new(true));
    let line = Server::start(move |request| {
        if request.is("PUT", "/uploads/") && is_first.swap(false, Ordering::Relaxed) {
            return cut(request, &upstream, 400_000);
        }
        relay(request, &upstream)
    });
    let mut world = World::new();
    let heard = world.listen();
    let bytes = image::layer(1, 900_000);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    let shop = reference(&line.host(), "shop");
    world.client().push_blob(shop.repository(), &part, &bytes, &[]).unwrap();
    assert_eq!(registry.stored(part.digest().as_ref()).unwrap(), bytes);
    assert_eq!((line.count("POST", ""), line.count("PUT", "/uploads/")), (2, 2));
    assert_eq!(*heard.sent.lock().unwrap(), bytes.len() as u64, "what goes out again is not told again");
}

/// Forwards, and puts its own address where the stub says ADDRESS.
fn relay(request: &Request, host: &str) -> Reply {
    let mut reply = crate::support::proxy::forward(request, host).unwrap_or_else(|_| Reply::hang_up());
    for (_, value) in &mut reply.headers {
        *value = value.replace("http://ADDRESS", "");
    }
    reply
}

#[test]
fn a_session_that_is_gone_is_begun_anew() {
    let count = Mutex::new(0);
    let server = Server::start(move |request| match request.method.as_str() {
        _ if request.target == "/v2/" => Reply::ok(""),
        "POST" => {
            let mut count = count.lock().unwrap();
            *count += 1;
            Reply::new(202).header("Location", format!("/v2/shop/blobs/uploads/{count}"))
        }
        "PUT" if request.path().ends_with("/1") => Reply::new(503),
        "PUT" => Reply::new(201),
        _ => Reply::new(404),
    });
    let bytes = image::layer(1, 100);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    let shop = reference(&server.host(), "shop");
    let pushed = World::new().client().push_blob(shop.repository(), &part, &bytes, &[]).unwrap();
    assert_eq!(pushed, Pushed::Uploaded);
    assert_eq!((server.count("POST", ""), server.count("PUT", "")), (2, 2));
}

#[test]
fn a_session_where_nobody_answers_is_begun_anew() {
    let gone = crate::support::registry::free_host();
    let count = Mutex::new(0);
    let server = Server::start(move |request| match request.method.as_str() {
        _ if request.target == "/v2/" => Reply::ok(""),
        "POST" => {
            let mut count = count.lock().unwrap();
            *count += 1;
            let host = if *count == 1 { format!("http://{gone}") } else { String::new() };
            Reply::new(202).header("Location", format!("{host}/v2/shop/blobs/uploads/{count}"))
        }
        "PUT" => Reply::new(201),
        _ => Reply::new(404),
    });
    let mut world = World::new();
    let heard = world.listen();
    let bytes = image::layer(1, 100);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    let shop = reference(&server.host(), "shop");
    world.client().push_blob(shop.repository(), &part, &bytes, &[]).unwrap();
    assert_eq!((server.count("POST", ""), server.count("PUT", "uploads/2")), (2, 1));
    for retry in heard.retries.lock().unwrap().iter() {
        assert_eq!(retry.matches("blob sha256:").count(), 1, "{retry}");
    }
}

#[test]
fn no_right_to_push_ends_at_once() {
    let server = Server::start(|request| match request.method.as_str() {
        "POST" => Reply::new(403).body(r#"{"errors":[{"code":"DENIED","message":"read\u001b[31m only"}]}"#),
        "HEAD" => Reply::new(404),
        _ => Reply::ok(""),
    });
    let bytes = image::layer(1, 100);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    let shop = reference(&server.host(), "shop");
    let error = World::new().client().push_blob(shop.repository(), &part, &bytes, &[]).unwrap_err();
    assert!(error.is_denied(), "{error}");
    assert!(error.to_string().contains("DENIED: read [31m only"), "{error}");
    assert_eq!(server.count("POST", ""), 1);
}

/// Takes bodies of up to so many bytes, and keeps those of `PATCH`.
fn limited(largest_body: usize) -> (Server, Arc<Mutex<Vec<u8>>>) {
    let stored = Arc::new(Mutex::new(Vec::new()));
    let kept = stored.clone();
    let server = Server::limited(largest_body, move |request| match request.method.as_str() {
        _ if request.target == "/v2/" => Reply::ok(""),
        "POST" => Reply::new(202).header("Location", "/v2/shop/blobs/uploads/a"),
        "PATCH" => {
            kept.lock().unwrap().extend_from_slice(&request.body);
            Reply::new(202).header("Location", "/v2/shop/blobs/uploads/a")
        }
        "PUT" => Reply::new(201),
        _ => Reply::new(404),
    });
    (server, stored)
}

#[test]
fn a_server_that_takes_no_large_bodies_gets_parts() {
    let (server, stored) = limited(4000);
    let mut world = World::new();
    world.options.upload.least_part = 1000;
    let heard = world.listen();
    let client = world.client();
    let bytes = image::layer(1, 10_000);
    let push = |client: &Client, bytes: &Vec<u8>| {
        let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
        client.push_blob(reference(&server.host(), "shop").repository(), &part, bytes, &[])
    };
    push(&client, &bytes).unwrap();
    assert_eq!(*stored.lock().unwrap(), bytes);
    assert_eq!(*heard.sent.lock().unwrap(), bytes.len() as u64);
    // All of it and half of it are refused, a quarter is taken.
    assert_eq!((server.count("PUT", ""), server.count("PATCH", "")), (2, 5));
    // The next blob goes in such parts at once.
    push(&client, &bytes).unwrap();
    assert_eq!((server.count("PUT", ""), server.count("PATCH", "")), (3, 9));
    // A small one goes in one request still.
    push(&client, &bytes[..2000].to_vec()).unwrap();
    assert_eq!((server.count("PUT", ""), server.count("PATCH", "")), (4, 9));

    world.options.upload.least_part = 5000;
    let error = push(&world.client(), &bytes).unwrap_err().to_string();
    assert!(error.contains("answered 413"), "{error}");
}

#[test]
fn a_large_body_is_not_sent_to_be_refused() {
    let (server, stored) = limited(1 << 20);
    let bytes = image::layer(1, 3 << 20);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    let shop = reference(&server.host(), "shop");
    World::new().client().push_blob(shop.repository(), &part, &bytes, &[]).unwrap();
    assert!(*stored.lock().unwrap() == bytes);
    let sent: usize = server.requests.lock().unwrap().iter().map(|request| request.body.len()).sum();
    assert_eq!(sent, bytes.len());
}
