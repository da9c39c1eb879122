//! Debian's docker-registry on loopback.

use super::tls::Authority;
use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub struct Registry {
    pub folder: tempfile::TempDir,
    pub host: String,
    process: Child,
}

/// What the registry asks of its clients.
#[derive(Default)]
pub struct Setup<'a> {
    pub tls: Option<&'a Authority>,
    /// It wants a certificate from its own CA.
    pub client_certificates: bool,
    /// Lines of `auth:`, each indented by two.
    pub auth: String,
    /// A file beside the configuration.
    pub file: Option<(&'a str, Vec<u8>)>,
}

impl Registry {
    pub fn start() -> Self {
        Self::with(&Setup::default())
    }

    pub fn with(setup: &Setup<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let host = free_host();
        let mut config = format!(
            "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\nstorage:\n  filesystem: {{ rootdirectory: {path}/data }}\n  delete: {{ enabled: true }}\nhttp:\n  addr: {host}\n  secret: s\n"
        );
        if let Some(authority) = setup.tls {
            let (certificate, key) = authority.issue(folder.path(), "server");
            config.push_str(&format!("  tls:\n    certificate: {certificate}\n    key: {key}\n"));
            if setup.client_certificates {
                config.push_str(&format!("    clientcas:\n      - {}\n", authority.certificate()));
            }
        }
        if !setup.auth.is_empty() {
            config.push_str(&format!("auth:\n{}\n", setup.auth.replace("FOLDER", &path)));
        }
        if let Some((name, content)) = &setup.file {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let registry = Self { folder, host, process };
        registry.wait();
        registry
    }

    fn wait(&self) {
        let start = Instant::now();
        while TcpStream::connect(&self.host).is_err() {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(20), "the registry does not start: {}", log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Puts an image in with skopeo.
    pub fn seed(&self, source: &str, name: &str, arguments: &[&str]) {
        let target = format!("docker://{}/{name}", self.host);
        let mut all = vec!["copy", "--dest-tls-verify=false", "--quiet"];
        if arguments.iter().all(|argument| *argument == "--all") {
            all.push("--preserve-digests"); // else it compresses what is not
        }
        all.extend(arguments);
        all.extend([source, target.as_str()]);
        super::run("skopeo", &all);
    }

    /// The registry's files.
    pub fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data/docker/registry/v2")
    }

    /// A blob as the registry keeps it.
    pub fn stored(&self, digest: &str) -> Option<Vec<u8>> {
        let hex = digest.strip_prefix("sha256:").unwrap();
        std::fs::read(self.data().join("blobs/sha256").join(&hex[..2]).join(hex).join("data")).ok()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn free_host() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
