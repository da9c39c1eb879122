//! The files by which names of hosts mean something to a command.

use crate::plan::CONTAINER_HOST_NAME;
use rbuild_sandbox::NAME_SERVER;
use std::net::IpAddr;

/// A hosts(5) of what is always there, after what this machine's says.
pub(super) fn hosts(machine: &str) -> String {
    let end = if machine.is_empty() || machine.ends_with('\n') { "" } else { "\n" };
    let is_known = machine.lines().any(|line| {
        let names = line.split('#').next().unwrap_or_default().split_whitespace().skip(1);
        names.into_iter().any(|name| name == "localhost")
    });
    let local = if is_known { "" } else { "127.0.0.1 localhost\n::1 localhost\n" };
    format!("{machine}{end}{local}127.0.0.1 {CONTAINER_HOST_NAME}\n")
}

/// The resolv.conf(5) of a network that leads outward only, from where this machine's servers are not reached: with the one
/// that asks the machine's first server in the place of all; none if no server has an address that it could ask: those of
/// IPv6 are left.
pub(super) fn for_private_network(text: &str) -> Option<String> {
    let is_asked = |line: &str| address(line).is_some_and(|server| server.is_ipv4());
    text.lines().any(is_asked).then(|| {
        let others: String =
            text.lines().filter(|line| address(line).is_none()).map(|line| format!("{line}\n")).collect();
        format!("nameserver {NAME_SERVER}\n{others}")
    })
}

/// The server that a line names.
fn address(line: &str) -> Option<IpAddr> {
    let mut words = line.split_whitespace();
    let server = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
    server.split('%').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_host_is_known() {
        let local = "127.0.0.1 localhost\n::1 localhost\n127.0.0.1 rbuild\n";
        assert_eq!(hosts(""), local);
        assert_eq!(hosts("10.0.0.1 x # localhost"), format!("10.0.0.1 x # localhost\n{local}"));
        let machine = "127.0.0.1\tlocalhost loopback\n";
        assert_eq!(hosts(machine), format!("{machine}127.0.0.1 rbuild\n"));
    }

    #[test]
    fn servers_are_asked_by_another() {
        for kept in ["", "search example.org\n", "nameserver fe80::1%eth0\nnameserver ::1\n"] {
            assert_eq!(for_private_network(kept), None, "{kept}");
        }
        let text = "# stub\nnameserver 127.0.0.53\nnameserver ::1\noptions edns0\n";
        let expected = "nameserver 169.254.1.3\n# stub\noptions edns0\n";
        assert_eq!(for_private_network(text).as_deref(), Some(expected));
    }
}
