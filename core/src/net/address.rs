//! Addresses, as messages show them, and which of them are of this machine.

use url::Url;

/// Returns whether a URL is an address of this machine, where nobody else reads what is sent.
pub(crate) fn is_here(url: &Url) -> bool {
    matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"))
}

/// Returns the URL as messages show it, without a password.
pub(crate) fn named(url: &Url) -> String {
    let mut shown = url.clone();
    if !shown.username().is_empty() || shown.password().is_some() {
        // This fails only for addresses without a host, which have been refused before.
        let _ours = shown.set_username("").and_then(|()| shown.set_password(None));
    }
    shown.into()
}
