//! Fingerprints: what is the same about a finding in the next run.
//!
//! A fingerprint must not change with pids, addresses, random names, the checkout's place, the
//! order of tests or an edited line; so none of these is in it. Names are reduced by a rule that
//! looks at their structure only ([`outline`]): whether a name of six letters is a word or was
//! drawn by mkstemp cannot be told from the name. What the outline drops is compared where two
//! runs are held against each other, see [`could_be_same`].

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// A shorter run of letters is not a random part: mkstemp(3) draws six characters, everything
/// else known draws more.
const RANDOM: usize = 6;

/// Bytes of the hash that are kept: 64 bits.
const KEPT: usize = 8;

/// What of an observation is the same in the next run.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Rule id.
    pub rule: String,
    /// Executable's name, as [`program`] reduces it.
    pub program: String,
    /// The script that it runs, or that the nearest ancestor with one runs.
    pub script: String,
    /// Test or other scope; empty if none.
    pub scope: String,
    /// Kind of the resource.
    pub kind: String,
    /// Its place, exactly: `$TMP/a1b2c3`, `./out/x`, or the last parts of an absolute path.
    pub place: String,
    /// The same of the other one of an order breach.
    pub other: String,
    /// Further facts that only help to tell which of several alike is meant.
    pub detail: String,
}

impl Identity {
    /// The fingerprint without its ordinal: 16 hex digits.
    pub fn group(&self) -> String {
        let place = outline(&self.place);
        let other = outline(&self.other);
        let parts = [
            // The scheme: a change of it changes every fingerprint, on purpose.
            "leaktrace/1",
            &self.rule,
            &self.program,
            &self.script,
            &self.scope,
            &self.kind,
            &place,
            &other,
        ];
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let mut text = String::with_capacity(2 * KEPT);
        for byte in &hash.finalize()[..KEPT] {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// Fingerprints of the observations of one rule, in their order: the group, and from the second
/// of a group on its ordinal, `1f…-2`. Ordinals follow what is told apart, never time.
pub fn fingerprints(identities: &[&Identity]) -> Vec<String> {
    let groups: Vec<String> = identities.iter().map(|it| it.group()).collect();
    let mut order: Vec<usize> = (0..identities.len()).collect();
    order.sort_by(|&a, &b| (&groups[a], identities[a]).cmp(&(&groups[b], identities[b])));
    let mut named = vec![String::new(); identities.len()];
    for alike in order.chunk_by(|&a, &b| groups[a] == groups[b]) {
        for (place, &i) in alike.iter().enumerate() {
            named[i] = fingerprint(&groups[i], place + 1);
        }
    }
    named
}

/// A group's `ordinal`-th fingerprint.
pub fn fingerprint(group: &str, ordinal: usize) -> String {
    match ordinal {
        0 | 1 => group.to_owned(),
        n => format!("{group}-{n}"),
    }
}

/// Group and ordinal of a fingerprint; `None` if it is none.
pub fn parse(fingerprint: &str) -> Option<(&str, usize)> {
    let (group, ordinal) = match fingerprint.split_once('-') {
        None => (fingerprint, 1),
        Some((group, ordinal)) => (group, ordinal.parse().ok().filter(|n| *n > 1)?),
    };
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (group.len() == 2 * KEPT && group.bytes().all(hex)).then_some((group, ordinal))
}

/// A path whose parts that may be random are `*`: every run of letters, digits and underscores
/// that is long enough, or has a digit in it.
pub fn outline(path: &str) -> String {
    let parts: Vec<String> = path.split('/').map(outline_of_part).collect();
    parts.join("/")
}

fn outline_of_part(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    let mut rest = part;
    while !rest.is_empty() {
        if let Some(length) = uuid(rest) {
            out.push('*');
            rest = &rest[length..];
            continue;
        }
        let length = rest.find(|c| !in_token(c)).unwrap_or(rest.len());
        let (token, after) = rest.split_at(length);
        match is_fixed(token) {
            true => out.push_str(token),
            false => out.push('*'),
        }
        let separator = after.chars().next().map_or(0, char::len_utf8);
        out.push_str(&after[..separator]);
        rest = &after[separator..];
    }
    out
}

fn in_token(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_fixed(token: &str) -> bool {
    token.chars().count() < RANDOM && !token.chars().any(char::is_numeric)
}

/// Length of the UUID that a text begins with: a group of four may have no digit in it.
fn uuid(text: &str) -> Option<usize> {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let head = text.get(..36)?;
    let mut groups = head.split('-');
    let fits = GROUPS.iter().all(|length| {
        groups.next().is_some_and(|group| {
            group.len() == *length && group.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    });
    (fits && groups.next().is_none()).then_some(36)
}

/// Whether two exact names of one outline may be two draws of the same name: they may, unless a
/// part of them is a word in both and not the same word.
pub fn could_be_same(a: &str, b: &str) -> bool {
    let mut of_a = a.split(|c| !in_token(c));
    let mut of_b = b.split(|c| !in_token(c));
    loop {
        match (of_a.next(), of_b.next()) {
            (Some(a), Some(b)) if a == b || !is_surely_word(a) || !is_surely_word(b) => {}
            (Some(_), Some(_)) => return false,
            (None, None) => return true,
            // Other numbers of parts have other outlines, but for UUIDs.
            (Some(_), None) | (None, Some(_)) => return true,
        }
    }
}

/// What follows each letter of the alphabet in words: the 292 pairs of letters that make up 97% of
/// those in Debian's list of English words (wamerican 2020.12.07). Of eight characters as Python's
/// tempfile draws them 1.8% read like words by their vowels alone, and 0.16% by these too.
const FOLLOWS: [&str; 26] = [
    "bcdefghiklmnprstuvwyz",
    "abeilorsu",
    "acehiklorstuy",
    "adegilorsuy",
    "abcdefghilmnoprstuvwxy",
    "aefilortu",
    "aeghilnorsu",
    "aeiorstuy",
    "abcdefgklmnoprstvz",
    "aeou",
    "aeils",
    "adeiklmostuy",
    "abeimopsu",
    "acdefgiklnostuvy",
    "abcdefgiklmnoprstuvwxy",
    "aehiloprstu",
    "u",
    "abcdefgiklmnoprstuvy",
    "acehiklmnopstuwy",
    "acehilorstuwy",
    "abcdefgilmnprst",
    "aeio",
    "aehinors",
    "eipt",
    "aeimps",
    "aei",
];

/// Whether a token is no draw of random letters, as far as its pairs of letters tell. Wrong answers
/// cost little: "no" for a word only means that two names are not told apart.
fn is_surely_word(token: &str) -> bool {
    let is_usual = |pair: &[u8]| {
        let in_word = pair.iter().all(u8::is_ascii_alphabetic);
        !in_word || follows(pair[0], pair[1])
    };
    is_word(token) && token.as_bytes().windows(2).all(is_usual)
}

/// Whether one letter follows another in many words.
fn follows(before: u8, letter: u8) -> bool {
    let place = before.to_ascii_lowercase().wrapping_sub(b'a');
    let letters = FOLLOWS.get(usize::from(place));
    letters.is_some_and(|letters| letters.as_bytes().contains(&letter.to_ascii_lowercase()))
}

/// Whether a token reads like words with a number behind them at most. One draw of random letters
/// in fifty does: where that would call a known leak new, [`is_surely_word`] is asked.
pub(crate) fn is_word(token: &str) -> bool {
    let name = token.trim_end_matches(|c: char| c.is_ascii_digit());
    !name.is_empty() && !name.starts_with("tmp") && name.split('_').all(is_plain_word)
}

fn is_plain_word(word: &str) -> bool {
    let tail = word.get(1..).unwrap_or_default();
    let one_case = tail.bytes().all(|b| b.is_ascii_lowercase())
        || word.bytes().all(|b| b.is_ascii_uppercase());
    let mut consonants = 0;
    let mut vowels = 0;
    for byte in word.bytes().map(|byte| byte.to_ascii_lowercase()) {
        match byte {
            b'a' | b'e' | b'i' | b'o' | b'u' | b'y' => {
                vowels += 1;
                consonants = 0;
            }
            b'a'..=b'z' => consonants += 1,
            _ => return false,
        }
        if consonants > 2 {
            return false;
        }
    }
    one_case && vowels > 0
}

/// The last part of an executable's path. Build tools put hashes behind names, temp names are
/// random: a long token with a digit in it is `*`.
pub fn program(exe: &str) -> String {
    let name = exe.rsplit('/').next().unwrap_or(exe);
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    let random = |token: &str| {
        token.chars().count() >= 8 && token.chars().any(char::is_numeric) && !is_word(token)
    };
    let mut out = String::with_capacity(name.len());
    for piece in name.split_inclusive(['-', '.']) {
        let token = piece.trim_end_matches(['-', '.']);
        out.push_str(if random(token) { "*" } else { token });
        out.push_str(&piece[token.len()..]);
    }
    out
}

/// Where something is, without where the checkout and the temp roots are: the rest below a root,
/// or the last two parts of any other path.
pub fn place(root: Root<'_>, path: &str) -> String {
    match root {
        Root::Temp(inside) => format!("$TMP/{inside}"),
        Root::Output(inside) => format!("./{inside}"),
        Root::Elsewhere => {
            let mut last: Vec<&str> = path.rsplit('/').take(2).collect();
            last.reverse();
            last.join("/")
        }
    }
}

/// The root that a path is below, and the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root<'a> {
    /// A temp root.
    Temp(&'a str),
    /// The working directory at start.
    Output(&'a str),
    /// Neither.
    Elsewhere,
}

#[cfg(test)]
#[path = "fingerprint_tests.rs"]
mod tests;
