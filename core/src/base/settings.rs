//! Settings of the command line for a whole run.

use std::path::PathBuf;

/// Maximum number of worker threads. More than any machine can make use of would take minutes to start, and all of
/// memory for their stacks.
pub const MOST_THREADS: u16 = 1024;

/// The options that stand before the subcommand, in plain form.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The seed that drives all randomness.
    pub seed: u64,
    /// The folder that relative output paths are below.
    pub out: PathBuf,
    /// Worker threads of the matrix kernels.
    pub threads: usize,
    /// The device: `cpu`, `cuda`, `cuda:1` or `metal`.
    pub device: String,
    /// Whether progress bars and remarks are left out.
    pub quiet: bool,
    /// The folder of cached dictionaries; None for no cache.
    pub cache: Option<PathBuf>,
    /// Whether dictionaries are fitted again, and the cached ones replaced.
    pub fresh: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            out: PathBuf::from("out"),
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
            device: "cpu".into(),
            quiet: false,
            cache: None,
            fresh: false,
        }
    }
}
