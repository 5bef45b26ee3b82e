//! Real programs on the real kernel: what must be found, and what must not.
//!
//! One module a scenario; each rule has a program that breaks it and a twin that does the same
//! and cleans up. They need root and fail without it.
