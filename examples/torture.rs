//! Looks for hours for what brings the program down, and writes what it tried into a table.
//!
//! `cargo run --release --example torture -- --minutes 60`, behind `cargo build --release`: so many minutes for each part.
//! A run that was stopped goes on where its table ends.

use std::process::ExitCode;

// The writer of GGUF files, which is a part of the crate's own tests too, finds these at the root of the crate there.
#[cfg(target_os = "linux")]
use microtome::tensor;

#[cfg(target_os = "linux")]
#[path = "../tests/torture/mod.rs"]
mod torture;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    return torture::long::main();
    #[cfg(not(target_os = "linux"))]
    {
        eprintln!("limits of memory and the memory that was taken are asked for as Linux has them");
        ExitCode::from(2)
    }
}
