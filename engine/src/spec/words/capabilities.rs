//! File capabilities in the text form of setcap(8): `"cap_net_bind_service,cap_net_raw+ep"`.
//!
//! Only what a file can hold is taken: the effective set of a file is one bit, so it is empty or all of the others.

use super::{Refusal, Word};
use std::fmt;

/// Names by number, as of Linux 5.9.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

const REVISION_2: u32 = 0x0200_0000;
const EFFECTIVE: u32 = 1;

/// The capabilities of a file, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// What the program gets.
    pub permitted: u64,
    /// What it may take over from the one who starts it.
    pub inheritable: u64,
    /// Whether what it gets is in force at once.
    pub effective: bool,
}

impl fmt::Display for Capabilities {
    /// As it could have been written; nothing for the empty set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut clauses = Vec::new();
        for (number, name) in NAMES.iter().enumerate() {
            let has = |set: u64| set >> number & 1 == 1;
            let flags = [(self.effective, 'e'), (has(self.inheritable), 'i'), (has(self.permitted), 'p')];
            if flags[1].0 || flags[2].0 {
                let flags: String = flags.iter().filter(|(on, _)| *on).map(|(_, flag)| flag).collect();
                clauses.push(format!("cap_{name}+{flags}"));
            }
        }
        f.write_str(&clauses.join(" "))
    }
}

impl Capabilities {
    /// Reads the text form; an empty text is the empty set.
    ///
    /// # Errors
    /// Unknown names, operators or flags; an effective set that a file can't hold.
    pub fn parse(text: &str) -> Word<Self> {
        // effective, inheritable, permitted
        let mut sets = [0_u64; 3];
        for clause in text.split_whitespace() {
            read_clause(clause, &mut sets)?;
        }
        let [effective, inheritable, permitted] = sets;
        if effective != 0 && effective != permitted | inheritable {
            return Err(Refusal::bad(
                "the effective set of a file is empty or all of its permitted and inheritable capabilities",
            ));
        }
        Ok(Self { permitted, inheritable, effective: effective != 0 })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.permitted == 0 && self.inheritable == 0
    }

    /// The value of the xattr `security.capability`, revision 2.
    pub fn to_xattr(&self) -> [u8; 20] {
        let low = |set: u64| (set & u64::from(u32::MAX)) as u32;
        let high = |set: u64| (set >> 32) as u32;
        let words = [
            REVISION_2 | if self.effective { EFFECTIVE } else { 0 },
            low(self.permitted),
            low(self.inheritable),
            high(self.permitted),
            high(self.inheritable),
        ];
        let mut bytes = [0; 20];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

fn read_clause(clause: &str, sets: &mut [u64; 3]) -> Word<()> {
    let refuse = || Refusal::bad("capabilities are written as for setcap, as in \"cap_net_bind_service+ep\"");
    let end = clause.find(['+', '-', '=']).ok_or_else(refuse)?;
    let names = read_names(&clause[..end])?;
    let mut rest = &clause[end..];
    while let Some(operator) = rest.chars().next() {
        let after = &rest[1..];
        let end = after.find(['+', '-', '=']).unwrap_or(after.len());
        if operator == '=' {
            sets.iter_mut().for_each(|set| *set &= !names);
        }
        for flag in after[..end].chars() {
            let set = &mut sets["eip".find(flag).ok_or_else(refuse)?];
            *set = if operator == '-' { *set & !names } else { *set | names };
        }
        rest = &after[end..];
    }
    Ok(())
}

fn read_names(text: &str) -> Word<u64> {
    let all = (1 << NAMES.len()) - 1;
    if text.is_empty() || text.eq_ignore_ascii_case("all") {
        return Ok(all);
    }
    text.split(',').try_fold(0, |bits, name| {
        let lower = name.to_ascii_lowercase();
        let number =
            lower.strip_prefix("cap_").and_then(|word| NAMES.iter().position(|known| *known == word));
        number
            .map(|number| bits | 1 << number)
            .ok_or_else(|| Refusal::bad(format!("`{name}` is not a capability")))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_forms() {
        let bind = 1 << 10;
        let raw = 1 << 13;
        let read = |text: &str| Capabilities::parse(text).unwrap();
        assert_eq!(read(""), Capabilities::default());
        assert_eq!(
            read("cap_net_bind_service+ep"),
            Capabilities { permitted: bind, inheritable: 0, effective: true }
        );
        assert_eq!(
            read("CAP_NET_RAW,cap_net_bind_service=eip"),
            Capabilities { permitted: bind | raw, inheritable: bind | raw, effective: true }
        );
        assert_eq!(read("cap_net_raw+p cap_net_raw-p"), Capabilities::default());
        assert_eq!(read("=p"), Capabilities { permitted: (1 << 41) - 1, inheritable: 0, effective: false });
        for text in
            ["cap_net_raw", "net_raw+ep", "cap_what+ep", "cap_net_raw+x", "cap_chown+p cap_kill+ep", "+é"]
        {
            assert!(Capabilities::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn xattr_as_setcap_writes_it() {
        // getfattr -e hex after `setcap cap_net_bind_service+ep`, and after `setcap cap_checkpoint_restore+p`
        let bind = Capabilities::parse("cap_net_bind_service+ep").unwrap().to_xattr();
        assert_eq!(bind, [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let restore = Capabilities::parse("cap_checkpoint_restore+p").unwrap().to_xattr();
        assert_eq!(restore, [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
}
