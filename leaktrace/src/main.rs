//! leaktrace's command line.
fn main() {}
