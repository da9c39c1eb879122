//! The calls that tell and change what a process takes itself for.

use crate::{Caller, Credentials, Ids, Supervisor, credentials::Program};
use rbuild_overlay::Errno;
use rbuild_sandbox::notify::{Answer, Call};

/// CAP_CHOWN, CAP_SETGID and CAP_SETUID: whoever has one of them counts as privileged.
const PRIVILEGE: u32 = 1 << 0 | 1 << 6 | 1 << 7;

/// The versions of capset(2)'s structures (linux/capability.h). All begin with the lower half of the effective and of the
/// permitted set.
const CAPABILITY_VERSIONS: [u32; 3] = [0x1998_0330, 0x2007_1026, 0x2008_0522];

impl Supervisor {
    /// Everything of this module but what is about capabilities.
    pub(crate) fn identify(&self, caller: &Caller<'_>) -> Result<i64, Errno> {
        let old = self.credentials(caller);
        let told = |id: u32| Ok(i64::from(caller.told(id)));
        let three = |ids: Ids| tell_three(caller, ids);
        match caller.notification.call {
            Call::Getuid => return told(old.user.real),
            Call::Geteuid => return told(old.user.effective),
            Call::Getgid => return told(old.group.real),
            Call::Getegid => return told(old.group.effective),
            Call::Getresuid => return three(old.user),
            Call::Getresgid => return three(old.group),
            Call::Getgroups => return tell_groups(caller, &old.groups),
            _ => {}
        }
        let mut new = old.clone();
        let result = change(caller, &mut new)?;
        if new != old {
            self.keep(caller, new)?;
        }
        Ok(result)
    }

    /// prctl(2) and capset(2): the kernel does them, and they are remembered.
    pub(crate) fn change_capabilities(&self, caller: &Caller<'_>) -> Answer {
        let old = self.credentials(caller);
        let mut new = old.clone();
        let changed = match caller.notification.call {
            Call::Capset => set_capabilities(caller, &mut new),
            _ => {
                let value = caller.address(1);
                let program = program(caller.pid());
                match caller.number(0).cast_signed() {
                    libc::PR_SET_KEEPCAPS if value <= 1 => new.set_keep(value == 1, program),
                    libc::PR_SET_SECUREBITS => new.set_secure_bits(value, program),
                    _ => {}
                }
                Ok(())
            }
        };
        let kept = changed.and_then(|()| if new == old { Ok(()) } else { self.keep(caller, new) });
        kept.map_or_else(|errno| Answer::Error(errno.raw_os_error()), |()| Answer::Continue)
    }

    /// What the caller takes itself for; after another program was begun, what is left of it.
    pub(crate) fn credentials(&self, caller: &Caller<'_>) -> Credentials {
        let mut credentials = (*self.tokens.of(caller.pid())).clone();
        if let Some(old) = credentials.program() {
            let now = program(caller.pid());
            if Some(old) != now.as_ref() {
                credentials.begin_program(now);
            }
        }
        credentials
    }

    fn keep(&self, caller: &Caller<'_>, credentials: Credentials) -> Result<(), Errno> {
        caller.still_waits()?;
        self.tokens.set(caller.pid(), credentials)
    }
}

/// Which program a process runs: its auxiliary vector, whose addresses are other ones after each execve(2).
fn program(pid: u32) -> Option<Program> {
    Some(std::fs::read(format!("/proc/{pid}/auxv")).ok()?.into())
}

/// Carries out a call that changes ids; what it returns.
fn change(caller: &Caller<'_>, new: &mut Credentials) -> Result<i64, Errno> {
    let id = |at| caller.id(at);
    let three = || [id(0), id(1), id(2)];
    match caller.notification.call {
        Call::Setuid => new.set_user(id(0))?,
        Call::Setgid => new.set_group(id(0))?,
        Call::Setreuid => new.set_two_users(id(0), id(1))?,
        Call::Setregid => new.set_two_groups(id(0), id(1))?,
        Call::Setresuid => new.set_three_users(three())?,
        Call::Setresgid => new.set_three_groups(three())?,
        Call::Setfsuid => return Ok(caller.told(new.set_filesystem_user(id(0))).into()),
        Call::Setfsgid => return Ok(caller.told(new.set_filesystem_group(id(0))).into()),
        Call::Setgroups => {
            let count = usize::try_from(caller.number(0)).map_err(|_| Errno::INVAL)?;
            new.check_groups(count)?;
            let groups = if count == 0 { Vec::new() } else { caller.ids(caller.address(1), count)? };
            new.set_groups(groups)?;
        }
        _ => return Err(Errno::NOSYS),
    }
    Ok(0)
}

fn tell_three(caller: &Caller<'_>, ids: Ids) -> Result<i64, Errno> {
    let memory = caller.memory()?;
    for (at, id) in [ids.real, ids.effective, ids.saved].into_iter().enumerate() {
        memory.write(caller.address(at), &caller.bytes(&[id]))?;
    }
    Ok(0)
}

fn tell_groups(caller: &Caller<'_>, groups: &[u32]) -> Result<i64, Errno> {
    let room = usize::try_from(caller.number(0).cast_signed()).map_err(|_| Errno::INVAL)?;
    if room > 0 {
        if groups.len() > room {
            return Err(Errno::INVAL);
        }
        caller.memory()?.write(caller.address(1), &caller.bytes(groups))?;
    }
    i64::try_from(groups.len()).map_err(|_| Errno::INVAL)
}

/// What capset(2) is about to set, as far as it matters here.
fn set_capabilities(caller: &Caller<'_>, new: &mut Credentials) -> Result<(), Errno> {
    let memory = caller.memory()?;
    let version = memory.numbers(caller.address(0), 1)?[0];
    if CAPABILITY_VERSIONS.contains(&version) {
        let sets = memory.numbers(caller.address(1), 2)?;
        let [effective, permitted] = [sets[0], sets[1]].map(|set| set & PRIVILEGE != 0);
        new.set_capabilities(permitted, effective);
    }
    Ok(())
}
