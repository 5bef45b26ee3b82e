//! A parallel build: hundreds of short processes, every one of them seen once.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use leaktrace_tests::{Place, Run};

const UNITS: usize = 80;

/// A C project of `UNITS` units and a program, and a shell that logs its pid.
fn project(place: &Place) -> String {
    let dir = place.cwd();
    let mut main = String::new();
    let mut calls = String::new();
    for unit in 0..UNITS {
        let source = format!(
            "#include <stdio.h>\nint unit{unit}(int n) {{ return n ? printf(\"%d\\n\", n) : {unit}; }}\n"
        );
        std::fs::write(dir.join(format!("unit{unit}.c")), source).expect("write a unit");
        writeln!(main, "int unit{unit}(int);").expect("write to a string");
        write!(calls, " + unit{unit}(0)").expect("write to a string");
    }
    writeln!(main, "int main(void) {{ return (0{calls}) == 0; }}").expect("write to a string");
    std::fs::write(dir.join("main.c"), main).expect("write main.c");
    let makefile = "objects := $(patsubst %.c,%.o,$(wildcard *.c))\n\
                    program: $(objects)\n\tgcc -o $@ $^ && ./program\n\
                    %.o: %.c\n\tgcc -O1 -c -o $@ $<\n";
    std::fs::write(dir.join("Makefile"), makefile).expect("write a makefile");
    let shell = place.root().join("shell");
    let log = place.cwd().join("pids");
    let script = format!(
        "#!/bin/sh\necho $$ >>{}\nexec /bin/sh \"$@\"\n",
        log.display()
    );
    std::fs::write(&shell, script).expect("write a shell");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&shell, executable).expect("make it executable");
    shell.display().to_string()
}

#[test]
fn a_parallel_build_is_clean_and_complete() {
    let place = Place::new();
    let shell = format!("SHELL={}", project(&place));
    let outcome = Run::check(["make", "-j4", "-s", &shell]).at(&place).end();
    outcome.clean();
    let pids: Vec<u64> = outcome.report["processes"]
        .as_array()
        .map(|all| all.iter().filter_map(|it| it["pid"].as_u64()).collect())
        .unwrap_or_default();
    assert!(pids.len() >= 300, "{} processes", pids.len());
    let distinct: BTreeSet<u64> = pids.iter().copied().collect();
    assert_eq!(distinct.len(), pids.len(), "a process is listed twice");
    let log = std::fs::read_to_string(place.cwd().join("pids")).expect("the shell's log");
    let logged: BTreeSet<u64> = log.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(logged.len() > UNITS, "{} shells", logged.len());
    let missing: Vec<_> = logged.difference(&distinct).collect();
    assert!(missing.is_empty(), "not in the report: {missing:?}");
}
