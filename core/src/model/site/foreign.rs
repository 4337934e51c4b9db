//! Names that other libraries give sites: TransformerLens' own, which the rows of sites have, those of its bridge, and
//! interp-engine's. The table of the others, `names.txt`, is written by `refresh.py`, which compares the tensors, and the
//! logits behind a change of each.
//!
//! A line `= NAME SITE CONDITIONS` is a name of one of our sites in models for whose config all conditions hold: words of
//! [`holds`], or families, with `!` before what must not hold. A line `- NAME NEAR WHAT` says what the name is in all
//! other models, and which of our sites are near, with commas between them. `{}` stands for the layer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::{ROWS, SiteKind};
use crate::base::{Error, Result, names};
use crate::err;
use crate::model::config::{Config, Order};

static TEXT: &str = include_str!("names.txt");

static TABLE: LazyLock<BTreeMap<&'static str, Entry>> = LazyLock::new(|| read(TEXT));

/// The meaning of a name.
#[derive(Debug, Default, Clone)]
struct Entry {
    /// Sites that it may be, of which the first whose conditions hold is meant.
    sites: Vec<SiteWhere>,
    /// The activation that it is where it is none of them.
    other: Option<OtherActivation>,
}

/// A site, with `{}` in place of its layer, and the conditions of a config.
#[derive(Debug, Clone)]
struct SiteWhere {
    site: Cow<'static, str>,
    conditions: &'static str,
}

/// An activation that is no site.
#[derive(Debug, Clone, Copy)]
struct OtherActivation {
    near: &'static str,
    what: &'static str,
}

/// A name, taken apart into what the table has, its layer, and a head behind it.
struct NameParts<'a> {
    template: String,
    layer: Option<&'a str>,
    head: Option<&'a str>,
}

impl<'a> NameParts<'a> {
    fn new(text: &'a str, head: Option<&'a str>) -> Self {
        let of_block = text.strip_prefix("blocks.").and_then(|rest| rest.split_once('.'));
        let (template, layer) = match (of_block, text.split_once('.')) {
            (Some((layer, rest)), _) => (format!("blocks.{{}}.{rest}"), Some(layer)),
            (None, Some((name, layer))) if !text.contains("hook_") => (format!("{name}.{{}}"), Some(layer)),
            // A name that lacks its layer is answered by our name, which lacks it, too.
            (None, None) if entry(text).is_none() => (format!("{text}.{{}}"), None),
            _ => (text.to_string(), None),
        };
        Self { template, layer, head }
    }

    /// Lists the ways to read a text: as a name, and as a name and a head.
    fn readings(text: &'a str) -> impl Iterator<Item = (Self, Entry)> {
        let headed = text
            .rsplit_once('.')
            .filter(|(_, head)| head.starts_with(|c: char| c.is_ascii_digit() || "-*".contains(c)));
        let headed = headed.map(|(name, head)| Self::new(name, Some(head)));
        [Some(Self::new(text, None)), headed].into_iter().flatten().filter_map(|parts| {
            let found = entry(&parts.template)?;
            Some((parts, found))
        })
    }

    /// Returns the name of one of our sites at the layer and the head.
    fn at(&self, site: &str) -> String {
        let site = match self.layer {
            Some(layer) => site.replace("{}", layer),
            None => site.trim_end_matches(".{}").to_string(),
        };
        match self.head {
            Some(head) => format!("{site}.{head}"),
            None => site,
        }
    }

    /// Lists those of our sites that are near, for an error or an explanation.
    fn near(&self, other: OtherActivation, exists: impl Fn(SiteKind) -> bool) -> Option<String> {
        let is_there = |site: &&str| kind(site).is_some_and(&exists);
        let near: Vec<String> =
            other.near.split(',').filter(is_there).map(|site| format!("`{}`", self.at(site))).collect();
        match near.as_slice() {
            [] => None,
            [one] => Some(format!("the nearest here is {one}")),
            [most @ .., last] => Some(format!("the nearest here are {} and {last}", most.join(", "))),
        }
    }
}

/// Returns the kind of a name of ours, which layers and heads may follow. `embed.hook_out` begins as one, and is none.
pub(super) fn kind(site: &str) -> Option<SiteKind> {
    let name = site.split('.').next().filter(|_| !site.contains("hook_"))?;
    SiteKind::all().find(|kind| kind.name() == name)
}

/// Returns what a name means whose layer is `{}`, from the rows of sites or from the table.
fn entry(template: &str) -> Option<Entry> {
    let row = ROWS.iter().find(|row| row.lens == template && row.lens.contains("hook_"));
    let of_row =
        row.map(|row| Entry { sites: vec![SiteWhere { site: row.template().into(), conditions: "" }], other: None });
    of_row.or_else(|| TABLE.get(template).cloned())
}

fn read(text: &'static str) -> BTreeMap<&'static str, Entry> {
    let mut found: BTreeMap<&'static str, Entry> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some(mark), Some(name), Some(sites)) = (words.next(), words.next(), words.next()) else { continue };
        let rest = words.next().unwrap_or_default();
        match mark {
            "=" => found.entry(name).or_default().sites.push(SiteWhere { site: sites.into(), conditions: rest }),
            "-" => found.entry(name).or_default().other = Some(OtherActivation { near: sites, what: rest }),
            _ => {}
        }
    }
    found
}

/// Returns whether a condition of the table holds: a property of the config, or a family, which `!` negates.
fn holds(condition: &str, config: &Config) -> bool {
    let word = condition.trim_start_matches('!');
    let has = match word {
        "embed_norm" => config.embed_norm,
        "gated" => config.gated,
        "gated_heads" => config.gated_heads,
        "logit_cap" => config.logit_cap.is_some(),
        "logit_scale" => config.logit_scale.is_some(),
        "post_norm" => config.post_norm,
        "shared_norm" => config.order == Order::ParallelShared,
        "value_norm" => config.value_norm,
        "values_are_keys" => config.global_heads.as_ref().is_some_and(|heads| heads.values_are_keys),
        "write_scale" => config.write_scale.is_some(),
        family => config.family == family,
    };
    has != condition.starts_with('!')
}

/// Returns our name of the site that another library's name stands for in models of this config, or why it stands for
/// none; nothing if the name is not known.
pub(super) fn ours(config: &Config, text: &str) -> Option<Result<String>> {
    let (parts, found) = NameParts::readings(text).next()?;
    let fits = |one: &&SiteWhere| one.conditions.split_whitespace().all(|condition| holds(condition, config));
    if let Some(one) = found.sites.iter().find(fits) {
        return Some(Ok(parts.at(&one.site)));
    }
    let other = found.other?;
    let near = parts.near(other, |kind| kind.exists(config));
    Some(Err(err!(Name, "`{text}` is {}, which is no site here", other.what).maybe_hint(near)))
}

/// Returns our name of the site that another library's name stands for in every model.
pub fn in_every_model(text: &str) -> Option<String> {
    let (parts, found) = NameParts::readings(text).next()?;
    match found.sites.as_slice() {
        [one] if one.conditions.is_empty() => Some(parts.at(&one.site)),
        _ => None,
    }
}

/// Returns what a name of a site means, ours or another library's, without a model to look into.
pub fn explained(text: &str) -> Option<String> {
    if let Some(kind) = kind(text) {
        let row = kind.row();
        let lens = if row.lens.contains("hook_") {
            format!("; in TransformerLens `{}`", row.lens.replace("{}", "N"))
        } else {
            String::new()
        };
        return Some(format!("`{}` is a site: {}{lens}", row.template().replace("{}", "N"), row.meaning));
    }
    let (parts, found) = NameParts::readings(text).next()?;
    let near = |other| parts.near(other, |_| true).map(|near| format!("; {near}")).unwrap_or_default();
    let other = found.other.map(|other| format!("{}, which is no site here{}", other.what, near(other)));
    let Some(one) = found.sites.first() else { return Some(format!("`{text}` is {}", other?)) };
    let is = format!("`{text}` is the site `{}`: {}", parts.at(&one.site), kind(&one.site)?.meaning());
    Some(match other {
        Some(other) => format!("{is}. In some models it is {other}"),
        None => is,
    })
}

/// Builds the error about a name that looks like another library's and is none.
pub(super) fn unknown(text: &str) -> Error {
    let part = text.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')).map_or(text, |(_, rest)| rest);
    let rows = ROWS.iter().map(|row| row.lens);
    let known: Vec<&str> =
        rows.chain(TABLE.keys().copied()).map(|name| name.trim_start_matches("blocks.{}.")).collect();
    err!(Name, "unknown site `{text}`").maybe_hint(names::suggestion(part, known.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_explained_without_a_model() {
        let said = |text: &str| explained(text).unwrap();
        assert!(said("resid_post.3").starts_with("`resid_post.N` is a site: the stream leaving the block"));
        assert!(said("resid_post").ends_with("; in TransformerLens `blocks.N.hook_resid_post`"));
        assert!(said("blocks.3.hook_out").starts_with("`blocks.3.hook_out` is the site `resid_post.3`: the stream"));
        assert!(said("blocks.3.mlp.hook_out").contains("In some models it is what the MLP writes before"));
        assert!(
            said("blocks.3.hook_mlp_in").ends_with("the nearest here are `resid_mid.3`, `resid_pre.3` and `mlp_in.3`")
        );
        assert!(said("embed.hook_out").contains("is the site `embed`: token embeddings"));
        assert_eq!(explained("blocks.3.hook_resid_pots"), None);
        assert_eq!(explained("words of a text"), None);
    }

    #[test]
    fn every_line_of_the_table_is_read_and_names_our_sites() {
        let lines = TEXT.lines().filter(|line| !line.starts_with('#')).count();
        let read: usize = TABLE.values().map(|entry| entry.sites.len() + usize::from(entry.other.is_some())).sum();
        assert_eq!(lines, read);
        for (name, entry) in TABLE.iter() {
            for one in &entry.sites {
                let kind = kind(&one.site).unwrap_or_else(|| panic!("{name}: {}", one.site));
                let layer = one.site.strip_prefix(kind.name()).unwrap();
                assert!(if kind.in_blocks() { layer == ".{}" || layer == ".-1" } else { layer.is_empty() }, "{name}");
            }
            for near in entry.other.iter().flat_map(|other| other.near.split(',')) {
                assert!(kind(near).is_some(), "{name}: {near}");
            }
            assert!(!ROWS.iter().any(|row| row.lens == *name), "{name} has a row");
        }
    }
}
