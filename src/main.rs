//! The binary: everything happens in the library.

mod pages;

fn main() -> std::process::ExitCode {
    microtome::base::memory::keep_freed();
    microtome::script::docs::guide::register(pages::PAGES);
    microtome::cli::main()
}
