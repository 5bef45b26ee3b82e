//! A policy as text: settings in the form of leaktrace.toml, and what is tolerated.

use std::{fmt::Write as _, time::Duration};

use super::{Policy, settings::Settings};
use crate::{report::Level, sink::escape_str};

/// The policy, for `policy show`. What cannot be written back is in comments.
pub fn show(policy: &Policy) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = match &policy.file {
        Some((path, hash)) => writeln!(out, "# {}, sha256 {hash}", escape_str(path)),
        None => writeln!(out, "# no leaktrace.toml: as shipped"),
    };
    settings(&mut out, &policy.settings);
    let roots = policy.temp_roots.iter();
    let roots: Vec<_> = roots
        .map(|root| quoted(&String::from_utf8_lossy(root)))
        .collect();
    let _ = writeln!(
        out,
        "\n[temp] # besides $TMPDIR, /tmp, /var/tmp, /dev/shm and /run/user/UID\nroots = [{}]",
        roots.join(", ")
    );
    let _ = writeln!(
        out,
        "\n# {} suppressions, {} expectations, {} program sections",
        policy.allow.len(),
        policy.expect.len(),
        policy.programs.len()
    );
    for allow in &policy.allow {
        let place = escape_str(allow.source.as_deref().unwrap_or_default());
        let reason = escape_str(allow.reason.as_deref().unwrap_or_default());
        let _ = writeln!(out, "# {place}: {} ({reason})", escape_str(&allow.form()));
    }
    out
}

fn settings(out: &mut String, settings: &Settings) {
    let Settings {
        levels,
        order,
        ranks: _,
        thresholds,
        budgets,
    } = settings;
    // Writing to a String cannot fail.
    let _ = writeln!(out, "\n[levels]");
    for (word, level) in levels {
        let level = match level {
            Level::Off => "off",
            Level::Note => "note",
            Level::Error => "error",
        };
        let _ = writeln!(out, "{word} = \"{level}\"");
    }
    let _ = writeln!(
        out,
        "\n[order]\nmode = \"{}\"\n\n[thresholds]",
        order.name()
    );
    for (key, time) in [
        ("slow-teardown", thresholds.slow_teardown),
        ("stale-operation", thresholds.stale_operation),
        ("zombie", thresholds.zombie),
        ("growth-window", thresholds.growth_window),
        ("growth-within", thresholds.growth_within),
    ] {
        let _ = writeln!(out, "{key} = \"{}\"", written(time));
    }
    let _ = writeln!(out, "near-limit = {}", thresholds.near_limit);
    let _ = writeln!(out, "growth-rise = {}\n\n[max]", thresholds.growth_rise);
    for (name, most) in &budgets.max {
        let _ = writeln!(out, "{name} = {most}");
    }
}

/// A duration that reads back as itself.
fn written(time: Duration) -> String {
    match time.subsec_nanos() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ns", time.as_nanos()),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::policy::file;

    #[test]
    fn what_is_shown_reads_back_as_the_same_settings() {
        let text = "[levels]\nheld = \"note\"\n[max]\nfd = 3\n[thresholds]\nzombie = \"1500ms\"\n";
        for policy in [Policy::default(), file::parse("p", text).unwrap()] {
            let again = file::parse("p", &show(&policy)).unwrap();
            assert_eq!(again.settings, policy.settings);
        }
    }
}
