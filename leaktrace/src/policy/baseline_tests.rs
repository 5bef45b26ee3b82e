//! What is known and what is new.
#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

fn leak(place: &str) -> Identity {
    Identity {
        rule: "LT109".into(),
        program: "sh".into(),
        kind: "file".into(),
        place: place.into(),
        ..Identity::default()
    }
}

fn written(leaks: &[Identity]) -> Baseline {
    let named = fingerprint::fingerprints(&leaks.iter().collect::<Vec<_>>());
    let text = Baseline::of(named.into_iter().zip(leaks.iter().cloned())).write();
    Baseline::parse("known.json", &text).unwrap()
}

/// The places that are new.
fn new(known: &Baseline, leaks: &[Identity]) -> Vec<String> {
    let asked: Vec<_> = leaks
        .iter()
        .map(|it| (it.clone(), Question::Known))
        .collect();
    let matched = hold_against(&known.known, &asked);
    let mut all = matched.fingerprints.clone();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), leaks.len(), "each has a fingerprint of its own");
    let new = matched
        .known
        .iter()
        .zip(leaks)
        .filter(|(known, _)| !**known);
    new.map(|(_, leak)| leak.place.clone()).collect()
}

#[test]
fn what_was_there_is_known_and_what_is_more_is_new() {
    let leaks: Vec<_> = (0..20)
        .map(|n| leak(&format!("$TMP/tmp.AAAAA{n:05}")))
        .collect();
    let known = written(&leaks);
    let again: Vec<_> = (0..20)
        .map(|n| leak(&format!("$TMP/tmp.bbBBb{n:05}")))
        .collect();
    assert_eq!(new(&known, &again), [""; 0]);
    let mut more = again.clone();
    more.insert(7, leak("$TMP/report"));
    assert_eq!(new(&known, &more), ["$TMP/report"]);
    let mut alike = again;
    alike.insert(7, leak("$TMP/tmp.ccccc99999"));
    assert_eq!(new(&known, &alike).len(), 1);
}

#[test]
fn of_several_alike_the_one_with_the_new_name_is_new() {
    let known = written(&[leak("$TMP/shm-1"), leak("$TMP/shm-2"), leak("$TMP/shm-4")]);
    let seen = [
        leak("$TMP/shm-4"),
        leak("$TMP/shm-3"),
        leak("$TMP/shm-2"),
        leak("$TMP/shm-1"),
    ];
    assert_eq!(new(&known, &seen), ["$TMP/shm-3"]);
}

#[test]
fn a_leak_that_was_fixed_does_not_make_room_for_another() {
    let known = written(&[leak("$TMP/session.sock"), leak("$TMP/cached.sock")]);
    let seen = [leak("$TMP/session.sock"), leak("$TMP/uploaded.sock")];
    assert_eq!(new(&known, &seen), ["$TMP/uploaded.sock"]);
}

#[test]
fn other_rules_programs_and_scripts_are_new() {
    let base = leak("$TMP/x");
    let known = written(std::slice::from_ref(&base));
    let other = Identity {
        script: "other.sh".into(),
        ..base.clone()
    };
    assert_eq!(new(&known, &[base, other]).len(), 1);
}

#[test]
fn what_cannot_be_used_is_refused_in_one_sentence() {
    let error = |text: &str| Baseline::parse("b", text).unwrap_err().to_string();
    let with = |findings: &str| format!("{{\"schema\":\"{SCHEMA}\",\"findings\":[{findings}]}}");
    assert!(error("").contains("EOF"), "{}", error(""));
    assert!(error("{\"schema\":\"x/2\",\"findings\":[]}").starts_with("its schema is `x/2`"));
    let entry =
        |fingerprint: &str| format!("{{\"fingerprint\":\"{fingerprint}\",\"rule\":\"LT109\"}}");
    assert!(error(&with(&entry("zz"))).starts_with("`zz` is not a fingerprint"));
    let one = entry("0123456789abcdef");
    assert!(error(&with(&format!("{one},{one}"))).contains("twice"));
    assert!(error(&with("{\"fingerprnt\":\"x\"}")).contains("unknown field `fingerprnt`"));
}

#[test]
fn ten_thousand_alike_are_held_against_ten_thousand() {
    let many = |draw: &str| -> Vec<Identity> {
        (0..10_000)
            .map(|n| leak(&format!("$TMP/tmp.{draw}{n:06}")))
            .collect()
    };
    let known = written(&many("aB"));
    assert_eq!(new(&known, &many("cD")), [""; 0]);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".*") {
        let _ = Baseline::parse("b", &text);
    }

    #[test]
    fn as_many_are_new_as_there_are_more(
        before in proptest::collection::vec("[A-Za-z0-9]{6}", 0..20),
        after in proptest::collection::vec("[A-Za-z0-9]{6}", 0..25),
    ) {
        // In front of each a digit, so that none of them reads like a word.
        let of = |draws: &[String]| -> Vec<Identity> {
            draws.iter().map(|draw| leak(&format!("$TMP/f.7{draw}"))).collect()
        };
        let known = written(&of(&before));
        let more = after.len().saturating_sub(before.len());
        prop_assert_eq!(new(&known, &of(&after)).len(), more);
    }
}
