//! Small pieces of text: sizes, counts, words for the shell, and lines that can't play with the terminal.

use std::{iter::Peekable, str::Chars};

/// `512 B`, `1.4 KiB`, `45.0 MiB`: powers of 1024.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths of a unit in whole numbers: a float would round 1023.99 up to "1024.0 KiB".
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// `1 layer`, `3 layers`.
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Prose in lines of at most `width` characters, where its words allow; each has a line end.
pub fn wrap(prose: &str, width: usize) -> String {
    let mut wrapped = String::new();
    let mut used = 0;
    for word in prose.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            wrapped.push('\n');
            used = 0;
        }
        if used > 0 {
            wrapped.push(' ');
            used += 1;
        }
        wrapped.push_str(word);
        used += length;
    }
    wrapped + "\n"
}

/// A word as a POSIX shell takes it.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What a terminal would show of one line: escape sequences and control characters are gone, of the parts between
/// carriage returns (progress bars) the last one that is not empty stays. Tabs stay.
pub fn line(text: &str) -> String {
    let visible = plain_text(text);
    let last = visible.rsplit('\r').find(|part| !part.trim().is_empty());
    last.unwrap_or_default().to_owned()
}

/// The same of several lines; each line break stays.
pub fn lines(text: &str) -> String {
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Without escape sequences, and without control characters but tab and carriage return.
fn plain_text(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => skip_escape(&mut characters),
            '\u{9b}' => skip_control_sequence(&mut characters),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut characters),
            '\t' | '\r' => visible.push(character),
            other if other.is_control() => {}
            other => visible.push(other),
        }
    }
    visible
}

/// What follows ESC, by ECMA-48.
fn skip_escape(characters: &mut Peekable<Chars<'_>>) {
    match characters.peek() {
        Some('[') => {
            characters.next();
            skip_control_sequence(characters);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(characters),
        _ => {
            while characters.next_if(|c| matches!(c, ' '..='/')).is_some() {}
            characters.next_if(|c| matches!(c, '0'..='~'));
        }
    }
}

/// Parameters, intermediates and the final character; a broken one ends where it breaks.
fn skip_control_sequence(characters: &mut Peekable<Chars<'_>>) {
    while characters.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    characters.next_if(|c| matches!(c, '@'..='~'));
}

/// A string for the terminal (its title, a link): up to BEL or ST. One that never ends takes the line with it.
fn skip_string(characters: &mut Peekable<Chars<'_>>) {
    while let Some(character) = characters.next() {
        match character {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                characters.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1_048_576, "1.0 MiB"),
            (47_185_920, "45.0 MiB"),
            (1 << 40, "1.0 TiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn prose() {
        assert_eq!(wrap("one two  three\nfour", 9), "one two\nthree\nfour\n");
        assert_eq!(wrap("a-word-that-is-too-long x", 5), "a-word-that-is-too-long\nx\n");
        assert_eq!(wrap("", 5), "\n");
    }

    #[test]
    fn words_of_a_shell() {
        for (word, quoted) in [
            ("dist/shop.tar", "dist/shop.tar"),
            ("oci:dist/shop:1.0", "oci:dist/shop:1.0"),
            ("a b", "'a b'"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("ü", "'ü'"),
        ] {
            assert_eq!(quote(word), quoted);
        }
    }

    #[test]
    fn escapes_are_gone() {
        for (raw, visible) in [
            ("plain\ttext", "plain\ttext"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}x", "x"),
            ("\u{1b}]8;;http://a\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}Pdata\u{9c}x", "x"),
            ("\u{1b}(Bx\u{1b}=y", "xy"),
            ("\u{9b}2Kx", "x"),
            ("a\u{8}\u{0}\u{7f}b", "ab"),
            ("10%\r50%\r100%", "100%"),
            ("done\r", "done"),
            ("\u{1b}[", ""),
            ("\u{1b}", ""),
            ("\u{1b}]never ends", ""),
            ("\u{1b}[3\u{1b}[1mx", "x"),
            ("", ""),
        ] {
            assert_eq!(line(raw), visible, "{raw:?}");
        }
        assert_eq!(lines("a\u{1b}[1m\n\nb\r\n"), "a\n\nb\n");
    }

    proptest! {
        #[test]
        fn no_control_character_survives(text in "[\\x00-\\x7f\\u{80}-\\u{9f}äé☃]{0,60}") {
            let visible = line(&text);
            prop_assert!(visible.chars().all(|c| c == '\t' || !c.is_control()), "{visible:?}");
            prop_assert_eq!(line(&visible), visible);
        }
    }
}
