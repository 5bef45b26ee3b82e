//! leaktrace's side: asking the deputy.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use leaktrace_common::abi::Holder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zerocopy::FromBytes;

use super::{
    Grant,
    channel::Channel,
    reach::{self, Behind},
    wire::{self, Form, LONGEST_REPLY, Load, QUESTIONS, Reply, Request, VERSION},
};
use crate::{
    bpf::{
        Diagnostics, ExitTimes, LoadOptions, MAPS, Maps, Scope, Shape, Stacks, Unavailable,
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
/// How often is seen whether it is still there.
const LOOK: Duration = Duration::from_millis(50);

/// A deputy at work. Dropped, it is told to end, and waited for.
#[derive(Debug)]
pub struct Deputy {
    channel: Option<Channel>,
    behind: Behind,
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
        exit_times: options.exit_times == ExitTimes::Told,
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
        loss_is_marked,
        untimed,
        maps,
    } = reply
    else {
        return Err(unexpected());
    };
    let (maps, further) = deputy.received(fds, maps).map_err(failed)?;
    if options.diagnostics == Diagnostics::Stderr {
        let spoken = deputy.let_speak().context("pass on what the programs say");
        spoken.map_err(failed)?;
    }
    Ok(Started {
        deputy,
        found: Found {
            maps,
            coverage,
            probes,
            nonce,
            loss_is_marked,
            untimed,
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
                deputy,
                Reply::Attempted {
                    attempt,
                    capabilities,
                },
                _,
            )) => {
                let facts = DeputyFacts {
                    grant: Some(grant),
                    through: Some(deputy.behind.through()),
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
            Err(why) => {
                deputy.channel = None;
                Err(match deputy.behind.last_words() {
                    Some(words) => Unavailable::NoDeputy(words),
                    None => Unavailable::Deputy(deputy.behind.explain(&why)),
                })
            }
        }
    }

    fn start(grant: Grant) -> io::Result<Deputy> {
        let (socket, behind) = reach::open(grant)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Deputy {
            channel: Some(Channel::new(socket, LONGEST_REPLY)),
            behind,
            looked: Instant::now(),
        })
    }

    /// The maps and the second socket.
    fn received(
        &mut self,
        mut fds: Vec<OwnedFd>,
        shapes: [Shape; MAPS],
    ) -> anyhow::Result<(Maps, FromDeputy)> {
        let census = fds.pop().context("the deputy handed nothing over")?;
        let census = UnixStream::from(census);
        census.set_read_timeout(Some(PATIENCE))?;
        census.set_write_timeout(Some(PATIENCE))?;
        Ok((
            Maps::handed_over(fds, shapes).context("use the deputy's maps")?,
            FromDeputy(Channel::new(census, LONGEST_REPLY)),
        ))
    }

    /// Passes on to stderr what the programs say.
    fn let_speak(&mut self) -> io::Result<()> {
        if let Some(mut words) = self.behind.words() {
            let pass_on = move || io::copy(&mut words, &mut io::stderr());
            thread::Builder::new().spawn(pass_on)?;
        }
        Ok(())
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
}

impl Drop for Deputy {
    fn drop(&mut self) {
        self.channel = None;
        self.behind.wait();
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
