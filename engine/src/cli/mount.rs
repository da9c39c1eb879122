//! `rbuild mount`

use super::arguments::{FileArgument, StoreArgument};
use crate::ui::{shell::Shell, text};
use rbuild::{
    error::Result,
    mount::{Ended, MountPlace, MountRequest, mount},
};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Shows a tree as a filesystem, until it is unmounted or a command has ended
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "rbuild mount [OPTIONS] TREE MOUNTPOINT\n       rbuild mount [OPTIONS] TREE -- COMMAND [ARGUMENT]..."
)]
pub struct Arguments {
    /// step.NAME or image.NAME of the last build, a snapshot as `rbuild inspect step.NAME` says it, or the path (with a
    /// `/`) of a folder, a tar or an image: PATH or PATH:REFERENCE. A folder must not change meanwhile; of `/` the
    /// parts are left out that `source.host` leaves out: /proc, /sys, /dev, /run, /tmp and the store
    #[arg(value_name = "TREE")]
    tree: String,
    /// Where; it is served in the foreground until `fusermount3 -u MOUNTPOINT` or Ctrl-C
    #[arg(value_name = "MOUNTPOINT", required_unless_present = "command", conflicts_with = "command")]
    mountpoint: Option<PathBuf>,
    /// Lets it be changed: the changes are seen in the mount alone, and gone with it
    #[arg(long)]
    rw: bool,
    #[command(flatten)]
    file: FileArgument,
    #[command(flatten)]
    store: StoreArgument,
    /// Run this with the tree as its root, in namespaces of its own, and nothing stays mounted
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Arguments {
    /// Mounts; gives the exit code of the command, if there was one.
    ///
    /// # Errors
    /// No such tree; this machine can't mount.
    pub fn run(self, shell: Shell) -> Result<u8> {
        let place = match self.mountpoint {
            Some(mountpoint) => MountPlace::Directory(mountpoint),
            None => MountPlace::Command(self.command),
        };
        // A path needs no build file, so one that nobody names is looked for only where it is needed.
        let file = self.file.file.as_ref().map(|_| self.file.find(&mut Vec::new())).transpose()?;
        let (tree, writable, store) = (self.tree, self.rw, self.store.find()?);
        let mounted = Box::new(move |path: &Path| {
            let path = text::line(&path.display().to_string());
            shell.tell(&format!("mounted on {path}, until Ctrl-C or `umount {path}`\n"));
        });
        Ok(match mount(&MountRequest { tree, file, store, place, writable, mounted })? {
            Ended::Code(code) => code,
            Ended::NotStarted(code, error) => {
                shell.error(&error);
                code
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Line::try_parse_from(["mount"].into_iter().chain(line.split_whitespace())).map(|line| line.arguments)
    }

    #[test]
    fn a_place_or_a_command() {
        let place = parse("image.shop /mnt --store s").expect("a place");
        assert_eq!(
            (place.tree.as_str(), place.mountpoint, place.rw),
            ("image.shop", Some("/mnt".into()), false)
        );
        assert!(parse("./folder /mnt --rw").expect("a place").rw);
        let command = parse("step.jar -f ci.toml -- ls -l --store").expect("a command");
        assert_eq!((command.mountpoint, command.file.file), (None, Some("ci.toml".into())));
        assert_eq!(command.command, ["ls", "-l", "--store"]);
        for line in ["", "image.shop", "image.shop /mnt -- ls", "image.shop --", "image.shop /mnt /more"] {
            assert_eq!(parse(line).map(|_| ()).map_err(|error| error.exit_code()), Err(2), "{line}");
        }
    }
}
