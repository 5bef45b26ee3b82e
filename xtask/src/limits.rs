//! What an object may use so that Linux 6.1 loads it, and the reduced one 5.10.
//!
//! Helpers are numbered in the order in which they came; one that is newer than 6.1 is refused.
//!
//! Of stack the kernel allows 512 bytes for a program and all that it calls, each frame rounded up to 32
//! (check_max_stack_depth in kernel/bpf/verifier.c, v6.1). Newer kernels round to 16 and give
//! tracing programs a stack of their own (v6.13), so what loads on them says nothing of older
//! ones: it is computed here instead, from the instructions.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

use crate::ebpf::Object;

/// MAX_BPF_STACK (include/linux/filter.h).
const LIMIT: u32 = 512;
const ROUND: u32 = 32;
/// The last helper of Linux 6.1, bpf_user_ringbuf_drain (include/uapi/linux/bpf.h).
const LAST_HELPER: i32 = 209;
/// The last one of Linux 5.10, bpf_redirect_peer.
const LAST_REDUCED: i32 = 155;
/// MAX_CALL_FRAMES (include/linux/bpf_verifier.h).
const FRAMES: usize = 8;

/// Instruction codes (include/uapi/linux/bpf.h).
mod code {
    pub const CALL: u8 = 0x85;
    pub const ATOMIC_64: u8 = 0xdb;
    pub const ATOMIC_32: u8 = 0xc3;
    pub const LOAD_64: u8 = 0x18;
    pub const MOV_64: u8 = 0xbf;
    pub const ADD_64: u8 = 0x07;
    pub const PSEUDO_CALL: u8 = 1;
    pub const FRAME: u8 = 10;
}

/// Section and offset of a function.
type Place = (usize, u64);

#[derive(Default)]
struct Function {
    name: String,
    frame: u32,
    calls: Vec<Place>,
    helpers: Vec<i32>,
    /// Has atomic operations other than an addition without a result (before 5.12).
    atomics: bool,
}

/// One program and the chain of calls in it that takes the most.
#[derive(Debug)]
pub struct Deepest {
    /// Names and frames, the program first.
    pub chain: Vec<(String, u32)>,
    /// Bytes, each frame rounded up.
    pub bytes: u32,
}

/// The deepest chain of every program.
///
/// # Errors
/// If `elf` is no eBPF object, or its functions call each other in a circle.
pub fn depths(elf: &[u8]) -> Result<Vec<Deepest>> {
    let functions = functions(elf)?;
    functions
        .iter()
        .filter(|(_, function)| {
            !function.name.starts_with("_R") && !function.name.starts_with("mem")
        })
        .map(|(place, _)| deepest(&functions, *place, 0))
        .collect()
}

/// Fails where a program wants more than old kernels have.
///
/// # Errors
/// If one does, or `elf` is no eBPF object.
pub fn check(which: Object, elf: &[u8]) -> Result<()> {
    let (last, kernel) = match which {
        Object::Full => (LAST_HELPER, "Linux 6.1"),
        Object::Reduced => (LAST_REDUCED, "Linux 5.10"),
    };
    for function in functions(elf)?.values() {
        if which == Object::Reduced && function.atomics {
            bail!(
                "`{}` has an atomic operation that {kernel} does not have",
                function.name
            );
        }
        if let Some(helper) = function.helpers.iter().find(|id| !(0..=last).contains(*id)) {
            bail!(
                "`{}` calls helper {helper}, which {kernel} does not have",
                function.name
            );
        }
    }
    let deep: Vec<String> = depths(elf)?
        .iter()
        .filter(|deepest| deepest.bytes > LIMIT || deepest.chain.len() > FRAMES)
        .map(ToString::to_string)
        .collect();
    if !deep.is_empty() {
        bail!(
            "kernels before 6.13 refuse more than {LIMIT} bytes of stack:\n{}",
            deep.join("\n")
        );
    }
    Ok(())
}

impl std::fmt::Display for Deepest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let chain: Vec<String> = self
            .chain
            .iter()
            .map(|(name, frame)| format!("{name} {frame}"))
            .collect();
        write!(f, "{:>4} = {}", self.bytes, chain.join(" + "))
    }
}

fn deepest(functions: &BTreeMap<Place, Function>, place: Place, level: usize) -> Result<Deepest> {
    let function = functions
        .get(&place)
        .with_context(|| format!("find the function at {place:?}"))?;
    if level > 64 {
        bail!("`{}` calls itself", function.name);
    }
    let mut below: Option<Deepest> = None;
    for call in &function.calls {
        let other = deepest(functions, *call, level + 1)?;
        if below.as_ref().is_none_or(|most| other.bytes > most.bytes) {
            below = Some(other);
        }
    }
    let mut chain = vec![(function.name.clone(), function.frame)];
    let mut bytes = function.frame.max(1).next_multiple_of(ROUND);
    if let Some(below) = below {
        bytes += below.bytes;
        chain.extend(below.chain);
    }
    Ok(Deepest { chain, bytes })
}

fn functions(elf: &[u8]) -> Result<BTreeMap<Place, Function>> {
    let file = object::File::parse(elf).context("read the object")?;
    let mut functions = BTreeMap::new();
    for symbol in file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text)
    {
        let Some(index) = symbol.section_index() else {
            continue;
        };
        let section = file.section_by_index(index)?;
        let data = section.data()?;
        let (start, end) = (
            symbol.address() as usize,
            (symbol.address() + symbol.size()) as usize,
        );
        let body = data.get(start..end).context("find a function's bytes")?;
        let relocations: BTreeMap<u64, object::SymbolIndex> = section
            .relocations()
            .filter_map(|(at, relocation)| match relocation.target() {
                object::RelocationTarget::Symbol(symbol) => Some((at, symbol)),
                _ => None,
            })
            .collect();
        let mut function = Function {
            name: short(symbol.name()?),
            ..Function::default()
        };
        read(
            &file,
            index.0,
            start as u64,
            body,
            &relocations,
            &mut function,
        )?;
        functions.insert((index.0, symbol.address()), function);
    }
    Ok(functions)
}

/// Goes through the instructions of one function.
fn read(
    file: &object::File<'_>,
    section: usize,
    start: u64,
    body: &[u8],
    relocations: &BTreeMap<u64, object::SymbolIndex>,
    function: &mut Function,
) -> Result<()> {
    // Registers that are copies of the frame pointer.
    let mut copies = [false; 16];
    for (index, word) in body.chunks_exact(8).enumerate() {
        let at = start + index as u64 * 8;
        let (code, regs) = (word[0], word[1]);
        let (dst, src) = (regs & 15, regs >> 4);
        let offset = i16::from_le_bytes([word[2], word[3]]);
        let imm = i32::from_le_bytes([word[4], word[5], word[6], word[7]]);
        let class = code & 7;
        // Loads are class 1, stores of constants and registers 2 and 3.
        let base = match class {
            1 => Some(src),
            2 | 3 => Some(dst),
            _ => None,
        };
        if base == Some(code::FRAME) {
            function.frame = function
                .frame
                .max(u32::try_from(-i32::from(offset)).unwrap_or(0));
        }
        if code == code::ADD_64 && copies[usize::from(dst)] {
            function.frame = function.frame.max(u32::try_from(-imm).unwrap_or(0));
        }
        copies[usize::from(dst)] = code == code::MOV_64 && src == code::FRAME;
        function.atomics |= matches!(code, code::ATOMIC_32 | code::ATOMIC_64) && imm != 0;
        let target = relocations.get(&at);
        if code == code::CALL && src == code::PSEUDO_CALL {
            function.calls.push(match target {
                Some(symbol) => called(file, *symbol, i64::from(imm) + 1)?,
                None => (section, (at as i64 + (i64::from(imm) + 1) * 8) as u64),
            });
        } else if code == code::CALL {
            // A kernel function is named by its type, whose number says nothing here.
            function.helpers.push(if src == 0 { imm } else { -1 });
        } else if code == code::LOAD_64
            && let Some(symbol) = target
            && let Some(text) = text_of(file, *symbol)?
        {
            // A callback.
            function.calls.push((text.0, text.1 + imm as u64));
        }
    }
    Ok(())
}

/// What a relocated call reaches: a function's symbol, or a section's and a distance in it.
fn called(file: &object::File<'_>, symbol: object::SymbolIndex, words: i64) -> Result<Place> {
    let symbol = file.symbol_by_index(symbol)?;
    let section = symbol.section_index().context("a call to nowhere")?.0;
    if symbol.kind() == SymbolKind::Section {
        return Ok((section, (words * 8) as u64));
    }
    Ok((section, symbol.address()))
}

fn text_of(file: &object::File<'_>, symbol: object::SymbolIndex) -> Result<Option<Place>> {
    let symbol = file.symbol_by_index(symbol)?;
    let Some(index) = symbol.section_index() else {
        return Ok(None);
    };
    let text = file.section_by_index(index)?.kind() == object::SectionKind::Text;
    Ok(text.then(|| (index.0, symbol.address())))
}

/// The last two words of a mangled name (v0: each word has its length before it).
fn short(mangled: &str) -> String {
    if !mangled.starts_with("_R") {
        return mangled.to_owned();
    }
    let mut words = Vec::new();
    let mut rest = mangled;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        rest = &rest[at..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let len: usize = rest[..digits].parse().unwrap_or(0);
        rest = &rest[digits..];
        match rest.get(..len) {
            Some(word) if len > 1 => {
                words.push(word.trim_start_matches('_'));
                rest = &rest[len..];
            }
            _ => {}
        }
    }
    let from = words.len().saturating_sub(2);
    format!("_R::{}", words[from..].join("::"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_committed_object_loads_on_old_kernels() {
        let reduced = std::fs::read(Object::Reduced.committed("o")).unwrap();
        check(Object::Reduced, &reduced).unwrap();
        let object = std::fs::read(Object::Full.committed("o")).unwrap();
        check(Object::Full, &object).unwrap();
        assert!(check(Object::Reduced, &object).is_err());
        let depths = depths(&object).unwrap();
        let exec = depths
            .iter()
            .find(|deepest| deepest.chain[0].0 == "sched_process_exec")
            .unwrap();
        // Calls and callbacks were followed.
        assert!(exec.to_string().contains("walk_table"), "{exec}");
        assert!(exec.to_string().contains("walk::entry"), "{exec}");
        assert!(exec.bytes > 256, "{exec}");
    }

    #[test]
    fn a_name_is_its_last_words() {
        let name = "_RNvNtNtCs72u70474Pia_14leaktrace_ebpf5probe4walk5table";
        assert_eq!(short(name), "_R::walk::table");
        assert_eq!(short("sys_enter"), "sys_enter");
    }
}
