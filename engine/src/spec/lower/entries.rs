//! What steps make without copying: `groups`, `users`, `dirs`, `files`, `links`, `attrs`.

use super::{
    read::{self, Sink},
    table::{Table, Words},
};
use crate::spec::{
    types::{Attr, Dir, FileText, Group, Link, User},
    value::Node,
    words::{self, Capabilities, Mode, Owner, Refusal, Word},
};

pub const GROUP: Words = Words { what: "a group", known: &["name", "gid", "members"], later: &[] };
pub const USER: Words = Words {
    what: "a user",
    known: &["name", "uid", "gid", "groups", "home", "shell", "comment"],
    later: &[],
};
pub const DIRECTORY: Words =
    Words { what: "a line of `dirs`", known: &["path", "owner", "mode"], later: &[] };
pub const FILE: Words =
    Words { what: "a line of `files`", known: &["path", "content", "owner", "mode", "expand"], later: &[] };
pub const LINK: Words = Words { what: "a line of `links`", known: &["path", "target", "hard"], later: &[] };
pub const ATTR: Words = Words {
    what: "a line of `attrs`",
    known: &["path", "owner", "mode", "dir-mode", "recursive", "capabilities"],
    later: &[],
};

/// 0xffffffff means "unchanged" to chown(2).
pub const MAX_ID: u32 = u32::MAX - 1;
const FILE_MODE: u32 = 0o644;

pub fn group(node: &Node, sink: &mut Sink) -> Option<Group> {
    let table = Table::open(node, node.span, &GROUP, sink)?;
    let name = table.required("name", sink, |node, sink| read::checked(node, words::account, sink));
    let gid = table.required("gid", sink, id);
    let members = table.array("members", sink, |node, sink| read::checked(node, words::account, sink));
    let members = members.into_iter().map(|member| member.value).collect();
    Some(Group { name: name?, gid: gid?, members })
}

pub fn user(node: &Node, sink: &mut Sink) -> Option<User> {
    let table = Table::open(node, node.span, &USER, sink)?;
    let name = table.required("name", sink, |node, sink| read::checked(node, words::account, sink));
    let uid = table.required("uid", sink, id);
    let gid = table.optional("gid", sink, id).or(uid);
    let groups = table.array("groups", sink, |node, sink| read::checked(node, words::account, sink));
    let mut field = |key, default: &str, check: fn(&str) -> Word<()>| {
        let text = table.optional(key, sink, |node, sink| read::checked(node, check, sink));
        text.map_or_else(|| default.to_owned(), |text| text.value)
    };
    let home = field("home", "/", absolute_field);
    let shell = field("shell", "/usr/sbin/nologin", absolute_field);
    let comment = field("comment", "", passwd_field);
    Some(User { name: name?, uid: uid?, gid: gid?, groups, home, shell, comment })
}

pub fn directory(node: &Node, sink: &mut Sink) -> Option<Dir> {
    let table = Table::open(node, node.span, &DIRECTORY, sink)?;
    let path = table.required("path", sink, |node, sink| read::word(node, words::tree_path, sink));
    let owner = table.optional("owner", sink, |node, sink| read::word(node, Owner::parse, sink));
    Some(Dir { mode: mode(&table, "mode", sink), owner, path: path? })
}

pub fn file(node: &Node, sink: &mut Sink) -> Option<FileText> {
    let table = Table::open(node, node.span, &FILE, sink)?;
    let path = table.required("path", sink, |node, sink| read::word(node, below_root, sink));
    let content = table.required("content", sink, read::content);
    table.flag("expand", sink);
    let owner = table.optional("owner", sink, |node, sink| read::word(node, Owner::parse, sink));
    let mode = mode(&table, "mode", sink).map_or(FILE_MODE, |mode| mode.apply(FILE_MODE, false));
    Some(FileText { path: path?, content: content?.value, owner, mode })
}

pub fn link(node: &Node, sink: &mut Sink) -> Option<Link> {
    let table = Table::open(node, node.span, &LINK, sink)?;
    let path = table.required("path", sink, |node, sink| read::word(node, below_root, sink));
    let hard = table.flag("hard", sink);
    let check: fn(&str) -> Word<()> =
        if hard { |text| words::tree_path(text).map(drop) } else { link_target };
    let target = table.required("target", sink, |node, sink| read::checked(node, check, sink));
    Some(Link { path: path?, target: target?, hard })
}

pub fn attr(node: &Node, sink: &mut Sink) -> Option<Attr> {
    let table = Table::open(node, node.span, &ATTR, sink)?;
    let path = table.required("path", sink, super::pattern);
    let capabilities =
        table.optional("capabilities", sink, |node, sink| read::word(node, Capabilities::parse, sink));
    Some(Attr {
        owner: table.optional("owner", sink, |node, sink| read::word(node, Owner::parse, sink)),
        mode: mode(&table, "mode", sink),
        dir_mode: mode(&table, "dir-mode", sink),
        recursive: table.flag("recursive", sink),
        capabilities: capabilities.map(|capabilities| capabilities.value),
        path: path?,
    })
}

/// `mode` or `dir-mode` of any table.
pub fn mode(table: &Table<'_>, key: &str, sink: &mut Sink) -> Option<Mode> {
    table.optional(key, sink, |node, sink| read::word(node, Mode::parse, sink)).map(|mode| mode.value)
}

fn id(node: &Node, sink: &mut Sink) -> Option<u32> {
    read::integer(node, MAX_ID, sink)
}

fn below_root(text: &str) -> Word<rbuild_tree::TreePath> {
    let path = words::tree_path(text)?;
    if path.is_root() {
        return Err(Refusal::bad("the root of a tree is a directory"));
    }
    if text.ends_with('/') {
        return Err(Refusal::bad("a path that ends in `/` is a directory"));
    }
    Ok(path)
}

fn link_target(text: &str) -> Word<()> {
    // What Linux takes: PATH_MAX with its NUL byte.
    if text.is_empty() || text.len() > 4095 {
        return Err(Refusal::bad("the target of a link is 1 to 4095 bytes long"));
    }
    Ok(())
}

fn passwd_field(text: &str) -> Word<()> {
    if text.contains([':', '\n']) {
        return Err(Refusal::bad("a field of /etc/passwd can't hold `:` or a line break"));
    }
    Ok(())
}

fn absolute_field(text: &str) -> Word<()> {
    if !text.starts_with('/') {
        return Err(Refusal::bad("the path must be absolute"));
    }
    words::tree_path(text)?;
    passwd_field(text)
}
