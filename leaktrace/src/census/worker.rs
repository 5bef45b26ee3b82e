//! The thread that answers.

use std::{io, thread};

use tokio::sync::{mpsc, oneshot};

use super::{
    Answer, Census, Found, Identify, Question, clock, host, mount, mq, namespace::Own, path,
    process, stack::Resolver, sysv,
};
use crate::launch::privilege;

struct Request {
    questions: Vec<Question>,
    reply: oneshot::Sender<Vec<Answer>>,
}

/// Answers from the running kernel. Dropping it ends its thread.
#[derive(Debug)]
pub struct LiveCensus {
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Somebody who may look where this process may not.
pub trait Further: Send + std::fmt::Debug {
    /// Answers what was not found out here. `None`: it will not.
    fn ask(&mut self, questions: Vec<Question>) -> Option<Vec<Answer>>;
}

/// Looks as far as this process may, on the thread that asks.
#[derive(Clone, Copy, Debug)]
pub struct Looking {
    own: Own,
}

impl Looking {
    /// Something that looks.
    ///
    /// # Errors
    /// When our own namespaces cannot be read.
    pub fn new() -> io::Result<Looking> {
        clock::watch();
        Ok(Looking { own: Own::read()? })
    }

    /// Finds out one thing.
    pub fn answer(self, question: Question, identify: &dyn Identify) -> Answer {
        answer(question, &self.own, identify, &mut Resolver::default())
    }

    /// Whether a question is about what is in another namespace than ours.
    pub fn is_elsewhere(self, question: &Question) -> bool {
        match question {
            Question::Path { mnt_ns, .. }
            | Question::PidFile { mnt_ns, .. }
            | Question::Mount { mnt_ns, .. } => *mnt_ns != 0 && *mnt_ns != self.own.mnt,
            Question::Sysv { ipc_ns, .. } | Question::Mq { ipc_ns, .. } => {
                *ipc_ns != 0 && *ipc_ns != self.own.ipc
            }
            Question::Process { .. }
            | Question::Source { .. }
            | Question::Stack { .. }
            | Question::Holders { .. } => false,
        }
    }
}

impl LiveCensus {
    /// Starts the thread. `identify` and `further` are only used on it.
    ///
    /// # Errors
    /// When the thread cannot be started or our own namespaces cannot be read.
    pub fn start(
        identify: Box<dyn Identify>,
        mut further: Option<Box<dyn Further>>,
    ) -> io::Result<LiveCensus> {
        clock::watch();
        let own = Own::read()?;
        let (requests, mut inbox) = mpsc::channel::<Request>(1);
        let thread = thread::Builder::new()
            .name("leaktrace-census".to_owned())
            .spawn(move || {
                let _rights = privilege::taken_up();
                while let Some(request) = inbox.blocking_recv() {
                    let mut stacks = Resolver::default();
                    let answers = request.questions.into_iter();
                    let answers = answers.map(|asked| answer(asked, &own, &*identify, &mut stacks));
                    let mut answers: Vec<Answer> = answers.collect();
                    drop(stacks);
                    if let Some(further) = &mut further {
                        look_further(&mut answers, &mut **further);
                    }
                    // Nobody waits any more: the run was cut short.
                    let _ = request.reply.send(answers);
                }
            })?;
        Ok(LiveCensus {
            requests: Some(requests),
            thread: Some(thread),
        })
    }
}

impl Census for LiveCensus {
    async fn ask(&mut self, questions: Vec<Question>) -> Vec<Answer> {
        let unanswered = questions.clone();
        let (reply, answers) = oneshot::channel();
        if let Some(requests) = &self.requests
            && requests.send(Request { questions, reply }).await.is_ok()
            && let Ok(answers) = answers.await
        {
            return answers;
        }
        unanswered
            .into_iter()
            .map(|asked| at_now(asked, Found::unknown("the census ended")))
            .collect()
    }
}

impl Drop for LiveCensus {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Has what could not be found out here found out by somebody else. Of processes in any case: where
/// /proc hides those of others (hidepid, proc(5)), one that lives looks as if it were gone.
fn look_further(answers: &mut [Answer], further: &mut dyn Further) {
    let is_open = |answer: &Answer| match (&answer.question, &answer.found) {
        (Question::Process { .. }, found) => !matches!(found, Found::Process { .. }),
        (Question::Stack { .. } | Question::Source { .. } | Question::Holders { .. }, _) => false,
        (_, found) => matches!(found, Found::Unknown { .. }),
    };
    let open: Vec<&mut Answer> = answers.iter_mut().filter(|one| is_open(one)).collect();
    if open.is_empty() {
        return;
    }
    let questions = open.iter().map(|answer| answer.question.clone()).collect();
    match further.ask(questions) {
        Some(better) => {
            for (answer, better) in open.into_iter().zip(better) {
                let unknown = |answer: &Answer| matches!(answer.found, Found::Unknown { .. });
                // That nobody may look is no better reason than why this process could not.
                if !(unknown(answer) && unknown(&better)) {
                    *answer = better;
                }
            }
        }
        // What looks gone may only be hidden.
        None => {
            for answer in open {
                if answer.found == Found::Gone {
                    answer.found = Found::unknown("whoever could look is not there any more");
                }
            }
        }
    }
}

fn answer(question: Question, own: &Own, identify: &dyn Identify, stacks: &mut Resolver) -> Answer {
    let found = match &question {
        Question::Process { key } => process::find(*key, own),
        Question::Path {
            path,
            mnt_ns,
            through,
            id,
            bound,
        } => {
            let named = path::Named {
                path,
                id: *id,
                bound: bound.as_deref(),
            };
            path::find(&named, *mnt_ns, through, own, identify)
        }
        Question::PidFile {
            path,
            mnt_ns,
            through,
        } => path::find_pid_file(path, *mnt_ns, through, own, identify),
        Question::Mount {
            path,
            mnt_ns,
            through,
        } => mount::find(path, *mnt_ns, through, own),
        Question::Source { path } => path::source(path),
        Question::Stack { modules, sample } => stacks.frames(modules, sample),
        Question::Holders { .. } => Found::unknown("only the kernel's iterators know"),
        Question::Sysv {
            what,
            id,
            ipc_ns,
            through,
        } => own.in_ipc(*ipc_ns, through, || sysv::find(*what, *id)),
        Question::Mq {
            name,
            ipc_ns,
            through,
        } => own.in_ipc(*ipc_ns, through, || mq::find(name, identify)),
    };
    at_now(question, found)
}

fn at_now(question: Question, found: Found) -> Answer {
    Answer {
        question,
        time_ns: host::boottime_ns(),
        found,
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
pub(super) mod tests;
