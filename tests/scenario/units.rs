//! The systemd units: their sandboxes, and that `serve` works with no more rights than its gives.

use std::path::Path;
use std::process::{Command, Stdio};

use leaktrace_tests::{Place, needs};

const DIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../leaktrace/dist");
const SERVE: &str = "leaktrace-serve.service";
pub(crate) const DEPUTY: &str = "leaktrace-deputy@.service";

/// Tenths of what `systemd-analyze security` calls exposure: 10 is a service without a sandbox. The
/// deputy has to see what the user sees, so it has no mount namespace of its own.
const EXPOSURES: [(&str, &str); 2] = [(SERVE, "25"), (DEPUTY, "42")];

/// The value of a setting, which the unit has once.
pub(crate) fn setting(unit: &str, name: &str) -> String {
    let unit = std::fs::read_to_string(Path::new(DIST).join(unit)).expect("read the unit");
    let mut values = unit
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = values
        .next()
        .unwrap_or_else(|| panic!("{name} in the unit"));
    assert_eq!(values.next(), None, "{name} twice");
    value.to_owned()
}

/// Capabilities of a unit as setpriv(1) has them.
pub(crate) fn for_setpriv(rights: &str) -> String {
    let each: Vec<String> = rights
        .split(' ')
        .map(|one| format!("+{}", one.to_lowercase().trim_start_matches("cap_")))
        .collect();
    each.join(",")
}

#[test]
fn the_sandboxes_are_tight() {
    for (unit, exposure) in EXPOSURES {
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--threshold", exposure])
            .arg(Path::new(DIST).join(unit))
            .output()
            .expect("run systemd-analyze");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = told.lines().last().unwrap_or_default();
        assert!(last.contains("exposure level"), "{told}");
        assert!(output.status.success(), "{last}");
    }
}

#[test]
fn systemd_understands_the_units() {
    for unit in [SERVE, DEPUTY, "leaktrace-deputy.socket"] {
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(Path::new(DIST).join(unit))
            .output()
            .expect("run systemd-analyze");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // It is not installed where these are tested.
        let wrong = |line: &&str| !line.contains("/usr/local/bin/leaktrace is not executable");
        assert_eq!(told.lines().find(wrong), None, "{unit}");
    }
}

#[test]
fn serve_works_with_the_rights_of_the_unit() {
    // The unit's limit is systemd's to set.
    needs("maps that are not locked memory", (5, 11));
    let place = Place::new();
    let binary = place.open_to_all();
    let rights = setting(SERVE, "AmbientCapabilities");
    assert_eq!(rights, setting(SERVE, "CapabilityBoundingSet"));
    let each = for_setpriv(&rights);
    let command = setting(SERVE, "ExecStart");
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
