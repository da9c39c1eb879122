//! The tar format itself: entries in, entries out. What they mean for a tree is said elsewhere.
//!
//! Read: v7, ustar, GNU (long names, sparse, base-256 numbers) and PAX, through `tar-core`, a parser without I/O.
//! Written: ustar, with a PAX header only where ustar can't say it.

pub(crate) mod member;
pub(crate) mod pax;
pub(crate) mod read;
pub(crate) mod sparse;
pub(crate) mod write;

/// Everything in a tar is counted in blocks of this many bytes.
pub(crate) const BLOCK: usize = 512;

/// A path of an archive as a person can read it: lossy, control characters escaped, never longer than a screen.
pub(crate) fn display(path: &[u8]) -> String {
    const LONGEST: usize = 300;
    let text = String::from_utf8_lossy(&path[..path.len().min(LONGEST)]);
    let mut out = String::with_capacity(text.len() + 3);
    for character in text.chars() {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    if path.len() > LONGEST {
        out.push('…');
    }
    out
}
