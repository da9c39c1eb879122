//! Files and helpers of docker and podman.

use crate::support::World;
use rbuild_registry::{Credential, Credentials, Error, Reference, Repository, Secret};
use std::os::unix::fs::PermissionsExt;

fn password(user: &str, secret: &str) -> Credential {
    Credential::Password { user: user.to_owned(), secret: Secret::new(secret) }
}

fn repository(text: &str) -> Repository {
    text.parse::<Reference>().unwrap().repository().clone()
}

fn credentials(world: &World) -> Credentials {
    Credentials::new(world.environment())
}

fn user(world: &World, name: &str) -> Option<String> {
    credentials(world).find(&repository(name)).unwrap().map(|found| match found {
        Credential::Password { user, .. } => user,
        other => format!("{other:?}"),
    })
}

/// A helper that keeps its things in a file, and never prints a secret unless it is asked.
fn helper(world: &World, name: &str) {
    let store = world.home().join(format!("{name}.store"));
    let script = format!(
        "#!/bin/sh\nstore='{}'\ncase $1 in\nstore) cat > \"$store\" ;;\nerase) rm -f \"$store\" ;;\nget) read -r server\n  \
         if [ -f \"$store\" ] && grep -q \"\\\"$server\\\"\" \"$store\"; then cat \"$store\"; else\n  \
         echo 'credentials not found in native keychain'; exit 1; fi ;;\nesac\n",
        store.display()
    );
    let path = format!("bin/docker-credential-{name}");
    world.write(&path, &script);
    std::fs::set_permissions(world.home().join(path), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn places_in_their_order() {
    let mut world = World::new();
    let entry = |user: &str| format!(r#"{{"auths":{{"r.example":{{"username":"{user}","password":"x"}}}}}}"#);
    assert_eq!(user(&world, "r.example/a"), None);
    world.write(".config/containers/auth.json", &entry("config"));
    assert_eq!(user(&world, "r.example/a").unwrap(), "config");
    world.write("run/containers/auth.json", &entry("runtime"));
    world.variables.push(("XDG_RUNTIME_DIR".to_owned(), world.home().join("run").display().to_string()));
    assert_eq!(user(&world, "r.example/a").unwrap(), "runtime");
    world.write(".docker/config.json", &entry("docker"));
    assert_eq!(user(&world, "r.example/a").unwrap(), "docker");
    world.write("other/config.json", &entry("other"));
    world.variables.push(("DOCKER_CONFIG".to_owned(), world.home().join("other").display().to_string()));
    assert_eq!(user(&world, "r.example/a").unwrap(), "other");
    world
        .variables
        .push(("REGISTRY_AUTH_FILE".to_owned(), world.home().join("only.json").display().to_string()));
    assert_eq!(user(&world, "r.example/a"), None);
    world.write("only.json", &entry("only"));
    assert_eq!(user(&world, "r.example/a").unwrap(), "only");
}

#[test]
fn keys_of_registries_and_repositories() {
    let world = World::new();
    world.write(
        ".docker/config.json",
        r#"{"auths": {
            "r.example": {"auth": "aG9zdDpw"}, "r.example/team": {"auth": "dGVhbTpw"},
            "r.example/team/shop": {"auth": "c2hvcDpw"}, "r.example/empty": {},
            "https://index.docker.io/v1/": {"auth": "aHViOnA6eA=="},
            "https://old.example/v1/": {"auth": "b2xkOnA"},
            "token.example": {"identitytoken": "secret"}, "registry-token.example": {"registrytoken": "secret"}
        }, "HttpHeaders": {"X": "y"}}"#,
    );
    for (name, expected) in [
        ("r.example/other", "host"),
        ("r.example/team/x", "team"),
        ("r.example/team/shop", "shop"),
        ("r.example/team/shop/x", "shop"),
        ("r.example/empty/x", "host"),
        ("debian", "hub"),
        ("old.example/x", "old"),
        ("token.example/x", "IdentityToken(Secret(..))"),
        ("registry-token.example/x", "RegistryToken(Secret(..))"),
    ] {
        assert_eq!(user(&world, name).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(user(&world, "r.example:5000/x"), None);
    assert_eq!(credentials(&world).find(&repository("debian")).unwrap(), Some(password("hub", "p:x")));
}

#[test]
fn malformed_files_are_named_and_not_quoted() {
    let world = World::new();
    for text in [r#"{"auths": "hunter2"}"#, "hunter2", r#"{"auths":{"r.example":{"auth":["hunter2"]}}}"#] {
        world.write(".docker/config.json", text);
        let error = credentials(&world).find(&repository("r.example/x")).unwrap_err().to_string();
        assert!(error.contains("config.json") && !error.contains("hunter2"), "{error}");
    }
    for auth in ["###", "aHVudGVyMg=="] {
        world.write(".docker/config.json", &format!(r#"{{"auths":{{"r.example":{{"auth":"{auth}"}}}}}}"#));
        let error = credentials(&world).find(&repository("r.example/x")).unwrap_err().to_string();
        assert!(
            error.contains("r.example") && error.contains("log in") && !error.contains("hunter2"),
            "{error}"
        );
    }
    world.write(".docker/config.json", "  \n");
    assert_eq!(user(&world, "r.example/x"), None);
}

#[test]
fn helpers_keep_find_and_forget() {
    let world = World::new();
    helper(&world, "one");
    helper(&world, "two");
    world.write(
        ".docker/config.json",
        r#"{"credsStore":"one","credHelpers":{"two.example":"two"},"extra":[1]}"#,
    );
    let credentials = credentials(&world);
    let hub = password("me", "hub-secret");
    assert_eq!(credentials.store("docker.io", &hub).unwrap(), "docker-credential-one");
    let token = Credential::IdentityToken(Secret::new("token-secret"));
    assert_eq!(credentials.store("two.example", &token).unwrap(), "docker-credential-two");
    assert_eq!(credentials.find(&repository("debian")).unwrap(), Some(hub));
    assert_eq!(credentials.find(&repository("two.example/x")).unwrap(), Some(token));
    assert_eq!(credentials.find(&repository("three.example/x")).unwrap(), None);
    let text = std::fs::read_to_string(world.home().join(".docker/config.json")).unwrap();
    assert!(!text.contains("secret") && text.contains("extra"), "{text}");
    let kept = std::fs::read_to_string(world.home().join("one.store")).unwrap();
    assert!(kept.contains(r#""ServerURL":"https://index.docker.io/v1/""#), "{kept}");
    assert!(credentials.erase("docker.io").unwrap());
    assert!(!credentials.erase("docker.io").unwrap());
    assert_eq!(credentials.find(&repository("debian")).unwrap(), None);
}

#[test]
fn a_helper_of_its_own_comes_before_the_one_for_all() {
    // `docker login` writes docker's own registry under its old address, which is the last of its names.
    for key in ["docker.io", "index.docker.io", "https://index.docker.io/v1/"] {
        let world = World::new();
        helper(&world, "all");
        helper(&world, "own");
        world.write(
            ".docker/config.json",
            &format!(r#"{{"credsStore":"all","credHelpers":{{"{key}":"own"}}}}"#),
        );
        let credentials = credentials(&world);
        let place = credentials.store("docker.io", &password("me", "hub-secret")).unwrap();
        assert_eq!(place, "docker-credential-own", "{key}");
        assert_eq!(user(&world, "debian").as_deref(), Some("me"), "{key}");
        assert!(credentials.erase("docker.io").unwrap(), "{key}");
        assert!(!world.home().join("own.store").exists() && !world.home().join("all.store").exists());
    }
}

#[test]
fn a_registry_without_a_name_is_none() {
    let client = World::new().client();
    for name in ["", "https://", "/", "debian"] {
        for error in [
            client.login(name, &password("me", "x")).unwrap_err(),
            client.logout(name).unwrap_err(),
            client.ping(name).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Reference { .. }), "{name:?}: {error}");
        }
    }
}

#[test]
fn helpers_that_fail_are_told_without_their_output() {
    let world = World::new();
    world.write(".docker/config.json", r#"{"credsStore":"bad"}"#);
    let find = || credentials(&world).find(&repository("debian")).unwrap_err().to_string();
    assert!(find().contains("docker-credential-bad") && find().contains("installed"), "{}", find());
    for script in
        ["echo hunter2; echo 'the keychain is locked' >&2; exit 3", "echo '{\"Secret\":\"hunter2\"'"]
    {
        world.write("bin/docker-credential-bad", &format!("#!/bin/sh\n{script}\n"));
        let path = world.home().join("bin/docker-credential-bad");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!find().contains("hunter2"), "{}", find());
    }
    world.write(".docker/config.json", r#"{"credsStore":"../evil"}"#);
    assert!(find().contains("no name of a credential helper"), "{}", find());
}

#[test]
fn login_changes_its_entry_and_nothing_else() {
    let world = World::new();
    let path = world.home().join("real/config.json");
    world.write(
        "real/config.json",
        r#"{"auths":{"a.example":{"auth":"YTpi","x":1}},"detachKeys":"ctrl-e","z":{"y":[]}}"#,
    );
    std::fs::create_dir(world.home().join(".docker")).unwrap();
    std::os::unix::fs::symlink(&path, world.home().join(".docker/config.json")).unwrap();
    let credentials = credentials(&world);
    let place = credentials.store("b.example:5000", &password("me", "p:w")).unwrap();
    assert!(place.ends_with(".docker/config.json"));
    let text = std::fs::read_to_string(&path).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["auths"]["a.example"], serde_json::json!({ "auth": "YTpi", "x": 1 }));
    assert_eq!(
        (value["detachKeys"].as_str(), &value["z"]),
        (Some("ctrl-e"), &serde_json::json!({ "y": [] }))
    );
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(world.home().join(".docker/config.json").is_symlink());
    assert_eq!(credentials.find(&repository("b.example:5000/x")).unwrap(), Some(password("me", "p:w")));
    assert_eq!(std::fs::read_dir(world.home().join("real")).unwrap().count(), 1, "no scratch file is left");
    assert!(credentials.erase("b.example:5000").unwrap());
    assert_eq!(credentials.find(&repository("b.example:5000/x")).unwrap(), None);
    world.write("real/config.json", "[]");
    let error = credentials.store("b.example", &password("me", "x")).unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "[]", "what is not understood is left alone");
}
