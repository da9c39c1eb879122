use super::{
    super::attributes::{Rules, Sort},
    World,
};
use crate::spec::words::Mode;
use rbuild_tree::{Metadata, Timestamp};

const BASE: &str = "
    /d/ 2775 1:1
    /d/l ->f
    /d/run =x 0755
    /d/run2 ==/d/run
    /d/sub/
    /d/sub/suid =y 6755 2:2 cap";

#[test]
fn attrs() {
    let world = World::new();
    let table = [
        // A number is for the directory that is named, and for files below it.
        ("path = '/d', mode = '0700'", "/d/ 0700 1:1|/d/l ->f|/d/run =x 0755|/d/run2 ==/d/run|/d/sub/|SUID"),
        (
            "path = '/d', mode = '0600', recursive = true",
            "/d/ 0600 1:1|/d/l ->f|/d/run =x 0600|/d/run2 ==/d/run|/d/sub/|/d/sub/suid =y 0600 2:2 cap",
        ),
        (
            "path = '/d', mode = '0600', dir-mode = '0711', recursive = true",
            "/d/ 0711 1:1|/d/l ->f|/d/run =x 0600|/d/run2 ==/d/run|/d/sub/ 0711|/d/sub/suid =y 0600 2:2 cap",
        ),
        // A relative mode is applied once to a file of two names.
        (
            "path = '/d/**', mode = 'u-r,g+w,o=g'",
            "/d/ 2775 1:1|/d/l ->f|/d/run =x 0377|/d/run2 ==/d/run|/d/sub/ 0377|/d/sub/suid =y 6377 2:2 cap",
        ),
        (
            "path = '/d', owner = '3:3', recursive = true",
            "/d/ 2775 3:3|/d/l ->f 3:3|/d/run =x 0755 3:3|/d/run2 ==/d/run|/d/sub/ 3:3|/d/sub/suid =y 0755 3:3",
        ),
        (
            "path = '/d/l', owner = '3:3'",
            "/d/ 2775 1:1|/d/l ->f 3:3|/d/run =x 0755|/d/run2 ==/d/run|/d/sub/|SUID",
        ),
        (
            "path = '/d/run2', mode = '4711', owner = '3:3'",
            "/d/ 2775 1:1|/d/l ->f|/d/run =x 4711 3:3|/d/run2 ==/d/run|/d/sub/|SUID",
        ),
        (
            "path = '/d/**', capabilities = 'cap_net_raw+ep'",
            "/d/ 2775 1:1|/d/l ->f|/d/run =x 0755 cap|/d/run2 ==/d/run|/d/sub/|SUID",
        ),
        (
            "path = '/d/sub/suid', capabilities = ''",
            "/d/ 2775 1:1|/d/l ->f|/d/run =x 0755|/d/run2 ==/d/run|/d/sub/|/d/sub/suid =y 6755 2:2",
        ),
    ];
    for (fields, expected) in table {
        let expected = expected.replace("SUID", "/d/sub/suid =y 6755 2:2 cap").replace('|', "\n");
        world.check(BASE, &format!("attrs = [{{ {fields} }}]"), &expected);
    }
    world.check("/f", "attrs = [{ path = '/', mode = '0700', owner = '1:1' }]", "/ 0700 1:1\n/f");
}

#[test]
fn attrs_that_do_nothing_are_refused() {
    let world = World::new();
    let table = [
        ("path = '/nope', mode = '0600'", "no-match", "/nope matches nothing"),
        ("path = '/d/*.so', mode = '0600'", "no-match", "/d/*.so matches nothing"),
        (
            "path = '/d', capabilities = 'cap_kill+p'",
            "type-conflict",
            "/d is a directory, which has no capabilities",
        ),
        ("path = '/d/l', mode = '0600'", "type-conflict", "/d/l is a symbolic link, which has no mode"),
        ("path = '/d', owner = 'who'", "unknown-owner", "no user `who`"),
        ("path = '/d', owner = '0:who'", "unknown-owner", "no group `who`"),
    ];
    for (fields, code, word) in table {
        world.refuses(BASE, &format!("attrs = [{{ {fields} }}]"), code, &["attrs[0]", word]);
    }
    world.refuses("/l ->/f\n/f", "attrs = [{ path = '/l', mode = '0600' }]", "type-conflict", &["\"/f\""]);
}

#[test]
fn an_access_list_follows_the_mode() {
    let entry = |tag: u8, permissions: u8| [tag, 0, permissions, 0, 255, 255, 255, 255];
    let list = |entries: &[[u8; 8]]| -> Box<[u8]> { [&[2, 0, 0, 0], entries.as_flattened()].concat().into() };
    let key: &[u8] = b"system.posix_acl_access";
    // user, a named user, group, mask, others
    let old = list(&[entry(1, 7), entry(2, 7), entry(4, 5), entry(16, 7), entry(32, 0)]);
    let mut metadata = Metadata::root(0o770, Timestamp::default());
    metadata.xattrs.insert(key.into(), old);
    let mode = Mode::parse("0641").unwrap();
    let rules = Rules { mode: Some(&mode), ..Rules::default() };
    let new = rules.apply(&metadata, Sort::Other);
    let expected = list(&[entry(1, 6), entry(2, 7), entry(4, 5), entry(16, 4), entry(32, 1)]);
    assert_eq!((new.mode, &new.xattrs[key]), (0o641, &expected));
    // Without a mask the group's own entry is the group class; what is no list stays as it is.
    metadata.xattrs.insert(key.into(), list(&[entry(1, 7), entry(4, 5), entry(32, 0)]));
    let expected = list(&[entry(1, 6), entry(4, 4), entry(32, 1)]);
    assert_eq!(rules.apply(&metadata, Sort::Other).xattrs[key], expected);
    metadata.xattrs.insert(key.into(), (*b"?").into());
    assert_eq!(rules.apply(&metadata, Sort::Other).xattrs[key], Box::from(*b"?"));
}
