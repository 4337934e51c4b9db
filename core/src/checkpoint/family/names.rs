//! Name maps: where the files of a family have each of our weights.

use crate::common::*;
use crate::model::config::{Config, Order};
use crate::model::layout::{Layout, WeightFrom};

/// One line of a name map: our name, `*` for the layer and `#` for the expert, without `.weight` or `.bias`; and theirs. Where
/// several of ours are fused, one line has them all, under a name of all together.
pub type NameLine = (&'static str, Theirs);

/// The name in the file, `*` for the layer and `#` for the expert, without `.weight` or `.bias`, and the layout there.
pub enum Theirs {
    Same(&'static str),
    /// A weight that is `[in, out]`.
    Transposed(&'static str),
    /// A weight in which several of ours are fused: their rows are concatenated in this order.
    Rows(&'static str, &'static [&'static str]),
    /// A weight that is `[in, out]`, in which several of ours are fused.
    Columns(&'static str, &'static [&'static str]),
    /// A weight in which several of ours are fused head by head, in this order.
    OfEachHead(&'static str, &'static [&'static str]),
    /// A weight in which several of ours are fused group by group, one for each head of keys: the rows of a group are
    /// concatenated in this order.
    OfEachGroup(&'static str, &'static [&'static str]),
    /// A weight whose name depends on whether attention and MLP stand side by side, each behind a norm of its own.
    ByOrder {
        parallel: &'static str,
        other: &'static str,
    },
    /// A weight whose name depends on whether queries are made of a latent.
    ByQueryLatent {
        latent: &'static str,
        other: &'static str,
    },
    /// A tensor of all experts, `[experts, in, out]`, in which several of ours take turns. Its name has no `.weight`, and
    /// the bias is called `_bias`.
    OfExpert(&'static str, &'static [&'static str]),
    /// A tensor of all experts, `[experts, out, in]`, in which several of ours follow one another. Its name has no `.weight`.
    RowsOfExpert(&'static str, &'static [&'static str]),
    /// A weight whose name depends on whether there is a layer before the last norm.
    ByTransform {
        with: &'static str,
        without: &'static str,
    },
    /// A map whose weight and bias are apart in the file, by their whole names.
    Apart {
        weight: &'static str,
        bias: &'static str,
    },
    /// The whole name in the file.
    Exact(&'static str),
}

impl Theirs {
    /// Returns the weights of ours that are fused in one of theirs, where several may be.
    fn fused(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::Rows(_, parts) | Self::Columns(_, parts) | Self::OfEachHead(_, parts) => Some(parts),
            Self::OfEachGroup(_, parts) | Self::OfExpert(_, parts) | Self::RowsOfExpert(_, parts) => Some(parts),
            _ => None,
        }
    }
}

/// Weights that many families fuse.
pub const QKV: &[&str] = &["blocks.*.attn.q", "blocks.*.attn.k", "blocks.*.attn.v"];
pub const GATE_UP: &[&str] = &["blocks.*.mlp.gate", "blocks.*.mlp.up"];
/// Weights of experts in the tensors of all.
pub const EXPERT_GATE_UP: &[&str] = &["blocks.*.mlp.experts.#.gate", "blocks.*.mlp.experts.#.up"];
pub const EXPERT_DOWN: &[&str] = &["blocks.*.mlp.experts.#.down"];

/// The number behind those of all layers, in names that are ignored: layers of published files that predict further
/// tokens.
const BEHIND: &str = "{layers}";

/// Builds the layout of a config, by the first line that knows each of its weights.
pub fn layout(config: Config, map: &[&[NameLine]], ignored: &[&str]) -> Result<Layout> {
    let parameters = config.parameters()?;
    let rows: BTreeMap<&str, usize> =
        parameters.iter().map(|(name, shape)| (name.as_str(), shape.first().copied().unwrap_or(0))).collect();
    let mut weights = BTreeMap::new();
    for (ours, _) in &parameters {
        weights.insert(ours.clone(), place(ours, &config, map, &rows)?);
    }
    if config.tied {
        // Some files contain it anyway; then it must equal the embedding.
        let ours = "unembed.weight";
        weights.insert(ours.to_string(), place(ours, &config, map, &rows)?);
    }
    let behind = config.layers.to_string();
    let mut ignored: Vec<String> = ignored.iter().map(|name| name.replace(BEHIND, &behind)).collect();
    // Published files have them where they are not read, too.
    for layer in (0..config.layers).filter(|layer| config.keys_from(*layer).is_some()) {
        for part in ["k.weight", "v.weight", "k_norm.weight"] {
            ignored.push(place(&format!("blocks.{layer}.attn.{part}"), &config, map, &rows)?.name().to_string());
        }
    }
    Ok(Layout { config, weights, ignored })
}

/// Finds where one of our weights is in the file.
fn place(ours: &str, config: &Config, map: &[&[NameLine]], rows: &BTreeMap<&str, usize>) -> Result<WeightFrom> {
    let name = WeightName::of(ours);
    let line = map.iter().copied().flatten().find(|(pattern, theirs)| match theirs.fused() {
        Some(parts) => parts.contains(&name.pattern.as_str()),
        None => *pattern == name.pattern,
    });
    let (_, theirs) = line.ok_or_else(|| err!(Bug, "the name map of {} has no line for `{ours}`", config.family))?;
    let count = rows.get(ours).copied().unwrap_or(config.vocab);
    let is_weight = name.suffix == ".weight";
    let before = |parts: &[&str]| -> usize {
        let others = parts.iter().take_while(|part| **part != name.pattern);
        others.filter_map(|part| rows.get(name.filled(part).as_str())).sum()
    };
    let part = |parts: &[&str]| parts.iter().position(|part| *part == name.pattern).unwrap_or(0);
    let expert = name.expert.parse().unwrap_or(0);
    let experts = config.experts.as_ref().map_or(0, |experts| experts.count);
    Ok(match theirs {
        Theirs::Transposed(theirs) if is_weight => WeightFrom::Transposed(name.filled(theirs)),
        Theirs::Same(theirs) | Theirs::Transposed(theirs) => WeightFrom::Same(name.filled(theirs)),
        Theirs::Columns(theirs, parts) if is_weight => {
            WeightFrom::Columns { name: name.filled(theirs), start: before(parts), count }
        }
        Theirs::Rows(theirs, parts) | Theirs::Columns(theirs, parts) => {
            WeightFrom::Rows { name: name.filled(theirs), start: before(parts), count }
        }
        Theirs::OfEachHead(theirs, parts) => WeightFrom::OfEachHead {
            name: name.filled(theirs),
            heads: config.heads,
            parts: parts.len(),
            part: part(parts),
        },
        Theirs::OfEachGroup(theirs, parts) => {
            let groups = config.kv_heads.max(1);
            let all: usize = parts.iter().filter_map(|part| rows.get(name.filled(part).as_str())).sum();
            let start = before(parts) / groups;
            let count = count / groups;
            WeightFrom::OfEachGroup { name: name.filled(theirs), groups, group: all / groups, start, count }
        }
        Theirs::ByOrder { parallel, other } => {
            let theirs = if config.order == Order::Parallel { parallel } else { other };
            WeightFrom::Same(name.filled(theirs))
        }
        Theirs::ByTransform { with, without } => {
            WeightFrom::Same(name.filled(if config.transform.is_some() { with } else { without }))
        }
        Theirs::Apart { weight, bias } => WeightFrom::Same(name.bare(if is_weight { weight } else { bias })),
        Theirs::ByQueryLatent { latent, other } => {
            let has_latent = config.latent.as_ref().is_some_and(|latent| latent.q_rank.is_some());
            WeightFrom::Same(name.filled(if has_latent { latent } else { other }))
        }
        Theirs::OfExpert(theirs, parts) => WeightFrom::OfExpert {
            name: name.bare(theirs) + if is_weight { "" } else { "_bias" },
            expert,
            experts,
            part: part(parts),
            parts: parts.len(),
        },
        Theirs::RowsOfExpert(theirs, parts) => {
            let name = name.bare(theirs);
            WeightFrom::RowsOfExpert { name, expert, experts, part: part(parts), parts: parts.len() }
        }
        Theirs::Exact(theirs) => WeightFrom::Same(name.bare(theirs)),
    })
}

/// A name of one of our weights, split into its parts.
struct WeightName<'a> {
    /// The name with `*` for the layer and `#` for the expert, without the suffix.
    pattern: String,
    layer: &'a str,
    expert: &'a str,
    suffix: &'static str,
}

impl<'a> WeightName<'a> {
    fn of(ours: &'a str) -> Self {
        let (base, suffix) = match (ours.strip_suffix(".weight"), ours.strip_suffix(".bias")) {
            (Some(base), _) => (base, ".weight"),
            (_, Some(base)) => (base, ".bias"),
            _ => (ours, ".weight"),
        };
        let Some((layer, part)) = base.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) else {
            return Self { pattern: base.to_string(), layer: "", expert: "", suffix };
        };
        let of_expert = part.strip_prefix("mlp.experts.").and_then(|rest| rest.split_once('.'));
        let (part, expert) = match of_expert {
            Some((expert, part)) => (format!("mlp.experts.#.{part}"), expert),
            None => (part.to_string(), ""),
        };
        Self { pattern: format!("blocks.*.{part}"), layer, expert, suffix }
    }

    /// Returns another pattern with this layer, expert and suffix.
    fn filled(&self, pattern: &str) -> String {
        self.bare(pattern) + self.suffix
    }

    /// Returns another pattern with this layer and expert, without the suffix.
    fn bare(&self, pattern: &str) -> String {
        pattern.replace('*', self.layer).replace('#', self.expert)
    }
}

impl WeightFrom {
    /// Returns the name of the tensor in the file.
    pub fn name(&self) -> &str {
        match self {
            WeightFrom::Same(name) | WeightFrom::Transposed(name) | WeightFrom::Flat(name) => name,
            WeightFrom::HeadsOut(name) | WeightFrom::HeadsIn(name) | WeightFrom::HeadRows(name) => name,
            WeightFrom::Rows { name, .. } | WeightFrom::Columns { name, .. } => name,
            WeightFrom::OfEachHead { name, .. } | WeightFrom::OfEachGroup { name, .. } => name,
            WeightFrom::OfExpert { name, .. } | WeightFrom::RowsOfExpert { name, .. } => name,
            WeightFrom::Rewritten { name, .. } => name,
        }
    }

    /// Returns this place under another name of the tensor.
    fn renamed(self, rename: impl Fn(String) -> String) -> Self {
        match self {
            WeightFrom::Same(name) => WeightFrom::Same(rename(name)),
            WeightFrom::Transposed(name) => WeightFrom::Transposed(rename(name)),
            WeightFrom::Flat(name) => WeightFrom::Flat(rename(name)),
            WeightFrom::HeadsOut(name) => WeightFrom::HeadsOut(rename(name)),
            WeightFrom::HeadsIn(name) => WeightFrom::HeadsIn(rename(name)),
            WeightFrom::HeadRows(name) => WeightFrom::HeadRows(rename(name)),
            WeightFrom::Rows { name, start, count } => WeightFrom::Rows { name: rename(name), start, count },
            WeightFrom::Columns { name, start, count } => WeightFrom::Columns { name: rename(name), start, count },
            WeightFrom::OfExpert { name, expert, experts, part, parts } => {
                WeightFrom::OfExpert { name: rename(name), expert, experts, part, parts }
            }
            WeightFrom::RowsOfExpert { name, expert, experts, part, parts } => {
                WeightFrom::RowsOfExpert { name: rename(name), expert, experts, part, parts }
            }
            WeightFrom::OfEachHead { name, heads, parts, part } => {
                WeightFrom::OfEachHead { name: rename(name), heads, parts, part }
            }
            WeightFrom::OfEachGroup { name, groups, group, start, count } => {
                WeightFrom::OfEachGroup { name: rename(name), groups, group, start, count }
            }
            WeightFrom::Rewritten { name, whole, back } => WeightFrom::Rewritten { name: rename(name), whole, back },
        }
    }
}

/// Prefixes of names in the file of a whole model, absent if only the decoder was saved.
const PREFIXES: [&str; 5] = ["transformer.", "model.", "gpt_neox.", "backbone.", "bert."];

/// The end of a norm's name, and what it was called in files that were made from those of TensorFlow (BERT).
const EARLY_NORM: (&str, &str) = ("LayerNorm.weight", "LayerNorm.gamma");
const EARLY_NORM_BIAS: (&str, &str) = ("LayerNorm.bias", "LayerNorm.beta");

impl Layout {
    /// Returns the layout as this file has it, with or without the prefix of its family.
    pub fn fitted(self, file: &BTreeSet<&str>) -> Self {
        let left_off = PREFIXES.into_iter().find(|prefix| {
            let bare = |from: &WeightFrom| from.name().strip_prefix(prefix).is_some_and(|bare| file.contains(bare));
            !file.iter().any(|name| name.starts_with(prefix)) && self.weights.values().any(bare)
        });
        let fitted = match left_off {
            Some(prefix) => self.renamed(|name| name.strip_prefix(prefix).map_or(name.clone(), str::to_string)),
            None => self,
        };
        if !file.iter().any(|name| name.ends_with(EARLY_NORM.1)) {
            return fitted;
        }
        let early = |name: String| {
            let found = [EARLY_NORM, EARLY_NORM_BIAS]
                .into_iter()
                .find_map(|(ours, theirs)| name.strip_suffix(ours).map(|before| format!("{before}{theirs}")));
            found.unwrap_or(name)
        };
        fitted.renamed(early)
    }

    /// Returns the layout of a file with other names.
    pub fn renamed(self, rename: impl Fn(String) -> String) -> Self {
        Self {
            config: self.config,
            weights: self.weights.into_iter().map(|(ours, from)| (ours, from.renamed(&rename))).collect(),
            ignored: self.ignored.into_iter().map(&rename).collect(),
        }
    }

    /// Returns whether a tensor of the file is known to contain no learned weights.
    pub fn ignores(&self, name: &str) -> bool {
        self.ignored.iter().any(|pattern| match pattern.split_once('*') {
            None if pattern.ends_with('.') => name.starts_with(pattern),
            None => pattern == name,
            Some((before, after)) => {
                let layer = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                layer.is_some_and(|layer| !layer.is_empty() && layer.bytes().all(|b| b.is_ascii_digit()))
            }
        })
    }
}
