//! leaktrace's eBPF programs.
fn main() {}
