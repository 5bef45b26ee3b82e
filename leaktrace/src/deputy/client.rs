//! leaktrace's side: starting the deputy, and asking it.

use std::{
    env,
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use leaktrace_common::abi::Holder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zerocopy::FromBytes;

use super::{
    COMMAND, Grant,
    channel::Channel,
    wire::{self, Form, LONGEST_REPLY, Load, QUESTIONS, Reply, Request, VERSION},
};
use crate::{
    bpf::{
        Diagnostics, LoadOptions, Maps, Scope, Stacks, Unavailable,
        engine::{Engine, Found},
    },
    census::{
        Answer, Further, Question, holdings,
        process::{self, Identity},
    },
    doctor::{Attempt, DeputyFacts},
    id::ProcessKey,
};

/// How long an answer may take: the verifier of an emulated machine takes half a minute.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long the deputy may take to end once the socket is closed.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often is seen whether it is still there.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes of what it said last that are told.
const WORDS: u64 = 4_096;

/// A deputy at work. Dropped, it is told to end, and waited for.
#[derive(Debug)]
pub struct Deputy {
    channel: Option<Channel>,
    process: Child,
    looked: Instant,
}

/// What came of starting one.
#[derive(Debug)]
pub struct Started {
    /// What can be asked.
    pub deputy: Deputy,
    /// What it has loaded.
    pub found: Found,
    /// What of the census it answers.
    pub further: FromDeputy,
}

/// Starts a deputy that loads and attaches the programs.
///
/// # Errors
/// sudo does not let it be started without a password, or it cannot do its work.
pub fn start(options: &LoadOptions) -> Result<Started, Unavailable> {
    let load = Request::Load(Load {
        version: VERSION,
        scope: options.scope,
        ring_bytes: options
            .loss
            .and_then(|loss| loss.ring_bytes)
            .unwrap_or(options.ring_bytes),
        wake_bytes: options.wake_bytes,
        diagnostics: options.diagnostics == Diagnostics::Stderr,
        stacks: options.stacks == Stacks::Told,
    });
    let (mut deputy, reply, fds) = match options.scope {
        Scope::Tree => Deputy::first(Grant::Own, &load),
        Scope::System => Deputy::first(Grant::All, &load),
        // Who may not see everything may still see the own ones.
        Scope::Targets(_) => {
            Deputy::first(Grant::All, &load).or_else(|_| Deputy::first(Grant::Own, &load))
        }
    }?;
    let failed = |why: anyhow::Error| Unavailable::Deputy(format!("{why:#}"));
    let Reply::Loaded {
        coverage,
        probes,
        nonce,
    } = reply
    else {
        return Err(unexpected());
    };
    let (maps, further) = deputy.received(fds).map_err(failed)?;
    if options.diagnostics == Diagnostics::Stderr {
        deputy.let_speak();
    }
    Ok(Started {
        deputy,
        found: Found {
            maps,
            coverage,
            probes,
            nonce,
        },
        further,
    })
}

/// What a deputy can load here, if there can be one.
pub fn attempt() -> (Attempt, DeputyFacts) {
    let request = Request::Attempt { version: VERSION };
    let mut failure = unexpected();
    // What can be shown of everybody is told where that is granted.
    for grant in [Grant::All, Grant::Own] {
        match Deputy::first(grant, &request) {
            Ok((
                _deputy,
                Reply::Attempted {
                    attempt,
                    capabilities,
                },
                _,
            )) => {
                let facts = DeputyFacts {
                    grant: Some(grant),
                    capabilities,
                };
                return (*attempt, facts);
            }
            Ok(_) => {}
            Err(why) => failure = why,
        }
    }
    (Attempt::from(failure), DeputyFacts::default())
}

fn unexpected() -> Unavailable {
    Unavailable::Deputy("the deputy answered something else than was asked".to_owned())
}

impl Deputy {
    /// Starts one and asks it the first thing. A refusal of that is an error.
    fn first(
        grant: Grant,
        request: &Request,
    ) -> Result<(Deputy, Reply, Vec<OwnedFd>), Unavailable> {
        let mut deputy = Deputy::start(grant).map_err(|error| {
            Unavailable::NoDeputy(match error.kind() {
                io::ErrorKind::NotFound => "there is none".to_owned(),
                _ => format!("sudo cannot be started: {error}"),
            })
        })?;
        let asked = deputy.ask(request);
        match asked {
            Ok((Reply::Refused { why }, _)) => Err(Unavailable::Deputy(why)),
            Ok((reply, fds)) => Ok((deputy, reply, fds)),
            Err(why) => Err(match deputy.last_words() {
                Some(words) => Unavailable::NoDeputy(words),
                None => Unavailable::Deputy(format!("{why:#}")),
            }),
        }
    }

    /// In a session of its own: what is typed at the terminal is not for it, and sudo does not put
    /// a terminal of its own between (`use_pty`).
    fn start(grant: Grant) -> io::Result<Deputy> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(PATIENCE))?;
        ours.set_write_timeout(Some(PATIENCE))?;
        let mut sudo = Command::new("sudo");
        sudo.arg("-n").arg("--");
        sudo.arg(own_program()?).arg(COMMAND).arg(grant.word());
        sudo.env("LC_ALL", "C")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // SAFETY: setsid is async-signal-safe (signal-safety(7)) and passes no memory.
        unsafe {
            sudo.pre_exec(|| match libc::setsid() {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        let process = sudo.spawn()?;
        Ok(Deputy {
            channel: Some(Channel::new(ours, LONGEST_REPLY)),
            process,
            looked: Instant::now(),
        })
    }

    /// What sudo, or the deputy, said before it ended.
    fn last_words(&mut self) -> Option<String> {
        self.channel = None;
        self.wait();
        let mut words = Vec::new();
        let stderr = self.process.stderr.take()?;
        // It has ended; what it left behind keeps the pipe open, if anything does.
        stderr.take(WORDS).read_to_end(&mut words).ok()?;
        let words = String::from_utf8_lossy(&words);
        let line = words.lines().rfind(|line| !line.trim().is_empty())?;
        let line = line.trim().trim_end_matches('.');
        let line = line.strip_prefix("sudo: ").unwrap_or(line);
        Some(line.to_owned())
    }

    /// The maps and the second socket.
    fn received(&mut self, mut fds: Vec<OwnedFd>) -> anyhow::Result<(Maps, FromDeputy)> {
        let census = fds.pop().context("the deputy handed nothing over")?;
        let census = UnixStream::from(census);
        census.set_read_timeout(Some(PATIENCE))?;
        census.set_write_timeout(Some(PATIENCE))?;
        Ok((
            Maps::handed_over(fds).context("use the deputy's maps")?,
            FromDeputy(Channel::new(census, LONGEST_REPLY)),
        ))
    }

    /// Passes on to stderr what the programs say.
    fn let_speak(&mut self) {
        if let Some(mut words) = self.process.stderr.take() {
            thread::spawn(move || io::copy(&mut words, &mut io::stderr()));
        }
    }

    fn ask(&mut self, request: &Request) -> anyhow::Result<(Reply, Vec<OwnedFd>)> {
        let channel = self.channel.as_mut().context("the deputy has ended")?;
        match exchange(channel, request)? {
            (Form::Json, body, fds) => Ok((wire::reply(&body)?, fds)),
            (Form::Bytes, ..) => bail!("the deputy answered with records"),
        }
    }

    fn done(&mut self, request: &Request) -> anyhow::Result<()> {
        match self.ask(request)?.0 {
            Reply::Done => Ok(()),
            Reply::Refused { why } => bail!(why),
            _ => bail!("the deputy answered something else than was asked"),
        }
    }

    fn bytes(&mut self, request: &Request) -> anyhow::Result<Bytes> {
        let channel = self.channel.as_mut().context("the deputy has ended")?;
        match exchange(channel, request)? {
            (Form::Bytes, body, _) => Ok(Bytes::from(body)),
            (Form::Json, body, _) => match wire::reply(&body)? {
                Reply::Refused { why } => bail!(why),
                _ => bail!("the deputy answered something else than was asked"),
            },
        }
    }

    fn some_bytes(&mut self, request: &Request) -> Option<Bytes> {
        let bytes = self.bytes(request).ok()?;
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Waits until sudo has ended, and with it the deputy.
    fn wait(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < FAREWELL {
            match self.process.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(1)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }
}

impl Drop for Deputy {
    fn drop(&mut self) {
        self.channel = None;
        self.wait();
    }
}

/// The program that runs, which may have another name by now.
fn own_program() -> io::Result<PathBuf> {
    match env::current_exe() {
        Ok(path) if path.exists() => Ok(path),
        Ok(path) => Err(io::Error::other(format!(
            "{} is not there any more",
            path.display()
        ))),
        Err(error) => Err(error),
    }
}

fn exchange(
    channel: &mut Channel,
    request: &Request,
) -> anyhow::Result<(Form, Vec<u8>, Vec<OwnedFd>)> {
    const GONE: &str = "the deputy, which had the programs in the kernel, has ended";
    channel.say(request, &[]).context(GONE)?;
    match channel.next() {
        Ok(Some(frame)) => Ok((frame.form, frame.body, frame.fds)),
        Ok(None) => bail!(GONE),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            bail!("the deputy does not answer")
        }
        Err(error) => Err(error).context(GONE),
    }
}

impl Engine for Deputy {
    fn check(&mut self) -> anyhow::Result<()> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        let channel = self.channel.as_ref().context("the deputy has ended")?;
        // It says nothing by itself: what there is to read is the end.
        let mut fds = [PollFd::new(channel, PollFlags::IN)];
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(1..) => bail!("the deputy, which had the programs in the kernel, has ended"),
            Ok(0) | Err(_) => Ok(()),
        }
    }

    fn target(&mut self, targets: &[Identity]) -> anyhow::Result<()> {
        self.done(&Request::Target {
            targets: targets.to_vec(),
        })
    }

    fn seed(&mut self) -> anyhow::Result<Bytes> {
        self.bytes(&Request::Seed)
    }

    fn waiting(&mut self) -> anyhow::Result<Bytes> {
        self.bytes(&Request::Waiting)
    }

    fn reread(&mut self, pids: &[u32]) -> anyhow::Result<()> {
        self.done(&Request::Reread {
            pids: pids.to_vec(),
        })
    }

    fn holders(&mut self, wanted: &[u64]) -> anyhow::Result<Vec<Holder>> {
        let wanted = wanted.to_vec();
        let bytes = self.bytes(&Request::Holders { wanted })?;
        let lines = bytes.chunks_exact(size_of::<Holder>());
        Ok(lines
            .filter_map(|line| Holder::read_from_bytes(line).ok())
            .collect())
    }

    fn missed(&mut self) -> anyhow::Result<Option<u64>> {
        match self.ask(&Request::Missed)?.0 {
            Reply::Missed { missed } => Ok(missed),
            _ => bail!("the deputy answered something else than was asked"),
        }
    }

    fn detach(&mut self) -> anyhow::Result<()> {
        self.done(&Request::Detach)
    }

    fn mapped(&mut self, key: ProcessKey) -> Option<Bytes> {
        holdings::mapped(key).or_else(|| self.some_bytes(&Request::Mapped { key }))
    }

    fn images(&mut self, key: ProcessKey) -> Option<Bytes> {
        holdings::images(key).or_else(|| self.some_bytes(&Request::Images { key }))
    }

    fn gone(&mut self, key: ProcessKey) -> Option<Bytes> {
        // What seems to be gone may be hidden from the user (hidepid, proc(5)).
        holdings::gone(key).and_then(|_| self.some_bytes(&Request::Gone { key }))
    }

    fn place(&mut self, pid: u32) -> (Option<Vec<u8>>, Option<PathBuf>) {
        match process::place(pid) {
            (None, None) => match self.ask(&Request::Place { pid }) {
                Ok((Reply::Place { tmpdir, directory }, _)) => (tmpdir, directory),
                Ok(_) | Err(_) => (None, None),
            },
            place => place,
        }
    }
}

/// The census as far as the deputy answers it.
#[derive(Debug)]
pub struct FromDeputy(Channel);

impl Further for FromDeputy {
    fn ask(&mut self, questions: Vec<Question>) -> Option<Vec<Answer>> {
        let mut all = Vec::new();
        for some in questions.chunks(QUESTIONS) {
            let request = Request::Census {
                questions: some.to_vec(),
            };
            let (_, body, _) = exchange(&mut self.0, &request).ok()?;
            match wire::reply(&body).ok()? {
                Reply::Answers { answers } if are_to(some, &answers) => all.extend(answers),
                _ => return None,
            }
        }
        Some(all)
    }
}

fn are_to(questions: &[Question], answers: &[Answer]) -> bool {
    let answered = answers.iter().map(|answer| &answer.question);
    questions.iter().eq(answered)
}
