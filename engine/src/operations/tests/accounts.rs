use super::{
    super::{accounts::Accounts, apply},
    EPOCH, World,
};
use crate::spec::words::{Id, Owner};
use rbuild_tree::{Snapshot, lookup};

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/bash
# a comment, and lines that make no sense
broken
daemon:*:1:1:daemon:/usr/sbin:/usr/sbin/nologin
app:x:1000:50:App,,,:/opt/app:/bin/sh
app:x:2000:2000::/second:/bin/sh
alias:x:1000:60::/alias:/bin/sh";

const GROUP: &str = "\
root:x:0:
staff:x:50:daemon,app
adm:x:4:app
tty:x:5:ap,apps
twice:x:4:app
broken:x:";

fn base(world: &World) -> Snapshot {
    let tree = world.with_text(&world.snapshot(""), "/etc/passwd", PASSWD, 0o644);
    world.with_text(&tree, "/etc/group", GROUP, 0o644)
}

/// The files after the fields of a step.
fn files(world: &World, base: &Snapshot, toml: &str) -> (String, String) {
    let applied =
        apply(&world.context(), &world.body(toml), base).unwrap_or_else(|error| panic!("{error}")).snapshot;
    (world.text(&applied, "/etc/passwd"), world.text(&applied, "/etc/group"))
}

#[test]
fn lookups_are_those_of_the_tree() {
    let world = World::new();
    let accounts = Accounts::read(&world.store, &base(&world)).unwrap();
    let app = accounts.user(&Id::Name("app".into())).unwrap();
    assert_eq!((app.uid, app.gid, app.home.as_str(), app.shell.as_str()), (1000, 50, "/opt/app", "/bin/sh"));
    assert_eq!(accounts.user(&Id::Number(1000)).unwrap().name, "app", "the first line of a number wins");
    assert_eq!(accounts.user(&Id::Number(7)), None);
    assert_eq!(accounts.supplementary_groups("app"), [4, 50]);
    assert_eq!(accounts.supplementary_groups("nobody"), [0_u32; 0]);
    let table = [
        ("app", Ok((1000, 50))),
        ("app:adm", Ok((1000, 4))),
        ("app:7", Ok((1000, 7))),
        ("1000", Ok((1000, 1000))),
        ("1000:0", Ok((1000, 0))),
        ("7:staff", Ok((7, 50))),
        ("root", Ok((0, 0))),
        ("nobody", Err("/etc/passwd of the tree has no user `nobody`")),
        ("app:wheel", Err("/etc/group of the tree has no group `wheel`")),
        ("broken", Err("/etc/passwd of the tree has no user `broken`")),
    ];
    for (text, expected) in table {
        let found = accounts.resolve(&Owner::parse(text).unwrap());
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }
}

#[test]
fn a_tree_without_files_knows_root_alone() {
    let world = World::new();
    for tree in ["", "/etc/passwd ->passwd", "/etc =file"] {
        let accounts = Accounts::read(&world.store, &world.snapshot(tree)).unwrap();
        let root = accounts.user(&Id::Name("root".into())).unwrap();
        assert_eq!((root.uid, root.gid, root.home.as_str()), (0, 0, "/root"));
        assert_eq!(accounts.resolve(&Owner::parse("root:root").unwrap()), Ok((0, 0)));
        assert!(accounts.resolve(&Owner::parse("daemon").unwrap()).is_err());
    }
    // Through links of the tree, as a program in it would.
    let linked = "/etc/passwd ->/lib/accounts\n/lib/accounts =me:x:5:6::/:";
    let accounts = Accounts::read(&world.store, &world.snapshot(linked)).unwrap();
    assert_eq!(accounts.resolve(&Owner::parse("me").unwrap()), Ok((5, 6)));
    assert!(Accounts::read(&world.store, &world.snapshot("/etc/passwd/")).is_err(), "a directory is no list");
}

#[test]
fn new_lines_go_to_the_end_and_every_other_byte_stays() {
    let world = World::new();
    let (passwd, group) = files(
        &world,
        &base(&world),
        "groups = [{ name = 'build', gid = 700, members = ['app', 'daemon'] }, { name = 'adm', gid = 4, members = ['x'] }]
         users = [{ name = 'me', uid = 900, groups = ['build', 'tty'], home = '/home/me', shell = '/bin/sh', comment = 'M e' }]",
    );
    assert_eq!(passwd, format!("{PASSWD}\nme:x:900:900:M e:/home/me:/bin/sh\n"));
    let expected =
        GROUP.replace("adm:x:4:app", "adm:x:4:app,x").replace("tty:x:5:ap,apps", "tty:x:5:ap,apps,me");
    assert_eq!(group, format!("{expected}\nbuild:x:700:app,daemon,me\nme:x:900:\n"));
}

#[test]
fn the_same_again_changes_nothing() {
    let world = World::new();
    let toml = "groups = [{ name = 'staff', gid = 50, members = ['app'] }]
                users = [{ name = 'daemon', uid = 1, comment = 'daemon', home = '/usr/sbin', groups = ['staff'] }]";
    let body = world.body(toml);
    let mut base = base(&world);
    base = world.with_text(&base, "/etc/group", &format!("{GROUP}\ndaemon:x:1:\n"), 0o640);
    base = world.with_text(&base, "/usr/sbin/x", "", 0o755);
    let once = apply(&world.context(), &body, &base).unwrap().snapshot;
    assert_eq!(once, base);
    // And what a step made, the same step finds.
    let made = world.body("users = [{ name = 'me', uid = 9, home = '/home/me' }]");
    let once = apply(&world.context(), &made, &base).unwrap().snapshot;
    assert_ne!(once, base);
    assert_eq!(apply(&world.context(), &made, &once).unwrap().snapshot, once);
}

#[test]
fn other_fields_of_a_known_user_become_what_is_said() {
    let world = World::new();
    let (passwd, _) =
        files(&world, &base(&world), "users = [{ name = 'daemon', uid = 1, gid = 50, home = '/d' }]");
    let expected = PASSWD.replace(
        "daemon:*:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
        "daemon:*:1:50::/d:/usr/sbin/nologin", // the password field is not ours
    );
    assert_eq!(passwd, expected);
}

#[test]
fn numbers_that_differ_are_refused() {
    let world = World::new();
    let passwd = "/etc/passwd =app:x:1000:1000::/:/bin/sh\n/etc/group =app:x:1000:";
    let table = [
        ("users = [{ name = 'app', uid = 7 }]", "type-conflict", "has user `app` with uid 1000 already"),
        ("groups = [{ name = 'app', gid = 7 }]", "type-conflict", "has group `app` with gid 1000 already"),
        ("users = [{ name = 'me', uid = 7, groups = ['wheel'] }]", "unknown-owner", "no group `wheel`"),
        (
            "groups = [{ name = 'me', gid = 8 }]\nusers = [{ name = 'me', uid = 7 }]",
            "type-conflict",
            "has group `me` with gid 8 already",
        ),
    ];
    for (toml, code, word) in table {
        world.refuses(passwd, toml, code, &["[0]: ", word]);
    }
    // A second name for a number is fine, for users and for groups.
    let tree = world.snapshot(passwd);
    let (users, groups) = files(
        &world,
        &tree,
        "groups = [{ name = 'too', gid = 1000 }]\nusers = [{ name = 'two', uid = 1000 }]",
    );
    assert_eq!(users, "app:x:1000:1000::/:/bin/sh\ntwo:x:1000:1000::/:/usr/sbin/nologin\n");
    assert_eq!(groups, "app:x:1000:\ntoo:x:1000:\n");
}

#[test]
fn missing_files_are_made_but_for_shadow() {
    let world = World::new();
    let toml = "users = [
        { name = 'app', uid = 7, home = '/srv/app' },
        { name = 'in', uid = 8, gid = 7, groups = ['app'] },
    ]";
    let (passwd, group) = files(&world, &world.snapshot(""), toml);
    assert_eq!(passwd, "app:x:7:7::/srv/app:/usr/sbin/nologin\nin:x:8:7::/:/usr/sbin/nologin\n");
    assert_eq!(group, "app:x:7:in\n");
    let toml = format!("{toml}\nfiles = [{{ path = '/etc/passwd', content = '' }}]\nremove = ['/etc/group']");
    world.check("", &toml, "/ *\n/etc/ *\n/etc/passwd *\n/srv/ *\n/srv/app/ 7:7 *");
}

#[test]
fn a_shadow_that_exists_gets_a_locked_line() {
    let world = World::new();
    let base = world.with_text(&world.snapshot(""), "/etc/shadow", "root:*:1::::::\n", 0o640);
    let body = world.body("users = [{ name = 'app', uid = 7 }]");
    let applied = apply(&world.context(), &body, &base).unwrap().snapshot;
    let day = EPOCH / 86_400;
    assert_eq!(world.text(&applied, "/etc/shadow"), format!("root:*:1::::::\napp:!:{day}:0:99999:7:::\n"));
    let shadow = lookup(&*world.store, &applied, &super::tree_path("/etc/shadow")).unwrap().unwrap();
    assert_eq!((shadow.metadata.mode, shadow.metadata.mtime.seconds), (0o640, EPOCH));
    assert_eq!(apply(&world.context(), &body, &applied).unwrap().snapshot, applied);
}

#[test]
fn homes_are_made_where_they_are_missing() {
    let world = World::new();
    let homes = |base: &str, home: &str| {
        let toml = format!("users = [{{ name = 'a', uid = 7, home = '{home}' }}]\nremove = ['/etc']");
        world.apply(base, &toml)
    };
    assert_eq!(homes("", "/home/a"), ["/ *", "/home/ *", "/home/a/ 7:7 *"]);
    assert_eq!(homes("/home/a/ 0700", "/home/a"), ["/ *", "/home/", "/home/a/ 0700"]);
    assert_eq!(
        homes("/home ->/usr/home", "/home/a"),
        ["/ *", "/home ->/usr/home", "/usr/ *", "/usr/home/ *", "/usr/home/a/ 7:7 *"]
    );
    assert_eq!(homes("", "/"), ["/ *"]);
}

#[test]
fn owners_of_later_fields_are_the_new_users() {
    let world = World::new();
    world.check(
        "",
        "groups = [{ name = 'www', gid = 33 }]
         users = [{ name = 'app', uid = 7 }]
         dirs = [{ path = '/d', owner = 'app:www' }]
         files = [{ path = '/d/f', content = '', owner = 'app' }]
         attrs = [{ path = '/d/f', owner = '0:app' }]
         remove = ['/etc']",
        "/ *\n/d/ 7:33 *\n/d/f 0:7 *",
    );
}

#[test]
fn a_hostile_list_is_refused() {
    let world = World::new();
    let huge = "x".repeat((16 << 20) + 1);
    let tree = world.with_text(&world.snapshot(""), "/etc/passwd", &huge, 0o644);
    let error = Accounts::read(&world.store, &tree).unwrap_err();
    assert_eq!(error.to_string(), "/etc/passwd is larger than 16 MiB: it is no list of accounts");
    // The bytes of a file are gone from the store: a miss, told as one.
    let tree = world.with_text(&world.snapshot(""), "/etc/passwd", "gone", 0o644);
    world.store.drop_object(&rbuild_tree::ObjectId::of(b"gone"));
    let error = Accounts::read(&world.store, &tree).unwrap_err();
    assert_eq!(error.code(), Some(crate::convert::STORE_DAMAGED));
}
