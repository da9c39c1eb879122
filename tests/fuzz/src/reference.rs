//! Names of images: any text.

use rbuild_registry::Reference;
use std::net::Ipv6Addr;

/// A name that is taken has the host that docker would ask, parts of docker's grammar, and is the same name when it is
/// displayed and read again.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(reference) = text.parse::<Reference>() else { return };
    let shown = reference.to_string();
    assert_eq!(shown.parse::<Reference>().ok().as_ref(), Some(&reference), "{text:?} is shown as {shown:?}");

    let (registry, path) = (reference.repository().registry(), reference.repository().path());
    let (host, rest) = split(text);
    assert!(same_host(registry, host), "{text:?} has the host {host:?}, not {registry:?}");
    assert!(is_host(registry), "{text:?}: {registry:?} is no host");
    assert!(path.len() <= 255 && path.split('/').all(is_path_part), "{text:?}: {path:?} is no path");

    let (name, digest) = rest.split_once('@').map_or((rest, None), |(name, digest)| (name, Some(digest)));
    let (name, tag) = name.split_once(':').map_or((name, None), |(name, tag)| (name, Some(tag)));
    let library = if host == "docker.io" && !name.contains('/') { "library/" } else { "" };
    assert_eq!(path, format!("{library}{name}"), "{text:?}");
    assert_eq!(reference.digest().map(AsRef::as_ref), digest, "{text:?}");
    let default = if digest.is_none() { Some("latest") } else { None };
    assert_eq!(reference.tag(), tag.or(default), "{text:?}");
    reference.tag().into_iter().for_each(|tag| assert!(is_tag(tag), "{text:?}: {tag:?} is no tag"));
    digest.into_iter().for_each(|digest| assert!(is_digest(digest), "{text:?}: {digest:?} is no digest"));
}

/// The host and the rest, as docker's `splitDockerDomain` (distribution/reference, normalize.go) takes them apart.
fn split(text: &str) -> (&str, &str) {
    let is_host = |first: &str| {
        first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase)
    };
    match text.split_once('/').filter(|(first, _)| is_host(first)) {
        Some(("index.docker.io", rest)) => ("docker.io", rest),
        Some(split) => split,
        None => ("docker.io", text),
    }
}

/// IPv6 addresses are the same however they are written.
fn same_host(one: &str, other: &str) -> bool {
    let address = |host: &str| {
        let (address, port) = host.strip_prefix('[')?.split_once(']')?;
        Some((address.parse::<Ipv6Addr>().ok()?, port.to_owned()))
    };
    one == other || address(one).is_some_and(|one| Some(one) == address(other))
}

/// `domainAndPort` of distribution/reference, regexp.go.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => ("a", port),
        _ => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_port =
        |port: &str| port.len() > 1 && port.starts_with(':') && port[1..].bytes().all(|b| b.is_ascii_digit());
    name.split('.').all(is_label) && (port.is_empty() || is_port(port))
}

/// `pathComponent` of the same: words in lower case between `.`, `_`, `__` and any number of `-`.
fn is_path_part(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_separator =
        |run: &str| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
    part.bytes().next().is_some_and(is_word)
        && part.bytes().next_back().is_some_and(is_word)
        && part.split(|c: char| u8::try_from(c).is_ok_and(is_word)).all(is_separator)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || b".-".contains(&byte))
}

/// In lower case, as go-digest wants it: an address of another case would be another blob.
fn is_digest(digest: &str) -> bool {
    let length = match digest.split_once(':') {
        Some(("sha256", _)) => 64,
        Some(("sha384", _)) => 96,
        Some(("sha512", _)) => 128,
        _ => return false,
    };
    let hex = &digest[7..];
    hex.len() == length && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
