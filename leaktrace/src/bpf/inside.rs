//! Programs in the kernel's functions of exit: they time its parts (fentry and fexit, Linux 5.5).
//!
//! No verdict rests on them, and what one of them does not tell is not told: not every kernel lets
//! programs in (it takes CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS; arm64 has that since 6.4).

use aya::{
    Btf, Ebpf,
    programs::{FEntry, FExit, Program, ProgramError, links::FdLink},
};

use super::attach::{chain, short};
use crate::launch::has_room_for;

/// Where in a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It is entered.
    Entry,
    /// It is left.
    Return,
}

/// A program and the function that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Name of the program in the object.
    pub program: &'static str,
    /// Name of the function.
    pub function: &'static str,
    /// Where in it.
    pub side: Side,
}

impl Inside {
    /// As `doctor` and bpftool name it.
    pub fn hook(&self) -> String {
        let side = match self.side {
            Side::Entry => "fentry",
            Side::Return => "fexit",
        };
        format!("{side}/{}", self.function)
    }
}

/// All of them. The one that tells comes last, so that what it tells has been noted.
pub const INSIDE: [Inside; 5] = [
    Inside {
        program: "enter_exit_mmap",
        function: "exit_mmap",
        side: Side::Entry,
    },
    Inside {
        program: "leave_exit_mmap",
        function: "exit_mmap",
        side: Side::Return,
    },
    Inside {
        program: "enter_exit_files",
        function: "exit_files",
        side: Side::Entry,
    },
    Inside {
        program: "leave_exit_files",
        function: "exit_files",
        side: Side::Return,
    },
    Inside {
        program: "enter_autogroup_exit",
        function: "sched_autogroup_exit_task",
        side: Side::Entry,
    },
];

/// Files that it takes: a link each, and a program while it is attached.
const FILES: u32 = INSIDE.len() as u32 + 1;

/// Files that are opened after them: outputs, an iterator at a time, what the census looks at.
const LATER: u32 = 16;

/// What came of them: all run, or none and why, a clause.
pub type Attached = Result<Vec<FdLink>, String>;

/// Loads and attaches all, or none.
pub(super) fn attach(ebpf: &mut Ebpf, types: &Btf) -> Attached {
    if !has_room_for(FILES + LATER) {
        return Err(format!(
            "there is no room for {FILES} files more (ulimit -n)"
        ));
    }
    INSIDE
        .iter()
        .map(|inside| {
            one(ebpf, types, *inside)
                .map_err(|why| format!("{}: {}", inside.hook(), short(&chain(&why))))
        })
        .collect()
}

fn one(ebpf: &mut Ebpf, types: &Btf, inside: Inside) -> Result<FdLink, ProgramError> {
    let program = ebpf
        .program_mut(inside.program)
        .ok_or(ProgramError::NotLoaded)?;
    attach_one(program, types, inside)
}

/// The link keeps the program, whose file is not needed any more.
fn attach_one(program: &mut Program, types: &Btf, inside: Inside) -> Result<FdLink, ProgramError> {
    match inside.side {
        Side::Entry => {
            let program: &mut FEntry = program.try_into()?;
            program.load(inside.function, types)?;
            let id = program.attach()?;
            let link = program.take_link(id)?;
            program.unload()?;
            Ok(link.into())
        }
        Side::Return => {
            let program: &mut FExit = program.try_into()?;
            program.load(inside.function, types)?;
            let id = program.attach()?;
            let link = program.take_link(id)?;
            program.unload()?;
            Ok(link.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_named_as_others_name_them() {
        let hooks: Vec<String> = INSIDE.iter().map(Inside::hook).collect();
        assert_eq!(hooks[0], "fentry/exit_mmap");
        assert_eq!(hooks[3], "fexit/exit_files");
    }

    #[test]
    fn what_tells_comes_last() {
        let last = INSIDE.last().map(|inside| inside.program);
        assert_eq!(last, Some("enter_autogroup_exit"));
    }
}
