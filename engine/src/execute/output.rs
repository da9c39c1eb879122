//! What a command prints: every byte into the log, every line to the reporter.

use crate::report::{Event, Reporter};
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::Path,
};

/// How many lines an error repeats.
const LAST_LINES: usize = 20;
/// A line longer than this is told in pieces.
const LONGEST: usize = 16 << 10;

/// Reads until every writer is gone. Gives the last lines.
///
/// # Errors
/// The log can't be written: the disk is full. What is printed after that is read and dropped, so that the command
/// does not hang.
pub(super) fn pump(
    pipe: OwnedFd,
    log: &Path,
    node: &str,
    reporter: &dyn Reporter,
) -> io::Result<Vec<String>> {
    let (mut pipe, mut file) = (File::from(pipe), File::create(log)?);
    let (mut lines, mut pending, mut buffer) = (VecDeque::new(), Vec::new(), vec![0; 32 << 10]);
    let mut written = Ok(());
    let mut tell = |line: &[u8]| {
        let line = clean(line);
        lines.push_back(line.clone());
        if lines.len() > LAST_LINES {
            lines.pop_front();
        }
        reporter.report(&Event::Output { node: node.to_owned(), line });
    };
    loop {
        let count = match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if written.is_ok() {
            written = file.write_all(&buffer[..count]);
        }
        pending.extend_from_slice(&buffer[..count]);
        let mut start = 0;
        while let Some(length) = pending[start..].iter().position(|byte| *byte == b'\n') {
            tell(&pending[start..start + length]);
            start += length + 1;
        }
        pending.drain(..start);
        if pending.len() > LONGEST {
            tell(&pending);
            pending.clear();
        }
    }
    if !pending.is_empty() {
        tell(&pending);
    }
    written.map(|()| lines.into())
}

/// A line for a terminal that is not the command's: text after the last carriage return (a progress bar's last state),
/// without escape sequences and other control characters.
fn clean(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.rsplit(|byte| *byte == b'\r').next().unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => skip_escape(&mut characters),
            '\t' => out.push('\t'),
            character if character.is_control() => {}
            character => out.push(character),
        }
    }
    out
}

/// CSI ends with a byte of @ to ~, OSC with BEL or ESC \; any other escape is one character.
fn skip_escape(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match characters.next() {
        Some('[') => while characters.next().is_some_and(|character| !('@'..='~').contains(&character)) {},
        Some(']') => {
            while let Some(character) = characters.next() {
                if character == '\x07' || (character == '\x1b' && characters.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_without_what_would_move_another_terminal() {
        let table: [(&[u8], &str); 7] = [
            (b"plain", "plain"),
            (b"dos\r", "dos"),
            (b" 10%\r 50%\r100%", "100%"),
            (b"\x1b[1;31mred\x1b[0m", "red"),
            (b"\x1b]0;title\x07after", "after"),
            (b"a\tb\x08\x07", "a\tb"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        ];
        for (line, expected) in table {
            assert_eq!(clean(line), expected, "{line:?}");
        }
    }
}
