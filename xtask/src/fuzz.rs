//! `cargo xtask fuzz`: the fuzzer of `leaktrace/tests/fuzz` for longer than in a test run.

use anyhow::Result;

use crate::run::{cargo, run};

/// Fuzzes one decoder, or each for this time, one after the other. Arithmetic that overflows is a
/// failure, as in a debug build.
///
/// # Errors
/// If an input breaks a decoder; the fuzzer says where it is.
pub fn fuzz(seconds: u64, seed: u64, decoder: Option<&str>) -> Result<()> {
    let mut test = cargo();
    test.args(["test", "--package", "leaktrace", "--test", "fuzz", "--"])
        .args(decoder)
        .args(["--test-threads", "1", "--nocapture"])
        .env("LEAKTRACE_FUZZ_SECONDS", seconds.to_string())
        .env("LEAKTRACE_FUZZ_SEED", seed.to_string());
    run(&mut test)
}
