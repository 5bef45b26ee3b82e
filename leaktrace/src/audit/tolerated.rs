//! What the policy tolerated: how often each suppression fitted, and which were of no use.

use crate::{
    audit::{case::Case, finding::Findings},
    policy::Strictness,
    report::{BaselineUse, PolicyFile, Suppression},
};

/// The report's `policy`.
pub(crate) fn policy(case: &Case<'_>, findings: &Findings) -> PolicyFile {
    let policy = case.policy;
    let allows = policy.allow.iter().zip(&findings.used);
    let expectations = policy.expect.iter().zip(&case.expected);
    let expectations = expectations.map(|(expect, used)| Suppression {
        form: expect.form(),
        reason: Some(expect.reason.clone()),
        source: expect.source.clone(),
        used: *used,
        ..Suppression::default()
    });
    let suppressions: Vec<Suppression> = allows
        .map(|(allow, used)| Suppression {
            form: allow.form(),
            reason: allow.reason.clone(),
            source: allow.source.clone(),
            expires: allow.expires.map(|day| day.to_string()),
            expired: allow.is_expired(case.today()),
            used: *used,
        })
        .chain(expectations)
        .collect();
    let complaints = match policy.strictness {
        Strictness::Report => Vec::new(),
        Strictness::Fail => suppressions.iter().filter_map(complaint).collect(),
    };
    let (path, sha256) = policy.file.clone().unzip();
    PolicyFile {
        path,
        sha256,
        suppressions,
        baseline: policy.baseline.as_ref().map(|baseline| BaselineUse {
            path: baseline.path.clone(),
            known: baseline.known.len() as u64,
            again: findings.again,
        }),
        complaints,
    }
}

fn complaint(suppression: &Suppression) -> Option<String> {
    let Suppression {
        form,
        source,
        expires,
        expired,
        used,
        ..
    } = suppression;
    let place = source.as_deref().unwrap_or("the command line");
    match (expired, used, expires) {
        (true, _, Some(day)) => Some(format!(
            "the suppression {form} ({place}) expired on {day}; remove it or give it another day"
        )),
        (false, 0, _) => Some(format!(
            "the suppression {form} ({place}) fitted nothing; remove it"
        )),
        (true, _, None) | (false, _, _) => None,
    }
}
