//! Colours, and lines broken to a width. Both work on finished lines: what comes from processes
//! and files is escaped in them, and none of it stands at the beginning of a line.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Colour;

/// Column at which a field's text begins.
const TEXT: usize = 14;
/// No line is broken to less: what is left would be unreadable.
const NARROWEST: usize = 20;

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[33m";
const GREEN: &str = "\x1b[32m";

/// The beginnings of lines that mean something.
const BEGINNINGS: [(&str, &str); 5] = [
    ("error ", RED),
    ("note  ", YELLOW),
    ("leaktrace: clean:", GREEN),
    ("leaktrace: inconclusive:", YELLOW),
    ("leaktrace:", BOLD),
];

/// A line in its colours.
pub(super) fn line(line: String, colour: Colour) -> String {
    if colour == Colour::Never {
        return line;
    }
    for (beginning, code) in BEGINNINGS {
        if let Some(rest) = line.strip_prefix(beginning) {
            return format!("{code}{beginning}{RESET}{rest}");
        }
    }
    match field(&line) {
        Some((name, text)) => format!("{DIM}{name}{RESET}{text}"),
        None => line,
    }
}

/// The name of a field of a block with its blanks, and its text.
fn field(line: &str) -> Option<(&str, &str)> {
    let (name, text) = line.split_at_checked(TEXT)?;
    let word = name.strip_prefix("      ")?;
    let is_name = word.starts_with(|c: char| c.is_ascii_lowercase());
    is_name.then_some((name, text))
}

/// A line as the lines of at most `width` columns that it takes; those after the first are
/// indented to the text.
pub(super) fn fold(line: String, width: usize) -> Vec<String> {
    let width = width.max(NARROWEST);
    if line.width() <= width {
        return vec![line];
    }
    let indent = match (field(&line), width > 2 * TEXT) {
        (Some(_), true) => TEXT,
        // Not 6, where a field's name would begin.
        (Some(_), false) | (None, _) => 7,
    };
    let mut lines = Vec::new();
    let mut rest = line.as_str();
    let mut room = width;
    let mut prefix = String::new();
    while rest.width() > room {
        let end = end(rest, room);
        lines.push(format!("{prefix}{}", rest[..end].trim_end()));
        rest = rest[end..].trim_start();
        prefix = " ".repeat(indent);
        room = width - indent;
    }
    if !rest.is_empty() {
        lines.push(format!("{prefix}{rest}"));
    }
    lines
}

/// Where to break: behind the last blank that fits and has text before it, else in a word.
fn end(text: &str, room: usize) -> usize {
    let begins = text.len() - text.trim_start().len();
    let mut columns = 0;
    let mut blank = None;
    for (at, c) in text.char_indices() {
        columns += c.width().unwrap_or(0);
        if columns > room {
            // At least one character, or this would never end.
            return blank.unwrap_or(at.max(c.len_utf8()));
        }
        // A field's name does not stand alone.
        if c == ' ' && at > begins.max(TEXT) {
            blank = Some(at);
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_field_is_broken_at_blanks_and_indented() {
        let line = "      by      4127 ipcmk -M 4096  <- 4126 sh ./ci/test.sh".to_owned();
        let lines = fold(line, 40);
        assert_eq!(
            lines,
            [
                "      by      4127 ipcmk -M 4096  <-",
                "              4126 sh ./ci/test.sh"
            ]
        );
    }

    #[test]
    fn only_what_leaktrace_says_is_coloured() {
        let field = "      by      4127 ipcmk".to_owned();
        assert_eq!(
            line(field, Colour::Ansi),
            "\x1b[2m      by      \x1b[0m4127 ipcmk"
        );
        let error = "error LT103 sysv-shm-left: x".to_owned();
        assert!(line(error, Colour::Ansi).starts_with("\x1b[1;31merror \x1b[0mLT103"));
        let plain = "              ipcmk".to_owned();
        assert_eq!(line(plain.clone(), Colour::Ansi), plain);
    }

    proptest! {
        #[test]
        fn nothing_but_blanks_is_lost(text in "[a-zé中 ]{0,120}", width in 1usize..90) {
            let folded = fold(text.clone(), width);
            for line in &folded {
                prop_assert!(line.width() <= width.max(NARROWEST), "{line}");
            }
            let bare = |text: &str| text.replace(' ', "");
            prop_assert_eq!(bare(&folded.concat()), bare(&text));
        }
    }
}
