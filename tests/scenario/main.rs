//! Real programs on the real kernel: what must be found, and what must not.
//!
//! One module a scenario; each rule has a program that breaks it and a twin that does the same
//! and cleans up. They need root and fail without it.

use leaktrace_tests::Run;

mod attach;
mod baseline;
mod bind_unix;
mod bpf_pin_left;
mod c;
mod capabilities;
mod cgroup_left;
mod data_loss;
mod deputy;
mod descendant_running;
mod description_kept;
mod ended;
mod endured;
mod environment;
mod epoll_stale;
mod exit_status;
mod exit_times;
mod flock_kept;
mod formats;
mod held;
mod held_memory;
mod held_ring;
mod held_signal;
mod held_task;
mod hist;
mod hostile;
mod identity;
mod itself;
mod kill;
mod limits;
mod listener_kept;
mod lock_files;
mod make;
mod many;
mod misuse;
mod mount_left;
mod namespace_left;
mod namespaces;
mod near_limit;
mod never_guilty;
mod no_msync;
mod noise;
mod orchestrator;
mod order;
mod outputs;
mod parity;
mod policy;
mod posix_ipc;
mod postgres;
mod private;
mod process_table;
mod programs;
mod replay;
mod ring_hazards;
mod ring_pending;
mod rooms;
mod scopes;
mod serve;
mod settle;
mod stacks;
mod stale_lock_left;
mod stress;
mod sysv_ipc;
mod tables;
mod teardown;
mod temp_dir;
mod temp_file;
mod term_ignored;
mod timing;
mod top;
mod traps;
mod unavailable;
mod units;
mod uring;
mod zombie;

/// The path of the fixture program that does what its arguments say.
const STEPS: &str = env!("CARGO_BIN_EXE_steps");

/// `leaktrace check -- steps STEP…`.
fn check_steps<'a>(steps: &[&str]) -> Run<'a> {
    Run::check(leaktrace_tests::steps(STEPS, steps))
}

/// `leaktrace check -- sh -c SCRIPT`.
fn check_sh<'a>(script: &str) -> Run<'a> {
    Run::check(["sh", "-c", script])
}
