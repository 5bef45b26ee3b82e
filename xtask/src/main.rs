//! The project's one door.
fn main() {}
