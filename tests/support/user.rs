//! rbuild as an ordinary user.

use super::{Output, Project};
use std::{fs, process::Command};

/// Gives /dev/fuse to everybody in a mount namespace of its own, and the project to the user.
const AS_USER: &str = r#"
    device=$(mktemp -d)
    mknod -m 666 $device/fuse c 10 229
    mount --bind $device/fuse /dev/fuse
    rm -r $device 2> /dev/null || true
    chown -R 65533:65533 "$1"
    rbuild=$1/rbuild
    shift
    exec setpriv --reuid=65533 --regid=65533 --clear-groups "$rbuild" "$@""#;

impl Project {
    /// Runs rbuild as a user who has one id and can use /dev/fuse; everything of the project is that user's then.
    ///
    /// Tests that use it say `needs!(fuse, root, setpriv, unshare)`.
    pub fn as_user(&self, arguments: &[&str]) -> Output {
        let folder = self.path("").parent().expect("the project's folder").to_owned();
        fs::copy(env!("CARGO_BIN_EXE_rbuild"), folder.join("rbuild")).expect("rbuild");
        let like = self.command();
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-euc", AS_USER, "sh"]).arg(&folder).args(arguments);
        command.current_dir(self.path("")).env_clear();
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command.output().expect("unshare can be started");
        self.output(format!("rbuild {}, as a user", arguments.join(" ")), &output)
    }
}
