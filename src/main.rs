//! The binary: everything happens in the library.

fn main() -> std::process::ExitCode {
    microtome::base::memory::keep_freed();
    microtome::cli::main()
}
