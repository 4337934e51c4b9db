//! Resumable downloads of large files.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode, Url};
use sha2::{Digest, Sha256};

use super::disk_space::DiskSpace;
use super::{Cause, Download, GLANCE, Server, accepted, failed, hex, innermost, patiently};
use crate::base::files::{self, plain};
use crate::base::task::Bar;
use crate::common::*;

impl Server {
    /// Downloads the file, unless it exists by the time we hold the lock.
    pub async fn download(&self, task: &Task, wanted: &Download<'_>) -> Result<()> {
        let url = self.url(wanted.address)?;
        let _turn = turn(task, wanted.lock).await?;
        if wanted.place.is_file() {
            return Ok(());
        }
        let mut growing = PartialFile::open(task, wanted)?;
        growing.room.check(wanted.size.map_or(0, |size| size - growing.length.min(size)), wanted.name)?;
        let bar = task.begin(&format!("downloading {}", wanted.name), wanted.size);
        if wanted.size.is_none_or(|size| growing.length < size) {
            let mut response = self.rest(task, &url, &mut growing).await?;
            bar.had(growing.length);
            while let Some(chunk) = chunk(task, wanted, &mut response, &growing).await? {
                growing.add(chunk.as_ref(), wanted.name)?;
                bar.advance(chunk.as_ref().len() as u64);
            }
        }
        growing.finish(task, wanted, bar.as_ref())
    }

    /// Downloads the first bytes of a file. A server without support for ranges sends all of it, of which no more is
    /// read.
    pub async fn beginning(&self, task: &Task, address: &str, count: u64) -> Result<Vec<u8>> {
        let url = self.url(address)?;
        let range = format!("bytes=0-{}", count.saturating_sub(1));
        let request = self.signed(self.following.get(url.clone())).header(RANGE, range);
        let response = patiently(task, request.send()).await?.map_err(|e| failed(&url, e))?;
        let mut response = accepted(&url, response)?;
        let mut content = Vec::new();
        while (content.len() as u64) < count
            && let Some(chunk) = patiently(task, response.chunk()).await?.map_err(|e| failed(&url, e))?
        {
            content.extend_from_slice(&chunk);
        }
        content.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        Ok(content)
    }

    /// Requests the missing range; a server without support for ranges sends the whole file.
    async fn rest(&self, task: &Task, url: &Url, growing: &mut PartialFile) -> Result<Response> {
        if growing.length > 0 {
            let range = format!("bytes={}-", growing.length);
            let request = self.signed(self.following.get(url.clone())).header(RANGE, range);
            let response = patiently(task, request.send()).await?.map_err(|e| failed(url, e))?;
            match response.status() {
                StatusCode::PARTIAL_CONTENT if begins_at(&response, growing.length) => return Ok(response),
                StatusCode::PARTIAL_CONTENT | StatusCode::OK | StatusCode::RANGE_NOT_SATISFIABLE => growing.clear()?,
                _ => return accepted(url, response),
            }
        }
        let request = self.signed(self.following.get(url.clone()));
        let response = patiently(task, request.send()).await?.map_err(|e| failed(url, e))?;
        accepted(url, response)
    }
}

/// Waits until no other process downloads the same file.
async fn turn(task: &Task, lock: &Path) -> Result<File> {
    make_folder_of(lock)?;
    let file = plain::make(lock).map_err(|e| in_the_way(lock, &e))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => patiently(task, tokio::time::sleep(GLANCE)).await?,
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", lock, &e)),
        }
    }
}

/// Receives the next bytes; none at the end. What was received is kept if the connection breaks.
async fn chunk(
    task: &Task,
    wanted: &Download<'_>,
    response: &mut Response,
    growing: &PartialFile,
) -> Result<Option<impl AsRef<[u8]> + use<>>> {
    match patiently(task, response.chunk()).await? {
        Ok(Some(chunk)) => {
            let received = growing.length + chunk.len() as u64;
            match wanted.size {
                Some(size) if received > size => Err(growing
                    .refuse(format!("{} is not the expected file: expected {size} bytes, found more", wanted.name))),
                _ => Ok(Some(chunk)),
            }
        }
        Ok(None) if wanted.size.is_some_and(|size| growing.length < size) => {
            Err(cut(wanted, growing.length, "the server sent no more"))
        }
        Ok(None) => Ok(None),
        Err(error) => match innermost(&error) {
            Cause::Refusal(ours) => Err(ours),
            Cause::Words(why) => Err(cut(wanted, growing.length, &why)),
        },
    }
}

/// Builds the error of a connection that ended too early, with the reason.
fn cut(wanted: &Download, received: u64, why: &str) -> Error {
    let all = wanted.size.map(|size| format!(" of {size}")).unwrap_or_default();
    let hint = match wanted.sha256 {
        Some(_) => "the partial download is kept; run it again to resume",
        None => "run it again",
    };
    err!(Network, "the download of {} stopped after {received}{all} bytes: {why}", wanted.name).hint(hint)
}

/// Returns whether a partial answer begins at the requested offset.
fn begins_at(response: &Response, start: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.and_then(|range| range.strip_prefix("bytes ")).is_some_and(|range| range.starts_with(&format!("{start}-")))
}

/// The part of a file received so far, and its hash.
struct PartialFile {
    file: File,
    place: PathBuf,
    length: u64,
    hash: Sha256,
    room: DiskSpace,
}

impl PartialFile {
    /// Resumes the part of an earlier attempt, or begins again.
    fn open(task: &Task, wanted: &Download) -> Result<Self> {
        let mut name = OsString::from(wanted.place.as_os_str());
        name.push(".incomplete");
        let place = PathBuf::from(name);
        make_folder_of(&place)?;
        let mut file = plain::make(&place).map_err(|e| in_the_way(&place, &e))?;
        // A file with another hard link belongs to someone else, and must not be changed.
        if has_other_names(&file) {
            return Err(in_the_way(
                &place,
                &io::Error::new(io::ErrorKind::InvalidInput, "it has another name as well"),
            ));
        }
        let (length, hash) = match wanted.sha256 {
            Some(_) => hashed(task, &mut file, &place)?,
            None => (0, Sha256::new()),
        };
        let room = DiskSpace::of(&place);
        let mut growing = Self { file, place, length, hash, room };
        if growing.length == 0 || wanted.size.is_some_and(|size| growing.length > size) {
            growing.clear()?;
        }
        Ok(growing)
    }

    fn clear(&mut self) -> Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|e| Error::io("write", &self.place, &e))?;
        self.length = 0;
        self.hash = Sha256::new();
        Ok(())
    }

    fn add(&mut self, bytes: &[u8], name: &str) -> Result<()> {
        // A server need not say how much it sends, and another program may fill the disk meanwhile.
        self.room.check(bytes.len() as u64, name)?;
        self.file.write_all(bytes).map_err(|e| {
            Error::io("write", &self.place, &e)
                .hint("the partial download is kept; free some space there and run it again")
        })?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Moves the file to its final path, if its hash is right.
    fn finish(self, task: &Task, wanted: &Download, bar: &dyn Bar) -> Result<()> {
        if let Some(sha256) = wanted.sha256 {
            let found = hex(&self.hash.clone().finalize());
            if found != sha256.to_lowercase() {
                let name = wanted.name;
                let words = format!("{name} is not the expected file: expected SHA-256 {sha256}, found {found}");
                return Err(self.refuse(words));
            }
        }
        // Writing a gigabyte to disk takes some seconds.
        bar.note("writing");
        let file = self.file;
        let place = self.place.clone();
        task.apart(move || file.sync_all().map_err(|e| Error::io("write", &place, &e)))?;
        fs::rename(&self.place, wanted.place).map_err(|e| Error::io("write", wanted.place, &e))
    }

    /// Discards the part, so that the next attempt begins again.
    fn refuse(&self, words: String) -> Error {
        match fs::remove_file(&self.place) {
            Ok(()) => err!(Network, "{words}").hint("it was removed; run it again to download it again"),
            Err(e) => err!(Network, "{words}").hint(format!("remove {} by hand ({e})", self.place.display())),
        }
    }
}

/// Builds the error of something else that exists under the predictable name of our file.
fn in_the_way(place: &Path, error: &io::Error) -> Error {
    let trouble = Error::io("write", place, error);
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory => {
            Error { message: format!("{}; remove it, and run it again", trouble.message), ..trouble }
        }
        _ => trouble,
    }
}

#[cfg(unix)]
fn has_other_names(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|meta| meta.nlink() > 1)
}

#[cfg(not(unix))]
fn has_other_names(_file: &File) -> bool {
    false
}

/// Computes the length and the hash of a file, whose cursor is left at its end.
fn hashed(task: &Task, file: &mut File, place: &Path) -> Result<(u64, Sha256)> {
    let mut length = 0;
    let mut hash = Sha256::new();
    files::pieces(file, task, place, |piece| {
        hash.update(piece);
        length += piece.len() as u64;
        Ok(())
    })?;
    Ok((length, hash))
}

fn make_folder_of(place: &Path) -> Result<()> {
    let folder = place.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(|e| Error::io("write into", folder, &e))
}

#[cfg(test)]
mod tests {
    use super::super::disk_space::tests::nearly_full;
    use super::*;

    #[test]
    fn what_is_received_does_not_fill_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("x");
        let lock = folder.path().join("x.lock");
        let wanted =
            Download { address: "http://127.0.0.1/x", name: "x", place: &place, lock: &lock, size: None, sha256: None };
        let mut growing = PartialFile::open(&Task::default(), &wanted).unwrap();
        growing.room = nearly_full(&place);
        growing.add(&[7; 1000], "x").unwrap();
        assert!(growing.add(&[7; 1001], "x").unwrap_err().message.starts_with("the disk would be full"));
        assert_eq!(growing.length, 1000);
    }
}
