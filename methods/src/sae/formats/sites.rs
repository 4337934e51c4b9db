//! Names of sites in other libraries, and ours.

use crate::model::site::{Heads, NORMED, Place, Site, SiteKind, in_every_model};

/// Returns whether a site is the output of a norm before its weights are applied, as in some dictionaries of other
/// libraries. None of ours is.
pub fn is_before_weights(site: &str) -> bool {
    site.starts_with("blocks.") && site.ends_with(".hook_normalized")
}

/// Reads a site by the name that this program or another library has for it, without a model to look into.
pub fn parse(text: &str) -> Option<Place> {
    by_our_name(text).or_else(|| by_our_name(&in_every_model(text)?)).or_else(|| {
        let site = NORMED.iter().find_map(|(name, kind)| match name.split_once("{}") {
            None => (*name == text).then(|| Site::new(*kind, 0)),
            Some((before, after)) => {
                let layer = text.strip_prefix(before)?.strip_suffix(after)?;
                Some(Site::new(*kind, number(layer)?))
            }
        })?;
        Some(Place { site, head: None })
    })
}

/// Returns this program's name for a site of another library; that library's where there is none.
pub fn ours(theirs: &str, head: Option<usize>) -> String {
    match (parse(theirs).filter(|_| !is_before_weights(theirs)), head) {
        (Some(place), Some(_)) if place.site.kind.heads() == Heads::None => format!("{place}"),
        (Some(place), head) => Place { head: place.head.or(head), ..place }.to_string(),
        (None, None) => theirs.to_string(),
        (None, Some(head)) => format!("{theirs}.{head}"),
    }
}

fn by_our_name(text: &str) -> Option<Place> {
    let mut parts = text.split('.');
    let name = parts.next()?;
    let kind = SiteKind::all().find(|kind| kind.name() == name)?;
    let layer = if kind.in_blocks() { number(parts.next()?)? } else { 0 };
    let head = match parts.next() {
        Some(head) if kind.heads() != Heads::None => Some(number(head)?),
        Some(_) => return None,
        None => None,
    };
    parts.next().is_none().then(|| Place { site: Site::new(kind, layer), head })
}

/// Reads a whole number written as numbers of layers are.
fn number(text: &str) -> Option<usize> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// Reads the number after the last occurrence of a word, as in `resid_post_layer_3`.
pub fn number_after(text: &str, word: &str) -> Option<usize> {
    let rest = text.get(text.rfind(word)? + word.len()..)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    number(rest.get(..end)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::configs;

    #[test]
    fn every_site_is_found_by_all_of_its_names() {
        for config in configs() {
            for site in Site::all(&config) {
                for name in [site.to_string(), site.lens_name()] {
                    assert_eq!(parse(&name), Some(Place { site, head: None }), "{name}");
                }
            }
        }
    }

    #[test]
    fn names_that_are_none_stay_as_they_are() {
        assert_eq!(ours("blocks.3.hook_resid_post", None), "resid_post.3");
        assert_eq!(ours("blocks.3.attn.hook_z", Some(5)), "z.3.5");
        assert_eq!(ours("blocks.3.hook_mlp_in", None), "blocks.3.hook_mlp_in");
        assert_eq!(ours("blocks.x.hook_resid_post", None), "blocks.x.hook_resid_post");
        assert_eq!(ours("blocks.2.mlp.hook_in", None), "mlp_in.2");
        assert_eq!(ours("blocks.2.hook_out", None), "resid_post.2");
        assert_eq!(ours("blocks.2.attn.o.hook_in", Some(1)), "z.2.1");
        // The output of the MLP in some models, and what comes before a norm in others.
        assert_eq!(ours("blocks.2.mlp.hook_out", None), "blocks.2.mlp.hook_out");
        assert_eq!(ours("blocks.2.ln2.hook_normalized", None), "blocks.2.ln2.hook_normalized");
        for text in ["resid_post", "resid_post.+1", "resid_post.1.2", "embed.1", "blocks..hook_resid_post", ""] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(number_after("a/layer_20/width_16k", "layer_"), Some(20));
        assert_eq!(number_after("a/layer_x", "layer_"), None);
    }
}
