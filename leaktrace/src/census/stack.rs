//! What the places of a stack are called: follows it, and asks the files' symbols.
//!
//! A walk by frame pointers misses the caller of whatever has none; the C library has none. So
//! the stack is unwound by the tables that exceptions use (`.eh_frame`), as far as the piece of it
//! reaches that was taken, and by the kernel's walk from there on. Files are opened without
//! waiting, only regular ones, and closed when the questions have been answered.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::Read,
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    },
    path::Path,
};

use blazesym::symbolize::{
    CodeInfo, Input, Symbolized, Symbolizer,
    source::{Elf, Source},
};
use framehop::{
    CacheNative, ExplicitModuleSectionInfo, FrameAddress, MayAllocateDuringUnwind, Unwinder,
    UnwinderNative,
};
use object::{Object, ObjectSection, ObjectSegment};

use super::Found;
use crate::model::stack::{Anchor, Module, Sample, Word};

/// Largest file that is read for its tables.
const LARGEST: u64 = 2 << 30;
/// Frames of one stack.
const FRAMES: usize = 64;
/// Made-up addresses: each file has so much room, and the stack lies behind all of them.
const ROOM: u32 = 40;
const STACK: u64 = 1 << 62;
/// A value that is no place.
const NEITHER: u64 = 8;

/// Answers about stacks.
#[derive(Default)]
pub(super) struct Resolver {
    symbolizer: Option<Symbolizer>,
    binaries: BTreeMap<Vec<u8>, Option<Binary>>,
}

/// An executable or a library.
struct Binary {
    file: File,
    segments: Vec<Segment>,
    tables: ExplicitModuleSectionInfo<Vec<u8>>,
}

struct Segment {
    offset: u64,
    bytes: u64,
    address: u64,
    is_code: bool,
}

impl Binary {
    fn open(path: &[u8]) -> Option<Binary> {
        let path = Path::new(OsStr::from_bytes(path));
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .ok()?;
        let about = file.metadata().ok()?;
        if !about.is_file() || about.len() > LARGEST {
            return None;
        }
        let mut bytes = Vec::with_capacity(about.len() as usize);
        (&mut file).take(LARGEST).read_to_end(&mut bytes).ok()?;
        let elf = object::File::parse(&*bytes).ok()?;
        let segments = elf.segments().map(|segment| {
            let (offset, bytes) = segment.file_range();
            Segment {
                offset,
                bytes,
                address: segment.address(),
                is_code: segment.permissions().executable(),
            }
        });
        let segments: Vec<Segment> = segments.collect();
        let section = |name: &str| {
            let section = elf.section_by_name(name)?;
            let begin = section.address();
            let data = section.uncompressed_data().ok()?;
            Some((begin..begin + section.size(), data.into_owned()))
        };
        let (text_svma, text) = section(".text").unzip();
        let (eh_frame_svma, eh_frame) = section(".eh_frame").unzip();
        let (eh_frame_hdr_svma, eh_frame_hdr) = section(".eh_frame_hdr").unzip();
        let tables = ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma,
            text,
            eh_frame_svma,
            eh_frame,
            eh_frame_hdr_svma,
            eh_frame_hdr,
            ..ExplicitModuleSectionInfo::default()
        };
        Some(Binary {
            file,
            segments,
            tables,
        })
    }

    /// The address that the file itself gives to a place in it.
    fn address(&self, anchor: Anchor, place: u64) -> Option<u64> {
        match anchor {
            Anchor::File => {
                let is_in = |it: &&Segment| place.wrapping_sub(it.offset) < it.bytes;
                let segment = self.segments.iter().find(is_in)?;
                Some(segment.address + (place - segment.offset))
            }
            Anchor::Code => {
                let code = self.segments.iter().filter(|segment| segment.is_code);
                Some(code.map(|segment| segment.address).min()? + place)
            }
        }
    }
}

/// A frame: the file by its number, the address in it, and the place if that is all there is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Frame {
    module: usize,
    address: Option<u64>,
    place: u64,
}

impl Resolver {
    /// The frames of a stack, innermost first.
    pub(super) fn frames(&mut self, modules: &[Module], sample: &Sample) -> Found {
        for module in modules {
            let known = self.binaries.contains_key(&module.path);
            if !known {
                let binary = Binary::open(&module.path);
                self.binaries.insert(module.path.clone(), binary);
            }
        }
        let binaries: Vec<Option<&Binary>> = modules
            .iter()
            .map(|module| self.binaries.get(&module.path)?.as_ref())
            .collect();
        let space = Space {
            modules,
            binaries: &binaries,
        };
        let symbolizer = self.symbolizer.get_or_insert_with(|| {
            let builder = Symbolizer::builder();
            builder.enable_auto_reload(false).build()
        });
        let frames = space.walk(sample).into_iter();
        let frames = frames.flat_map(|frame| space.name(symbolizer, frame));
        Found::Frames {
            frames: frames.take(FRAMES).collect(),
        }
    }
}

/// The address space that is made up for one stack.
struct Space<'a> {
    modules: &'a [Module],
    binaries: &'a [Option<&'a Binary>],
}

impl Space<'_> {
    fn value(&self, word: Word) -> Option<u64> {
        match word {
            Word::Code(module, place) => {
                let number = module as usize;
                let address = self.address(number, place)?;
                Some(((number as u64 + 1) << ROOM) + address)
            }
            Word::Stack(offset) => Some(STACK.wrapping_add_signed(offset)),
            Word::Other => None,
        }
    }

    fn address(&self, module: usize, place: u64) -> Option<u64> {
        let anchor = self.modules.get(module)?.anchor;
        let binary = self.binaries.get(module).copied()??;
        let address = binary.address(anchor, place)?;
        (address >> ROOM == 0).then_some(address)
    }

    /// The frames as the tables tell them, then as frame pointers tell them.
    fn walk(&self, sample: &Sample) -> Vec<Frame> {
        let chain = sample.chain.iter().map(|word| self.frame_of(*word));
        let chain: Vec<Option<Frame>> = chain.collect();
        let mut frames = self.unwind(sample);
        let last = frames.last().copied();
        let joint = chain
            .iter()
            .position(|frame| frame.is_some() && *frame == last);
        let whole = chain.iter().all(Option::is_some);
        let from = match (joint, frames.len()) {
            (Some(joint), _) => joint + 1,
            (None, 0) => 0,
            // Nowhere do the two meet: what every return address of fits is a chain.
            (None, _) if whole => 1,
            (None, _) => chain.len(),
        };
        let rest: Vec<Frame> = chain
            .into_iter()
            .skip(from)
            .map_while(|frame| frame)
            .collect();
        let new = rest.into_iter().filter(|frame| !frames.contains(frame));
        let new: Vec<Frame> = new.collect();
        frames.extend(new);
        frames
    }

    fn frame_of(&self, word: Word) -> Option<Frame> {
        match word {
            Word::Code(module, place) => {
                let address = self.address(module as usize, place);
                Some(Frame {
                    module: module as usize,
                    address,
                    // Only where there is no address, so that frames can be compared.
                    place: if address.is_none() { place } else { 0 },
                })
            }
            Word::Stack(_) | Word::Other => None,
        }
    }

    fn unwind(&self, sample: &Sample) -> Vec<Frame> {
        let mut unwinder: UnwinderNative<Vec<u8>, MayAllocateDuringUnwind> = UnwinderNative::new();
        for (number, binary) in self.binaries.iter().enumerate() {
            let Some(binary) = binary else { continue };
            let base = (number as u64 + 1) << ROOM;
            let end = binary.segments.iter().map(|it| it.address + it.bytes).max();
            unwinder.add_module(framehop::Module::new(
                String::new(),
                base..base + end.unwrap_or(0),
                base,
                tables(&binary.tables),
            ));
        }
        let words: BTreeMap<u64, Word> = sample
            .words
            .iter()
            .map(|(place, word)| (STACK + u64::from(*place) * 8, *word))
            .collect();
        let end = STACK + u64::from(sample.taken) * 8;
        let mut read = |at: u64| match words.get(&at) {
            Some(word) => self.value(*word).ok_or(()),
            // Neither code nor stack: a register that a function has kept there.
            None if (STACK..end).contains(&at) => Ok(NEITHER),
            None => Err(()),
        };
        let [ip, fp, lr] = sample.registers;
        let value = |word: Option<Word>| word.and_then(|word| self.value(word));
        let Some(ip) = value(ip) else {
            return Vec::new();
        };
        let mut cache = CacheNative::new();
        let registers = registers(
            ip,
            value(fp).unwrap_or(NEITHER),
            value(lr).unwrap_or(NEITHER),
        );
        let mut walk = unwinder.iter_frames(ip, registers, &mut cache, &mut read);
        let mut frames = Vec::new();
        while frames.len() < FRAMES
            && let Ok(Some(frame)) = walk.next()
        {
            let at = match frame {
                FrameAddress::InstructionPointer(at) => at,
                FrameAddress::ReturnAddress(at) => at.get(),
            };
            let Some(module) = (at >> ROOM).checked_sub(1) else {
                break;
            };
            frames.push(Frame {
                module: module as usize,
                address: Some(at & ((1 << ROOM) - 1)),
                place: 0,
            });
        }
        frames
    }

    /// A frame in words: several, if functions were inlined.
    fn name(&self, symbolizer: &Symbolizer, frame: Frame) -> Vec<String> {
        let Some(module) = self.modules.get(frame.module) else {
            return Vec::new();
        };
        let path = String::from_utf8_lossy(&module.path);
        let binary = self.binaries.get(frame.module).copied().flatten();
        let (Some(binary), Some(address)) = (binary, frame.address) else {
            return vec![format!("{:#x} in {path}", frame.place)];
        };
        // Of a call: the instruction before the one that it returns to.
        let look = |debug_syms| {
            let file = format!("/proc/self/fd/{}", binary.file.as_raw_fd());
            let mut elf = Elf::new(file);
            elf.debug_syms = debug_syms;
            let before = Input::VirtOffset(address.saturating_sub(1));
            match symbolizer.symbolize_single(&Source::Elf(elf), before) {
                Ok(Symbolized::Sym(symbol)) => Some(symbol),
                Ok(Symbolized::Unknown(_)) | Err(_) => None,
            }
        };
        // A file may name one with its debugging information that is not there.
        let Some(symbol) = look(true).or_else(|| look(false)) else {
            return vec![format!("{address:#x} in {path}")];
        };
        let mut names = vec![named(&symbol.name, symbol.code_info.as_deref(), &path)];
        let inlined = symbol.inlined.iter();
        names.extend(inlined.map(|it| named(&it.name, it.code_info.as_ref(), &path)));
        names.reverse();
        names
    }
}

/// `open_cache at /repo/src/cache.c:12`, `open64 in /lib/libc.so.6`.
fn named(function: &str, code: Option<&CodeInfo<'_>>, module: &str) -> String {
    match code.and_then(|code| Some((code.to_path(), code.line?))) {
        Some((path, line)) => format!("{function} at {}:{line}", path.display()),
        None => format!("{function} in {module}"),
    }
}

fn tables(of: &ExplicitModuleSectionInfo<Vec<u8>>) -> ExplicitModuleSectionInfo<Vec<u8>> {
    ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma: of.text_svma.clone(),
        text: of.text.clone(),
        eh_frame_svma: of.eh_frame_svma.clone(),
        eh_frame: of.eh_frame.clone(),
        eh_frame_hdr_svma: of.eh_frame_hdr_svma.clone(),
        eh_frame_hdr: of.eh_frame_hdr.clone(),
        ..ExplicitModuleSectionInfo::default()
    }
}

#[cfg(target_arch = "x86_64")]
fn registers(ip: u64, fp: u64, _lr: u64) -> framehop::UnwindRegsNative {
    framehop::UnwindRegsNative::new(ip, STACK, fp)
}

/// Addresses of programs have 48 bits, where they do not ask for more (Documentation/arch/arm64/
/// memory.rst). Above them is the signature of a return address that is signed, as those of
/// programs are that were built with -mbranch-protection, where the processor does it.
#[cfg(target_arch = "aarch64")]
const LAST_ADDRESS: u64 = (1 << 48) - 1;

#[cfg(target_arch = "aarch64")]
fn registers(_ip: u64, fp: u64, lr: u64) -> framehop::UnwindRegsNative {
    let unsigned = framehop::aarch64::PtrAuthMask::from_max_known_address(LAST_ADDRESS);
    framehop::UnwindRegsNative::new_with_ptr_auth_mask(unsigned, lr, STACK, fp)
}
