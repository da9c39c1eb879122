//! rbuild in other circumstances: a shell script makes them in namespaces of its own, so the machine is not touched.

use super::{Output, Project};
use std::{fs, process::Command};

/// Makes this an ordinary machine for user 65533, who has one id: the FUSE device is open to all, the project is theirs.
/// Arguments: the user's script, then rbuild and its own.
const AS_USER: &str = r#"
device=$(mktemp -d)
mknod -m 666 $device/fuse c 10 229
mount --bind $device/fuse /dev/fuse
rm -r $device 2> /dev/null || true
chown -R 65533:65533 "$FOLDER"
script=$1
shift 2
exec setpriv --reuid=65533 --regid=65533 --clear-groups sh -euc "$script" sh "$FOLDER/rbuild" "$@""#;

/// Hides parts of /proc as docker and kubernetes do.
pub const MASKED: &str = r#"
for name in acpi asound kcore keys latency_stats timer_list sched_debug scsi; do
    if [ -d /proc/$name ]; then mount -t tmpfs -o ro none /proc/$name
    elif [ -e /proc/$name ]; then mount --bind /dev/null /proc/$name; fi
done
for name in bus fs irq sys sysrq-trigger; do
    [ ! -e /proc/$name ] || { mount --bind /proc/$name /proc/$name; mount -o remount,bind,ro /proc/$name; }
done
"#;

impl Project {
    /// Runs rbuild by a script, as root in a mount namespace. In the script `"$@"` is rbuild with its arguments, and
    /// `$FOLDER` has `work`, `store` and `home`.
    pub fn elsewhere(&self, script: &str, arguments: &[&str]) -> Output {
        self.unshared(script, None, arguments)
    }

    /// The same as an ordinary user with one id, whose everything is then.
    pub fn elsewhere_as_user(&self, script: &str, arguments: &[&str]) -> Output {
        self.elsewhere_as_user_after("", script, arguments)
    }

    /// The same, on a machine that root made another one by a script before.
    pub fn elsewhere_as_user_after(&self, preparation: &str, script: &str, arguments: &[&str]) -> Output {
        // The build's own folder need not be open to others.
        let folder = self.path("").parent().expect("the project's folder").to_owned();
        fs::copy(env!("CARGO_BIN_EXE_rbuild"), folder.join("rbuild")).expect("rbuild");
        self.unshared(&format!("{preparation}{AS_USER}"), Some(script), arguments)
    }

    /// The same, as it is.
    pub fn as_user(&self, arguments: &[&str]) -> Output {
        self.elsewhere_as_user("exec \"$@\"", arguments)
    }

    fn unshared(&self, script: &str, first: Option<&str>, arguments: &[&str]) -> Output {
        let like = self.command();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-euc", script, "sh"]).args(first).arg(env!("CARGO_BIN_EXE_rbuild"));
        command.args(arguments).current_dir(self.path("")).env_clear();
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("FOLDER", self.path("").parent().expect("the project's folder"));
        let output = command.output().expect("unshare can be started");
        self.output(format!("rbuild {}, elsewhere", arguments.join(" ")), &output)
    }
}
