//! Making and running sandboxes in a line or two.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{self, Stdio};
use std::sync::OnceLock;
use std::thread;

use rbuild_sandbox::{
    Command, Error, Exit, IdMap, Limits, MapMethod, Mount, Network, Output, Running, Sandbox, Setup,
};
use tempfile::TempDir;

use crate::runner::skip;

/// Set while all tests run without the newer system calls.
pub const OLD_KERNEL: &str = "SANDBOX_TEST_OLD_KERNEL";

pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a command left.
#[derive(Debug)]
pub struct Ended {
    pub exit: Exit,
    pub stdout: String,
    pub stderr: String,
    pub warnings: Vec<String>,
}

impl Ended {
    /// The trimmed stdout of a command that must have succeeded.
    pub fn text(&self) -> &str {
        assert_eq!(self.exit, Exit::Code(0), "{self:?}");
        self.stdout.trim_end()
    }
}

/// A set-up that runs `argv` on this machine's root, with a tmpfs on /tmp.
pub fn setup(argv: &[&str]) -> Setup {
    Setup {
        ids: IdMap::detect().unwrap(),
        hostname: "rbuild".into(),
        network: Network::None,
        mounts: vec![
            bind("/", "/", true),
            Mount::Proc,
            Mount::Sys,
            Mount::Dev,
            Mount::Tmpfs { target: "/tmp".into(), size: 1 << 20, mode: 0o1777 },
        ],
        command: Command {
            argv: argv.iter().map(Into::into).collect(),
            env: vec![("PATH".into(), PATH.into())],
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

pub fn shell(script: &str) -> Setup {
    setup(&["sh", "-c", script])
}

/// A recursive bind.
pub fn bind(source: impl AsRef<Path>, target: &str, read_only: bool) -> Mount {
    Mount::Bind { source: source.as_ref().into(), target: target.into(), read_only, recursive: true }
}

pub fn with(mut setup: Setup, change: impl FnOnce(&mut Setup)) -> Setup {
    change(&mut setup);
    setup
}

pub fn run(setup: &Setup) -> Ended {
    try_run(setup, Output::Separate).unwrap()
}

pub fn try_run(setup: &Setup, output: Output) -> Result<Ended, Error> {
    let mut started = Sandbox::spawn(setup, output)?;
    let (stdout, stderr) = (reader(started.stdout.take()), reader(started.stderr.take()));
    let mut running = started.proceed()?;
    let exit = running.wait()?;
    let warnings = running.warnings().to_vec();
    Ok(Ended { exit, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap(), warnings })
}

fn reader(pipe: Option<OwnedFd>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(pipe) = pipe {
            File::from(pipe).read_to_end(&mut text).unwrap();
        }
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Starts it and returns when its stdout has said `ready`.
pub fn start(setup: &Setup) -> (Running, File) {
    let mut started = Sandbox::spawn(setup, Output::Separate).unwrap();
    let mut stdout = File::from(started.stdout.take().unwrap());
    let running = started.proceed().unwrap();
    let mut word = [0; 6];
    stdout.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ready\n");
    (running, stdout)
}

pub fn directory() -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Root that may map ids.
pub fn need_root() {
    if IdMap::detect().unwrap().method != MapMethod::Direct {
        skip("needs root");
    }
}

/// For tests that change the mounts of a namespace of their own.
pub fn need_unshare() {
    let try_it = process::Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    if !try_it.is_ok_and(|status| status.success()) {
        skip("needs unshare -m");
    }
}

/// Tests that change their circumstances need not do so twice.
pub fn need_new_kernel() {
    if env::var_os(OLD_KERNEL).is_some() {
        skip("part of the run as on an old kernel");
    }
}

/// This program, where every user can execute it.
pub fn this_program() -> &'static Path {
    static COPY: OnceLock<(TempDir, std::path::PathBuf)> = OnceLock::new();
    let (_, program) = COPY.get_or_init(|| {
        let directory = directory();
        let program = directory.path().join("sandbox-test");
        fs::copy(env::current_exe().unwrap(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        (directory, program)
    });
    program
}

/// Runs an inner part of a test through a shell script in which `"$@"` is this program.
pub fn inner(script: &str, part: &str) -> String {
    let output = process::Command::new("sh")
        .args(["-ec", script, "sh"])
        .arg(this_program())
        .args(["--inner", part])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{part}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
