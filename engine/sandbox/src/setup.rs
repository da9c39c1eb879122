//! The set-up of a sandbox, as data.
//!
//! A [`Setup`] crosses the control socket as JSON and is interpreted in order on the other side, so what is printed,
//! tested and executed is one thing. It is policy-free: which mounts a step gets is the caller's decision.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ids::{IdMap, MapMethod};
use crate::{Error, Result, Swap, text};

/// A socket message carries at most 253 descriptors: the pipes and the init's pidfd take three.
const MAXIMUM_FILESYSTEMS: usize = 250;

/// Everything a sandbox is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The ids inside and what they are outside.
    pub ids: IdMap,
    /// The host name inside.
    pub hostname: String,
    /// What of the network the command sees.
    pub network: Network,
    /// In order; the first is the root and has the target `/`.
    pub mounts: Vec<Mount>,
    /// What is run.
    pub command: Command,
    /// Resource limits of the command.
    pub limits: Limits,
    /// Whether calls stop in the command and are answered by whoever has the [`Listener`](crate::notify::Listener): in
    /// a [`Mount::Chroot`] those that name a path; else those about ids and owners, over a [`Mount::Overlay`] those that
    /// make files, too, and then the command may be anybody, whatever the ids are.
    pub supervised: bool,
}

/// What of the network the command sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// A loopback device of its own, nothing else.
    None,
    /// The same, and a way outward by pasta or slirp4netns. The machine's name server is asked by way of
    /// [`NAME_SERVER`](crate::NAME_SERVER) only.
    Private,
    /// The machine's.
    Host,
}

/// One mount, or a preparation for one. Targets are absolute paths inside the new root and must exist there;
/// below an earlier [`Mount::Bind`] or [`Mount::Tmpfs`] they are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mount {
    /// A directory of this machine that becomes the root by chroot(2), without any namespace; the only mount of its
    /// sandbox, whose ids are the machine's ([`IdMap::of_machine`]). It fences nothing in.
    Chroot {
        /// Path on this machine.
        #[serde(with = "text::path")]
        path: PathBuf,
    },
    /// Nothing is mounted, and the root stays what it is, but its entries are others while the command runs. Else as
    /// [`Mount::Chroot`], and set-id programs work where they do for the engine.
    InPlace(Swap),
    /// A FUSE filesystem; its descriptor is the next of [`Started::fuse`](crate::Started::fuse).
    Fuse {
        /// Where; `/` is the root.
        target: String,
        /// The path inside the filesystem that appears at `target`, `""` for all of it. It may be a single file;
        /// symbolic links in it are refused.
        source: String,
        /// Whether writes are refused.
        read_only: bool,
    },
    /// The kernel's overlay filesystem over directories of this machine, with its marks in `user.overlay.*`.
    Overlay {
        /// Where; `/` is the root.
        target: String,
        /// As of [`Mount::Fuse`].
        source: String,
        /// Directories on this machine, the uppermost first; two at least if nothing can be written.
        #[serde(with = "text::paths")]
        lower: Vec<PathBuf>,
        /// A directory that shows nothing, whose files those of `lower` may name as their bytes: needs Linux 6.16.
        #[serde(with = "text::optional_path")]
        data: Option<PathBuf>,
        /// Whether a [`Memory`](crate::Memory) lies below all of `lower`: the next that comes along
        /// ([`Sandbox::spawn_with`](crate::Sandbox::spawn_with)).
        memory: bool,
        /// What takes the changes; writes are refused if there is none.
        upper: Option<Upper>,
    },
    /// A directory or file of this machine.
    Bind {
        /// Path on this machine.
        #[serde(with = "text::path")]
        source: PathBuf,
        /// Where.
        target: String,
        /// Whether writes are refused, in all of it.
        read_only: bool,
        /// Whether mounts below `source` come along.
        recursive: bool,
    },
    /// A read-only file of 0:0 in memory.
    File {
        /// Where.
        target: String,
        /// Its bytes.
        #[serde(with = "text::one")]
        content: OsString,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A filesystem in memory, owned by 0:0.
    Tmpfs {
        /// Where.
        target: String,
        /// Largest content in bytes.
        size: u64,
        /// Permission bits of its root.
        mode: u32,
    },
    /// No mount: a directory of this machine, made if missing, that gets an owner of the sandbox. Say it before the
    /// [`Mount::Bind`] that needs it.
    Own {
        /// Path on this machine.
        #[serde(with = "text::path")]
        path: PathBuf,
        /// Owner inside.
        uid: u32,
        /// Group inside.
        gid: u32,
        /// Permission bits.
        mode: u32,
    },
    /// `/proc`, with the usual paths hidden or read-only.
    Proc,
    /// `/sys`, read-only.
    Sys,
    /// `/dev`: null zero full random urandom tty ptmx pts shm mqueue and the fd links.
    Dev,
}

/// The writable side of a [`Mount::Overlay`]: two directories of one filesystem that belong to 0:0 of the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upper {
    /// What is changed ends up here.
    #[serde(with = "text::path")]
    pub changes: PathBuf,
    /// Empty; the kernel's own.
    #[serde(with = "text::path")]
    pub work: PathBuf,
}

impl Mount {
    /// Where it appears; `None` for what is no mount.
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Fuse { target, .. }
            | Self::Overlay { target, .. }
            | Self::Bind { target, .. }
            | Self::File { target, .. }
            | Self::Tmpfs { target, .. } => Some(target),
            Self::Chroot { .. } | Self::InPlace(_) | Self::Own { .. } => None,
            Self::Proc => Some("/proc"),
            Self::Sys => Some("/sys"),
            Self::Dev => Some("/dev"),
        }
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chroot { path } => write!(f, "chroot to {}", path.display()),
            Self::InPlace(swap) => write!(f, "move {} into {}", swap.tree.display(), swap.root.display()),
            Self::Fuse { target, source, .. } if source.is_empty() => write!(f, "mount fuse on {target}"),
            Self::Fuse { target, source, .. } => write!(f, "mount {source} of fuse on {target}"),
            Self::Overlay { target, source, .. } if source.is_empty() => {
                write!(f, "mount overlay on {target}")
            }
            Self::Overlay { target, source, .. } => write!(f, "mount {source} of overlay on {target}"),
            Self::Bind { source, target, .. } => write!(f, "bind {} on {target}", source.display()),
            Self::File { target, .. } => write!(f, "lend the file {target}"),
            Self::Tmpfs { target, .. } => write!(f, "mount tmpfs on {target}"),
            Self::Own { path, uid, gid, .. } => write!(f, "give {} to {uid}:{gid}", path.display()),
            Self::Proc => write!(f, "mount proc on /proc"),
            Self::Sys => write!(f, "mount sysfs on /sys"),
            Self::Dev => write!(f, "mount devices on /dev"),
        }
    }
}

/// What is run, as whom, with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments; a program without a slash is looked up in `env`'s PATH.
    #[serde(with = "text::list")]
    pub argv: Vec<OsString>,
    /// The whole environment, in order.
    #[serde(with = "text::pairs")]
    pub env: Vec<(OsString, OsString)>,
    /// Working directory inside.
    #[serde(with = "text::one")]
    pub directory: OsString,
    /// User inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
    /// Supplementary groups inside.
    pub groups: Vec<u32>,
    /// File mode creation mask.
    pub umask: u32,
}

/// Soft resource limits of the command; hard ones are the machine's. All others are lifted as far as the machine
/// allows, so that the caller's shell does not decide over a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Open files. 1024 because programs that close "all" descriptors take minutes with a million.
    pub open_files: u64,
    /// Size of a core file in bytes.
    pub core: u64,
    /// Size of the main thread's stack in bytes.
    pub stack: u64,
    /// Bytes of memory of all processes together, where a control group can be made; else of each.
    pub memory: Option<u64>,
    /// Thousandths of a processor, for all processes together; whole ones where no control group can be made.
    pub cpus: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { open_files: 1024, core: 0, stack: 8 << 20, memory: None, cpus: None }
    }
}

impl Setup {
    /// Whether it can be carried out at all, told before anything is started.
    pub(crate) fn check(&self) -> Result<()> {
        match self.mounts.first() {
            Some(Mount::Fuse { target, source, .. } | Mount::Overlay { target, source, .. })
                if target == "/" && source.is_empty() => {}
            Some(Mount::Bind { target, .. }) if target == "/" => {}
            Some(Mount::Chroot { .. } | Mount::InPlace(_))
                if self.mounts.len() == 1 && self.ids.method == MapMethod::Machine => {}
            _ => return Err(Error::Setup("the first mount is not a root".into())),
        }
        if self.filesystems() > MAXIMUM_FILESYSTEMS {
            return Err(Error::Setup(format!("more than {MAXIMUM_FILESYSTEMS} filesystems in one sandbox")));
        }
        for mount in &self.mounts {
            if mount.target().is_some_and(|target| !target.starts_with('/')) {
                return Err(Error::Setup(format!("{mount}: the target is not absolute")));
            }
        }
        if self.command.argv.is_empty() {
            return Err(Error::Setup("the command is empty".into()));
        }
        self.check_ids()
    }

    /// Whether that many filesystems in memory are what its mounts ask for.
    pub(crate) fn check_memories(&self, count: usize) -> Result<()> {
        let asks = |mount: &&Mount| matches!(mount, Mount::Overlay { memory: true, .. });
        match self.mounts.iter().filter(asks).count() {
            asked if asked == count => Ok(()),
            asked => {
                Err(Error::Setup(format!("{asked} filesystems in memory are asked for, {count} came along")))
            }
        }
    }

    /// Whether there is no namespace.
    pub(crate) fn is_bare(&self) -> bool {
        matches!(self.mounts.first(), Some(Mount::Chroot { .. } | Mount::InPlace(_)))
    }

    /// The directory that is to become the root without any namespace.
    pub(crate) fn chroot(&self) -> Option<&Path> {
        match self.mounts.first() {
            Some(Mount::Chroot { path }) => Some(path),
            _ => None,
        }
    }

    /// What is to trade places.
    pub(crate) fn swap(&self) -> Option<&Swap> {
        match self.mounts.first() {
            Some(Mount::InPlace(swap)) => Some(swap),
            _ => None,
        }
    }

    /// Number of descriptors that will be handed out.
    pub(crate) fn filesystems(&self) -> usize {
        self.mounts.iter().filter(|mount| matches!(mount, Mount::Fuse { .. })).count()
    }

    fn check_ids(&self) -> Result<()> {
        if self.supervised {
            return Ok(());
        }
        let command = &self.command;
        if self.ids.host_uid(command.uid).is_none() {
            return Err(self.ids.unmapped("user", command.uid));
        }
        // With one id the kernel refuses setgroups altogether, so supplementary groups are left out there.
        let groups = command.groups.iter().filter(|_| !self.ids.is_single());
        match groups.chain([&command.gid]).find(|gid| self.ids.host_gid(**gid).is_none()) {
            Some(gid) => Err(self.ids.unmapped("group", *gid)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn setup() -> Setup {
        Setup {
            ids: IdMap::single(1000, 100),
            hostname: "rbuild".into(),
            network: Network::None,
            mounts: vec![
                Mount::Fuse { target: "/".into(), source: String::new(), read_only: false },
                Mount::Proc,
                Mount::Own { path: "/store/m2".into(), uid: 0, gid: 0, mode: 0o755 },
                Mount::Bind {
                    source: "/store/m2".into(),
                    target: "/m2".into(),
                    read_only: true,
                    recursive: false,
                },
                Mount::File { target: "/f".into(), content: "x\n".into(), executable: true },
                Mount::Tmpfs { target: "/t".into(), size: 4096, mode: 0o1777 },
            ],
            command: Command {
                argv: vec!["sh".into(), OsString::from_vec(b"a\xff\\".to_vec())],
                env: vec![("A".into(), "x=y\n".into())],
                directory: "/".into(),
                uid: 0,
                gid: 0,
                groups: vec![],
                umask: 0o022,
            },
            limits: Limits::default(),
            supervised: false,
        }
    }

    #[test]
    fn the_wire_form_is_readable_and_lossless() {
        let json = serde_json::to_string(&setup()).unwrap();
        let expected = concat!(
            r#"{"ids":{"uids":[{"inside":0,"outside":1000,"count":1}],"gids":[{"inside":0,"outside":100,"count":1}],"#,
            r#""method":"single"},"hostname":"rbuild","network":"none","mounts":["#,
            r#"{"fuse":{"target":"/","source":"","read_only":false}},"proc","#,
            r#"{"own":{"path":"/store/m2","uid":0,"gid":0,"mode":493}},"#,
            r#"{"bind":{"source":"/store/m2","target":"/m2","read_only":true,"recursive":false}},"#,
            r#"{"file":{"target":"/f","content":"x\n","executable":true}},"#,
            r#"{"tmpfs":{"target":"/t","size":4096,"mode":1023}}],"#,
            r#""command":{"argv":["sh","a\\xff\\\\"],"env":[["A","x=y\n"]],"directory":"/","uid":0,"gid":0,"groups":[],"umask":18},"#,
            r#""limits":{"open_files":1024,"core":0,"stack":8388608,"memory":null,"cpus":null},"supervised":false}"#,
        );
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Setup>(&json).unwrap(), setup());
    }

    #[test]
    fn mounts_print_as_operations() {
        let lines: Vec<_> = setup().mounts.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "mount fuse on /",
                "mount proc on /proc",
                "give /store/m2 to 0:0",
                "bind /store/m2 on /m2",
                "lend the file /f",
                "mount tmpfs on /t",
            ]
        );
    }

    #[test]
    fn what_cannot_work_is_told_before_it_starts() {
        let good = setup();
        assert!(good.check().is_ok());
        type Change = fn(&mut Setup);
        let cases: [(&str, Change); 6] = [
            ("the first mount is not a root", |s| s.mounts.clear()),
            ("the first mount is not a root", |s| s.mounts.swap(0, 1)),
            ("the command is empty", |s| s.command.argv.clear()),
            ("mount tmpfs on t: the target is not absolute", |s| {
                s.mounts.push(Mount::Tmpfs { target: "t".into(), size: 1, mode: 0 });
            }),
            ("user 5 has no id", |s| s.command.uid = 5),
            ("group 7 has no id", |s| s.command.gid = 7),
        ];
        for (expected, change) in cases {
            let mut bad = good.clone();
            change(&mut bad);
            let message = bad.check().unwrap_err().to_string();
            assert!(message.contains(expected), "{message:?} lacks {expected:?}");
        }
    }

    #[test]
    fn a_supervised_command_may_be_anybody() {
        let mut setup = setup();
        (setup.command.uid, setup.supervised) = (5, true);
        assert!(setup.check().is_ok());
    }

    #[test]
    fn supplementary_groups_need_no_id_where_they_cannot_be_set() {
        let mut setup = setup();
        setup.command.groups = vec![27];
        assert!(setup.check().is_ok());
    }
}
