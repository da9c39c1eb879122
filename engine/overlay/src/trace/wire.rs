//! Bytes of traces and of the digests in them: LEB128 numbers, length-prefixed strings, as in `rbuild_tree::encoding`.

use super::{Attributes, SeenKind};
use rbuild_tree::{Device, ObjectId, Timestamp};

/// Appends.
#[derive(Default)]
pub(crate) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push((value & 0x7f) as u8);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub fn time(&mut self, time: Timestamp) {
        self.0.extend_from_slice(&time.seconds.to_le_bytes());
        self.0.extend_from_slice(&time.nanoseconds.to_le_bytes());
    }

    pub fn digests(&mut self, digests: &[Option<ObjectId>]) {
        digests.iter().flatten().for_each(|digest| self.0.extend_from_slice(digest.as_bytes()));
    }

    pub fn attributes(&mut self, attributes: &Attributes) {
        match &attributes.kind {
            SeenKind::File(size) => {
                self.byte(0);
                self.number(*size);
            }
            SeenKind::Directory => self.byte(1),
            SeenKind::Symlink(target) => {
                self.byte(2);
                self.bytes(target);
            }
            SeenKind::CharDevice(device) => self.device(3, *device),
            SeenKind::BlockDevice(device) => self.device(4, *device),
            SeenKind::Fifo => self.byte(5),
            SeenKind::Socket => self.byte(6),
        }
        for value in [attributes.mode, attributes.uid, attributes.gid] {
            self.number(value.into());
        }
        let parts = [attributes.mtime.is_some(), attributes.xattrs.is_some(), attributes.links.is_some()];
        self.byte(parts.iter().rev().fold(0, |byte, part| byte << 1 | u8::from(*part)));
        if let Some(time) = attributes.mtime {
            self.time(time);
        }
        self.digests(&[attributes.xattrs, attributes.links]);
    }

    fn device(&mut self, tag: u8, device: Device) {
        self.byte(tag);
        self.number(device.major.into());
        self.number(device.minor.into());
    }

    pub fn digest(self) -> ObjectId {
        ObjectId::of(&self.0)
    }
}

/// Takes off the front; a reason if it can't.
pub(crate) struct Reader<'a>(pub &'a [u8]);

type Read<T> = Result<T, &'static str>;

const SHORT: &str = "it ends too early";

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| SHORT)
    }

    pub fn byte(&mut self) -> Read<u8> {
        Ok(self.take(1)?[0])
    }

    pub fn number(&mut self) -> Read<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
                return Err("a number is not in its shortest form");
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is too long")
    }

    fn small(&mut self) -> Read<u32> {
        u32::try_from(self.number()?).map_err(|_| "a number is too large")
    }

    pub fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = usize::try_from(self.number()?).map_err(|_| SHORT)?;
        self.take(length)
    }

    pub fn time(&mut self) -> Read<Timestamp> {
        let time = Timestamp {
            seconds: i64::from_le_bytes(self.array()?),
            nanoseconds: u32::from_le_bytes(self.array()?),
        };
        if time.nanoseconds > 999_999_999 { Err("a time is out of range") } else { Ok(time) }
    }

    pub fn digest(&mut self, present: bool) -> Read<Option<ObjectId>> {
        Ok(if present { Some(ObjectId::from_bytes(self.array()?)) } else { None })
    }

    pub fn attributes(&mut self) -> Read<Attributes> {
        let kind = match self.byte()? {
            0 => SeenKind::File(self.number()?),
            1 => SeenKind::Directory,
            2 => SeenKind::Symlink(self.bytes()?.into()),
            3 => SeenKind::CharDevice(self.device()?),
            4 => SeenKind::BlockDevice(self.device()?),
            5 => SeenKind::Fifo,
            6 => SeenKind::Socket,
            _ => return Err("an entry is of no known kind"),
        };
        let (mode, uid, gid) = (self.small()?, self.small()?, self.small()?);
        let flags = self.byte()?;
        if flags > 7 {
            return Err("attributes have unknown parts");
        }
        let mtime = if flags & 1 == 0 { None } else { Some(self.time()?) };
        let (xattrs, links) = (self.digest(flags & 2 != 0)?, self.digest(flags & 4 != 0)?);
        Ok(Attributes { kind, mode, uid, gid, mtime, xattrs, links })
    }

    fn device(&mut self) -> Read<Device> {
        Ok(Device { major: self.small()?, minor: self.small()? })
    }
}
