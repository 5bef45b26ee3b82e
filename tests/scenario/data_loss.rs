//! A close(2) that fails with EIO is the only word on data that was not written.

use leaktrace_tests::{Outcome, Place, Run, needs};

const EIO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/program/eio.py");

/// Opens and closes before and after; enough for a ring of one page to lose most of them.
const NOISE: &str = "3000";

fn closed(noise: &str, loss: Option<&str>) -> Outcome {
    let place = Place::new();
    let at = place.cwd().join("mounted");
    std::fs::create_dir(&at).expect("make a directory");
    let at = at.display().to_string();
    let run = Run::check(["python3", EIO, &at, noise]).at(&place);
    match loss {
        Some(loss) => run.env("LEAKTRACE_TEST_LOSS", loss).end(),
        None => run.end(),
    }
}

#[test]
fn a_close_that_lost_data_is_an_error() {
    let outcome = closed("0", None);
    let finding = outcome.only_error("LT402");
    let message = finding["message"].as_str().unwrap_or_default();
    assert!(message.contains("EIO: written data was lost"), "{outcome}");
}

#[test]
fn a_close_that_lost_data_is_not_among_what_is_lost() {
    let outcome = closed(NOISE, Some("ring=4096,sleep=50/100"));
    assert!(
        outcome.report["events"]["lost"].as_u64() > Some(0),
        "{outcome}"
    );
    assert_eq!(outcome.code(), 100, "{outcome}");
    assert_eq!(outcome.errors().len(), 1, "{outcome}");
    assert_eq!(outcome.of_rule("LT402").len(), 1, "{outcome}");
}

#[test]
fn what_was_lost_without_consequence_makes_nothing_inconclusive() {
    needs("bpf_loop", (5, 17));
    let noise = "import os\nfor _ in range(5000): os.close(os.open('/dev/null', 0))";
    let outcome = Run::check(["python3", "-c", noise])
        .env("LEAKTRACE_TEST_LOSS", "ring=4096,sleep=50/100")
        .end();
    assert!(
        outcome.report["events"]["lost"].as_u64() > Some(0),
        "{outcome}"
    );
    assert_eq!(outcome.code(), 0, "{outcome}");
    assert_eq!(outcome.report["verdict"], "clean", "{outcome}");
}
