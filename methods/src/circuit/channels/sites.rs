//! The channels of a model: the coordinates of what its weights read and write.
//!
//! Weights write to the residual stream (embeddings, outputs of attention and MLPs), read it (inputs of attention, of MLPs
//! and of the unembedding), and write queries, keys, values and neurons, as in Gao et al. 2025, section 2.2.

use crate::circuit::graph::{Node, Part};
use crate::common::*;

/// The kinds of sites that have channels, in the order of the computation.
const KINDS: [SiteKind; 10] = [
    SiteKind::Embed,
    SiteKind::PosEmbed,
    SiteKind::AttnIn,
    SiteKind::Q,
    SiteKind::K,
    SiteKind::V,
    SiteKind::AttnOut,
    SiteKind::MlpIn,
    SiteKind::MlpHidden,
    SiteKind::MlpOut,
];

/// A site with its channels.
#[derive(Debug, Clone)]
pub struct ChannelSite {
    pub site: Site,
    /// The shape of its activation at one position: `[width]`, or `[heads, d_head]`.
    pub shape: Vec<usize>,
    /// The number of its first channel among all.
    pub first: usize,
}

impl ChannelSite {
    pub fn width(&self) -> usize {
        self.shape.iter().product()
    }
}

/// All channels of a model, numbered site by site.
#[derive(Debug, Clone)]
pub struct Channels {
    pub sites: Vec<ChannelSite>,
    pub count: usize,
}

impl Channels {
    /// Lists the channels of a model, and refuses models whose weights do not read and write alone.
    pub fn new(decoder: &Decoder) -> Result<Self> {
        let config = decoder.config();
        config.expect_next_token("a circuit of channels")?;
        decoder.check_keeps_none("a circuit of channels")?;
        if let Some(found) = beyond(config) {
            return Err(err!(Argument, "expected attention and MLPs between plain sums, found {found}")
                .hint("`circuit::edges` and feature circuits take more kinds of models")
                .about("m"));
        }
        let last = if config.final_norm { SiteKind::FinalNorm } else { SiteKind::ResidPost };
        let is_read_last = |site: &Site| site.kind == last && (config.final_norm || site.layer + 1 == config.layers);
        let mut sites = Vec::new();
        let mut count = 0;
        for site in Site::all(config) {
            if !KINDS.contains(&site.kind) && !is_read_last(&site) {
                continue;
            }
            let shape = shape(config, site);
            let width: usize = shape.iter().product();
            sites.push(ChannelSite { site, shape, first: count });
            count += width;
        }
        Ok(Self { sites, count })
    }

    /// Returns the index of a site, if it has channels.
    pub fn index(&self, site: Site) -> Option<usize> {
        self.sites.iter().position(|one| one.site == site)
    }

    /// Returns the site and the channel of a number.
    pub fn place(&self, number: usize) -> (usize, usize) {
        let index = self.sites.partition_point(|one| one.first <= number).saturating_sub(1);
        (index, number - self.sites[index].first)
    }

    /// Returns the number of a graph's node, and refuses a node that is no channel of this model.
    pub fn number(&self, node: &Node) -> Result<usize> {
        let found = match node.part {
            Part::Channel(channel) => {
                let site = self.sites.iter().find(|one| one.site.to_string() == node.site);
                site.filter(|one| channel < one.width()).map(|one| one.first + channel)
            }
            _ => None,
        };
        found.ok_or_else(|| {
            err!(Argument, "expected channels of this model, found {}", node.name())
                .hint("judge a graph on the model that it was found in")
        })
    }

    /// Returns the node of a number.
    pub fn node(&self, number: usize) -> Node {
        let (index, channel) = self.place(number);
        Node::new(self.sites[index].site.to_string(), index, Part::Channel(channel))
    }
}

/// Describes what a model has beside attention and MLPs that read a stream through norms and add to it.
fn beyond(config: &Config) -> Option<&'static str> {
    match config {
        Config { experts: Some(_), .. } => Some("experts, of which each token has its own"),
        Config { post_norm: true, .. } => Some("norms behind attention and MLPs"),
        Config { gated_heads: true, .. } => Some("gates of attention heads"),
        _ => config.recurrent_layers().or(config.beyond_sums()),
    }
}

fn shape(config: &Config, site: Site) -> Vec<usize> {
    let layer = site.layer;
    match site.kind {
        SiteKind::Q => vec![config.heads, config.d_head_of(layer)],
        SiteKind::K | SiteKind::V => vec![config.kv_heads_of(layer), config.d_head_of(layer)],
        SiteKind::MlpHidden => vec![config.d_mlp_of(layer)],
        _ => vec![config.d_model],
    }
}
