//! Writing an id map for a set-up child that has unshared its user namespace.

use std::fmt::Write;
use std::fs;
use std::io::{self, ErrorKind};
use std::process::{Child, Command, Stdio};

use crate::{Error, Failure, Part, Result};

use super::{Extent, IdMap, MapMethod, find_program, io_error};

impl IdMap {
    /// Writes the maps of process `pid`, a child of this process that has not been waited for.
    pub(crate) fn write(&self, pid: u32) -> Result<()> {
        match self.method {
            MapMethod::Helper => self.call_helpers(pid),
            MapMethod::Direct => self.write_files(pid),
            MapMethod::Machine => Ok(()),
            MapMethod::Single => {
                deny_setgroups(pid)?;
                self.write_files(pid)
            }
        }
    }

    fn write_files(&self, pid: u32) -> Result<()> {
        write_file(pid, "gid_map", &lines(&self.gids))?;
        write_file(pid, "uid_map", &lines(&self.uids))
    }

    /// Both at once: each is a set-id program of a few milliseconds.
    fn call_helpers(&self, pid: u32) -> Result<()> {
        let uids = Helper::start("newuidmap", pid, &self.uids)?;
        let gids = Helper::start("newgidmap", pid, &self.gids);
        // Neither is left behind unreaped.
        let (uids, gids) = (uids.finish(), gids.and_then(Helper::finish));
        uids.and(gids)
    }
}

/// Without it an unprivileged process may not map a group: dropping one could widen what it may do.
fn deny_setgroups(pid: u32) -> Result<()> {
    match fs::write(format!("/proc/{pid}/setgroups"), "deny") {
        // Kernels before 3.19 have neither the file nor the rule.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| failed("deny setgroups".into(), &error)),
    }
}

fn write_file(pid: u32, name: &str, text: &str) -> Result<()> {
    fs::write(format!("/proc/{pid}/{name}"), text).map_err(|error| {
        let extents = text.trim_end().replace('\n', ", ");
        failed(format!("write {name} ({extents})"), &error)
    })
}

fn failed(operation: String, error: &io::Error) -> Error {
    let failure = Failure { part: Part::Ids, operation, errno: error.raw_os_error().unwrap_or(libc::EIO) };
    crate::environment::explain(failure)
}

fn lines(extents: &[Extent]) -> String {
    let mut text = String::new();
    for Extent { inside, outside, count } in extents {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{inside} {outside} {count}");
    }
    text
}

struct Helper {
    name: &'static str,
    child: Child,
}

impl Helper {
    fn start(name: &'static str, pid: u32, extents: &[Extent]) -> Result<Self> {
        let program = find_program(name).unwrap_or_else(|| name.into());
        let numbers = extents.iter().flat_map(|extent| [extent.inside, extent.outside, extent.count]);
        let child = Command::new(program)
            .arg(pid.to_string())
            .args(numbers.map(|number| number.to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| io_error(format!("start {name}"), source))?;
        Ok(Self { name, child })
    }

    fn finish(self) -> Result<()> {
        let output = self.child.wait_with_output();
        let output = output.map_err(|source| io_error(format!("wait for {}", self.name), source))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let message = match said.trim() {
            "" => output.status.to_string(),
            said => said.trim_start_matches(&format!("{}: ", self.name)).to_owned(),
        };
        Err(Error::Helper { program: self.name.into(), message })
    }
}
