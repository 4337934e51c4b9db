//! The description of a download, which a build without a network has, too.

use std::path::Path;

/// A file to download into a cache of the user, not to a path of a script.
pub struct Download<'a> {
    pub address: &'a str,
    /// Name of the file in messages and the progress bar.
    pub name: &'a str,
    /// Final path of the file. An incomplete download has `.incomplete` after its name.
    pub place: &'a Path,
    /// Lock file of the download, held so that of several processes one downloads and the others wait.
    pub lock: &'a Path,
    pub size: Option<u64>,
    /// Hash of the file; without a known one nothing is resumed.
    pub sha256: Option<&'a str>,
}
