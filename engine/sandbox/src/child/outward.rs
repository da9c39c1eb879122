//! A network that leads outward only: pasta or slirp4netns, which carry the connections of a network namespace by sockets of
//! the machine, as a user may. Nothing of the machine's loopback is reached by it.
//!
//! The process is forked before the namespaces are made, since it must stay outside, and begins when they are there. It
//! ends with the set-up child: by its hand, or if that is killed by the end of what its input is.
//!
//! As root there is slirp4netns only: pasta gives up root's ids and then may not enter the namespaces.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, execv, getpid, pipe2, write};

use crate::error::{Named, Outcome};
use crate::ids::find_program;
use crate::{Failure, NAME_SERVER, Network, Part, sys};

/// How long it may take to begin: long, since only one that never does is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// The network of slirp4netns, whose third address is its name server.
const SLIRP_NETWORK: &str = "169.254.1.0/24";

/// The process.
pub(super) struct Outward {
    name: &'static str,
    process: Pid,
    begin: Option<OwnedFd>,
    said: File,
}

impl Outward {
    /// Forks it, if the network is to be one of these.
    pub(super) fn prepare(network: Network) -> Outcome<Option<Self>> {
        if network != Network::Private {
            return Ok(None);
        }
        let names: &[&str] =
            if nix::unistd::geteuid().is_root() { &["slirp4netns"] } else { &["pasta", "slirp4netns"] };
        let found = names.iter().find_map(|name| Some((*name, find_program(name)?)));
        let (name, program) = found
            .ok_or(Errno::ENOENT)
            .named(Part::Outward, || format!("find {} for network = \"private\"", names.join(" or ")))?;
        let tun = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
        drop(tun.named(Part::Tunnel, || "open /dev/net/tun")?);
        let arguments = arguments(name, program, getpid());
        let pipe = || pipe2(OFlag::O_CLOEXEC).named(Part::Other, || "make a pipe");
        let ((wait, begin), (said, say)) = (pipe()?, pipe()?);
        match sys::fork().named(Part::Other, || format!("fork {name}"))? {
            Some(process) => Ok(Some(Self { name, process, begin: Some(begin), said: said.into() })),
            None => {
                drop((begin, said));
                // Where it fails there is nobody to tell but by ending.
                let _ = wait_and_become(wait, &say, &arguments);
                sys::exit(1);
            }
        }
    }

    /// Lets it begin; waits until the network leads somewhere.
    pub(super) fn connect(&self) -> Outcome<()> {
        let Some(begin) = &self.begin else { return Ok(()) };
        write(begin, b"x").named(Part::Other, || format!("start {}", self.name))?;
        let start = Instant::now();
        while !leads_somewhere() {
            match waitpid(self.process, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) if start.elapsed() < PATIENCE => sleep(Duration::from_millis(1)),
                Ok(WaitStatus::StillAlive) => return Err(self.failed("it gives no network")),
                _ => return Err(self.failed(&self.last_words())),
            }
        }
        Ok(())
    }

    fn failed(&self, words: &str) -> Failure {
        Failure { part: Part::Other, operation: format!("{}: {words}", self.name), errno: 0 }
    }

    /// What it printed last; of a system without log some lines say that.
    fn last_words(&self) -> String {
        let mut text = String::new();
        // What is no text is no use.
        let _ = (&self.said).take(64 << 10).read_to_string(&mut text);
        let mut lines =
            text.lines().rev().filter(|line| !line.trim().is_empty() && !line.contains("to syslog"));
        let line = lines.next().unwrap_or("it ended without a word").trim();
        // After the time.
        line.trim_start_matches(|letter: char| letter.is_ascii_digit() || ".: ".contains(letter)).to_owned()
    }
}

impl Drop for Outward {
    fn drop(&mut self) {
        self.begin = None;
        // It may have ended by itself, and of root it is another's by now: then the end of its input ends it.
        let _ = kill(self.process, Signal::SIGKILL);
        let _ = waitpid(self.process, None);
    }
}

/// Becomes the program once it is wanted.
fn wait_and_become(wait: OwnedFd, say: &OwnedFd, arguments: &[CString]) -> nix::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // Some are ignored here, which pasta takes for an error.
    sys::reset_signals()?;
    if nix::unistd::read(&wait, &mut [0])? == 1 {
        // The input ends with the set-up child, which slirp4netns heeds.
        sys::replace_descriptor(&wait, 0)?;
        sys::replace_descriptor(say, 1)?;
        sys::replace_descriptor(say, 2)?;
        execv(&arguments[0], arguments)?;
    }
    Ok(())
}

fn arguments(name: &str, program: PathBuf, of: Pid) -> Vec<CString> {
    let text = match name {
        // No port of either side is forwarded to the other, and the gateway is not this machine.
        "pasta" => format!(
            "--config-net --no-map-gw -t none -u none -T none -U none --dns-forward {NAME_SERVER} -q -f {of}"
        ),
        _ => format!(
            "--configure --mtu=65520 --disable-host-loopback --cidr={SLIRP_NETWORK} --exit-fd=0 {of} tap0"
        ),
    };
    let words = text.split(' ').map(|word| word.as_bytes().to_vec());
    let all = [program.as_os_str().as_bytes().to_vec()].into_iter().chain(words);
    all.filter_map(|word| CString::new(word).ok()).collect()
}

/// Whether this process's network has a way to everywhere (proc(5); the kernel's `net/ipv6/route.c`).
fn leads_somewhere() -> bool {
    let routes = |name: &str| fs::read_to_string(format!("/proc/self/net/{name}")).unwrap_or_default();
    has_default(&routes("route")) || has_default_6(&routes("ipv6_route"))
}

fn has_default(routes: &str) -> bool {
    routes.lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"))
}

/// The loopback device has one that leads nowhere.
fn has_default_6(routes: &str) -> bool {
    let everywhere = format!("{} 00 ", "0".repeat(32));
    routes.lines().any(|line| line.starts_with(&everywhere) && !line.trim_end().ends_with(" lo"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_out_is_a_default_route() {
        let head = "Iface\tDestination\tGateway \tFlags\n";
        assert!(!has_default(head));
        assert!(!has_default(&format!("{head}eth0\t000200C0\t00000000\t0001\n")));
        assert!(has_default(&format!("{head}eth0\t00000000\t010200C0\t0003\n")));
        let zeroes = "0".repeat(32);
        let route = |device: &str| {
            format!("{zeroes} 00 {zeroes} 00 {zeroes} ffffffff 00000001 00000000 00200200       {device}\n")
        };
        assert!(!has_default_6(&route("lo")));
        assert!(has_default_6(&(route("lo") + &route("eth0"))));
        assert!(!has_default_6(&route("eth0").replacen(" 00 ", " 40 ", 1)));
    }
}
