//! A plain user who has no rights but may start the deputy by sudo.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use leaktrace_tests::{
    NOBODY, Objects, Outcome, Place, Run, Sudoer, linux, open_events, patience, pristine,
};
use serde_json::Value;

use crate::capabilities::{SHOW, as_nobody, shown};

/// As long as a busy machine may need.
const PATIENCE: Duration = Duration::from_secs(60);
const BOTH: [&str; 2] = ["deputy own", "deputy all"];

/// What `SHOW` shows a user whom nobody watches.
fn alone(place: &Place, as_user: &[&str], environment: &[(&str, &str)]) -> String {
    let mut words = as_user.to_vec();
    words.extend(["sh", "-c", SHOW]);
    let output = pristine(&mut Command::new(words[0]))
        .args(&words[1..])
        .current_dir(place.cwd())
        .env("TMPDIR", place.tmp())
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("run it alone");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What sudo would take out of the environment, or change.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("LD_LIBRARY_PATH", "/no/such"),
    ("MALLOC_ARENA_MAX", "1"),
    ("SUDO_ASKPASS", "/no/such"),
    ("HOME", "/no/such/home"),
];

#[track_caller]
fn is_the_users_own(place: &Place, run: Run<'_>, as_user: &[&str]) {
    let run = ENVIRONMENT
        .iter()
        .fold(run, |run, (name, value)| run.env(name, value));
    let traced = run.end();
    assert!(traced.stderr.contains("clean"), "{traced}");
    assert_eq!(shown(&traced), alone(place, as_user, &ENVIRONMENT));
}

#[test]
fn through_the_deputy_the_command_is_the_users_own() {
    let place = Place::new();
    let binary = place.open_to_all();
    let _sudoer = Sudoer::new(&binary, &["deputy own"], &[]);
    is_the_users_own(
        &place,
        as_nobody(&place, &binary, &["sh", "-c", SHOW]),
        &NOBODY,
    );
}

#[test]
fn a_terminal_that_sudo_would_put_between_changes_nothing() {
    let place = Place::new();
    let binary = place.open_to_all();
    let _sudoer = Sudoer::new(&binary, &["deputy own"], &["use_pty", "!lecture"]);
    is_the_users_own(
        &place,
        as_nobody(&place, &binary, &["sh", "-c", SHOW]),
        &NOBODY,
    );
}

#[test]
fn as_root_the_command_is_roots_own() {
    let place = Place::new();
    let run = Run::check(["sh", "-c", SHOW]).at(&place).text();
    is_the_users_own(&place, run, &["env"]);
}

#[test]
fn what_is_left_is_found_and_a_twin_is_clean() {
    let place = Place::new();
    let binary = place.open_to_all();
    let _sudoer = Sudoer::new(&binary, &["deputy own"], &[]);
    let check = |script: &str| {
        Run::check(["sh", "-c", script])
            .at(&place)
            .binary(&binary)
            .through(NOBODY)
            .args(["--settle", "300ms"])
    };
    // The report lies in the place's directory, which everybody may write to.
    let leaks = check("mktemp; mkdir $TMPDIR/left; ipcmk -M 4096; setsid sleep 20 & :").end();
    let id = leaks.stdout.trim().rsplit(' ').next().unwrap_or_default();
    let removed = Command::new("ipcrm").args(["-m", id]).status();
    assert!(removed.is_ok_and(|status| status.success()), "{leaks}");
    assert_eq!(leaks.code(), 100, "{leaks}");
    for rule in ["LT101", "LT103", "LT109", "LT110"] {
        assert_eq!(leaks.of_rule(rule).len(), 1, "{rule}: {leaks}");
    }
    assert_eq!(leaks.of_rule("LT101")[0]["comm"], "sleep", "{leaks}");
    check("rm $(mktemp); mkdir $TMPDIR/made; rmdir $TMPDIR/made; ipcrm -m $(ipcmk -M 4096 | sed 's/.* //')")
        .end()
        .clean();
}

#[test]
fn stacks_and_diagnostics_come_through_the_deputy() {
    let place = Place::new();
    let binary = place.open_to_all();
    let _sudoer = Sudoer::new(&binary, &["deputy own"], &[]);
    let outcome = as_nobody(&place, &binary, &["mktemp"])
        .args(["-k", "-vv"])
        .end();
    assert_eq!(outcome.code(), 100, "{outcome}");
    assert!(outcome.stderr.contains("leaktrace: kernel: "), "{outcome}");
    let stack = outcome
        .stderr
        .lines()
        .any(|line| line.contains(" in /") && line.contains("libc"));
    assert!(stack, "{outcome}");
}

#[test]
fn without_a_password_given_nothing_is_run_and_one_sentence_says_why() {
    let place = Place::new();
    let binary = place.open_to_all();
    let outcome = as_nobody(&place, &binary, &["echo", "ran"]).end();
    assert_eq!(outcome.code(), 77, "{outcome}");
    assert_eq!(outcome.stdout, "", "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
    assert!(outcome.stderr.contains("password"), "{outcome}");
}

/// leaktrace as nobody, running a command that says when it runs.
struct Running {
    leaktrace: Child,
    deputy: u32,
}

impl Running {
    fn new(place: &Place, binary: &Path, script: &str) -> Running {
        let leaktrace = as_nobody(place, binary, &["sh", "-c", script]).spawn(place);
        let started = Instant::now();
        while !place.cwd().join("ready").exists() {
            assert!(started.elapsed() < patience(PATIENCE), "it never ran");
            std::thread::sleep(Duration::from_millis(5));
        }
        let deputy = deputy_of(leaktrace.id()).expect("a deputy");
        Running { leaktrace, deputy }
    }
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

fn command_of(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0);
    words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// The deputy below leaktrace, or below a sudo there.
fn deputy_of(pid: u32) -> Option<u32> {
    children(pid).into_iter().find_map(|child| {
        let command = command_of(child);
        match command.first()?.ends_with("leaktrace") && command.get(1)? == "deputy" {
            true => Some(child),
            false => deputy_of(child),
        }
    })
}

fn field(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.expect(name).trim().to_owned()
}

#[test]
fn the_deputy_is_the_user_with_three_rights_and_no_way_to_more() {
    let place = Place::new();
    let binary = place.open_to_all();
    let _sudoer = Sudoer::new(&binary, &["deputy own"], &[]);
    let mut running = Running::new(&place, &binary, ": >ready; sleep 5");
    let deputy = running.deputy;
    // CAP_SYS_PTRACE is 19, CAP_PERFMON 38, CAP_BPF 39.
    let kept = format!("{:016x}", 1_u64 << 19 | 1 << 38 | 1 << 39);
    assert_eq!(field(deputy, "CapPrm:"), kept);
    assert_eq!(field(deputy, "CapBnd:"), kept);
    let none = "0000000000000000";
    for sets in ["CapInh:", "CapAmb:"] {
        assert_eq!(field(deputy, sets), none, "{sets}");
    }
    // What it may it takes up while it does something, and it looks for calls that wait.
    let idle = || {
        let threads = fs::read_dir(format!("/proc/{deputy}/task")).expect("its threads");
        let effective = threads.map(|one| {
            let number = one.expect("a thread").file_name();
            field(
                number
                    .to_str()
                    .and_then(|it| it.parse().ok())
                    .expect("a number"),
                "CapEff:",
            )
        });
        effective.collect::<Vec<_>>().iter().all(|set| set == none)
    };
    let started = Instant::now();
    while !idle() {
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "never without rights"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(field(deputy, "NoNewPrivs:"), "1");
    assert_eq!(field(deputy, "Uid:"), "65534\t65534\t65534\t65534");
    assert_eq!(field(deputy, "Gid:"), "65534\t65534\t65534\t65534");
    assert_eq!(field(deputy, "Groups:"), "");
    // What loads and reads runs as the user without any right.
    let whole = running.leaktrace.id();
    assert_eq!(field(whole, "CapPrm:"), "0000000000000000");
    // A session of its own, without a terminal: ^C is not for it.
    let stat = fs::read_to_string(format!("/proc/{deputy}/stat")).expect("its stat");
    let after = stat.rsplit_once(')').expect("a comm").1;
    let terminal = after.split_whitespace().nth(4);
    assert_eq!(terminal, Some("0"), "{stat}");
    assert!(running.leaktrace.wait().expect("wait").success());
    assert!(
        !Path::new(&format!("/proc/{deputy}")).exists(),
        "it is still there"
    );
}

#[test]
fn killing_leaktrace_ends_the_deputy_and_leaves_nothing_in_the_kernel() {
    let place = Place::new();
    let binary = place.open_to_all();
    let _sudoer = Sudoer::new(&binary, &["deputy own"], &[]);
    let script = ": >ready; sleep 3; echo $? >status.tmp; mv status.tmp status";
    let mut running = Running::new(&place, &binary, script);
    let objects = Objects::of(running.deputy);
    let sudo = children(running.leaktrace.id());
    assert!(!sudo.is_empty());
    running.leaktrace.kill().expect("kill leaktrace");
    running.leaktrace.wait().expect("reap leaktrace");
    objects.are_gone();
    let started = Instant::now();
    let is_there = |pid: &u32| Path::new(&format!("/proc/{pid}")).exists();
    let stays = |pid: &&u32| is_there(pid) && command_of(**pid).iter().any(|word| word == "deputy");
    while is_there(&running.deputy) || sudo.iter().any(|pid| stays(&pid)) {
        assert!(
            started.elapsed() < patience(PATIENCE),
            "the deputy is still there"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = place.cwd().join("status");
    while !status.exists() {
        assert!(
            started.elapsed() < patience(PATIENCE),
            "the command did not end"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(fs::read_to_string(status).expect("a status"), "0\n");
}

#[test]
fn a_deputy_that_is_killed_makes_no_run_clean() {
    let place = Place::new();
    let binary = place.open_to_all();
    let _sudoer = Sudoer::new(&binary, &["deputy own"], &[]);
    for script in [": >ready; sleep 1", ": >ready; sleep 1; mktemp"] {
        let _ = fs::remove_file(place.cwd().join("ready"));
        let mut running = Running::new(&place, &binary, script);
        let pid = running.deputy.cast_signed();
        // SAFETY: passes no memory; the deputy of a leaktrace that runs.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
        let status = running.leaktrace.wait().expect("wait");
        let said = fs::read_to_string(place.root().join("stderr")).expect("its stderr");
        assert_eq!(status.code(), Some(125), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("deputy") && said.contains("ended"), "{said}");
        assert!(!said.contains("clean"), "{said}");
    }
}

#[test]
fn own_processes_can_be_watched_and_others_only_where_that_is_granted() {
    let place = Place::new();
    let binary = place.open_to_all();
    let own = Command::new(NOBODY[0])
        .args(&NOBODY[1..])
        .args(["sleep", "60"])
        .spawn();
    let mut own = own.expect("start a process");
    let mut others = Command::new("sleep")
        .arg("60")
        .spawn()
        .expect("start a process");
    std::thread::sleep(Duration::from_millis(100));
    let watch = |pid: u32| -> Outcome {
        let pid = pid.to_string();
        Run::check::<&str>([])
            .at(&place)
            .text()
            .binary(&binary)
            .through(NOBODY)
            .args(["-p", &pid, "--duration", "300ms"])
            .end()
    };
    {
        let _sudoer = Sudoer::new(&binary, &["deputy own"], &[]);
        let outcome = watch(own.id());
        assert_eq!(outcome.code(), 0, "{outcome}");
        assert!(outcome.stderr.contains("watching 1 process"), "{outcome}");
        let outcome = watch(others.id());
        assert_ne!(outcome.code(), 0, "{outcome}");
        assert!(outcome.stderr.contains("another user"), "{outcome}");
    }
    let _sudoer = Sudoer::new(&binary, &["deputy all"], &[]);
    let outcome = watch(others.id());
    for child in [&mut own, &mut others] {
        child.kill().expect("kill it");
        child.wait().expect("reap it");
    }
    assert_eq!(outcome.code(), 0, "{outcome}");
    assert!(outcome.stderr.contains("watching 1 process"), "{outcome}");
}

/// leaktrace as nobody, with these arguments.
fn call(place: &Place, binary: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(NOBODY[0])
        .args(&NOBODY[1..])
        .arg(binary)
        .args(arguments)
        .current_dir(place.cwd())
        .env("TMPDIR", place.tmp())
        .stdin(Stdio::null())
        .output()
        .expect("run leaktrace");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn every_command_goes_through_the_deputy() {
    let place = Place::new();
    let binary = place.open_to_all();
    let _sudoer = Sudoer::new(&binary, &BOTH, &[]);
    let call = |arguments: &[&str]| call(&place, &binary, arguments);
    // Of a busy machine records may be lost.
    let (code, said) = call(&["hist", "--duration", "300ms"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        [" groups, ", " group, "].iter().any(|it| said.contains(it)) && said.contains("(clean)"),
        "{said}"
    );
    let (code, said) = call(&["hist", "--", "true"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = call(&["record", "-o", "everything", "--duration", "300ms"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = call(&["record", "-o", "capture", "--", "mktemp"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = call(&["check", "--from", "capture"]);
    assert_eq!(code, Some(100), "{said}");
    assert!(said.contains("LT109"), "{said}");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--duration", "500ms"];
    let (code, said) = call(&serve);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("metrics on http://127.0.0.1:"), "{said}");
    let (code, said) = call(&["doctor"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ready: top, hist, check\n"), "{said}");
    assert!(
        said.contains("sudo starts `leaktrace deputy all`"),
        "{said}"
    );
    let (code, said) = call(&["doctor", "--parity", "--", "true"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn doctor_says_what_a_deputy_for_own_processes_can_do() {
    let place = Place::new();
    let binary = place.open_to_all();
    let _sudoer = Sudoer::new(&binary, &["deputy own"], &[]);
    let (code, said) = call(&place, &binary, &["doctor"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("ready: top -- CMD, hist -- CMD, check -- CMD"),
        "{said}"
    );
    let kept =
        "sudo starts `leaktrace deputy own`, which keeps CAP_BPF CAP_PERFMON CAP_SYS_PTRACE;";
    assert!(said.contains(kept), "{said}");
    let (code, said) = call(&place, &binary, &["hist", "--duration", "300ms"]);
    assert_eq!(code, Some(77), "{said}");
}

#[test]
fn top_shows_the_system_through_the_deputy() {
    let place = Place::new();
    let binary = place.open_to_all();
    let _sudoer = Sudoer::new(&binary, &BOTH, &[]);
    let script = format!("{} {} top", NOBODY.join(" "), binary.display());
    // The terminal's device is root's: only who has it open may use it.
    let script = format!("chown nobody $(tty); {script}");
    let terminal = leaktrace_tests::Terminal::new((120, 40), &place.cwd(), &script);
    terminal.until("the screen", |screen| screen.contains("PID"));
    terminal.until("others' processes", |screen| screen.contains("tmux"));
}

/// Speaks the deputy's language as nobody: sends what is not in bounds, and asks about others.
const ASK: &str = r#"
import json, socket, struct, subprocess, sys
binary, grant = sys.argv[1:3]
def start():
    ours, theirs = socket.socketpair()
    child = subprocess.Popen(["sudo", "-n", "--", binary, "deputy", grant], stdin=theirs)
    theirs.close()
    return ours, child
def ask(ours, request, kind=1):
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    try:
        ours.sendall(struct.pack("<II", kind, len(body)) + body)
    except OSError:
        return None
    return hear(ours)
def hear(ours):
    try:
        return heard(ours)
    except ConnectionResetError:
        return None
def heard(ours):
    head = b""
    while len(head) < 8:
        some, fds, _, _ = socket.recv_fds(ours, 8 - len(head), 8)
        if not some: return None
        head += some
        globals().setdefault("got", []).extend(fds)
    kind, length = struct.unpack("<II", head)
    body = b""
    while len(body) < length:
        some = ours.recv(length - len(body))
        if not some: return None
        body += some
    return json.loads(body) if kind == 1 else {"reply": "bytes", "length": len(body)}
load = {"ask": "load", "version": 2, "scope": "tree", "ring_bytes": 65536, "wake_bytes": 4096,
        "diagnostics": False, "stacks": False, "exit_times": False}
said = {}
ours, child = start()
said["before"] = ask(ours, {"ask": "seed"})
said["system"] = ask(ours, dict(load, scope="system"))
said["load"] = ask(ours, load)["reply"]
census = socket.socket(fileno=got[6])
said["fds"] = len(got)
said["again"] = ask(ours, load)
key = lambda pid: f"{pid}:" + open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[19] + "0" * 7
import os
for name, pid in (("init", 1), ("own", os.getpid())):
    for what in ("mapped", "images"):
        said[f"{what} {name}"] = ask(ours, {"ask": what, "key": key(pid)})
    said[f"place {name}"] = ask(ours, {"ask": "place", "pid": pid})
said["gone init"] = ask(ours, {"ask": "gone", "key": key(1)})
said["seed"] = ask(ours, {"ask": "seed"})
said["holders"] = ask(ours, {"ask": "holders", "wanted": list(range(1, 5))})["reply"]
def question(q):
    return ask(census, {"ask": "census", "questions": [q]})["answers"][0]["found"]
through = [key(1)]
path = list(b"/proc/1/cwd")
for name, q in (
    ("process init", {"ask": "process", "key": key(1)}),
    ("process own", {"ask": "process", "key": key(os.getpid())}),
    ("process gone", {"ask": "process", "key": "1:10000000000000000"}),
    ("path here", {"ask": "path", "path": path, "mnt_ns": 0, "through": []}),
    ("path through init", {"ask": "path", "path": path, "mnt_ns": 1, "through": through}),
    ("path nowhere", {"ask": "path", "path": path, "mnt_ns": 1, "through": []}),
    ("mount through init", {"ask": "mount", "path": list(b"/"), "mnt_ns": 1, "through": through}),
):
    said[f"census {name}"] = question(q)
said["census source"] = ask(census, {"ask": "census", "questions": [{"ask": "source", "path": path}]})
said["census other"] = ask(census, {"ask": "detach"})
said["census many"] = ask(census, {"ask": "census", "questions": [{"ask": "process", "key": key(1)}] * 1025})
said["many"] = ask(ours, {"ask": "reread", "pids": list(range(2000))})
said["after many"] = ask(ours, {"ask": "missed"})
ours.close(); census.close()
said["ended"] = child.wait(60)
for name, request, kind in (
    ("version", dict(load, version=3), 1),
    ("ring", dict(load, ring_bytes=1 << 31), 1),
    ("unknown", {"ask": "everything"}, 1),
    ("extra", dict(load, more=1), 1),
    ("noise", b"\xff" * 64, 1),
    ("bytes", b"", 2),
    ("form", b"", 9),
):
    ours, child = start()
    said[name] = ask(ours, request, kind)
    ours.close()
    child.wait(60)
ours, child = start()
ours.sendall(struct.pack("<II", 1, 1 << 31))
said["long"] = hear(ours)
said["long ended"] = child.wait(60)
print(json.dumps(said))
"#;

#[test]
fn the_deputy_for_own_processes_refuses_what_is_about_others_and_what_is_malformed() {
    let place = Place::new();
    let binary = place.open_to_all();
    let _sudoer = Sudoer::new(&binary, &["deputy own"], &[]);
    let mut child = Command::new(NOBODY[0])
        .args(&NOBODY[1..])
        .args([
            "/usr/bin/python3",
            "-",
            &binary.display().to_string(),
            "own",
        ])
        .current_dir(place.cwd())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run python3");
    let stdin = child.stdin.take();
    stdin
        .expect("its stdin")
        .write_all(ASK.as_bytes())
        .expect("tell it");
    let output = child.wait_with_output().expect("wait");
    let said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stdout)));
    let refused = |name: &str, why: &str| {
        let reply = &said[name];
        assert_eq!(reply["reply"], "refused", "{name}: {said:#}");
        let told = reply["why"].as_str().unwrap_or_default();
        assert!(told.contains(why), "{name}: {told}");
    };
    refused("before", "no programs run");
    refused("system", "own only");
    assert_eq!(said["load"], "loaded", "{said:#}");
    assert_eq!(said["fds"], 7, "{said:#}");
    refused("again", "run already");
    refused("mapped init", "another user");
    refused("images init", "another user");
    for own in ["mapped own", "images own"] {
        assert_eq!(said[own]["reply"], "bytes", "{said:#}");
        assert!(said[own]["length"].as_u64() > Some(100), "{said:#}");
    }
    assert_eq!(said["place init"]["directory"], Value::Null, "{said:#}");
    let here = place.cwd().display().to_string();
    assert_eq!(said["place own"]["directory"], here, "{said:#}");
    assert_eq!(said["gone init"]["length"], 0, "{said:#}");
    assert_eq!(said["seed"]["length"], 0, "nobody is watched: {said:#}");
    assert_eq!(said["holders"], "bytes", "{said:#}");
    let unknown = |name: &str, why: &str| {
        let found = &said[name];
        assert_eq!(found["found"], "unknown", "{name}: {said:#}");
        assert!(
            found["why"].as_str().unwrap_or_default().contains(why),
            "{name}: {found}"
        );
    };
    unknown("census process init", "another user");
    assert_eq!(said["census process own"]["found"], "process", "{said:#}");
    assert_eq!(said["census process gone"]["found"], "gone", "{said:#}");
    for looked in [
        "path here",
        "path through init",
        "path nowhere",
        "mount through init",
    ] {
        unknown(&format!("census {looked}"), "may not look");
    }
    refused("census source", "not for the deputy");
    refused("census other", "not asked here");
    refused("census many", "too many");
    refused("many", "too many");
    assert_eq!(said["after many"], Value::Null, "it goes on: {said:#}");
    assert_eq!(said["ended"], 0, "{said:#}");
    refused("version", "version 3");
    refused("ring", "too many");
    for malformed in ["unknown", "extra", "noise"] {
        refused(malformed, "malformed");
    }
    refused("bytes", "not for the deputy");
    assert_eq!(said["form"], Value::Null, "{said:#}");
    assert_eq!(said["long"], Value::Null, "{said:#}");
    assert_eq!(said["long ended"], 0, "{said:#}");
}

#[test]
fn nobody_else_can_use_the_deputy() {
    let place = Place::new();
    let binary: PathBuf = place.open_to_all();
    let output = Command::new(&binary)
        .args(["deputy", "own"])
        .stdin(Stdio::null())
        .output()
        .expect("run it");
    assert_eq!(output.status.code(), Some(125));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("not leaktrace's socket"), "{said}");
}

/// systemd's socket, as `leaktrace-deputy.socket` has it: whoever is in the group may connect, and
/// each is given a service with the rights of `leaktrace-deputy@.service`.
struct Socket(Child);

const SOCKET: &str = "/run/leaktrace/deputy.socket";
/// games: a group of its own, so that no other scenario's user may connect.
const GROUP: &str = "60";

impl Socket {
    fn listen(binary: &Path) -> Self {
        let directory = Path::new(SOCKET).parent().expect("a directory");
        fs::create_dir_all(directory).expect("make its directory");
        fs::set_permissions(directory, fs::Permissions::from_mode(0o750)).expect("close it");
        std::os::unix::fs::chown(directory, Some(0), GROUP.parse().ok()).expect("give it away");
        let rights = crate::units::setting(crate::units::DEPUTY, "CapabilityBoundingSet");
        let rights = crate::units::for_setpriv(&rights);
        let locked = crate::units::setting(crate::units::DEPUTY, "LimitMEMLOCK");
        assert_eq!(locked, "infinity");
        // What that line is for; not every root may do it.
        let limit: &[&str] = match linux() < (5, 11) {
            true => &["prlimit", "--memlock=unlimited", "--"],
            false => &[],
        };
        let listening = Command::new("systemd-socket-activate")
            .args(["--accept", "--inetd", "--listen", SOCKET])
            .args(limit)
            .arg("setpriv")
            .args(["--bounding-set", &format!("-all,{rights}")])
            .args(["--no-new-privs", "--"])
            .arg(binary)
            .args(["deputy", "own"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("run systemd-socket-activate");
        let begun = Instant::now();
        while !Path::new(SOCKET).exists() {
            assert!(begun.elapsed() < patience(PATIENCE), "nobody listens");
            std::thread::sleep(Duration::from_millis(10));
        }
        let socket = Self(listening);
        // systemd-socket-activate(1) knows no SocketMode=. Others do not get through the directory.
        fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o666)).expect("open it");
        socket
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = fs::remove_file(SOCKET);
        let _ = Path::new(SOCKET).parent().map(fs::remove_dir);
    }
}

#[test]
fn systemd_starts_the_deputy_for_whoever_may_connect() {
    open_events();
    let place = Place::new();
    let binary = place.open_to_all();
    let member = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--groups",
        GROUP,
    ];
    let socket = Socket::listen(&binary);
    let check = |script: &'static str| {
        Run::check(["sh", "-c", script])
            .at(&place)
            .binary(&binary)
            .through(member)
            .args(["--settle", "300ms"])
    };
    is_the_users_own(&place, check(SHOW).text(), &member);
    let leaks = check("mktemp; setsid sleep 20 & :").end();
    assert_eq!(leaks.code(), 100, "{leaks}");
    for rule in ["LT101", "LT109"] {
        assert_eq!(leaks.of_rule(rule).len(), 1, "{rule}: {leaks}");
    }
    let doctor = pristine(&mut Command::new(member[0]))
        .args(&member[1..])
        .arg(&binary)
        .arg("doctor")
        .output()
        .expect("run doctor");
    let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        told.contains("systemd starts `leaktrace deputy own`"),
        "{told}"
    );
    // Others may not: for them there is still sudo, and here is none.
    let outcome = as_nobody(&place, &binary, &["echo", "ran"]).end();
    assert_eq!(outcome.code(), 77, "{outcome}");
    drop(socket);
    let gone = check("true").text().end();
    assert_eq!(gone.code(), 77, "{gone}");
    assert_eq!(gone.stderr.lines().count(), 1, "{gone}");
}
