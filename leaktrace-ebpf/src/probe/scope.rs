//! Scopes: marked by opening a file that is not there, or named by the environment.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use leaktrace_common::record::{
    Family, TextRef, kind,
    scope::{NAME_LEN, PREFIX, Scope, VARIABLE, verb},
};

use super::path;
use crate::{
    emit::{self, HEADER, Position},
    kernel::{offset, read},
    once, rounds,
    tree::{self, Slot},
};

const FIXED: usize = HEADER + size_of::<Scope>();

/// Entries of an environment that are looked at.
const ENTRIES: u32 = 512;

/// Arguments that a program may have before its environment is not looked for.
const ARGUMENTS: u64 = 1 << 20;

const fn word(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    let mut i = 0;
    while i < 8 && at + i < bytes.len() {
        value[i] = bytes[at + i];
        i += 1;
    }
    u64::from_ne_bytes(value)
}

/// The last four bytes of a word of eight, which the prefix of 12 does not reach.
const LOW: u64 = word(&[0xff; 4], 0);

/// 16 bytes of user memory; zeros if they cannot be read.
#[inline(always)]
fn words(address: u64) -> (u64, u64) {
    let mut words = [0u64; 2];
    // SAFETY: the destination is 16 bytes; the helper zeroes it on failure.
    unsafe {
        bpf_probe_read_user(words.as_mut_ptr().cast(), 16, address as *const _);
        (
            core::ptr::read_volatile(&raw const words[0]),
            core::ptr::read_volatile(&raw const words[1]),
        )
    }
}

/// An open found nothing (ENOENT): was it to mark a scope? Opens that succeed do not come here.
/// The shortest mark has 16 bytes, so no shorter string is one.
#[inline(always)]
pub fn marked(slot: &mut Slot, name: u64) {
    let (first, second) = words(name);
    if first == word(PREFIX, 0) && second & LOW == word(PREFIX, 8) {
        once::scope::tell(slot, verb::TOLD, name.wrapping_add(PREFIX.len() as u64));
    }
}

#[inline(always)]
pub fn tell(slot: &mut Slot, verb: u32, name: u64) {
    let record = emit::reserve_vital::<{ FIXED + NAME_LEN }>(Family::Task);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for header, payload and the area.
    unsafe {
        let payload = record.add(HEADER).cast::<Scope>();
        (*payload).verb = verb;
        (*payload).area = NAME_LEN as u16;
        (*payload).reserved = 0;
        (*payload).reserved2 = 0;
        let text: *mut TextRef = &raw mut (*payload).text;
        path::user::<NAME_LEN>(name, record.add(FIXED), text);
        let len = FIXED + path::len(text);
        emit::finish(record, kind::SCOPE, len, slot, Position::default());
    }
}

struct Search {
    entry: u64,
    found: u64,
}

/// A program was started: does its environment name a scope? What execve has put on the stack
/// is read there, before the program can change it: argc, the arguments, a null pointer, the
/// environment, a null pointer (create_elf_tables in fs/binfmt_elf.c). On the stack of a 32-bit
/// program the first eight bytes are no such number.
#[inline(always)]
pub fn program(slot: &mut Slot) {
    let mm: u64 = read(tree::current(), offset!(task_mm));
    let stack: u64 = read(mm, offset!(mm_start_stack));
    let (count, _) = words(stack);
    if stack == 0 || count > ARGUMENTS {
        return;
    }
    let mut search = Search {
        entry: stack + 8 * (count + 2),
        found: 0,
    };
    // SAFETY: the context is what the step takes.
    unsafe {
        rounds::go::<ENTRIES, _>(ENTRIES, look, &raw mut search);
    }
    // SAFETY: a local value, which the callback wrote.
    let found = unsafe { core::ptr::read_volatile(&raw const search.found) };
    if found != 0 {
        once::scope::tell(slot, verb::PROGRAM, found + VARIABLE.len() as u64);
    }
}

#[cfg(feature = "reduced")]
extern "C" fn look(_index: u64, search: *mut Search) -> i64 {
    // SAFETY: it is what `program` gave.
    let search = unsafe { &mut *search };
    match once::scope_entry(search.entry) {
        GO_ON => {
            search.entry += 8;
            0
        }
        found => {
            search.found = found;
            1
        }
    }
}

/// There is an entry, and it is not it.
#[cfg(feature = "reduced")]
const GO_ON: u64 = 1;

/// One entry of the environment, by a function of its own. Gives the string's address, 0 at the end.
#[cfg(feature = "reduced")]
#[inline(always)]
pub fn entry(place: u64) -> u64 {
    let (entry, _) = words(place);
    if entry == 0 {
        return 0;
    }
    let (first, second) = words(entry);
    if first == word(VARIABLE, 0) && second == word(VARIABLE, 8) {
        return entry;
    }
    GO_ON
}

#[cfg(not(feature = "reduced"))]
extern "C" fn look(_index: u64, search: *mut Search) -> i64 {
    // SAFETY: it is what `program` gave.
    let search = unsafe { &mut *search };
    let (entry, _) = words(search.entry);
    if entry == 0 {
        return 1;
    }
    let (first, second) = words(entry);
    if first == word(VARIABLE, 0) && second == word(VARIABLE, 8) {
        search.found = entry;
        return 1;
    }
    search.entry += 8;
    0
}
