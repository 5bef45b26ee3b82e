//! Serving pictures while records come in: on a thread of its own, so that neither a slow
//! terminal nor a slow census holds up the reading of records.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

use super::{
    Gallery,
    mend::{Haste, Mending},
};
use crate::{
    census::{Answer, Census, Question, host, limit, present},
    id::{KtimeNs, ProcessKey},
    model::snapshot::{Snapshot, State},
    source::{Item, Kernel},
};

/// How often ended processes are judged.
const JUDGE: Duration = Duration::from_millis(500);

/// How soon again while there are more of them than are judged at a time.
const JUDGE_MORE: Duration = Duration::from_millis(50);

/// How often those that live are looked at.
const LIVING: Duration = Duration::from_secs(2);

/// How often freed memory is given back: judging takes some for each process that has ended, and
/// a burst of them much.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// Of how many processes name and user are looked up for a picture: 11 µs each (Linux 6.18).
const NAMED: usize = 128;

/// Somebody wants a picture.
#[derive(Debug)]
pub struct Request {
    /// Whose detail.
    pub selected: Option<ProcessKey>,
    /// When CMD's root process was reaped, once it was.
    pub root_reaped: Option<KtimeNs>,
    /// Whether the picture gets the findings since the last one that did.
    pub takes_findings: bool,
    /// Where to.
    pub reply: oneshot::Sender<Box<Snapshot>>,
}

/// Reads records and answers requests until nobody can ask any more.
///
/// # Errors
/// Records or counters cannot be read.
pub async fn serve(
    mut kernel: impl Kernel,
    census: impl Census + Send + 'static,
    mut gallery: Gallery,
    mut requests: mpsc::Receiver<Request>,
) -> anyhow::Result<()> {
    let (ask, asked) = mpsc::channel(1);
    let (tell, mut told) = mpsc::channel(1);
    tokio::spawn(answer(census, asked, tell));
    let mut mending = Mending::default();
    let has_our_pids = host::in_initial_pid_namespace();
    let mut named = ProcessKey::default();
    let mut judging = interval(JUDGE);
    judging.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looking = interval(LIVING);
    looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut giving_back = interval(GIVE_BACK);
    giving_back.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            request = requests.recv() => {
                let Some(Request { selected, root_reaped, takes_findings, reply }) = request else { break };
                if let Some(at) = root_reaped {
                    gallery.root_reaped(at);
                }
                // A peer changes the state of a connection, of which no record tells.
                if let Some(key) = selected
                    && gallery.model().has_connections(key)
                {
                    kernel.reread(&[key.pid.0])?;
                }
                gallery.feed(Item::Records(kernel.drain()?));
                gallery.feed(Item::Tick(host::boottime_ns()));
                if let Ok(waiting) = kernel.waiting() {
                    gallery.feed(Item::Records(waiting));
                }
                // Nobody waits any more: the next request tells why.
                let mut picture = gallery.picture(selected);
                if takes_findings {
                    picture.fresh = gallery.take_findings();
                }
                if has_our_pids {
                    look_up_limits(&mut picture);
                    look_up_names(&mut picture, &mut gallery, &mut named);
                }
                drop(reply.send(Box::new(picture)));
            }
            Some(answers) = told.recv() => {
                let now = KtimeNs(host::boottime_ns());
                gallery.judge_by(&answers, now);
                if gallery.is_behind(now) {
                    judging.reset_after(JUDGE_MORE);
                }
            }
            _ = judging.tick() => {
                gallery.count(kernel.counts()?);
                let now = KtimeNs(host::boottime_ns());
                if let Some(questions) = gallery.questions(now) {
                    // One list is under way at a time, so there is room for it.
                    ask.send(questions).await?;
                } else if gallery.is_behind(now) {
                    judging.reset_after(JUDGE_MORE);
                }
            }
            _ = looking.tick() => {
                if gallery.wants_findings()
                    && let Ok(waiting) = kernel.waiting()
                {
                    gallery.feed(Item::Records(waiting));
                }
                gallery.judge_living(KtimeNs(host::boottime_ns()));
            }
            _ = giving_back.tick() => host::give_back_memory(),
            batch = kernel.next_batch() => {
                gallery.feed(Item::Records(batch?));
                let read = mending.mend(&mut kernel, gallery.model(), gallery.start(), Haste::InTurn)?;
                read.into_iter().for_each(|read| gallery.feed(Item::Records(read)));
            }
        }
    }
    kernel.detach()
}

/// Replaces the limits of the last exec by those of now.
fn look_up_limits(picture: &mut Snapshot) {
    let live = picture.live.iter_mut();
    for row in live.filter(|row| row.state != State::Zombie) {
        let Some(limit) = limit::nofile(row.key.pid) else {
            continue;
        };
        row.limit = limit;
        if row.full_in_s.is_some() {
            let room = limit.saturating_sub(row.open);
            row.full_in_s = Some(room as f64 / row.rate);
        }
    }
}

/// Replaces the names and users of the last exec by those of now, of some at a time, in turn: `last`
/// was looked at last.
fn look_up_names(picture: &mut Snapshot, gallery: &mut Gallery, last: &mut ProcessKey) {
    let (before, behind) = {
        let next = picture.live.partition_point(|row| row.key <= *last);
        picture.live.split_at_mut(next)
    };
    let living = behind.iter_mut().chain(before);
    for row in living.filter(|row| row.state != State::Zombie).take(NAMED) {
        *last = row.key;
        let Some(now) = present::look(row.key.pid) else {
            continue;
        };
        if now.uid != row.uid || now.comm != row.comm {
            gallery.is_now(row.key, &now.comm, now.uid);
            row.comm = now.comm.into();
            row.uid = now.uid;
        }
    }
}

/// Asks the census beside the reading of records.
async fn answer(
    mut census: impl Census,
    mut asked: mpsc::Receiver<Vec<Question>>,
    tell: mpsc::Sender<Vec<Answer>>,
) {
    while let Some(questions) = asked.recv().await {
        if tell.send(census.ask(questions).await).await.is_err() {
            return;
        }
    }
}
