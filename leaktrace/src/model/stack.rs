//! Stacks of calls: taken with the record of a call, kept as long as what the call acquired.
//!
//! What is kept of one is made of places in files, so that it is the same for every process of
//! a program, and still means something when the process is gone.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use leaktrace_common::{
    abi::Op,
    record::{
        Header,
        stack::{CHAIN, Image, Stack, WORDS},
    },
};
use serde::{Deserialize, Serialize};

use super::{Mode, Model, hash::NumberMap, table::Slot};
use crate::{
    decode::{Body, Text},
    id::{KtimeNs, Tid},
};

/// Different stacks that are kept.
const SAMPLES: usize = 1 << 16;
/// Calls whose stacks are kept.
const CALLS: usize = 1 << 20;
/// Of what has been given back, the stacks of the last ones are kept.
const RELEASED: usize = 1 << 14;
/// Ranges of code in one address space.
const IMAGES: usize = 4096;

/// A value found in a register or on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Word {
    /// A place in the code of a file: which one, and where.
    Code(u32, u64),
    /// A place on the stack, relative to the stack pointer.
    Stack(i64),
    /// Anything else.
    Other,
}

/// From where places in a file count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Anchor {
    /// The beginning of the file.
    File,
    /// The beginning of its code in memory (`mm_struct.start_code`).
    Code,
}

/// A file whose code is mapped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Module {
    /// Its path, raw bytes.
    pub path: Vec<u8>,
    /// From where places in it count.
    pub anchor: Anchor,
}

/// One stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sample {
    /// Instruction pointer, frame pointer, link register.
    pub registers: [Option<Word>; 3],
    /// The instruction pointer, then return addresses by frame pointers, innermost first.
    pub chain: Vec<Word>,
    /// Words of the stack that were taken.
    pub taken: u16,
    /// Those of them that may be addresses, with their distance from the stack pointer
    /// in words.
    pub words: Vec<(u16, Word)>,
}

/// The stack of one call.
#[derive(Clone, Copy, Debug)]
struct Call {
    sample: u32,
    /// Things that it made and that are still there.
    users: u8,
}

/// Stacks, and of which calls they are.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    modules: Vec<Module>,
    samples: Vec<Arc<Sample>>,
    /// By the time of the record, then by thread.
    calls: BTreeMap<(u64, u32), Call>,
}

impl PartialEq for Stacks {
    fn eq(&self, other: &Self) -> bool {
        self.modules == other.modules && self.samples == other.samples
    }
}

impl Eq for Stacks {}

impl Stacks {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The stack of the call that made something then; any thread's, if that is not known.
    pub fn of(&self, tid: Option<Tid>, acquired: KtimeNs) -> Option<&Arc<Sample>> {
        let call = match tid {
            Some(tid) => self.calls.get(&(acquired.0, tid.0))?,
            None => {
                let mut at = self.calls.range((acquired.0, 0)..=(acquired.0, u32::MAX));
                at.next()?.1
            }
        };
        self.samples.get(call.sample as usize)
    }

    /// A file that samples name.
    pub fn module(&self, number: u32) -> Option<&Module> {
        self.modules.get(number as usize)
    }
}

/// A mapped range of code.
#[derive(Clone, Copy, Debug)]
struct Range {
    begin: u64,
    end: u64,
    offset: u64,
    module: u32,
}

/// What the model has for stacks.
#[derive(Debug, Default)]
pub(super) struct Stacking {
    /// What is told.
    pub(super) told: Arc<Stacks>,
    by_module: HashMap<Module, u32>,
    by_sample: HashMap<Arc<Sample>, u32>,
    /// Code by address space.
    images: NumberMap<u64, Vec<Range>>,
    /// The stack of the call that each thread is in.
    current: NumberMap<u32, u32>,
    /// Calls of which nothing is left, the oldest first.
    released: VecDeque<(u64, u32)>,
}

impl Stacking {
    fn module(&mut self, path: &[u8], anchor: Anchor) -> u32 {
        let module = Module {
            path: path.to_vec(),
            anchor,
        };
        if let Some(known) = self.by_module.get(&module) {
            return *known;
        }
        let told = Arc::make_mut(&mut self.told);
        let number = told.modules.len() as u32;
        told.modules.push(module.clone());
        self.by_module.insert(module, number);
        number
    }

    fn sample(&mut self, sample: Sample) -> Option<u32> {
        if let Some(known) = self.by_sample.get(&sample) {
            return Some(*known);
        }
        if self.by_sample.len() >= SAMPLES {
            return None;
        }
        let sample = Arc::new(sample);
        let told = Arc::make_mut(&mut self.told);
        let number = told.samples.len() as u32;
        told.samples.push(Arc::clone(&sample));
        self.by_sample.insert(sample, number);
        Some(number)
    }

    /// A thing that a call made is gone.
    pub(super) fn released(&mut self, tid: u32, acquired: u64) {
        if self.told.calls.is_empty() {
            return;
        }
        let key = (acquired, tid);
        let told = Arc::make_mut(&mut self.told);
        let Some(call) = told.calls.get_mut(&key) else {
            return;
        };
        call.users = call.users.saturating_sub(1);
        if call.users > 0 {
            return;
        }
        self.released.push_back(key);
        if self.released.len() > RELEASED
            && let Some(oldest) = self.released.pop_front()
            && told.calls.get(&oldest).is_some_and(|call| call.users == 0)
        {
            told.calls.remove(&oldest);
        }
    }

    /// A child has a copy of its parent's address space.
    pub(super) fn forked(&mut self, parent: u64, child: u64) {
        if self.images.is_empty() || parent == child {
            return;
        }
        match self.images.get(&parent).cloned() {
            Some(images) => drop(self.images.insert(child, images)),
            None => drop(self.images.remove(&child)),
        }
    }

    /// An address space begins anew, or is gone.
    pub(super) fn forget_space(&mut self, mm: u64) {
        if !self.images.is_empty() {
            self.images.remove(&mm);
        }
    }

    /// A thread is gone.
    pub(super) fn forget_thread(&mut self, tid: u32) {
        if !self.current.is_empty() {
            self.current.remove(&tid);
        }
    }
}

/// What an address is.
struct Reader<'a> {
    ranges: &'a [Range],
    program: Option<(u64, u64, u32)>,
    sp: u64,
}

impl Reader<'_> {
    fn word(&self, value: u64) -> Word {
        let near = value.wrapping_sub(self.sp).cast_signed();
        if (0..=(WORDS * 8) as i64).contains(&near) {
            return Word::Stack(near);
        }
        let range = self.ranges.iter().rev();
        let mut range = range.filter(|range| (range.begin..range.end).contains(&value));
        if let Some(range) = range.next() {
            return Word::Code(range.module, value - range.begin + range.offset);
        }
        match self.program {
            Some((begin, end, module)) if (begin..end).contains(&value) => {
                Word::Code(module, value - begin)
            }
            Some(_) | None => Word::Other,
        }
    }
}

impl Model {
    /// The stack of a call whose records come next.
    pub(super) fn stack(&mut self, header: &Header, stack: &Stack) {
        let id = self.process_of(header);
        let exe = self.processes.get(id).and_then(|it| it.exe.clone());
        let stacking = &mut self.stacking;
        let program = exe.map(|exe| stacking.module(&exe, Anchor::Code));
        let empty = Vec::new();
        let reader = Reader {
            ranges: stacking.images.get(&stack.mm).unwrap_or(&empty),
            program: program.map(|module| (stack.start_code, stack.end_code, module)),
            sp: stack.sp,
        };
        let chain = &stack.chain[..(stack.chain_len as usize).min(CHAIN)];
        let words = &stack.words[..(stack.words_len as usize).min(WORDS)];
        let words = words.iter().enumerate();
        let words = words.map(|(place, word)| (place as u16, reader.word(*word)));
        let registers = [stack.ip, stack.fp, stack.lr];
        let sample = Sample {
            registers: registers.map(|value| (value != 0).then(|| reader.word(value))),
            chain: chain.iter().map(|word| reader.word(*word)).collect(),
            taken: (stack.words_len as usize).min(WORDS) as u16,
            words: words.filter(|(_, word)| *word != Word::Other).collect(),
        };
        match stacking.sample(sample) {
            Some(sample) => drop(stacking.current.insert(header.tid, sample)),
            None => drop(stacking.current.remove(&header.tid)),
        }
    }

    /// Code of a file is mapped.
    pub(super) fn image(&mut self, header: &Header, image: &Image, text: &Text<'_>) {
        let path = match u32::try_from(image.fd) {
            Ok(fd) => self.path_of_fd(header.table, fd),
            Err(_) => text.path().map(|path| Bytes::from(path.into_owned())),
        };
        let Some(path) = path else { return };
        let mm = match image.mm {
            0 => {
                let id = self.process_of(header);
                self.processes.get(id).map_or(0, |process| process.mm)
            }
            mm => mm,
        };
        let module = self.stacking.module(&path, Anchor::File);
        let images = self.stacking.images.entry(mm).or_default();
        let range = Range {
            begin: image.address,
            end: image.address.saturating_add(image.bytes),
            offset: image.offset,
            module,
        };
        if images.len() >= IMAGES {
            images.remove(0);
        }
        // What lay there before is gone.
        images.retain(|old| old.end <= range.begin || range.end <= old.begin);
        images.push(range);
    }

    fn path_of_fd(&self, table: u32, fd: u32) -> Option<Bytes> {
        let slot = self.tables.get(&table)?.get(fd)?;
        self.names.get(self.descriptions.get(slot.description).name)
    }

    /// A record says that its call has a stack.
    #[cold]
    pub(super) fn note_stack(&mut self, header: &Header, body: &Body<'_>) {
        use leaktrace_common::record::file::acquire_flag;
        // What is left when its fd is closed is used once more.
        let users = match body {
            Body::FdAcquire(fd, _) if fd.flags & acquire_flag::CREATED != 0 => 2,
            Body::FdAcquire(..)
            | Body::SocketAcquire(_)
            | Body::RingSetup(_)
            | Body::Map(_)
            | Body::ShmAttach(_) => 1,
            Body::MqOpen(..) => 2,
            Body::SocketName(..) | Body::IpcGet(_) | Body::Name(..) => 1,
            Body::Call(call) if Op(call.op).acquires() => 1,
            // A child's is looked for by its start.
            Body::TaskNew(_) => 1,
            _ => return,
        };
        let at = match body {
            Body::TaskNew(new) => new.child.start_ns,
            _ => header.time_ns,
        };
        let Some(sample) = self.stacking.current.get(&header.tid).copied() else {
            return;
        };
        if self.stacking.told.calls.len() < CALLS {
            let told = Arc::make_mut(&mut self.stacking.told);
            told.calls.insert((at, header.tid), Call { sample, users });
        }
    }

    /// An fd of a process's own is gone.
    #[inline]
    pub(super) fn stack_released(&mut self, slot: &Slot) {
        self.stacking.released(slot.tid, slot.acquired);
    }

    /// A table goes with everything that it has: in a report that is told, else it is forgotten.
    pub(super) fn stacks_dropped(&mut self, slots: &[(u32, u64)]) {
        if self.config.mode == Mode::System {
            for (tid, acquired) in slots {
                self.stacking.released(*tid, *acquired);
            }
        }
    }

    /// Whether any stack has been told.
    pub fn has_stacks(&self) -> bool {
        !self.stacking.told.calls.is_empty()
    }
}
