//! What a step's command sees: the root, /proc and its like, and the mounts of the step.
//!
//! A mount needs something to stand on. In the root and in `from` mounts that is lent by the overlay, so that nothing
//! of it stays; in a cache it is made.

use super::{
    Engine,
    cache_mount::Caches,
    filesystem::Filesystem,
    look::{self, Place, Stuck},
    names,
};
use crate::{
    error::{Error, Result},
    operations::{self, Taken},
    plan::Inputs,
    spec::types::{Body, Mount as Declared, MountKind, Network},
    value::HostTree,
};
use rbuild_overlay::{Errno, FileKind, Lower, Options, Overlay};
use rbuild_sandbox::Mount;
use rbuild_tree::{Snapshot, Tree, TreePath, TreeStore};
use std::{fs, io, path::Path};

/// What the root of a step is.
pub(super) enum Root<'a> {
    Snapshot(&'a Snapshot),
    Host(&'a HostTree),
}

/// The mounts of a sandbox, in order, and what stands behind them.
pub(super) struct Mounts {
    pub(super) list: Vec<Mount>,
    /// One for each [`Mount::Fuse`], in order; the first is the root.
    pub(super) filesystems: Vec<Filesystem>,
}

impl Mounts {
    /// Whether the store had all that was looked at, by the command or before it, and had room for what was written.
    ///
    /// # Errors
    /// `store-damaged`: then it is worth another try, whatever else went wrong. No room, a bug.
    pub(super) fn check(&self) -> Result<()> {
        Ok(self.filesystems.iter().try_for_each(|filesystem| filesystem.overlay.check())?)
    }
}

/// Where a target lies.
enum Ground {
    Overlay(usize),
    /// Memory or a cache: the sandbox makes what is missing in it, where no link leads out.
    Sandbox,
}

pub(super) struct Builder<'a> {
    engine: &'a Engine,
    over_host: bool,
    mounts: Mounts,
    /// Targets of mounts so far, with what lies there.
    grounds: Vec<(TreePath, Ground)>,
}

impl<'a> Builder<'a> {
    /// Starts with the root and what every command sees.
    ///
    /// # Errors
    /// The root can't be opened, or something stands where /proc must be.
    pub(super) fn new(engine: &'a Engine, root: Root<'a>, network: Network) -> Result<Self> {
        let lower = match &root {
            Root::Snapshot(snapshot) => Lower::Snapshot((*snapshot).clone()),
            Root::Host(host) => Lower::Live(rbuild_overlay::Live {
                root: host.root.clone(),
                exclude: host.exclude.clone(),
                delta: host.delta.as_deref().cloned(),
            }),
        };
        let over_host = matches!(root, Root::Host(_));
        let mut options = Options::new(engine.session.store.scratch().fresh_folder()?);
        options.record = over_host;
        let root = Filesystem::open(&engine.session.store, lower, options)?;
        let list = vec![Mount::Fuse { target: "/".to_owned(), source: String::new(), read_only: false }];
        let mounts = Mounts { list, filesystems: vec![root] };
        let grounds = vec![(TreePath::root(), Ground::Overlay(0))];
        let mut builder = Self { engine, over_host, mounts, grounds };
        for (path, mount) in [("proc", Mount::Proc), ("sys", Mount::Sys), ("dev", Mount::Dev)] {
            builder.lend(&TreePath::parse(path.as_bytes())?, true)?;
            builder.mounts.list.push(mount);
        }
        builder.temporary()?;
        if !over_host {
            builder.names(network)?;
        }
        Ok(builder)
    }

    /// /tmp is the tree's; where there is none, memory is lent.
    fn temporary(&mut self) -> Result<()> {
        let path = TreePath::parse(b"tmp")?;
        // This machine's /tmp is no step's.
        if !self.over_host && self.follow(&path)?.found.is_some() {
            return Ok(());
        }
        self.lend(&path, true)?;
        self.mounts.list.push(Mount::Tmpfs { target: "/tmp".to_owned(), size: 1 << 30, mode: 0o1777 });
        self.grounds.push((path, Ground::Sandbox));
        Ok(())
    }

    /// What names of hosts mean: where the network is open, what they mean to this machine; elsewhere what the tree says,
    /// if it says anything. A command knows its own host.
    fn names(&mut self, network: Network) -> Result<()> {
        let (servers, hosts) = ("/etc/resolv.conf", "/etc/hosts");
        let machine = |path| fs::read_to_string(path).ok();
        if network.is_open() {
            if let Some(text) = machine(servers) {
                let private = names::for_private_network(&text).filter(|_| network == Network::Private);
                self.file_in_place(servers, private.unwrap_or(text))?;
            }
            self.file_in_place(hosts, names::hosts(&machine(hosts).unwrap_or_default()))?;
        } else if self.says_nothing(hosts)? {
            self.file_in_place(hosts, names::hosts(""))?;
        }
        Ok(())
    }

    /// Whether the tree has nothing in a file.
    fn says_nothing(&self, path: &str) -> Result<bool> {
        let found = self.follow(&TreePath::parse(path.as_bytes())?)?.found;
        Ok(found.is_none_or(|stat| stat.kind == FileKind::File && stat.size == 0))
    }

    /// A file of this machine in place of the tree's, which stays as it is.
    fn file_in_place(&mut self, path: &str, text: String) -> Result<()> {
        let target = self.follow(&TreePath::parse(path.as_bytes())?)?.path;
        self.lend(&target, false)?;
        let (target, content) = (target.to_string(), text.into());
        self.mounts.list.push(Mount::File { target, content, executable: false });
        Ok(())
    }

    /// A script of the step that is to be executed; gives its path inside.
    ///
    /// # Errors
    /// There is something else.
    pub(super) fn script(&mut self, text: &str) -> Result<String> {
        let target = "/.rbuild-run".to_owned();
        self.lend(&TreePath::parse(target.as_bytes())?, false)?;
        let content = text.to_owned().into();
        self.mounts.list.push(Mount::File { target: target.clone(), content, executable: true });
        Ok(target)
    }

    /// The mounts of the step and where they go, outer ones first.
    ///
    /// # Errors
    /// A target leads through something that is no directory.
    pub(super) fn targets<'b>(&self, body: &'b Body) -> Result<Vec<(TreePath, &'b Declared)>> {
        let mut targets = Vec::new();
        for mount in &body.mounts {
            targets.push((self.follow(&mount.target)?.path, mount));
        }
        targets.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(targets)
    }

    /// Makes the mounts of the step.
    ///
    /// # Errors
    /// A tree that is not there, a target that can't be made.
    pub(super) fn declared(
        &mut self,
        targets: Vec<(TreePath, &Declared)>,
        inputs: &Inputs<'_>,
        caches: &Caches,
        owner: &dyn Fn(&Declared) -> Result<(u32, u32)>,
        times: &mut dyn FnMut(&Declared, Snapshot) -> Result<Snapshot>,
    ) -> Result<()> {
        for (target, mount) in targets {
            match &mount.kind {
                MountKind::Tree { from, discard } => {
                    let taken = operations::taken(&inputs.context, from).map_err(Error::from)?;
                    self.tree(&target, taken, *discard, &mut |snapshot| times(mount, snapshot))?;
                }
                MountKind::Cache { name, mode, .. } => {
                    let path = caches[name.as_str()].path.clone();
                    let (uid, gid) = owner(mount)?;
                    self.ground(&target, true)?;
                    self.mounts.list.push(Mount::Own { path: path.clone(), uid, gid, mode: *mode });
                    let bind = Mount::Bind {
                        source: path,
                        target: target.to_string(),
                        read_only: false,
                        recursive: false,
                    };
                    self.mounts.list.push(bind);
                    self.grounds.push((target, Ground::Sandbox));
                }
                MountKind::Tmpfs { size, mode } => {
                    self.ground(&target, true)?;
                    let target_text = target.to_string();
                    self.mounts.list.push(Mount::Tmpfs { target: target_text, size: *size, mode: *mode });
                    self.grounds.push((target, Ground::Sandbox));
                }
            }
        }
        Ok(())
    }

    fn tree(
        &mut self,
        target: &TreePath,
        taken: Taken,
        discard: bool,
        times: &mut dyn FnMut(Snapshot) -> Result<Snapshot>,
    ) -> Result<()> {
        let store = &self.engine.session.store;
        let (snapshot, source, directory) = match taken {
            Taken::Directory(snapshot) => (snapshot, String::new(), true),
            Taken::File(_, entry) => {
                // Under a name of its own choice: the sandbox takes names as text, and a tree's may not be.
                let tree = store.put_tree(&Tree::from_entries([((*b"file").into(), entry)]))?;
                (Snapshot { tree, ..Snapshot::scratch() }, "file".to_owned(), false)
            }
        };
        self.ground(target, directory)?;
        let mut options = Options::new(store.scratch().fresh_folder()?);
        options.read_only = !discard;
        let filesystem = Filesystem::open(store, Lower::Snapshot(times(snapshot)?), options)?;
        self.mounts.filesystems.push(filesystem);
        self.mounts.list.push(Mount::Fuse { target: target.to_string(), source, read_only: !discard });
        self.grounds.push((target.clone(), Ground::Overlay(self.mounts.filesystems.len() - 1)));
        Ok(())
    }

    /// Gives the target something to stand on, in what lies there.
    fn ground(&mut self, target: &TreePath, directory: bool) -> Result<()> {
        let below = self.grounds.iter().rev().filter_map(|(place, ground)| {
            let rest = target.strip_prefix(place)?;
            Some((place.as_bytes().len(), rest, ground))
        });
        let Some((_, rest, ground)) = below.max_by_key(|(length, ..)| *length) else { return Ok(()) };
        match ground {
            Ground::Sandbox => Ok(()),
            Ground::Overlay(index) => self.mounts.filesystems[*index].lend(rest, target, directory),
        }
    }

    fn lend(&mut self, path: &TreePath, directory: bool) -> Result<()> {
        self.mounts.filesystems[0].lend(path.clone(), path, directory)
    }

    /// Where a path leads through the links of the root.
    ///
    /// # Errors
    /// `type-conflict` if something on its way is no directory; what the machine says.
    pub(super) fn follow(&self, path: &TreePath) -> Result<Place> {
        look::follow(self.root_overlay(), path).map_err(|Stuck { at, errno }| match errno {
            Errno::NOTDIR => Error::step("type-conflict", format!("{path}: {at} is not a directory")),
            Errno::LOOP => {
                Error::step("type-conflict", format!("{path}: too many symbolic links follow each other"))
            }
            _ => Error::io("look at", Path::new(&at.to_string()), io::Error::from(errno)),
        })
    }

    /// Whether one of the mounts so far, but for the root, lies on or above a path.
    pub(super) fn is_hidden(&self, path: &TreePath) -> bool {
        let targets = self.mounts.list.iter().skip(1).filter_map(Mount::target);
        let mut targets = targets.filter_map(|target| TreePath::parse(target.as_bytes()).ok());
        targets.any(|target| path.starts_with(&target))
    }

    pub(super) fn root_overlay(&self) -> &Overlay {
        &self.mounts.filesystems[0].overlay
    }

    /// See [`Mounts::check`].
    pub(super) fn check(&self) -> Result<()> {
        self.mounts.check()
    }

    pub(super) fn list(&self) -> &[Mount] {
        &self.mounts.list
    }

    pub(super) fn finish(self) -> Mounts {
        self.mounts
    }
}
