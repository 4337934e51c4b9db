//! The binary: everything happens in the library.

mod pages;

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: microtome::base::memory::KeepingAllocator = microtome::base::memory::KeepingAllocator;

fn main() -> std::process::ExitCode {
    microtome::base::memory::keep_freed();
    microtome::script::docs::guide::register(pages::PAGES);
    microtome::cli::main()
}
