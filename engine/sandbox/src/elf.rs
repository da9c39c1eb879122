//! What a program's header says: its machine and its loader.
//!
//! Only used to explain why `execve` failed, so everything odd is `None`. The file comes from the step and may be
//! anything: every read is bounded, every sum checked.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The longest path the kernel takes.
const LONGEST_PATH: u64 = 4096;
/// The kernel reads this much of a script to find its first line.
const SCRIPT_HEADER: usize = 256;
/// PT_INTERP.
const INTERPRETER_SEGMENT: u64 = 3;

/// What is known of a program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Program {
    /// The machine it was built for.
    pub(crate) machine: Option<String>,
    /// The program the kernel starts in its place: the `#!` line's or the dynamic loader.
    pub(crate) interpreter: Option<String>,
}

/// Reads the header of the file at `path`.
pub(crate) fn inspect(path: &Path) -> Program {
    let Ok(file) = File::open(path) else { return Program::default() };
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Program::default();
    }
    let head = read_up_to(&file, 0, SCRIPT_HEADER);
    if let Some(line) = head.strip_prefix(b"#!") {
        return Program { machine: None, interpreter: script_interpreter(line) };
    }
    let Some(elf) = Elf::parse(head) else { return Program::default() };
    Program { machine: Some(elf.machine()), interpreter: elf.interpreter(&file) }
}

fn script_interpreter(line: &[u8]) -> Option<String> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    words.next().map(|word| String::from_utf8_lossy(word).into_owned())
}

fn read_up_to(file: &File, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    bytes.truncate(filled);
    bytes
}

struct Elf {
    head: Vec<u8>,
    wide: bool,
    big: bool,
}

impl Elf {
    fn parse(head: Vec<u8>) -> Option<Self> {
        let ident = head.get(..20)?;
        if !ident.starts_with(b"\x7fELF") {
            return None;
        }
        let (wide, big) = (ident[4] == 2, ident[5] == 2);
        Some(Self { head, wide, big })
    }

    fn number(&self, bytes: &[u8], offset: usize, size: usize) -> Option<u64> {
        let bytes = bytes.get(offset..offset.checked_add(size)?)?;
        let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if self.big { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) })
    }

    fn machine(&self) -> String {
        let name = match self.number(&self.head, 18, 2).unwrap_or(0) {
            3 => "i386",
            8 => "mips",
            20 => "ppc",
            21 => "ppc64",
            22 => "s390x",
            40 => "arm",
            62 => "x86_64",
            183 => "aarch64",
            243 => "riscv64",
            258 => "loongarch64",
            number => return format!("ELF machine {number}"),
        };
        name.to_owned()
    }

    /// The PT_INTERP segment.
    fn interpreter(&self, file: &File) -> Option<String> {
        let word = if self.wide { 8 } else { 4 };
        let table = self.number(&self.head, if self.wide { 32 } else { 28 }, word)?;
        let size = usize::try_from(self.number(&self.head, if self.wide { 54 } else { 42 }, 2)?).ok()?;
        let count = usize::try_from(self.number(&self.head, if self.wide { 56 } else { 44 }, 2)?).ok()?;
        // At most 65,535 entries of 65,535 bytes by the field sizes; real ones have a dozen.
        let headers = read_up_to(file, table, size.checked_mul(count.min(64))?);
        let mut entries = headers.chunks_exact(size.max(1));
        let entry = entries.find(|entry| self.number(entry, 0, 4) == Some(INTERPRETER_SEGMENT))?;
        let offset = self.number(entry, if self.wide { 8 } else { 4 }, word)?;
        let length = self.number(entry, if self.wide { 32 } else { 16 }, word)?.min(LONGEST_PATH);
        let path = read_up_to(file, offset, usize::try_from(length).ok()?);
        let path = path.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(path).into_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn inspect_bytes(bytes: &[u8]) -> Program {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        inspect(file.path())
    }

    #[test]
    fn scripts_name_their_interpreter() {
        for (script, expected) in [
            (&b"#!/bin/sh\n"[..], Some("/bin/sh")),
            (b"#! \t/usr/bin/env  python3 -u\nx", Some("/usr/bin/env")),
            (b"#!\n/bin/sh", None),
            (b"#!/no/newline", Some("/no/newline")),
            (b"echo", None),
            (b"", None),
        ] {
            let program = inspect_bytes(script);
            assert_eq!(program.interpreter.as_deref(), expected, "{script:?}");
            assert_eq!(program.machine, None);
        }
    }

    #[test]
    fn this_program_is_understood() {
        let program = inspect(&std::env::current_exe().unwrap());
        assert_eq!(program.machine.as_deref(), Some(std::env::consts::ARCH));
        if let Some(interpreter) = program.interpreter {
            assert!(Path::new(&interpreter).exists(), "{interpreter}");
        }
    }

    #[test]
    fn both_sizes_and_byte_orders() {
        let mut arm = vec![0; 64];
        arm[..6].copy_from_slice(b"\x7fELF\x01\x01");
        arm[18] = 40;
        assert_eq!(inspect_bytes(&arm).machine.as_deref(), Some("arm"));
        let mut s390 = vec![0; 64];
        s390[..6].copy_from_slice(b"\x7fELF\x02\x02");
        s390[19] = 22;
        assert_eq!(inspect_bytes(&s390).machine.as_deref(), Some("s390x"));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), class in 1u8..3, order in 1u8..3) {
            if bytes.len() > 6 {
                bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order]);
            }
            let _ = inspect_bytes(&bytes);
        }
    }
}
