//! The binary: everything happens in the library.

fn main() -> std::process::ExitCode {
    microtome::cli::main()
}
