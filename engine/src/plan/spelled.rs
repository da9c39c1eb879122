//! How the fields of a step are written into its key: in words, since a reason for a miss shows them.
//!
//! ```text
//! files                    /etc/motd          the names of the entries, in order, a line each
//! files: /etc/motd: mode   0644
//! copy[0] dest             /opt/
//! ```
//!
//! Each struct is taken apart by name, so that a new field does not compile until it is placed. Two different fields
//! never give one list: an entry always has the first of its parts, and names with a part of their own keep the order.

use crate::{
    key::Ingredients,
    spec::types::{
        Attr, Body, Copy, CopySource, Destination, Dir, FileText, Group, Link, Mode, Mount, MountKind,
        Network, Resolve, Sharing, Spanned, Take, User,
    },
};

/// The parts of an entry by name; those that are not said are left out.
type Parts = Vec<(&'static str, Option<String>)>;

/// `groups` … `attrs` and `remove`.
pub(super) fn add_entries(list: &mut Ingredients, body: &Body) {
    add(list, "groups", body.groups.iter().map(group));
    add(list, "users", body.users.iter().map(user));
    add(list, "dirs", body.dirs.iter().map(dir));
    add(list, "files", body.files.iter().map(file));
    add(list, "links", body.links.iter().map(link));
    add(list, "attrs", body.attrs.iter().map(attr));
    add_texts(list, "remove", &body.remove);
}

/// One of `copy`, under a name as `copy[0]`.
pub(super) fn add_copy(list: &mut Ingredients, name: &str, copy: &Copy) {
    let Copy { from, src, dest, owner, mode, dir_mode, exclude, parents, follow, replace, optional } = copy;
    list.add(format!("{name} from"), from.to_string());
    for (at, source) in src.iter().enumerate() {
        list.add(format!("{name} src[{at}]"), copy_source(source));
    }
    add_texts(list, &format!("{name} exclude"), exclude);
    let parts = [
        ("dest", Some(destination(dest))),
        ("owner", owner.as_ref().map(|owner| owner.to_string())),
        ("mode", mode.as_ref().map(Mode::to_string)),
        ("dir-mode", dir_mode.as_ref().map(Mode::to_string)),
        ("parents", flag(*parents)),
        ("follow", flag(*follow)),
        ("replace", flag(*replace)),
        ("optional", flag(*optional)),
    ];
    add_parts(list, name, parts);
}

/// One of `mounts`, under a name as `mounts[0]`.
pub(super) fn add_mount(list: &mut Ingredients, name: &str, mount: &Mount) {
    let Mount { target, kind } = mount;
    list.add(format!("{name} target"), target.to_string());
    let parts = match kind {
        MountKind::Tree { from, discard } => {
            vec![("from", Some(from.to_string())), ("write", discard.then(|| "discard".to_owned()))]
        }
        MountKind::Cache { name, sharing, owner, mode } => vec![
            ("cache", Some(name.to_string())),
            ("sharing", Some(sharing_word(*sharing).to_owned())),
            ("owner", owner.as_ref().map(|owner| owner.to_string())),
            ("mode", Some(octal(*mode))),
        ],
        MountKind::Tmpfs { size, mode } => {
            vec![("tmpfs", Some(size.to_string())), ("mode", Some(octal(*mode)))]
        }
    };
    add_parts(list, name, parts);
}

/// One line of `resolve`, under a name as `resolve[0]`.
pub(super) fn add_resolve(list: &mut Ingredients, name: &str, resolve: &Resolve) {
    let Resolve { path, take } = resolve;
    let take = match take {
        Take::Branch(branch) => format!("merge[{branch}]"),
        Take::Absent => "none".to_owned(),
    };
    add_parts(list, name, [("path", Some(path.value.clone())), ("take", Some(take))]);
}

/// A command as a shell would take it; words that are not plain are quoted.
pub(super) fn command(words: &[String]) -> String {
    let plain = |word: &str| {
        !word.is_empty()
            && !word.contains(|c: char| c.is_whitespace() || c.is_control() || "\"\\".contains(c))
    };
    let word = |word: &String| if plain(word) { word.clone() } else { format!("{word:?}") };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// `network` as it is written.
pub(super) fn network(network: Network) -> &'static str {
    match network {
        Network::None => "none",
        Network::Private => "private",
        Network::Host => "host",
    }
}

fn add(list: &mut Ingredients, field: &str, entries: impl Iterator<Item = (String, Parts)>) {
    let entries: Vec<(String, Parts)> = entries.collect();
    if entries.is_empty() {
        return;
    }
    list.add(field, entries.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("\n"));
    for (at, (name, parts)) in entries.iter().enumerate() {
        let earlier = entries[..at].iter().filter(|(other, _)| other == name).count();
        let again = if earlier == 0 { String::new() } else { format!(" ({})", earlier + 1) };
        for (part, value) in parts {
            if let Some(value) = value {
                list.add(format!("{field}: {name}{again}: {part}"), value.clone());
            }
        }
    }
}

fn add_parts(
    list: &mut Ingredients,
    name: &str,
    parts: impl IntoIterator<Item = (&'static str, Option<String>)>,
) {
    for (part, value) in parts {
        if let Some(value) = value {
            list.add(format!("{name} {part}"), value);
        }
    }
}

fn add_texts(list: &mut Ingredients, field: &str, texts: &[Spanned<String>]) {
    for (at, text) in texts.iter().enumerate() {
        list.add(format!("{field}[{at}]"), text.value.clone());
    }
}

fn group(group: &Group) -> (String, Parts) {
    let Group { name, gid, members } = group;
    let members = (!members.is_empty()).then(|| members.join(", "));
    (name.to_string(), vec![("gid", Some(gid.to_string())), ("members", members)])
}

fn user(user: &User) -> (String, Parts) {
    let User { name, uid, gid, groups, home, shell, comment } = user;
    let groups: Vec<&str> = groups.iter().map(|group| group.as_str()).collect();
    let parts = vec![
        ("uid", Some(uid.to_string())),
        ("gid", Some(gid.to_string())),
        ("groups", (!groups.is_empty()).then(|| groups.join(", "))),
        ("home", Some(home.clone())),
        ("shell", Some(shell.clone())),
        ("comment", Some(comment.clone())),
    ];
    (name.to_string(), parts)
}

fn dir(dir: &Dir) -> (String, Parts) {
    let Dir { path, owner, mode } = dir;
    let mode = mode.as_ref().map(Mode::to_string).unwrap_or_default();
    let owner = owner.as_ref().map(|owner| owner.to_string());
    (path.to_string(), vec![("mode", Some(mode)), ("owner", owner)])
}

fn file(file: &FileText) -> (String, Parts) {
    let FileText { path, content, owner, mode } = file;
    let owner = owner.as_ref().map(|owner| owner.to_string());
    let parts = vec![("content", Some(content.clone())), ("owner", owner), ("mode", Some(octal(*mode)))];
    (path.to_string(), parts)
}

fn link(link: &Link) -> (String, Parts) {
    let Link { path, target, hard } = link;
    (path.to_string(), vec![("target", Some(target.to_string())), ("hard", flag(*hard))])
}

fn attr(attr: &Attr) -> (String, Parts) {
    let Attr { path, owner, mode, dir_mode, recursive, capabilities } = attr;
    let parts = vec![
        ("recursive", Some(recursive.to_string())),
        ("owner", owner.as_ref().map(|owner| owner.to_string())),
        ("mode", mode.as_ref().map(Mode::to_string)),
        ("dir-mode", dir_mode.as_ref().map(Mode::to_string)),
        ("capabilities", capabilities.map(|capabilities| capabilities.to_string())),
    ];
    (path.value.clone(), parts)
}

/// As `src` is written: a final `/` for the content of a directory.
fn copy_source(source: &CopySource) -> String {
    // `literal` follows from the pattern.
    let CopySource { pattern, content, literal: _ } = source;
    if *content && pattern != "/" { format!("{pattern}/") } else { pattern.clone() }
}

fn destination(dest: &Destination) -> String {
    let Destination { path, directory } = dest;
    if *directory && !path.is_root() { format!("{path}/") } else { path.to_string() }
}

fn sharing_word(sharing: Sharing) -> &'static str {
    match sharing {
        Sharing::Shared => "shared",
        Sharing::Locked => "locked",
        Sharing::Private => "private",
    }
}

fn flag(on: bool) -> Option<String> {
    on.then(|| "true".to_owned())
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_keep_the_borders_of_their_words() {
        let spelled =
            |words: &[&str]| command(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(spelled(&["make", "all"]), "make all");
        assert_eq!(spelled(&["make all"]), "\"make all\"");
        assert_eq!(spelled(&["sh", "", "\"x\""]), r#"sh "" "\"x\"""#);
    }

    #[test]
    fn entries_of_one_name_and_their_order_are_told_apart() {
        let keys: Vec<_> =
            [&["/x", "/y"][..], &["/y", "/x"], &["/x", "/x"], &["/x", "/x (2)"], &["/x\n/x"], &["/x"]]
                .iter()
                .map(|names| {
                    let mut list = Ingredients::default();
                    add(
                        &mut list,
                        "dirs",
                        names.iter().map(|name| ((*name).to_owned(), vec![("mode", Some(String::new()))])),
                    );
                    list.key()
                })
                .collect();
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{at}");
        }
    }
}
