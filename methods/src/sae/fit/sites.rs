//! How the activations of a text at several sites of a model are read, each site by itself.

use std::ops::Range;

use super::data::{FitData, RowBuffer, harvested};
use crate::base::{Result, Task};
use crate::data::Text;
use crate::data::harvest::{Harvest, HarvestOptions, at_once};
use crate::err;
use crate::model::Model;
use crate::model::site::Place;
use crate::sae::About;
use crate::sae::cached::{Reads, RowOrder};
use crate::tensor::Tensor;

/// The sites of a model that some names stand for, in the order of the computation, and how they are read. As many as
/// can be held in memory together are harvested in one pass of the model. Where not even one site fits into memory, the
/// model runs again in every epoch, for each site.
pub struct SiteData<'a> {
    model: &'a Model,
    text: &'a Text,
    options: &'a HarvestOptions,
    buffer: RowBuffer,
    places: Vec<Place>,
    names: Vec<String>,
    widths: Vec<usize>,
    context: usize,
    groups: Vec<SiteGroup>,
}

/// Consecutive sites that are read together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SiteGroup {
    sites: Range<usize>,
    /// Whether all their activations are held in memory.
    is_held: bool,
}

/// Which of the sites of these widths are read together, on a text of this many rows; none where not even one fits.
fn grouped(widths: &[usize], rows: Option<u64>, buffer: RowBuffer) -> Vec<SiteGroup> {
    let fits = |sites: &Range<usize>| {
        let widths = widths.get(sites.clone()).unwrap_or_default();
        rows.is_some_and(|rows| rows <= buffer.rows_of(widths) as u64)
    };
    let mut groups: Vec<SiteGroup> = Vec::new();
    for site in 0..widths.len() {
        match groups.last_mut().filter(|group| group.is_held && fits(&(group.sites.start..site + 1))) {
            Some(group) => group.sites.end = site + 1,
            None => groups.push(SiteGroup { sites: site..site + 1, is_held: fits(&(site..site + 1)) }),
        }
    }
    groups
}

impl<'a> SiteData<'a> {
    pub fn new(
        (model, sites): (&'a Model, &[&str]),
        text: &'a Text,
        options: &'a HarvestOptions,
        buffer: RowBuffer,
        task: &Task,
    ) -> Result<Self> {
        let mut harvest = Harvest::new(model, sites, text, options, task)?;
        let most = harvest.widths().iter().map(|width| buffer.rows_of(&[*width]) as u64).max().unwrap_or_default();
        let rows = match text.options().tokens {
            Some(tokens) if tokens <= most => Some(tokens),
            _ => harvest.count(most, task)?,
        };
        let groups = grouped(harvest.widths(), rows, buffer);
        Ok(Self {
            names: harvest.places().iter().map(ToString::to_string).collect(),
            widths: harvest.widths().to_vec(),
            places: harvest.places().to_vec(),
            context: harvest.context(),
            model,
            text,
            options,
            buffer,
            groups,
        })
    }

    pub fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// What all of them read, for the keys of the cache.
    pub fn reads(&self, task: &Task) -> Result<Reads> {
        let harvest = Harvest::new(self.model, &self.names(), self.text, self.options, task)?;
        Reads::new(self.model, self.text, self.options, harvest, task)
    }

    /// The order of the rows of one of them, and their width.
    pub fn order<'s>(&self, site: &'s str) -> Result<(RowOrder<'s>, usize)> {
        let at = self.names.iter().position(|name| name == site);
        let found = at.and_then(|at| Some((self.group(at)?, *self.widths.get(at)?)));
        let (group, width) = found.ok_or_else(|| err!(Bug, "a site that is not among those that are read"))?;
        let through = self.places.get(group.sites.clone()).unwrap_or_default();
        let buffer = (!group.is_held).then(|| self.buffer.rows_of(&[width]));
        let at_once = at_once(&self.model.decoder, through, self.context);
        Ok((RowOrder { site, at_once, buffer, seed: self.buffer.seed }, width))
    }

    fn group(&self, site: usize) -> Option<&SiteGroup> {
        self.groups.iter().find(|group| group.sites.contains(&site))
    }

    /// The activations at some of them, in the order that they have with all of them, each read when it is needed.
    pub fn each<'s>(&'s self, wanted: &'s [&str], task: &'s Task) -> impl Iterator<Item = Result<FitData>> + 's {
        let of_group = |group| match self.of_group(group, wanted, task) {
            Ok(data) => data.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        self.groups.iter().flat_map(of_group)
    }

    fn of_group(&self, group: &SiteGroup, wanted: &[&str], task: &Task) -> Result<Vec<FitData>> {
        let all: Vec<&str> = self.names().get(group.sites.clone()).unwrap_or_default().to_vec();
        let wanted: Vec<&str> = all.iter().copied().filter(|site| wanted.contains(site)).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        if !group.is_held {
            let streamed =
                |site: &&str| FitData::of_model((self.model, &[*site]), self.text, self.options, self.buffer, task);
            return wanted.iter().map(streamed).collect();
        }
        let held = |(site, x): (String, Tensor)| {
            let about = About { model: Some(self.model.origin.clone()), sites: vec![site], ..About::default() };
            FitData::of_tensors(&[x], self.buffer.seed, about)
        };
        let found = harvested(self.model, &all, self.text, self.options, task)?;
        found.into_iter().filter(|(site, _)| wanted.contains(&site.as_str())).map(held).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_sites_are_read_together_as_can_be_held() {
        let (buffer, million) = (RowBuffer { seed: 0, rows: None }, 1 << 20);
        let of = |widths: &[usize], rows: u64| -> Vec<(Range<usize>, bool)> {
            grouped(widths, Some(rows), buffer).into_iter().map(|group| (group.sites, group.is_held)).collect()
        };
        // 2 GiB hold a million rows of 512 numbers.
        assert_eq!(of(&[128; 4], million), [(0..4, true)]);
        assert_eq!(of(&[128; 6], million), [(0..4, true), (4..6, true)]);
        assert_eq!(of(&[256, 256, 512, 128], million), [(0..2, true), (2..3, true), (3..4, true)]);
        assert_eq!(of(&[128, 1024, 128], million), [(0..1, true), (1..2, false), (2..3, true)]);
        assert!(grouped(&[128; 3], None, buffer).iter().all(|group| !group.is_held && group.sites.len() == 1));
        let stated = RowBuffer { seed: 0, rows: Some(100) };
        assert_eq!(grouped(&[4096; 3], Some(100), stated), [SiteGroup { sites: 0..3, is_held: true }]);
        assert_eq!(grouped(&[1; 3], Some(101), stated).len(), 3);
    }
}
