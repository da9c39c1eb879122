//! A root of one program: Debian's static busybox, and the links that give it its names.

use super::Project;
use std::fs;

const APPLETS: &[&str] = &[
    "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "echo", "env", "false", "find", "grep", "head",
    "hostname", "id", "ip", "kill", "ln", "ls", "mkdir", "mkfifo", "mknod", "mount", "mv", "printf", "ps",
    "pwd", "readlink", "rm", "rmdir", "sed", "seq", "setsid", "sh", "sleep", "sort", "stat", "test", "touch",
    "tr", "true", "wc", "xargs",
];

/// A project whose spec begins with step `base`, which holds busybox under many names, /tmp, and the user `guest` (1000,
/// group 1001, also in `audio` and `video`, at home in /home/guest).
///
/// Tests that use it say `needs!(fuse, busybox)`.
pub fn busybox(steps: &str) -> Project {
    let project = Project::empty();
    fs::copy("/bin/busybox", project.path("busybox")).expect("busybox");
    project.chmod("busybox", 0o755);
    project.write_steps(steps);
    project
}

impl Project {
    /// Replaces what follows `base` in a spec made by [`busybox`].
    pub fn write_steps(&self, steps: &str) {
        self.write("build.toml", spec(steps));
    }

    /// The listing of a step's tree, without the lines of busybox and its names.
    #[track_caller]
    pub fn tree(&self, step: &str) -> String {
        let listing = self.rbuild(["inspect", "--tree", &format!("step.{step}")]).success();
        let kept = |line: &&str| !line.contains(" /bin/");
        listing.lines().filter(kept).map(|line| line.to_owned() + "\n").collect()
    }

    /// The paths of that listing: directories end in `/`, links show their target.
    #[track_caller]
    pub fn paths(&self, step: &str) -> Vec<String> {
        let path = |line: &str| Some(line[line.find(" /")? + 1..].to_owned());
        self.tree(step).lines().filter_map(path).collect()
    }
}

fn spec(steps: &str) -> String {
    let link = |name: &&str| format!("  {{ path = \"/bin/{name}\", target = \"busybox\" }},\n");
    let links: String = APPLETS.iter().map(link).collect();
    format!(
        r#"version = 1
epoch = 1700000000
[source.busybox]
path = "busybox"
[step.base]
copy = [{{ from = "busybox", dest = "/bin/" }}]
dirs = [{{ path = "/tmp", mode = "1777" }}]
files = [
  {{ path = "/etc/passwd", content = "root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1001::/home/guest:/bin/sh\n" }},
  {{ path = "/etc/group", content = "root:x:0:\naudio:x:29:guest\nvideo:x:44:other,guest\nguest:x:1001:\n" }},
]
links = [
{links}]
{steps}"#
    )
}
