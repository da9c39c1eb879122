//! A server for HTTP that does as it is told, also what no server should.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    fn body_length(&self) -> usize {
        self.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Instead of the true one.
    pub content_length: Option<usize>,
    /// The connection ends after so many bytes of the body.
    pub cut: Option<usize>,
    /// Before the body's last half.
    pub stall: Option<Duration>,
    /// Before anything.
    pub delay: Option<Duration>,
    /// No answer at all.
    pub hang_up: bool,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            content_length: None,
            cut: None,
            stall: None,
            delay: None,
            hang_up: false,
        }
    }

    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200).body(body)
    }

    pub fn hang_up() -> Self {
        Self { hang_up: true, ..Self::new(500) }
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// How it is talked to.
#[derive(Clone)]
pub struct Line {
    /// In one request.
    pub largest_body: usize,
    pub tls: Option<Arc<ServerConfig>>,
}

impl Default for Line {
    fn default() -> Self {
        Self { largest_body: usize::MAX, tls: None }
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

pub struct Server {
    pub address: SocketAddr,
    pub requests: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), handler)
    }

    pub fn on(listener: TcpListener, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(listener, Line::default(), handler)
    }

    /// A body of more bytes than this is answered 413, where the client asks (`Expect`) before it is sent.
    pub fn limited(largest_body: usize, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::line(&Line { largest_body, tls: None }, handler)
    }

    pub fn line(line: &Line, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(TcpListener::bind("127.0.0.1:0").unwrap(), line.clone(), handler)
    }

    fn with(
        listener: TcpListener,
        line: Line,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (seen, over, handler) = (requests.clone(), is_over.clone(), Arc::new(handler));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (line, seen, handler) = (line.clone(), seen.clone(), handler.clone());
                thread::spawn(move || {
                    let _ = stream.set_nodelay(true);
                    match &line.tls {
                        None => serve(stream, line.largest_body, &seen, &*handler),
                        Some(tls) => {
                            let tls = ServerConnection::new(tls.clone()).unwrap();
                            serve(StreamOwned::new(tls, stream), line.largest_body, &seen, &*handler)
                        }
                    }
                });
            }
        });
        Self { address, requests, is_over }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The same server, as another origin.
    pub fn other_host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    pub fn count(&self, method: &str, part: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|request| request.is(method, part)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    mut stream: impl Read + Write,
    largest_body: usize,
    seen: &Mutex<Vec<Request>>,
    handler: &Handler,
) -> Option<()> {
    loop {
        let mut request = match read_head(&mut stream).ok()? {
            Some(request) => request,
            None => {
                // As Go's server answers TLS.
                let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request");
                return None;
            }
        };
        let is_refused = request.body_length() > largest_body;
        let is_asked = request.header("expect").is_some();
        if is_asked && !is_refused {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        }
        if !(is_asked && is_refused) {
            request.body.resize(request.body_length(), 0);
            stream.read_exact(&mut request.body).ok()?;
        }
        seen.lock().unwrap().push(request.clone());
        let reply = if is_refused { Reply::new(413) } else { handler(&request) };
        let is_last = request.header("connection") == Some("close");
        if !write_reply(&mut stream, &request, &reply).ok()? || is_last {
            return None;
        }
    }
}

/// A request without its body. None for what is TLS.
fn read_head(stream: &mut impl Read) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
        if head[0] == 0x16 {
            return Ok(None);
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target) =
        (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Ok(Some(Request { method, target, headers, body: Vec::new() }))
}

/// Whether the connection lives on.
fn write_reply(stream: &mut impl Write, request: &Request, reply: &Reply) -> io::Result<bool> {
    reply.delay.iter().for_each(|delay| thread::sleep(*delay));
    if reply.hang_up {
        return Ok(false);
    }
    let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
    let own_length = reply.headers.iter().any(|(name, _)| {
        name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
    });
    if !own_length && reply.status != 204 {
        head.push_str(&format!("Content-Length: {}\r\n", reply.content_length.unwrap_or(reply.body.len())));
    }
    reply.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if request.method == "HEAD" {
        return Ok(true);
    }
    let body = &reply.body[..reply.cut.unwrap_or(reply.body.len()).min(reply.body.len())];
    let (first, last) = body.split_at(body.len() / 2);
    stream.write_all(first)?;
    reply.stall.iter().for_each(|stall| thread::sleep(*stall));
    stream.write_all(last)?;
    Ok(reply.cut.is_none() && reply.content_length.is_none_or(|length| length == reply.body.len()))
}
