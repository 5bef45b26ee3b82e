//! A leak detector that leaks would be a joke.

use leaktrace_tests::{Place, Run};

#[test]
fn leaktrace_under_leaktrace_is_clean() {
    let place = Place::new();
    let inner = leaktrace_tests::leaktrace().display().to_string();
    let outcome = Run::check([&inner, "check", "--", "true"]).at(&place).end();
    outcome.clean();
    assert_eq!(outcome.processes("leaktrace").len(), 1, "{outcome}");
    let line = outcome
        .stderr
        .lines()
        .find(|line| line.contains("clean: 1 process"));
    assert!(line.is_some(), "the inner one watched as well: {outcome}");
}

/// While a system call looks into a map, the kernel skips every program at a function on that CPU,
/// and the call can be preempted (`trace_call_bpf` in kernel/trace/bpf_trace.c): so there is none
/// while something is watched, however often leaktrace looks at its counters. The last programs are
/// attached before, the first is taken out after that.
#[test]
fn no_system_call_looks_into_a_map_while_a_command_runs() {
    let place = Place::new();
    let told = place.tmp().join("calls");
    let file = told.display().to_string();
    let outcome = Run::check(["sleep", "0.5"])
        .at(&place)
        .through(["strace", "-f", "-e", "trace=bpf", "-o", &file])
        .end();
    outcome.clean();
    let told = std::fs::read_to_string(&told).expect("what strace wrote");
    let calls: Vec<&str> = told.lines().collect();
    let attaches =
        |line: &&str| line.contains("BPF_LINK_CREATE") || line.contains("BPF_RAW_TRACEPOINT_OPEN");
    let last = calls
        .iter()
        .rposition(attaches)
        .expect("a program that is attached");
    let looks = |line: &&&str| {
        line.contains("BPF_MAP_")
            && !line.contains("BPF_MAP_CREATE")
            && !line.contains("BPF_MAP_FREEZE")
    };
    let looked: Vec<_> = calls[last..].iter().filter(looks).collect();
    assert!(looked.is_empty(), "{looked:#?}");
}
