use super::World;

#[test]
fn dirs() {
    let world = World::new();
    let table = [
        ("", "{ path = '/a/b' }", "/ *|/a/ *|/a/b/ *"),
        ("", "{ path = '/a/b', owner = '1:2', mode = '1777' }", "/ *|/a/ *|/a/b/ 1777 1:2 *"),
        ("", "{ path = '/a', mode = 'go=' }", "/ *|/a/ 0700 *"),
        // What exists changes only in what is said.
        ("/a/ 2750 1:2", "{ path = '/a' }", "/a/ 2750 1:2"),
        ("/a/ 2750 1:2", "{ path = '/a', mode = '0700' }", "/a/ 0700 1:2"),
        ("/a/ 2750 1:2", "{ path = '/a/', owner = '3:4' }", "/a/ 2750 3:4"),
        ("/a/ 2750 1:2", "{ path = '/a', mode = 'o+x' }", "/a/ 2751 1:2"),
        ("", "{ path = '/', mode = '0700' }", "/ 0700"),
        // A link to a directory is as good, and one to nothing shows where it is to be.
        ("/a ->b\n/b/", "{ path = '/a', mode = '0700' }", "/a ->b|/b/ 0700"),
        ("/var/run ->/run", "{ path = '/var/run/x' }", "/ *|/run/ *|/run/x/ *|/var/|/var/run ->/run"),
    ];
    for (base, directory, expected) in table {
        world.check(base, &format!("dirs = [{directory}]"), &expected.replace('|', "\n"));
    }
    world.refuses(
        "/a =x",
        "dirs = [{ path = '/a' }]",
        "type-conflict",
        &["dirs[0]", "/a is a file, not a directory"],
    );
    world.refuses("/a =x", "dirs = [{ path = '/a/b' }]", "type-conflict", &["/a is a file"]);
    world.refuses("", "dirs = [{ path = '/a', owner = 'x' }]", "unknown-owner", &["no user `x`"]);
}

#[test]
fn files() {
    let world = World::new();
    let table = [
        ("", "{ path = '/etc/x', content = 'c' }", "/ *|/etc/ *|/etc/x =c *"),
        ("", "{ path = 'x', content = '', owner = '1:2', mode = '4755' }", "/ *|/x 4755 1:2 *"),
        // A file or link is replaced, not written through; names don't change, so the directory's time neither.
        ("/x =old 0777 9:9", "{ path = '/x', content = 'c' }", "/x =c *"),
        ("/x ->y\n/y =old", "{ path = '/x', content = 'c' }", "/x =c *|/y =old"),
        ("/x =old\n/y ==/x", "{ path = '/x', content = 'c' }", "/x =c *|/y =old"),
        ("/d ->e\n/e/", "{ path = '/d/x', content = 'c' }", "/d ->e|/e/ *|/e/x =c *"),
    ];
    for (base, file, expected) in table {
        world.check(base, &format!("files = [{file}]"), &expected.replace('|', "\n"));
    }
    world.refuses(
        "/x/",
        "files = [{ path = '/x', content = '' }]",
        "type-conflict",
        &["files[0]", "/x is a directory"],
    );
    world.refuses("/x =1", "files = [{ path = '/x/y', content = '' }]", "type-conflict", &["/x is a file"]);
}

#[test]
fn links() {
    let world = World::new();
    let table = [
        ("", "{ path = '/a/l', target = '../x' }", "/ *|/a/ *|/a/l ->../x *"),
        ("/l =old\n/d/x", "{ path = '/l', target = '/nowhere' }", "/d/|/d/x|/l ->/nowhere *"),
        ("/l ->d\n/d/x", "{ path = '/l', target = 'e' }", "/d/|/d/x|/l ->e *"),
        ("/f =x @3", "{ path = '/l', target = '/f', hard = true }", "/ *|/f =x @3|/l ==/f"),
        ("/f =x\n/l =old\n/m ==/l", "{ path = '/l', target = 'f', hard = true }", "/f =x|/l ==/f|/m =old"),
        (
            "/d ->e\n/e/f =x",
            "{ path = '/l', target = '/d/f', hard = true }",
            "/ *|/d ->e|/e/|/e/f =x|/l ==/e/f",
        ),
        // The link itself gets a second name, not what it points to.
        ("/s ->x", "{ path = '/l', target = '/s', hard = true }", "/ *|/l ->x|/s ==/l"),
        ("/f =x", "{ path = '/f', target = '/f', hard = true }", "/f =x"),
    ];
    for (base, link, expected) in table {
        world.check(base, &format!("links = [{link}]"), &expected.replace('|', "\n"));
    }
    let refused = [
        ("/l/", "{ path = '/l', target = 'x' }", "type-conflict", "/l is a directory"),
        ("", "{ path = '/l', target = '/f', hard = true }", "no-match", "/f does not exist"),
        ("/d/", "{ path = '/l', target = '/d', hard = true }", "type-conflict", "/d is a directory"),
        ("/f\n/d/x", "{ path = '/d', target = '/f', hard = true }", "type-conflict", "/d is a directory"),
        ("/d/f", "{ path = '/d', target = '/d/f', hard = true }", "type-conflict", "/d is a directory"),
    ];
    for (base, link, code, word) in refused {
        world.refuses(base, &format!("links = [{link}]"), code, &["links[0]", word]);
    }
}

#[test]
fn remove() {
    let world = World::new();
    let base = "/a/b/c =1\n/a/b/d =2\n/a/.hidden =3\n/l ->a\n/f =4\n/g ==/f";
    let table = [
        ("'/a/*'", "/a/ *|/f =4|/g ==/f|/l ->a"),
        ("'/a'", "/ *|/f =4|/g ==/f|/l ->a"),
        // The link goes, what it points to stays; on the way it is followed.
        ("'/l'", "/ *|/a/|/a/.hidden =3|/a/b/|/a/b/c =1|/a/b/d =2|/f =4|/g ==/f"),
        ("'/l/b'", "/a/ *|/a/.hidden =3|/f =4|/g ==/f|/l ->a"),
        ("'/f'", "/ *|/a/|/a/.hidden =3|/a/b/|/a/b/c =1|/a/b/d =2|/g =4|/l ->a"),
        ("'/**/[cd]', '/a/.*'", "/a/ *|/a/b/ *|/f =4|/g ==/f|/l ->a"),
        ("'/a/**', '/a/b'", "/a/ *|/f =4|/g ==/f|/l ->a"),
        ("'/*'", "/ *"),
    ];
    for (patterns, expected) in table {
        world.check(base, &format!("remove = [{patterns}]"), &expected.replace('|', "\n"));
    }
    world.refuses(base, "remove = ['/']", "type-conflict", &["remove[0]", "can't be removed", "\"/*\""]);
}

#[test]
fn removing_nothing_speaks_up_for_a_path_and_not_for_a_pattern() {
    let world = World::new();
    let applied = world.try_apply("/a/b", "remove = ['/nope', '/a/*.tmp', '/a/b/c']").unwrap();
    let told: Vec<_> =
        applied.warnings.iter().map(|warning| (warning.code, warning.message.as_str())).collect();
    assert_eq!(
        told,
        [
            ("remove-nothing", "/nope is not in the tree, so there is nothing to remove"),
            ("remove-nothing", "/a/b/c is not in the tree, so there is nothing to remove"),
        ]
    );
    assert!(applied.warnings.iter().all(|warning| warning.span.is_some()));
    assert_eq!(applied.snapshot, world.snapshot("/a/b"), "nothing changed, not even a time");
}
