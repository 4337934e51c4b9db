//! The binary: everything happens in the library.

#[global_allocator]
static ALLOCATOR: microtome::base::memory::Watched = microtome::base::memory::Watched;

fn main() -> std::process::ExitCode {
    microtome::cli::main()
}
