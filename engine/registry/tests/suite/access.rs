//! TLS, basic, tokens.

use crate::support::{
    World,
    http::{Line, Reply, Server},
    image::{self, Blobs},
    registry::{Registry, Setup},
    run,
    tls::Authority,
    token::{PASSWORD, REFRESH, TokenServer, USER},
};
use base64::{Engine, prelude::*};
use rbuild_registry::{Credential, Error, Pushed, Reference, RegistryTable, Repository, Secret};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

fn repository(host: &str, path: &str) -> Repository {
    format!("{host}/{path}").parse::<Reference>().unwrap().repository().clone()
}

fn log_in(world: &World, host: &str) {
    let auth = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    world.write(".docker/config.json", &format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#));
}

#[test]
fn a_private_ca_by_table_and_by_directory() {
    needs!("docker-registry", "openssl");
    let authority = Authority::new();
    let registry = Registry::with(&Setup { tls: Some(&authority), ..Setup::default() });
    let mut world = World::new();
    let error = world.client().ping(&registry.host).unwrap_err().to_string();
    assert!(error.contains("CA that is not trusted") && error.contains(&registry.host), "{error}");
    let ca = Some(authority.certificate().into());
    world.tables.insert(registry.host.clone(), RegistryTable { ca, ..RegistryTable::default() });
    world.client().ping(&registry.host).unwrap();
    world.tables.clear();
    let pem = std::fs::read_to_string(authority.certificate()).unwrap();
    world.write(&format!("root/etc/docker/certs.d/{}/ca.crt", registry.host), &pem);
    world.client().ping(&registry.host).unwrap();

    let bytes = image::layer(1, 300_000);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    let shop = repository(&registry.host, "shop");
    assert_eq!(world.client().push_blob(&shop, &part, &bytes, &[]).unwrap(), Pushed::Uploaded);
    let mut read = Vec::new();
    std::io::copy(&mut world.client().blob(&shop, &part).unwrap(), &mut read).unwrap();
    assert_eq!(read, bytes);
}

#[test]
fn insecure_is_for_what_it_was_said_of() {
    needs!("openssl");
    let line = Line { tls: Some(Authority::new().server()), ..Line::default() };
    let server = Server::line(&line, |request| match request.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
        Some(_) => Reply::ok(""),
    });
    let (host, digest) = (server.host(), rbuild_oci::sha256(b"x"));
    let mut world = World::new();
    log_in(&world, &host);
    let conf = format!("[[registry]]\nlocation = '{host}/team'\ninsecure = true\n");
    world.write("root/etc/containers/registries.conf", &conf);
    let client = world.client();
    assert!(client.has_blob(&repository(&host, "team/x"), &digest).unwrap());
    let asked = server.requests.lock().unwrap().len();
    let assert_refused = |error: Error| assert!(error.to_string().contains("certificate is"), "{error}");
    assert_refused(client.has_blob(&repository(&host, "other/x"), &digest).unwrap_err());
    assert_refused(client.ping(&host).unwrap_err());
    // What our own table says of a host is meant.
    let other = Authority::new();
    let ca = Some(other.certificate().into());
    world.tables.insert(host.clone(), RegistryTable { ca, ..RegistryTable::default() });
    assert_refused(world.client().has_blob(&repository(&host, "team/x"), &digest).unwrap_err());
    assert_eq!(server.requests.lock().unwrap().len(), asked, "no password goes there");
}

#[test]
fn a_client_certificate() {
    needs!("docker-registry", "openssl");
    let authority = Authority::new();
    let registry =
        Registry::with(&Setup { tls: Some(&authority), client_certificates: true, ..Setup::default() });
    let mut world = World::new();
    let (cert, key) = authority.issue(world.home(), "me");
    let table = |cert: Option<&str>, key: Option<&str>| RegistryTable {
        ca: Some(authority.certificate().into()),
        cert: cert.map(Into::into),
        key: key.map(Into::into),
        ..RegistryTable::default()
    };
    world.tables.insert(registry.host.clone(), table(Some(&cert), Some(&key)));
    world.client().ping(&registry.host).unwrap();
    world.tables.insert(registry.host.clone(), table(None, None));
    let error = world.client().ping(&registry.host).unwrap_err().to_string();
    assert!(error.contains(&registry.host), "{error}");
    // A key of another certificate.
    let (_, other) = authority.issue(world.home(), "other");
    world.tables.insert(registry.host.clone(), table(Some(&cert), Some(&other)));
    let error = world.client().ping(&registry.host).unwrap_err().to_string();
    assert!(error.contains("is not the key of"), "{error}");
}

#[test]
fn basic_authentication_and_login() {
    needs!("docker-registry", "htpasswd");
    let line = run("htpasswd", &["-Bbn", USER, PASSWORD]);
    let auth = "  htpasswd: { realm: r, path: FOLDER/passwd }".to_owned();
    let registry = Registry::with(&Setup { auth, file: Some(("passwd", line)), ..Setup::default() });
    let world = World::new();
    let error = world.client().ping(&registry.host).unwrap_err();
    assert!(error.is_denied() && error.to_string().contains("rbuild login "), "{error}");
    let credential =
        |secret: &str| Credential::Password { user: USER.to_owned(), secret: Secret::new(secret) };
    let error = world.client().login(&registry.host, &credential("wrong-secret")).unwrap_err();
    assert!(error.is_denied() && !error.to_string().contains("wrong-secret"), "{error}");
    assert!(!world.home().join(".docker/config.json").exists(), "a refused credential is not kept");
    let place = world.client().login(&registry.host, &credential(PASSWORD)).unwrap();
    assert!(place.ends_with(".docker/config.json"), "{place}");
    let bytes = image::layer(1, 1000);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    let client = world.client();
    assert_eq!(
        client.push_blob(&repository(&registry.host, "a/b"), &part, &bytes, &[]).unwrap(),
        Pushed::Uploaded
    );
    assert!(client.logout(&registry.host).unwrap());
    assert!(!client.logout(&registry.host).unwrap());
    assert!(world.client().ping(&registry.host).unwrap_err().is_denied());
}

fn token_registry(server: &TokenServer) -> Registry {
    let file = Some(("tokens.pem", server.certificate.clone()));
    Registry::with(&Setup { auth: server.auth(), file, ..Setup::default() })
}

#[test]
fn tokens_and_mounts() {
    needs!("docker-registry", "openssl");
    let tokens = TokenServer::start(300);
    let registry = token_registry(&tokens);
    let world = World::new();
    log_in(&world, &registry.host);
    let client = world.client();
    let bytes = image::layer(1, 1000);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    let base = repository(&registry.host, "base/debian");
    assert_eq!(client.push_blob(&base, &part, &bytes, &[]).unwrap(), Pushed::Uploaded);
    assert_eq!(client.push_blob(&base, &part, &bytes, &[]).unwrap(), Pushed::Existing);
    assert_eq!(
        *tokens.asked.lock().unwrap(),
        [["repository:base/debian:pull,push"]],
        "one token does for all"
    );
    let shop = repository(&registry.host, "team/shop");
    let nothing: Vec<u8> = Vec::new();
    assert_eq!(
        client.push_blob(&shop, &part, &nothing, std::slice::from_ref(&base)).unwrap(),
        Pushed::Mounted
    );
    let asked = tokens.asked.lock().unwrap().last().unwrap().clone();
    assert_eq!(asked, ["repository:base/debian:pull", "repository:team/shop:pull,push"]);

    // What may not be pulled can't be mounted, and is sent instead.
    let closed = repository(&registry.host, "closed/x");
    let other = repository(&registry.host, "team/other");
    assert_eq!(client.push_blob(&other, &part, &bytes, &[closed]).unwrap(), Pushed::Uploaded);

    // Without a login: what is public, and nothing else.
    let public = repository(&registry.host, "public/x");
    client.push_blob(&public, &part, &bytes, &[]).unwrap();
    let anonymous = World::new().client();
    assert!(anonymous.has_blob(&public, part.digest()).unwrap());
    let error = anonymous.has_blob(&shop, part.digest()).unwrap_err();
    assert!(error.is_denied() && error.to_string().contains("rbuild login "), "{error}");
    let other = image::layer(2, 1000);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, other.clone()));
    let error = anonymous.push_blob(&public, &part, &other, &[]).unwrap_err();
    assert!(error.is_denied() && error.to_string().contains("rbuild login "), "{error}");
}

#[test]
fn an_identity_token_is_exchanged() {
    needs!("docker-registry", "openssl");
    let tokens = TokenServer::start(300);
    let registry = token_registry(&tokens);
    let world = World::new();
    let client = world.client();
    let wrong = Credential::IdentityToken(Secret::new("other-hunter2"));
    let error = client.login(&registry.host, &wrong).unwrap_err();
    assert!(error.is_denied() && !error.to_string().contains("hunter2"), "{error}");
    client.login(&registry.host, &Credential::IdentityToken(Secret::new(REFRESH))).unwrap();
    let bytes = image::layer(1, 1000);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    let shop = repository(&registry.host, "team/shop");
    assert_eq!(world.client().push_blob(&shop, &part, &bytes, &[]).unwrap(), Pushed::Uploaded);
    let post = tokens.server.requests.lock().unwrap().last().unwrap().clone();
    assert_eq!((post.method.as_str(), post.header("authorization")), ("POST", None));
}

#[test]
fn a_token_that_ends_in_the_middle_is_fetched_anew() {
    needs!("docker-registry", "openssl");
    let tokens = TokenServer::start(1);
    let registry = token_registry(&tokens);
    let world = World::new();
    log_in(&world, &registry.host);
    let client = world.client();
    let bytes = image::layer(1, 1000);
    let part = image::descriptor(&Blobs::default().add(image::LAYER, bytes.clone()));
    let shop = repository(&registry.host, "team/shop");
    client.push_blob(&shop, &part, &bytes, &[]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2200));
    assert!(client.has_blob(&shop, part.digest()).unwrap());
}

#[test]
fn a_401_in_the_middle_asks_for_a_new_token() {
    let (state, ended) = (std::sync::Mutex::new(0), AtomicBool::new(false));
    let server = Server::start(move |request| {
        let mut count = state.lock().unwrap();
        if request.path() == "/token" {
            *count += 1;
            return Reply::ok(format!(r#"{{"token":"t{count}"}}"#));
        }
        // The first token is good for one request only.
        let token = request.header("authorization");
        let served = token == Some("Bearer t2") || (token == Some("Bearer t1") && !ended.swap(true, Relaxed));
        let host = request.header("host").unwrap();
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\",error=\"invalid_token\"");
        match served {
            true => Reply::ok(""),
            false => Reply::new(401)
                .header("WWW-Authenticate", "Basic realm=x")
                .header("WWW-Authenticate", challenge),
        }
    });
    let client = World::new().client();
    for tokens in [1, 2, 2] {
        client.ping(&server.host()).unwrap();
        assert_eq!(server.count("GET", "/token"), tokens);
    }
}

#[test]
fn waiting_for_a_token_is_told() {
    let count = std::sync::Mutex::new(0);
    let server = Server::start(move |request| {
        if request.path() == "/token" {
            let mut count = count.lock().unwrap();
            *count += 1;
            return if *count < 3 { Reply::new(503) } else { Reply::ok(r#"{"token":"hunter2"}"#) };
        }
        let host = request.header("host").unwrap();
        match request.header("authorization") {
            Some("Bearer hunter2") => Reply::ok(""),
            _ => Reply::new(401).header("WWW-Authenticate", format!("Bearer realm=\"http://{host}/token\"")),
        }
    });
    let mut world = World::new();
    let heard = world.listen();
    world.client().ping(&server.host()).unwrap();
    let expected = format!("a token for {0} from http://{0}/token: the answer is 503", server.host());
    let retries = heard.retries.lock().unwrap();
    assert!(retries.len() == 2 && retries.iter().all(|retry| retry.starts_with(&expected)), "{retries:?}");
}

/// As a registry of tokens; the answers with one are as this says, of how many there were.
fn giving_tokens(reply: impl Fn(usize, Reply) -> Reply + Send + Sync + 'static) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |request| {
        let host = request.header("host").unwrap();
        match (request.path(), request.header("authorization")) {
            ("/token", _) => reply(count.fetch_add(1, Relaxed), Reply::ok(r#"{"token":"hunter2"}"#)),
            (_, Some("Bearer hunter2")) => Reply::ok(""),
            _ => Reply::new(401).header("WWW-Authenticate", format!("Bearer realm=\"http://{host}/token\"")),
        }
    })
}

#[test]
fn a_broken_token_is_fetched_again() {
    let server = giving_tokens(|count, reply| match count {
        0 => Reply { cut: Some(10), ..reply },
        1 => reply.body(r#"{"toke"#),
        _ => reply,
    });
    let mut world = World::new();
    let heard = world.listen();
    world.client().ping(&server.host()).unwrap();
    let retries = heard.retries.lock().unwrap();
    assert!(retries[0].contains("broke off") && retries[1].contains("is no token"), "{retries:?}");
    assert!(!retries.concat().contains("hunter2"), "{retries:?}");
}

#[test]
fn a_cancelled_token_is_cancelled() {
    let server = giving_tokens(|_, reply| Reply { stall: Some(Duration::from_secs(30)), ..reply });
    let mut world = World::new();
    world.options.timeouts.idle = Duration::from_secs(20);
    let client = world.client();
    std::thread::scope(|scope| {
        let pinging = scope.spawn(|| client.ping(&server.host()));
        while server.count("GET", "/token") == 0 {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(100)); // by now it reads the body
        client.cancel().cancel();
        let error = pinging.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{error}");
    });
}

#[test]
fn what_is_refused_once_is_not_sent_again() {
    let digest = rbuild_oci::sha256(b"x");
    let bearer = "Bearer realm=\"http://HOST/token\",service=\"s\",scope=\"repository:x:pull\"";
    let password = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    // The first request asks how, a second one tries.
    let password = format!(r#""auth":"{password}""#);
    for (challenge, entry, requests, tokens) in [
        ("Basic realm=x", String::new(), 1, 0),
        ("Basic realm=x", password.clone(), 2, 0),
        (bearer, r#""registrytoken":"hunter2""#.to_owned(), 2, 0),
        (bearer, password, 2, 1),
        (bearer, String::new(), 2, 1),
    ] {
        let server = Server::start(move |request| match request.path() {
            "/token" => Reply::ok(r#"{"token":"hunter2"}"#),
            _ => Reply::new(401)
                .header("WWW-Authenticate", challenge.replace("HOST", request.header("host").unwrap())),
        });
        let world = World::new();
        if !entry.is_empty() {
            let host = server.host();
            world.write(".docker/config.json", &format!(r#"{{"auths":{{"{host}":{{{entry}}}}}}}"#));
        }
        let client = world.client();
        let error = client.has_blob(&repository(&server.host(), "x"), &digest).unwrap_err();
        assert!(error.is_denied(), "{error}");
        assert_eq!(server.count("HEAD", "/blobs/"), requests, "{challenge} {entry}");
        assert_eq!(server.count("GET", "/token"), tokens, "{challenge} {entry}");
        client.has_blob(&repository(&server.host(), "x"), &digest).unwrap_err();
        assert_eq!(server.count("HEAD", "/blobs/"), requests + 1, "{entry}: by now it is known how");
        assert_eq!(server.count("GET", "/token"), tokens * 2, "{challenge} {entry}");
    }
}

#[test]
fn credentials_go_nowhere_else() {
    let is_blocked = Arc::new(AtomicBool::new(false));
    let blocked = is_blocked.clone();
    let storage = Server::start(move |request| {
        assert_eq!(request.header("authorization"), None, "a redirect takes no credentials along");
        if blocked.load(Relaxed) { Reply::new(403) } else { Reply::ok(image::layer(1, 100)) }
    });
    let elsewhere = storage.other_host();
    let server = Server::start(move |request| match request.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
        Some(_) if request.target.contains("/blobs/") => {
            Reply::new(307).header("Location", format!("http://{elsewhere}/there?X-Signature=hunter2"))
        }
        Some(_) => Reply::ok(""),
    });
    let world = World::new();
    log_in(&world, &server.host());
    let part = image::descriptor(&Blobs::default().add(image::LAYER, image::layer(1, 100)));
    let client = world.client();
    let mut blob = client.blob(&repository(&server.host(), "x"), &part).unwrap();
    std::io::copy(&mut blob, &mut std::io::sink()).unwrap();
    assert_eq!(storage.count("GET", "/there"), 1);
    // A storage that refuses is no matter of credentials.
    is_blocked.store(true, Relaxed);
    let error = std::io::copy(
        &mut client.blob(&repository(&server.host(), "x"), &part).unwrap(),
        &mut std::io::sink(),
    );
    let error = Error::from_io("", error.unwrap_err()).to_string();
    assert!(
        error.contains(&format!("(at {})", storage.other_host())) && error.contains("blocked"),
        "{error}"
    );
    assert!(!error.contains("log in") && !error.contains("credential"), "{error}");
    // The storage's refusal is told without the signature.
    drop(storage);
    let wrong = image::descriptor(&Blobs::default().add(image::LAYER, "other"));
    let mut blob = client.blob(&repository(&server.host(), "x"), &wrong).unwrap();
    let error = std::io::copy(&mut blob, &mut std::io::sink()).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_token_server_without_tls_gets_no_password() {
    let server = Server::start(|_| {
        Reply::new(401).header("WWW-Authenticate", "Bearer realm=\"http://far.example/token\",service=s")
    });
    let world = World::new();
    log_in(&world, &server.host());
    let error = world.client().ping(&server.host()).unwrap_err().to_string();
    assert!(error.contains("has no TLS") && !error.contains(PASSWORD), "{error}");
}

#[test]
fn endless_redirects_and_steps_down_end() {
    let server = Server::start(|request| match request.path() {
        "/v2/" => Reply::ok(""),
        path if path.contains("/round/") => Reply::new(302).header("Location", "/v2/round/blobs/x"),
        _ => Reply::new(302).header("Location", "ftp://x/y"),
    });
    let part = image::descriptor(&Blobs::default().add(image::LAYER, "x"));
    for (path, reason) in [("round/x", "redirects more than"), ("odd", "https://")] {
        let mut blob = World::new().client().blob(&repository(&server.host(), path), &part).unwrap();
        let error = std::io::copy(&mut blob, &mut std::io::sink()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}
