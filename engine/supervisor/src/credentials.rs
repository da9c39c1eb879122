//! What a process takes itself for, and the rules by which it may change that: those of Linux (credentials(7); the
//! kernel's `kernel/sys.c`, `kernel/groups.c` and `security/commoncap.c`), exactly.
//!
//! Of the capabilities only the privilege to change ids and owners is kept, as one.

use rustix::io::Errno;
use std::sync::Arc;

/// What tells one run of a program from another, also of the same one.
pub type Program = Arc<[u8]>;

/// An argument that means "leave it as it is"; no id.
pub const UNCHANGED: u32 = u32::MAX;

/// The kernel's NGROUPS_MAX.
const MOST_GROUPS: usize = 65_536;

/// SECBIT_NO_SETUID_FIXUP and SECBIT_KEEP_CAPS of linux/securebits.h.
const NO_FIXUP: u64 = 1 << 2;
const KEEP: u64 = 1 << 4;

/// The user or the group ids of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ids {
    /// Who started it.
    pub real: u32,
    /// Who it acts as.
    pub effective: u32,
    /// Who it may become again.
    pub saved: u32,
    /// Who it is for filesystems.
    pub filesystem: u32,
}

impl Ids {
    const fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, filesystem: id }
    }

    /// Whether an unprivileged process may choose this one.
    fn has(&self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// setuid(2), setgid(2).
    fn set(&mut self, id: u32, privileged: bool) -> Result<(), Errno> {
        if id == UNCHANGED {
            return Err(Errno::INVAL);
        }
        if privileged {
            *self = Self::all(id);
        } else if id == self.real || id == self.saved {
            (self.effective, self.filesystem) = (id, id);
        } else {
            return Err(Errno::PERM);
        }
        Ok(())
    }

    /// setreuid(2), setregid(2).
    fn set_two(&mut self, real: u32, effective: u32, privileged: bool) -> Result<(), Errno> {
        let old = *self;
        let may_real = [UNCHANGED, old.real, old.effective].contains(&real);
        let may_effective = effective == UNCHANGED || old.has(effective);
        let is_allowed = privileged || may_real && may_effective;
        if !is_allowed {
            return Err(Errno::PERM);
        }
        self.real = chosen(real, old.real);
        self.effective = chosen(effective, old.effective);
        if real != UNCHANGED || effective != UNCHANGED && effective != old.real {
            self.saved = self.effective;
        }
        self.filesystem = self.effective;
        Ok(())
    }

    /// setresuid(2), setresgid(2).
    fn set_three(&mut self, ids: [u32; 3], privileged: bool) -> Result<(), Errno> {
        let old = *self;
        if !privileged && ids.iter().any(|id| *id != UNCHANGED && !old.has(*id)) {
            return Err(Errno::PERM);
        }
        let [real, effective, saved] = ids;
        self.real = chosen(real, old.real);
        self.effective = chosen(effective, old.effective);
        self.saved = chosen(saved, old.saved);
        self.filesystem = self.effective;
        Ok(())
    }

    /// setfsuid(2), setfsgid(2): the former one, whether it was changed or not.
    fn set_filesystem(&mut self, id: u32, privileged: bool) -> u32 {
        let former = self.filesystem;
        if id != UNCHANGED && (privileged || self.has(id) || id == former) {
            self.filesystem = id;
        }
        former
    }
}

fn chosen(wanted: u32, old: u32) -> u32 {
    if wanted == UNCHANGED { old } else { wanted }
}

/// Everything of a process that the kernel can't keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Users.
    pub user: Ids,
    /// Groups.
    pub group: Ids,
    /// Supplementary groups, sorted.
    pub groups: Vec<u32>,
    /// Whether it may have the privilege, and whether it has it.
    permitted: bool,
    effective: bool,
    /// Whether it keeps its capabilities when it ceases to be root.
    keep: bool,
    /// Whether changes of users leave capabilities alone.
    no_fixup: bool,
    /// The program that has more than its ids give, or may come to it: the next one has not.
    program: Option<Program>,
}

impl Credentials {
    /// Those of a command that begins.
    pub fn root() -> Self {
        Self {
            user: Ids::all(0),
            group: Ids::all(0),
            groups: Vec::new(),
            permitted: true,
            effective: true,
            keep: false,
            no_fixup: false,
            program: None,
        }
    }

    /// Whether it may change ids and owners as it likes.
    pub fn is_privileged(&self) -> bool {
        self.effective
    }

    /// Whether a group is its own.
    pub fn is_in_group(&self, group: u32) -> bool {
        self.group.filesystem == group || self.groups.binary_search(&group).is_ok()
    }

    /// setuid(2).
    ///
    /// # Errors
    /// EPERM; EINVAL for what is no id.
    pub fn set_user(&mut self, id: u32) -> Result<(), Errno> {
        self.change_user(|user, privileged| user.set(id, privileged))
    }

    /// setreuid(2).
    ///
    /// # Errors
    /// EPERM.
    pub fn set_two_users(&mut self, real: u32, effective: u32) -> Result<(), Errno> {
        self.change_user(|user, privileged| user.set_two(real, effective, privileged))
    }

    /// setresuid(2).
    ///
    /// # Errors
    /// EPERM.
    pub fn set_three_users(&mut self, ids: [u32; 3]) -> Result<(), Errno> {
        self.change_user(|user, privileged| user.set_three(ids, privileged))
    }

    /// setfsuid(2).
    pub fn set_filesystem_user(&mut self, id: u32) -> u32 {
        self.user.set_filesystem(id, self.effective)
    }

    /// setgid(2).
    ///
    /// # Errors
    /// EPERM; EINVAL for what is no id.
    pub fn set_group(&mut self, id: u32) -> Result<(), Errno> {
        self.group.set(id, self.effective)
    }

    /// setregid(2).
    ///
    /// # Errors
    /// EPERM.
    pub fn set_two_groups(&mut self, real: u32, effective: u32) -> Result<(), Errno> {
        self.group.set_two(real, effective, self.effective)
    }

    /// setresgid(2).
    ///
    /// # Errors
    /// EPERM.
    pub fn set_three_groups(&mut self, ids: [u32; 3]) -> Result<(), Errno> {
        self.group.set_three(ids, self.effective)
    }

    /// setfsgid(2).
    pub fn set_filesystem_group(&mut self, id: u32) -> u32 {
        self.group.set_filesystem(id, self.effective)
    }

    /// Whether setgroups(2) may set this many groups.
    ///
    /// # Errors
    /// EPERM, EINVAL.
    pub fn check_groups(&self, count: usize) -> Result<(), Errno> {
        match count {
            _ if !self.effective => Err(Errno::PERM),
            0..=MOST_GROUPS => Ok(()),
            _ => Err(Errno::INVAL),
        }
    }

    /// setgroups(2).
    ///
    /// # Errors
    /// As [`check_groups`](Self::check_groups); EINVAL for what is no id.
    pub fn set_groups(&mut self, mut groups: Vec<u32>) -> Result<(), Errno> {
        self.check_groups(groups.len())?;
        if groups.contains(&UNCHANGED) {
            return Err(Errno::INVAL);
        }
        groups.sort_unstable();
        self.groups = groups;
        Ok(())
    }

    /// prctl(2) with PR_SET_KEEPCAPS, by this program.
    pub fn set_keep(&mut self, keep: bool, program: Option<Program>) {
        self.keep = keep;
        let depends = keep || self.no_fixup || (self.permitted, self.effective) != self.of_ids();
        self.program = program.filter(|_| depends);
    }

    /// prctl(2) with PR_SET_SECUREBITS, by this program.
    pub fn set_secure_bits(&mut self, bits: u64, program: Option<Program>) {
        self.no_fixup = bits & NO_FIXUP != 0;
        self.set_keep(bits & KEEP != 0, program);
    }

    /// capset(2) with these of the capabilities for ids and owners. What the process does not have it does not get, but
    /// may ask for: capget(2) shows it.
    pub fn set_capabilities(&mut self, permitted: bool, effective: bool) {
        self.permitted &= permitted;
        self.effective = effective && self.permitted;
    }

    /// Whether it depends on which program runs.
    pub fn program(&self) -> Option<&Program> {
        self.program.as_ref()
    }

    /// Another program than the one that kept its capabilities runs now, as after execve(2).
    pub fn begin_program(&mut self, program: Option<Program>) {
        let ids = self.user;
        (self.user.saved, self.user.filesystem) = (ids.effective, ids.effective);
        (self.group.saved, self.group.filesystem) = (self.group.effective, self.group.effective);
        (self.permitted, self.effective) = self.of_ids();
        self.set_keep(false, program);
    }

    /// What a program that begins may have, and has, of the privilege.
    fn of_ids(&self) -> (bool, bool) {
        (self.user.effective == 0 || self.user.real == 0, self.user.effective == 0)
    }

    /// A change of users, and what it does to capabilities.
    fn change_user(&mut self, change: impl FnOnce(&mut Ids, bool) -> Result<(), Errno>) -> Result<(), Errno> {
        let old = self.user;
        change(&mut self.user, self.effective)?;
        if self.no_fixup {
            return Ok(());
        }
        let new = self.user;
        if old.has(0) && !new.has(0) && !self.keep {
            self.permitted = false;
        }
        if old.effective == 0 && new.effective != 0 {
            self.effective = false;
        }
        if old.effective != 0 && new.effective == 0 {
            self.effective = self.permitted;
        }
        self.effective &= self.permitted;
        Ok(())
    }
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
