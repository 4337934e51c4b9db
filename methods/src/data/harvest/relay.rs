//! Harvests of one text in turn, each of which begins with the residual stream that the one before has left, so that no
//! block of the model is computed twice.

use std::collections::VecDeque;

use super::Harvest;
use crate::common::*;

/// The residual stream at a site in each batch of a harvest.
pub struct Relay {
    pub(super) site: Site,
    /// Rows of tokens in a batch.
    at_once: usize,
    streams: VecDeque<Tensor>,
}

impl Relay {
    pub(super) fn push(&mut self, stream: Tensor) {
        self.streams.push_back(stream);
    }

    /// Returns the stream of the next batch, which is not kept any longer.
    pub(super) fn next_batch(&mut self) -> Result<Tensor> {
        self.streams.pop_front().ok_or_else(|| err!(Bug, "a harvest with more batches than the one before it"))
    }
}

/// Returns whether passes that begin with the residual stream behind a block compute what whole passes do from there on.
/// On a device, streams would take its memory.
pub fn goes_on(decoder: &Decoder) -> bool {
    let config = decoder.config();
    let is_of_stream = (1..config.layers).all(|block| config.keys_passed_on(0, block).is_empty());
    decoder.kept().is_empty() && decoder.device().is_cpu() && config.layer_inputs.is_none() && is_of_stream
}

impl Harvest {
    /// Makes the harvest keep the residual stream for one of sites behind its own, if that can go on there.
    pub fn handing_over(self) -> Self {
        let site = self.place_of_relay().filter(|_| goes_on(&self.decoder));
        let relay = site.map(|site| Relay { site, at_once: self.at_once, streams: VecDeque::new() });
        Self { handed: relay, ..self }
    }

    /// Returns what was kept for another harvest.
    pub fn handed_over(self) -> Option<Relay> {
        self.handed
    }

    /// Returns the number of dimensions that are kept for another harvest.
    pub fn handed_width(&self) -> usize {
        self.handed.as_ref().map_or(0, |_| self.decoder.config().d_model)
    }

    /// Begins where another harvest of the same text has left the stream, if that is before all sites of this one, and in
    /// the same batches.
    pub fn starting_at(self, relay: Option<Relay>) -> Self {
        let first = self.places.first().map(|place| place.site);
        let begun =
            relay.filter(|relay| relay.at_once == self.at_once && first.is_some_and(|first| relay.site < first));
        Self { begun, ..self }
    }

    /// Returns the last place in the stream behind a block that is not behind the last site.
    fn place_of_relay(&self) -> Option<Site> {
        let last = self.places.last()?.site;
        let layer = if last.kind == SiteKind::ResidPost { last.layer } else { last.layer.checked_sub(1)? };
        Some(Site::new(SiteKind::ResidPost, layer))
    }
}
