//! What changes a fingerprint, and what does not.

use proptest::prelude::*;

use super::*;

fn at(place: &str) -> Identity {
    Identity {
        rule: "LT109".into(),
        program: "python3".into(),
        kind: "file".into(),
        place: place.into(),
        ..Identity::default()
    }
}

fn named(identities: &[Identity]) -> Vec<String> {
    fingerprints(&identities.iter().collect::<Vec<_>>())
}

#[test]
fn names_are_reduced_by_their_structure() {
    for (name, outlined) in [
        ("$TMP/tmp.AbCdEfGhIj", "$TMP/tmp.*"),
        ("$TMP/tmpa_b3x9q_/data.db", "$TMP/*/data.db"),
        ("$TMP/sem.mp-x1y2z3", "$TMP/sem.mp-*"),
        ("$TMP/leak.4711", "$TMP/leak.*"),
        ("$TMP/2026-11-21.log", "$TMP/*-*-*.log"),
        ("./out/x.txt", "./out/x.txt"),
        ("x-1b4e28ba-2fab-abcd-abcd-0016d3cca427.s", "x-*.s"),
        ("", ""),
    ] {
        assert_eq!(outline(name), outlined);
    }
}

#[test]
fn a_second_one_of_a_group_is_told_from_the_first() {
    let alike = [at("$TMP/tmp.AAAAAA"), at("$TMP/tmp.BBBBBB"), at("$TMP/x")];
    let first = named(&alike);
    assert_eq!(first[1], format!("{}-2", first[0]));
    assert_ne!(first[2], first[0]);
    let mut turned = alike;
    turned.reverse();
    let mut again = named(&turned);
    again.reverse();
    assert_eq!(again, first, "whatever the order in which they came");
}

#[test]
fn every_stable_fact_tells_groups_apart() {
    let base = at("$TMP/x");
    let others = [
        Identity {
            rule: "LT110".into(),
            ..base.clone()
        },
        Identity {
            program: "node".into(),
            ..base.clone()
        },
        Identity {
            script: "ci/a.sh".into(),
            ..base.clone()
        },
        Identity {
            scope: "test_a".into(),
            ..base.clone()
        },
        Identity {
            kind: "unix".into(),
            ..base.clone()
        },
        Identity {
            place: "$TMP/y".into(),
            ..base.clone()
        },
        Identity {
            other: "fd".into(),
            ..base.clone()
        },
    ];
    for other in others {
        assert_ne!(other.group(), base.group(), "{other:?}");
    }
    let detail = Identity {
        detail: "fd 3".into(),
        ..base.clone()
    };
    assert_eq!(detail.group(), base.group(), "detail is not part of it");
}

#[test]
fn words_are_not_draws_of_one_name() {
    assert!(could_be_same("$TMP/tmp.AbCdEfGhIj", "$TMP/tmp.kLmNoPqRsT"));
    assert!(could_be_same("$TMP/shm1", "$TMP/shm2"));
    assert!(could_be_same("$TMP/tmpabemolu", "$TMP/tmpiduwako"));
    assert!(!could_be_same("$TMP/server.sock", "$TMP/client.sock"));
    assert!(!could_be_same("$TMP/session_data", "$TMP/cache_files"));
    assert!(could_be_same("$TMP/data-qo_qyqby", "$TMP/data-ivojtube"));
    assert!(!could_be_same("$TMP/report-of-alice", "$TMP/report-of-bob"));
}

#[test]
fn programs_keep_their_names() {
    for (exe, name) in [
        ("/usr/bin/python3.11", "python3.11"),
        ("/ws/target/debug/deps/app-3f2a91bc7d5e0041", "app-*"),
        ("/tmp/go-build123/b001/http.test", "http.test"),
        (
            "/usr/bin/x86_64-linux-gnu-gcc-14 (deleted)",
            "x86_64-linux-gnu-gcc-14",
        ),
        ("", ""),
    ] {
        assert_eq!(program(exe), name);
    }
}

#[test]
fn fingerprints_are_recognised() {
    let group = at("$TMP/x").group();
    assert_eq!(parse(&group), Some((group.as_str(), 1)));
    assert_eq!(parse(&fingerprint(&group, 7)), Some((group.as_str(), 7)));
    for wrong in [
        "",
        "abc",
        "0123456789ABCDEF",
        "0123456789abcdef-1",
        "0123456789abcdef-x",
    ] {
        assert_eq!(parse(wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn two_draws_of_mkstemp_have_one_fingerprint(
        stem in "[a-z]{0,12}[.-]?",
        a in "[A-Za-z0-9]{6}",
        b in "[A-Za-z0-9]{6}",
        pid_a in 1u32..4_000_000,
        pid_b in 1u32..4_000_000,
    ) {
        let of = |draw: &str, pid: u32| at(&format!("$TMP/{stem}{draw}/run.{pid}")).group();
        prop_assert_eq!(of(&a, pid_a), of(&b, pid_b));
    }

    #[test]
    fn two_draws_of_python_s_tempfile_have_one_fingerprint(
        prefix in "tmp|[a-z]{1,8}-",
        a in "[a-z0-9_]{8}",
        b in "[a-z0-9_]{8}",
    ) {
        let of = |draw: &str| at(&format!("$TMP/{prefix}{draw}.json")).group();
        prop_assert_eq!(of(&a), of(&b));
    }

    #[test]
    fn any_text_has_a_fingerprint(text in ".*", exe in ".*") {
        let identity = Identity { program: program(&exe), ..at(&text) };
        prop_assert!(parse(&identity.group()).is_some());
        prop_assert!(could_be_same(&text, &text));
    }
}
