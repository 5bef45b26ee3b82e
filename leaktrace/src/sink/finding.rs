//! What several sinks say of a finding.

use sha2::{Digest, Sha256};

use crate::{
    audit::location::POLICY,
    report::{Finding, Level, Location, Report},
    sink::escape_str,
};

/// The place to annotate.
pub(super) fn place(finding: &Finding) -> Location {
    finding.location.clone().unwrap_or_else(|| Location {
        file: POLICY.to_owned(),
        line: 1,
        column: None,
    })
}

/// A path relative to the repository's root as a URI reference (RFC 3986): what is not plain is
/// percent-encoded; a first segment with a colon would be a scheme.
pub(super) fn uri(path: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'.')
        .remove(b'-')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(path, KEPT).to_string()
}

/// The identity of a finding across runs; of reports without one, made of what does not change
/// from run to run.
pub(super) fn fingerprint(finding: &Finding) -> String {
    if let Some(fingerprint) = &finding.fingerprint {
        return fingerprint.clone();
    }
    let place = place(finding);
    let facts = [
        &finding.rule,
        &finding.comm,
        &finding.kind,
        finding.site.as_deref().unwrap_or_default(),
        finding.scope.as_deref().unwrap_or_default(),
        &place.file,
    ];
    let mut hash = Sha256::new();
    for fact in facts {
        hash.update(fact.as_bytes());
        hash.update([0]);
    }
    hash.finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// `LT103 sysv-shm-left`
pub(super) fn title(finding: &Finding) -> String {
    format!(
        "{} {}",
        escape_str(&finding.rule),
        escape_str(&finding.name)
    )
}

/// `shared memory 65548 (64.0 KiB) outlives its creator (and 2 more)`
pub(super) fn sentence(finding: &Finding) -> String {
    let message = escape_str(&finding.message);
    match finding.count {
        0 | 1 => message,
        n => format!("{message} (and {} more)", n - 1),
    }
}

/// What is not suppressed, errors first.
pub(super) fn shown(report: &Report) -> Vec<&Finding> {
    let mut findings: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.suppressed_by.is_none())
        .collect();
    findings.sort_by_key(|finding| finding.level != Level::Error);
    findings
}
