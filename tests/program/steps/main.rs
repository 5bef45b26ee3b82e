//! Does what its arguments say, one step each, in order, and exits 0.
//!
//! `steps 'open a /etc/hosts' 'pipe r w' 'close a' 'exit 3'`: file descriptors, mappings and ids
//! go by the names that a step gives them. Nothing is given back that no step gives back, and
//! Rust's own start-up acquires nothing, so a scenario's arguments are all there is to judge.

mod aio;
mod fd;
mod ipc;
mod life;
mod mapping;
mod name;
mod ring;
mod socket;

use std::collections::HashMap;
use std::ffi::CString;

use anyhow::{Context, Result, bail};

/// What the steps so far have made.
#[derive(Default)]
struct Made {
    fds: HashMap<String, i32>,
    mappings: HashMap<String, (usize, usize)>,
    ids: HashMap<String, i32>,
    children: HashMap<String, i32>,
    rings: HashMap<String, ring::Ring>,
    timers: HashMap<String, usize>,
    contexts: HashMap<String, usize>,
}

impl Made {
    fn fd(&self, name: &str) -> Result<i32> {
        self.fds
            .get(name)
            .copied()
            .with_context(|| format!("no fd `{name}`"))
    }

    fn keep(&mut self, name: &str, fd: i32) -> Result<()> {
        self.fds.insert(name.to_owned(), done(fd)?);
        Ok(())
    }
}

fn main() -> Result<()> {
    let mut made = Made::default();
    for step in std::env::args().skip(1) {
        perform(&step, &mut made).with_context(|| format!("step `{step}`"))?;
    }
    // Rust leaves by exit(3); nothing is dropped that a step made, for nothing here has a Drop.
    Ok(())
}

fn perform(step: &str, made: &mut Made) -> Result<()> {
    let words: Vec<&str> = step.split_whitespace().collect();
    let Some((verb, args)) = words.split_first() else {
        return Ok(());
    };
    let known = fd::step(verb, args, made)?
        || socket::step(verb, args, made)?
        || mapping::step(verb, args, made)?
        || ipc::step(verb, args, made)?
        || ring::step(verb, args, made)?
        || aio::step(verb, args, made)?
        || name::step(verb, args)?
        || life::step(verb, args, made)?;
    if !known {
        bail!("unknown verb `{verb}` with {} arguments", args.len());
    }
    Ok(())
}

/// The result of a libc call, or its errno.
fn done(result: i32) -> Result<i32> {
    if result < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(result)
}

fn c(text: &str) -> Result<CString> {
    Ok(CString::new(text)?)
}
