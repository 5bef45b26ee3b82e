//! What leaktrace and its deputy say to each other.
//!
//! A frame is a kind and a length, 32 bits each in little-endian order, then so many bytes: JSON,
//! or records as the kernel has written them. leaktrace asks, the deputy answers, one after the
//! other; both are of one version, which the first request says. Everything that is asked has a
//! bound, which is checked here, before anybody acts on it: the deputy takes no word for granted.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    bpf::{MAPS, Scope, Shape, Unavailable},
    census::{Answer, Question, process::Identity},
    doctor::Attempt,
    id::ProcessKey,
    report::Coverage,
};

/// Version of this protocol; to be counted up with every change.
pub const VERSION: u32 = 2;

/// Bytes of a frame's head.
pub const HEAD: usize = 8;

/// Longest request, bytes.
pub const LONGEST_REQUEST: u32 = 4 << 20;
/// Longest reply, bytes: the fds of a large machine.
pub const LONGEST_REPLY: u32 = 1 << 30;

/// Largest ring, bytes.
const LARGEST_RING: u32 = 64 << 20;
/// Targets of one request; as many as the programs have room for.
const TARGETS: usize = 16_384;
/// Processes to be read again.
const PIDS: usize = crate::bpf::WANTED;
/// Files that are looked for.
const FILES: usize = 65_536;
/// Questions of one request.
pub const QUESTIONS: usize = 1_024;
/// PATH_MAX (include/uapi/linux/limits.h).
const PATH: usize = 4_096;
/// Paths that may lead to one file.
const BOUND: usize = 256;
/// Processes through which a namespace is looked into.
const THROUGH: usize = 8;

/// What is in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A request or reply.
    Json,
    /// Records.
    Bytes,
}

/// Why what came is not understood.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// No frame of either form begins like this.
    #[error("a frame of an unknown form ({0})")]
    Form(u32),
    /// It says to be longer than any.
    #[error("a frame of {0} bytes, which is too long")]
    Long(u32),
    /// It is not what it says to be.
    #[error("it is malformed: {0}")]
    Malformed(String),
    /// More is asked than there can be.
    #[error("{0} are too many")]
    TooMany(&'static str),
    /// The other side is another version of leaktrace.
    #[error("it is of version {theirs}, this is version {VERSION}; install one of them only")]
    Version {
        /// Of the protocol.
        theirs: u32,
    },
    /// It is not for the deputy to answer.
    #[error("{0} is not for the deputy")]
    NotHere(&'static str),
}

/// The head of a frame.
pub fn head(form: Form, len: u32) -> [u8; HEAD] {
    let form: u32 = match form {
        Form::Json => 1,
        Form::Bytes => 2,
    };
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&form.to_le_bytes());
    head[4..].copy_from_slice(&len.to_le_bytes());
    head
}

/// Reads the head of a frame.
///
/// # Errors
/// It is of no form, or longer than `longest`.
pub fn parse_head(head: [u8; HEAD], longest: u32) -> Result<(Form, u32), WireError> {
    let [a, b, c, d, e, f, g, h] = head;
    let len = u32::from_le_bytes([e, f, g, h]);
    let form = match u32::from_le_bytes([a, b, c, d]) {
        1 => Form::Json,
        2 => Form::Bytes,
        other => return Err(WireError::Form(other)),
    };
    match len <= longest {
        true => Ok((form, len)),
        false => Err(WireError::Long(len)),
    }
}

/// What programs to load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// [`VERSION`].
    pub version: u32,
    /// Whose records.
    pub scope: Scope,
    /// Bytes of the ring.
    pub ring_bytes: u32,
    /// Wake the reader when this many bytes wait.
    pub wake_bytes: u32,
    /// Whether the programs say on the deputy's stderr what they do.
    pub diagnostics: bool,
    /// Whether stacks of acquisitions are told.
    pub stacks: bool,
    /// Whether the parts of exit are timed.
    pub exit_times: bool,
}

/// What leaktrace asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// To load and attach the programs. Comes first, and once.
    Load(Load),
    /// What can be loaded here, for `doctor`; nothing stays loaded. Instead of [`Request::Load`].
    Attempt {
        /// [`VERSION`].
        version: u32,
    },
    /// To watch these from the next [`Request::Seed`] on.
    Target {
        /// Which.
        targets: Vec<Identity>,
    },
    /// What was there before. Gives bytes.
    Seed,
    /// Calls that have been waiting for long. Gives bytes.
    Waiting,
    /// To read these again; 0: all.
    Reread {
        /// Which.
        pids: Vec<u32>,
    },
    /// Who has these. Gives bytes.
    Holders {
        /// Addresses of `struct file` and inode numbers.
        wanted: Vec<u64>,
    },
    /// How many handlers did not run.
    Missed,
    /// To take the programs out of the kernel.
    Detach,
    /// What a process has mapped. Gives bytes, none if there is nothing to tell.
    Mapped {
        /// Which.
        key: ProcessKey,
    },
    /// Where it has code mapped. Gives bytes, none if there is nothing to tell.
    Images {
        /// Which.
        key: ProcessKey,
    },
    /// That it has gone. Gives bytes, none if it has not.
    Gone {
        /// Which.
        key: ProcessKey,
    },
    /// Where it works.
    Place {
        /// Which.
        pid: u32,
    },
    /// Answers for the census. On the second socket only, and nothing else there.
    Census {
        /// In the order in which they are answered.
        questions: Vec<Question>,
    },
}

/// What the deputy answers, where that is not bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// The programs run. With it come the maps and the second socket.
    Loaded {
        /// See [`crate::bpf::engine::Found`].
        coverage: Vec<Coverage>,
        /// Probes attached and probes known.
        probes: (u32, u32),
        /// The number by which the held child makes itself known.
        nonce: u64,
        /// See [`crate::source::Start::loss_is_marked`].
        loss_is_marked: bool,
        /// See [`crate::source::Start::untimed`].
        untimed: Option<String>,
        /// Of each map.
        maps: [Shape; MAPS],
    },
    /// What came of the attempt.
    Attempted {
        /// It.
        attempt: Box<Attempt>,
        /// What the deputy may, by bits.
        capabilities: u64,
    },
    /// It is done.
    Done,
    /// How often handlers did not run; null if the kernel does not count.
    Missed {
        /// So often.
        missed: Option<u64>,
    },
    /// Where a process works.
    Place {
        /// $TMPDIR, raw bytes.
        tmpdir: Option<Vec<u8>>,
        /// The working directory.
        directory: Option<PathBuf>,
    },
    /// One for each question.
    Answers {
        /// In the order asked.
        answers: Vec<Answer>,
    },
    /// It cannot, or will not, be done.
    Refused {
        /// A clause.
        why: String,
    },
}

impl From<&Unavailable> for Reply {
    fn from(why: &Unavailable) -> Reply {
        Reply::Refused {
            why: why.to_string(),
        }
    }
}

/// Reads a request and checks that it is within bounds.
///
/// # Errors
/// See [`WireError`].
pub fn request(bytes: &[u8]) -> Result<Request, WireError> {
    let request: Request = json(bytes)?;
    check(&request)?;
    Ok(request)
}

/// Reads a reply.
///
/// # Errors
/// It is malformed.
pub fn reply(bytes: &[u8]) -> Result<Reply, WireError> {
    json(bytes)
}

fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, WireError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text: String = error.to_string().chars().take(200).collect();
        WireError::Malformed(text)
    })
}

fn check(request: &Request) -> Result<(), WireError> {
    match request {
        Request::Load(Load {
            version,
            ring_bytes,
            wake_bytes,
            ..
        }) => {
            is_this_version(*version)?;
            bounded(
                *ring_bytes as usize,
                LARGEST_RING as usize,
                "bytes of a ring",
            )?;
            bounded(
                *wake_bytes as usize,
                LARGEST_RING as usize,
                "bytes of a ring",
            )
        }
        Request::Attempt { version } => is_this_version(*version),
        Request::Target { targets } => bounded(targets.len(), TARGETS, "targets"),
        Request::Reread { pids } => bounded(pids.len(), PIDS, "processes"),
        Request::Holders { wanted } => bounded(wanted.len(), FILES, "files"),
        Request::Census { questions } => {
            bounded(questions.len(), QUESTIONS, "questions")?;
            questions.iter().try_for_each(question)
        }
        Request::Seed
        | Request::Waiting
        | Request::Missed
        | Request::Detach
        | Request::Mapped { .. }
        | Request::Images { .. }
        | Request::Gone { .. }
        | Request::Place { .. } => Ok(()),
    }
}

fn question(question: &Question) -> Result<(), WireError> {
    if let Question::Path {
        bound: Some(bound), ..
    } = question
    {
        bounded(bound.len(), BOUND, "paths of one file")?;
        let longest = bound.iter().map(Vec::len).max();
        bounded(longest.unwrap_or(0), PATH, "bytes of a path")?;
    }
    let (path, through): (&[u8], &[ProcessKey]) = match question {
        Question::Process { .. } => (&[], &[]),
        Question::Path { path, through, .. }
        | Question::PidFile { path, through, .. }
        | Question::Mount { path, through, .. } => (path, through),
        Question::Mq { name, through, .. } => (name, through),
        Question::Sysv { through, .. } => (&[], through),
        Question::Source { .. } => return Err(WireError::NotHere("a source")),
        Question::Stack { .. } => return Err(WireError::NotHere("a stack")),
        Question::Holders { .. } => return Err(WireError::NotHere("a question about holders")),
    };
    bounded(path.len(), PATH, "bytes of a path")?;
    bounded(through.len(), THROUGH, "processes to look through")
}

fn is_this_version(theirs: u32) -> Result<(), WireError> {
    match theirs == VERSION {
        true => Ok(()),
        false => Err(WireError::Version { theirs }),
    }
}

fn bounded(number: usize, most: usize, what: &'static str) -> Result<(), WireError> {
    match number <= most {
        true => Ok(()),
        false => Err(WireError::TooMany(what)),
    }
}

/// Reads frames as they come, as the deputy does: what each asks, up to the first that is not
/// understood. For tests.
///
/// # Errors
/// See [`WireError`].
pub fn requests(mut bytes: &[u8]) -> Result<Vec<Request>, WireError> {
    let mut requests = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk() {
        let (form, len) = parse_head(*head, LONGEST_REQUEST)?;
        let Some((body, rest)) = rest.split_at_checked(len as usize) else {
            break;
        };
        if form != Form::Json {
            return Err(WireError::NotHere("a frame of bytes"));
        }
        requests.push(request(body)?);
        bytes = rest;
    }
    Ok(requests)
}
