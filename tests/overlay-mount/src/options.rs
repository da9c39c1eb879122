//! The command line.

use crate::error::{Error, Result};
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
};

/// What is to be mounted. All paths are absolute: the server does not stay where it was started.
#[derive(Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// Lower directories, the uppermost first.
    pub lower: Vec<PathBuf>,
    /// Where the change goes to.
    pub upper: PathBuf,
    /// A directory on the same filesystem.
    pub work: PathBuf,
    /// Where to keep what was found in the lower directories, which must not change from then on.
    pub index: Option<PathBuf>,
    /// Marks of overlayfs are `user.*` attributes, not `trusted.*`.
    pub user_xattr: bool,
    /// Writes are gathered by the kernel.
    pub writeback: bool,
    /// Where the filesystem appears.
    pub mountpoint: PathBuf,
}

impl MountOptions {
    /// Reads `-o OPTIONS` (anywhere, more than once) and the mountpoint, the last argument that is no option:
    /// mount.fuse3(8) puts a source before it. Options that mean nothing here are ignored, as are `-f` and its like.
    ///
    /// # Errors
    /// Something is missing, or stated twice with different values.
    pub fn parse(arguments: &[OsString]) -> Result<Self> {
        let (options, mountpoint) = split_arguments(arguments)?;
        let path = |name: &str| options.iter().rev().find(|(known, _)| known == name.as_bytes());
        let required = |name: &str| match path(name) {
            Some((_, value)) if !value.is_empty() => Ok(value),
            _ => Err(Error::Usage(format!("-o {name}=DIR is missing"))),
        };
        let lower = split(required("lowerdir")?, b':');
        let lower = lower.iter().map(|part| absolute(&unescape(part)));
        Ok(Self {
            lower: lower.collect::<Result<_>>()?,
            upper: absolute(&unescape(required("upperdir")?))?,
            work: absolute(&unescape(required("workdir")?))?,
            index: path("index")
                .filter(|(_, value)| !matches!(&value[..], b"on" | b"off"))
                .map(|(_, value)| absolute(&unescape(value)))
                .transpose()?,
            user_xattr: path("userxattr").is_some(),
            writeback: path("writeback").is_some(),
            mountpoint: absolute(mountpoint.as_bytes())?,
        })
    }
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn split_arguments(arguments: &[OsString]) -> Result<(Pairs, &OsStr)> {
    let mut options = Pairs::new();
    let mut mountpoint = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let list = match argument.as_bytes() {
            b"-o" => arguments.next().map(|next| next.as_bytes()).unwrap_or_default(),
            [b'-', b'o', list @ ..] => list,
            [b'-', ..] => continue,
            _ => {
                mountpoint = Some(argument.as_os_str());
                continue;
            }
        };
        for option in split(list, b',') {
            let equals = option.iter().position(|byte| *byte == b'=').unwrap_or(option.len());
            let value = option.get(equals + 1..).unwrap_or_default();
            options.push((option[..equals].to_vec(), value.to_vec()));
        }
    }
    let usage = "say where to mount: overlay-mount -o lowerdir=A:B,upperdir=DIR,workdir=DIR MOUNTPOINT";
    Ok((options, mountpoint.ok_or_else(|| Error::Usage(usage.to_owned()))?))
}

/// The parts between separators that have no backslash before them; backslashes stay.
fn split(text: &[u8], separator: u8) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == separator {
            parts.push(Vec::new());
            continue;
        }
        let Some(part) = parts.last_mut() else { break };
        part.push(byte);
        if byte == b'\\' {
            part.extend(bytes.next());
        }
    }
    parts
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = text.iter().copied();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte });
    }
    out
}

fn absolute(path: &[u8]) -> Result<PathBuf> {
    let path = PathBuf::from(OsString::from_vec(path.to_vec()));
    std::path::absolute(&path).map_err(Error::io("make absolute", &path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(words: &[&str]) -> Result<MountOptions> {
        MountOptions::parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn both_orders_of_the_command_line_mean_the_same() {
        let first =
            parse(&["-o", r"lowerdir=/a\:b:/c\,d,upperdir=/u,workdir=/w,index=/i,xino=on", "/m"]).unwrap();
        let second = parse(&[
            "source",
            "/m",
            "-orw,dev",
            "-o",
            r"workdir=/w,upperdir=/u,lowerdir=/a\:b:/c\,d,index=/i",
        ])
        .unwrap();
        assert_eq!(first, second);
        assert_eq!(first.lower, [PathBuf::from("/a:b"), PathBuf::from("/c,d")]);
        assert_eq!((first.index, first.mountpoint), (Some("/i".into()), "/m".into()));
        // The kernel's own option of that name.
        assert_eq!(parse(&["-o", "lowerdir=/a,upperdir=/u,workdir=/w,index=off", "/m"]).unwrap().index, None);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (words, missing) in [
            (&["-o", "lowerdir=/a,upperdir=/u,workdir=/w"][..], "say where to mount"),
            (&["-o", "lowerdir=,upperdir=/u,workdir=/w", "/m"], "-o lowerdir=DIR"),
            (&["-o", "lowerdir=/a,workdir=/w", "/m"], "-o upperdir=DIR"),
            (&["/m"], "-o lowerdir=DIR"),
        ] {
            let error = parse(words).unwrap_err().to_string();
            assert!(error.contains(missing), "{error}");
        }
    }
}
