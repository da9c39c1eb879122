//! The engine's own looks at a step's root, through its overlay: so over this machine's files, too, it sees what
//! earlier steps changed and not what is excluded, and what it saw is in the trace.

use crate::{
    error::{Error, Result},
    operations::accounts::{Accounts, GROUP, MAX_SIZE, PASSWD},
};
use rbuild_overlay::{Caller, Errno, FileKind, NodeId, Overlay, Stat};
use rbuild_tree::TreePath;
use std::path::Path;

/// As many as Linux follows.
const MAX_LINKS: usize = 40;

/// Where a path leads.
pub(super) struct Place {
    /// Without symbolic links in it; if nothing is there, where it would be.
    pub(super) path: TreePath,
    /// What is there; never a link.
    pub(super) found: Option<Stat>,
}

/// Where a path could not be followed any further, and why.
#[derive(Debug)]
pub(super) struct Stuck {
    pub(super) at: TreePath,
    pub(super) errno: Errno,
}

/// How far a path has been followed.
struct Walk {
    /// Directories down from the root, the root first.
    open: Vec<NodeId>,
    /// Names of `open` without the root, then names that don't exist.
    names: Vec<Vec<u8>>,
}

impl Walk {
    fn is_missing(&self) -> bool {
        self.names.len() >= self.open.len()
    }

    fn directory(&self) -> NodeId {
        self.open.last().copied().unwrap_or(NodeId::ROOT)
    }

    fn up(&mut self) {
        if !self.is_missing() && self.open.len() > 1 {
            self.open.pop();
        }
        self.names.pop();
    }

    fn path(&self) -> TreePath {
        self.names.iter().fold(TreePath::root(), |path, name| path.join(name))
    }

    fn stuck(&self, errno: Errno) -> Stuck {
        Stuck { at: self.path(), errno }
    }
}

/// Follows a path through all symbolic links, as a program in the root would; what does not exist is taken as it is
/// written.
///
/// # Errors
/// ENOTDIR, ELOOP, ENAMETOOLONG; EACCES and EIO if the lower can't be read.
pub(super) fn follow(overlay: &Overlay, path: &TreePath) -> Result<Place, Stuck> {
    let mut walk = Walk { open: vec![NodeId::ROOT], names: Vec::new() };
    let mut rest = Vec::new();
    push_names(&mut rest, path.as_bytes());
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if name == b".." {
            walk.up();
            continue;
        }
        let found =
            if walk.is_missing() { Err(Errno::NOENT) } else { overlay.lookup(walk.directory(), &name) };
        match found {
            Ok(stat) if stat.kind == FileKind::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(walk.stuck(Errno::LOOP));
                }
                let target = overlay.readlink(stat.id).map_err(|errno| walk.stuck(errno))?;
                if target.starts_with(b"/") {
                    walk = Walk { open: vec![NodeId::ROOT], names: Vec::new() };
                }
                push_names(&mut rest, &target);
            }
            Ok(stat) => {
                walk.names.push(name);
                match (stat.kind, rest.is_empty()) {
                    (FileKind::Directory, _) => walk.open.push(stat.id),
                    (_, true) => return Ok(Place { path: walk.path(), found: Some(stat) }),
                    (_, false) => return Err(walk.stuck(Errno::NOTDIR)),
                }
            }
            Err(Errno::NOENT) => walk.names.push(name),
            Err(errno) => return Err(walk.stuck(errno)),
        }
    }
    let found = match walk.is_missing() {
        true => None,
        false => Some(overlay.getattr(walk.directory()).map_err(|errno| walk.stuck(errno))?),
    };
    Ok(Place { path: walk.path(), found })
}

/// Puts the names of a path on top of a stack, the first one uppermost.
fn push_names(stack: &mut Vec<Vec<u8>>, path: &[u8]) {
    let names = path.rsplit(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    stack.extend(names.map(<[u8]>::to_vec));
}

/// The users and groups of the root; without the files there is nobody but root.
///
/// # Errors
/// One of the files can't be read, or is no list of accounts.
pub(super) fn accounts(overlay: &Overlay) -> Result<Accounts> {
    Ok(Accounts::parse(&text(overlay, PASSWD)?, &text(overlay, GROUP)?))
}

fn text(overlay: &Overlay, path: &str) -> Result<Vec<u8>> {
    let failed = |errno: Errno| Error::io("read", Path::new(path), errno.into());
    let stat = match follow(overlay, &TreePath::parse(path.as_bytes())?) {
        Ok(Place { found: Some(stat), .. }) => stat,
        // For a program in the root there is no such file either.
        Ok(_) | Err(Stuck { errno: Errno::LOOP | Errno::NOTDIR, .. }) => return Ok(Vec::new()),
        Err(Stuck { errno, .. }) => return Err(failed(errno)),
    };
    let reason = match stat.kind {
        FileKind::File if stat.size <= MAX_SIZE => {
            return overlay.read(stat.id, 0, usize::try_from(stat.size).unwrap_or(0)).map_err(failed);
        }
        FileKind::File => format!("is larger than {} MiB: it is no list of accounts", MAX_SIZE >> 20),
        _ => "is not a file".to_owned(),
    };
    Err(Error::step("type-conflict", format!("{path} {reason}")))
}

/// Makes the missing directories of a path without links in it.
///
/// # Errors
/// As mkdir(2).
pub(super) fn make_directories(overlay: &Overlay, path: &TreePath, caller: &Caller) -> Result<(), Errno> {
    let mut node = NodeId::ROOT;
    for name in path.names() {
        node = match overlay.lookup(node, name) {
            Err(Errno::NOENT) => overlay.mkdir(node, name, 0o755, caller)?.id,
            found => found?.id,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rbuild_overlay::{Live, Lower, Options};
    use std::{fs, os::unix::fs::symlink};

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    /// An overlay over a folder of this machine.
    fn over(folder: &Path, exclude: &[&str]) -> Overlay {
        let (store, scratch) = (folder.join("store"), folder.join("scratch"));
        fs::create_dir_all(&scratch).unwrap();
        let store = crate::store::Store::open(&store).unwrap();
        let exclude = exclude.iter().map(|text| path(text)).collect();
        let lower = Lower::Live(Live { root: folder.join("root"), exclude, delta: None });
        Overlay::new(store, lower, Options { record: true, ..Options::new(scratch) }).unwrap()
    }

    #[test]
    fn paths_are_followed_inside_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join("root").join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::create_dir_all(at("hidden/in")).unwrap();
        fs::write(at("a/file"), "").unwrap();
        for (name, target) in [
            ("relative", "a/b"),
            ("a/absolute", "/a"),
            ("a/up", "../../../a/./b"),
            ("to-missing", "/none/there"),
            ("loop", "loop"),
            ("to-file", "a/file"),
        ] {
            symlink(target, at(name)).unwrap();
        }
        let overlay = over(folder.path(), &["/hidden"]);
        for (asked, led, there) in [
            ("/", "/", true),
            ("/a/b", "/a/b", true),
            ("/relative", "/a/b", true),
            ("/a/absolute/absolute/b", "/a/b", true),
            ("/a/up/x/y", "/a/b/x/y", false),
            ("/to-missing", "/none/there", false),
            ("/to-missing/more", "/none/there/more", false),
            ("/to-file", "/a/file", true),
            ("/hidden/in", "/hidden/in", false),
        ] {
            let place = follow(&overlay, &path(asked)).unwrap();
            assert_eq!((place.path, place.found.is_some()), (path(led), there), "{asked}");
        }
        let stuck = |text: &str| follow(&overlay, &path(text)).err().map(|stuck| (stuck.at, stuck.errno));
        assert_eq!(stuck("/loop"), Some((path("/"), Errno::LOOP)));
        assert_eq!(stuck("/to-file/x"), Some((path("/a/file"), Errno::NOTDIR)));
    }

    #[test]
    fn accounts_are_read_inside_the_root_and_traced() {
        let folder = tempfile::tempdir().unwrap();
        let etc = folder.path().join("root/etc");
        fs::create_dir_all(&etc).unwrap();
        fs::write(folder.path().join("root/list"), "app:x:7:8::/home/app:/bin/sh\n").unwrap();
        // Absolute: of the root, not of the machine.
        symlink("/list", etc.join("passwd")).unwrap();
        let overlay = over(folder.path(), &[]);
        let owner = crate::spec::types::Owner::parse("app").unwrap();
        assert_eq!(accounts(&overlay).unwrap().resolve(&owner), Ok((7, 8)));
        let trace = overlay.commit(None).unwrap().trace.unwrap();
        assert!(trace.entries[&path("/list")].content.is_some());
        assert!(trace.entries[&path("/etc/group")].absent);
    }

    #[test]
    fn what_is_no_list_of_accounts_is_refused_without_waiting_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let etc = folder.path().join("root/etc");
        fs::create_dir_all(&etc).unwrap();
        nix::unistd::mkfifo(&etc.join("passwd"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let error = accounts(&over(folder.path(), &[])).unwrap_err();
        assert_eq!(error.message(), "/etc/passwd is not a file");
    }
}
