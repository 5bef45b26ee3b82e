//! Text areas, and paths that the kernel told name by name.

use std::borrow::Cow;

use leaktrace_common::record::{TextRef, text_flag, text_kind};

use super::DecodeError;

/// A piece of text, where it lies in the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text<'a> {
    /// As it lies there: see [`text_kind`].
    pub bytes: &'a [u8],
    kind: u8,
    flags: u8,
}

impl<'a> Text<'a> {
    /// Whether there is none: not sent, or not readable.
    pub fn is_none(&self) -> bool {
        self.kind == text_kind::NONE || self.flags & text_flag::FAULT != 0
    }

    /// Whether there was more than the programs could send.
    pub fn is_truncated(&self) -> bool {
        self.flags & text_flag::TRUNCATED != 0
    }

    /// As the name of a unix socket, whose length a program may pass with all of `sun_path`: a path
    /// ends at its first NUL (unix_mkname_bsd, net/unix/af_unix.c of Linux 6.18); an abstract name
    /// begins with one and is as long as was said.
    #[must_use]
    pub fn of_socket(&self) -> Text<'a> {
        let end = self.bytes.iter().position(|byte| *byte == 0);
        match end {
            None | Some(0) => *self,
            Some(end) => Text {
                bytes: &self.bytes[..end],
                ..*self
            },
        }
    }

    /// Whether it is a path that the kernel told name by name.
    pub fn is_walk(&self) -> bool {
        self.kind == text_kind::WALK && !self.is_none()
    }

    /// The path or name; `None` if there is no text. A walk that was cut short gives a path
    /// without its beginning, and without a leading slash.
    pub fn path(&self) -> Option<Cow<'a, [u8]>> {
        if self.is_none() {
            return None;
        }
        if self.kind == text_kind::WALK {
            return Some(Cow::Owned(self.walked()));
        }
        Some(Cow::Borrowed(self.bytes))
    }

    /// Leaf-to-root names, each with its NUL, as a path.
    fn walked(&self) -> Vec<u8> {
        let mut path = Vec::with_capacity(self.bytes.len() + 1);
        let names = self.bytes.strip_suffix(&[0]).unwrap_or(self.bytes);
        for name in names.rsplit(|byte| *byte == 0) {
            if !name.is_empty() {
                path.push(b'/');
                path.extend_from_slice(name);
            }
        }
        if path.is_empty() {
            path.push(b'/');
        } else if self.is_truncated() {
            path.remove(0);
        }
        path
    }

    /// The NUL-terminated pieces of raw text (argv).
    pub fn pieces(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = if self.is_none() { &[][..] } else { self.bytes };
        let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
        let empty = bytes.is_empty();
        bytes.split(|byte| *byte == 0).filter(move |_| !empty)
    }
}

/// The text that `reference` number `index` names in the areas behind a payload.
#[inline]
pub(super) fn text<'a>(
    kind: u16,
    areas: &'a [u8],
    area: u16,
    reference: TextRef,
    index: usize,
) -> Result<Text<'a>, DecodeError> {
    let begin = usize::from(area) * index;
    let bytes = match reference.len {
        0 => Some(&[][..]),
        len if len > area => None,
        len => areas.get(begin..begin + usize::from(len)),
    };
    match bytes {
        Some(bytes) => Ok(Text {
            bytes,
            kind: reference.kind,
            flags: reference.flags,
        }),
        None => Err(DecodeError::Text {
            kind,
            index,
            len: reference.len,
        }),
    }
}

/// All texts of a payload.
#[inline]
pub(super) fn texts<'a, const N: usize>(
    kind: u16,
    areas: &'a [u8],
    area: u16,
    references: [TextRef; N],
) -> Result<[Text<'a>; N], DecodeError> {
    let mut texts = [Text::default(); N];
    for (index, (slot, reference)) in texts.iter_mut().zip(references).enumerate() {
        *slot = text(kind, areas, area, reference, index)?;
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_ends_at_its_first_nul_and_an_abstract_name_does_not() {
        let name = |bytes| {
            let text = Text {
                bytes,
                kind: text_kind::USER,
                flags: 0,
            };
            text.of_socket().bytes
        };
        assert_eq!(name(b"/tmp/s"), b"/tmp/s");
        assert_eq!(name(b"/tmp/s\0\0\0"), b"/tmp/s");
        assert_eq!(name(b"\0a\0b"), b"\0a\0b");
        assert_eq!(name(b""), b"");
    }
}
