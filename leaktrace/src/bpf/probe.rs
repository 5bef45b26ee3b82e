//! What there is to attach.

use leaktrace_common::{abi::called, record::Family};

/// Whether leaktrace can do without a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it nothing can be said: tracing is unavailable.
    Required,
    /// Without it some families are seen partly.
    Optional,
}

/// One program and the kernel hook it hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Name of the program in the object.
    pub program: &'static str,
    /// Name of the tracepoint; names it has had, separated by `|`.
    pub hook: &'static str,
    /// Families whose records it makes.
    pub families: &'static [Family],
    /// Whether leaktrace can do without.
    pub need: Need,
    /// What is not seen without it, as a clause.
    pub without: &'static str,
    /// How else the same can be had.
    pub function: Option<Function>,
    /// Families that are seen in part where the kernel preempts programs on tracepoints. None:
    /// this one fires where it never does, with a lock held or in an interrupt.
    pub skips: &'static [Family],
}

/// A program at the entry of a function of the kernel, where the probe's tracepoint may be
/// skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Name of the program in the object.
    pub program: &'static str,
    /// Name of the function.
    pub name: &'static str,
    /// Those of [`WAYS`] without which the kernel does not come there.
    pub ways: &'static [&'static str],
    /// How leaktrace has the kernel come there at start, and the place in `CALLED` that tells whether it
    /// has; `None`: it is not tried.
    pub trial: Option<(Trial, u32)>,
}

/// What makes the kernel call a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// A thread that begins, calls, and ends.
    Thread,
    /// A ring of io_uring that is asked for nothing, and goes.
    Ring,
}

/// Programs, and the tracepoints that they are on, that make the kernel call functions. Whether
/// they run does not matter. The functions of system calls are behind the same switch as the
/// tracepoints; what goes through the programs on a tracepoint is called where there are two.
pub const WAYS: &[(&str, &str)] = &[
    ("way_of_calls", "sys_enter"),
    ("way_of_completions", "io_uring_complete"),
    ("other_way_of_completions", "io_uring_complete"),
];

const CALLS: &[&str] = &["way_of_calls"];
const COMPLETIONS: &[&str] = &["way_of_completions", "other_way_of_completions"];

/// Whether a program is one of [`WAYS`].
pub fn is_way(program: &str) -> bool {
    WAYS.iter().any(|(way, _)| *way == program)
}

const fn function(
    program: &'static str,
    name: &'static str,
    trial: Option<(Trial, u32)>,
) -> Option<Function> {
    function_by(program, name, &[], trial)
}

const fn function_by(
    program: &'static str,
    name: &'static str,
    ways: &'static [&'static str],
    trial: Option<(Trial, u32)>,
) -> Option<Function> {
    Some(Function {
        program,
        name,
        ways,
        trial,
    })
}

const fn by_thread(place: u32) -> Option<(Trial, u32)> {
    Some((Trial::Thread, place))
}

const fn by_ring(place: u32) -> Option<(Trial, u32)> {
    Some((Trial::Ring, place))
}

const SYSCALL_FAMILIES: &[Family] = &[
    Family::File,
    Family::Socket,
    Family::Mapping,
    Family::Ring,
    Family::Signal,
    Family::Ipc,
    Family::Name,
];

/// What the kernel calls next to sys_enter. On arm64 there is none: `syscall_trace_enter` comes
/// before seccomp has answered, and `invoke_syscall`, which comes behind it, cannot be had (7.2).
const CALLED: Option<Function> = if cfg!(target_arch = "aarch64") {
    None
} else {
    function_by(
        "f_sys_enter",
        "trace_syscall_enter",
        CALLS,
        by_thread(called::SYS_ENTER),
    )
};

/// What has sys_exit in it.
const RETURNED: Option<Function> = function_by(
    "f_sys_exit",
    if cfg!(target_arch = "aarch64") {
        "syscall_trace_exit"
    } else {
        "trace_syscall_exit"
    },
    CALLS,
    by_thread(called::SYS_EXIT),
);

/// What goes through the programs on io_uring_complete. On arm64, which has no static calls (7.2),
/// those who tell of a completion have all of it in themselves: the function is there and is never
/// called.
const COMPLETED: Option<Function> = if cfg!(target_arch = "aarch64") {
    None
} else {
    function_by(
        "f_complete",
        "__traceiter_io_uring_complete",
        COMPLETIONS,
        by_ring(called::COMPLETE),
    )
};

/// Every probe, in the order of attaching: those that take in new tasks come first, the
/// syscall hooks last, so that no task is seen whose birth was not.
pub const PROBES: &[Probe] = &[
    Probe {
        program: "sched_process_free",
        hook: "sched_process_free",
        families: &[Family::Task],
        need: Need::Required,
        without: "tasks are not forgotten",
        function: None,
        skips: &[],
    },
    Probe {
        program: "task_newtask",
        hook: "task_newtask",
        families: &[Family::Task],
        need: Need::Required,
        without: "children are not followed",
        function: function(
            "f_newtask",
            "uprobe_copy_process",
            by_thread(called::NEWTASK),
        ),
        skips: &[Family::Task],
    },
    Probe {
        program: "sched_process_exec",
        hook: "sched_process_exec",
        families: &[Family::Task, Family::File],
        need: Need::Required,
        without: "new programs are not seen",
        function: function("f_exec", "finalize_exec", None),
        skips: &[Family::Task, Family::File],
    },
    Probe {
        program: "sched_process_exit",
        hook: "sched_process_exit",
        families: &[Family::Exit, Family::File],
        need: Need::Required,
        without: "the ends of processes are not seen",
        function: function("f_exit", "perf_event_exit_task", by_thread(called::EXIT)),
        skips: &[Family::Exit, Family::File],
    },
    Probe {
        program: "exit_mmap",
        hook: "exit_mmap",
        families: &[Family::Exit],
        need: Need::Optional,
        without: "the end of unmapping is not timed",
        function: function("f_exit_mmap", "mm_put_huge_zero_folio", None),
        skips: &[Family::Exit],
    },
    Probe {
        program: "signal_generate",
        hook: "signal_generate",
        families: &[Family::Signal, Family::Exit],
        need: Need::Optional,
        without: "who sent which signal, and the end of exit, are not seen",
        function: None,
        skips: &[],
    },
    Probe {
        program: "signal_deliver",
        hook: "signal_deliver",
        families: &[Family::Signal],
        need: Need::Optional,
        without: "which signals were taken is not seen",
        function: None,
        skips: &[],
    },
    Probe {
        program: "workqueue_queue_work",
        hook: "workqueue_queue_work",
        families: &[Family::Ring],
        need: Need::Optional,
        without: "requests that outlive their process are not seen",
        function: None,
        skips: &[],
    },
    Probe {
        program: "workqueue_execute_end",
        hook: "workqueue_execute_end",
        families: &[Family::Ring],
        need: Need::Optional,
        without: "the end of requests that outlive their process is not seen",
        function: function(
            "f_ring_end",
            "io_destroy_buffers",
            by_ring(called::RING_END),
        ),
        skips: &[Family::Ring],
    },
    Probe {
        program: "io_uring_submit_req",
        hook: "io_uring_submit_req|io_uring_submit_sqe",
        families: &[Family::File, Family::Ring],
        need: Need::Optional,
        without: "what io_uring is asked to close and to accept is not seen",
        function: function("f_submit", "io_issue_sqe", by_ring(called::SUBMIT)),
        skips: &[Family::Ring],
    },
    Probe {
        program: "io_uring_complete",
        hook: "io_uring_complete",
        families: &[Family::File, Family::Ring],
        need: Need::Optional,
        without: "fds that io_uring makes and closes are not seen at once",
        function: COMPLETED,
        skips: &[Family::Ring],
    },
    Probe {
        program: "sys_enter",
        hook: "sys_enter",
        families: SYSCALL_FAMILIES,
        need: Need::Required,
        without: "releases are not seen",
        function: CALLED,
        skips: SYSCALL_FAMILIES,
    },
    Probe {
        program: "sys_exit",
        hook: "sys_exit",
        families: SYSCALL_FAMILIES,
        need: Need::Required,
        without: "acquisitions are not seen",
        function: RETURNED,
        skips: SYSCALL_FAMILIES,
    },
];

/// Iterator programs: (program, iterator). They read what was there before.
pub const ITERATORS: &[(&str, &str)] = &[("seed_tasks", "task"), ("seed_files", "task_file")];

/// The iterator program that reads processes again after a loss.
pub const REREAD: (&str, &str) = ("reread_tasks", "task");

/// The iterator program that tells who has been waiting in a call for long.
pub const WAITING: (&str, &str) = ("waiting_tasks", "task");

/// Kernel members without which a family is not fully seen, as they stand in
/// [`leaktrace_common::abi::Offsets::PATHS`].
pub const MEMBERS: &[(Family, &[&str])] = &[
    (
        Family::File,
        &[
            "task_struct.files",
            "files_struct.fdt",
            "fdtable.fd",
            "fdtable.open_fds",
            "fdtable.max_fds",
            "file.f_mode",
            "file.f_inode",
            "file.f_path",
            "inode.i_sb",
            "inode.i_ino",
            "super_block.s_dev",
        ],
    ),
    (
        Family::Socket,
        &["socket.sk", "sock_common.skc_family", "unix_sock.path"],
    ),
    (Family::Mapping, &["task_struct.mm"]),
    (Family::Ring, &["task_struct.files"]),
    (
        Family::Signal,
        &["kernel_siginfo.si_code", "signal_struct.flags"],
    ),
    (
        Family::Ipc,
        &["ipc_namespace.ids", "ipc_ids.in_use", "nsproxy.ipc_ns"],
    ),
    (
        Family::Name,
        &[
            "fs_struct.pwd",
            "dentry.d_parent",
            "mount.mnt_parent",
            "vfsmount.mnt_root",
        ],
    ),
    (Family::Task, &["task_struct.group_leader", "pid.numbers"]),
    (
        Family::Exit,
        &["signal_struct.live", "signal_struct.group_exit_code"],
    ),
];
