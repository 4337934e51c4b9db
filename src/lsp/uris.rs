//! Paths of files as URIs, and back.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use lsp_types::Uri;

const SCHEME: &str = "file://";

/// Returns the path of a file on this machine; none for another URI, such as that of a text that was never saved.
pub fn path(uri: &Uri) -> Option<PathBuf> {
    let rest = uri.as_str().strip_prefix(SCHEME)?;
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    if !rest.starts_with('/') {
        return None;
    }
    String::from_utf8(decoded(rest)?).ok().map(PathBuf::from)
}

/// Returns the URI of an absolute path.
pub fn uri(path: &Path) -> Option<Uri> {
    let path = path.to_str().filter(|path| path.starts_with('/'))?;
    let mut text = String::from(SCHEME);
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    Uri::from_str(&text).ok()
}

/// Returns the bytes that a text means in which some stand as a per cent sign and two digits.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(rest.next()?)? * 16 + digit(rest.next()?)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_back_from_their_uris() {
        for name in ["/a/b.rhai", "/with space/é🙂#?%.rhai", "/c:/x"] {
            assert_eq!(path(&uri(Path::new(name)).unwrap()).as_deref(), Some(Path::new(name)));
        }
        let of = |text: &str| path(&Uri::from_str(text).unwrap());
        assert_eq!(of("file://localhost/a%20b").as_deref(), Some(Path::new("/a b")));
        for none in ["untitled:Untitled-1", "file://elsewhere/a", "https://a/b", "file:///%ff"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(uri(Path::new("relative")), None);
    }
}
