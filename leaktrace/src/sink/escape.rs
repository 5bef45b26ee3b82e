//! Names from processes and files are hostile: a comm or a path can hold escape sequences, line
//! breaks, or marks that turn the direction of text. Every text sink passes them through here.

use std::{fmt::Write as _, io};

/// Makes bytes safe to show on a terminal: printable UTF-8 stays, everything else becomes
/// `\n`, `\t`, `\r`, `\xNN` (bytes that are not UTF-8, and control characters) or `\u{NNNN}`
/// (invisible and direction-turning characters). A backslash becomes `\\`, so that the result
/// cannot be mistaken for another name.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        escape_into(chunk.valid(), &mut out);
        for byte in chunk.invalid() {
            push(&mut out, format_args!("\\x{byte:02x}"));
        }
    }
    out
}

/// As [`escape`], for what is text already.
pub fn escape_str(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape_into(text, &mut out);
    out
}

/// What can stand in a message: files of others may hold words of any length.
pub fn shortened(text: &str) -> String {
    const ROOM: usize = 300;
    match text.char_indices().nth(ROOM) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

fn escape_into(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => push(out, format_args!("\\x{:02x}", c as u32)),
            c if is_unseen(c) => push(out, format_args!("\\u{{{:x}}}", c as u32)),
            c => out.push(c),
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

/// Characters that change how their neighbours look or that show nothing: line and paragraph
/// separators, zero-width ones, direction marks, overrides and isolates, tags; and what is no
/// character (U+FFFE and the like: Unicode, section 23.7), which XML cannot hold.
fn is_unseen(c: char) -> bool {
    let is_character = c as u32 & 0xfffe != 0xfffe;
    !is_character
        || matches!(
            c,
            '\u{00ad}'
                | '\u{034f}'
                | '\u{061c}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{17b4}'
                | '\u{17b5}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{fdd0}'..='\u{fdef}'
                | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// JSON text in which nothing acts on a terminal or hides: what JSON allows in a string as it
/// is and [`escape`] would not show becomes `\uNNNN`. It stays the same value.
pub fn json(text: String) -> String {
    let acts = |c: char| c != '\n' && (c.is_control() || is_unseen(c));
    // Reports have tens of megabytes; the first test takes many bytes at a time.
    let plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n');
    if text.as_bytes().iter().all(plain) || !text.contains(acts) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if acts(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                push(&mut out, format_args!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Writes JSON text on as [`json`] makes it, piece by piece: a report may be larger than what one
/// wants to have in memory. Pieces end between characters, as serde_json's do.
#[derive(Debug)]
pub struct JsonWriter<W>(pub W);

impl<W: io::Write> io::Write for JsonWriter<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n');
        if piece.iter().all(plain) {
            self.0.write_all(piece)?;
        } else {
            let text = str::from_utf8(piece)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            self.0.write_all(json(text.to_owned()).as_bytes())?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether text shows as itself: then it may be pasted into a command.
pub fn is_plain(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() || is_unseen(c) || c == '\u{fffd}')
}

/// A word for a POSIX shell, quoted if it must be; `None` if it does not show as itself.
pub fn shell_word(text: &str) -> Option<String> {
    if !is_plain(text) {
        return None;
    }
    let bare = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(bare) {
        return Some(text.to_owned());
    }
    Some(format!("'{}'", text.replace('\'', "'\\''")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_names_show_as_escapes() {
        assert_eq!(escape(b"a\x1b[31mb"), "a\\x1b[31mb");
        assert_eq!(escape("\u{9b}31m".as_bytes()), "\\x9b31m");
        assert_eq!(
            escape("x\u{202e}y\u{2066}".as_bytes()),
            "x\\u{202e}y\\u{2066}"
        );
        assert_eq!(escape(b"a\nb\\n\t\xff\x7f"), "a\\nb\\\\n\\t\\xff\\x7f");
        assert_eq!(escape("größe 中 🙂".as_bytes()), "größe 中 🙂");
    }

    #[test]
    fn a_shell_word_is_quoted_when_it_must_be() {
        assert_eq!(shell_word("/tmp/a-b.c").as_deref(), Some("/tmp/a-b.c"));
        assert_eq!(
            shell_word("/tmp/a b'c").as_deref(),
            Some("'/tmp/a b'\\''c'")
        );
        assert_eq!(shell_word("-rf").as_deref(), Some("'-rf'"));
        assert_eq!(shell_word("a\u{1b}b"), None);
    }

    proptest! {
        #[test]
        fn nothing_dangerous_comes_through(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let out = escape(&bytes);
            let without_replacement = out.replace(char::REPLACEMENT_CHARACTER, "");
            prop_assert!(is_plain(&without_replacement));
            let control = out.bytes().any(|byte| byte < 0x20);
            prop_assert!(!control);
        }

        #[test]
        fn different_names_stay_different(a in proptest::collection::vec(any::<u8>(), 0..12),
                                          b in proptest::collection::vec(any::<u8>(), 0..12)) {
            prop_assert_eq!(a == b, escape(&a) == escape(&b));
        }

        #[test]
        fn text_and_bytes_agree(text in any::<String>()) {
            prop_assert_eq!(escape(text.as_bytes()), escape_str(&text));
        }
    }
}
