//! ACLs, whose ids the kernel would refuse or show as nobody's. They are data in the overlay; the kernel hardly looks at
//! them, since everything is its only user's.

use crate::{
    Caller, Files, Supervisor,
    owners::to_own,
    resolve::{Name, look},
    table::{Owned, OwnerTable},
    upper::own,
};
use rbuild_overlay::{Caller as Setter, Errno, NodeId, Overlay, fuse::Notifier, ops::acl};
use rbuild_sandbox::notify::{Answer, Call};
use rustix::{
    fs::{AtFlags, Statx, XattrFlags, setxattr},
    io::fcntl_dupfd_cloexec,
    process::{getegid, geteuid},
};
use std::os::fd::OwnedFd;

/// Names that are about ACLs (acl(5)).
const PREFIX: &[u8] = b"system.posix_acl_";

/// Tags of entries that name somebody.
const USER: u8 = 2;
const GROUP: u8 = 8;

/// The kernel's XATTR_SIZE_MAX.
const LARGEST: usize = 65_536;

impl Supervisor {
    /// The families of setxattr(2) and getxattr(2); what is not about ACLs of the overlays is left to the kernel.
    pub(crate) fn attribute(&self, caller: &Caller<'_>) -> Answer {
        match self.acl(caller) {
            Ok(Some(value)) => Answer::Value(value),
            Ok(None) => Answer::Continue,
            Err(errno) => Answer::Error(errno.raw_os_error()),
        }
    }

    fn acl(&self, caller: &Caller<'_>) -> Result<Option<i64>, Errno> {
        let name = caller.path(caller.address(1))?;
        if !name.starts_with(PREFIX) {
            return Ok(None);
        }
        let (file, action) = file(caller)?;
        let file = file.open(caller.pid())?;
        let stat = look(&file, AtFlags::empty(), self.needed)?;
        let is_link = u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFLNK;
        let Some(mounted) = self.mount(&stat).filter(|_| !is_link) else { return Ok(None) };
        let size = usize::try_from(caller.address(3)).unwrap_or(usize::MAX);
        if action == Action::Set && size > LARGEST {
            return Err(Errno::TOOBIG);
        }
        // That is how an ACL is taken away, and needs no ids.
        let action = if action == Action::Set && size == 0 { Action::Remove } else { action };
        let id = NodeId(stat.stx_ino);
        match (&mounted.files, action) {
            (Files::Served { .. }, Action::Remove) => Ok(None),
            (Files::Served { overlay, notifier }, Action::Set) => {
                self.set(caller, (overlay, notifier), id, &name, size).map(|()| Some(0))
            }
            (Files::Served { overlay, .. }, Action::Get) => {
                tell(caller, &overlay.getxattr(id, &name)?).map(Some)
            }
            (Files::Kernel(table), _) => {
                let owned = mounted.owned(&stat, || fcntl_dupfd_cloexec(&file, 0))?.unwrap_or_default();
                match (action, owned.acls.get(&name[..])) {
                    (Action::Set, _) => self.set_beside(caller, (table, file, owned), (&stat, &name), size),
                    (Action::Get, Some(value)) => {
                        tell(caller, &in_effect(&name, value, stat.stx_mode.into())).map(Some)
                    }
                    (Action::Remove, Some(_)) => {
                        caller.still_waits()?;
                        // The copy of the file is what is known to the table.
                        to_own(&file)?;
                        table.set(file, &without(owned, &name))?;
                        Ok(None)
                    }
                    (_, None) => Ok(None),
                }
            }
        }
    }

    /// Sets an ACL of a file of the kernel's, which gets what it can keep; the table the whole, if it names others.
    fn set_beside(
        &self,
        caller: &Caller<'_>,
        (table, file, mut owned): (&OwnerTable, OwnedFd, Owned),
        (stat, name): (&Statx, &[u8]),
        size: usize,
    ) -> Result<Option<i64>, Errno> {
        let value = caller.memory()?.read(caller.address(2), size)?;
        let who = self.credentials(caller);
        if !who.is_privileged() && who.user.filesystem != owned.uid {
            return Err(Errno::PERM);
        }
        if !names_others(name, &value) {
            if owned.acls.contains_key(name) {
                caller.still_waits()?;
                table.set(file, &without(owned, name))?;
            }
            return Ok(None);
        }
        let is_directory = u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFDIR;
        match name {
            _ if !acl::is_valid(&value) => return Err(Errno::INVAL),
            acl::DEFAULT if !is_directory => return Err(Errno::ACCESS),
            _ => {}
        }
        caller.still_waits()?;
        if name == acl::ACCESS {
            // It has the mode follow.
            setxattr(own(&file), name, &without_others(&value), XattrFlags::empty())?;
        } else {
            to_own(&file)?;
        }
        owned.acls.insert(name.into(), value.into());
        table.set(file, &owned)?;
        Ok(Some(0))
    }

    fn set(
        &self,
        caller: &Caller<'_>,
        (overlay, notifier): (&Overlay, &Notifier),
        id: NodeId,
        name: &[u8],
        size: usize,
    ) -> Result<(), Errno> {
        let who = self.credentials(caller);
        if !who.is_privileged() && who.user.filesystem != overlay.owner(id)?.0 {
            return Err(Errno::PERM);
        }
        let value = caller.memory()?.read(caller.address(2), size)?;
        let (uid, gid, pid) = (who.user.filesystem, who.group.filesystem, caller.pid());
        let setter = Setter { uid, gid, umask: 0, pid };
        caller.still_waits()?;
        overlay.setxattr(id, name, &value, caller.number(4), &setter)?;
        // The mode may be another now.
        notifier.forget_attributes(id)
    }
}

/// What a call does with an attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Set,
    Get,
    Remove,
}

/// Whose attribute a call is about, and what it does with it.
fn file(caller: &Caller<'_>) -> Result<(Name, Action), Errno> {
    let action = match caller.notification.call {
        Call::Setxattr | Call::Lsetxattr | Call::Fsetxattr => Action::Set,
        Call::Getxattr | Call::Lgetxattr | Call::Fgetxattr => Action::Get,
        _ => Action::Remove,
    };
    let name = match caller.notification.call {
        Call::Setxattr | Call::Getxattr | Call::Removexattr => Name::at(caller, 0, true)?,
        Call::Lsetxattr | Call::Lgetxattr | Call::Lremovexattr => Name::at(caller, 0, false)?,
        _ => Name::of_descriptor(caller, 0),
    };
    Ok((name, action))
}

/// Tells an ACL: its size, and the value if there is room.
fn tell(caller: &Caller<'_>, value: &[u8]) -> Result<i64, Errno> {
    let room = usize::try_from(caller.address(3)).unwrap_or(usize::MAX);
    if room > 0 {
        if value.len() > room {
            return Err(Errno::RANGE);
        }
        caller.memory()?.write(caller.address(2), value)?;
    }
    i64::try_from(value.len()).map_err(|_| Errno::RANGE)
}

/// An ACL that the table keeps, of a file with this mode.
pub(crate) fn in_effect(name: &[u8], value: &[u8], mode: u32) -> Box<[u8]> {
    if name == acl::ACCESS { acl::with_mode(value, mode) } else { value.into() }
}

fn without(mut owned: Owned, name: &[u8]) -> Owned {
    owned.acls.remove(name);
    owned
}

/// What the kernel can keep of an ACL: its ids are this machine's.
fn without_others(value: &[u8]) -> Vec<u8> {
    let (version, entries) = value.split_at(4);
    let (entries, _) = entries.as_chunks::<8>();
    let kept = entries.iter().filter(|entry| !is_other(entry)).flat_map(|&entry| {
        let [tag, high, low, more, id @ ..] = entry;
        let id = match tag {
            USER => geteuid().as_raw().to_le_bytes(),
            GROUP => getegid().as_raw().to_le_bytes(),
            _ => id,
        };
        [tag, high, low, more].into_iter().chain(id)
    });
    version.iter().copied().chain(kept).collect()
}

/// Whether an attribute is an ACL that names somebody else than root (linux/posix_acl_xattr.h).
pub(crate) fn names_others(name: &[u8], value: &[u8]) -> bool {
    name.starts_with(PREFIX) && value.get(4..).unwrap_or_default().as_chunks().0.iter().any(is_other)
}

/// Whether an entry is about a user or group that is not root's: tag, permissions, id.
fn is_other(&[tag, _, _, _, id @ ..]: &[u8; 8]) -> bool {
    [USER, GROUP].contains(&tag) && id != [0; 4]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_others_is_kept_beside() {
        let entry = |tag: u8, id: u32| [&[tag, 0, 4, 0][..], &id.to_le_bytes()].concat();
        let value = |entries: &[Vec<u8>]| [&[2, 0, 0, 0][..], &entries.concat()].concat();
        let plain = value(&[entry(1, u32::MAX), entry(USER, 0), entry(4, u32::MAX), entry(32, u32::MAX)]);
        let other = value(&[entry(1, u32::MAX), entry(USER, 88), entry(GROUP, 7), entry(4, u32::MAX)]);
        assert!(!names_others(acl::ACCESS, &plain) && names_others(acl::ACCESS, &other));
        assert!(!names_others(b"user.x", &other) && !names_others(acl::DEFAULT, b""));
        assert_eq!(without_others(&other), value(&[entry(1, u32::MAX), entry(4, u32::MAX)]));
        let own = entry(USER, geteuid().as_raw());
        assert_eq!(
            without_others(&plain),
            value(&[entry(1, u32::MAX), own, entry(4, u32::MAX), entry(32, u32::MAX)])
        );
    }
}
