//! Lines and servers that are slow, broken or busy.

use crate::support::{
    World,
    http::{Reply, Server},
    image::{self, Blobs},
    needs::skip,
};
use rbuild_oci::oci_spec::image::Descriptor;
use rbuild_registry::{Error, Reference, RegistryTable, Repository, RetryPolicy};
use std::{
    io::Read,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

fn repository(host: &str) -> Repository {
    format!("{host}/shop").parse::<Reference>().unwrap().repository().clone()
}

fn blob(bytes: &[u8]) -> Descriptor {
    image::descriptor(&Blobs::default().add(image::LAYER, bytes.to_vec()))
}

fn read(world: &World, host: &str, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut blob = world.client().blob(&repository(host), descriptor)?;
    blob.read_to_end(&mut bytes).map_err(|error| Error::from_io("blob", error))?;
    Ok(bytes)
}

/// Serves one blob, each time as this says: of the count of requests so far and the offset asked for.
fn serving(
    bytes: &[u8],
    reply: impl Fn(usize, Option<usize>, &[u8]) -> Reply + Send + Sync + 'static,
) -> Server {
    let (bytes, count) = (bytes.to_vec(), Mutex::new(0));
    Server::start(move |request| {
        if !request.target.contains("/blobs/") {
            return Reply::ok("");
        }
        let range =
            request.header("range").map(|text| text.strip_prefix("bytes=").unwrap().trim_end_matches('-'));
        let offset = range.map(|text| text.parse::<usize>().unwrap());
        let mut count = count.lock().unwrap();
        *count += 1;
        reply(*count, offset, &bytes)
    })
}

fn part(bytes: &[u8], offset: usize) -> Reply {
    let range = format!("bytes {offset}-{}/{}", bytes.len() - 1, bytes.len());
    Reply::new(206).body(&bytes[offset..]).header("Content-Range", range)
}

#[test]
fn a_broken_download_goes_on_by_range() {
    let bytes = image::layer(1, 100_000);
    let server = serving(&bytes, |count, offset, bytes| {
        let reply = offset.map_or_else(|| Reply::ok(bytes), |offset| part(bytes, offset));
        Reply { cut: (count < 5).then_some(20_000), ..reply }
    });
    let mut world = World::new();
    let heard = world.listen();
    assert_eq!(read(&world, &server.host(), &blob(&bytes)).unwrap(), bytes);
    assert_eq!(*heard.received.lock().unwrap(), bytes.len() as u64, "nothing is counted twice");
    let retries = heard.retries.lock().unwrap();
    assert!(retries.len() == 4 && retries[0].contains("broke off"), "{retries:?}");
}

#[test]
fn a_server_without_ranges_is_skipped_through() {
    let bytes = image::layer(1, 100_000);
    let server = serving(&bytes, |count, _, bytes| Reply {
        cut: (count < 3).then_some(30_000 * count),
        ..Reply::ok(bytes)
    });
    assert_eq!(read(&World::new(), &server.host(), &blob(&bytes)).unwrap(), bytes);
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    let bytes = image::layer(1, 100_000);
    let server = serving(&bytes, |_, offset, bytes| match offset {
        None => Reply { cut: Some(30_000), ..Reply::ok(bytes) },
        Some(offset) => part(bytes, offset + 1),
    });
    let error = read(&World::new(), &server.host(), &blob(&bytes)).unwrap_err().to_string();
    assert!(error.contains("asked for bytes from 30000 on"), "{error}");
}

#[test]
fn wrong_lengths_and_wrong_bytes() {
    let bytes = image::layer(1, 10_000);
    type Answer = fn(&[u8]) -> Reply;
    let cases: [(&str, Answer); 5] = [
        ("announces 9999 bytes instead of", |bytes| Reply::ok(&bytes[..9999])),
        ("announces 20000 bytes instead of", |bytes| Reply {
            content_length: Some(20_000),
            ..Reply::ok(bytes)
        }),
        ("its digest is sha256:", |bytes| {
            let mut bytes = bytes.to_vec();
            bytes[5000] ^= 1;
            Reply::ok(bytes)
        }),
        ("it has more than", |bytes| {
            let mut bytes = bytes.to_vec();
            bytes.push(0);
            let chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
            let chunked = [chunk, bytes, b"\r\n0\r\n\r\n".to_vec()].concat();
            Reply::ok(chunked).header("Transfer-Encoding", "chunked")
        }),
        ("not found", |_| Reply::new(404)),
    ];
    for (reason, reply) in cases {
        let server = serving(&bytes, move |_, _, bytes| reply(bytes));
        let error = read(&World::new(), &server.host(), &blob(&bytes)).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("blob sha256:"), "{reason}: {error}");
    }
}

#[test]
fn busy_servers_are_asked_again_when_they_say() {
    for (status, header) in [(429, Some("1")), (503, None), (408, None), (500, Some("nonsense"))] {
        let bytes = image::layer(1, 100);
        let server = serving(&bytes, move |count, _, bytes| match count {
            1 => header.iter().fold(Reply::new(status), |reply, value| reply.header("Retry-After", *value)),
            _ => Reply::ok(bytes),
        });
        let start = Instant::now();
        assert_eq!(read(&World::new(), &server.host(), &blob(&bytes)).unwrap(), bytes);
        assert_eq!(start.elapsed() >= Duration::from_secs(1), header == Some("1"), "{status}");
    }
    // One that stays busy, or asks for more patience than there is, is given up.
    for header in ["0", "100000"] {
        let server = serving(b"", move |_, _, _| Reply::new(429).header("Retry-After", header));
        let error = read(&World::new(), &server.host(), &blob(b"x")).unwrap_err().to_string();
        assert!(error.contains("answered 429"), "{error}");
        assert_eq!(server.count("GET", "/blobs/"), if header == "0" { 6 } else { 1 });
    }
}

#[test]
fn silence_ends_by_its_own_limits() {
    let bytes = image::layer(1, 100_000);
    let mut world = World::new();
    world.options.retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    world.options.timeouts.idle = Duration::from_millis(150);
    world.options.timeouts.first_byte = Duration::from_millis(600);
    // A pause before the answer may be longer than one in it.
    let server =
        serving(&bytes, |_, _, bytes| Reply { delay: Some(Duration::from_millis(300)), ..Reply::ok(bytes) });
    assert_eq!(read(&world, &server.host(), &blob(&bytes)).unwrap(), bytes);
    let server =
        serving(&bytes, |_, _, bytes| Reply { stall: Some(Duration::from_millis(400)), ..Reply::ok(bytes) });
    let error = read(&world, &server.host(), &blob(&bytes)).unwrap_err().to_string();
    assert!(error.contains("nothing moved for 0.15 s"), "{error}");
    let server =
        serving(&bytes, |_, _, bytes| Reply { delay: Some(Duration::from_millis(1000)), ..Reply::ok(bytes) });
    let error = read(&world, &server.host(), &blob(&bytes)).unwrap_err().to_string();
    assert!(error.contains("no answer within 0.6 s"), "{error}");
}

#[test]
fn a_slow_download_has_no_limit_as_a_whole() {
    let bytes = image::layer(1, 100_000);
    let mut world = World::new();
    world.options.timeouts.idle = Duration::from_millis(300);
    let server = serving(&bytes, |count, offset, bytes| {
        // 200 ms of silence in each piece; 2 s in all.
        let reply = offset.map_or_else(|| Reply::ok(bytes), |offset| part(bytes, offset));
        Reply { stall: Some(Duration::from_millis(200)), cut: (count < 10).then_some(10_000), ..reply }
    });
    let start = Instant::now();
    assert_eq!(read(&world, &server.host(), &blob(&bytes)).unwrap(), bytes);
    assert!(start.elapsed() > Duration::from_millis(1500));
}

#[test]
fn cancelling_wakes_readers_and_waiters() {
    let bytes = image::layer(1, 100_000);
    let stalling =
        serving(&bytes, |_, _, bytes| Reply { stall: Some(Duration::from_secs(30)), ..Reply::ok(bytes) });
    let busy = serving(&bytes, |_, _, _| Reply::new(503).header("Retry-After", "60"));
    let world = World::new();
    let client = world.client();
    let cancel = client.cancel();
    let descriptor = blob(&bytes);
    thread::scope(|scope| {
        let results: Vec<_> = [stalling.host(), busy.host()]
            .map(|host| {
                let (client, descriptor) = (client.clone(), &descriptor);
                scope.spawn(move || {
                    let mut blob = client.blob(&repository(&host), descriptor).unwrap();
                    std::io::copy(&mut blob, &mut std::io::sink())
                })
            })
            .into();
        thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        cancel.cancel();
        for result in results {
            let error = Error::from_io("", result.join().unwrap().unwrap_err());
            assert!(matches!(error, Error::Cancelled), "{error}");
        }
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    });
    assert!(matches!(client.ping(&busy.host()), Err(Error::Cancelled)), "nothing begins after it");
}

#[test]
fn hosts_that_are_not_there_are_named() {
    let mut world = World::new();
    let gone = crate::support::registry::free_host();
    let error = world.client().ping(&gone).unwrap_err().to_string();
    assert!(error.contains(&gone) && error.contains("refused"), "{error}");
    // Plain http has to be asked for, unless it is this machine.
    world
        .tables
        .insert("registry.invalid".to_owned(), RegistryTable { http: true, ..RegistryTable::default() });
    let error = world.client().ping("registry.invalid").unwrap_err().to_string();
    assert!(error.contains("registry.invalid"), "{error}");
}

#[test]
fn who_failed_is_named_where_it_is_another_than_was_asked() {
    let gone = crate::support::registry::free_host();
    let bytes = image::layer(1, 100_000);
    let storage = serving(&bytes, |_, _, bytes| Reply { cut: Some(50_000), ..Reply::ok(bytes) });
    let mut world = World::new();
    world.options.retry.attempts = 2;
    for (elsewhere, reason) in
        [(gone, "the connection is refused"), (storage.other_host(), "the connection broke off")]
    {
        let target = format!("http://{elsewhere}/blobs/x");
        let server = serving(&bytes, move |_, _, _| Reply::new(307).header("Location", &target));
        let heard = world.listen();
        let error = read(&world, &server.host(), &blob(&bytes)).unwrap_err().to_string();
        for text in [&error, &heard.retries.lock().unwrap()[0]] {
            assert!(text.contains(&format!("{elsewhere}: {reason}")), "{text}");
            assert!(text.contains(&format!("of {}/shop", server.host())), "{text}");
        }
    }
    // The host that was asked is named once.
    let gone = crate::support::registry::free_host();
    let error = read(&world, &gone, &blob(&bytes)).unwrap_err().to_string();
    assert_eq!(error.matches(&gone).count(), 1, "{error}");
    // And the proxy, without the password in its address.
    let proxy = crate::support::registry::free_host();
    world.variables.push(("HTTPS_PROXY".to_owned(), format!("http://me:hunter2@{proxy}")));
    let error = world.client().ping("registry.invalid").unwrap_err().to_string();
    assert!(error.contains("registry.invalid") && error.contains(&format!("proxy {proxy})")), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_proxy_is_used_by_scheme_and_not_for_exceptions() {
    let proxy = Server::start(|request| match request.method.as_str() {
        "CONNECT" => Reply::new(502),
        _ => Reply::ok(""),
    });
    let mut world = World::new();
    world.options.retry.attempts = 1;
    world.variables.push(("HTTPS_PROXY".to_owned(), format!("http://me:hunter2@{}", proxy.host())));
    world.variables.push(("NO_PROXY".to_owned(), "direct.invalid".to_owned()));
    let error = world.client().ping("registry.invalid").unwrap_err().to_string();
    assert!(error.contains("the proxy makes no connection"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    assert_eq!(proxy.count("CONNECT", "registry.invalid:443"), 1);
    assert!(world.client().ping("direct.invalid").is_err());
    assert_eq!(proxy.count("CONNECT", "direct.invalid"), 0);
}

#[test]
fn ipv6() {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else {
        return skip("IPv6 on this machine ([::1])", module_path!());
    };
    let server = Server::on(listener, |_| Reply::ok(""));
    World::new().client().ping(&server.host()).unwrap();
    assert_eq!(server.requests.lock().unwrap()[0].header("host"), Some(server.host().as_str()));
}

#[test]
fn other_digests_than_sha256_are_refused_and_named() {
    let server = Server::start(|_| Reply::ok(""));
    let client = World::new().client();
    for digest in [format!("sha512:{}", "0".repeat(128)), format!("sha384:{}", "0".repeat(96))] {
        let descriptor: Descriptor = serde_json::from_value(
            serde_json::json!({ "mediaType": image::LAYER, "digest": digest, "size": 5 }),
        )
        .unwrap();
        let shop = repository(&server.host());
        let image = shop.with_digest(descriptor.digest().clone());
        let algorithm = digest.split(':').next().unwrap();
        for error in [
            client.blob(&shop, &descriptor).unwrap_err(),
            client.has_blob(&shop, descriptor.digest()).unwrap_err(),
            client.push_blob(&shop, &descriptor, &b"hello".to_vec(), &[]).unwrap_err(),
            client.resolve(&image).unwrap_err(),
            client.manifest(&image).unwrap_err(),
            client.push_manifest(&image, br#"{"schemaVersion":2,"manifests":[]}"#).unwrap_err(),
            client.referrers(&shop, descriptor.digest(), None).unwrap_err(),
        ] {
            let expected = format!("its digest is of {algorithm}, but only sha256 is supported");
            assert!(error.to_string().contains(&expected), "{error}");
            assert!(matches!(&error, Error::Malformed { what, .. } if what.contains(&digest)), "{error}");
        }
    }
    assert!(server.requests.lock().unwrap().is_empty(), "nothing is asked for");
    // A tag's digest is what the registry says.
    let server = Server::start(|request| match request.path() {
        "/v2/" => Reply::ok(""),
        _ => Reply::ok(r#"{"schemaVersion":2,"manifests":[]}"#)
            .header("Docker-Content-Digest", format!("sha512:{}", "0".repeat(128))),
    });
    let error = client.resolve(&repository(&server.host()).with_tag("1").unwrap()).unwrap_err().to_string();
    assert!(error.contains("shop:1: its digest is of sha512, but only sha256"), "{error}");
}

/// GET would be refused for the same reason, after as many tries.
#[test]
fn a_head_that_is_refused_for_good_is_not_asked_again_by_get() {
    for (status, heads) in [(429, 6), (503, 6), (500, 6), (403, 1)] {
        let server = Server::start(move |request| match request.path() {
            "/v2/" => Reply::ok(""),
            _ => Reply::new(status),
        });
        let image = repository(&server.host()).with_tag("1").unwrap();
        let error = World::new().client().resolve(&image).unwrap_err();
        assert_eq!((server.count("HEAD", ""), server.count("GET", "/manifests/")), (heads, 0), "{error}");
    }
    for status in [400, 404, 405, 501] {
        let server = Server::start(move |request| match (request.path(), request.method.as_str()) {
            ("/v2/", _) => Reply::ok(""),
            (_, "HEAD") => Reply::new(status),
            _ => Reply::ok(r#"{"schemaVersion":2,"manifests":[]}"#),
        });
        World::new().client().resolve(&repository(&server.host()).with_tag("1").unwrap()).unwrap();
        assert_eq!((server.count("HEAD", ""), server.count("GET", "/manifests/")), (1, 1), "{status}");
    }
}
