//! Owners: the calls that give a file away, those that show whose it is, and those that would have it forgotten.

use crate::{
    Caller, Credentials, Files, Mounted, Supervisor,
    layout::Layout,
    resolve::{Name, look},
    table::Owned,
};
use rbuild_overlay::{Errno, NodeId, ops::SetAttributes};
use rbuild_sandbox::notify::{Answer, Call, Form};
use rustix::{
    fs::{AtFlags, Statx, StatxFlags, chownat},
    io::fcntl_dupfd_cloexec,
    process::{getegid, geteuid},
};
use std::os::fd::OwnedFd;

/// An argument that leaves an owner as it is.
const UNCHANGED: u32 = u32::MAX;

/// AT_STATX_FORCE_SYNC and AT_STATX_DONT_SYNC.
const SYNC: u32 = 0x6000;

/// AT_NO_AUTOMOUNT, which is of no consequence here.
const NO_AUTOMOUNT: u32 = 0x800;

impl Supervisor {
    /// The chown family.
    pub(crate) fn give(&self, caller: &Caller<'_>) -> Result<i64, Errno> {
        let (name, first) = given(caller)?;
        let [uid, gid] = [first, first + 1].map(|at| Some(caller.id(at)).filter(|id| *id != UNCHANGED));
        let file = name.open(caller.pid())?;
        let stat = look(&file, AtFlags::empty(), self.needed)?;
        let Some(mounted) = self.mount(&stat) else { return Ok(0) };
        let old = mounted.owned(&stat, || fcntl_dupfd_cloexec(&file, 0))?;
        let known = old.clone().unwrap_or_default();
        check(&self.credentials(caller), (known.uid, known.gid), uid, gid)?;
        caller.still_waits()?;
        match &mounted.files {
            Files::Served { overlay, .. } => {
                let set = SetAttributes { uid, gid, ..SetAttributes::default() };
                overlay.setattr(NodeId(stat.stx_ino), &set, &rbuild_overlay::Caller::default())?;
                to_own(&file)?;
            }
            Files::Kernel(table) => {
                to_own(&file)?;
                let new = Owned { uid: uid.unwrap_or(known.uid), gid: gid.unwrap_or(known.gid), ..known };
                if old.is_some() || new != Owned::default() {
                    table.set(file, &new)?;
                }
            }
        }
        Ok(0)
    }

    /// The stat family: answered here where the kernel does not know the owner, and whatever goes wrong is left to it.
    pub(crate) fn show(&self, caller: &Caller<'_>) -> Answer {
        match self.shown(caller) {
            Ok(true) => Answer::Value(0),
            Ok(false) | Err(_) => Answer::Continue,
        }
    }

    /// Whether it was answered.
    fn shown(&self, caller: &Caller<'_>) -> Result<bool, Errno> {
        let shown = Shown::of(caller)?;
        let mut stat = shown.name.look(caller.pid(), shown.flags, shown.mask | self.needed)?;
        let owned = match self.mount(&stat) {
            Some(mounted) => mounted.owned(&stat, || shown.name.open(caller.pid()))?,
            // Of this machine's ids a sandbox has one; all others would be 65534.
            None if (stat.stx_uid, stat.stx_gid) != (geteuid().as_raw(), getegid().as_raw()) => {
                Some(Owned::default())
            }
            None => None,
        };
        let Some(owned) = owned else { return Ok(false) };
        owned.show(&mut stat);
        caller.memory()?.write(shown.buffer, &shown.layout.bytes(&stat))?;
        Ok(true)
    }

    /// Calls that set times, of which one is what a copy would be known by; they are the kernel's.
    pub(crate) fn touch(&self, caller: &Caller<'_>) -> Answer {
        // What can't be found is not there for the kernel either.
        let _ = self.recognise(caller);
        Answer::Continue
    }

    fn recognise(&self, caller: &Caller<'_>) -> Result<(), Errno> {
        let file = touched(caller)?.open(caller.pid())?;
        let stat = look(&file, AtFlags::empty(), self.needed | StatxFlags::MTIME)?;
        match self.mount(&stat).map(|mounted| &mounted.files) {
            Some(Files::Kernel(table)) => {
                caller.still_waits()?;
                table.recognise(file, &stat)
            }
            _ => Ok(()),
        }
    }

    /// The filesystem that a file is of.
    pub(crate) fn mount(&self, stat: &Statx) -> Option<&Mounted> {
        self.mounts.get(&rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor))
    }
}

/// Gives a file to whom it belongs for the kernel already, so that it forgets set-id bits and times that it remembers.
pub(crate) fn to_own(file: &OwnedFd) -> Result<(), Errno> {
    chownat(file, "", Some(geteuid()), Some(getegid()), AtFlags::EMPTY_PATH)
}

/// What a call gives away, and which argument is the new owner; the group follows.
fn given(caller: &Caller<'_>) -> Result<(Name, usize), Errno> {
    Ok(match caller.notification.call {
        Call::Chown => (Name::at(caller, 0, true)?, 1),
        Call::Lchown => (Name::at(caller, 0, false)?, 1),
        Call::Fchown => (Name::of_descriptor(caller, 0), 1),
        _ => {
            let flags = AtFlags::from_bits_retain(caller.number(4));
            if !(AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH).contains(flags) {
                return Err(Errno::INVAL);
            }
            (Name::behind(caller, 0, flags)?, 2)
        }
    })
}

/// What a call sets times of.
fn touched(caller: &Caller<'_>) -> Result<Name, Errno> {
    match caller.notification.call {
        Call::Utime | Call::Utimes => Name::at(caller, 0, true),
        // Without a path it is the descriptor itself.
        _ if caller.address(1) == 0 => Ok(Name::of_descriptor(caller, 0)),
        Call::Futimesat => Name::behind(caller, 0, AtFlags::empty()),
        _ => Name::behind(caller, 0, AtFlags::from_bits_retain(caller.number(3))),
    }
}

/// Whether a process may give a file that belongs to `owner` to these.
fn check(who: &Credentials, owner: (u32, u32), uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    if who.is_privileged() {
        return Ok(());
    }
    let is_owner = who.user.filesystem == owner.0;
    let keeps_user = uid.is_none_or(|uid| is_owner && uid == owner.0);
    let takes_group = gid.is_none_or(|gid| is_owner && (gid == owner.1 || who.is_in_group(gid)));
    if keeps_user && takes_group { Ok(()) } else { Err(Errno::PERM) }
}

/// Flags of a call of the stat family; what the kernel says to others is its affair.
fn known(flags: u32) -> Result<AtFlags, Errno> {
    let named = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let is_known = flags & !(named.bits() | NO_AUTOMOUNT | SYNC) == 0;
    is_known.then(|| AtFlags::from_bits_retain(flags)).ok_or(Errno::INVAL)
}

/// What a call of the stat family wants.
pub(crate) struct Shown {
    name: Name,
    pub(crate) flags: AtFlags,
    pub(crate) mask: StatxFlags,
    pub(crate) layout: Layout,
    pub(crate) buffer: u64,
}

impl Shown {
    pub(crate) fn of(caller: &Caller<'_>) -> Result<Self, Errno> {
        let is_native = caller.notification.form == Form::Native;
        let plain = |name, buffer| Self {
            name,
            flags: AtFlags::empty(),
            mask: StatxFlags::BASIC_STATS,
            layout: if is_native { Layout::Stat } else { Layout::Stat64 },
            buffer: caller.address(buffer),
        };
        Ok(match caller.notification.call {
            Call::Stat => plain(Name::at(caller, 0, true)?, 1),
            Call::Lstat => plain(Name::at(caller, 0, false)?, 1),
            Call::Fstat => plain(Name::of_descriptor(caller, 0), 1),
            Call::Newfstatat => {
                let flags = known(caller.number(3))?;
                plain(Name::behind(caller, 0, flags)?, 2)
            }
            _ => {
                let flags = known(caller.number(2))?;
                Self {
                    name: Name::behind(caller, 0, flags)?,
                    flags: AtFlags::from_bits_retain(flags.bits() & SYNC),
                    mask: StatxFlags::from_bits_retain(caller.number(3)),
                    layout: Layout::Statx,
                    buffer: caller.address(4),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_owner_gives_to_own_groups_only() {
        let mut user = Credentials::root();
        user.set_groups(vec![27]).unwrap();
        user.set_group(1001).unwrap();
        user.set_user(1000).unwrap();
        let (own, other) = ((1000, 50), (0, 0));
        for (file, uid, gid, expected) in [
            (own, None, None, true),
            (own, Some(1000), Some(50), true),
            (own, None, Some(27), true),
            (own, None, Some(1001), true),
            (own, None, Some(28), false),
            (own, Some(0), None, false),
            (other, None, Some(27), false),
            (other, Some(1000), None, false),
            (other, None, None, true),
        ] {
            assert_eq!(check(&user, file, uid, gid).is_ok(), expected, "{uid:?} {gid:?}");
            assert_eq!(check(&Credentials::root(), file, uid, gid), Ok(()));
        }
    }
}
