//! Packing a library: the .tar.gz of its folder, the same bytes whenever and wherever it is made.

use flate2::Compression;
use flate2::write::GzEncoder;

use super::archive::{self, MOST_BYTES, MOST_CONTENT};
use crate::base::memory::human;
use crate::script::prelude::*;

/// The folder of results, which is no part of a library.
const OUT: &str = "out";

/// The hint where a library is too large.
const SMALLER: &str = "results and data do not belong in a library; what is in out/ is left out";

/// Packs the files of a folder below `top`, and checks that the archive can be added. What is hidden is left out, and
/// so are results.
pub fn packed(files: &Files, folder: &Path, top: &str, task: &Task) -> Result<Vec<u8>> {
    let mut paths = Vec::new();
    collect(files, folder, "", &mut paths)?;
    paths.sort();
    let failed = |e: std::io::Error| err!(File, "cannot pack {}: {e}", folder.display());
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    let mut left = MOST_CONTENT;
    for path in &paths {
        task.check()?;
        let place = folder.join(path);
        let size = place.metadata().map_err(failed)?.len();
        left = left.checked_sub(size).ok_or_else(|| {
            err!(File, "expected at most {} in {}, found more", human(MOST_CONTENT.into()), folder.display())
                .hint(SMALLER)
        })?;
        let content = files.of_program(&place)?;
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(content.len() as u64);
        // Nothing of the machine is told: no owner, no time, no rights.
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, format!("{top}/{path}"), content.as_slice()).map_err(failed)?;
    }
    let bytes = builder.into_inner().and_then(GzEncoder::finish).map_err(failed)?;
    if bytes.len() as u64 > MOST_BYTES {
        let most = human(MOST_BYTES.into());
        let error = err!(File, "expected an archive of at most {most}, found more in {}", folder.display());
        return Err(error.hint(SMALLER));
    }
    archive::unpacked(&bytes, task).map_err(|e| e.within(folder.display()))?;
    Ok(bytes)
}

/// Collects the paths of all files below a folder, counted from `folder`; `below` is empty, or ends with a slash.
fn collect(files: &Files, folder: &Path, below: &str, found: &mut Vec<String>) -> Result<()> {
    for name in files.names(&folder.join(below)) {
        if name.starts_with('.') || below.is_empty() && name.trim_end_matches('/') == OUT {
            continue;
        }
        let path = format!("{below}{}", name.trim_end_matches('/'));
        if folder.join(&path).is_symlink() {
            return Err(err!(File, "expected files and folders in {}, found {path}, a link", folder.display())
                .hint("put what it leads to in its place: an archive has no links"));
        }
        if name.ends_with('/') {
            collect(files, folder, &format!("{path}/"), found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;

    fn folder(written: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in written {
            kit::write(folder.path().join(name), text);
        }
        folder
    }

    fn packed_of(folder: &Path) -> Result<Vec<u8>> {
        let files = Files::unrecorded(folder).unwrap();
        packed(&files, folder, "heads-1.0.0", &Task::default())
    }

    const FILES: &[(&str, &str)] =
        &[("microtome.toml", "name = \"heads\""), ("lib.rhai", "fn f() { 1 }"), ("deep/more.rhai", "fn g() { 2 }")];

    #[test]
    fn an_archive_has_the_same_bytes_whenever_it_is_made() {
        let first = folder(FILES);
        // Made in another order, at another time, with other rights, and beside what does not belong to it.
        let reversed: Vec<(&str, &str)> = FILES.iter().rev().copied().collect();
        let second = folder(&[&reversed[..], &[(".hidden", "x"), (".git/x", "x"), ("out/run/x.json", "x")]].concat());
        let file = std::fs::File::options().append(true).open(second.path().join("lib.rhai")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let mut rights = file.metadata().unwrap().permissions();
        rights.set_readonly(true);
        file.set_permissions(rights).unwrap();
        let bytes = packed_of(first.path()).unwrap();
        assert_eq!(bytes, packed_of(second.path()).unwrap());
        assert_eq!(bytes, packed_of(first.path()).unwrap());
        let mut archive = tar::Archive::new(GzDecoder::new(bytes.as_slice()));
        let paths: Vec<String> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        let expected = ["heads-1.0.0/deep/more.rhai", "heads-1.0.0/lib.rhai", "heads-1.0.0/microtome.toml"];
        assert_eq!(paths, expected);
    }

    #[test]
    fn what_could_not_be_added_is_not_packed() {
        let alone = folder(&FILES[1..]);
        assert!(packed_of(alone.path()).unwrap_err().message.contains("expected a microtome.toml in the archive"));
        let large = folder(FILES);
        std::fs::File::create(large.path().join("data.bin")).unwrap().set_len(MOST_CONTENT + 1).unwrap();
        let error = packed_of(large.path()).unwrap_err();
        assert!(error.message.starts_with("expected at most 64.0 MiB in "), "{error}");
        let binary = folder(FILES);
        std::fs::write(binary.path().join("lib.rhai"), [0xff]).unwrap();
        assert!(packed_of(binary.path()).unwrap_err().message.contains("lib.rhai: expected UTF-8 text"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_not_packed() {
        let linked = folder(FILES);
        std::os::unix::fs::symlink("/etc", linked.path().join("deep/etc")).unwrap();
        let error = packed_of(linked.path()).unwrap_err();
        assert!(error.message.contains("found deep/etc, a link"), "{error}");
    }
}
