//! leaktrace: what processes take from the Linux kernel, what they give back, in which order,
//! how long that takes, and what is still there when they are gone.

pub mod audit;
pub mod bpf;
pub mod census;
pub mod cli;
pub mod decode;
pub mod demo;
pub mod doctor;
pub mod hist;
pub mod id;
pub mod launch;
pub mod model;
pub mod parity;
pub mod policy;
pub mod report;
pub mod session;
pub mod sink;
pub mod source;
pub mod tui;
