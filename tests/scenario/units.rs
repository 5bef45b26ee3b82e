//! The systemd unit: its sandbox, and that `serve` works with no more rights than it gives.

use std::path::Path;
use std::process::{Command, Stdio};

use leaktrace_tests::Place;

const UNIT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../leaktrace/dist/leaktrace-serve.service"
);

/// Tenths of what `systemd-analyze security` calls exposure: 10 is a service without a sandbox.
const EXPOSURE: &str = "25";

/// The value of a setting, which the unit has once.
fn setting(name: &str) -> String {
    let unit = std::fs::read_to_string(UNIT).expect("read the unit");
    let mut values = unit
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = values
        .next()
        .unwrap_or_else(|| panic!("{name} in the unit"));
    assert_eq!(values.next(), None, "{name} twice");
    value.to_owned()
}

#[test]
fn the_sandbox_is_tight() {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold", EXPOSURE, UNIT])
        .output()
        .expect("run systemd-analyze");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = told.lines().last().unwrap_or_default();
    assert!(last.contains("exposure level"), "{told}");
    assert!(output.status.success(), "{last}");
}

#[test]
fn serve_works_with_the_rights_of_the_unit() {
    let place = Place::new();
    let binary = place.open_to_all();
    let rights = setting("AmbientCapabilities");
    assert_eq!(rights, setting("CapabilityBoundingSet"));
    let each: Vec<String> = rights
        .split(' ')
        .map(|one| format!("+{}", one.to_lowercase().trim_start_matches("cap_")))
        .collect();
    let each = each.join(",");
    let command = setting("ExecStart");
    let mut words = command.split(' ');
    assert_eq!(
        words.next().map(Path::new).and_then(Path::file_name),
        Some("leaktrace".as_ref())
    );
    let words: Vec<&str> = words
        .map(|word| match word {
            "127.0.0.1:9479" => "127.0.0.1:0",
            "/var/lib/leaktrace/findings.jsonl" => "findings.jsonl",
            word => word,
        })
        .collect();
    assert!(words.contains(&"127.0.0.1:0") && words.contains(&"findings.jsonl"));
    let output = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--no-new-privs",
        ])
        .args(["--bounding-set", &format!("-all,{each}")])
        .args(["--inh-caps", &each, "--ambient-caps", &each])
        .arg(&binary)
        .args(words)
        .args(["--duration", "1s"])
        .current_dir(place.cwd())
        .env("TMPDIR", place.tmp())
        .stdin(Stdio::null())
        .output()
        .expect("run leaktrace");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("metrics on http://127.0.0.1:"), "{said}");
    let findings = place.cwd().join("findings.jsonl").metadata().expect("made");
    let mode = std::os::unix::fs::PermissionsExt::mode(&findings.permissions());
    assert_eq!(mode & 0o777, 0o600);
}
