use super::World;

const SOURCE: &str = "
    /a/ 0700 3:4
    /a/f =F 0600 5:6 @7
    /a/g =G
    /a/l ->x
    /a/x/ 0750 5:6 @8
    /a/x/one =1
    /a/x/sub/two =2
    /b/f =B";

/// `copy = [{ from = 'src', … }]`
fn line(fields: &str) -> String {
    format!("copy = [{{ from = 'src', {fields} }}]")
}

#[test]
fn the_table() {
    let world = World::with(SOURCE);
    let whole = "
        /d/a/ 0700 3:4
        /d/a/f =F 0600 5:6 @7
        /d/a/g =G
        /d/a/l ->x
        /d/a/x/ 0750 5:6 @8
        /d/a/x/one =1
        /d/a/x/sub/
        /d/a/x/sub/two =2
        /d/b/
        /d/b/f =B";
    let content = "
        /d/one =1
        /d/sub/
        /d/sub/two =2";
    let table = [
        ("src = '/a/f', dest = '/d/'", "/d/f =F 0600 5:6 @7".to_owned()),
        ("src = '/a/f', dest = '/d'", "FILE".to_owned()),
        (
            "src = '/a/x', dest = '/d/'",
            "/d/x/ 0750 5:6 @8\n/d/x/one =1\n/d/x/sub/\n/d/x/sub/two =2".to_owned(),
        ),
        ("src = '/a/x', dest = '/d'", content.to_owned()),
        ("src = '/a/x/', dest = '/d'", content.to_owned()),
        ("src = '/a/x/', dest = '/d/'", content.to_owned()),
        ("dest = '/d'", whole.to_owned()),
        ("dest = '/d/'", whole.to_owned()),
        ("src = '/', dest = '/d/'", whole.to_owned()),
        ("src = ['/a/g', '/b'], dest = '/d/'", "/d/b/\n/d/b/f =B\n/d/g =G".to_owned()),
        ("src = '/a/[fg]', dest = '/d/'", "/d/f =F 0600 5:6 @7\n/d/g =G".to_owned()),
        ("src = '/a/l', dest = '/d/'", "/d/l ->x".to_owned()),
        ("src = ['/a/x/', '/b/'], dest = '/d/'", format!("/d/f =B{content}")),
    ];
    for (fields, below) in table {
        let expected = match below.as_str() {
            "FILE" => "/ *\n/d =F 0600 5:6 @7".to_owned(),
            _ => format!("/ *\n/d/ *\n{below}"),
        };
        world.check("", &line(fields), &expected);
    }
}

#[test]
fn parents_keep_the_whole_path() {
    let world = World::with(SOURCE);
    // Directories on the way are as in the source but for their times: not all is in them.
    world.check(
        "",
        &line("src = ['/a/x/sub', '/b/f'], dest = '/d/', parents = true, owner = '9:9', dir-mode = '0711'"),
        "/ *
         /d/ 9:9 *
         /d/a/ 0711 9:9 *
         /d/a/x/ 0711 9:9 *
         /d/a/x/sub/ 0711 9:9
         /d/a/x/sub/two =2 9:9
         /d/b/ 0711 9:9 *
         /d/b/f =B 9:9",
    );
    // The destination's own stay as they are, and two of one name have two places.
    world.check(
        "/d/a/ 0555 1:1",
        &line("src = '/**/f', dest = '/d/', parents = true"),
        "/d/ *
         /d/a/ 0555 1:1 *
         /d/a/f =F 0600 5:6 @7
         /d/b/ *
         /d/b/f =B",
    );
    // A part of the tree as the root shortens the path.
    let shorter = "copy = [{ from = 'src:/a', src = '/x/one', dest = '/', parents = true }]";
    world.check("", shorter, "/ *\n/x/ 0750 5:6 *\n/x/one =1");
}

#[test]
fn missing_directories_are_roots_and_the_last_has_the_owner() {
    let world = World::with(SOURCE);
    let file = line("src = '/a/g', dest = '/x/y/g', owner = '9:8'");
    world.check("", &file, "/ *\n/x/ *\n/x/y/ 9:8 *\n/x/y/g =G 9:8");
    let content = line("src = '/b/', dest = '/x/y', owner = '9:8'");
    world.check("", &content, "/ *\n/x/ *\n/x/y/ 9:8 *\n/x/y/f =B 9:8");
    world.check("/x/y/ 0700 1:1", &content, "/x/\n/x/y/ 0700 1:1 *\n/x/y/f =B 9:8");
}

#[test]
fn directories_merge_and_the_rest_is_replaced() {
    let world = World::with(
        "/t/dir/ 0700
         /t/dir/new =N
         /t/file =F
         /t/link ->elsewhere
         /t/pipe fifo",
    );
    let copy = line("src = '/t', dest = '/t'");
    world.check(
        "/t/dir/ 0711 1:1
         /t/dir/old =O
         /t/file ->/victim
         /t/link =was
         /t/pipe =was
         /victim =V",
        &copy,
        "/t/
         /t/dir/ 0711 1:1 *
         /t/dir/new =N
         /t/dir/old =O
         /t/file =F
         /t/link ->elsewhere
         /t/pipe fifo
         /victim =V",
    );
    // Onto a link to a directory: through it, wherever it leads inside the tree.
    world.check(
        "/t/dir ->/real/deep\n/real/deep/old =O",
        &copy,
        "/real/
         /real/deep/ *
         /real/deep/new =N
         /real/deep/old =O
         /t/ *
         /t/dir ->/real/deep
         /t/file =F
         /t/link ->elsewhere
         /t/pipe fifo",
    );
    for (base, word) in
        [("/t/dir =x", "file"), ("/t/dir ->nothing", "symbolic link"), ("/t/dir fifo", "fifo")]
    {
        world.refuses(base, &copy, "type-conflict", &["/t/dir is a", word, "replace = true", "copy[0]"]);
    }
    for base in ["/t/file/x", "/t/link/", "/t/pipe/x"] {
        world.refuses(base, &copy, "type-conflict", &["is a directory", "replace = true"]);
    }
}

#[test]
fn a_file_onto_a_directory_proposes_the_slash() {
    let world = World::with(SOURCE);
    let copy = line("src = '/a/f', dest = '/d'");
    world.refuses("/d/", &copy, "type-conflict", &["/d is a directory", "dest = \"/d/\""]);
    // A link to a directory is a link: it is replaced.
    world.check("/d ->e\n/e/", &copy, "/d =F 0600 5:6 @7\n/e/");
    // But on the way, and before a final `/`, it is followed.
    let into = line("src = '/a/g', dest = '/d/'");
    world.check("/d ->e\n/e/", &into, "/d ->e\n/e/ *\n/e/g =G");
    world.check("/d ->e", &into, "/ *\n/d ->e\n/e/ *\n/e/g =G");
    world.check("/d ->../../e", &line("src = '/a/g', dest = '/d/x'"), "/ *\n/d ->../../e\n/e/ *\n/e/x =G");
    world.refuses("/d ->d", &into, "type-conflict", &["/d"]);
    world.refuses("/d =x", &into, "type-conflict", &["/d is a file, not a directory"]);
    // Content needs a directory: a link to nothing is none, unless the final `/` says what it is to be.
    world.refuses(
        "/d ->e",
        &line("src = '/b', dest = '/d'"),
        "type-conflict",
        &["/d is a symbolic link to nothing"],
    );
    world.check("/d ->e", &line("src = '/b/', dest = '/d/'"), "/ *\n/d ->e\n/e/ *\n/e/f =B");
}

#[test]
fn replace_leaves_exactly_the_source() {
    let world = World::with(SOURCE);
    let base = "/d/old =O\n/d/x/old =O\n/d/x/one/deep =O\n/d/f ->x\n/keep =K";
    world.check(
        base,
        &line("src = '/a/x', dest = '/d/', replace = true"),
        "/d/ *
         /d/f ->x
         /d/old =O
         /d/x/ 0750 5:6 @8
         /d/x/one =1
         /d/x/sub/
         /d/x/sub/two =2
         /keep =K",
    );
    world.check(
        base,
        &line("src = '/a/x', dest = '/d', replace = true"),
        "/ *
         /d/ 0750 5:6 @8
         /d/one =1
         /d/sub/
         /d/sub/two =2
         /keep =K",
    );
    // All targets are cleared before anything lands.
    world.check(
        base,
        &line("src = ['/a/x/', '/b/'], dest = '/d', replace = true").replace("'/d'", "'/d/'"),
        "/ *\n/d/\n/d/f =B\n/d/one =1\n/d/sub/\n/d/sub/two =2\n/keep =K",
    );
    world.check(base, &line("src = '/a/g', dest = '/d', replace = true"), "/ *\n/d =G\n/keep =K");
    world.check(base, "copy = [{ from = 'src:/b', dest = '/', replace = true }]", "/f =B");
    world.check(
        "/d ->e\n/e/x",
        &line("src = '/b', dest = '/d', replace = true"),
        "/ *\n/d/\n/d/f =B\n/e/\n/e/x",
    );
    world.check(
        "/d ->e\n/e/x",
        &line("src = '/b/', dest = '/d/', replace = true"),
        "/ *\n/d ->e\n/e/\n/e/f =B",
    );
}

#[test]
fn follow_takes_what_a_named_link_points_to() {
    let world = World::with(
        "/a/l ->../b/file
         /a/abs ->/b
         /a/out ->../../../../b/file
         /a/none ->nowhere
         /a/d/inner ->x
         /b/file =F 0600",
    );
    let take = |src: &str, follow: bool| line(&format!("src = '{src}', dest = '/d/', follow = {follow}"));
    world.check("", &take("/a/l", false), "/ *\n/d/ *\n/d/l ->../b/file");
    world.check("", &take("/a/l", true), "/ *\n/d/ *\n/d/l =F 0600");
    world.check("", &take("/a/abs", true), "/ *\n/d/ *\n/d/abs/\n/d/abs/file =F 0600");
    // `..` stops at the root of the tree it is in.
    world.check("", &take("/a/out", true), "/ *\n/d/ *\n/d/out =F 0600");
    // Links that are not named themselves stay links.
    world.check("", &take("/a/d", true), "/ *\n/d/ *\n/d/d/\n/d/d/inner ->x");
    world.refuses("", &take("/a/none", true), "no-match", &["/a/none", "points to nothing"]);
    world.check("", &take("/a/none", false), "/ *\n/d/ *\n/d/none ->nowhere");
    // A final `/` means a directory, so a link to one is good enough.
    world.check("", &take("/a/abs/", false), "/ *\n/d/ *\n/d/file =F 0600");
    // The root of a part of a tree is a root: an absolute target starts there.
    world.refuses(
        "",
        "copy = [{ from = 'src:/a', src = '/abs', dest = '/d', follow = true }]",
        "no-match",
        &["/abs"],
    );
}

#[test]
fn what_matches_nothing() {
    let world = World::with(SOURCE);
    for (src, word) in [
        ("/nope", "`src` has no /nope"),
        ("/a/*.c", "/a/*.c matches nothing in `src`"),
        ("/a/f/below", "`src` has no /a/f/below"),
        ("/a/f/", "/a/f is a file, so there is nothing in it"),
        ("/b/*/", "matches nothing"),
    ] {
        let dest = if src.contains('*') { "/d/" } else { "/d" };
        world.refuses("", &line(&format!("src = '{src}', dest = '{dest}'")), "no-match", &[word]);
        world.check("", &line(&format!("src = '{src}', dest = '{dest}', optional = true")), "");
    }
    world.refuses("", &line("src = ['/a/f', '/nope'], dest = '/d/'"), "no-match", &["/nope"]);
    let some = line("src = ['/a/g', '/nope'], dest = '/d/', optional = true");
    world.check("", &some, "/ *\n/d/ *\n/d/g =G");
    world.refuses("", "copy = [{ from = 'src:/nope', dest = '/d' }]", "no-match", &["`src` has no /nope"]);
    world.check("", "copy = [{ from = 'src:/nope', dest = '/d', optional = true }]", "");
}

#[test]
fn two_of_one_name_are_refused() {
    let world = World::with(SOURCE);
    let twice = line("src = ['/a/f', '/b/f'], dest = '/d/'");
    world.refuses("", &twice, "type-conflict", &["/a/f and /b/f would both become /d/f", "parents = true"]);
    world.refuses("", &line("src = '/*/f', dest = '/d/'"), "type-conflict", &["/d/f"]);
    // One entry that two patterns take is taken once.
    world.check("", &line("src = ['/b/f', '/b/*'], dest = '/d/'"), "/ *\n/d/ *\n/d/f =B");
    // What lies in a directory that the pattern takes comes with it, not beside it.
    world.check("", &line("src = '/b**', dest = '/d/'"), "/ *\n/d/ *\n/d/b/\n/d/b/f =B");
    world.check("", &line("src = '/a/x/**', dest = '/d/'"), "/ *\n/d/ *\n/d/one =1\n/d/sub/\n/d/sub/two =2");
}

#[test]
fn a_reference_to_a_file_is_a_tree_of_it() {
    let world = World::with(SOURCE);
    let copy = |fields: &str| format!("copy = [{{ from = 'src:/a/f', {fields} }}]");
    world.check("", &copy("dest = '/d'"), "/ *\n/d =F 0600 5:6 @7");
    world.check("", &copy("dest = '/d/'"), "/ *\n/d/ *\n/d/f =F 0600 5:6 @7");
    world.check("", &copy("src = '/', dest = '/x/y', mode = '0640'"), "/ *\n/x/ *\n/x/y =F 0640 5:6 @7");
    world.refuses("", &copy("src = '/g', dest = '/d'"), "no-match", &["`src:/a/f` is a file"]);
    world.check("", "copy = [{ from = 'src:/a/l/one', dest = '/d' }]", "/ *\n/d =1");
}

#[test]
fn exclude_is_an_ignore_list_from_each_matched_directory() {
    let world = World::with(
        "/p/a.o =1
         /p/a.c =2
         /p/keep.o =3
         /p/target/x =4
         /p/target/keep/y =5
         /p/sub/target =6
         /p/sub/b.o =7
         /q/a.o =8",
    );
    let table = [
        (
            "'*.o'",
            "/d/a.c =2|/d/sub/|/d/sub/target =6|/d/target/|/d/target/keep/|/d/target/keep/y =5|/d/target/x =4",
        ),
        ("'*.o', '!keep.o', '/target/'", "/d/a.c =2|/d/keep.o =3|/d/sub/|/d/sub/target =6"),
        ("'target'", "/d/a.c =2|/d/a.o =1|/d/keep.o =3|/d/sub/|/d/sub/b.o =7"),
        // `!` opens the folders on the way, and a folder without anything brought back stays out.
        ("'*', '!/target/keep/**'", "/d/target/|/d/target/keep/|/d/target/keep/y =5"),
        ("'**', '!b.o'", "/d/sub/|/d/sub/b.o =7"),
    ];
    for (exclude, expected) in table {
        let copy = line(&format!("src = '/p', dest = '/d', exclude = [{exclude}]"));
        world.check("", &copy, &format!("/ *\n/d/ *\n{}", expected.replace('|', "\n")));
    }
    // What is matched itself is not left out: the list starts in it.
    let several = line("src = '/{p/a.o,q}', dest = '/d/', exclude = ['*.o']");
    world.check("", &several, "/ *\n/d/ *\n/d/a.o =1\n/d/q/");
}

#[test]
fn hard_links_stay_among_what_is_taken() {
    let world = World::with(
        "/a/one =x
         /a/two ==/a/one
         /b/three ==/a/one
         /b/other =y",
    );
    let all = "/ *\n/a/\n/a/one =x\n/a/two ==/a/one\n/b/\n/b/other =y\n/b/three ==/a/one";
    world.check("", &line("dest = '/'"), all);
    // Where a directory merges they are found again name by name.
    world.check(
        "/a/\n/b/",
        &line("dest = '/'"),
        &all.replace("/ *\n", "").replace("/a/\n", "/a/ *\n").replace("/b/\n", "/b/ *\n"),
    );
    world.check("", &line("src = '/a', dest = '/d'"), "/ *\n/d/ *\n/d/one =x\n/d/two ==/d/one");
    world.check("", &line("src = '/*/t*', dest = '/d/'"), "/ *\n/d/ *\n/d/three =x\n/d/two ==/d/three");
    world.check("", &line("src = '/b', dest = '/d'"), "/ *\n/d/ *\n/d/other =y\n/d/three =x");
    // A changed mode changes all names, once.
    let mode = line("src = '/a', dest = '/d', mode = 'u+x-w', owner = '7:7'");
    world.check("", &mode, "/ *\n/d/ 7:7 *\n/d/one =x 0544 7:7\n/d/two ==/d/one");
    // `exclude` may leave one name of a group.
    let one = line("src = '/a', dest = '/d', exclude = ['two']");
    world.check("", &one, "/ *\n/d/ *\n/d/one =x");
    // One name of a group of the tree itself is replaced, the others stay.
    world.check(
        "/d/one =old\n/d/else ==/d/one",
        &line("src = '/a/one', dest = '/d/'"),
        "/d/\n/d/else =old\n/d/one =x",
    );
}

#[test]
fn owner_and_modes() {
    let world = World::with(
        "/t/suid =1 6755 cap
         /t/plain =2 0644 5:5
         /t/l ->x
         /t/d/ 2770 5:5",
    );
    let table = [
        ("owner = '5:5'", "/d/d/ 2770 5:5|/d/l ->x 5:5|/d/plain =2 5:5|/d/suid =1 0755 5:5"),
        // Who owns it already keeps his bits.
        ("owner = '0:0'", "/d/d/ 2770|/d/l ->x|/d/plain =2|/d/suid =1 6755 cap"),
        (
            "owner = '5:5', mode = '4711'",
            "/d/d/ 2770 5:5|/d/l ->x 5:5|/d/plain =2 4711 5:5|/d/suid =1 4711 5:5",
        ),
        (
            "owner = '5:5', mode = 'u+s'",
            "/d/d/ 6770 5:5|/d/l ->x 5:5|/d/plain =2 4644 5:5|/d/suid =1 4755 5:5",
        ),
        ("mode = '0600'", "/d/d/ 2770 5:5|/d/l ->x|/d/plain =2 0600 5:5|/d/suid =1 0600 cap"),
        ("dir-mode = '0700'", "/d/d/ 0700 5:5|/d/l ->x|/d/plain =2 5:5|/d/suid =1 6755 cap"),
        (
            "mode = 'go=', dir-mode = 'g-w'",
            "/d/d/ 2750 5:5|/d/l ->x|/d/plain =2 0600 5:5|/d/suid =1 4700 cap",
        ),
    ];
    for (fields, expected) in table {
        let owner = if fields.contains("5:5") { " 5:5" } else { "" };
        let expected = format!("/ *\n/d/{owner} *\n{}", expected.replace('|', "\n"));
        world.check("", &line(&format!("src = '/t', dest = '/d', {fields}")), &expected);
    }
    world.refuses(
        "",
        &line("dest = '/d', owner = 'nobody'"),
        "unknown-owner",
        &["no user `nobody`", "/etc/passwd"],
    );
}

#[test]
fn later_copies_win_and_names_of_owners_are_those_of_the_tree_by_then() {
    let world = World::with("/etc/passwd =app:x:42:43::/:/bin/sh\n/f =1\n/g/f =2");
    world.check(
        "",
        "copy = [
            { from = 'src', src = '/f', dest = '/' },
            { from = 'src', src = '/g/f', dest = '/' },
            { from = 'src', src = '/etc', dest = '/etc' },
            { from = 'src', src = '/f', dest = '/h', owner = 'app' },
        ]",
        "/ *\n/etc/ *\n/etc/passwd =app:x:42:43::/:/bin/sh\n/f =2\n/h =1 42:43",
    );
}

#[test]
fn a_tree_deeper_than_a_stack_is_adjusted() {
    let deep: String = (0..1500).map(|_| "/d").collect();
    let mut world = World::with(&format!("{deep}/f =x\n"));
    let body = world.body(&line("dest = '/', owner = '1:1', exclude = ['y']"));
    let applied = super::super::apply(&world.context(), &body, &world.snapshot("")).unwrap();
    assert_eq!(world.lines(&applied.snapshot).last().unwrap(), &format!("{deep}/f =x 1:1"));
    world.add_snapshot("src", applied.snapshot);
    super::super::copy_digest(&world.context(), &world.body(&line("dest = '/'")).copy[0]).unwrap();
}
