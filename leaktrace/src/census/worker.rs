//! The thread that answers.

use std::{io, thread};

use tokio::sync::{mpsc, oneshot};

use super::{
    Answer, Census, Found, Identify, Question, host, mount, mq, namespace::Own, path, process,
    stack::Resolver, sysv,
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

impl LiveCensus {
    /// Starts the thread. `identify` is only used on it.
    ///
    /// # Errors
    /// When the thread cannot be started or our own namespaces cannot be read.
    pub fn start(identify: Box<dyn Identify>) -> io::Result<LiveCensus> {
        let own = Own::read()?;
        let (requests, mut inbox) = mpsc::channel::<Request>(1);
        let thread = thread::Builder::new()
            .name("leaktrace-census".to_owned())
            .spawn(move || {
                let _rights = privilege::taken_up();
                while let Some(request) = inbox.blocking_recv() {
                    let mut stacks = Resolver::default();
                    let answers = request
                        .questions
                        .into_iter()
                        .map(|asked| answer(asked, &own, &*identify, &mut stacks));
                    // Nobody waits any more: the run was cut short.
                    let _ = request.reply.send(answers.collect());
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
