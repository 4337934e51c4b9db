//! Archives of libraries, .tar.gz as forges make them: fetched with a limit, kept in the cache under the hash of their
//! bytes, and unpacked in memory only, so that nothing in them is ever a file or a link of the machine.

use std::io::Read;
use std::path::Component;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::MANIFEST;
use crate::base::access::Access;
use crate::base::cache::VARIABLE;
use crate::base::files::{hex, utf8};
use crate::base::memory::human;
use crate::net::{self, Server};
use crate::script::prelude::*;

/// Limits on an archive: its bytes, those of its content, and its files.
pub(super) const MOST_BYTES: u64 = 16 << 20;
pub(super) const MOST_CONTENT: u64 = 64 << 20;
const MOST_FILES: usize = 2_000;

/// Fetches an archive; redirections are followed where the access rules allow it.
pub fn fetch(access: &Access, task: &Task, address: &str) -> Result<Vec<u8>> {
    let bar = task.begin(&format!("fetching {address}"), None);
    let server = Server::new(access, None)?;
    let answer = net::wait_for(server.ask(task, address, address, MOST_BYTES))?;
    drop(bar);
    match answer.status {
        200 => Ok(answer.content),
        404 => {
            Err(err!(Network, "there is nothing at {address}").hint("check the address, and the tag or commit in it"))
        }
        status => Err(err!(Network, "{address} answered {status}").hint("check the address, or try again later")),
    }
}

/// Computes the hash that archives are known by.
pub fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns the path of the archive with this hash.
pub fn place(cache: Option<&Path>, hash: &str) -> Result<PathBuf> {
    let cache = cache.ok_or_else(|| {
        err!(File, "there is no cache folder for libraries").hint(format!("set {VARIABLE} to a folder"))
    })?;
    Ok(cache.join("libraries").join(format!("{hash}.tar.gz")))
}

/// Returns the archive with this hash, if the cache has it. An archive whose bytes have changed there is refused.
pub fn cached(files: &Files, cache: Option<&Path>, wanted: &str) -> Result<Option<Vec<u8>>> {
    let place = place(cache, wanted)?;
    if !files.has(&place)? {
        return Ok(None);
    }
    let bytes = files.of_program(&place)?;
    let found = hash(&bytes);
    if found != wanted {
        return Err(err!(File, "{} has changed: expected SHA-256 {wanted}, found {found}", place.display())
            .hint("remove that file and run `microtome add`, which fetches it anew"));
    }
    Ok(Some(bytes))
}

/// Keeps an archive under its hash. The access rules of `files` must allow to write in the cache.
pub fn keep(files: &Files, cache: Option<&Path>, bytes: &[u8]) -> Result<()> {
    let place = place(cache, &hash(bytes))?;
    // Another project may keep an archive of its own there at the moment.
    files.lock_in_turn(&place)?;
    files.save_whole(&place, bytes)?;
    files.release();
    Ok(())
}

/// Unpacks the texts of an archive, by path from the folder of its `microtome.toml`: that file and all modules.
///
/// A link, a path that leads out, or more than the limits refuses the whole of it, wherever in it that stands.
pub fn unpacked(bytes: &[u8], task: &Task) -> Result<BTreeMap<String, String>> {
    let broken =
        |e: std::io::Error| err!(Format, "this is no .tar.gz: {e}").hint("forges offer one for every tag and commit");
    // Padding and headers count, too: an archive may consist of nothing else.
    let mut archive = tar::Archive::new(GzDecoder::new(bytes).take(MOST_CONTENT + 1));
    let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut count = 0;
    let mut total = 0_u64;
    for entry in archive.entries().map_err(broken)? {
        task.check()?;
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let shown = path.display();
        count += 1;
        total = total.saturating_add(entry.size());
        if count > MOST_FILES {
            bail!(Format, "expected an archive of at most {MOST_FILES} files, found more");
        }
        if total > MOST_CONTENT {
            bail!(Format, "expected an archive with at most {} of content, found more", human(MOST_CONTENT.into()));
        }
        match entry.header().entry_type() {
            // Comments of the archive itself, such as git's name of the commit.
            tar::EntryType::XGlobalHeader => continue,
            tar::EntryType::Directory | tar::EntryType::Regular => {}
            _ => bail!(Format, "expected files and folders in the archive, found {shown}, a link or a device"),
        }
        if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            bail!(Format, "expected paths within the archive, found {shown}");
        }
        let is_text = path.extension().is_some_and(|e| e == "rhai") || path.ends_with(MANIFEST);
        if entry.header().entry_type() == tar::EntryType::Regular && is_text {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(broken)?;
            let place = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
            let text = utf8(content).map_err(|e| e.within(path.display()))?;
            if texts.insert(place, text).is_some() {
                bail!(Format, "expected each file of the archive once, found {shown} again");
            }
        }
    }
    below_manifest(texts)
}

/// Forges put everything into one folder: paths are counted from that of the only outermost manifest.
fn below_manifest(texts: BTreeMap<PathBuf, String>) -> Result<BTreeMap<String, String>> {
    let depth = |path: &Path| path.components().count();
    let manifests = texts.keys().filter(|path| path.ends_with(MANIFEST));
    let root = manifests.min_by_key(|path| depth(path)).and_then(|path| path.parent()).map(Path::to_path_buf);
    let root = root.filter(|root| depth(root) < 2).ok_or_else(|| {
        err!(Format, "expected a {MANIFEST} in the archive, at its top or in its only folder, found none")
            .hint("a library has its manifest at the top of its repository")
    })?;
    let below = texts.into_iter().filter_map(|(path, text)| {
        Some((path.strip_prefix(&root).ok()?.to_str()?.replace(std::path::MAIN_SEPARATOR, "/"), text))
    });
    Ok(below.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn packed(build: impl FnOnce(&mut tar::Builder<&mut GzEncoder<Vec<u8>>>)) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let mut builder = tar::Builder::new(&mut encoder);
        build(&mut builder);
        builder.finish().unwrap();
        drop(builder);
        encoder.finish().unwrap()
    }

    fn header(kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header
    }

    fn file(builder: &mut tar::Builder<&mut GzEncoder<Vec<u8>>>, path: &str, text: &str) {
        // Written by hand, since the crate refuses to write paths that lead out.
        let mut header = header(tar::EntryType::Regular, text.len() as u64);
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, text.as_bytes()).unwrap();
    }

    fn refusal(bytes: &[u8]) -> String {
        unpacked(bytes, &Task::default()).unwrap_err().message
    }

    #[test]
    fn the_folder_of_a_forge_is_left_off() {
        let bytes = packed(|builder| {
            file(builder, "heads-1.0/microtome.toml", "name");
            file(builder, "heads-1.0/lib.rhai", "fn f() {}");
            file(builder, "heads-1.0/deep/more.rhai", "");
            file(builder, "heads-1.0/picture.png", "not text \u{0}");
            file(builder, "heads-1.0/example/microtome.toml", "another");
        });
        let texts = unpacked(&bytes, &Task::default()).unwrap();
        let names: Vec<&str> = texts.keys().map(String::as_str).collect();
        assert_eq!(names, ["deep/more.rhai", "example/microtome.toml", "lib.rhai", "microtome.toml"]);
    }

    #[test]
    fn what_leads_out_or_is_too_much_is_refused() {
        let manifest = |builder: &mut tar::Builder<&mut GzEncoder<Vec<u8>>>| file(builder, "microtome.toml", "");
        for path in ["../x.rhai", "/etc/x.rhai", "a/../../x"] {
            let bytes = packed(|builder| {
                manifest(builder);
                file(builder, path, "");
            });
            assert!(refusal(&bytes).contains("expected paths within the archive"), "{path}");
        }
        for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo] {
            let bytes = packed(|builder| {
                manifest(builder);
                let mut header = header(kind, 0);
                header.set_link_name("/etc/passwd").unwrap();
                builder.append_data(&mut header, "a.rhai", std::io::empty()).unwrap();
            });
            assert!(refusal(&bytes).contains("a link or a device"), "{kind:?}");
        }
        let many = packed(|builder| (0..=MOST_FILES).for_each(|i| file(builder, &format!("{i}.rhai"), "")));
        assert!(refusal(&many).contains("2000 files"));
        // Zeros that compress to a thousandth.
        let large = packed(|builder| {
            let mut header = header(tar::EntryType::Regular, MOST_CONTENT + 1);
            builder.append_data(&mut header, "zeros", std::io::repeat(0).take(MOST_CONTENT + 1)).unwrap();
        });
        assert!(large.len() < 1 << 20);
        assert!(refusal(&large).contains("64.0 MiB of content"), "{}", refusal(&large));
        assert!(refusal(b"no archive").contains("no .tar.gz"));
        assert!(refusal(&packed(|builder| file(builder, "lib.rhai", ""))).contains("expected a microtome.toml"));
    }

    #[test]
    fn a_file_that_comes_twice_is_refused() {
        for again in ["lib.rhai", "./lib.rhai", ".//lib.rhai"] {
            let bytes = packed(|builder| {
                file(builder, "microtome.toml", "");
                file(builder, "lib.rhai", "fn shown() {}");
                file(builder, again, "fn run() {}");
            });
            assert_eq!(refusal(&bytes), format!("expected each file of the archive once, found {again} again"));
        }
    }

    #[test]
    fn an_archive_that_is_cut_or_damaged_is_an_error() {
        let bytes = packed(|builder| file(builder, "microtome.toml", &"x".repeat(5_000)));
        for cut in 0..bytes.len() {
            let _error_or_not = unpacked(&bytes[..cut], &Task::default());
            let mut damaged = bytes.clone();
            damaged[cut] ^= 0x55;
            let _error_or_not = unpacked(&damaged, &Task::default());
        }
        assert!(unpacked(&bytes[..bytes.len() / 2], &Task::default()).is_err());
    }

    #[test]
    fn a_cache_that_was_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::new(folder.path(), &Default::default()).unwrap();
        let files = Files::new(access, false);
        let cache = Some(folder.path());
        keep(&files, cache, b"bytes").unwrap();
        let wanted = hash(b"bytes");
        assert_eq!(cached(&files, cache, &wanted).unwrap().unwrap(), b"bytes");
        assert_eq!(cached(&files, cache, &hash(b"others")).unwrap(), None);
        std::fs::File::create(place(cache, &wanted).unwrap()).unwrap().write_all(b"evil").unwrap();
        let error = cached(&files, cache, &wanted).unwrap_err();
        assert!(error.message.contains(&format!("expected SHA-256 {wanted}, found {}", hash(b"evil"))));
    }
}
