//! What the tests share.

#[macro_use]
pub mod needs;

pub mod http;
pub mod image;
pub mod proxy;
pub mod registry;
pub mod tls;
pub mod token;

use rbuild_registry::{
    Client, Credentials, Environment, Event, Observer, Options, RegistryTables, RetryPolicy, Settings,
    Timeouts,
};
use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A client that sees nothing of this machine but what lies below a folder.
pub struct World {
    pub folder: tempfile::TempDir,
    pub tables: RegistryTables,
    pub options: Options,
    pub variables: Vec<(String, String)>,
}

impl World {
    pub fn new() -> Self {
        let options = Options {
            timeouts: Timeouts {
                connect: Duration::from_secs(5),
                first_byte: Duration::from_secs(5),
                idle: Duration::from_secs(5),
            },
            retry: RetryPolicy {
                first_wait: Duration::from_millis(4),
                longest_wait: Duration::from_millis(40),
                ..RetryPolicy::default()
            },
            ..Options::default()
        };
        let folder = tempfile::tempdir().unwrap();
        Self { folder, tables: RegistryTables::new(), options, variables: Vec::new() }
    }

    pub fn home(&self) -> &Path {
        self.folder.path()
    }

    pub fn environment(&self) -> Environment {
        let mut variables = vec![
            ("HOME".to_owned(), self.home().display().to_string()),
            ("PATH".to_owned(), format!("{}/bin:/usr/bin:/bin", self.home().display())),
        ];
        variables.extend(self.variables.iter().cloned());
        Environment::new(self.home().join("root"), variables)
    }

    pub fn settings(&self) -> Settings {
        Settings::load(&self.environment(), self.tables.clone()).unwrap()
    }

    pub fn client(&self) -> Client {
        Client::new(self.settings(), Credentials::new(self.environment()), self.options.clone())
    }

    /// What the client tells from now on.
    pub fn listen(&mut self) -> Arc<Heard> {
        let heard = Arc::new(Heard::default());
        self.options.observer = heard.clone();
        heard
    }

    pub fn write(&self, path: &str, content: &str) {
        let path = self.home().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// Counts what a client tells.
#[derive(Default)]
pub struct Heard {
    pub received: Mutex<u64>,
    pub sent: Mutex<u64>,
    pub retries: Mutex<Vec<String>>,
    pub places: Mutex<Vec<String>>,
}

impl Observer for Heard {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Received { bytes, .. } => *self.received.lock().unwrap() += bytes,
            Event::Sent { bytes, .. } => *self.sent.lock().unwrap() += bytes,
            Event::Retry { what, reason, .. } => {
                self.retries.lock().unwrap().push(format!("{what}: {reason}"))
            }
            Event::NextPlace { what, reason } => {
                self.places.lock().unwrap().push(format!("{what}: {reason}"))
            }
            _ => {}
        }
    }
}

/// Runs a program that must succeed; its output.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    output.stdout
}
