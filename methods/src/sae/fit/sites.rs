//! Reading of the activations of a text at several sites of models: each site by itself, or row by row.

use std::ops::Range;

use super::data::{FitData, RowBuffer, harvested};
use crate::base::{Result, Task};
use crate::data::harvest::{Harvest, TextReading, at_once};
use crate::err;
use crate::model::site::Place;
use crate::sae::cached::{ReadingKey, RowOrder};
use crate::sae::{About, ReadSite};
use crate::tensor::Tensor;

/// The sites of a model that some names stand for, in the order of the computation, and how they are read. As many as
/// can be held in memory together are harvested in one pass of the model. Where not even one site fits into memory, the
/// model runs again in every epoch, for each site.
pub struct SiteData<'a> {
    reading: TextReading<'a>,
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
    /// Whether all activations of the sites are held in memory.
    is_held: bool,
}

/// Groups sites of these widths that are read together, on a text of this many rows; a site that is not held in memory
/// is a group by itself.
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
    pub fn new(reading: TextReading<'a>, sites: &[&str], buffer: RowBuffer, task: &Task) -> Result<Self> {
        let mut harvest = reading.harvest(sites, task)?;
        let most = harvest.widths().iter().map(|width| buffer.rows_of(&[*width]) as u64).max().unwrap_or_default();
        let rows = match reading.text.options().tokens {
            Some(tokens) if tokens <= most => Some(tokens),
            _ => harvest.count(most, task)?,
        };
        let groups = grouped(harvest.widths(), rows, buffer);
        Ok(Self {
            names: harvest.places().iter().map(ToString::to_string).collect(),
            widths: harvest.widths().to_vec(),
            places: harvest.places().to_vec(),
            context: harvest.context(),
            reading,
            buffer,
            groups,
        })
    }

    /// Returns the number of sites.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Returns what all sites read, for the keys of the cache.
    pub fn reads(&self, task: &Task) -> Result<ReadingKey> {
        let harvest = self.reading.harvest(&texts(&self.names), task)?;
        ReadingKey::new(self.reading, harvest, task)
    }

    /// Returns the order of the rows of a site, and their width.
    pub fn order(&self, site: usize) -> Result<(RowOrder<'_>, &[usize])> {
        let found = self.groups.iter().find(|group| group.sites.contains(&site));
        let found = found.and_then(|group| Some((group, self.names.get(site)?, self.widths.get(site..=site)?)));
        let (group, name, width) = found.ok_or_else(|| err!(Bug, "a site that is not among those that are read"))?;
        let through = self.places.get(group.sites.clone()).unwrap_or_default();
        let buffer = (!group.is_held).then(|| self.buffer.rows_of(width));
        let at_once = at_once(&self.reading.model.decoder, through, self.context);
        Ok((RowOrder { site: name, at_once, buffer, seed: self.buffer.seed }, width))
    }

    /// Returns the activations of some sites, in the order that they have with all sites, each read when it is needed.
    pub fn each<'s>(&'s self, wanted: &'s [usize], task: &'s Task) -> impl Iterator<Item = Result<FitData>> + 's {
        let of_group = |group| match self.of_group(group, wanted, task) {
            Ok(data) => data.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        self.groups.iter().flat_map(of_group)
    }

    fn of_group(&self, group: &SiteGroup, wanted: &[usize], task: &Task) -> Result<Vec<FitData>> {
        if !group.sites.clone().any(|site| wanted.contains(&site)) {
            return Ok(Vec::new());
        }
        let names = texts(self.names.get(group.sites.clone()).unwrap_or_default());
        if !group.is_held {
            // It is the only one of its group.
            return Ok(vec![FitData::of_model(self.reading, &names, self.buffer, task)?]);
        }
        let held = |(site, x): (String, Tensor)| {
            let sites = vec![ReadSite::new(site)];
            let about = About { models: vec![self.reading.model.name()], sites, ..About::default() };
            FitData::of_tensors(&[x], self.buffer.seed, about)
        };
        let found = group.sites.clone().zip(harvested(self.reading, &names, task)?);
        found.filter(|(site, _)| wanted.contains(site)).map(|(_, found)| held(found)).collect()
    }
}

/// Sites of a model, or the same sites of several models, that are read row by row for one fit of all of them.
pub struct SitesTogether<'a> {
    readings: &'a [TextReading<'a>],
    sites: Vec<String>,
    /// Label of all sites together in the cache.
    label: String,
    buffer: RowBuffer,
    widths: Vec<usize>,
    at_once: usize,
}

impl<'a> SitesTogether<'a> {
    pub fn new(
        readings: &'a [TextReading<'a>],
        sites: Vec<String>,
        label: String,
        buffer: RowBuffer,
        task: &Task,
    ) -> Result<Self> {
        let names = texts(&sites);
        let harvests = readings.iter().map(|reading| reading.harvest(&names, task)).collect::<Result<Vec<_>>>()?;
        let widths = harvests.iter().flat_map(Harvest::widths).copied().collect();
        let at_once = harvests.first().map_or(0, Harvest::at_once);
        Ok(Self { readings, sites, label, buffer, widths, at_once })
    }

    /// Returns what all models read, for the keys of the cache.
    pub fn reads(&self, task: &Task) -> Result<ReadingKey> {
        let names = texts(&self.sites);
        let mut reads =
            self.readings.iter().map(|reading| ReadingKey::new(*reading, reading.harvest(&names, task)?, task));
        let first = reads.next().ok_or_else(|| err!(Bug, "no model to read"))??;
        reads.try_fold(first, |all, reads| Ok(all.beside(reads?)))
    }

    /// Returns the order of the rows, and the width of each site.
    pub fn order(&self) -> (RowOrder<'_>, &[usize]) {
        let buffer = Some(self.buffer.rows_of(&self.widths));
        (RowOrder { site: &self.label, at_once: self.at_once, buffer, seed: self.buffer.seed }, &self.widths)
    }

    /// Returns the activations of all sites, row by row.
    pub fn data(&self, task: &Task) -> Result<FitData> {
        // All of them share the memory, so that their rows have one order.
        let buffer = RowBuffer { rows: Some(self.buffer.rows_of(&self.widths)), ..self.buffer };
        let names = texts(&self.sites);
        let of_model = |reading: &TextReading| FitData::of_model(*reading, &names, buffer, task);
        let mut data = FitData::joined(self.readings.iter().map(of_model).collect::<Result<_>>()?)?;
        if self.readings.len() > 1 {
            let of_model = |model| self.sites.iter().map(move |site| ReadSite::of_model(site, model));
            data.about.sites = (0..self.readings.len()).flat_map(of_model).collect();
        }
        Ok(data)
    }
}

pub(super) fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_sites_are_read_together_as_can_be_held() {
        let buffer = RowBuffer { seed: 0, rows: None };
        let million = 1 << 20;
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
