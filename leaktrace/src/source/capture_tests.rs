#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::{
    super::{End, Start},
    *,
};
use crate::{
    census::{Answer, Found, Question},
    id::{FileId, KtimeNs, Pid, ProcessKey},
};

fn items() -> Vec<Item> {
    let key = ProcessKey {
        pid: Pid(7),
        start: KtimeNs(u64::MAX),
    };
    let question = Question::Path {
        path: b"/tmp/\xff\n".to_vec(),
        mnt_ns: 3,
        through: vec![key],
        id: None,
        bound: None,
    };
    let found = Found::File {
        id: FileId {
            dev: 1,
            ino: u64::MAX,
            generation: 2,
        },
        mode: 0o100_644,
        bytes: 1 << 60,
        entries: 0,
        birth_ns: Some(5),
        changed_ns: None,
        wall_ns: None,
        clock_was_set: false,
        holds_pid: None,
        elsewhere: None,
    };
    let gone = Answer {
        question: question.clone(),
        time_ns: 2,
        found: Found::Gone,
    };
    vec![
        Item::Start(Box::new(Start {
            cwd: b"/\xfe".to_vec(),
            settle_ns: 9,
            ..Start::default()
        })),
        Item::Records(Bytes::from_static(&[1, 2, 3, 4, 5, 6, 7, 8])),
        Item::Answer(Box::new(Answer {
            question,
            time_ns: 1,
            found,
        })),
        Item::Answer(Box::new(gone)),
        Item::Tick(77),
        Item::Records(Bytes::new()),
        Item::End(Box::new(End {
            judged_ns: 4,
            ..End::default()
        })),
    ]
}

fn written(items: &[Item]) -> Vec<u8> {
    let mut writer = CaptureWriter::new(Vec::new()).unwrap();
    for item in items {
        writer.write(item).unwrap();
    }
    writer.finish().unwrap()
}

/// Everything that can be read, how far it went, and the error if there was one.
fn read(bytes: &[u8]) -> (Vec<Item>, Option<Extent>, Option<String>) {
    let mut reader = match CaptureReader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), None, Some(error.to_string())),
    };
    let mut items = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return (items, Some(reader.extent()), None),
            Err(error) => return (items, Some(reader.extent()), Some(error.to_string())),
        }
    }
}

#[test]
fn what_is_written_is_read_again() {
    let (got, extent, error) = read(&written(&items()));
    assert_eq!(format!("{got:?}"), format!("{:?}", items()));
    assert_eq!((extent, error), (Some(Extent::Complete), None));
}

#[test]
fn a_cut_capture_is_read_up_to_the_cut() {
    let whole = written(&items());
    let mut most = 0;
    for len in HEADER_LEN..whole.len() {
        let (got, extent, error) = read(&whole[..len]);
        assert_eq!(
            (extent, error),
            (Some(Extent::CutShort), None),
            "cut at {len}"
        );
        assert!(
            got.len() >= most && got.len() < items().len(),
            "cut at {len}"
        );
        most = got.len();
    }
    assert_eq!(most, items().len() - 1);
}

#[test]
fn other_files_are_refused_with_one_clear_error() {
    let whole = written(&items());
    let with = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    let mut longer = whole.clone();
    longer.push(0);
    let frame = |kind: u32, len: u32, payload: &[u8]| {
        let mut bytes = written(&items()[..1]);
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes
    };
    for (what, bytes, error) in [
        ("empty", Vec::new(), "not a leaktrace capture"),
        (
            "half a header",
            whole[..9].to_vec(),
            "not a leaktrace capture",
        ),
        (
            "text",
            b"{\"schema\": \"leaktrace.report/1\"}".to_vec(),
            "not a leaktrace capture",
        ),
        ("newer format", with(8, 9), "capture is of format 9"),
        ("other records", with(13, 9), "records of version"),
        ("other byte order", with(10, 3), "other byte order"),
        ("no start", written(&items()[1..]), "one start, at its head"),
        (
            "two starts",
            written(&[items(), items()].concat()),
            "bytes behind the end",
        ),
        (
            "second start",
            frame(frame::START, 0, &[]),
            "one start, at its head",
        ),
        ("unknown frame", frame(6, 0, &[]), "unknown frame type 6"),
        ("frame type 0", frame(0, 0, &[]), "unknown frame type 0"),
        (
            "huge frame",
            frame(frame::RECORDS, u32::MAX, &[]),
            "a frame of 4294967295 bytes",
        ),
        (
            "short tick",
            frame(frame::TICK, 7, &[0; 7]),
            "a tick is 8 bytes",
        ),
        (
            "answer is no json",
            frame(frame::ANSWER, 1, b"x"),
            "damaged at byte",
        ),
        (
            "answer is other json",
            frame(frame::ANSWER, 2, b"{}"),
            "missing field",
        ),
        ("trailing byte", longer, "bytes behind the end"),
    ] {
        let got = read(&bytes).2.unwrap_or_default();
        assert!(got.contains(error), "{what}: {got:?}");
    }
}

#[test]
fn a_path_that_cannot_be_written_is_found_at_once() {
    let error = CaptureWriter::create(Path::new("/proc/nowhere/capture")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    // write(2) to /dev/full fails where open(2) does not.
    let error = CaptureWriter::create(Path::new("/dev/full")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
}

proptest! {
    #[test]
    fn damage_never_panics(
        damage in proptest::collection::vec((0_usize..10_000, any::<u8>()), 0..6),
        cut in 0_usize..10_000,
    ) {
        let mut bytes = written(&items());
        for (at, byte) in damage {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        bytes.truncate(cut);
        let _ = read(&bytes);
    }
}
