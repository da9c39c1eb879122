//! `output = [{ docker = true }]`: images go into container engines.

use crate::support::{
    Project, busybox,
    engine::{Docker, Podman},
    said,
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::mpsc,
};

fn project() -> Project {
    busybox(
        "[image.app]\nfrom = 'base'\ntags = ['app:1', 'registry.example:5000/team/app:latest']\n\
         config = { entrypoint = ['/bin/echo', 'it', 'runs'] }\noutput = [{ docker = true }, { oci = 'dist' }]\n",
    )
}

#[track_caller]
fn apply(project: &Project, variable: &str, host: &str) -> String {
    let told = project.rbuild_with(&[(variable, host)], ["apply"]);
    assert_eq!(told.code, Some(0), "{told}");
    told.stderr
}

#[test]
fn sandbox_docker_has_the_image_and_gets_it_once() {
    needs!(root, busybox, dockerd, docker);
    let (project, docker) = (project(), Docker::start());
    let told = apply(&project, "DOCKER_HOST", &docker.host());
    for line in [
        "written  docker app:1\n",
        "docker registry.example:5000/team/app:latest\n",
        "docker image inspect app:1\n",
    ] {
        assert!(told.contains(line), "{told}");
    }
    assert_eq!(said(&mut docker.client(&["run", "--rm", "--network=none", "app:1"])), "it runs");
    // The engine notes when a name was last given to an image, and loading one gives it.
    let look = |tag| {
        let format = "--format={{.Id}} {{.Metadata.LastTagTime}}";
        said(&mut docker.client(&["image", "inspect", format, tag]))
    };
    let tags = ["app:1", "registry.example:5000/team/app:latest"];
    let first = tags.map(look);
    let config = project.layout("dist").manifest("1")["config"]["digest"].as_str().map(str::to_owned);
    assert_eq!(first[0].split(' ').next().map(str::to_owned), config);
    apply(&project, "DOCKER_HOST", &docker.host());
    assert_eq!(tags.map(look), first, "nothing is sent again");
    said(&mut docker.client(&["image", "rm", tags[1]]));
    apply(&project, "DOCKER_HOST", &docker.host());
    assert_eq!(look(tags[1]).split(' ').next(), first[1].split(' ').next());
}

#[test]
fn sandbox_podman_has_the_image_and_gets_it_once() {
    needs!(root, busybox, podman, runc);
    let (project, podman) = (project(), Podman::start());
    let told = apply(&project, "CONTAINER_HOST", &podman.host());
    assert!(
        told.contains("written  podman app:1\n") && told.contains("podman image inspect app:1\n"),
        "{told}"
    );
    let printed = said(&mut podman.client(&[&Podman::RUN[..], &["app:1"]].concat()));
    assert_eq!(printed, "it runs");
    let copies = || podman.log().matches("Copying config ").count();
    let first = copies();
    assert_ne!(first, 0, "{}", podman.log());
    apply(&project, "CONTAINER_HOST", &podman.host());
    assert_eq!(copies(), first, "nothing is sent again");
}

#[test]
fn without_an_engine_the_sockets_are_named() {
    needs!(busybox);
    let project = project();
    let told = project.rbuild_with(&[("DOCKER_HOST", "unix:///no/such.sock")], ["apply"]).failure(3);
    for part in
        ["error[docker-failed]: image `app`: ", "/no/such.sock", "DOCKER_HOST=unix:///PATH", "docker-archive"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = project.rbuild_with(&[("DOCKER_HOST", "tcp://u:secret@host:1")], ["apply"]).failure(3);
    assert!(told.contains("DOCKER_HOST is no socket of this machine") && !told.contains("secret"), "{told}");
    project.write_steps("[image.app]\nfrom = 'base'\noutput = [{ docker = true }]\n");
    let told = project.rbuild(["check"]).failure(2);
    assert!(told.contains("`docker` loads an image under its `tags`, and there are none"), "{told}");
}

/// An engine that calls each image it has by an id of its own, as docker on containerd's store does, and answers an
/// upload as it is told to.
struct Engine {
    socket: PathBuf,
    /// The first lines of the requests so far.
    requests: mpsc::Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Engine {
    fn start(answer: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (sender, requests) = mpsc::channel();
        // It ends with the process of this test.
        std::thread::spawn(move || {
            let mut has_it = false;
            for connection in listener.incoming().map_while(Result::ok) {
                let line = serve(&connection, &mut has_it, answer);
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { socket, requests, _folder: folder }
    }

    fn uploads(&self) -> usize {
        self.requests.try_iter().filter(|line| line.starts_with("POST /images/load?")).count()
    }
}

fn serve(connection: &UnixStream, has_it: &mut bool, answer: &str) -> String {
    let mut reader = BufReader::new(connection);
    let (mut first, mut line) = (String::new(), String::new());
    reader.read_line(&mut first).expect("a request");
    while line != "\r\n" {
        line.clear();
        assert_ne!(reader.read_line(&mut line).expect("a header"), 0, "a request has an end");
    }
    let answer = match first.as_str() {
        _ if first.starts_with("GET /_ping ") => "HTTP/1.1 200 OK\r\n\r\nOK",
        _ if first.starts_with("POST ") => {
            // One that refuses does not read to the end.
            if answer.contains(" 200 ") {
                let mut body = Vec::new();
                while !body.ends_with(b"\r\n0\r\n\r\n") {
                    body.push(reader.by_ref().bytes().next().expect("an end").expect("a body"));
                }
                *has_it = !answer.contains("error");
            }
            answer
        }
        _ if *has_it => "HTTP/1.1 200 OK\r\n\r\n{\"Id\":\"sha256:0\"}",
        _ => "HTTP/1.1 404 Not Found\r\n\r\n{\"message\":\"no such image\"}",
    };
    // Whoever has heard enough is gone.
    let _ = (&*connection).write_all(answer.as_bytes());
    first
}

#[test]
fn an_engine_with_ids_of_its_own_gets_an_image_once() {
    needs!(busybox);
    let (project, engine) =
        (project(), Engine::start("HTTP/1.1 200 OK\r\n\r\n{\"stream\":\"Loaded image: app:1\"}"));
    let host = format!("unix://{}", engine.socket.display());
    apply(&project, "DOCKER_HOST", &host);
    assert_eq!(engine.uploads(), 1);
    apply(&project, "DOCKER_HOST", &host);
    assert_eq!(engine.uploads(), 0);
    let spec = project.read("build.toml");
    project.write("build.toml", spec.replace("'runs'", "'walks'"));
    apply(&project, "DOCKER_HOST", &host);
    assert_eq!(engine.uploads(), 1, "it is another image");
}

#[test]
fn what_an_engine_has_against_an_image_is_told() {
    needs!(busybox);
    for (answer, told) in [
        ("HTTP/1.1 500 X\r\n\r\n{\"message\":\"no space left\"}", "it answers 500: no space left"),
        ("HTTP/1.1 200 OK\r\n\r\n{\"stream\":\"x\"}\n{\"error\":\"bad layer\"}\n", "caused by: bad layer"),
        ("nonsense\r\n", "it ended the connection"),
        ("", "it ended the connection"),
    ] {
        let (project, engine) = (project(), Engine::start(answer));
        let host = format!("unix://{}", engine.socket.display());
        let output = project.rbuild_with(&[("DOCKER_HOST", &host)], ["apply"]).failure(3);
        assert!(
            output.contains("error[docker-failed]: image `app`: ") && output.contains(told),
            "{answer}: {output}"
        );
        assert!(!project.path("dist").exists(), "outputs after it are not written");
    }
}

#[test]
fn waiting_for_an_engine_ends_with_the_build() {
    needs!(busybox);
    let project = project();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let mut command = project.command();
    command.args(["apply", "--progress", "quiet"]).env("DOCKER_HOST", format!("unix://{}", socket.display()));
    let mut build = command.spawn().expect("rbuild can be started");
    let _silent = listener.accept().expect("a connection");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(build.id()).expect("an id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
    assert_eq!(build.wait().expect("its end").code(), Some(130));
}
