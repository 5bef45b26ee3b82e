//! What was there before: the iterators.

use std::io::Read as _;

use anyhow::Context as _;
use aya::{Btf, Ebpf, programs::Iter};
use bytes::{Bytes, BytesMut};

use leaktrace_common::record::{Header, TextRef, file::FdAcquire, kind, text_kind};
use zerocopy::{FromBytes, IntoBytes};

use super::probe::{ITERATORS, REREAD, WAITING};
use crate::census::fd::path_of;

/// Runs every iterator once, in order, and returns their records.
pub fn read(ebpf: &mut Ebpf) -> anyhow::Result<Bytes> {
    let mut records = BytesMut::new();
    for (name, iterator) in ITERATORS {
        records.extend_from_slice(&run(ebpf, name, iterator)?);
    }
    Ok(named(&records))
}

/// Who has been waiting in a call for long. Loads the program when it is asked for the first
/// time: a short run never does.
pub fn waiting(ebpf: &mut Ebpf) -> anyhow::Result<Bytes> {
    let (name, iterator) = WAITING;
    run(ebpf, name, iterator).map(Bytes::from)
}

fn run(ebpf: &mut Ebpf, name: &str, iterator: &str) -> anyhow::Result<Vec<u8>> {
    let program: &mut Iter = ebpf
        .program_mut(name)
        .with_context(|| format!("find program `{name}` in the object"))?
        .try_into()?;
    if program.fd().is_err() {
        let types = Btf::from_sys_fs().context("read the kernel's BTF")?;
        program
            .load(iterator, &types)
            .with_context(|| format!("load iterator `{iterator}`"))?;
    }
    let id = program
        .attach()
        .with_context(|| format!("attach iterator `{iterator}`"))?;
    let mut file = program
        .take_link(id)?
        .into_file()
        .context("open an iterator")?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .with_context(|| format!("read iterator `{iterator}`"))?;
    Ok(bytes)
}

/// The program that has processes read again, once it is needed.
#[derive(Debug, Default)]
pub enum Rereads {
    /// It was not needed yet.
    #[default]
    NotLoaded,
    /// It is there.
    Loaded,
}

/// Has those that are wanted read again; what that tells comes through the ring.
pub fn reread(ebpf: &mut Ebpf, state: &mut Rereads) -> anyhow::Result<()> {
    let (name, iterator) = REREAD;
    let program: &mut Iter = ebpf
        .program_mut(name)
        .with_context(|| format!("find program `{name}` in the object"))?
        .try_into()?;
    if matches!(state, Rereads::NotLoaded) {
        let types = Btf::from_sys_fs().context("read the kernel's BTF")?;
        program
            .load(iterator, &types)
            .with_context(|| format!("load iterator `{iterator}`"))?;
        *state = Rereads::Loaded;
    }
    let id = program
        .attach()
        .with_context(|| format!("attach iterator `{iterator}`"))?;
    let mut file = program
        .take_link(id)?
        .into_file()
        .context("open an iterator")?;
    std::io::copy(&mut file, &mut std::io::sink())
        .map(drop)
        .with_context(|| format!("read iterator `{iterator}`"))
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
