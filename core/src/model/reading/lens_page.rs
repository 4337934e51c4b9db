//! A text read by several lenses beside each other: what each layer predicts at each position, and at which rank each of
//! these tokens stands in all layers.

use std::collections::{BTreeMap, BTreeSet};

use kernels::RowWord;

use super::fitted::FittedLens;
use super::lens::{Guess, LOGIT_LENS, LensReading, read, rows};
use crate::base::{Result, Task, memory};
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::by_words::TokenRank;
use crate::model::cache::Cache;
use crate::model::decoder::Decoder;
use crate::model::hooks::BoundHook;
use crate::model::run::{Ask, PassEnd, RecordOptions};
use crate::model::site::{Place, Site, SiteKind};
use crate::tokenizer::tokens::{TokenName, token_id};

crate::options! {
    /// Options of a page of lenses.
    pub struct LensPageOptions {
        /// Number of guesses of each lens in each layer at each position, the likeliest first.
        k: usize = 5 => at_least(1.0);
        /// Tokens whose ranks are known at each position; a page has them pinned at its last one when it is opened.
        pin: Vec<TokenName> = Vec::new() => usually("none");
        with record: RecordOptions;
    }
}

/// The readings of one lens.
#[derive(Debug, Clone, PartialEq)]
pub struct PageLens {
    /// The name of the lens; with a number where there are several of a kind.
    pub name: String,
    /// The guesses by layer and read position; None in a layer that the lens does not read.
    pub guesses: Vec<Option<Vec<Vec<Guess>>>>,
}

/// A token that a lens guesses at a position, the one that follows it, or one that is pinned.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackedToken {
    pub id: u32,
    /// The ranks by lens and layer; None in a layer that the lens does not read.
    pub ranks: Vec<Vec<Option<TokenRank>>>,
}

/// A text read by several lenses.
#[derive(Debug, Clone, PartialEq)]
pub struct LensPage {
    /// The tokens of the text.
    pub ids: Vec<u32>,
    /// The positions that were read.
    pub positions: Vec<usize>,
    pub lenses: Vec<PageLens>,
    /// The tokens of each read position whose ranks are known, by id.
    pub tracked: Vec<Vec<TrackedToken>>,
    /// The tokens that were pinned from the start, by id, each once.
    pub pinned: Vec<u32>,
    /// The names of all of these tokens.
    pub names: BTreeMap<u32, String>,
}

impl LensPage {
    /// Reads one text by the logit lens and by fitted lenses, after each layer. `name` names tokens.
    pub fn of(
        model: &Model,
        text: &Batch,
        lenses: &[&FittedLens],
        options: &LensPageOptions,
        hooks: Vec<BoundHook>,
        name: &dyn Fn(u32) -> String,
        task: &Task,
    ) -> Result<Self> {
        let ids = text.only_row()?.to_vec();
        let pinned = pinned(model, &options.pin, task).map_err(|e| e.about("pin"))?;
        let model: &Decoder = &model.decoder;
        let config = model.config();
        let count = options.k.min(config.outputs());
        let columns = options.record.pos.as_ref().map_or(ids.len(), Vec::len);
        let of_column = config.layers * (1 + lenses.len());
        memory::check(24 * (columns * of_column) as u128 * (of_column * count + pinned.len()) as u128, || {
            "the ranks of all guesses".into()
        })?;
        let places: Vec<Place> = (0..config.layers).map(output).collect();
        let ask = Ask { hooks, places: places.clone(), positions: options.record.pos.clone() };
        let cache = model.cache(text, ask, task)?;
        // The run has refused those that are beyond the text.
        let place = |position: &i64| position.rem_euclid(ids.len() as i64) as usize;
        let positions: Vec<usize> = match cache.positions() {
            Some(positions) => positions.iter().map(place).collect(),
            None => (0..ids.len()).collect(),
        };
        let mut sources = vec![Source { model, name: LOGIT_LENS.into(), lens: None, cache: &cache }];
        for (number, lens) in lenses.iter().enumerate() {
            let before = lenses[..number].iter().filter(|other| other.kind() == lens.kind()).count();
            let kind = lens.kind().name();
            let name = if before == 0 { kind.to_string() } else { format!("{kind} {}", before + 1) };
            lens.places(model)?;
            sources.push(Source { model, name, lens: Some(lens), cache: &cache });
        }
        let bar = task.begin("reading lenses", Some(2 * (sources.len() * places.len()) as u64));
        let mut wanted: Vec<BTreeSet<u32>> =
            positions.iter().map(|at| ids.get(at + 1).copied().into_iter().collect()).collect();
        // A token that is read may have no logit.
        wanted.iter_mut().for_each(|tokens| {
            tokens.retain(|id| (*id as usize) < config.outputs());
            tokens.extend(&pinned);
        });
        let mut read = Vec::new();
        for source in &sources {
            let mut guesses = Vec::new();
            for place in &places {
                let found = source.reading(*place, count, task)?.map(|reading| reading.guesses.concat());
                for (tokens, guesses) in wanted.iter_mut().zip(found.iter().flatten()) {
                    tokens.extend(guesses.iter().map(|guess| guess.token));
                }
                guesses.push(found);
                bar.advance(1);
            }
            read.push(PageLens { name: source.name.clone(), guesses });
        }
        let track = |id: &u32| TrackedToken { id: *id, ranks: vec![Vec::new(); sources.len()] };
        let mut tracked: Vec<Vec<TrackedToken>> = wanted.iter().map(|ids| ids.iter().map(track).collect()).collect();
        // Logits are computed again, since those of all layers and lenses would take much memory.
        for (number, source) in sources.iter().enumerate() {
            for place in &places {
                let ranks = source.ranks(*place, &wanted, task)?;
                for (column, tokens) in tracked.iter_mut().enumerate() {
                    for (at, token) in tokens.iter_mut().enumerate() {
                        token.ranks[number].push(ranks.as_ref().and_then(|ranks| ranks[column].get(at).copied()));
                    }
                }
                bar.advance(1);
            }
        }
        let names = wanted.iter().flatten().chain(&ids).map(|id| (*id, name(*id))).collect();
        Ok(Self { ids, positions, lenses: read, tracked, pinned, names })
    }

    /// Returns the number of layers.
    pub fn layers(&self) -> usize {
        self.lenses.first().map_or(0, |lens| lens.guesses.len())
    }

    pub fn name(&self, id: u32) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }
}

/// Returns the ids of tokens among those that the model predicts, each once.
fn pinned(model: &Model, tokens: &[TokenName], task: &Task) -> Result<Vec<u32>> {
    let mut pinned = Vec::new();
    for token in tokens {
        let id = token_id(i64::from(model.token(token, task)?), model.decoder.config().outputs())?;
        if !pinned.contains(&id) {
            pinned.push(id);
        }
    }
    Ok(pinned)
}

/// A lens on one run.
struct Source<'a> {
    model: &'a Decoder,
    name: String,
    /// The fitted lens; None for the logit lens.
    lens: Option<&'a FittedLens>,
    cache: &'a Cache,
}

impl Source<'_> {
    /// Returns the run that the lens reads in a layer; None if it does not read that.
    fn read_of(&self, place: Place) -> Result<Option<Cache>> {
        let Some(lens) = self.lens else { return Ok(Some(self.cache.clone())) };
        if !lens.places(self.model)?.contains(&place) {
            return Ok(None);
        }
        lens.carried_cache(self.model, self.cache, &[place]).map(Some)
    }

    /// Reads a layer, if the lens does.
    fn reading(&self, place: Place, count: usize, task: &Task) -> Result<Option<LensReading>> {
        let Some(cache) = self.read_of(place)? else { return Ok(None) };
        read(self.model, &cache, place, None, count, task).map(Some)
    }

    /// Computes the ranks of tokens at each position of a layer, if the lens reads it.
    fn ranks(&self, place: Place, wanted: &[BTreeSet<u32>], task: &Task) -> Result<Option<Vec<Vec<TokenRank>>>> {
        let Some(cache) = self.read_of(place)? else { return Ok(None) };
        let end = PassEnd::before_logits(rows(self.model, &cache, place, None, task)?.get(0)?);
        let of_column = |(column, ids): (usize, &BTreeSet<u32>)| ids.iter().map(|id| (column, *id)).collect::<Vec<_>>();
        let tokens: Vec<RowWord> = wanted.iter().enumerate().flat_map(of_column).collect();
        let mut ranks = self.model.ranks_of_tokens(&end, &tokens, task)?.into_iter();
        Ok(Some(wanted.iter().map(|ids| ranks.by_ref().take(ids.len()).collect()).collect()))
    }
}

/// Returns the site of a layer's output.
fn output(layer: usize) -> Place {
    Place { site: Site::new(SiteKind::ResidPost, layer), head: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::{config, decoder};
    use crate::model::reading::fitted::{JacobianLensOptions, fit_jacobian};
    use crate::model::reading::lens::{LensOptions, lens_of_batch};
    use crate::tensor::{DType, Tensor, floats};
    use std::sync::Arc;

    #[test]
    fn a_page_has_what_the_lenses_read() {
        let model = Arc::new(decoder(config(), DType::F32));
        let ids = vec![3, 1, 4, 1, 5];
        let options = JacobianLensOptions { skip_first: 0, ..JacobianLensOptions::default() };
        let lens = fit_jacobian(&model, std::slice::from_ref(&ids), &options, &Task::default()).unwrap();
        let text = Batch::new(vec![ids.clone()]).unwrap();
        let task = Task::default();
        let k = 3;
        let whole = Model::new(model.clone(), None, "init");
        let page = LensPage::of(
            &whole,
            &text,
            &[&lens, &lens],
            &LensPageOptions { k, ..LensPageOptions::default() },
            Vec::new(),
            &|id| id.to_string(),
            &task,
        )
        .unwrap();
        let names: Vec<&str> = page.lenses.iter().map(|lens| lens.name.as_str()).collect();
        assert_eq!(names, ["logit lens", "Jacobian lens", "Jacobian lens 2"]);
        let places: Vec<Place> = (0..2).map(output).collect();
        let wanted = LensOptions { k: Some(k), ..LensOptions::default() };
        let logit = lens_of_batch(&model, &text, &places, &wanted, Vec::new(), &task).unwrap();
        let both = lens.read(&model, &text, &places, &wanted, Vec::new(), &task).unwrap();
        for (found, expected) in page.lenses.iter().zip([&logit, &both.fitted, &both.fitted]) {
            for (layer, reading) in expected.iter().enumerate() {
                assert_eq!(found.guesses[layer].as_ref(), reading.guesses.first());
            }
        }
        let fitted: Vec<Tensor> = both.fitted.iter().map(|reading| reading.logits(&model, &task).unwrap()).collect();
        for (column, tokens) in page.tracked.iter().enumerate() {
            assert!(ids.get(column + 1).is_none_or(|next| tokens.iter().any(|token| token.id == *next)));
            for token in tokens {
                for (layer, reading) in both.fitted.iter().enumerate() {
                    let logits = floats(&fitted[layer].get(0).unwrap().get(column).unwrap()).unwrap();
                    let larger = logits.iter().filter(|logit| **logit > logits[token.id as usize]).count();
                    let found = token.ranks[1][layer].unwrap();
                    assert_eq!(found.rank, larger + 1);
                    let guess = reading.guesses[0][column].iter().find(|guess| guess.token == token.id);
                    assert!(guess.is_none_or(|guess| (guess.probability - found.probability).abs() < 1e-6));
                }
            }
        }
        let record = RecordOptions { pos: Some(vec![1, -1]) };
        let options = LensPageOptions { k, record, ..LensPageOptions::default() };
        let name = |id: u32| id.to_string();
        let of =
            |options: &LensPageOptions| LensPage::of(&whole, &text, &[&lens, &lens], options, Vec::new(), &name, &task);
        let some = of(&options).unwrap();
        assert_eq!((&some.ids, some.positions.as_slice()), (&ids, [1, 4].as_slice()));
        for (column, position) in [1, 4].into_iter().enumerate() {
            assert_eq!(some.tracked[column], page.tracked[position]);
            for (some, all) in some.lenses.iter().zip(&page.lenses) {
                let at = |lens: &PageLens, column: usize| -> Vec<Vec<Guess>> {
                    lens.guesses.iter().flatten().map(|layer| layer[column].clone()).collect()
                };
                assert_eq!(at(some, column), at(all, position));
            }
        }
        let last = logit[1].logits(&model, &task).unwrap();
        let least = floats(&last.get(0).unwrap().get(4).unwrap()).unwrap();
        let least = least.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        let pin = vec![TokenName::Id(least as i64), TokenName::Id(least as i64)];
        let with_pin = of(&LensPageOptions { pin, ..options }).unwrap();
        assert_eq!(with_pin.pinned, [least as u32]);
        for (tokens, without) in with_pin.tracked.iter().zip(&some.tracked) {
            assert!(tokens.iter().any(|token| token.id == least as u32));
            assert!(without.iter().all(|token| tokens.contains(token)));
        }
        let found = with_pin.tracked[1].iter().find(|token| token.id == least as u32).unwrap();
        assert_eq!(found.ranks[0][1].unwrap().rank, model.config().outputs());
        assert_eq!(with_pin.lenses, some.lenses);
        let beyond = RecordOptions { pos: Some(vec![5]) };
        assert!(of(&LensPageOptions { record: beyond, ..LensPageOptions::default() }).is_err());
        let unknown = LensPageOptions { pin: vec![TokenName::Id(1000)], ..LensPageOptions::default() };
        assert!(of(&unknown).is_err());
    }
}
