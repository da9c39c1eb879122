use super::{
    super::{copy_digest, reference_digest},
    World,
};
use crate::spec::{Span, Spanned, types::Reference, words};

const SOURCE: &str = "
    /a/f =F
    /a/g =G
    /a/x/one =1
    /a/x/two ==/a/x/one
    /a/l ->g
    /b/f =B";

/// What is in the source, and what stands there instead.
type Edits = &'static [(&'static str, &'static str)];

fn digest(source: &str, fields: &str) -> Option<String> {
    let world = World::with(source);
    let body = world.body(&format!("copy = [{{ from = 'src', {fields} }}]"));
    copy_digest(&world.context(), &body.copy[0]).ok()
}

#[test]
fn only_what_is_taken_counts() {
    // (fields, changes that don't matter, changes that do)
    let table: &[(&str, Edits, Edits)] = &[
        (
            "src = '/a/f', dest = '/d'",
            &[("/a/g =G", "/a/g =other"), ("/b/f =B", "/c =new"), ("/a/l ->g", "")],
            &[
                ("/a/f =F", "/a/f =f"),
                ("/a/f =F", "/a/f =F 0600"),
                ("/a/f =F", "/a/f =F @9"),
                ("/a/f =F", "/a/f ->F"),
            ],
        ),
        (
            "src = '/a/x', dest = '/d/'",
            &[("/a/f =F", ""), ("/b/f =B", "")],
            &[("/a/x/two ==/a/x/one", "/a/x/two =1"), ("/a/x/one =1", "/a/x/ 0700\n/a/x/one =1")],
        ),
        // Of a directory whose content is meant the directory itself is nothing.
        (
            "src = '/a/x', dest = '/d'",
            &[("/a/x/one =1", "/a/x/ 0700 3:3\n/a/x/one =1")],
            &[("/a/x/one =1", "/a/x/one =2"), ("/a/x/one =1", "/a/x/one =1\n/a/x/more")],
        ),
        (
            "src = '/a/x', dest = '/d', replace = true",
            &[("/a/f =F", "")],
            &[("/a/x/one =1", "/a/x/ 0700 3:3\n/a/x/one =1")],
        ),
        (
            "src = '/a/*', dest = '/d/', exclude = ['two']",
            &[("/a/x/two ==/a/x/one", ""), ("/b/f =B", "")],
            &[("/a/f =F", "/a/h =F"), ("/a/g =G", ""), ("/a/g =G", "/a/g =G\n/a/new")],
        ),
        (
            "src = '/a/l', dest = '/d', follow = true",
            &[("/a/l ->g", "/a/l ->./g"), ("/a/f =F", "")],
            &[("/a/l ->g", "/a/l ->f"), ("/a/g =G", "/a/g =H")],
        ),
        ("src = '/a/l', dest = '/d'", &[("/a/g =G", "/a/g =H")], &[("/a/l ->g", "/a/l ->./g")]),
        // Directories above come along with `parents`, but for their times.
        (
            "src = '/a/f', dest = '/d/', parents = true",
            &[("/a/g =G", ""), ("/a/f =F", "/a/ @9\n/a/f =F")],
            &[("/a/f =F", "/a/ 0700\n/a/f =F")],
        ),
        ("src = '/no*', dest = '/d/', optional = true", &[("/a/f =F", "")], &[("/a/f =F", "/now")]),
    ];
    for (fields, same, other) in table {
        let before = digest(SOURCE, fields);
        assert!(before.is_some(), "{fields}");
        for (old, new) in *same {
            assert!(SOURCE.contains(old));
            assert_eq!(digest(&SOURCE.replace(old, new), fields), before, "{fields}: {old} to {new:?}");
        }
        for (old, new) in *other {
            assert_ne!(digest(&SOURCE.replace(old, new), fields), before, "{fields}: {old} to {new:?}");
        }
    }
}

#[test]
fn a_renamed_file_is_another_input_of_a_pattern() {
    let before = digest("/a/one =x", "src = '/a/*', dest = '/d/'");
    assert_ne!(digest("/a/two =x", "src = '/a/*', dest = '/d/'"), before);
}

#[test]
fn what_the_copy_refuses_has_no_digest() {
    assert_eq!(digest(SOURCE, "src = '/nope', dest = '/d'"), None);
    assert_eq!(digest(SOURCE, "src = '/*/f', dest = '/d/'"), None);
}

#[test]
fn references() {
    let world = World::with(SOURCE);
    let place = match world.body("copy = [{ from = 'src', dest = '/d' }]").copy.first() {
        Some(copy) => copy.from.span,
        None => unreachable!(),
    };
    let of = |world: &World, text: &str| {
        let reference: Spanned<Reference> =
            Spanned::new(words::Reference::parse(text).unwrap(), Span::new(place.file, 0, 1));
        reference_digest(&world.context(), &reference)
    };
    let changed = World::with(&SOURCE.replace("/a/g =G", "/a/g =H"));
    for (text, same) in
        [("src", false), ("src:/a", false), ("src:/a/g", false), ("src:/a/f", true), ("src:/b", true)]
    {
        assert_eq!(of(&world, text).unwrap() == of(&changed, text).unwrap(), same, "{text}");
    }
    // Through a link, and a file by any name.
    assert_eq!(of(&world, "src:/a/l").unwrap(), of(&world, "src:/a/g").unwrap());
    let error = of(&world, "src:/nope").unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (Some("no-match"), "`src` has no /nope"));
    assert!(of(&world, "src:/a/f/below").is_err());
}
