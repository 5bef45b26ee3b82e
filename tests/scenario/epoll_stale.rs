//! LT603: closed, but still watched.

use crate::check_steps;

#[test]
fn a_watched_fd_whose_description_lives_on_is_stale() {
    let steps = ["pipe r w", "epoll e", "epoll-add e r", "dup d r", "close r"];
    let outcome = check_steps(&steps).end();
    outcome.clean();
    assert_eq!(outcome.fired("LT603")["kind"], "pipe", "{outcome}");
    let taken_out = [
        "pipe r w",
        "epoll e",
        "epoll-add e r",
        "dup d r",
        "epoll-del e r",
        "close r",
    ];
    check_steps(&taken_out).end().twin_clean("LT603");
}

#[test]
fn the_last_close_takes_it_out_of_the_set() {
    let steps = ["pipe r w", "epoll e", "epoll-add e r", "close r"];
    check_steps(&steps).end().twin_clean("LT603");
}

#[test]
fn a_child_that_keeps_it_makes_it_stale_and_one_that_goes_at_once_does_not() {
    let kept = [
        "pipe r w",
        "epoll e",
        "epoll-add e r",
        "fork c sleep 600",
        "close r",
        "sleep 250",
        "kill c 9",
        "sleep 1",
        "open x /etc/hosts",
        "wait c",
    ];
    let kept = [&kept[..6], &["kill c 15", "wait c"]].concat();
    // The child is gone when its parent ends: what was stale for a quarter of a second is over.
    check_steps(&kept).end().twin_clean("LT603");
    let stays = [
        "pipe r w",
        "epoll e",
        "epoll-add e r",
        "fork c sleep 600",
        "close r",
        "sleep 250",
    ];
    check_steps(&stays).end().fired("LT603");
}
