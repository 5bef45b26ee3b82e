//! A small reader of the kernel's BTF (`/sys/kernel/btf/vmlinux`): byte offsets of structure
//! members, and which tracepoints exist with how many arguments.
//!
//! The format is that of Documentation/bpf/btf.rst. Members move between kernels and into
//! anonymous unions (`file.f_path` in 6.18), so a member is searched through anonymous
//! structures, and a path may name alternatives. Bitfields have no byte offset and are refused.
//! Input is not trusted: nothing here panics, and every search is bounded.

use leaktrace_common::abi::{NO_OFFSET, Offsets};
use thiserror::Error;
use zerocopy::{FromBytes, IntoBytes};

const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: usize = 24;
/// typedefs and qualifiers followed before giving up; the kernel's own limit is 32
/// (kernel/bpf/btf.c, MAX_RESOLVE_DEPTH).
const MAX_RESOLVE: usize = 32;
/// Members looked at for one path. The largest structures have a few thousand; anonymous
/// members of a malformed file may refer to each other.
const MAX_MEMBERS: u32 = 200_000;
const MAX_ANONYMOUS_DEPTH: u32 = 16;

/// Why a file is not BTF that we can read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BtfError {
    /// Shorter than its header or than what its header promises.
    #[error("btf is truncated")]
    Truncated,
    /// Not BTF, or of the other byte order.
    #[error("not btf of this machine's byte order")]
    Magic,
    /// A version other than 1.
    #[error("btf has unknown version {0}")]
    Version(u8),
    /// A kind that this reader does not know; without its length nothing behind it can be read.
    #[error("btf type {id} has unknown kind {kind}")]
    Kind {
        /// Id of the type.
        id: u32,
        /// BTF_KIND_*.
        kind: u8,
    },
}

/// Kinds of named type that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TypeKind {
    /// `struct name`
    Struct,
    /// `union name`
    Union,
    /// `typedef … name`
    Typedef,
}

/// BTF_KIND_* (include/uapi/linux/btf.h).
mod kind {
    pub const INT: u8 = 1;
    pub const PTR: u8 = 2;
    pub const ARRAY: u8 = 3;
    pub const STRUCT: u8 = 4;
    pub const UNION: u8 = 5;
    pub const ENUM: u8 = 6;
    pub const FWD: u8 = 7;
    pub const TYPEDEF: u8 = 8;
    pub const VOLATILE: u8 = 9;
    pub const CONST: u8 = 10;
    pub const RESTRICT: u8 = 11;
    pub const FUNC: u8 = 12;
    pub const FUNC_PROTO: u8 = 13;
    pub const VAR: u8 = 14;
    pub const DATASEC: u8 = 15;
    pub const FLOAT: u8 = 16;
    pub const DECL_TAG: u8 = 17;
    pub const TYPE_TAG: u8 = 18;
    pub const ENUM64: u8 = 19;
}

/// Parsed BTF; borrows the file's bytes.
#[derive(Debug)]
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where in `types` type `index + 1` begins; type 0 is void.
    starts: Vec<u32>,
    /// Structures, unions and typedefs by name, those of one name in the order of the file.
    names: Vec<Named<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Named<'a> {
    name: &'a [u8],
    kind: TypeKind,
    id: u32,
}

/// The fixed part of a type.
#[derive(Clone, Copy)]
struct Type {
    kind: u8,
    count: u16,
    flag: bool,
    /// Size or type id, as the kind says.
    value: u32,
    /// Where in `types` the part behind it begins.
    tail: usize,
}

/// What remains of a search.
struct Budget {
    members: u32,
}

impl<'a> Btf<'a> {
    /// Reads the header and walks all types once.
    ///
    /// # Errors
    /// See [`BtfError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Btf<'a>, BtfError> {
        let header = bytes.get(..HEADER_LEN).ok_or(BtfError::Truncated)?;
        if u16::from_ne_bytes([header[0], header[1]]) != MAGIC {
            return Err(BtfError::Magic);
        }
        if header[2] != 1 {
            return Err(BtfError::Version(header[2]));
        }
        let field = |at| word(header, at).ok_or(BtfError::Truncated);
        let header_len = field(4)?;
        let section = |offset: u32, len: u32| {
            let start = (header_len as usize).checked_add(offset as usize)?;
            bytes.get(start..start.checked_add(len as usize)?)
        };
        let types = section(field(8)?, field(12)?).ok_or(BtfError::Truncated)?;
        let strings = section(field(16)?, field(20)?).ok_or(BtfError::Truncated)?;
        let mut btf = Btf {
            types,
            strings,
            starts: Vec::with_capacity(types.len() / 20),
            names: Vec::with_capacity(types.len() / 200),
        };
        btf.index()?;
        Ok(btf)
    }

    fn index(&mut self) -> Result<(), BtfError> {
        let mut at = 0;
        while at < self.types.len() {
            let id = self.starts.len() as u32 + 1;
            let ty = self.type_at(at).ok_or(BtfError::Truncated)?;
            let tail = tail_len(ty.kind, ty.count).ok_or(BtfError::Kind { id, kind: ty.kind })?;
            let end = ty.tail + tail;
            if end > self.types.len() {
                return Err(BtfError::Truncated);
            }
            self.note_name(at, &ty, id);
            self.starts.push(at as u32);
            at = end;
        }
        self.names
            .sort_by(|a, b| (a.name, a.kind, a.id).cmp(&(b.name, b.kind, b.id)));
        Ok(())
    }

    fn note_name(&mut self, at: usize, ty: &Type, id: u32) {
        let kind = match ty.kind {
            kind::STRUCT => TypeKind::Struct,
            kind::UNION => TypeKind::Union,
            kind::TYPEDEF => TypeKind::Typedef,
            _ => return,
        };
        let name = word(self.types, at).map_or(&[][..], |offset| self.string(offset));
        if !name.is_empty() {
            self.names.push(Named { name, kind, id });
        }
    }

    /// Whether there is a type of that kind and name.
    pub fn has_type(&self, kind: TypeKind, name: &str) -> bool {
        self.named(kind, name.as_bytes()).next().is_some()
    }

    /// Number of parameters of the function prototype (or pointer to one) that a typedef
    /// names. For the `btf_trace_NAME` of a tracepoint the first is the probe's `void *`,
    /// so a tracepoint has one argument less.
    pub fn param_count(&self, typedef: &str) -> Option<u32> {
        let named = self.named(TypeKind::Typedef, typedef.as_bytes()).next()?;
        let mut ty = self.resolve(named.id)?;
        if ty.kind == kind::PTR {
            ty = self.resolve(ty.value)?;
        }
        (ty.kind == kind::FUNC_PROTO).then_some(u32::from(ty.count))
    }

    /// Byte offset of a member. `path` is `struct.member`, or `struct.member.sub` where the
    /// member is itself a structure; alternatives separated by `|` are tried in order.
    /// `None`: no alternative exists here, or it is a bitfield. `sizeof(struct)` is the size
    /// of a structure, `has(struct.member)` is 1 or 0, `arguments(tracepoint)` how many it has.
    pub fn offset(&self, path: &str) -> Option<u32> {
        path.split('|')
            .find_map(|alternative| self.offset_of(alternative.trim()))
    }

    fn offset_of(&self, path: &str) -> Option<u32> {
        if let Some(name) = argument(path, "sizeof") {
            let named = self.named(TypeKind::Struct, name.as_bytes()).next()?;
            return self.resolve(named.id).map(|ty| ty.value);
        }
        if let Some(tracepoint) = argument(path, "arguments") {
            let params = self.param_count(&format!("btf_trace_{tracepoint}"))?;
            return params.checked_sub(1);
        }
        if let Some(member) = argument(path, "has") {
            return Some(u32::from(self.offset_of(member).is_some()));
        }
        // An element of a member that is an array.
        if let Some((member, more)) = path.split_once('+') {
            return self.offset_of(member)?.checked_add(more.parse().ok()?);
        }
        let (root, members) = path.split_once('.')?;
        if members.split('.').any(str::is_empty) {
            return None;
        }
        [TypeKind::Struct, TypeKind::Union]
            .into_iter()
            .flat_map(|kind| self.named(kind, root.as_bytes()))
            .find_map(|named| self.member_path(named.id, members))
    }

    fn member_path(&self, root: u32, members: &str) -> Option<u32> {
        let mut budget = Budget {
            members: MAX_MEMBERS,
        };
        let (mut id, mut bits) = (root, 0_u32);
        for member in members.split('.') {
            let found = self.member(id, member.as_bytes(), MAX_ANONYMOUS_DEPTH, &mut budget)?;
            bits = bits.checked_add(found.0)?;
            id = found.1;
        }
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// Offset in bits and type of the member `name` of structure `id`.
    fn member(&self, id: u32, name: &[u8], depth: u32, budget: &mut Budget) -> Option<(u32, u32)> {
        let parent = self.resolve(id)?;
        if !matches!(parent.kind, kind::STRUCT | kind::UNION) {
            return None;
        }
        for index in 0..usize::from(parent.count) {
            budget.members = budget.members.checked_sub(1)?;
            let at = parent.tail + index * 12;
            let own = self.string(word(self.types, at)?);
            let of = word(self.types, at + 4)?;
            let place = word(self.types, at + 8)?;
            // kind_flag: the upper 8 bits are the size of a bitfield.
            let bits = if parent.flag {
                place & 0x00ff_ffff
            } else {
                place
            };
            if own == name {
                let bitfield = (parent.flag && place >> 24 != 0) || self.is_bitfield_int(of);
                return (!bitfield && bits % 8 == 0).then_some((bits, of));
            }
            if own.is_empty()
                && depth > 0
                && let Some((inner, ty)) = self.member(of, name, depth - 1, budget)
            {
                return Some((bits.checked_add(inner)?, ty));
            }
        }
        None
    }

    /// Without kind_flag a bitfield shows as an integer type narrower than its storage.
    fn is_bitfield_int(&self, id: u32) -> bool {
        let Some(ty) = self.resolve(id) else {
            return false;
        };
        let Some(encoding) = word(self.types, ty.tail) else {
            return false;
        };
        ty.kind == kind::INT
            && (encoding & 0xff != ty.value.saturating_mul(8) || encoding >> 16 & 0xff != 0)
    }

    fn named(&self, kind: TypeKind, name: &[u8]) -> impl Iterator<Item = Named<'a>> + '_ {
        let wanted = (name, kind);
        let first = self
            .names
            .partition_point(|named| (named.name, named.kind) < wanted);
        let rest = self.names.get(first..).unwrap_or_default();
        let len = rest.partition_point(|named| (named.name, named.kind) <= wanted);
        rest.get(..len).unwrap_or_default().iter().copied()
    }

    /// The type behind typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        for _ in 0..MAX_RESOLVE {
            let start = *self.starts.get(id.checked_sub(1)? as usize)?;
            let ty = self.type_at(start as usize)?;
            match ty.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = ty.value;
                }
                _ => return Some(ty),
            }
        }
        None
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let info = word(self.types, at + 4)?;
        Some(Type {
            kind: (info >> 24 & 0x1f) as u8,
            count: info as u16,
            flag: info >> 31 != 0,
            value: word(self.types, at + 8)?,
            tail: at + 12,
        })
    }

    /// The string at `offset`; empty if there is none.
    fn string(&self, offset: u32) -> &'a [u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        let len = rest
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(rest.len());
        &rest[..len]
    }
}

/// What stands in the brackets of `function(…)`.
fn argument<'p>(path: &'p str, function: &str) -> Option<&'p str> {
    path.strip_prefix(function)?
        .strip_prefix('(')?
        .strip_suffix(')')
}

/// Of [`Offsets::PATHS`], what only kernels of other architectures have: nothing is missing here
/// without it.
pub const ELSEWHERE: &[&str] = if cfg!(target_arch = "x86_64") {
    &["pt_regs.regs+240", "pt_regs.pstate"]
} else if cfg!(target_arch = "aarch64") {
    &["thread_info.status"]
} else {
    &[]
};

/// Every offset that the programs want; [`NO_OFFSET`] where this kernel has none.
pub fn offsets(btf: &Btf<'_>) -> Offsets {
    let values: Vec<u32> = Offsets::PATHS
        .iter()
        .map(|path| btf.offset(path).unwrap_or(NO_OFFSET))
        .collect();
    Offsets::read_from_bytes(values.as_bytes()).unwrap_or(Offsets::UNKNOWN)
}

/// Bytes behind the fixed part of a type; `None` for an unknown kind.
fn tail_len(kind: u8, count: u16) -> Option<usize> {
    let count = usize::from(count);
    Some(match kind {
        kind::PTR | kind::FWD | kind::TYPEDEF | kind::VOLATILE | kind::CONST => 0,
        kind::RESTRICT | kind::FUNC | kind::FLOAT | kind::TYPE_TAG => 0,
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::ENUM | kind::FUNC_PROTO => count * 8,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => count * 12,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let slice = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes([slice[0], slice[1], slice[2], slice[3]]))
}

#[cfg(test)]
#[path = "btf_tests.rs"]
mod tests;
