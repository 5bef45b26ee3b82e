use super::*;

const ROOT: u64 = 0x1ff_ffff_ffff;

fn probe(name: &str, need: Need, outcome: ProbeOutcome, reason: Option<&str>) -> Probe {
    let reason = reason.map(str::to_owned);
    Probe {
        name: name.to_owned(),
        hook: format!("tp_btf/{name}"),
        need,
        outcome,
        reason,
        verified: (outcome == ProbeOutcome::Attaches).then_some(4321),
    }
}

/// A machine on which everything works.
fn good() -> Facts {
    let full = |family: &str| Coverage {
        family: family.to_owned(),
        status: CoverageStatus::Full,
        reason: None,
    };
    Facts {
        tool: Tool {
            version: "0.1.0".to_owned(),
            kernel: "6.18.44".to_owned(),
            arch: "x86_64".to_owned(),
        },
        uid: 0,
        btf: BtfFacts {
            bytes: 5 << 20,
            wanted: 100,
            ..BtfFacts::default()
        },
        capabilities: ROOT,
        lockdown: Some("none".to_owned()),
        initial_pid_ns: true,
        attempt: Attempt {
            error: None,
            probes: vec![
                probe("sys_enter", Need::Required, ProbeOutcome::Attaches, None),
                probe("exit_mmap", Need::Optional, ProbeOutcome::Attaches, None),
            ],
            functions: vec![Probe {
                hook: "fentry/exit_files".to_owned(),
                ..probe(
                    "enter_exit_files",
                    Need::Optional,
                    ProbeOutcome::Attaches,
                    None,
                )
            }],
            coverage: vec![full("file"), full("exit")],
        },
        ..Facts::default()
    }
}

/// The same, before anything could be loaded.
fn failed(change: impl FnOnce(&mut Facts)) -> Diagnosis {
    let mut facts = good();
    facts.attempt = Attempt {
        error: Some("load: eperm".to_owned()),
        ..Attempt::default()
    };
    change(&mut facts);
    diagnose(facts)
}

#[test]
fn a_machine_on_which_everything_works_is_ready() {
    let diagnosis = diagnose(good());
    assert_eq!(diagnosis.conclusion, "ready: top, hist, check");
    assert!(diagnosis.is_ready());
    assert_eq!(diagnosis.advice, Vec::<String>::new());
}

#[test]
fn the_conclusion_names_the_one_thing_to_do() {
    let no_caps = |facts: &mut Facts| facts.capabilities = 0;
    for (what, diagnosis, conclusion) in [
        (
            "a user",
            failed(|facts| {
                no_caps(facts);
                facts.uid = 1000;
            }),
            "run: sudo leaktrace doctor",
        ),
        (
            "root in a container",
            failed(no_caps),
            "run: docker run --cap-add BPF",
        ),
        (
            "no btf, though also no privilege",
            failed(|facts| {
                no_caps(facts);
                facts.btf.error = Some("no such file".to_owned());
            }),
            "not ready: no usable type information",
        ),
        (
            "lockdown",
            failed(|facts| facts.lockdown = Some("confidentiality".to_owned())),
            "not ready: kernel lockdown is at confidentiality",
        ),
        ("anything else", failed(|_| ()), "not ready: load: eperm"),
        (
            "nothing known",
            failed(|facts| facts.attempt.error = None),
            "not ready: no probe is known",
        ),
    ] {
        assert!(
            diagnosis.conclusion.starts_with(conclusion),
            "{what}: {}",
            diagnosis.conclusion
        );
        assert!(!diagnosis.is_ready(), "{what}");
        assert!(
            render(&diagnosis).ends_with(&format!("\n{}\n", diagnosis.conclusion)),
            "{what}"
        );
    }
}

#[test]
fn only_required_probes_stand_in_the_way() {
    let mut facts = good();
    facts.attempt.probes[1].outcome = ProbeOutcome::Unsupported;
    assert!(diagnose(facts.clone()).is_ready());
    facts.attempt.probes[0] = probe(
        "sys_enter",
        Need::Required,
        ProbeOutcome::Broken,
        Some("einval"),
    );
    assert_eq!(
        diagnose(facts).conclusion,
        "not ready: probe sys_enter does not attach: einval"
    );
}

#[test]
fn capabilities_are_judged_by_what_they_allow() {
    let bit = |bit: u32| 1_u64 << bit;
    for (set, missing) in [
        (0, vec!["CAP_BPF", "CAP_PERFMON"]),
        (bit(39), vec!["CAP_PERFMON"]),
        (bit(39) | bit(38), vec![]),
        (bit(21), vec![]),
    ] {
        let names: Vec<&str> = Capability::missing_required(set)
            .iter()
            .map(|capability| capability.name)
            .collect();
        assert_eq!(names, missing, "{set:#x}");
    }
}

#[test]
fn advice_tells_what_is_narrower() {
    let mut facts = good();
    facts.capabilities = ROOT & !(1 << 19);
    facts.initial_pid_ns = false;
    facts.btf.missing = vec!["file.f_ref|file.f_count".to_owned()];
    facts.attempt.coverage[1] = Coverage {
        family: "ring".to_owned(),
        status: CoverageStatus::None,
        reason: Some("no io_uring".to_owned()),
    };
    let advice = diagnose(facts).advice;
    for (line, start) in advice.iter().zip([
        "CAP_SYS_PTRACE missing",
        "not in the initial pid namespace",
        "this kernel has no file.f_ref|file.f_count",
        "ring: no io_uring",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
    assert_eq!(advice.len(), 4);
}

#[test]
fn a_kernel_that_is_too_old_is_refused_in_one_sentence() {
    let mut facts = good();
    facts.attempt.error = Some(
        "cannot attach to `sys_enter` (refused: no bpf_loop; Linux 6.1 or later); \
         run `leaktrace doctor`"
            .to_owned(),
    );
    facts.attempt.probes[0].outcome = ProbeOutcome::Broken;
    let diagnosis = diagnose(facts);
    assert_eq!(
        diagnosis.conclusion,
        "not ready: cannot attach to `sys_enter` (refused: no bpf_loop; Linux 6.1 or later)"
    );
    assert!(!render(&diagnosis).contains("\ncost"));
}

#[test]
fn the_screen_fits_and_reads_so() {
    let mut facts = good();
    facts.attempt.probes[1] = probe(
        "exit_mmap",
        Need::Optional,
        ProbeOutcome::Unsupported,
        Some("no such\x1b hook"),
    );
    assert_eq!(
        render(&diagnose(facts)),
        "\
leaktrace   0.1.0 on Linux 6.18.44 x86_64
types       BTF, 5.0 MiB, 100 of 100 members found
privileges  uid 0, CAP_BPF CAP_PERFMON CAP_SYS_ADMIN CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_IPC_OWNER CAP_SETUID
way         root: leaktrace loads the programs, CMD runs as whoever ran sudo
lockdown    none
tracefs     not mounted (not needed)
bpffs       not mounted (not needed)
probes      1 of 2 attach, 4321 instructions verified
  sys_enter            tp_btf/sys_enter             required  attaches
  exit_mmap            tp_btf/exit_mmap             optional  not in this kernel: no such\\x1b hook
functions   the parts of exit are timed
  enter_exit_files     fentry/exit_files            optional  attaches
coverage    full: file, exit
cost        while leaktrace runs, every system call on this machine takes about 70 ns longer

ready: top, hist, check
"
    );
}

#[test]
fn functions_that_cannot_be_had_are_one_line() {
    let mut facts = good();
    facts.attempt.functions[0].outcome = ProbeOutcome::Unsupported;
    facts.attempt.functions[0].reason = Some("not\x1b permitted".to_owned());
    let text = render(&diagnose(facts));
    let line =
        "\nfunctions   not had, so the parts of exit are not timed: not\\x1b permitted\ncoverage";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("\nready: top, hist, check\n"), "{text}");
}
