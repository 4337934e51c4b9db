//! The frame of a page: everything that it needs is inside of it, and it may load nothing.
//!
//! Pages have no script, but for those with a circuit: its drawing is enlarged by the wheel, and a click opens a card
//! beside it, which no style can do. That one script is named in the page's policy by its hash, so that no other one
//! runs. Without it a page still shows everything, and drawings fit its width.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::escape;

/// Policy of all pages: no network, no frames; styles only from the page itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The look of all pages.
pub static STYLE: &str = include_str!("style.css");

/// Opening of the drawing of a circuit. No text can contain it, since texts are escaped.
pub const CIRCUIT: &str = "<figure class=\"picture circuit\"";

/// Script that makes drawings of circuits move.
static SCRIPT: &str = include_str!("circuit.js");

/// Writes a page with this title around this content, which is HTML already.
pub fn page(title: &str, content: &str) -> String {
    bare(title, &format!("<h1>{}</h1>\n{content}", escape::text(title)))
}

/// Writes a page as [`page`] does, without the title above its content.
pub fn bare(title: &str, content: &str) -> String {
    let title = escape::text(title);
    let (policy, script) = if content.contains(CIRCUIT) {
        let hash = STANDARD.encode(Sha256::digest(SCRIPT.as_bytes()));
        (format!("{POLICY}; script-src 'sha256-{hash}'"), format!("<script>{SCRIPT}</script>\n"))
    } else {
        (POLICY.into(), String::new())
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{content}</main>\n{script}</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_script_only_with_a_circuit_and_its_policy_names_that_script_alone() {
        assert!(!page("a", "<p>b</p>").contains("script"));
        let with = page("a", &format!("{CIRCUIT}></figure>"));
        assert_eq!(with.matches("<script>").count(), 1);
        let inside = with.split("<script>").nth(1).and_then(|rest| rest.split("</script>").next()).unwrap();
        let hash = STANDARD.encode(Sha256::digest(inside.as_bytes()));
        let policy = with.split("script-src ").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert_eq!(policy, format!("'sha256-{hash}'"));
        assert!(!page(CIRCUIT, "").contains("<script>"), "a title is text");
    }
}
