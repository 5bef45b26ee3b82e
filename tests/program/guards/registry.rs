//! The registry: a queue of cleanup by priority, and the task that works it off.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How soon something must go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    Critical,
    High,
    Normal,
    Low,
}

impl Priority {
    /// As it stands in names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// Which of the queue is done next.
#[derive(Debug, Clone, Copy)]
pub enum Take {
    MostImportant,
    /// The comparison the wrong way round.
    LeastImportant,
}

/// One cleanup to do.
#[derive(Debug)]
pub struct Work {
    pub priority: Priority,
    pub file: File,
    pub path: PathBuf,
}

/// Where guards send their work. Clones are the same registry.
#[derive(Debug, Clone)]
pub struct Registry {
    queue: UnboundedSender<Work>,
    open: Arc<AtomicUsize>,
    done: Arc<Notify>,
}

impl Registry {
    /// Starts the task that does the work; must be called inside a runtime.
    pub fn start(take: Take) -> Self {
        let (queue, incoming) = unbounded_channel();
        let registry = Self {
            queue,
            open: Arc::default(),
            done: Arc::default(),
        };
        tokio::spawn(work_off(
            incoming,
            take,
            Arc::clone(&registry.open),
            Arc::clone(&registry.done),
        ));
        registry
    }

    /// Queues work. Never fails: what cannot be queued any more is dropped with its runtime.
    pub fn submit(&self, work: Work) {
        self.open.fetch_add(1, Ordering::SeqCst);
        let _ = self.queue.send(work);
    }

    /// Waits until nothing is queued.
    pub async fn idle(&self) {
        while self.open.load(Ordering::SeqCst) > 0 {
            self.done.notified().await;
        }
    }

    /// Waits until everything is done, and takes nothing more.
    pub async fn finish(self) -> Result<()> {
        self.idle().await;
        Ok(())
    }
}

async fn work_off(
    mut incoming: UnboundedReceiver<Work>,
    take: Take,
    open: Arc<AtomicUsize>,
    done: Arc<Notify>,
) {
    let mut queue = Vec::new();
    while let Some(work) = incoming.recv().await {
        queue.push(work);
        while let Ok(more) = incoming.try_recv() {
            queue.push(more);
        }
        queue.sort_by_key(|work| work.priority);
        if matches!(take, Take::MostImportant) {
            queue.reverse();
        }
        while let Some(work) = queue.pop() {
            clean(work);
            open.fetch_sub(1, Ordering::SeqCst);
        }
        done.notify_waiters();
        done.notify_one();
    }
}

fn clean(work: Work) {
    let Work { file, path, .. } = work;
    // Name first: nobody can open a half-written journal by it.
    let _ = std::fs::remove_file(path);
    drop(file);
}
