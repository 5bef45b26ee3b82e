//! What the census finds, as records: the model takes it as it takes the kernel's.

use bytes::BytesMut;
use leaktrace_common::record::Header;
use zerocopy::IntoBytes;

use crate::id::ProcessKey;

/// Appends a record about a process, with an area behind its payload.
pub(super) fn append(
    records: &mut BytesMut,
    kind: u16,
    key: ProcessKey,
    time_ns: u64,
    payload: &[u8],
    area: &[u8],
) {
    let header = Header {
        len: (size_of::<Header>() + payload.len() + area.len()) as u16,
        kind,
        pid: key.pid.0,
        tid: key.pid.0,
        start_ns: key.start.0,
        time_ns,
        ..Header::default()
    };
    records.extend_from_slice(header.as_bytes());
    records.extend_from_slice(payload);
    records.extend_from_slice(area);
    records.resize(records.len().next_multiple_of(8), 0);
}
