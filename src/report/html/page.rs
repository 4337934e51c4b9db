//! The frame of a page: everything that it needs is inside of it, and it may load nothing.
//!
//! Pages have no script, but for those with a circuit, whose drawing is enlarged by the wheel and opens cards beside it, a
//! map of heads, and a page of lenses, where one points at what is to be read: no style can do that. Live reports have one that
//! asks the engine inside them. These scripts are named in the page's policy by their hashes, so that no other one runs.
//! Without them a page still shows what it is of.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::escape;

/// Policy of all pages: no network, no frames; styles only from the page itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Opening of all pages, up to their policy.
const OPENING: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
                       <meta http-equiv=\"Content-Security-Policy\" content=\"";

/// The look of all pages.
pub static STYLE: &str = concat!(include_str!("style.css"), include_str!("lenses.css"));

/// Opening of the drawing of a circuit. No text can contain it, since texts are escaped.
pub const CIRCUIT: &str = "<figure class=\"picture circuit\"";

/// Opening of a map of heads, and of a page of lenses.
pub const HEADS: &str = "<section class=\"heads\"";
pub const LENSES: &str = "<section class=\"lenses\"";

/// The scripts, each with the opening of what it is for.
static SCRIPTS: [(&str, &str); 3] =
    [(CIRCUIT, include_str!("circuit.js")), (HEADS, include_str!("heads.js")), (LENSES, include_str!("lenses.js"))];

/// Writes a page with this title around this content, which is HTML already.
pub fn page(title: &str, content: &str) -> String {
    bare(title, &format!("<h1>{}</h1>\n{content}", escape::text(title)))
}

/// Writes a page as [`page`] does, without the title above its content.
pub fn bare(title: &str, content: &str) -> String {
    framed(title, content, None)
}

/// The parts of a page whose items answer, beside its content.
pub struct LivePage<'a> {
    pub style: &'a str,
    /// Elements that hold the engine, and what it computes with.
    pub parts: &'a str,
    /// The scripts that ask it.
    pub scripts: &'a [&'a str],
}

/// Policy of such pages beside that of all: the engine runs in a worker, both from within the page.
const LIVE_POLICY: &str = " blob: 'wasm-unsafe-eval'; worker-src blob:";

/// Writes a page with this title whose items answer.
pub fn live(title: &str, content: &str, live: &LivePage) -> String {
    framed(title, content, Some(live))
}

fn framed(title: &str, content: &str, live: Option<&LivePage>) -> String {
    let title = escape::text(title);
    let mut scripts: Vec<&str> =
        SCRIPTS.iter().filter(|(opening, _)| content.contains(opening)).map(|(_, script)| *script).collect();
    scripts.extend(live.iter().flat_map(|live| live.scripts));
    let (style, parts, more) = live.map_or(("", "", ""), |live| (live.style, live.parts, LIVE_POLICY));
    let hashes: String = scripts.iter().map(|script| hash(script)).collect();
    let policy = if hashes.is_empty() { POLICY.into() } else { format!("{POLICY}; script-src{hashes}{more}") };
    let script: String = scripts.iter().map(|script| format!("<script>{script}</script>\n")).collect();
    format!(
        "{OPENING}{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}{style}</style>\n</head>\n\
         <body>\n<main>\n{content}</main>\n{parts}{script}</body>\n</html>\n"
    )
}

/// Returns whether a file is a page that may connect to nothing and runs no script from outside: it begins as pages do, and
/// to the policy of all it adds what this module does. Blanks and semicolons alone part words, and hashes are whole words,
/// so that none hides another one behind a tab or an entity.
pub fn is_sealed(file: &[u8]) -> bool {
    let opened = file.strip_prefix(OPENING.as_bytes()).and_then(|rest| rest.strip_prefix(POLICY.as_bytes()));
    let Some(added) = opened.and_then(|rest| rest.split(|byte| *byte == b'"').next()) else { return false };
    let added = String::from_utf8_lossy(added);
    let mut words = added.split([' ', ';']).filter(|word| !word.is_empty());
    let is_ours = |word: &str| matches!(word, "script-src" | "blob:" | "'wasm-unsafe-eval'" | "worker-src");
    words.all(|word| is_ours(word) || is_hash(word))
}

fn is_hash(word: &str) -> bool {
    let digest = word.strip_prefix("'sha256-").and_then(|rest| rest.strip_suffix('\''));
    digest.is_some_and(|digest| STANDARD.decode(digest).is_ok())
}

/// Writes the hash of a script as a policy names it, behind a blank.
fn hash(script: &str) -> String {
    format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(script.as_bytes())))
}

/// Writes the hashes of all scripts of pages, for the policy of a page that shows pages within frames, which inherit it.
pub fn script_hashes() -> String {
    SCRIPTS.iter().map(|(_, script)| hash(script)).collect()
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

    #[test]
    fn pages_are_told_from_others() {
        let live = live("a", "", &LivePage { style: "", parts: "", scripts: &["1"] });
        for page in [&page("a", "b"), &page("a", CIRCUIT), &live] {
            assert!(is_sealed(page.as_bytes()), "{page}");
        }
        for other in [
            "<script>1</script>",
            "",
            &live.replace("worker-src", "connect-src *; worker-src"),
            &live.replace("script-src", "script-src https:"),
            &live.replace("script-src", "script-src 'sha256-YQ=='\thttps:"),
            &live.replace("script-src", "script-src 'sha256-YQ=='&#9https:"),
            &live.replace("default-src 'none'", "default-src *"),
            &live.replace("<head>", "<head><script>1</script>"),
        ] {
            assert!(!is_sealed(other.as_bytes()), "{other}");
        }
    }
}
