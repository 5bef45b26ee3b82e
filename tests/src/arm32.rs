//! A program of 32-bit ARM, which arm64 kernels execute as well.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::copy_program;

/// Opens /etc/hosts and /etc/passwd, writes the number of the second as one digit, and leaves
/// both open.
const CODE: [u32; 20] = [
    0xe28f_0048, // add  r0, pc, #72       /etc/hosts
    0xe3a0_1000, // mov  r1, #0
    0xe3a0_2000, // mov  r2, #0
    0xe3a0_7005, // mov  r7, #5            open
    0xef00_0000, // svc  0
    0xe28f_0040, // add  r0, pc, #64       /etc/passwd
    0xe3a0_1000, // mov  r1, #0
    0xe3a0_2000, // mov  r2, #0
    0xe3a0_7005, // mov  r7, #5            open
    0xef00_0000, // svc  0
    0xe280_0030, // add  r0, r0, #'0'
    0xe56d_0004, // strb r0, [sp, #-4]!
    0xe3a0_0001, // mov  r0, #1
    0xe1a0_100d, // mov  r1, sp
    0xe3a0_2001, // mov  r2, #1
    0xe3a0_7004, // mov  r7, #4            write
    0xef00_0000, // svc  0
    0xe3a0_0000, // mov  r0, #0
    0xe3a0_70f8, // mov  r7, #248          exit_group
    0xef00_0000, // svc  0
];
const NAMES: [u8; 24] = *b"/etc/hosts\0\0/etc/passwd\0";

/// Where the file is in memory.
const BASE: u32 = 0x1_0000;
/// Of the file's header and that of its one segment (elf(5)).
const HEADERS: u32 = 52 + 32;

/// Writes the program.
///
/// # Panics
/// If it cannot be written.
pub fn write_arm32(to: impl AsRef<Path>) {
    let size = HEADERS + (CODE.len() * 4 + NAMES.len()) as u32;
    let mut bytes = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut half = |value: u16| bytes.extend(value.to_le_bytes());
    // An executable, of EM_ARM.
    half(2);
    half(40);
    let mut word = |value: u32| bytes.extend(value.to_le_bytes());
    // Version, entry, program headers, no sections, EABI 5.
    for value in [1, BASE + HEADERS, 52, 0, 0x500_0000] {
        word(value);
    }
    let mut half = |value: u16| bytes.extend(value.to_le_bytes());
    for value in [52, 32, 1, 0, 0, 0] {
        half(value);
    }
    let mut word = |value: u32| bytes.extend(value.to_le_bytes());
    // PT_LOAD: all of the file, readable and executable.
    for value in [1, 0, BASE, BASE, size, size, 5, 0x1_0000] {
        word(value);
    }
    for value in CODE {
        word(value);
    }
    bytes.extend(NAMES);
    let to = to.as_ref();
    let draft = to.with_extension("draft");
    std::fs::write(&draft, bytes).expect("write a program");
    std::fs::set_permissions(&draft, Permissions::from_mode(0o755)).expect("chmod");
    copy_program(&draft, to);
    std::fs::remove_file(draft).expect("remove the draft");
}
