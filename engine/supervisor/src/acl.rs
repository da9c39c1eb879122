//! ACLs, whose ids the kernel would refuse or show as nobody's. They are data in the overlay; the kernel hardly looks at
//! them, since everything is its only user's.

use crate::{
    Caller, Mounted, Supervisor,
    resolve::{Name, look},
};
use rbuild_overlay::{Caller as Setter, Errno, NodeId};
use rbuild_sandbox::notify::{Answer, Call};
use rustix::fs::{AtFlags, StatxFlags};

/// Names that are about ACLs (acl(5)).
const PREFIX: &[u8] = b"system.posix_acl_";

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
        let name = caller.memory()?.path(caller.address(1))?;
        if !name.starts_with(PREFIX) {
            return Ok(None);
        }
        let (file, sets) = file(caller)?;
        let stat = look(&file.open(caller.pid())?, AtFlags::empty(), StatxFlags::TYPE | StatxFlags::INO)?;
        let is_link = u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFLNK;
        let Some(mounted) = self.mount(&stat).filter(|_| !is_link) else { return Ok(None) };
        let id = NodeId(stat.stx_ino);
        let size = usize::try_from(caller.address(3)).unwrap_or(usize::MAX);
        match sets {
            // That is how an ACL is taken away, and needs no ids.
            true if size == 0 => Ok(None),
            true if size > LARGEST => Err(Errno::TOOBIG),
            true => self.set(caller, mounted, id, &name, size).map(|()| Some(0)),
            false => tell(caller, mounted, id, &name, size),
        }
    }

    fn set(
        &self,
        caller: &Caller<'_>,
        to: &Mounted,
        id: NodeId,
        name: &[u8],
        size: usize,
    ) -> Result<(), Errno> {
        let who = self.credentials(caller);
        if !who.is_privileged() && who.user.filesystem != to.overlay.owner(id)?.0 {
            return Err(Errno::PERM);
        }
        let value = caller.memory()?.read(caller.address(2), size)?;
        let (uid, gid, pid) = (who.user.filesystem, who.group.filesystem, caller.pid());
        let setter = Setter { uid, gid, umask: 0, pid };
        caller.still_waits()?;
        to.overlay.setxattr(id, name, &value, caller.number(4), &setter)?;
        // The mode may be another now.
        to.notifier.forget_attributes(id)
    }
}

/// Whose attribute a call is about, and whether it sets it.
fn file(caller: &Caller<'_>) -> Result<(Name, bool), Errno> {
    Ok(match caller.notification.call {
        Call::Setxattr => (Name::at(caller, 0, true)?, true),
        Call::Lsetxattr => (Name::at(caller, 0, false)?, true),
        Call::Fsetxattr => (Name::of_descriptor(caller, 0), true),
        Call::Getxattr => (Name::at(caller, 0, true)?, false),
        Call::Lgetxattr => (Name::at(caller, 0, false)?, false),
        _ => (Name::of_descriptor(caller, 0), false),
    })
}

/// Tells an ACL: its size, and the value if there is room.
fn tell(
    caller: &Caller<'_>,
    of: &Mounted,
    id: NodeId,
    name: &[u8],
    room: usize,
) -> Result<Option<i64>, Errno> {
    let value = of.overlay.getxattr(id, name)?;
    if room > 0 {
        if value.len() > room {
            return Err(Errno::RANGE);
        }
        caller.memory()?.write(caller.address(2), &value)?;
    }
    Ok(i64::try_from(value.len()).ok())
}
