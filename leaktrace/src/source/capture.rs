//! Captures: a run in a file, as a sequence of [`Item`]s.
//!
//! A header (magic, format, byte order, ABI of the records), then frames: type and length, each
//! 32 bits little-endian, and the payload. Records are written as they came out of the ring;
//! what has no wire layout (start, answers, end) is JSON. Nothing is compressed, and every item
//! is a frame of its own: a capture that a crash or a full disk cut short is readable
//! up to the cut.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::Path,
};

use bytes::Bytes;
use leaktrace_common::ABI_VERSION;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::Item;
use crate::sink::escape::shortened;

/// First bytes of every capture. The line end and the high byte show a file that went through
/// a text conversion.
const MAGIC: [u8; 8] = *b"\x89LEAKT\r\n";
/// Changes whenever frames do.
const FORMAT_VERSION: u16 = 1;
/// Records are in the byte order of the machine that wrote them.
const BYTE_ORDER: u8 = if cfg!(target_endian = "little") { 1 } else { 2 };
const HEADER_LEN: usize = 16;
/// No frame is longer: far above any ring, so that a damaged length is noticed.
const MAX_FRAME: u32 = 256 << 20;

/// Types of frame. Unknown ones are refused: the format version changes with them.
mod frame {
    pub const START: u32 = 1;
    pub const RECORDS: u32 = 2;
    pub const ANSWER: u32 = 3;
    pub const TICK: u32 = 4;
    pub const END: u32 = 5;
}

/// Why a capture cannot be read.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// Reading failed.
    #[error("read capture: {0}")]
    Io(#[from] io::Error),
    /// Some other file, or an empty one.
    #[error("not a leaktrace capture")]
    Foreign,
    /// Made by a version with other frames or records.
    #[error(
        "capture is of format {format} with records of version {abi}; this leaktrace reads format {FORMAT_VERSION} with version {ABI_VERSION}"
    )]
    Version {
        /// Its format.
        format: u16,
        /// Its records' ABI version.
        abi: u32,
    },
    /// Made on a machine of the other byte order.
    #[error("capture was made on a machine of the other byte order")]
    ByteOrder,
    /// Frames that make no sense.
    #[error("capture is damaged at byte {at}: {why}")]
    Damaged {
        /// Where the frame begins.
        at: u64,
        /// Why.
        why: String,
    },
}

/// How far a capture goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Not at its end yet.
    Open,
    /// Read to its end frame.
    Complete,
    /// It stops before one: the run that wrote it died, or its disk was full.
    CutShort,
}

/// Writes a capture.
#[derive(Debug)]
pub struct CaptureWriter<W: Write> {
    out: BufWriter<W>,
}

impl CaptureWriter<File> {
    /// Creates (or empties) the file and writes the header, so that a path that cannot be
    /// written is found before anything runs.
    ///
    /// # Errors
    /// Those of open(2) and write(2).
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut writer = CaptureWriter::new(File::create(path)?)?;
        writer.out.flush()?;
        Ok(writer)
    }
}

impl<W: Write> CaptureWriter<W> {
    /// Begins a capture with its header.
    ///
    /// # Errors
    /// Those of `inner`.
    pub fn new(inner: W) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(256 << 10, inner);
        out.write_all(&MAGIC)?;
        out.write_all(&FORMAT_VERSION.to_le_bytes())?;
        out.write_all(&[BYTE_ORDER, 0])?;
        out.write_all(&ABI_VERSION.to_le_bytes())?;
        Ok(CaptureWriter { out })
    }

    /// Appends one item.
    ///
    /// # Errors
    /// Those of the file.
    pub fn write(&mut self, item: &Item) -> io::Result<()> {
        match item {
            Item::Start(start) => self.frame(frame::START, &serde_json::to_vec(start)?),
            Item::Records(records) => self.frame(frame::RECORDS, records),
            Item::Answer(answer) => self.frame(frame::ANSWER, &serde_json::to_vec(answer)?),
            Item::Tick(time) => self.frame(frame::TICK, &time.to_le_bytes()),
            Item::End(end) => self.frame(frame::END, &serde_json::to_vec(end)?),
        }
    }

    fn frame(&mut self, kind: u32, payload: &[u8]) -> io::Result<()> {
        let len = u32::try_from(payload.len())
            .ok()
            .filter(|len| *len <= MAX_FRAME)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "frame is too long"))?;
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&len.to_le_bytes())?;
        self.out.write_all(payload)
    }

    /// Writes out what is buffered and gives the file back.
    ///
    /// # Errors
    /// Those of the file.
    pub fn finish(self) -> io::Result<W> {
        self.out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
    }
}

/// Reads a capture, one item at a time.
#[derive(Debug)]
pub struct CaptureReader<R: Read> {
    input: R,
    /// Bytes read.
    at: u64,
    items: u64,
    extent: Extent,
}

impl CaptureReader<BufReader<File>> {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// See [`CaptureError`].
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        CaptureReader::new(BufReader::with_capacity(256 << 10, File::open(path)?))
    }
}

impl<R: Read> CaptureReader<R> {
    /// Checks the header.
    ///
    /// # Errors
    /// See [`CaptureError`].
    pub fn new(mut input: R) -> Result<Self, CaptureError> {
        let mut header = Vec::with_capacity(HEADER_LEN);
        input
            .by_ref()
            .take(HEADER_LEN as u64)
            .read_to_end(&mut header)?;
        if header.len() < HEADER_LEN || header[..8] != MAGIC {
            return Err(CaptureError::Foreign);
        }
        let format = u16::from_le_bytes([header[8], header[9]]);
        let abi = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
        if (format, abi) != (FORMAT_VERSION, ABI_VERSION) {
            return Err(CaptureError::Version { format, abi });
        }
        if header[10] != BYTE_ORDER {
            return Err(CaptureError::ByteOrder);
        }
        Ok(CaptureReader {
            input,
            at: HEADER_LEN as u64,
            items: 0,
            extent: Extent::Open,
        })
    }

    /// How far reading has come; final once [`next`](Self::next) has given `None`.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// The next item, or `None` behind the last whole one; [`extent`](Self::extent) then says
    /// whether that was the end.
    ///
    /// # Errors
    /// See [`CaptureError`]. Reading cannot go on after one.
    #[expect(
        clippy::should_implement_trait,
        reason = "fallible; an iterator of results would go on after an error"
    )]
    pub fn next(&mut self) -> Result<Option<Item>, CaptureError> {
        if self.extent != Extent::Open {
            return Ok(None);
        }
        let begin = self.at;
        let damaged = |why: String| CaptureError::Damaged { at: begin, why };
        let Some(head) = self.take(8)? else {
            return Ok(None);
        };
        let kind = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if !(frame::START..=frame::END).contains(&kind) {
            return Err(damaged(format!("unknown frame type {kind}")));
        }
        if (kind == frame::START) != (self.items == 0) {
            return Err(damaged("a capture has one start, at its head".to_owned()));
        }
        if len > MAX_FRAME {
            return Err(damaged(format!("a frame of {len} bytes")));
        }
        let Some(payload) = self.take(len)? else {
            return Ok(None);
        };
        let item = item(kind, payload).map_err(damaged)?;
        self.items += 1;
        if kind == frame::END {
            self.end(begin)?;
        }
        Ok(Some(item))
    }

    /// `len` bytes, or `None` (and cut short) if the file has fewer.
    fn take(&mut self, len: u32) -> Result<Option<Vec<u8>>, CaptureError> {
        // Grows with what is there, not with what the length claims.
        let mut bytes = Vec::with_capacity(len.min(1 << 20) as usize);
        self.input
            .by_ref()
            .take(u64::from(len))
            .read_to_end(&mut bytes)?;
        self.at += bytes.len() as u64;
        if bytes.len() < len as usize {
            self.extent = Extent::CutShort;
            return Ok(None);
        }
        Ok(Some(bytes))
    }

    fn end(&mut self, begin: u64) -> Result<(), CaptureError> {
        let mut more = Vec::new();
        if self.input.by_ref().take(1).read_to_end(&mut more)? != 0 {
            return Err(CaptureError::Damaged {
                at: begin,
                why: "bytes behind the end".to_owned(),
            });
        }
        self.extent = Extent::Complete;
        Ok(())
    }
}

fn item(kind: u32, payload: Vec<u8>) -> Result<Item, String> {
    Ok(match kind {
        frame::START => Item::Start(Box::new(json(&payload)?)),
        frame::ANSWER => Item::Answer(Box::new(json(&payload)?)),
        frame::END => Item::End(Box::new(json(&payload)?)),
        frame::TICK => {
            let time = payload
                .try_into()
                .map_err(|_| "a tick is 8 bytes".to_owned())?;
            Item::Tick(u64::from_le_bytes(time))
        }
        frame::RECORDS => Item::Records(Bytes::from(payload)),
        other => return Err(format!("unknown frame type {other}")),
    })
}

fn json<T: DeserializeOwned>(payload: &[u8]) -> Result<T, String> {
    serde_json::from_slice(payload).map_err(|error| shortened(&error.to_string()))
}

#[cfg(test)]
#[path = "capture_tests.rs"]
mod tests;
