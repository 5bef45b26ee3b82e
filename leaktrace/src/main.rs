//! leaktrace's command line.
//!
//! Without std's start-up, which would ignore SIGPIPE and open /dev/null on closed fds 0-2
//! before anybody could note how they were (std/src/sys/pal/unix/mod.rs, `init`): CMD must get
//! both as leaktrace found them.
#![no_main]

use std::{
    ffi::{CStr, OsString, c_char, c_int},
    os::unix::ffi::OsStringExt,
};

/// The C entry point.
///
/// # Safety
/// `argv` holds `argc` C strings, as the C runtime passes them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let arguments = (0..usize::try_from(argc).unwrap_or(0))
        // SAFETY: as the C runtime promises.
        .map(|index| unsafe { CStr::from_ptr(*argv.add(index)) })
        .map(|word| OsString::from_vec(word.to_bytes().to_vec()))
        .collect();
    leaktrace::cli::main(arguments)
}
