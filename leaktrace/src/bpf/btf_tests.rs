#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

/// Builds BTF by hand.
#[derive(Default)]
struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    next: u32,
}

impl Builder {
    fn new() -> Self {
        Builder {
            types: Vec::new(),
            strings: vec![0],
            next: 1,
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn ty(&mut self, name: &str, kind: u8, count: u16, flag: u32, value: u32, tail: &[u32]) -> u32 {
        let name = self.name(name);
        let info = u32::from(kind) << 24 | u32::from(count) | flag << 31;
        for word in [name, info, value].iter().chain(tail) {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
        self.next += 1;
        self.next - 1
    }

    fn int(&mut self) -> u32 {
        self.ty("int", kind::INT, 0, 0, 4, &[32])
    }

    fn aggregate(&mut self, name: &str, kind: u8, flag: u32, members: &[(&str, u32, u32)]) -> u32 {
        let tail: Vec<u32> = members
            .iter()
            .flat_map(|(name, of, place)| [self.name(name), *of, *place])
            .collect();
        self.ty(name, kind, members.len() as u16, flag, 64, &tail)
    }

    fn build(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut out = MAGIC.to_ne_bytes().to_vec();
        out.extend_from_slice(&[1, 0]);
        for word in [24, 0, types, types, strings] {
            out.extend_from_slice(&u32::to_ne_bytes(word));
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.strings);
        out
    }
}

/// struct inner { int a; int b; }; typedef struct inner inner_t;
/// struct outer { int x; union { int y; struct { int pad; int deep; }; }; const inner_t in;
///                int bit:3; int whole; };
fn sample() -> Vec<u8> {
    let mut b = Builder::new();
    let int = b.int();
    let inner = b.aggregate("inner", kind::STRUCT, 0, &[("a", int, 0), ("b", int, 32)]);
    let alias = b.ty("inner_t", kind::TYPEDEF, 0, 0, inner, &[]);
    let constant = b.ty("", kind::CONST, 0, 0, alias, &[]);
    let nested = b.aggregate("", kind::STRUCT, 0, &[("pad", int, 0), ("deep", int, 32)]);
    let union = b.aggregate("", kind::UNION, 0, &[("y", int, 0), ("", nested, 0)]);
    b.aggregate(
        "outer",
        kind::STRUCT,
        1,
        &[
            ("x", int, 0),
            ("", union, 32),
            ("in", constant, 128),
            ("bit", int, 3 << 24 | 192),
            ("whole", int, 224),
        ],
    );
    let narrow = b.ty("int", kind::INT, 0, 0, 4, &[3]);
    b.aggregate(
        "old",
        kind::STRUCT,
        0,
        &[("bit", narrow, 0), ("odd", int, 3)],
    );
    let proto = b.ty("", kind::FUNC_PROTO, 3, 0, 0, &[0, int, 0, int, 0, int]);
    let pointer = b.ty("", kind::PTR, 0, 0, proto, &[]);
    b.ty("btf_trace_exit", kind::TYPEDEF, 0, 0, pointer, &[]);
    b.build()
}

#[test]
fn members_are_found_through_anonymous_and_named_structures() {
    let bytes = sample();
    let btf = Btf::parse(&bytes).unwrap();
    for (path, offset) in [
        ("outer.x", Some(0)),
        ("outer.y", Some(4)),
        ("outer.deep", Some(8)),
        ("outer.in", Some(16)),
        ("outer.in.b", Some(20)),
        ("outer.whole", Some(28)),
        ("outer.in.none", None),
        ("outer.x.a", None),
        ("outer.none", None),
        ("none.x", None),
        ("outer", None),
        ("outer.", None),
        ("", None),
        ("outer.none|outer.in.b", Some(20)),
        ("outer.y|outer.x", Some(4)),
        ("none.x | outer.x", Some(0)),
    ] {
        assert_eq!(btf.offset(path), offset, "{path}");
    }
}

#[test]
fn bitfields_have_no_offset() {
    let bytes = sample();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.offset("outer.bit"), None);
    assert_eq!(btf.offset("old.bit"), None);
    assert_eq!(btf.offset("old.odd"), None);
}

#[test]
fn a_later_type_of_the_same_name_is_tried_too() {
    let mut b = Builder::new();
    let int = b.int();
    b.aggregate("twin", kind::STRUCT, 0, &[("a", int, 0)]);
    b.aggregate("twin", kind::STRUCT, 0, &[("a", int, 32), ("b", int, 64)]);
    let bytes = b.build();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.offset("twin.a"), Some(0));
    assert_eq!(btf.offset("twin.b"), Some(8));
}

#[test]
fn tracepoints_tell_their_parameters() {
    let bytes = sample();
    let btf = Btf::parse(&bytes).unwrap();
    assert!(btf.has_type(TypeKind::Typedef, "btf_trace_exit"));
    assert!(!btf.has_type(TypeKind::Struct, "btf_trace_exit"));
    assert!(btf.has_type(TypeKind::Struct, "outer"));
    assert_eq!(btf.param_count("btf_trace_exit"), Some(3));
    assert_eq!(btf.param_count("inner_t"), None);
    assert_eq!(btf.param_count("btf_trace_none"), None);
}

#[test]
fn malformed_files_are_refused() {
    let good = sample();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let cut = good[..good.len() - 1].to_vec();
    let mut swapped = good.clone();
    swapped.swap(0, 1);
    // info of type 1 is at 24 + 4; its highest byte is the kind on little endian.
    let unknown = with(
        if cfg!(target_endian = "little") {
            31
        } else {
            28
        },
        0x1e,
    );
    for (what, bytes, error) in [
        ("empty", Vec::new(), BtfError::Truncated),
        ("half a header", good[..12].to_vec(), BtfError::Truncated),
        ("a byte short", cut, BtfError::Truncated),
        ("other byte order", swapped, BtfError::Magic),
        ("not btf", with(0, 0), BtfError::Magic),
        ("version 2", with(2, 2), BtfError::Version(2)),
        ("unknown kind", unknown, BtfError::Kind { id: 1, kind: 30 }),
    ] {
        assert_eq!(Btf::parse(&bytes).err(), Some(error), "{what}");
    }
}

#[test]
fn types_that_contain_themselves_end() {
    let mut b = Builder::new();
    b.aggregate(
        "loop",
        kind::STRUCT,
        0,
        &[("", 1, 0), ("", 1, 0), ("", 1, 0)],
    );
    b.ty("spin", kind::TYPEDEF, 0, 0, 2, &[]);
    b.aggregate("host", kind::STRUCT, 0, &[("m", 2, 0)]);
    let bytes = b.build();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.offset("loop.none"), None);
    assert_eq!(btf.offset("host.m.none"), None);
    assert_eq!(btf.param_count("spin"), None);
}

#[test]
fn this_kernel_has_what_the_programs_stand_on() {
    let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        return;
    };
    let btf = Btf::parse(&bytes).unwrap();
    let found = offsets(&btf);
    for (name, offset) in [
        ("task_files", found.task_files),
        ("file_inode", found.file_inode),
        ("file_path", found.file_path),
        ("file_count", found.file_count),
        ("mnt_ns_inum", found.mnt_ns_inum),
        ("fdtable_fd", found.fdtable_fd),
        ("sock_family", found.sock_family),
        ("task_start_boottime", found.task_start_boottime),
    ] {
        assert_ne!(offset, NO_OFFSET, "{name}");
    }
    for path in ELSEWHERE {
        assert!(Offsets::PATHS.contains(path), "{path}");
        assert_eq!(btf.offset(path), None, "{path}");
    }
    // The uapi fixes these.
    assert_eq!(btf.offset("iovec.iov_len"), Some(8));
    assert_eq!(btf.offset("timespec64.tv_nsec"), Some(8));
    assert!(btf.param_count("btf_trace_sys_enter") == Some(3));
}

/// As Linux 6.1 to 7.2 have it (arch/arm64/include/asm/ptrace.h), as far as it is asked for.
#[test]
fn registers_of_arm64_are_found() {
    let mut b = Builder::new();
    let int = b.int();
    let array = b.ty("", kind::ARRAY, 0, 0, 0, &[int, int, 31]);
    let members = [
        ("regs", array, 0),
        ("sp", int, 1984),
        ("pc", int, 2048),
        ("pstate", int, 2112),
    ];
    let user = b.aggregate("user_pt_regs", kind::STRUCT, 0, &members);
    let same = b.aggregate("", kind::STRUCT, 0, &members);
    let union = b.aggregate("", kind::UNION, 0, &[("user_regs", user, 0), ("", same, 0)]);
    b.aggregate(
        "pt_regs",
        kind::STRUCT,
        0,
        &[
            ("", union, 0),
            ("orig_x0", int, 2176),
            ("syscallno", int, 2240),
        ],
    );
    let bytes = b.build();
    let found = offsets(&Btf::parse(&bytes).unwrap());
    let arguments = [
        found.pt_regs_di,
        found.pt_regs_si,
        found.pt_regs_dx,
        found.pt_regs_r10,
        found.pt_regs_r8,
        found.pt_regs_r9,
    ];
    assert_eq!(arguments, [272, 8, 16, 24, 32, 40]);
    assert_eq!((found.pt_regs_first, found.pt_regs_orig_ax), (0, 280));
    assert_eq!((found.pt_regs_sp, found.pt_regs_ip), (248, 256));
    assert_eq!((found.pt_regs_fp, found.pt_regs_lr), (232, 240));
    assert_eq!((found.pt_regs_cx, found.pt_regs_pstate), (24, 264));
}

proptest! {
    #[test]
    fn any_bytes_end_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(btf) = Btf::parse(&bytes) {
            let _ = offsets(&btf);
        }
    }

    #[test]
    fn a_damaged_file_ends_without_a_panic(
        damage in proptest::collection::vec((0_usize..1000, any::<u8>()), 1..8),
    ) {
        let mut bytes = sample();
        for (at, byte) in damage {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        if let Ok(btf) = Btf::parse(&bytes) {
            for path in ["outer.deep", "outer.in.b", "old.bit", "inner.a"] {
                let _ = btf.offset(path);
            }
            let _ = btf.param_count("btf_trace_exit");
        }
    }
}

#[test]
fn programs_on_tracepoints_can_be_preempted_from_7_0_on() {
    use crate::bpf::health::{Preemption, preemption};

    let plain = Builder::new().build();
    let mut newer = Builder::new();
    let int = newer.int();
    newer.ty("class_srcu_fast_notrace_t", kind::TYPEDEF, 0, 0, int, &[]);
    let newer = newer.build();
    let of = |bytes: &[u8], version| preemption(&Btf::parse(bytes).unwrap(), version);
    assert_eq!(of(&plain, Some((6, 19))), Preemption::Impossible);
    assert_eq!(of(&newer, Some((6, 19))), Preemption::Possible);
    assert_eq!(of(&plain, Some((7, 0))), Preemption::Possible);
    assert_eq!(of(&plain, None), Preemption::Possible);
}
