//! Users and groups as a tree's own /etc/passwd and /etc/group have them.
//!
//! The files are read as programs in the tree would: through symbolic links, lines that make no sense passed over, the
//! first line of a name or number wins. `root` is 0 even where the tree has no files. Files of more than 16 MiB are
//! refused: an image can hold anything.

use super::error::{OperationError, Result};
use crate::{
    error::Error,
    spec::types::{Id, Owner},
    store::Store,
};
use rbuild_tree::{Editor, Found, FoundKind, Kind, Snapshot, TreePath};

/// Where users are.
pub const PASSWD: &str = "/etc/passwd";
/// Where groups are.
pub const GROUP: &str = "/etc/group";

/// The most bytes such a file may have.
pub const MAX_SIZE: u64 = 16 << 20;

/// A user of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The login name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its own group.
    pub gid: u32,
    /// Its home directory, as written.
    pub home: String,
    /// Its login shell, as written; may be empty.
    pub shell: String,
}

#[derive(Clone, Debug)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// The users and groups of a tree.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    users: Vec<Account>,
    groups: Vec<Group>,
}

impl Accounts {
    /// Reads them from a tree; a tree without the files has nobody but root.
    ///
    /// # Errors
    /// The store has lost something; a file is too large.
    pub fn read(store: &Store, snapshot: &Snapshot) -> Result<Self> {
        Self::of(store, &mut Editor::new(store, snapshot))
    }

    /// Reads them from a tree that is being changed.
    pub(super) fn of(store: &Store, editor: &mut Editor<'_>) -> Result<Self> {
        let mut text = |path: &str| -> Result<Vec<u8>> {
            Ok(read_file(store, editor, path)?.map(|(.., bytes)| bytes).unwrap_or_default())
        };
        let (passwd, group) = (text(PASSWD)?, text(GROUP)?);
        Ok(Self::parse(&passwd, &group))
    }

    /// Those of the two files' bytes.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        Self {
            users: lines(passwd).filter_map(user).collect(),
            groups: lines(group).filter_map(group_of).collect(),
        }
    }

    /// The user of this name or number; none if the tree has no line for it. A name `root` is always known.
    pub fn user(&self, id: &Id) -> Option<Account> {
        let found = match id {
            Id::Name(name) => self.users.iter().find(|user| user.name == *name),
            Id::Number(uid) => self.users.iter().find(|user| user.uid == *uid),
        };
        let root =
            || Account { name: "root".into(), uid: 0, gid: 0, home: "/root".into(), shell: String::new() };
        found.cloned().or_else(|| (*id == Id::Name("root".into())).then(root))
    }

    /// The number of this group; a number is its own. A name `root` is always known.
    pub fn group(&self, id: &Id) -> Option<u32> {
        match id {
            Id::Number(gid) => Some(*gid),
            Id::Name(name) => {
                let found = self.groups.iter().find(|group| group.name == *name).map(|group| group.gid);
                found.or_else(|| (name == "root").then_some(0))
            }
        }
    }

    /// The groups that list the user as a member, sorted; its own is not among them unless listed.
    pub fn supplementary_groups(&self, name: &str) -> Vec<u32> {
        let listed = self.groups.iter().filter(|group| group.members.iter().any(|member| member == name));
        let mut gids: Vec<u32> = listed.map(|group| group.gid).collect();
        gids.sort_unstable();
        gids.dedup();
        gids
    }

    /// The numbers of an owner: of a name without a group that user's own group, of a number the same number.
    ///
    /// # Errors
    /// A name the tree does not know, in words.
    pub fn resolve(&self, owner: &Owner) -> std::result::Result<(u32, u32), String> {
        let (uid, own) = match &owner.user {
            Id::Number(uid) => (*uid, *uid),
            name @ Id::Name(_) => {
                let found = self.user(name).map(|user| (user.uid, user.gid));
                found.ok_or_else(|| format!("{PASSWD} of the tree has no user `{name}`"))?
            }
        };
        let gid = match &owner.group {
            None => own,
            Some(id) => self.group(id).ok_or_else(|| format!("{GROUP} of the tree has no group `{id}`"))?,
        };
        Ok((uid, gid))
    }

    /// The name of the group with this number, if there is one.
    pub(super) fn group_name(&self, gid: u32) -> Option<&str> {
        self.groups.iter().find(|group| group.gid == gid).map(|group| group.name.as_str())
    }

    /// Whether the file has a line for this group: `root` is not invented here.
    pub(super) fn listed_group(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|group| group.name == name).map(|group| group.gid)
    }

    /// As [`Accounts::listed_group`], of a user.
    pub(super) fn listed_user(&self, name: &str) -> Option<&Account> {
        self.users.iter().find(|user| user.name == name)
    }
}

/// The real path, metadata and bytes of a small file of a tree; none if nothing is there.
pub(super) fn read_file(
    store: &Store,
    editor: &mut Editor<'_>,
    path: &str,
) -> Result<Option<(TreePath, Found, Vec<u8>)>> {
    let resolved = match editor.resolve(path.as_bytes(), true) {
        Ok(resolved) => resolved,
        // Links in a circle, or a file on the way: for a program in the tree there is no such file either.
        Err(rbuild_tree::Error::At { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(found) = resolved.found else { return Ok(None) };
    let FoundKind::Leaf(Kind::File { object, size }) = &found.kind else {
        return Err(super::work::type_conflict(
            &resolved.path,
            format_args!("is a {}, not a file", found.word()),
        ));
    };
    if *size > MAX_SIZE {
        let reason = format_args!("is larger than {} MiB: it is no list of accounts", MAX_SIZE >> 20);
        return Err(super::work::type_conflict(&resolved.path, reason));
    }
    let bytes = store.read_object(object).map_err(|cause| missing_object(&resolved.path, cause))?;
    Ok(Some((resolved.path, found, bytes)))
}

/// The bytes of a file of a tree are gone from the store: a miss, to be planned again.
pub(super) fn missing_object(path: &TreePath, cause: std::io::Error) -> OperationError {
    let error = Error::environment(format!("the content of {path} is missing from the store"));
    error.coded(crate::convert::STORE_DAMAGED).caused_by(cause).into()
}

fn lines(text: &[u8]) -> impl Iterator<Item = Vec<String>> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .map(|line| String::from_utf8_lossy(line).split(':').map(str::to_owned).collect())
}

fn user(fields: Vec<String>) -> Option<Account> {
    let [name, _, uid, gid, _, home, shell] = <[String; 7]>::try_from(fields).ok()?;
    Some(Account { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home, shell })
}

fn group_of(fields: Vec<String>) -> Option<Group> {
    let [name, _, gid, members] = <[String; 4]>::try_from(fields).ok()?;
    let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect();
    Some(Group { name, gid: gid.parse().ok()?, members })
}
