//! As much of HTTP/1.1 (RFC 9112) as a container engine needs: one request on a connection, whose body may be of any
//! length, and its answer, which is short.

use std::io::{self, BufRead, Read, Write};

/// Bytes of the body that go at once.
const CHUNK: usize = 1 << 17;
/// Lines of a head, and bytes of one.
const MOST_LINES: usize = 200;
const LONGEST_LINE: u64 = 16 << 10;
/// An answer is a document, or a few lines of progress.
const LONGEST_BODY: u64 = 16 << 20;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    /// What the server calls itself; empty if it does not.
    pub(super) server: String,
    pub(super) body: Vec<u8>,
}

/// Writes the head of a request; of a POST the body follows as [`Chunks`].
pub(super) fn write_head(out: &mut dyn Write, method: &str, target: &str) -> io::Result<()> {
    let body = match method {
        "POST" => "Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n",
        _ => "",
    };
    // Engines do not look at the host, but one must be named.
    write!(out, "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{body}\r\n")
}

/// A body, cut into chunks.
pub(super) struct Chunks<W: Write> {
    out: W,
    buffer: Vec<u8>,
    /// Why the other side takes no more.
    pub(super) broken: Option<io::Error>,
}

impl<W: Write> Chunks<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, buffer: Vec::with_capacity(CHUNK), broken: None }
    }

    /// Writes the end, without which the body counts for nothing.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.out.write_all(b"0\r\n\r\n")
    }

    fn send(&mut self) -> io::Result<()> {
        write!(self.out, "{:x}\r\n", self.buffer.len())?;
        self.out.write_all(&self.buffer)?;
        self.out.write_all(b"\r\n")
    }
}

impl<W: Write> Write for Chunks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        let taken = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        // An empty chunk would be the end.
        if self.buffer.is_empty() {
            return Ok(());
        }
        let sent = self.send();
        self.buffer.clear();
        sent.map_err(|error| {
            let told = io::Error::from(error.kind());
            self.broken = Some(error);
            told
        })
    }
}

/// Reads an answer to its end.
///
/// # Errors
/// The connection ends before; it is not HTTP; it is too long.
pub(super) fn read_response(reader: &mut dyn BufRead) -> io::Result<Response> {
    loop {
        let status = status(&line(reader)?)?;
        let headers = headers(reader)?;
        // Those are only the news that the answer is still to come.
        if !(100..200).contains(&status) {
            let server = headers.get("server").unwrap_or_default().to_owned();
            return Ok(Response { status, server, body: body(reader, &headers)? });
        }
    }
}

struct Headers(Vec<(String, String)>);

impl Headers {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

fn status(line: &str) -> io::Result<u16> {
    let number = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    number.and_then(|number| number.parse().ok()).ok_or_else(|| wrong("its answer is not HTTP/1"))
}

fn headers(reader: &mut dyn BufRead) -> io::Result<Headers> {
    let mut headers = Vec::new();
    for _ in 0..MOST_LINES {
        let line = line(reader)?;
        if line.is_empty() {
            return Ok(Headers(headers));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| wrong("its answer has a broken header"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Err(wrong("its answer has too many headers"))
}

fn body(reader: &mut dyn BufRead, headers: &Headers) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = line(reader)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| wrong("its answer has a broken chunk"))?;
            if size == 0 {
                // Trailers may follow; nobody reads on.
                return Ok(body);
            }
            take(reader, size, &mut body)?;
            if !self::line(reader)?.is_empty() {
                return Err(wrong("its answer has a broken chunk"));
            }
        }
    }
    match headers.get("content-length") {
        Some(length) => {
            let length = length.parse().map_err(|_| wrong("its answer has a broken length"))?;
            take(reader, length, &mut body)?;
        }
        None => {
            reader.take(LONGEST_BODY + 1).read_to_end(&mut body)?;
            check_length(body.len() as u64)?;
        }
    }
    Ok(body)
}

/// Reads exactly so many bytes more.
fn take(reader: &mut dyn BufRead, size: u64, body: &mut Vec<u8>) -> io::Result<()> {
    check_length(size.saturating_add(body.len() as u64))?;
    if reader.take(size).read_to_end(body)? as u64 == size { Ok(()) } else { Err(cut_off()) }
}

fn check_length(length: u64) -> io::Result<()> {
    if length > LONGEST_BODY { Err(wrong("its answer is too long")) } else { Ok(()) }
}

/// A line without its end.
fn line(reader: &mut dyn BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
    let Some(line) = bytes.strip_suffix(b"\n") else {
        let too_long = bytes.len() as u64 == LONGEST_LINE;
        return Err(if too_long { wrong("its answer has a line that is too long") } else { cut_off() });
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8(line.to_vec()).map_err(|_| wrong("its answer is not text"))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended before the answer")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> io::Result<(u16, String)> {
        let response = read_response(&mut text.as_bytes())?;
        Ok((response.status, String::from_utf8(response.body).unwrap()))
    }

    #[test]
    fn answers_of_every_form() {
        for (text, status, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyrest", 200, "body"),
            ("HTTP/1.1 404 Not Found\r\nX: y\r\n\r\nto the end", 404, "to the end"),
            ("HTTP/1.0 200 OK\n\n", 200, ""),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n",
                200,
                "abcd",
            ),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 X\r\nContent-Length: 1\r\n\r\n!", 500, "!"),
        ] {
            assert_eq!(read(text).unwrap(), (status, body.to_owned()), "{text}");
        }
        let named = b"HTTP/1.1 200 OK\r\nServer: Libpod/4.3.1 (linux)\r\n\r\n";
        assert_eq!(read_response(&mut &named[..]).unwrap().server, "Libpod/4.3.1 (linux)");
    }

    #[test]
    fn answers_that_are_none() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(20_000));
        for (text, told) in [
            ("", "the connection ended"),
            ("HTTP/1.1 200 OK\r\n", "the connection ended"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "the connection ended"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort", "the connection ended"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "broken chunk"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "broken chunk"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "too long"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "too long"),
            (&long, "too long"),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "broken header"),
            ("SSH-2.0-x\r\n", "not HTTP"),
            ("HTTP/1.1 ok\r\n", "not HTTP"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text:?}: {error}");
        }
    }

    #[test]
    fn what_is_sent_in_chunks_is_read_again() {
        let content: Vec<u8> = (0..CHUNK * 2 + 7).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut sent = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let mut chunks = Chunks::new(&mut sent);
        chunks.write_all(&content).unwrap();
        chunks.flush().unwrap();
        chunks.flush().unwrap();
        chunks.finish().unwrap();
        assert!(read_response(&mut &sent[..]).unwrap().body == content);
        // Without its end it is nothing.
        sent.truncate(sent.len() - 5);
        assert!(read_response(&mut &sent[..]).is_err());
    }
}
