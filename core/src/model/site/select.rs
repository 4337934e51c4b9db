//! Parsing names of sites: `resid_post.3`, `z.3.5`, `resid_post.*`, `mlp_out.2-4`, `blocks.3.hook_resid_post`.

use std::fmt;

use super::{Heads, Site, SiteKind, foreign};
use crate::base::{Error, Result, names};
use crate::model::config::{Config, Mixer};
use crate::tensor::axes::from_end;
use crate::{bail, err};

/// A site, or one head of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub site: Site,
    pub head: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.head {
            Some(head) => write!(f, "{}.{head}", self.site),
            None => self.site.fmt(f),
        }
    }
}

/// Lists the places that a text names in a model of this config, in the order of the computation.
pub fn select(config: &Config, text: &str) -> Result<Vec<Place>> {
    let named = translated(config, text)?;
    let mut parts = named.splitn(3, '.');
    let name = parts.next().unwrap_or_default();
    let kind = kind(config, name)?;
    let layers = match (kind.in_blocks(), parts.next()) {
        (true, Some(part)) => layers(config, kind, part)?,
        (true, None) => {
            return Err(
                err!(Name, "expected a layer after `{name}`").hint(format!("`{name}.0`, or `{name}.*` for all"))
            );
        }
        (false, None) => vec![0],
        (false, Some(_)) => bail!(Name, "expected no layer after `{name}`, found `{text}`"),
    };
    let part = parts.next();
    let mut places = Vec::new();
    for layer in layers {
        let heads = match part {
            None => vec![None],
            Some(part) => heads(config, kind, layer, part)?.into_iter().map(Some).collect(),
        };
        places.extend(heads.into_iter().map(|head| Place { site: Site::new(kind, layer), head }));
    }
    Ok(places)
}

/// Lists the places that several names stand for.
pub fn places(config: &Config, sites: &[String]) -> Result<Vec<Place>> {
    let each = sites.iter().map(|site| select(config, site)).collect::<Result<Vec<_>>>();
    Ok(each.map_err(|e| e.about("sites"))?.concat())
}

/// The hint if nothing better than one site is known.
pub const NAME_ONE: &str = "name one of them, such as `resid_post.0`";

/// Returns the one site that a name stands for; `instead` is the hint if it stands for several.
pub fn one_site(config: &Config, text: &str, instead: &str) -> Result<Place> {
    let places = select(config, text).map_err(|e| e.about("site"))?;
    match places[..] {
        [place] => Ok(place),
        _ => Err(err!(Name, "expected one site, and `{text}` names {}", places.len()).hint(instead).about("site")),
    }
}

fn kind(config: &Config, name: &str) -> Result<SiteKind> {
    let known: Vec<&str> = SiteKind::all().filter(|kind| kind.exists(config)).map(SiteKind::name).collect();
    let Some(kind) = SiteKind::all().find(|kind| kind.name() == name) else {
        let near = names::suggestion(name, known.iter().copied());
        return Err(
            err!(Name, "unknown site `{name}`").hint(near.unwrap_or_else(|| "`m.site_table()` lists the sites".into()))
        );
    };
    if !kind.exists(config) {
        if config.experts.is_some() && kind.exists(&Config { experts: None, ..config.clone() }) {
            return Err(no_one_tensor(kind, None));
        }
        let sites = known.join(", ");
        return Err(
            err!(Name, "{} models of this kind have no site `{name}`", config.family).hint(format!("it has {sites}"))
        );
    }
    Ok(kind)
}

/// Lists the layers that a part of a name stands for, and that have the site; one that is named alone must have it.
fn layers(config: &Config, kind: SiteKind, part: &str) -> Result<Vec<usize>> {
    let mut named = numbers(part, config.layers, "layer", "this model")?;
    match named[..] {
        [layer] if !kind.exists_in(config, layer) && kind.is_of_experts() => {
            let name = kind.name();
            Err(err!(Name, "layer {layer} has a plain MLP and no `{name}`")
                .hint(format!("`{name}.*` names all layers that do")))
        }
        [layer] if kind == SiteKind::NormScale && config.unnormed.contains(&layer) => {
            Err(err!(Name, "layer {layer} reads the stream without a norm, and has no site `norm_scale`")
                .hint("`norm_scale.*` names all layers that have one"))
        }
        [layer] if kind.is_of_keys() && config.keys_from(layer).is_some() => Err(keys_of_another(config, kind, layer)),
        [layer] if !kind.exists_in(config, layer) && kind.mixer().is_some() => Err(other_mixer(config, kind, layer)),
        [layer] if !kind.exists_in(config, layer) => Err(no_one_tensor(kind, Some(layer))),
        _ => {
            named.retain(|layer| kind.exists_in(config, *layer));
            Ok(named)
        }
    }
}

/// Builds the error about a site that a mixture of experts has not.
fn no_one_tensor(kind: SiteKind, layer: Option<usize>) -> Error {
    let (of, layer) = match layer {
        Some(layer) => (format!("layer {layer}"), layer.to_string()),
        None => ("every layer".into(), "0".into()),
    };
    err!(
        Name,
        "{of} is a mixture of experts, and has no site `{}`: tokens differ in the experts that read them",
        kind.name()
    )
    .hint(format!("`router.{layer}` has the probabilities of the experts, `mlp_out.{layer}` what they write together"))
}

/// Builds the error about keys or values where a layer has none of its own.
fn keys_of_another(config: &Config, kind: SiteKind, layer: usize) -> Error {
    let name = kind.name();
    let from = config.keys_from(layer).unwrap_or_default();
    err!(Name, "layer {layer} reads the keys and values of layer {from}, and has no site `{name}`")
        .hint(format!("`{name}.{from}` has them, and `{name}.*` names all layers that have their own"))
}

/// Builds the error about a site of attention in a recurrent layer, or the other way round.
fn other_mixer(config: &Config, kind: SiteKind, layer: usize) -> Error {
    let name = kind.name();
    let wanted = match kind.mixer() {
        Some(Mixer::Delta) => "gated delta nets",
        Some(Mixer::StateSpace) => "state spaces",
        Some(Mixer::TimeMixing) => "time mixing",
        _ => "attention",
    };
    let all = format!("`{name}.*` names all layers with {wanted}");
    match config.mixer_of(layer) {
        Mixer::Attention => err!(Name, "layer {layer} has attention, and no site `{name}`").hint(all),
        Mixer::Delta => {
            err!(Name, "layer {layer} has a gated delta net in place of attention, and no site `{name}`").hint(format!(
                "{all}; `delta_read.{layer}` is what queries read here, and `attn_out.{layer}` what the layer writes"
            ))
        }
        Mixer::StateSpace => {
            err!(Name, "layer {layer} has a state space in place of attention, and no site `{name}`").hint(format!(
                "{all}; `ssm_read.{layer}` is what is read of the state here, and `attn_out.{layer}` what the layer writes"
            ))
        }
        Mixer::TimeMixing => {
            err!(Name, "layer {layer} has time mixing in place of attention, and no site `{name}`").hint(format!(
                "{all}; `rwkv_read.{layer}` is what is read of the state here, and `attn_out.{layer}` what the layer writes"
            ))
        }
    }
}

fn heads(config: &Config, kind: SiteKind, layer: usize, part: &str) -> Result<Vec<usize>> {
    let layer_alone = format!("layer {layer}");
    let whose = if config.global_heads.is_some() { &layer_alone } else { "this model" };
    match kind.heads() {
        Heads::None => bail!(Name, "expected a layer and nothing more after `{}`: it has no heads", kind.name()),
        Heads::Keys => numbers(part, config.kv_heads_of(layer), "head", whose),
        Heads::Queries | Heads::Square => numbers(part, config.heads, "head", whose),
        Heads::DeltaKeys => numbers(part, config.delta.as_ref().map_or(0, |delta| delta.key_heads), "head", whose),
        Heads::DeltaValues => numbers(part, config.delta.as_ref().map_or(0, |delta| delta.value_heads), "head", whose),
        Heads::StateHeads => numbers(part, config.ssm.as_ref().map_or(0, |ssm| ssm.heads), "head", whose),
        Heads::StateGroups => numbers(part, config.ssm.as_ref().map_or(0, |ssm| ssm.groups), "group", whose),
        Heads::TimeHeads => numbers(part, config.rwkv.as_ref().map_or(0, |rwkv| rwkv.heads), "head", whose),
    }
}

/// Reads `3`, `-1` (from the end), `2-4` (both included), or `*`.
fn numbers(part: &str, count: usize, what: &str, whose: &str) -> Result<Vec<usize>> {
    if part == "*" {
        return Ok((0..count).collect());
    }
    let one = |text: &str| -> Result<usize> {
        let number: i64 = text.parse().map_err(|_| {
            err!(Name, "expected a {what}, found `{part}`")
                .hint(format!("`3`, `-1` for the last, `2-4`, or `*` for every {what}"))
        })?;
        from_end(number, count).ok_or_else(|| {
            err!(Name, "there is no {what} {number}: {whose} has {count}")
                .hint(format!("counted from 0, the last is {}", count.saturating_sub(1)))
        })
    };
    match part.split_once('-') {
        Some((from, to)) if !from.is_empty() => {
            let from = one(from)?;
            let to = one(to)?;
            if from > to {
                bail!(Name, "expected {what}s in ascending order, found `{part}`");
            }
            Ok((from..=to).collect())
        }
        _ => Ok(vec![one(part)?]),
    }
}

/// Translates a name of another library to ours; a name of ours is what it is here, whatever others call so.
fn translated(config: &Config, text: &str) -> Result<String> {
    if foreign::kind(text).is_some() {
        return Ok(text.into());
    }
    match foreign::ours(config, text) {
        Some(found) => found,
        None if text.contains("hook_") => Err(foreign::unknown(text)),
        None => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::{config, configs};

    fn named(text: &str) -> Vec<String> {
        select(&config(), text).unwrap().iter().map(Place::to_string).collect()
    }

    fn refused(text: &str) -> (String, String) {
        let error = select(&config(), text).unwrap_err();
        (error.message, error.hint.unwrap_or_default())
    }

    #[test]
    fn names_of_sites_heads_and_sets() {
        assert_eq!(named("resid_post.1"), ["resid_post.1"]);
        assert_eq!(named("resid_post.-1"), ["resid_post.1"]);
        assert_eq!(named("mlp_out.*"), ["mlp_out.0", "mlp_out.1"]);
        assert_eq!(named("mlp_out.0-1"), ["mlp_out.0", "mlp_out.1"]);
        assert_eq!(named("z.1.3"), ["z.1.3"]);
        assert_eq!(named("k.0.*"), ["k.0.0", "k.0.1"]);
        assert_eq!(named("pattern.*.2-3"), ["pattern.0.2", "pattern.0.3", "pattern.1.2", "pattern.1.3"]);
        assert_eq!(named("logits"), ["logits"]);
        assert_eq!(named("blocks.1.hook_resid_post"), ["resid_post.1"]);
        assert_eq!(named("blocks.*.attn.hook_z"), ["z.0", "z.1"]);
        assert_eq!(named("blocks.1.mlp.hook_in"), ["mlp_in.1"]);
        assert_eq!(named("blocks.1.attn.hook_pattern.2-3"), ["pattern.1.2", "pattern.1.3"]);
    }

    #[test]
    fn names_of_other_libraries_are_those_of_our_sites() {
        let ours = [
            ("blocks.1.hook_out", "resid_post.1"),
            ("blocks.-1.hook_in", "resid_pre.1"),
            ("blocks.0.attn.o.hook_in", "z.0"),
            ("blocks.0.attn.q.hook_out.3", "q.0.3"),
            ("blocks.1.mlp.hook_out", "mlp_out.1"),
            ("blocks.1.mlp.in.hook_out", "mlp_pre.1"),
            ("ln_final.hook_in", "resid_post.1"),
            ("ln_final.hook_out", "final_norm"),
            ("unembed.hook_out", "logits"),
            ("embed.hook_out", "embed"),
            ("embeddings", "embed"),
            ("value.1", "v.1"),
            ("attn_probs.0.2", "pattern.0.2"),
            ("mlp_act.1", "mlp_hidden.1"),
            ("lm_head", "logits"),
        ];
        for (theirs, wanted) in ours {
            assert_eq!(named(theirs), [wanted], "{theirs}");
        }
        assert_eq!(named("value.*.0"), ["v.0.0", "v.1.0"]);
        assert_eq!(refused("value").0, "expected a layer after `v`");
        assert_eq!(refused("blocks.7.hook_out").0, "there is no layer 7: this model has 2");
    }

    #[test]
    fn what_is_another_tensor_is_said_by_name() {
        assert_eq!(
            refused("ln_final.hook_normalized"),
            (
                "`ln_final.hook_normalized` is the output of the last norm before its weights, which is no site here"
                    .into(),
                "the nearest here is `final_norm`".into()
            )
        );
        assert!(refused("router_logits.1").0.contains("before the softmax"));
        let post = configs().into_iter().find(|config| config.post_norm).unwrap();
        let error = select(&post, "blocks.1.mlp.hook_out").unwrap_err();
        assert!(error.message.ends_with("before the norm or the scale behind it, which is no site here"), "{error}");
        assert_eq!(error.hint.as_deref(), Some("the nearest here is `mlp_out.1`"));
        assert_eq!(select(&post, "mlp_out_post.1").unwrap()[0].to_string(), "mlp_out.1");
        let capped = Config { logit_cap: Some(30.0), ..config() };
        assert!(select(&capped, "unembed.hook_out").unwrap_err().message.contains("soft cap"));
    }

    #[test]
    fn every_site_is_found_by_both_of_its_names() {
        for config in configs() {
            for site in Site::all(&config) {
                for name in [site.to_string(), site.lens_name()] {
                    assert_eq!(select(&config, &name).unwrap(), [Place { site, head: None }], "{name}");
                }
            }
        }
    }

    #[test]
    fn sites_of_an_mlp_are_those_of_layers_without_experts() {
        let config = configs().into_iter().find(|config| config.experts.is_some()).unwrap();
        let named =
            |text: &str| -> Vec<String> { select(&config, text).unwrap().iter().map(Place::to_string).collect() };
        assert_eq!(named("router.*"), ["router.1"]);
        assert_eq!(named("mlp_hidden.*"), ["mlp_hidden.0"]);
        assert_eq!(named("blocks.1.mlp.hook_expert_weights"), ["router.1"]);
        let refused = |config: &Config, text: &str| select(config, text).unwrap_err();
        assert_eq!(refused(&config, "router.0").message, "layer 0 has a plain MLP and no `router`");
        let hidden = refused(&config, "mlp_hidden.1");
        assert!(
            hidden.message.starts_with("layer 1 is a mixture of experts, and has no site `mlp_hidden`"),
            "{hidden}"
        );
        assert!(hidden.hint.unwrap().starts_with("`router.1` has the probabilities"));
        let mut experts = config.experts.clone().unwrap();
        experts.plain = Vec::new();
        let everywhere = Config { experts: Some(experts), ..config };
        assert!(refused(&everywhere, "mlp_pre.*").message.starts_with("every layer is a mixture of experts"));
        assert_eq!(
            refused(&super::super::super::fixtures::config(), "router.0").message,
            "microtome models of this kind have no site `router`"
        );
    }

    #[test]
    fn keys_and_values_are_those_of_layers_that_have_their_own() {
        let config = configs().into_iter().find(|config| config.shared_keys.is_some()).unwrap();
        let named =
            |text: &str| -> Vec<String> { select(&config, text).unwrap().iter().map(Place::to_string).collect() };
        assert_eq!(named("v.*"), ["v.0"]);
        assert_eq!(named("q.*"), ["q.0", "q.1"]);
        let error = select(&config, "k_rot.1").unwrap_err();
        assert_eq!(error.message, "layer 1 reads the keys and values of layer 0, and has no site `k_rot`");
        assert!(error.hint.unwrap().starts_with("`k_rot.0` has them"));
        let config = configs().into_iter().find(|config| config.global_heads.is_some()).unwrap();
        assert_eq!(select(&config, "k.0.*").unwrap().len(), 2);
        assert_eq!(select(&config, "k.1.*").unwrap().len(), 1);
        assert_eq!(select(&config, "k.1.1").unwrap_err().message, "there is no head 1: layer 1 has 1");
    }

    #[test]
    fn wrong_names_are_answered() {
        assert_eq!(refused("resid_pots.1"), ("unknown site `resid_pots`".into(), "did you mean `resid_post`?".into()));
        assert_eq!(refused("*.1").1, "`m.site_table()` lists the sites");
        assert_eq!(refused("resid_post").1, "`resid_post.0`, or `resid_post.*` for all");
        assert_eq!(refused("resid_post.2").0, "there is no layer 2: this model has 2");
        assert_eq!(refused("k.0.2").0, "there is no head 2: this model has 2");
        assert_eq!(
            refused("resid_post.1.0").0,
            "expected a layer and nothing more after `resid_post`: it has no heads"
        );
        assert_eq!(refused("logits.1").0, "expected no layer after `logits`, found `logits.1`");
        assert_eq!(refused("mlp_out.1-0").0, "expected layers in ascending order, found `1-0`");
        assert!(refused("mlp_out.x").1.contains("`*` for every layer"));
        assert_eq!(refused("pos_embed").0, "microtome models of this kind have no site `pos_embed`");
        assert!(refused("pos_embed").1.contains("embed, resid_pre, norm_scale"));
        assert!(refused("blocks.1.hook_mlp_in").1.ends_with("`resid_mid.1`, `resid_pre.1` and `mlp_in.1`"));
        assert_eq!(refused("blocks.1.hook_resid_pots").1, "did you mean `hook_resid_post`?");
        assert!(refused("").0.starts_with("unknown site ``"));
    }
}
