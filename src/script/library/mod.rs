//! Libraries that people share: a folder with a `microtome.toml` and modules. The files' contents, the libraries that a
//! project needs, where they are fetched from and kept, and the permissions that they were granted.

pub mod add;
pub mod archive;
pub mod choosing;
pub mod fetching;
pub mod graph;
pub mod index;
pub mod lock;
pub mod manifest;
pub mod named;
pub mod packing;
pub mod project;
pub mod publishing;
pub mod skeleton;

/// The file that makes a folder a project, and a library of one with a name.
pub const MANIFEST: &str = "microtome.toml";

/// The lock file, which says what each library was granted.
pub const LOCK: &str = "microtome.lock";

/// The module that `import "name"` means.
pub const MAIN: &str = "lib";
