//! A mirror on loopback that is a registry but for some bytes of one blob, the first times it is asked for.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Where in the answer to the blob's request a byte is another.
const SPOILED: usize = 1 << 20;

/// The mirror; it ends with the test's process.
pub struct Spoiler {
    /// `127.0.0.1:PORT`
    pub host: String,
    spoiled: Arc<AtomicUsize>,
}

impl Spoiler {
    /// One of the registry at `upstream`, that spoils the first `times` answers to requests whose path has `word` in it.
    pub fn start(upstream: &str, word: &str, times: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let host = listener.local_addr().expect("its port").to_string();
        let spoiled = Arc::new(AtomicUsize::new(0));
        let (upstream, word, counter) = (upstream.to_owned(), word.to_owned(), spoiled.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, upstream) = (client.expect("a client"), upstream.clone());
                let (word, counter) = (word.clone(), counter.clone());
                // A client that goes away is no concern of the mirror's.
                thread::spawn(move || answer(client, &upstream, &word, &counter, times));
            }
        });
        Self { host, spoiled }
    }

    /// How many answers it has spoiled.
    pub fn spoiled(&self) -> usize {
        self.spoiled.load(Ordering::SeqCst)
    }
}

/// One request, one answer, one connection.
fn answer(
    mut client: TcpStream,
    upstream: &str,
    word: &str,
    spoiled: &AtomicUsize,
    times: usize,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let mut registry = TcpStream::connect(upstream)?;
    registry.write_all(head.as_bytes())?;
    let mut all = Vec::new();
    registry.read_to_end(&mut all)?;
    let is_wanted = head.starts_with("GET ") && head.lines().next().is_some_and(|line| line.contains(word));
    if is_wanted && all.len() > SPOILED && spoiled.load(Ordering::SeqCst) < times {
        spoiled.fetch_add(1, Ordering::SeqCst);
        for byte in &mut all[SPOILED..SPOILED + 64] {
            *byte = !*byte;
        }
    }
    client.write_all(&all)
}
