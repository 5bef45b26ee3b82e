//! Everything that must hold before a change is taken.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::run::{cargo, run};
use crate::test::Profile;
use crate::{bench, ebpf, test, vm};

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 7] = [
    ("fmt", || run(cargo().args(["fmt", "--all", "--check"]))),
    ("clippy", || {
        let clippy = [
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--locked",
        ];
        run(cargo().args(clippy).args(["--", "-D", "warnings"]))
    }),
    ("ebpf", ebpf::check),
    ("test", || test::test(Profile::Release, &[])),
    ("kernels", || vm::vm(&vm::ENDS)),
    ("doc", || {
        let doc = ["doc", "--quiet", "--workspace", "--no-deps", "--locked"];
        run(cargo().args(doc).env("RUSTDOCFLAGS", "-D warnings"))
    }),
    ("bench", || bench::bench(&bench::QUICK)),
];

/// Does every step, also after one has failed, and says which did.
///
/// # Errors
/// If a step failed.
pub fn ci() -> Result<()> {
    let mut failures = Vec::new();
    let mut lines = Vec::new();
    for (name, step) in STEPS {
        let started = Instant::now();
        let outcome = step();
        let seconds = started.elapsed().as_secs();
        match outcome {
            Ok(()) => lines.push(format!("ci: {name:<8} ok      {seconds:>5} s")),
            Err(error) => {
                eprintln!("xtask: {name}: {error:#}");
                lines.push(format!("ci: {name:<8} FAILED  {seconds:>5} s"));
                failures.push(name);
            }
        }
    }
    println!("{}", lines.join("\n"));
    if !failures.is_empty() {
        bail!("failed: {}", failures.join(", "));
    }
    Ok(())
}
