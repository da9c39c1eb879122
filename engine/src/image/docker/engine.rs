//! A container engine, by the interface of docker's that podman has, too: the Docker Engine API, without a version in
//! its paths, so that each engine takes its own.

use super::{
    http::{Chunks, Response, read_response, write_head},
    sockets,
};
use crate::error::{Error, Result};
use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// How often a connection on which nothing happens looks whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// An engine that answers.
pub(super) struct Engine<'a> {
    socket: PathBuf,
    /// What is asked of it ends when this is set.
    stopped: &'a AtomicBool,
    is_podman: bool,
}

impl<'a> Engine<'a> {
    /// The engine of a caller with these variables.
    ///
    /// # Errors
    /// `docker-failed`: none answers.
    pub(super) fn find(variables: &BTreeMap<String, String>, stopped: &'a AtomicBool) -> Result<Self> {
        let mut tried = Vec::new();
        for socket in sockets::candidates(variables)? {
            let mut engine = Self { socket, stopped, is_podman: false };
            let wire = match engine.connect() {
                Ok(wire) => wire,
                Err(error) => {
                    tried.push(format!("{}: {error}", engine.socket.display()));
                    continue;
                }
            };
            let response = get(&wire, "/_ping").map_err(|error| engine.failed(error))?;
            if response.status != 200 {
                return Err(engine.refused(&response));
            }
            engine.is_podman = response.server.starts_with("Libpod");
            return Ok(engine);
        }
        let message = format!("no container engine answers: {}", tried.join("; "));
        Err(Error::source("docker-failed", message)
            .hint(
                "start docker, or podman's socket (`systemctl --user start podman.socket`), and see that you may use \
                 it; or name another one: DOCKER_HOST=unix:///PATH",
            )
            .hint(
                "for an engine elsewhere: output = [{ docker-archive = \"FILE\" }], and there `docker load -i FILE`",
            ))
    }

    /// `docker` or `podman`, as its program is called.
    pub(super) fn name(&self) -> &'static str {
        if self.is_podman { "podman" } else { "docker" }
    }

    /// Where it answers.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The id, `sha256:…`, of the image of this name and tag, if it has one.
    pub(super) fn image_id(&self, tag: &str) -> Result<Option<String>> {
        #[derive(serde::Deserialize)]
        struct Found {
            #[serde(rename = "Id")]
            id: String,
        }
        // Nothing that a tag may consist of has a meaning in a path.
        let response = self.get(&format!("/images/{tag}/json"))?;
        match response.status {
            404 => Ok(None),
            200 => match serde_json::from_slice::<Found>(&response.body) {
                Ok(found) => Ok(Some(found.id)),
                Err(error) => Err(self.failed(error)),
            },
            _ => Err(self.refused(&response)),
        }
    }

    /// Loads what `archive` writes, a docker-archive.
    pub(super) fn load(&self, archive: &mut dyn FnMut(&mut dyn Write) -> Result<()>) -> Result<()> {
        let wire = self.connect().map_err(|error| self.failed(error))?;
        write_head(&mut &wire, "POST", "/images/load?quiet=1").map_err(|error| self.failed(error))?;
        let mut body = Chunks::new(&wire);
        let written = archive(&mut body);
        let sent = match (written, body.broken.take()) {
            (_, Some(error)) => Err(error),
            // What can't be read is no fault of the engine, which drops what has no end.
            (Err(error), None) => return Err(error),
            (Ok(()), None) => body.finish(),
        };
        match (read_response(&mut BufReader::new(&wire)), sent) {
            // An engine that has seen enough says why.
            (Ok(response), _) if response.status != 200 => Err(self.refused(&response)),
            (_, Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(self.failed(io::Error::other("it ended the connection before it had the whole image")))
            }
            (_, Err(error)) | (Err(error), Ok(())) => Err(self.failed(error)),
            (Ok(response), Ok(())) => match failure(&response.body) {
                Some(message) => Err(self.failed(io::Error::other(message))),
                None => Ok(()),
            },
        }
    }

    fn get(&self, target: &str) -> Result<Response> {
        self.connect().and_then(|wire| get(&wire, target)).map_err(|error| self.failed(error))
    }

    fn connect(&self) -> io::Result<Wire<'a>> {
        let socket = UnixStream::connect(&self.socket)?;
        socket.set_read_timeout(Some(LOOK))?;
        socket.set_write_timeout(Some(LOOK))?;
        Ok(Wire { socket, stopped: self.stopped })
    }

    fn failed(&self, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
        if self.stopped.load(Ordering::SeqCst) {
            return Error::interrupted();
        }
        let message = format!("the container engine on {} can't load it", self.socket.display());
        Error::source("docker-failed", message).caused_by(cause)
    }

    fn refused(&self, response: &Response) -> Error {
        let said = failure(&response.body).unwrap_or_else(|| "it does not say why".to_owned());
        self.failed(io::Error::other(format!("it answers {}: {said}", response.status)))
    }
}

fn get(mut wire: &Wire<'_>, target: &str) -> io::Result<Response> {
    write_head(&mut wire, "GET", target)?;
    read_response(&mut BufReader::new(wire))
}

/// What went wrong by an answer: an object with `message`, or a stream of objects of which one has `error`.
fn failure(body: &[u8]) -> Option<String> {
    let objects = serde_json::Deserializer::from_slice(body).into_iter::<serde_json::Value>();
    objects.map_while(Result::ok).find_map(|object| {
        let said = ["error", "message"].into_iter().find_map(|key| object.get(key)?.as_str());
        said.map(str::to_owned)
    })
}

/// A connection whose waiting ends when everything is to stop.
struct Wire<'a> {
    socket: UnixStream,
    stopped: &'a AtomicBool,
}

impl Wire<'_> {
    fn patiently<T>(&self, mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match operation() {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && !self.stopped.load(Ordering::SeqCst) => {}
                done => return done,
            }
        }
    }
}

impl Read for &Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patiently(|| (&self.socket).read(buffer))
    }
}

impl Write for &Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(|| (&self.socket).write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_found() {
        for (body, expected) in [
            ("{\"stream\":\"Loaded image: a:1\\n\"}\r\n", None),
            (
                "{\"stream\":\"x\"}\n{\"errorDetail\":{\"message\":\"no space\"},\"error\":\"no space\"}\n",
                Some("no space"),
            ),
            ("{\"cause\":\"c\",\"message\":\"no such image\",\"response\":404}", Some("no such image")),
            ("Loaded image: a:1\n", None),
            ("", None),
        ] {
            assert_eq!(failure(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
