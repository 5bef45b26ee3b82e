//! A capture, looked at as it was recorded: one second of it in one second.

use std::{fs::File, io::BufReader, path::Path};

use anyhow::Context;
use tokio::time::Instant;

use super::Gallery;
use crate::{
    decode,
    id::ProcessKey,
    model::snapshot::Snapshot,
    source::{Item, Start, capture::CaptureReader},
};

/// A capture being played.
pub struct Paced {
    reader: CaptureReader<BufReader<File>>,
    /// Its time has not come yet.
    waiting: Option<Item>,
    gallery: Gallery,
    /// When playing began, and the time in the capture then.
    began: Option<(Instant, u64)>,
    is_over: bool,
}

impl Paced {
    /// Opens a capture.
    ///
    /// # Errors
    /// It cannot be read, or is no capture.
    pub fn open(path: &Path) -> anyhow::Result<Paced> {
        let name = crate::sink::escape_str(&path.to_string_lossy());
        let context = || format!("capture {name}");
        let mut reader = CaptureReader::open(path).with_context(context)?;
        let waiting = reader.next().with_context(context)?;
        Ok(Paced {
            reader,
            waiting,
            gallery: Gallery::new(),
            began: None,
            is_over: false,
        })
    }

    /// How the recorded run began, before the first picture.
    pub fn start(&self) -> Start {
        match &self.waiting {
            Some(Item::Start(start)) => Start::clone(start),
            Some(Item::Records(_) | Item::Answer(_) | Item::Tick(_) | Item::End(_)) | None => {
                Start::default()
            }
        }
    }

    /// The last picture, with the detail of another process.
    pub fn last(&mut self, selected: Option<ProcessKey>) -> Snapshot {
        self.gallery.picture(selected)
    }

    /// The picture now; `None` when the last one has been given.
    ///
    /// # Errors
    /// The capture is damaged.
    pub fn picture(
        &mut self,
        selected: Option<ProcessKey>,
        now: Instant,
    ) -> anyhow::Result<Option<Snapshot>> {
        if self.is_over {
            return Ok(None);
        }
        loop {
            let item = match self.waiting.take() {
                Some(item) => item,
                None => match self.reader.next()? {
                    Some(item) => item,
                    None => {
                        self.is_over = true;
                        self.gallery.judge_all();
                        break;
                    }
                },
            };
            if let Some(time) = time_of(&item) {
                let (began, first) = *self.began.get_or_insert((now, time));
                let passed = now.duration_since(began).as_nanos();
                if u128::from(time.saturating_sub(first)) > passed {
                    self.waiting = Some(item);
                    self.gallery
                        .feed(Item::Tick(first.saturating_add(passed as u64)));
                    break;
                }
            }
            self.gallery.feed(item);
        }
        Ok(Some(self.gallery.picture(selected)))
    }
}

/// ns of CLOCK_BOOTTIME of what an item tells first, if it tells a time.
fn time_of(item: &Item) -> Option<u64> {
    match item {
        Item::Start(_) | Item::End(_) => None,
        Item::Records(records) => decode::records(records)
            .find_map(Result::ok)
            .map(|record| record.header.time_ns),
        Item::Answer(answer) => Some(answer.time_ns),
        Item::Tick(time) => Some(*time),
    }
}
