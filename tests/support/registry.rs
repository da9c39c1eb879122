//! Debian's docker-registry on loopback, with what skopeo put into it.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A registry; it ends with this value.
pub struct Registry {
    /// `127.0.0.1:PORT`
    pub host: String,
    folder: tempfile::TempDir,
    process: Child,
}

impl Registry {
    /// An empty one, open to all.
    pub fn start() -> Self {
        Self::with("")
    }

    /// An empty one that lets in one user alone.
    pub fn for_user(name: &str, password: &str) -> Self {
        let made = Command::new("htpasswd").args(["-Bbn", name, password]).output().expect("htpasswd");
        Self::with(&String::from_utf8_lossy(&made.stdout))
    }

    fn with(users: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let host = free.expect("a free port").to_string();
        let data = folder.path().join("data").display().to_string();
        let config = format!(
            "version: 0.1\nlog: {{ level: error }}\nhttp: {{ addr: '{host}' }}\n\
             storage: {{ filesystem: {{ rootdirectory: '{data}' }}, delete: {{ enabled: true }} }}\n"
        );
        let table = folder.path().join("users");
        std::fs::write(&table, users).expect("a file");
        let auth = format!("auth: {{ htpasswd: {{ realm: test, path: '{}' }} }}\n", table.display());
        let config = if users.is_empty() { config } else { config + &auth };
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config).expect("a file");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&file).env("OTEL_TRACES_EXPORTER", "none");
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("docker-registry");
        let start = Instant::now();
        while TcpStream::connect(&host).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "the registry does not start");
            thread::sleep(Duration::from_millis(10));
        }
        Self { host, folder, process }
    }

    /// Puts an image of a layout in, as `NAME:TAG`, without changing its digest.
    pub fn push(&self, layout: &Path, reference: &str, name: &str) {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", "--dest-tls-verify=false", "--preserve-digests"]);
        skopeo.arg(format!("oci:{}:{reference}", layout.display()));
        let ended = skopeo.arg(format!("docker://{}/{name}", self.host)).output().expect("skopeo");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }

    /// The digest of an image, by skopeo.
    pub fn digest(&self, name: &str) -> String {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"]);
        let ended = skopeo.arg(format!("docker://{}/{name}", self.host)).output().expect("skopeo");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8_lossy(&ended.stdout).trim().to_owned()
    }

    /// Forgets all manifests.
    pub fn forget(&self) {
        let repositories = self.folder.path().join("data/docker/registry/v2/repositories");
        std::fs::remove_dir_all(repositories).expect("the registry's files");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
