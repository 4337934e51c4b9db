//! The binary: everything happens in the library.

use microtome::base::large_pages::LargePages;

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

fn main() -> std::process::ExitCode {
    microtome::base::memory::keep_freed();
    microtome::cli::main()
}
