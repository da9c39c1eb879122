//! Container engines of a test's own, in temporary folders, ended when dropped.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// docker and its daemon.
pub struct Docker {
    folder: tempfile::TempDir,
    daemon: Child,
}

impl Docker {
    /// Starts it, and waits until it answers.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("rbuild-docker-").tempdir().expect("a temporary folder");
        let place = |name: &str| folder.path().join(name);
        let log = fs::File::create(place("log")).expect("a log");
        let daemon = Command::new("dockerd")
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--data-root"])
            .arg(place("data"))
            .arg("--exec-root")
            .arg(place("exec"))
            .arg("--pidfile")
            .arg(place("pid"))
            .arg("--host")
            .arg(format!("unix://{}", place("socket").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("dockerd can be started");
        let mut docker = Self { folder, daemon };
        docker.wait_until_it_answers();
        docker
    }

    fn wait_until_it_answers(&mut self) {
        let start = Instant::now();
        while !self.client(&["version"]).output().is_ok_and(|output| output.status.success()) {
            let ended = self.daemon.try_wait().expect("the daemon's state");
            let patient = ended.is_none() && start.elapsed() < Duration::from_secs(60);
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(patient, "dockerd does not answer ({ended:?}): {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What `DOCKER_HOST` is for it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("socket").display())
    }

    /// Its own client.
    pub fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(self.host()).args(arguments);
        command
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // It takes its containers and mounts along only if it is asked to end.
        end(&mut self.daemon);
    }
}

/// podman, with images of its own.
pub struct Podman {
    folder: tempfile::TempDir,
    service: Option<Child>,
}

impl Podman {
    /// The first arguments that run a container inside most containers, too.
    pub const RUN: [&str; 5] =
        ["run", "--rm", "--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"];

    /// Without a service.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("rbuild-podman-").tempdir().expect("a temporary folder");
        Self { folder, service: None }
    }

    /// With the service that its socket stands for.
    pub fn start() -> Self {
        let mut podman = Self::new();
        let log = fs::File::create(podman.folder.path().join("log")).expect("a log");
        let mut command = podman.client(&["system", "service", "--time=0", &podman.host()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let service = podman.service.insert(command.spawn().expect("podman can be started"));
        let start = Instant::now();
        while UnixStream::connect(podman.folder.path().join("socket")).is_err() {
            let ended = service.try_wait().expect("the service's state");
            assert!(ended.is_none() && start.elapsed() < Duration::from_secs(60), "no podman: {ended:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        podman
    }

    /// What `DOCKER_HOST` is for its service.
    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("socket").display())
    }

    /// What its service has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }

    /// Itself.
    pub fn client(&self, arguments: &[&str]) -> Command {
        let place = |name: &str| -> PathBuf { self.folder.path().join(name) };
        let mut command = Command::new("podman");
        // Settings with which it runs inside most containers too.
        command.args([
            "--storage-driver=vfs",
            "--runtime=runc",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
        ]);
        for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(place(name));
        }
        command.args(arguments).env("HOME", self.folder.path());
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        if let Some(service) = &mut self.service {
            end(service);
        }
    }
}

/// buildah, with containers and images of its own.
pub struct Buildah {
    folder: tempfile::TempDir,
}

impl Buildah {
    /// Without any.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("rbuild-buildah-").tempdir();
        Self { folder: folder.expect("a temporary folder") }
    }

    /// Itself.
    pub fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("buildah");
        command.arg("--storage-driver=vfs");
        for (option, name) in [("--root", "root"), ("--runroot", "run")] {
            command.arg(option).arg(self.folder.path().join(name));
        }
        command.args(arguments).env("HOME", self.folder.path());
        command
    }
}

fn end(process: &mut Child) {
    let pid = i32::try_from(process.id()).map(nix::unistd::Pid::from_raw);
    let _ = pid.map(|pid| nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM));
    let _ = process.wait();
}
