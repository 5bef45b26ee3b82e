//! What was there before: the iterators.

use aya::Ebpf;
use bytes::{Bytes, BytesMut};

use leaktrace_common::record::{Header, TextRef, file::FdAcquire, kind, text_kind};
use zerocopy::{FromBytes, IntoBytes};

use super::{
    iterator,
    probe::{ITERATORS, REREAD, WAITING},
};
use crate::census::fd::path_of;

/// Runs every iterator once, in order, and returns their records.
pub fn read(ebpf: &mut Ebpf) -> anyhow::Result<Bytes> {
    let mut records = BytesMut::new();
    for (name, iterator) in ITERATORS {
        records.extend_from_slice(&iterator::run(ebpf, name, iterator)?);
    }
    Ok(named(&records))
}

/// Who has been waiting in a call for long. Loads the program when it is asked for the first
/// time: a short run never does.
pub fn waiting(ebpf: &mut Ebpf) -> anyhow::Result<Bytes> {
    let (name, iterator) = WAITING;
    iterator::run(ebpf, name, iterator).map(Bytes::from)
}

/// Has those that are wanted read again; what that tells comes through the ring, and the
/// iterator itself says nothing.
pub fn reread(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let (name, iterator) = REREAD;
    iterator::run(ebpf, name, iterator).map(drop)
}

/// Puts paths behind the fds that have one. The iterator cannot: a path of any length does not
/// fit its stack.
fn named(records: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(records.len() * 2);
    let mut rest = records;
    while let Ok((header, _)) = Header::read_from_prefix(rest) {
        let len = usize::from(header.len);
        let Some(record) = rest
            .get(..len)
            .filter(|record| record.len() >= size_of::<Header>())
        else {
            break;
        };
        append(&mut out, header, &record[size_of::<Header>()..]);
        rest = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    out.freeze()
}

fn append(out: &mut BytesMut, mut header: Header, payload: &[u8]) {
    let path = FdAcquire::read_from_prefix(payload)
        .ok()
        .filter(|_| header.kind == kind::FD_SEED)
        .and_then(|(fd, _)| Some((fd, path_of(header.pid, fd.fd)?)));
    match path {
        None => {
            out.extend_from_slice(header.as_bytes());
            out.extend_from_slice(payload);
        }
        Some((mut fd, path)) => {
            let len = path.len().min(usize::from(u16::MAX) / 2);
            fd.area = len as u16;
            fd.text = TextRef {
                len: len as u16,
                kind: text_kind::USER,
                flags: 0,
            };
            header.len = (size_of::<Header>() + size_of::<FdAcquire>() + len) as u16;
            out.extend_from_slice(header.as_bytes());
            out.extend_from_slice(fd.as_bytes());
            out.extend_from_slice(&path[..len]);
        }
    }
    out.resize(out.len().next_multiple_of(8), 0);
}
