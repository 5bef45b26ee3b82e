//! Everything that the child needs between fork and exec, laid out before the fork: the child
//! of a process that may have threads must not allocate (signal-safety(7)).

use std::ffi::{CString, OsStr};

use libc::c_char;

use super::{Found, User, environment};

/// What to exec, as whom, with which signal state.
pub(super) struct Plan {
    pub(super) candidates: Vec<CString>,
    pub(super) user: Option<User>,
    pub(super) found: Found,
    /// Kept alive for the pointers below.
    _strings: (Vec<CString>, Vec<CString>),
    pub(super) argv: Vec<*const c_char>,
    /// `/bin/sh`, room for the script's path, then CMD's arguments: execvp(3) runs a file
    /// without a known header (ENOEXEC) by the shell.
    pub(super) script_argv: Vec<*const c_char>,
    pub(super) envp: Vec<*const c_char>,
}

pub(super) const SHELL: &std::ffi::CStr = c"/bin/sh";

impl Plan {
    pub(super) fn new(
        argv: Vec<CString>,
        environment: environment::Environment,
        user: Option<User>,
        found: Found,
    ) -> Plan {
        use std::os::unix::ffi::OsStrExt;
        let name = argv.first().map_or(c"", |name| name.as_c_str()).to_bytes();
        let candidates = environment::candidates(OsStr::from_bytes(name), &environment);
        let arguments = pointers(argv.get(1..).unwrap_or_default());
        let mut script_argv = vec![SHELL.as_ptr(), std::ptr::null()];
        script_argv.extend(arguments);
        Plan {
            candidates,
            user,
            found,
            argv: pointers(&argv),
            script_argv,
            envp: pointers(&environment.entries),
            _strings: (argv, environment.entries),
        }
    }
}

/// Null-terminated, as exec wants it. The strings' heap blocks do not move with the `Vec`.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}
