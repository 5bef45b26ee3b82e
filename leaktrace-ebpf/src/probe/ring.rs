//! io_uring.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use leaktrace_common::{
    abi::Op,
    record::{Family, kind, ring::RingSetup},
};

use super::{file, path};
use crate::{
    emit::{self, HEADER},
    kernel::Detail,
    tree::Slot,
};

/// io_uring_setup returned. `struct io_uring_params` begins with sq_entries, cq_entries and
/// flags, which the kernel has filled in (include/uapi/linux/io_uring.h).
#[inline(never)]
pub fn setup(slot: &mut Slot, params: u64, result: i64) {
    const SIZE: usize = HEADER + size_of::<RingSetup>();
    let Some((table, facts)) = file::returned(slot, result) else {
        return;
    };
    let record = emit::reserve::<SIZE>(Family::Ring);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both; three words are read to where three words are.
    unsafe {
        let payload = record.add(HEADER).cast::<RingSetup>();
        let fd = &raw mut (*payload).fd;
        file::fill(
            fd,
            &facts,
            Op::IO_URING_SETUP,
            result as i32,
            -1,
            Detail::Basic,
        );
        (*fd).area = 0;
        path::none(&raw mut (*fd).text);
        (*payload).reserved = 0;
        bpf_probe_read_user(
            (&raw mut (*payload).sq_entries).cast(),
            12,
            params as *const _,
        );
        emit::finish(
            record,
            kind::RING_SETUP,
            SIZE,
            slot,
            emit::position(slot, &table),
        );
    }
}
