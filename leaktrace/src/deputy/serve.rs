//! The deputy's side.

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zerocopy::IntoBytes;

use super::{
    Grant,
    channel::{Channel, Frame},
    rights::{self, User},
    sight::Sight,
    wire::{self, Form, LONGEST_REQUEST, Load, Reply, Request},
};
use crate::{
    bpf::{
        self, Diagnostics, ExitTimes, Identities, LoadOptions, Local, Maps, Scope, Stacks,
        engine::{Engine, Found},
    },
    census::{Answer, Found as Seen, Identify, Looking, Question, host},
    launch::privilege,
};

/// Why something is not told.
const OTHERS: &str = "it is a process of another user";
/// How often what the programs say is written, if they do.
const SPEAK: Duration = Duration::from_millis(50);
/// How long whoever asked may take to read the answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves whoever made the other end of standard input, until that closes it.
///
/// # Errors
/// A clause: standard input is no such socket, or a right is missing.
pub fn serve(grant: Grant) -> Result<(), String> {
    close_others();
    let _ = std::env::set_current_dir("/");
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let socket = stdin.map_err(|error| format!("standard input: {error}"))?;
    let socket = UnixStream::from(socket);
    let user = User::of(&socket).map_err(|error| {
        format!("standard input is not leaktrace's socket ({error}); nobody else can use this")
    })?;
    is_asked_by(&user)?;
    socket
        .set_write_timeout(Some(PATIENCE))
        .map_err(|error| error.to_string())?;
    let mut channel = Channel::new(socket, LONGEST_REQUEST);
    // What the user may not do later; where it may not be done here either, loading says so.
    let _ = bpf::object::raise_locked_memory();
    // From here on what is wrong is told to whoever asks.
    if let Err(why) = rights::become_user(&user, grant) {
        let refused = Reply::Refused {
            why: format!("the deputy cannot work: {why}"),
        };
        return channel
            .say(&refused, &[])
            .map_err(|error| error.to_string());
    }
    let mut deputy = Deputy {
        grant,
        user,
        speaks: false,
        loaded: None,
    };
    // Whoever asks has gone, or says what nobody means: there is nobody to tell.
    drop(deputy.run(&mut channel));
    Ok(())
}

/// What sudo or whoever else has left open is none of ours.
fn close_others() {
    // SAFETY: passes no memory; nothing of ours is open yet.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
}

/// sudo says for whom it works.
fn is_asked_by(user: &User) -> Result<(), String> {
    if user.uid == 0 {
        return Err("root needs no deputy".to_owned());
    }
    match std::env::var("SUDO_UID") {
        Ok(uid) if uid != user.uid.to_string() => {
            Err("whoever ran sudo is not whoever made the socket".to_owned())
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

struct Deputy {
    grant: Grant,
    user: User,
    /// Whether the programs say what they do.
    speaks: bool,
    loaded: Option<Loaded>,
}

struct Loaded {
    engine: Local,
    sight: Sight,
    /// Programs that are loaded later, as they are wanted, find them by their fds here.
    _maps: Maps,
}

impl Deputy {
    fn run(&mut self, channel: &mut Channel) -> io::Result<()> {
        loop {
            while self.speaks && !is_readable(channel)? {
                self.speak();
            }
            let Some(Frame { form, body, fds }) = channel.next()? else {
                return Ok(());
            };
            drop(fds);
            let request = match form {
                Form::Json => wire::request(&body),
                Form::Bytes => Err(wire::WireError::NotHere("a frame of bytes")),
            };
            match request {
                Ok(request) => self.answer(request, channel)?,
                // Nothing that comes after it can be trusted to be what it seems.
                Err(why) => return channel.say(&refused(&why), &[]),
            }
        }
    }

    fn speak(&mut self) {
        if let Some(loaded) = &mut self.loaded {
            // There is nothing that it could fail at.
            drop(loaded.engine.check());
        }
    }

    fn answer(&mut self, request: Request, channel: &mut Channel) -> io::Result<()> {
        match (request, &mut self.loaded) {
            (Request::Load(load), None) => self.load(&load, channel),
            (Request::Attempt { .. }, None) => {
                let attempt = Box::new(bpf::attempt_here());
                if let Err(why) = rights::loaded(self.grant) {
                    return channel.say(&refused(&why), &[]);
                }
                let attempted = Reply::Attempted {
                    attempt,
                    capabilities: rights::permitted(),
                };
                channel.say(&attempted, &[])
            }
            (Request::Load(_) | Request::Attempt { .. }, Some(_)) => {
                channel.say(&refused(&"the programs run already"), &[])
            }
            (_, None) => channel.say(&refused(&"no programs run"), &[]),
            (request, Some(loaded)) => loaded.answer(request, channel),
        }
    }

    fn load(&mut self, load: &Load, channel: &mut Channel) -> io::Result<()> {
        if self.grant == Grant::Own && !is_own(load.scope) {
            return channel.say(&refused(&"this deputy may show the user's own only"), &[]);
        }
        let options = LoadOptions {
            scope: load.scope,
            ring_bytes: load.ring_bytes,
            wake_bytes: load.wake_bytes,
            diagnostics: match load.diagnostics {
                true => Diagnostics::Stderr,
                false => Diagnostics::Off,
            },
            stacks: match load.stacks {
                true => Stacks::Told,
                false => Stacks::Off,
            },
            exit_times: match load.exit_times {
                true => ExitTimes::Told,
                false => ExitTimes::Off,
            },
            loss: None,
        };
        let loaded = bpf::load_for(&options, self.user.pid);
        if let Err(why) = rights::loaded(self.grant) {
            return channel.say(&refused(&why), &[]);
        }
        let (mut engine, found) = match loaded {
            Ok(loaded) => loaded,
            Err(why) => return channel.say(&Reply::from(&why), &[]),
        };
        let mut hand_over = || {
            let sight = Sight::new(self.grant, &self.user, engine.watched()?);
            {
                // Before Linux 6.4 it takes CAP_BPF (map_freeze in kernel/bpf/syscall.c, v6.1).
                let _rights = privilege::taken_up();
                found.maps.freeze().context("freeze the maps")?;
            }
            let (census, theirs) = UnixStream::pair()?;
            census.set_write_timeout(Some(PATIENCE))?;
            let identities = Identities::of_deputy(found.nonce, &found.maps)?;
            answer_census(census, sight.clone(), identities)?;
            anyhow::Ok((sight, theirs))
        };
        let (sight, census) = match hand_over() {
            Ok(ready) => ready,
            Err(why) => return channel.say(&refused(&format!("{why:#}")), &[]),
        };
        let Found {
            maps,
            coverage,
            probes,
            nonce,
            loss_is_marked,
            untimed,
        } = found;
        let loaded = Reply::Loaded {
            coverage,
            probes,
            nonce,
            loss_is_marked,
            untimed,
            maps: maps.shapes(),
        };
        let mut fds = maps.fds().to_vec();
        fds.push(census.as_fd());
        channel.say(&loaded, &fds)?;
        self.speaks = load.diagnostics;
        self.loaded = Some(Loaded {
            engine,
            sight,
            _maps: maps,
        });
        Ok(())
    }
}

/// Whether this can be about nobody but the user's own processes; of targets each is looked at when
/// it is named. In a cgroup may be anybody.
fn is_own(scope: Scope) -> bool {
    match scope {
        Scope::Tree => true,
        Scope::Targets(targets) => targets.cgroup.is_none(),
        Scope::System => false,
    }
}

impl Loaded {
    fn answer(&mut self, request: Request, channel: &mut Channel) -> io::Result<()> {
        let Loaded { engine, sight, .. } = self;
        let bytes = match request {
            Request::Load(_) | Request::Attempt { .. } | Request::Census { .. } => {
                return channel.say(&refused(&"that is not asked here"), &[]);
            }
            Request::Missed => {
                let missed = engine.missed().unwrap_or(None);
                return channel.say(&Reply::Missed { missed }, &[]);
            }
            Request::Target { targets } => {
                let _rights = privilege::taken_up();
                let done = match sight.has_targets(&targets) {
                    true => engine.target(&targets),
                    false => Err(anyhow::anyhow!(OTHERS)),
                };
                return channel.say(&done_or(done), &[]);
            }
            Request::Reread { pids } => {
                return channel.say(&done_or(engine.reread(&pids)), &[]);
            }
            Request::Detach => return channel.say(&done_or(engine.detach()), &[]),
            Request::Place { pid } => {
                let _rights = privilege::taken_up();
                let (tmpdir, directory) = match sight.has_pid(pid) {
                    true => engine.place(pid),
                    false => (None, None),
                };
                return channel.say(&Reply::Place { tmpdir, directory }, &[]);
            }
            Request::Seed => {
                let _rights = privilege::taken_up();
                engine.seed()
            }
            Request::Waiting => engine.waiting(),
            Request::Holders { wanted } => engine.holders(&wanted).map(|mut lines| {
                sight.veil(&wanted, &mut lines);
                lines
                    .iter()
                    .flat_map(IntoBytes::as_bytes)
                    .copied()
                    .collect()
            }),
            Request::Mapped { key } | Request::Images { key } if !sight.has(key) => {
                Err(anyhow::anyhow!(OTHERS))
            }
            Request::Mapped { key } => {
                let _rights = privilege::taken_up();
                Ok(engine.mapped(key).unwrap_or_default())
            }
            Request::Images { key } => {
                let _rights = privilege::taken_up();
                Ok(engine.images(key).unwrap_or_default())
            }
            // Of one that is there, and another's, nothing but that is told: else it would seem to
            // have gone.
            Request::Gone { key } => {
                let _rights = privilege::taken_up();
                Ok(engine.gone(key).unwrap_or_default())
            }
        };
        match bytes {
            Ok(bytes) => channel.send(Form::Bytes, &bytes, &[]),
            Err(why) => channel.say(&refused(&format!("{why:#}")), &[]),
        }
    }
}

fn refused(why: &dyn std::fmt::Display) -> Reply {
    Reply::Refused {
        why: why.to_string(),
    }
}

fn done_or(done: anyhow::Result<()>) -> Reply {
    match done {
        Ok(()) => Reply::Done,
        Err(why) => refused(&format!("{why:#}")),
    }
}

/// Waits for a moment.
fn is_readable(channel: &Channel) -> io::Result<bool> {
    let mut fds = [PollFd::new(channel, PollFlags::IN)];
    let time = Timespec::try_from(SPEAK).ok();
    match poll(&mut fds, time.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Answers questions of the census on a thread of their own: they may take long, and records have
/// to be asked for meanwhile.
fn answer_census(
    socket: UnixStream,
    sight: Sight,
    identities: Identities,
) -> io::Result<thread::JoinHandle<()>> {
    let looking = Looking::new()?;
    thread::Builder::new()
        .name("leaktrace-census".to_owned())
        .spawn(move || {
            privilege::set_aside();
            let mut channel = Channel::new(socket, LONGEST_REQUEST);
            while let Ok(Some(frame)) = channel.next() {
                let reply = match wire::request(&frame.body) {
                    Ok(Request::Census { questions }) => {
                        let _rights = privilege::taken_up();
                        let each = questions.into_iter();
                        let each = each.map(|one| look(one, &sight, looking, &identities));
                        Reply::Answers {
                            answers: each.collect(),
                        }
                    }
                    Ok(_) => refused(&"that is not asked here"),
                    Err(why) => refused(&why),
                };
                if channel.say(&reply, &[]).is_err() {
                    break;
                }
            }
        })
}

fn look(question: Question, sight: &Sight, looking: Looking, identities: &dyn Identify) -> Answer {
    let is_elsewhere = looking.is_elsewhere(&question);
    let found = sight
        .narrow(question.clone(), is_elsewhere)
        .map(|narrowed| looking.answer(narrowed, identities))
        .and_then(|answer| match sight.may_tell(&answer) {
            true => Ok(answer.found),
            false => Err(OTHERS),
        });
    Answer {
        // As asked: that is how the answer is found again.
        question,
        time_ns: host::boottime_ns(),
        found: found.unwrap_or_else(|why| Seen::Unknown {
            why: why.to_owned(),
        }),
    }
}
