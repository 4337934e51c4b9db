//! Reading of the activations of a text at several sites of models: each site by itself, or row by row.

use std::ops::Range;

use super::data::{FitData, HELD, RowBuffer, harvested};
use crate::common::*;
use crate::data::harvest::{Harvest, Relay, TextReading, at_once, goes_on};
use crate::sae::cached::{ReadingKey, RowOrder};
use crate::sae::{About, ReadSite};

/// Activations of several sites are held in memory together if they take no more than this, in bytes, where the model can
/// go on behind them: nothing is computed twice, and nine sites of 640 dimensions on 45,000 tokens would take 1 GiB.
const TOGETHER: usize = 640 << 20;

/// The sites of a model that some names stand for, in the order of the computation, and how they are read. As many as
/// can be held in memory together are harvested in one pass of the model, and the next ones from where it has left the
/// residual stream. Where not even one site fits into memory, the model runs again in every epoch, for each site.
pub struct SiteData<'a> {
    reading: TextReading<'a>,
    buffer: RowBuffer,
    places: Vec<Place>,
    names: Vec<String>,
    widths: Vec<usize>,
    context: usize,
    groups: Vec<SiteGroup>,
    /// Whether a group is read from where the one before it has left the residual stream.
    hands_over: bool,
}

/// Consecutive sites that are read together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SiteGroup {
    sites: Range<usize>,
    /// Whether all activations of the sites are held in memory.
    is_held: bool,
}

/// Groups sites of these widths that are read together, on a text of this many rows, where several may take `most` bytes;
/// a site that is not held in memory is a group by itself.
fn grouped(widths: &[usize], rows: Option<u64>, buffer: RowBuffer, most: usize) -> Vec<SiteGroup> {
    let fits = |bytes: usize, sites: Range<usize>| {
        let widths = widths.get(sites).unwrap_or_default();
        rows.is_some_and(|rows| rows <= buffer.rows_within(bytes, widths) as u64)
    };
    let mut groups: Vec<SiteGroup> = Vec::new();
    for site in 0..widths.len() {
        match groups.last_mut().filter(|group| group.is_held && fits(most, group.sites.start..site + 1)) {
            Some(group) => group.sites.end = site + 1,
            None => groups.push(SiteGroup { sites: site..site + 1, is_held: fits(HELD, site..site + 1) }),
        }
    }
    groups
}

/// Returns whether the model can go on behind groups of these sites, and its streams of so many tokens are no more than may
/// be held.
fn can_go_on(decoder: &Decoder, places: &[Place], tokens: u64) -> bool {
    let stream = u128::from(tokens) * (size_of::<f32>() * decoder.config().d_model) as u128;
    // Beside the sites of a group are the stream that it begins with and the one that it leaves.
    let fits = 3 * stream <= HELD as u128;
    // Logits are read in smaller batches, which sites of one group share.
    let has_logits = places.iter().any(|place| place.site.kind == SiteKind::Logits);
    fits && !has_logits && goes_on(decoder)
}

impl<'a> SiteData<'a> {
    pub fn new(reading: TextReading<'a>, sites: &[&str], buffer: RowBuffer, task: &Task) -> Result<Self> {
        Self::within(reading, sites, buffer, TOGETHER, task)
    }

    fn within(
        reading: TextReading<'a>,
        sites: &[&str],
        buffer: RowBuffer,
        together: usize,
        task: &Task,
    ) -> Result<Self> {
        let mut harvest = reading.harvest(sites, task)?;
        let countable = harvest.widths().iter().map(|width| buffer.rows_of(&[*width]) as u64).max().unwrap_or_default();
        let stated = reading.text.options().tokens.filter(|tokens| *tokens <= countable);
        let rows = match stated {
            Some(tokens) => Some(tokens),
            None => harvest.count(countable, task)?,
        };
        // A stream has the tokens that are skipped, too.
        let tokens = stated.unwrap_or(harvest.progress().read * harvest.context() as u64);
        let hands_over = can_go_on(&reading.model.decoder, harvest.places(), tokens);
        let groups = grouped(harvest.widths(), rows, buffer, if hands_over { together } else { HELD });
        Ok(Self {
            names: harvest.places().iter().map(ToString::to_string).collect(),
            widths: harvest.widths().to_vec(),
            places: harvest.places().to_vec(),
            context: harvest.context(),
            reading,
            buffer,
            groups,
            hands_over,
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
        let mut relay = None;
        let of_group = move |number: usize| match self.of_group(number, wanted, &mut relay, task) {
            Ok(data) => data.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        (0..self.groups.len()).flat_map(of_group)
    }

    fn of_group(
        &self,
        number: usize,
        wanted: &[usize],
        relay: &mut Option<Relay>,
        task: &Task,
    ) -> Result<Vec<FitData>> {
        let is_wanted = |group: &SiteGroup| group.sites.clone().any(|site| wanted.contains(&site));
        let Some((group, later)) = self.groups.get(number..).and_then(<[SiteGroup]>::split_first) else {
            return Err(err!(Bug, "a group of sites that is none"));
        };
        if !is_wanted(group) {
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
        let hands_over = self.hands_over && later.iter().any(|group| group.is_held && is_wanted(group));
        let found = harvested(self.reading, &names, relay.take(), hands_over, task)?;
        *relay = found.relay;
        let found = group.sites.clone().zip(found.sites);
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
    use crate::data::Text;
    use crate::data::harvest::HarvestOptions;
    use crate::data::text::TextOptions;
    use crate::fixtures::{config, decoder};
    use crate::model::Model;
    use crate::model::config::Config;
    use crate::model::site::Site;
    use crate::tensor::DType;
    use crate::tokenizer::Tokenizer;

    #[test]
    fn as_many_sites_are_read_together_as_can_be_held() {
        let buffer = RowBuffer { seed: 0, rows: None };
        let million = 1 << 20;
        let within = |widths: &[usize], rows: u64, most: usize| -> Vec<(Range<usize>, bool)> {
            grouped(widths, Some(rows), buffer, most).into_iter().map(|group| (group.sites, group.is_held)).collect()
        };
        let of = |widths: &[usize], rows: u64| within(widths, rows, HELD);
        // 2 GiB hold a million rows of 512 numbers.
        assert_eq!(of(&[128; 4], million), [(0..4, true)]);
        assert_eq!(of(&[128; 6], million), [(0..4, true), (4..6, true)]);
        assert_eq!(of(&[256, 256, 512, 128], million), [(0..2, true), (2..3, true), (3..4, true)]);
        assert_eq!(of(&[128, 1024, 128], million), [(0..1, true), (1..2, false), (2..3, true)]);
        assert!(grouped(&[128; 3], None, buffer, HELD).iter().all(|group| !group.is_held && group.sites.len() == 1));
        let stated = RowBuffer { seed: 0, rows: Some(100) };
        assert_eq!(grouped(&[4096; 3], Some(100), stated, HELD), [SiteGroup { sites: 0..3, is_held: true }]);
        assert_eq!(grouped(&[1; 3], Some(101), stated, HELD).len(), 3);
        // Where the model goes on behind a group, fewer are held together; alone, a site may take as much as before.
        assert_eq!(within(&[640; 9], 45_000, HELD), [(0..9, true)]);
        assert_eq!(within(&[640; 9], 45_000, TOGETHER), [(0..5, true), (5..9, true)]);
        assert_eq!(within(&[256, 512, 1024], million, TOGETHER), [(0..1, true), (1..2, true), (2..3, false)]);
    }

    #[test]
    fn streams_are_handed_over_that_can_be_held_beside_the_sites() {
        let decoder = decoder(config(), DType::F32);
        let goes_on = |kind: SiteKind, tokens: u64| {
            let place = Place { site: Site::new(kind, 0), head: None };
            can_go_on(&decoder, &[place], tokens)
        };
        let most = (HELD / (3 * size_of::<f32>() * decoder.config().d_model)) as u64;
        assert!(goes_on(SiteKind::ResidPost, most) && !goes_on(SiteKind::ResidPost, most + 1));
        assert!(!goes_on(SiteKind::Logits, 1));
    }

    #[test]
    fn sites_are_what_one_pass_gives_however_few_are_read_together() {
        let task = Task::default();
        let letters = (b'a'..=b'z').map(|letter| char::from(letter).to_string()).collect();
        let tokenizer = Tokenizer::characters(letters, None, None).unwrap();
        let config = Config { vocab: 26, context: 8, ..config() };
        let model = Model::new(decoder(config, DType::F32), Some(tokenizer), "small");
        let document = |i: usize| "abcdefghijklm".chars().cycle().skip(i).take(9 + i).collect::<String>();
        let documents: Vec<String> = (0..12).map(document).collect();
        let text = Text::given(documents, TextOptions::default()).unwrap();
        let options = HarvestOptions::default();
        let sites = ["resid_pre.0", "mlp_out.0", "resid_post.0", "z.1", "resid_post.1"];
        let buffer = RowBuffer { seed: 3, rows: None };
        let rows = |together: usize, wanted: &[usize]| -> (usize, Vec<Vec<Vec<f32>>>) {
            let reading = TextReading::new(&model, &text, &options);
            let data = SiteData::within(reading, &sites, buffer, together, &task).unwrap();
            let numbers = |data: Result<FitData>| {
                let x = data.unwrap().rows.next(40, &task).unwrap().remove(0);
                x.to_vec2::<f32>().unwrap()
            };
            let found = data.each(wanted, &task).map(numbers).collect();
            (data.groups.len(), found)
        };
        let (whole, expected) = rows(HELD, &[0, 1, 2, 3, 4]);
        assert_eq!((whole, expected.len()), (1, 5));
        for together in [1, 30_000] {
            let (groups, found) = rows(together, &[0, 1, 2, 3, 4]);
            assert!(groups > 1 && found == expected, "{groups} groups of {together} bytes");
            // What nobody wants is not read, and the others go on from an earlier stream, if there is one.
            for wanted in [[0, 4], [2, 4]] {
                assert!(rows(together, &wanted).1 == wanted.map(|site| expected[site].clone()));
            }
        }
    }
}
