//! What the rest of the machine does is not the command's, and not our load either.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use leaktrace_tests::{Place, Run, alone, is_emulated};

/// A process that is ended with its scenario.
struct Noise(Child);

impl Noise {
    fn of(program: &str, args: &[&str]) -> Self {
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("start noise");
        Self(child)
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A name that the noise may leave when it is killed.
struct Shm(String);

impl Drop for Shm {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_busy_machine_neither_blames_the_command_nor_fills_the_ring() {
    let alone = alone();
    let place = Place::new();
    let spin = env!("CARGO_BIN_EXE_spin");
    let rate = Command::new(spin)
        .args(["getppid", "300000"])
        .output()
        .expect("spin");
    let said = String::from_utf8_lossy(&rate.stdout).into_owned();
    let ns = said.split(' ').next().and_then(|ns| ns.parse().ok());
    let ns: f64 = ns.expect("ns");
    assert!(
        ns < 3000.0,
        "this machine makes no 300,000 syscalls a second: {ns} ns each"
    );
    let _syscalls = Noise::of(spin, &["getppid", "1000000000000"]);
    let tmp = place.tmp().display().to_string();
    let shm = Shm(format!("/dev/shm/leaktrace-noise-{}", std::process::id()));
    let files = format!(
        "while :; do f=$(mktemp -p {tmp}); echo x >{shm}; rm -f $f {shm}; done",
        shm = shm.0
    );
    let _files = Noise::of("sh", &["-c", &files]);
    // Emulated, a start takes seconds by itself.
    let runs = if is_emulated() { 5 } else { 50 };
    let started = Instant::now();
    for _ in 0..runs {
        let outcome = Run::check(["true"]).at(&place).alone(&alone).end();
        outcome.spotless();
        let produced = outcome.report["events"]["produced"]
            .as_u64()
            .unwrap_or(u64::MAX);
        assert!(produced <= 300, "{produced} records\n{outcome}");
    }
    assert!(
        started.elapsed().as_secs() < 60 || is_emulated(),
        "{:?} for {runs} runs",
        started.elapsed()
    );
}
