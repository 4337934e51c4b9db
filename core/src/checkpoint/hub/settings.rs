//! The hub's settings from environment variables, read in one place.

use std::fmt;
use std::path::PathBuf;

use crate::base::access::HUB;
use crate::base::{disk, files};

/// Maximum length of a token file; tokens have some forty letters.
const LONGEST_TOKEN: u64 = 4096;

#[derive(Clone)]
pub struct HubSettings {
    /// The hub's address: `HF_ENDPOINT`.
    pub endpoint: String,
    /// The folder of the cache: `HF_HUB_CACHE`, or else `hub` below `HF_HOME`.
    pub cache: PathBuf,
    /// The user's token: `HF_TOKEN`, or the content of the file at `HF_TOKEN_PATH` or below `HF_HOME`.
    pub token: Option<String>,
    /// Whether no requests are sent: `HF_HUB_OFFLINE`.
    pub offline: bool,
}

impl HubSettings {
    pub fn from_env() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Returns the files of tokens from logging in, which no script may read.
    pub fn tokens() -> [PathBuf; 2] {
        token_places(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let said = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = home(said);
        let cache = said("HF_HUB_CACHE").or_else(|| said("HUGGINGFACE_HUB_CACHE"));
        let [place, _] = token_places(said);
        // With this variable set no token is sent, not even one in the environment.
        let shown = !said("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| means_yes(&value));
        let token = || said("HF_TOKEN").or_else(|| in_file(place));
        Self {
            endpoint: said("HF_ENDPOINT")
                .map_or_else(|| format!("https://{HUB}"), |address| address.trim_end_matches('/').to_string()),
            cache: cache.map_or_else(|| home.join("hub"), PathBuf::from),
            token: shown.then(token).flatten().map(|token| token.trim().to_string()).filter(|token| !token.is_empty()),
            offline: said("HF_HUB_OFFLINE").is_some_and(|value| means_yes(&value)),
        }
    }
}

/// Returns the folder of the hub's files.
fn home(said: impl Fn(&str) -> Option<String>) -> PathBuf {
    said("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
        let caches = said("XDG_CACHE_HOME").map(PathBuf::from);
        let user = std::env::home_dir().unwrap_or_else(disk::temp_dir);
        caches.unwrap_or_else(|| user.join(".cache")).join("huggingface")
    })
}

/// Returns the file of the token in use, and that of all tokens of the user.
fn token_places(said: impl Fn(&str) -> Option<String>) -> [PathBuf; 2] {
    let place = |variable: &str, name: &str| said(variable).map_or_else(|| home(&said).join(name), PathBuf::from);
    [place("HF_TOKEN_PATH", "token"), place("HF_STORED_TOKENS_PATH", "stored_tokens")]
}

/// Debug output of the settings, without the token.
impl fmt::Debug for HubSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSettings")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "kept secret"))
            .field("offline", &self.offline)
            .finish()
    }
}

fn means_yes(value: &str) -> bool {
    matches!(value.to_lowercase().as_str(), "1" | "on" | "yes" | "true")
}

/// Reads the token from logging in; None if the file cannot be read, since the hub reports if one is required.
fn in_file(place: PathBuf) -> Option<String> {
    String::from_utf8(files::end_of(&place, LONGEST_TOKEN).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> HubSettings {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string());
        HubSettings::read(find)
    }

    #[test]
    fn the_cache_is_where_other_programs_have_it() {
        assert_eq!(read(&[("HF_HOME", "/a")]).cache, PathBuf::from("/a/hub"));
        assert_eq!(read(&[("XDG_CACHE_HOME", "/x")]).cache, PathBuf::from("/x/huggingface/hub"));
        assert_eq!(read(&[("HF_HOME", "/a"), ("HF_HUB_CACHE", "/b")]).cache, PathBuf::from("/b"));
        assert_eq!(read(&[("HF_HOME", "/a")]).endpoint, "https://huggingface.co");
        assert_eq!(read(&[("HF_ENDPOINT", "http://mirror:80/")]).endpoint, "http://mirror:80");
    }

    #[test]
    fn the_token_is_taken_from_the_variable_or_the_file_and_shown_to_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        assert_eq!(read(&[("HF_HOME", home)]).token, None);
        std::fs::write(folder.path().join("token"), "hf_secret\n").unwrap();
        let settings = read(&[("HF_HOME", home)]);
        assert_eq!(settings.token.as_deref(), Some("hf_secret"));
        assert!(!format!("{settings:?}").contains("hf_secret"));
        assert_eq!(read(&[("HF_HOME", home), ("HF_TOKEN", "hf_other")]).token.as_deref(), Some("hf_other"));
        let unshown = [("HF_HOME", home), ("HF_TOKEN", "hf_other"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
        assert_eq!(read(&unshown).token, None);
    }

    #[test]
    fn offline_is_said_in_several_ways() {
        for (value, offline) in [("1", true), ("ON", true), ("true", true), ("0", false), ("", false)] {
            assert_eq!(read(&[("HF_HOME", "/a"), ("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
        }
    }
}
