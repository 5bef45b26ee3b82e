//! Ours against the kernel's own list: what a process holds is what /proc says it holds.

use std::collections::BTreeMap;
use std::time::Duration;

use leaktrace_tests::{Place, Run, steps};

use crate::STEPS;

/// fd number to what /proc/PID/fd links it to.
fn listed(pid: u32) -> BTreeMap<i64, String> {
    let dir = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("read /proc/PID/fd");
    dir.filter_map(Result::ok)
        .filter_map(|entry| {
            let link = std::fs::read_link(entry.path()).ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, link.display().to_string()))
        })
        .collect()
}

/// 200 descriptors of 14 kinds, with holes, then a wait for SIGTERM.
fn mixed(ready: &str) -> Vec<String> {
    let kinds = [
        "open NAME /etc/hosts",
        "open NAME /usr",
        "pipe NAME NAMEb",
        "memfd NAME",
        "eventfd NAME",
        "epoll NAME",
        "timerfd NAME",
        "signalfd NAME",
        "inotify NAME",
        "tcp NAME",
        "udp NAME",
        "unix NAME",
        "socketpair NAME NAMEb",
        "netlink NAME",
    ];
    let mut all: Vec<String> = (0..182)
        .map(|n| kinds[n % kinds.len()].replace("NAME", &format!("f{n}")))
        .collect();
    all.extend((0..182).step_by(21).map(|n| format!("close f{n}")));
    all.push("dup d f1".into());
    all.push("dupfd e f1 700".into());
    all.push(format!("ready {ready}"));
    all.push("sigwait-term".into());
    all
}

#[test]
fn two_hundred_mixed_descriptors_are_held_as_proc_lists_them() {
    let place = Place::new();
    let ready = place.cwd().join("ready");
    let path = ready.display().to_string();
    let all = mixed(&path);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let command = steps(STEPS, &all);
    let reader = std::thread::spawn(move || {
        let pid = loop {
            let written = std::fs::read_to_string(&ready).ok();
            match written.and_then(|text| text.split_once(' ')?.0.parse::<u32>().ok()) {
                Some(pid) => break pid,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        std::thread::sleep(Duration::from_millis(50));
        let (before, after) = (listed(pid), listed(pid));
        // SAFETY: no memory is passed; the pid is the command's, which waits for this signal.
        unsafe { libc::kill(pid.cast_signed(), libc::SIGTERM) };
        (before, after)
    });
    let outcome = Run::check(command).at(&place).end();
    let (before, after) = reader.join().expect("read the list");
    outcome.clean();
    assert_eq!(before, after, "the process changed while it was read");
    assert!(before.len() >= 200, "{} fds", before.len());
    let held = outcome.process("steps")["held"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ours: BTreeMap<i64, _> = held
        .iter()
        .filter_map(|it| Some((it["fd"].as_i64()?, it)))
        .collect();
    let numbers: Vec<_> = ours.keys().collect();
    assert_eq!(numbers, before.keys().collect::<Vec<_>>(), "{outcome}");
    for (fd, link) in &before {
        same(ours[fd], link);
    }
    assert_eq!(outcome.report["self_check"]["differed"], 0, "{outcome}");
}

/// Whether our resource is what the link says: path, socket or pipe inode, kind.
fn same(ours: &serde_json::Value, link: &str) {
    let inode = link
        .split_once(":[")
        .and_then(|(_, rest)| rest.strip_suffix(']'));
    let kind = ours["kind"].as_str().unwrap_or_default();
    if let Some(name) = link.strip_prefix("anon_inode:") {
        let name = name.trim_matches(['[', ']']).replace("eventpoll", "epoll");
        assert_eq!(kind, name, "{ours}");
    } else if let Some(inode) = inode {
        assert_eq!(ours["ino"].to_string(), inode, "{link} {ours}");
    } else if link.starts_with("/memfd:") {
        assert_eq!(kind, "memfd", "{ours}");
    } else if link == "/etc/hosts" || link == "/usr" {
        assert_eq!(ours["path"], link, "{ours}");
    }
}
