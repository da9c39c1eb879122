//! Where a variable is written and not replaced, for the one who wonders why it is not used.

use crate::spec::value::{Node, Value};

/// Whether `${name}` or `$name` stands in a string `run` or in `content` of a file, which belong to the shell and to
/// the file; if so, how the value gets there.
pub fn spared(root: &Node, name: &str) -> Option<String> {
    let bodies = || ["step", "test"].into_iter().filter_map(|kind| root.get(kind)).flat_map(Node::entries);
    if bodies().any(|(_, body)| body.get("run").is_some_and(|run| mentions(run, name))) {
        return Some(format!(
            "a string `run` belongs to its shell: hand the value over by env = {{ {name} = \"${{{name}}}\" }}"
        ));
    }
    let mut files = bodies().filter_map(|(_, body)| body.get("files")).flat_map(|files| match &files.value {
        Value::List(files) => files.as_slice(),
        _ => &[],
    });
    files.any(|file| file.get("content").is_some_and(|content| mentions(content, name))).then(|| {
        "`content` of a file belongs to the file: say `expand = true` for variables in it".to_owned()
    })
}

fn mentions(node: &Node, name: &str) -> bool {
    let Some(text) = node.text() else { return false };
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bare = format!("${name}");
    let mut found = text.match_indices(&bare).map(|(at, _)| text.as_bytes().get(at + bare.len()));
    text.contains(&format!("${{{name}}}")) || found.any(|next| next.is_none_or(|next| !is_part(*next)))
}
