//! A line to a registry on which things go wrong, by chance but the same way for the same seed.

use super::http::{Line, Reply, Request, Server};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Longer than a client of these tests waits.
pub const STALL: Duration = Duration::from_millis(400);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    DropBefore,
    DropAfter,
    CutRequest,
    CutAnswer,
    Stall,
    StallInside,
    FlipRequest,
    FlipAnswer,
    Unauthorized,
    TooMany,
    Broken,
    LongLength,
    ShortLength,
    Elsewhere,
}

const ALL: [Fault; 14] = [
    Fault::DropBefore,
    Fault::DropAfter,
    Fault::CutRequest,
    Fault::CutAnswer,
    Fault::Stall,
    Fault::StallInside,
    Fault::FlipRequest,
    Fault::FlipAnswer,
    Fault::Unauthorized,
    Fault::TooMany,
    Fault::Broken,
    Fault::LongLength,
    Fault::ShortLength,
    Fault::Elsewhere,
];

pub struct FaultyLine {
    pub server: Server,
    /// Where redirects lead.
    elsewhere: Server,
    pub faults: Arc<Mutex<Vec<Fault>>>,
    /// Requests elsewhere that brought credentials along.
    pub leaks: Arc<AtomicUsize>,
}

impl FaultyLine {
    /// One request in `one_in` meets a fault.
    pub fn start(upstream: &str, seed: u64, one_in: u32, line: &Line) -> Self {
        let scheme = if line.tls.is_some() { "https" } else { "http" };
        let leaks = Arc::new(AtomicUsize::new(0));
        let (count, host) = (leaks.clone(), upstream.to_owned());
        let elsewhere = Server::line(&Line { largest_body: usize::MAX, ..line.clone() }, move |request| {
            if request.header("authorization").is_some() {
                count.fetch_add(1, Ordering::Relaxed);
            }
            answer(&told(request, scheme), &host).unwrap_or_else(|_| Reply::hang_up())
        });
        let other = format!("{scheme}://{}", elsewhere.other_host());
        let faults = Arc::new(Mutex::new(Vec::new()));
        let (seen, random) = (faults.clone(), Mutex::new(fastrand::Rng::with_seed(seed)));
        let host = upstream.to_owned();
        let server = Server::line(line, move |request| {
            let (fault, at) = {
                let mut random = random.lock().unwrap();
                let fault = (random.u32(0..one_in) == 0).then(|| ALL[random.usize(0..ALL.len())]);
                (fault, random.f64())
            };
            seen.lock().unwrap().extend(fault);
            let own = format!("{scheme}://{}", request.header("host").unwrap());
            pass(&told(request, scheme), &host, &own, &other, fault, at).unwrap_or_else(|_| Reply::hang_up())
        });
        Self { server, elsewhere, faults, leaks }
    }

    /// As a client has them.
    pub fn hosts(&self) -> [String; 2] {
        [self.server.host(), self.elsewhere.other_host()]
    }
}

/// The registry behind gives addresses of what is before it.
fn told(request: &Request, scheme: &str) -> Request {
    let mut request = request.clone();
    request.headers.push(("X-Forwarded-Proto".to_owned(), scheme.to_owned()));
    request
}

/// `own` and `other` are addresses of the line and of where it sends others.
fn pass(
    request: &Request,
    upstream: &str,
    own: &str,
    other: &str,
    fault: Option<Fault>,
    at: f64,
) -> io::Result<Reply> {
    let position = |length: usize| ((length as f64) * at) as usize;
    let mut request = request.clone();
    let realm = format!("Bearer realm=\"{own}/token\",service=\"s\"");
    let unauthorized = Reply::new(401).header("WWW-Authenticate", realm);
    let is_token = request.path() == "/token";
    if !is_token && request.header("authorization") != Some("Bearer hunter2") {
        return Ok(unauthorized);
    }
    match fault {
        Some(Fault::DropBefore) => return Ok(Reply::hang_up()),
        Some(Fault::Stall) => return Ok(Reply { delay: Some(STALL), ..Reply::hang_up() }),
        // A token server that says so means it.
        Some(Fault::Unauthorized) if !is_token => return Ok(unauthorized),
        Some(Fault::TooMany) => return Ok(Reply::new(429).header("Retry-After", "0")),
        Some(Fault::Broken) => return Ok(Reply::new(if at < 0.5 { 500 } else { 503 })),
        Some(Fault::Elsewhere) if request.method == "GET" => {
            return Ok(Reply::new(307).header("Location", format!("{other}{}", request.target)));
        }
        Some(Fault::CutRequest) if !request.body.is_empty() => {
            return Ok(cut(&request, upstream, position(request.body.len())));
        }
        Some(Fault::FlipRequest) if !request.body.is_empty() => {
            let at = position(request.body.len());
            request.body[at] ^= 0x20;
        }
        _ => {}
    }
    let mut reply = answer(&request, upstream)?;
    let length = reply.body.len();
    match fault {
        Some(Fault::DropAfter) => reply.hang_up = true,
        Some(Fault::CutAnswer) if length > 0 => reply.cut = Some(position(length)),
        Some(Fault::StallInside) if length > 0 => {
            reply.stall = Some(STALL);
            reply.cut = Some(length);
        }
        Some(Fault::FlipAnswer) if length > 0 => reply.body[position(length)] ^= 0x20,
        Some(Fault::LongLength) if length > 0 => reply.content_length = Some(length + 10),
        Some(Fault::ShortLength) if length > 10 => reply.content_length = Some(length - 10),
        _ => {}
    }
    if reply.content_length.is_some() {
        reply.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
    }
    Ok(reply)
}

/// The token server's, or the registry's.
fn answer(request: &Request, upstream: &str) -> io::Result<Reply> {
    match request.path() {
        "/token" => Ok(Reply::ok(r#"{"token":"hunter2","expires_in":300}"#)),
        _ => forward(request, upstream),
    }
}

/// Sends so many bytes of a request's body on, and ends the connection on both sides.
pub fn cut(request: &Request, upstream: &str, at: usize) -> Reply {
    let mut first = request.clone();
    first.body.truncate(at);
    let _ = exchange(&first, upstream, request.body.len(), true);
    Reply::hang_up()
}

/// Sends a request on and takes the answer.
pub fn forward(request: &Request, upstream: &str) -> io::Result<Reply> {
    exchange(request, upstream, request.body.len(), false)
}

/// HTTP/1.0, so that the answer is in one piece. Credentials stay here: the registry behind wants none.
fn exchange(request: &Request, upstream: &str, length: usize, only_send: bool) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(upstream)?;
    let mut head = format!("{} {} HTTP/1.0\r\nConnection: close\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        let dropped = ["authorization", "content-length", "connection", "expect"];
        if !dropped.iter().any(|other| name.eq_ignore_ascii_case(other)) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    if length > 0 || matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&request.body)?;
    if only_send {
        // Closed with less than was announced; the registry shall have seen it before the next request.
        drop(stream);
        std::thread::sleep(Duration::from_millis(20));
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end =
        bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = text.lines();
    let status =
        lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|text| text.parse().ok()).unwrap_or(0);
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let headers = headers.filter(|(name, _)| !name.eq_ignore_ascii_case("connection")).collect();
    Ok(Reply { headers, body: bytes[end + 4..].to_vec(), ..Reply::new(status) })
}
