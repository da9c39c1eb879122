//! Did you mean …: the nearest of the words that would have been right.

/// The candidate that `text` is most likely a slip of; none if all are far. Ties go to the first.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters wrong is a slip, more is another word.
    let limit = (text.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != text)
        .map(|candidate| (distance(text, candidate), candidate))
        // Of one letter nothing is left.
        .filter(|(distance, candidate)| *distance <= limit && *distance < text.len().max(candidate.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits that turn one text into the other: insert, remove, replace, swap two neighbours. Case and `-`/`_` are half
/// the slip that other letters are, so they never count as more than one.
fn distance(left: &str, right: &str) -> usize {
    let fold = |text: &str| -> Vec<char> {
        text.chars().take(64).map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    let (left, right) = (fold(left), fold(right));
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(letter != other);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && *letter == right[column - 1] && left[row - 1] == *other;
            if swapped {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[right.len()]
}

/// `a`, `b` and `c` in back quotes; the first eight and a count if there are many.
pub fn list<T: AsRef<str>>(words: &[T]) -> String {
    const SHOWN: usize = 8;
    let quoted: Vec<String> = words.iter().take(SHOWN).map(|word| format!("`{}`", word.as_ref())).collect();
    match (quoted.as_slice(), words.len().saturating_sub(SHOWN)) {
        ([], _) => "none".to_owned(),
        ([one], _) => one.clone(),
        ([first @ .., last], 0) => format!("{} and {last}", first.join(", ")),
        (all, more) => format!("{} and {more} more", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found() {
        let words = ["entrypoint", "env", "from", "files", "pass-env", "workdir"];
        for (text, expected) in [
            ("form", Some("from")),
            ("frm", Some("from")),
            ("file", Some("files")),
            ("pass_env", Some("pass-env")),
            ("Workdir", Some("workdir")),
            ("entry-point", Some("entrypoint")),
            ("enviroment", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, words), expected, "{text}");
        }
        assert_eq!(nearest("x", ["a", "x1", "b"]), Some("x1"));
        assert_eq!(nearest("x", ["a", "b"]), None);
    }

    #[test]
    fn lists_read_well() {
        assert_eq!(list::<&str>(&[]), "none");
        assert_eq!(list(&["a"]), "`a`");
        assert_eq!(list(&["a", "b", "c"]), "`a`, `b` and `c`");
        let many: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(list(&many), "`0`, `1`, `2`, `3`, `4`, `5`, `6`, `7` and 2 more");
    }
}
