//! The path of the program.

use std::path::PathBuf;

/// The binary of the same build. Cargo tells tests where it is; for an example it is in a neighbouring folder.
pub fn binary() -> PathBuf {
    match option_env!("CARGO_BIN_EXE_microtome") {
        Some(path) => path.into(),
        None => {
            let here = std::env::current_exe().unwrap();
            let beside = here.parent().and_then(|folder| folder.parent()).unwrap().join("microtome");
            assert!(beside.is_file(), "expected the program at {}; build it with `cargo build`", beside.display());
            beside
        }
    }
}
