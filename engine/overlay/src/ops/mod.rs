//! The operations, as a kernel asks for them.
//!
//! Each is a method of [`Overlay`](crate::Overlay). None checks permissions, none blocks on anything but the lower,
//! and none panics on any argument. Those that answer a [`Stat`](crate::Stat) for a name (`lookup`, `mknod`,
//! `create`, `mkdir`, `symlink`, `link`, and `readdir` if asked) count one look-up of that node, which
//! [`forget`](crate::Overlay::forget) takes back.
//!
//! | file | operations |
//! |---|---|
//! | `look` | lookup, forget, getattr, readlink, readdir, statfs |
//! | `create` | mknod, create, mkdir, symlink, link |
//! | `remove`, `rename` | unlink, rmdir, rename |
//! | `attributes` | setattr, and what clears set-id bits |
//! | `file` | read, write, fallocate, lseek, copy_file_range |
//! | `xattr`, `acl` | extended attributes and those with a meaning |

pub mod acl;
mod attributes;
mod create;
mod file;
mod look;
mod remove;
mod rename;
pub(crate) mod xattr;

pub use attributes::{SetAttributes, SetTime};
pub use create::Special;
pub use look::{Filesystem, Listed};
