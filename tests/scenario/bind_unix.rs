//! LT111: a bound unix socket is a file that close does not remove.

use leaktrace_tests::Place;

use crate::check_steps;

#[test]
fn a_socket_file_never_unlinked_is_an_error() {
    let place = Place::new();
    let path = place.temp("socket");
    let bind = format!("bind-unix s {path}");
    let outcome = check_steps(&["unix s", &bind, "listen s", "close s"])
        .at(&place)
        .end();
    let finding = outcome.only_error("LT111");
    assert_eq!(finding["name"], "unix-socket-left");
    assert_eq!(finding["comm"], "steps");
    assert_eq!(finding["pid"], outcome.process("steps")["pid"]);
    assert_eq!(finding["resource"]["path"], path, "{outcome}");
}

#[test]
fn a_socket_file_unlinked_is_gone() {
    let place = Place::new();
    let path = place.temp("socket");
    let (bind, unlink) = (format!("bind-unix s {path}"), format!("unlink {path}"));
    check_steps(&["unix s", &bind, "listen s", "close s", &unlink])
        .at(&place)
        .end()
        .twin_clean("LT111");
}

#[test]
fn an_abstract_or_unbound_socket_leaves_no_file() {
    check_steps(&["unix s", "socketpair a b", "close b", "close a", "close s"])
        .end()
        .spotless();
}
