//! The programs: how they are loaded and read. The only place that knows aya.

pub mod btf;
