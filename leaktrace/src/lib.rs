//! leaktrace: what processes take from the Linux kernel, what they give back, in which order,
//! how long that takes, and what is still there when they are gone.

// Where there is no other way to the kernel, and nowhere else: leaktrace/docs/privileges.md has
// the list.
#![deny(unsafe_code)]

pub mod audit;
#[expect(unsafe_code, reason = "bpf(2), values of maps")]
pub mod bpf;
#[expect(
    unsafe_code,
    reason = "system calls that look: openat2, statx, ipc, setns"
)]
pub mod census;
pub mod cli;
pub mod decode;
#[expect(unsafe_code, reason = "a program that leaks on purpose")]
pub mod demo;
#[expect(unsafe_code, reason = "socket options and a session of its own")]
pub mod deputy;
pub mod doctor;
pub mod hist;
pub mod id;
#[expect(unsafe_code, reason = "fork, exec, signals, users")]
pub mod launch;
pub mod model;
pub mod parity;
pub mod policy;
pub mod report;
pub mod session;
pub mod sink;
pub mod source;
pub mod tui;
