//! Places that paths lead to: absolute, with every link and `..` resolved.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::bail;
use crate::base::{Error, Result, disk};

/// The system's maximum length of a path.
const LONGEST: usize = if cfg!(windows) { 32_767 } else { 4_096 };

/// Returns the absolute path with every link and `..` resolved, also where the end of it does not exist yet.
pub fn resolve(path: &Path) -> Result<PathBuf> {
    resolve_where(path, |_| true)
}

/// Resolves a path like [`resolve`], but looks only at paths that `may_be_seen`: after one that may not, a path is
/// taken as it is written. The result reveals nothing of what is there.
pub(super) fn resolve_where(path: &Path, may_be_seen: impl Fn(&Path) -> bool) -> Result<PathBuf> {
    let length = path.as_os_str().len();
    if length == 0 {
        bail!(File, "expected a path, found an empty string");
    }
    if length > LONGEST {
        bail!(File, "expected a path of at most {LONGEST} bytes, found one of {length}");
    }
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        bail!(File, "expected a path, found one with a zero byte in it");
    }
    let start = disk::absolute(path).map_err(|e| Error::io("resolve", path, &e))?;
    // Links on the way are replaced by their targets, so a cycle of links ends at the limit.
    let mut links_left = 40;
    let mut pending: Vec<OsString> = Vec::new();
    let mut resolved = PathBuf::new();
    push_components(&mut pending, &start);
    while let Some(part) = pending.pop() {
        match Path::new(&part).components().next() {
            Some(Component::ParentDir) => {
                resolved.pop();
            }
            Some(Component::Normal(name)) => {
                let next = resolved.join(name);
                let link = if may_be_seen(&next) { disk::read_link(&next).ok() } else { None };
                match link {
                    Some(_) if links_left == 0 => {
                        bail!(File, "{} is a loop of symbolic links", path.display())
                    }
                    Some(target) => {
                        links_left -= 1;
                        if target.is_absolute() {
                            resolved = PathBuf::new();
                        }
                        push_components(&mut pending, &target);
                    }
                    None => resolved = next,
                }
            }
            Some(Component::CurDir) | None => {}
            Some(root) => resolved.push(root.as_os_str()),
        }
    }
    Ok(resolved)
}

fn push_components(pending: &mut Vec<OsString>, path: &Path) {
    pending.extend(path.components().rev().map(|part| part.as_os_str().to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a path longer than the system takes is refused at once. Five million parts took hours, since each
    /// was appended to a copy of all before it.
    #[test]
    fn a_path_that_the_system_would_not_take_is_refused_before_it_is_looked_at() {
        for path in ["a/".repeat(5_000_000), "../".repeat(2_000_000), "a".repeat(LONGEST + 1)] {
            let error = resolve(Path::new(&path)).unwrap_err();
            assert!(error.message.starts_with("expected a path of at most"), "{}", error.message);
        }
        assert!(resolve(Path::new(&"a/".repeat(LONGEST / 2))).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn what_may_not_be_seen_is_taken_as_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let base = resolve(folder.path()).unwrap();
        std::fs::create_dir(base.join("secret")).unwrap();
        std::os::unix::fs::symlink("/elsewhere", base.join("secret/link")).unwrap();
        std::os::unix::fs::symlink("secret", base.join("door")).unwrap();
        let secret = base.join("secret");
        let seen = |path: &str| resolve_where(&base.join(path), |place| !place.starts_with(&secret)).unwrap();
        assert_eq!(seen("door/link/x"), base.join("secret/link/x"));
        assert_eq!(resolve(&base.join("door/link/x")).unwrap(), Path::new("/elsewhere/x"));
        assert_eq!(seen("door/../y"), base.join("y"));
    }
}
