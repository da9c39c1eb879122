//! `groups` and `users`: lines of /etc/group, /etc/passwd and, if it exists, /etc/shadow.
//!
//! Only the line of the name is touched; every other byte stays. A name that is there with another number is an error,
//! since files of the tree may belong to the old one; the other fields of its line become what the entry says. What is
//! the same already changes nothing, not even a time.

use super::{
    accounts::{Accounts, GROUP, PASSWD, read_file},
    error::{OperationError, Result},
    work::{Work, type_conflict, unknown_owner},
};
use crate::spec::types::{Group, User};
use rbuild_tree::{Entry, Kind, TreePath};

const SHADOW: &str = "/etc/shadow";
const SECONDS_OF_DAY: i64 = 86_400;

pub(super) fn add_group(work: &mut Work<'_>, group: &Group) -> Result<()> {
    let accounts = accounts(work)?;
    if let Some(gid) = accounts.listed_group(&group.name)
        && gid != group.gid
    {
        return Err(other_number("group", &group.name, gid, group.gid).at(group.name.span));
    }
    add_members(work, &group.name, group.gid, &group.members).map_err(|error| error.at(group.name.span))
}

pub(super) fn add_user(work: &mut Work<'_>, user: &User) -> Result<()> {
    let mut accounts = accounts(work)?;
    if let Some(known) = accounts.listed_user(&user.name)
        && known.uid != user.uid
    {
        return Err(other_number("user", &user.name, known.uid, user.uid).at(user.name.span));
    }
    if accounts.group_name(user.gid).is_none() {
        if let Some(gid) = accounts.listed_group(&user.name) {
            return Err(other_number("group", &user.name, gid, user.gid)
                .at(user.name.span)
                .hint(format!("say `gid = {gid}` to make it the user's own group")));
        }
        add_members(work, &user.name, user.gid, &[]).map_err(|error| error.at(user.name.span))?;
        accounts = Accounts::of(work.context.store, &mut work.editor)?;
    }
    for group in &user.groups {
        let gid = accounts.listed_group(group).ok_or_else(|| {
            let error = unknown_owner(format!("{GROUP} of the tree has no group `{group}`"));
            error.at(group.span).hint("add it to the step's `groups`")
        })?;
        add_members(work, group, gid, std::slice::from_ref(&user.name.value))?;
    }
    write_user(work, user).map_err(|error| error.at(user.name.span))?;
    make_home(work, user).map_err(|error| error.at(user.name.span))
}

fn write_user(work: &mut Work<'_>, user: &User) -> Result<()> {
    let User { name, uid, gid, home, shell, comment, .. } = user;
    edit(work, PASSWD, name, &|old| {
        // Some keep the password itself here, or an empty one: that is not ours to change.
        let password = old.and_then(|line| line.split(':').nth(1)).unwrap_or("x");
        format!("{name}:{password}:{uid}:{gid}:{comment}:{home}:{shell}")
    })?;
    if work.follow(&path(SHADOW)?)?.found.is_some() {
        // Day 0 would mean that the password must be changed at once; an empty field that its age is unknown.
        let day = work.context.epoch.seconds.div_euclid(SECONDS_OF_DAY);
        let day = if day > 0 { day.to_string() } else { String::new() };
        edit(work, SHADOW, name, &|old| {
            old.map_or_else(|| format!("{name}:!:{day}:0:99999:7:::"), str::to_owned)
        })?;
    }
    Ok(())
}

fn make_home(work: &mut Work<'_>, user: &User) -> Result<()> {
    let home = path(&user.home)?;
    if work.follow(&home)?.found.is_none() {
        let own = work.fresh(0o755, Some((user.uid, user.gid)));
        work.ensure_directory(&home, Some(own))?;
    }
    Ok(())
}

/// Makes the group's line, or adds those of `members` it does not list.
fn add_members(work: &mut Work<'_>, name: &str, gid: u32, members: &[String]) -> Result<()> {
    edit(work, GROUP, name, &|old| {
        let mut line = old.map_or_else(|| format!("{name}:x:{gid}:"), str::to_owned);
        let listed = line.rsplit(':').next().unwrap_or_default();
        let mut all: Vec<String> =
            listed.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        for member in members {
            if !all.contains(member) {
                line.push_str(if all.is_empty() { "" } else { "," });
                line.push_str(member);
                all.push(member.clone());
            }
        }
        line
    })
}

/// Replaces the line of `name`, or adds one at the end.
fn edit(work: &mut Work<'_>, file: &str, name: &str, line: &dyn Fn(Option<&str>) -> String) -> Result<()> {
    let (real, metadata, old) = match read_file(work.context.store, &mut work.editor, file)? {
        Some((real, found, bytes)) => (real, found.metadata, bytes),
        None => {
            let real = work.follow(&path(file)?)?.path;
            if let Some(parent) = real.parent() {
                work.ensure_directory(&parent, None)?;
            }
            (real, work.fresh(0o644, None), Vec::new())
        }
    };
    let new = with_line(&old, name, line)
        .ok_or_else(|| type_conflict(&real, format_args!("has a line for `{name}` that is not UTF-8")))?;
    if new == old {
        return Ok(());
    }
    let object = work.context.store.put_object(&new)?;
    let metadata = rbuild_tree::Metadata { mtime: work.context.epoch, ..metadata };
    let kind = Kind::File { object, size: new.len() as u64 };
    replace_under_all_names(work, &real, Entry { metadata, kind })?;
    work.forget_accounts();
    Ok(())
}

/// A program that writes the file would change it under each of its names.
fn replace_under_all_names(work: &mut Work<'_>, path: &TreePath, entry: Entry) -> Result<()> {
    let names = work.editor.linked(path);
    work.editor.insert(path, entry)?;
    for name in names.iter().filter(|name| *name != path) {
        work.editor.link(path, name)?;
    }
    Ok(())
}

/// `text` with one line changed or added; every other byte as it was. None if the line is there and no text.
fn with_line(text: &[u8], name: &str, line: &dyn Fn(Option<&str>) -> String) -> Option<Vec<u8>> {
    let prefix = [name.as_bytes(), b":"].concat();
    let mut new = Vec::with_capacity(text.len() + 128);
    let mut pieces = text.split_inclusive(|byte| *byte == b'\n');
    for piece in pieces.by_ref() {
        if piece.starts_with(&prefix) {
            let (old, end) = match piece.split_last() {
                Some((b'\n', old)) => (old, &b"\n"[..]),
                _ => (piece, &b""[..]),
            };
            new.extend(line(Some(std::str::from_utf8(old).ok()?)).into_bytes());
            new.extend(end);
            pieces.for_each(|rest| new.extend(rest));
            return Some(new);
        }
        new.extend(piece);
    }
    if !new.is_empty() && !new.ends_with(b"\n") {
        new.push(b'\n');
    }
    new.extend(line(None).into_bytes());
    new.push(b'\n');
    Some(new)
}

fn accounts(work: &mut Work<'_>) -> Result<Accounts> {
    Accounts::of(work.context.store, &mut work.editor)
}

fn path(text: &str) -> Result<TreePath> {
    Ok(TreePath::parse(text.as_bytes())?)
}

fn other_number(kind: &str, name: &str, old: u32, new: u32) -> OperationError {
    let what = if kind == "user" { "uid" } else { "gid" };
    let file = if kind == "user" { PASSWD } else { GROUP };
    let message = format!("has {kind} `{name}` with {what} {old} already, so it can't have {what} {new}");
    match path(file) {
        Ok(path) => type_conflict(&path, message),
        Err(error) => error,
    }
}
