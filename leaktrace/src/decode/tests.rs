//! Malformed records, one by one and at random.
#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use leaktrace_common::record::{
    Family, Header, TextRef,
    file::{FdAcquire, FdRelease, WalkEntry},
    kind, text_flag, text_kind,
};
use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::{Body, DecodeError, Record, Text, records};

/// A record of `kind` with this payload; `len` overrides the header's length.
fn record(kind: u16, payload: &[u8], len: Option<u16>) -> Vec<u8> {
    let header = Header {
        len: len.unwrap_or((size_of::<Header>() + payload.len()) as u16),
        kind,
        ..Header::default()
    };
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(8), 0xa5);
    bytes
}

fn acquire(area: u16, text: TextRef, areas: &[u8]) -> Vec<u8> {
    let fd = FdAcquire {
        area,
        text,
        ..FdAcquire::default()
    };
    let mut payload = fd.as_bytes().to_vec();
    payload.extend_from_slice(areas);
    record(kind::FD_ACQUIRE, &payload, None)
}

fn user(len: u16) -> TextRef {
    TextRef {
        len,
        kind: text_kind::USER,
        flags: 0,
    }
}

fn release() -> Vec<u8> {
    record(kind::FD_RELEASE, FdRelease::default().as_bytes(), None)
}

#[test]
fn malformed_records_are_errors_and_the_next_one_is_read_where_the_length_is_good() {
    let short_release = record(kind::FD_RELEASE, &[0; 16], None);
    let walk_without_entries = {
        let mut payload = vec![0; 24];
        payload[20] = 0b11;
        payload.extend_from_slice(&[0; size_of::<WalkEntry>()]);
        record(kind::FD_WALK, &payload, None)
    };
    let table: Vec<(&str, Vec<u8>, DecodeError, usize)> = vec![
        (
            "short header",
            vec![1; 55],
            DecodeError::ShortHeader { at: 0, left: 55 },
            0,
        ),
        (
            "length 0",
            record(kind::FD_RELEASE, &[0; 32], Some(0)),
            length(0, 88 + 88),
            0,
        ),
        (
            "length below the header",
            record(kind::FD_RELEASE, &[0; 32], Some(48)),
            length(48, 176),
            0,
        ),
        (
            "length beyond the batch",
            record(kind::FD_RELEASE, &[0; 32], Some(60_000)),
            length(60_000, 176),
            0,
        ),
        (
            "payload cut",
            short_release,
            DecodeError::Payload {
                kind: kind::FD_RELEASE,
                len: 16,
            },
            1,
        ),
        (
            "text beyond its area",
            acquire(8, user(9), &[b'x'; 16]),
            text_error(9),
            1,
        ),
        (
            "text beyond the record",
            acquire(64, user(60), &[b'x'; 16]),
            text_error(60),
            1,
        ),
        (
            "text without area",
            acquire(0, user(1), b"x"),
            text_error(1),
            1,
        ),
        (
            "walk without its entries",
            walk_without_entries,
            DecodeError::Payload {
                kind: kind::FD_WALK,
                len: 80,
            },
            1,
        ),
    ];
    for (what, mut bytes, error, more) in table {
        if bytes.len() >= size_of::<Header>() {
            bytes.extend_from_slice(&release());
        }
        let batch = Bytes::from(bytes);
        let read: Vec<_> = records(&batch).collect();
        assert_eq!(
            read.first().unwrap().as_ref().unwrap_err(),
            &error,
            "{what}"
        );
        assert_eq!(
            read.iter().filter(|record| record.is_ok()).count(),
            more,
            "{what}"
        );
    }
}

fn length(len: u16, left: usize) -> DecodeError {
    DecodeError::Length { at: 0, len, left }
}

fn text_error(len: u16) -> DecodeError {
    DecodeError::Text {
        kind: kind::FD_ACQUIRE,
        index: 0,
        len,
    }
}

#[test]
fn unknown_kinds_and_families_are_skipped_by_length_and_counted() {
    let mut bytes = record(0x01ff, &[7; 12], None);
    bytes.extend_from_slice(&record(0x7f01, &[7; 40], None));
    bytes.extend_from_slice(&record(0, &[], None));
    bytes.extend_from_slice(&release());
    let batch = Bytes::from(bytes);
    let mut read = records(&batch);
    assert!(matches!(
        read.next(),
        Some(Ok(Record {
            body: Body::FdRelease(_),
            ..
        }))
    ));
    assert!(read.next().is_none());
    assert_eq!(read.unknown(), 3);
}

#[test]
fn a_batch_at_an_odd_address_reads_like_any_other() {
    let mut bytes = vec![0; 3];
    bytes.extend_from_slice(&acquire(8, user(4), b"/tmp...."));
    let batch = Bytes::from(bytes).slice(3..);
    let Some(Ok(Record {
        body: Body::FdAcquire(_, text),
        ..
    })) = records(&batch).next()
    else {
        panic!("no record");
    };
    assert_eq!(text.path().unwrap().as_ref(), b"/tmp");
}

#[test]
fn a_walk_becomes_a_path_from_the_root() {
    let walk = |bytes: &'static [u8], flags| {
        let reference = TextRef {
            len: bytes.len() as u16,
            kind: text_kind::WALK,
            flags,
        };
        super::text::text(0, bytes, 64, reference, 0).unwrap()
    };
    let path = |text: Text<'static>| text.path().map(|path| path.into_owned());
    assert_eq!(path(walk(b"c\0b\0a\0", 0)).unwrap(), b"/a/b/c");
    assert_eq!(path(walk(b"", 0)).unwrap(), b"/");
    assert_eq!(path(walk(b"c\0b\0", text_flag::TRUNCATED)).unwrap(), b"b/c");
    assert_eq!(path(walk(b"c\0", text_flag::FAULT)), None);
}

#[test]
fn every_kind_of_the_contract_is_decoded() {
    for number in 0..=u16::MAX {
        let bytes = Bytes::from(record(number, &[0; 1000], None));
        let mut read = records(&bytes);
        let known = read.next().is_some();
        let family = Family::from_number((number >> 8) as u8);
        let counts = [7, 3, 4, 3, 3, 6, 1, 14, 6];
        let expected = family.is_some_and(|family| {
            let low = number & 0xff;
            let others = [
                kind::FD_LOCK,
                kind::RING_EXIT,
                kind::SCOPE,
                kind::NAMESPACES,
                kind::EXIT_PENDING,
                kind::EXIT_TIMES,
            ];
            let first = low >= 1 && low <= counts[family as usize - 1];
            first || low == kind::CALL || others.contains(&number)
        });
        assert_eq!(known, expected, "{number:#06x}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let batch = Bytes::from(bytes);
        for record in records(&batch).flatten() {
            touch(&record);
        }
    }

    #[test]
    fn arbitrary_payloads_of_known_kinds_never_panic(
        family in 1u16..10, low in 1u16..10,
        payload in proptest::collection::vec(any::<u8>(), 0..1200),
    ) {
        let batch = Bytes::from(record(family << 8 | low, &payload, None));
        for record in records(&batch).flatten() {
            touch(&record);
        }
    }
}

/// Uses everything that is read lazily.
fn touch(record: &Record<'_>) {
    match &record.body {
        Body::FdWalk(walk) => assert!(walk.entries().count() <= 16),
        Body::FdAcquire(_, text)
        | Body::MqOpen(_, text)
        | Body::MqUnlink(_, text)
        | Body::MapSeed(_, text)
        | Body::Scope(_, text) => {
            drop(text.path());
        }
        Body::Name(_, texts) | Body::Exec(_, texts) => {
            for text in texts {
                drop(text.path());
                assert!(text.pieces().count() <= text.bytes.len() + 1);
            }
        }
        _ => {}
    }
}
