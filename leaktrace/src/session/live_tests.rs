#![expect(unsafe_code, reason = "a test sends a signal")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::VecDeque, ffi::CString};

use super::*;
use crate::{
    census::{Answer, Found},
    launch::{self, Found as SignalState, HoldSpec, environment::Environment},
    model::testing::{Actor, Script},
    report::{Events, Verdict},
};

/// Gives batches when their time has come.
struct FakeKernel {
    began: Instant,
    batches: VecDeque<(Duration, Bytes)>,
    detached: bool,
}

impl FakeKernel {
    fn due(&mut self) -> Bytes {
        let elapsed = self.began.elapsed();
        let mut out = Vec::new();
        while self.batches.front().is_some_and(|(at, _)| *at <= elapsed) {
            out.extend_from_slice(&self.batches.pop_front().unwrap().1);
        }
        out.into()
    }
}

impl Kernel for FakeKernel {
    fn start(&self) -> Start {
        Start::default()
    }

    fn nonce(&self) -> u64 {
        7
    }

    fn root_held(&self) -> anyhow::Result<bool> {
        Ok(true)
    }

    async fn next_batch(&mut self) -> anyhow::Result<Bytes> {
        sleep(Duration::from_millis(10)).await;
        Ok(self.due())
    }

    fn drain(&mut self) -> anyhow::Result<Bytes> {
        Ok(self.due())
    }

    fn counts(&mut self) -> anyhow::Result<Events> {
        assert!(self.detached, "counted before detaching");
        Ok(Events::default())
    }

    fn faults(&self) -> anyhow::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn holders(&mut self, _: &[u64]) -> anyhow::Result<Vec<leaktrace_common::abi::Holder>> {
        Ok(Vec::new())
    }

    fn detach(&mut self) -> anyhow::Result<()> {
        self.detached = true;
        Ok(())
    }
}

/// Knows that everything that is asked about is still there.
struct FakeCensus;

impl Census for FakeCensus {
    async fn ask(&mut self, questions: Vec<Question>) -> Vec<Answer> {
        let time_ns = host::boottime_ns();
        let answer = |question| Answer {
            question,
            time_ns,
            found: Found::Process {
                state: 'S',
                parent_pid: 1,
                comm: b"test".to_vec(),
            },
        };
        questions.into_iter().map(answer).collect()
    }
}

/// A root that exits at once, and a child of it that exits after `child`, if ever.
fn family(child: Option<Duration>) -> FakeKernel {
    let (root, orphan) = (Actor::new(100), Actor::child_of(&Actor::new(100), 101));
    let mut script = Script::new();
    script.root(&root);
    script.exec(&root, &[]);
    script.fork(&root, &orphan, 0);
    script.exit(&root, 0, &[]);
    let mut batches = VecDeque::from([(Duration::ZERO, script.take())]);
    if let Some(after) = child {
        script.exit(&orphan, 0, &[]);
        batches.push_back((after, script.take()));
    }
    FakeKernel {
        began: Instant::now(),
        batches,
        detached: false,
    }
}

fn live(kernel: FakeKernel, settle: Duration) -> Live<FakeKernel, FakeCensus> {
    let start = Start {
        settle_ns: settle.as_nanos() as u64,
        ..Start::default()
    };
    let purpose = Purpose::Verdict;
    Live::begin(kernel, FakeCensus, start, Policy::default(), purpose, None).unwrap()
}

fn sh(script: &str) -> Watched {
    let held = launch::hold(HoldSpec {
        argv: ["sh", "-c", script]
            .map(|word| CString::new(word).unwrap())
            .into(),
        environment: Environment::own(),
        user: None,
        found: SignalState::record(),
    });
    let child = held.unwrap().go().unwrap();
    Watched::new(child, Signals::block().unwrap()).unwrap()
}

/// To this thread: the others of the test process do not block it.
fn signal_me(signal: i32) {
    // SAFETY: this thread exists and blocks the signal.
    let result = unsafe { libc::pthread_kill(libc::pthread_self(), signal) };
    assert_eq!(result, 0);
}

fn settled(
    kernel: FakeKernel,
    deadline: Duration,
    signal: Option<i32>,
) -> (Duration, Settled, Verdict) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let watched = sh("exit 0");
        let mut live = live(kernel, deadline);
        live.watch(&watched).await.unwrap();
        if let Some(signal) = signal {
            signal_me(signal);
        }
        let began = Instant::now();
        let reaped = host::boottime_ns();
        let settled = live
            .settle(watched.signals(), KtimeNs(reaped))
            .await
            .unwrap();
        let took = began.elapsed();
        let end = End {
            child_reaped_ns: reaped,
            cut_short: settled.cut_short,
            ..End::default()
        };
        let report = live.finish(end).unwrap().judge(&Policy::default());
        (took, settled, report.verdict)
    })
}

#[test]
fn nothing_to_wait_for_costs_nothing() {
    let mut kernel = family(Some(Duration::ZERO));
    kernel.began -= Duration::from_secs(1);
    let (took, settled, verdict) = settled(kernel, Duration::from_secs(2), None);
    assert!(took < Duration::from_millis(50), "{took:?}");
    assert_eq!((settled.settle.r#for.len(), verdict), (0, Verdict::Clean));
}

#[test]
fn settling_ends_with_the_last_descendant() {
    let (took, settled, verdict) = settled(
        family(Some(Duration::from_millis(300))),
        Duration::from_secs(9),
        None,
    );
    assert!(took < Duration::from_millis(600), "{took:?}");
    assert_eq!((settled.settle.r#for.len(), verdict), (1, Verdict::Clean));
}

#[test]
fn settling_ends_at_the_deadline_and_what_runs_is_a_finding() {
    let (took, settled, verdict) = settled(family(None), Duration::from_millis(200), None);
    assert!(took >= Duration::from_millis(190), "{took:?}");
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert!(!settled.cut_short);
    assert_eq!(verdict, Verdict::Findings);
}

#[test]
fn a_signal_after_the_end_of_the_command_cuts_settling_short() {
    let (took, settled, verdict) =
        settled(family(None), Duration::from_secs(9), Some(libc::SIGTERM));
    assert!(took < Duration::from_millis(300), "{took:?}");
    assert!(settled.cut_short);
    assert_ne!(verdict, Verdict::Findings, "what still runs is a note");
}

#[test]
fn a_signal_from_a_process_reaches_the_command_once() {
    // nohup(1) has it ignored, and a shell cannot trap what was ignored when it began.
    // SAFETY: passes no memory; tokio's handler takes its place before the signal is sent.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_DFL) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let status = runtime.block_on(async {
        let watched = sh("n=0; trap 'n=$((n+1))' HUP; \
             for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.05; done; exit $((40 + n))");
        let mut live = live(family(None), Duration::ZERO);
        let later = async {
            sleep(Duration::from_millis(150)).await;
            signal_me(libc::SIGHUP);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            status = live.watch(&watched) => status.unwrap(),
            () = later => unreachable!(),
        }
    });
    assert_eq!(status, Status::Exited(41));
}
