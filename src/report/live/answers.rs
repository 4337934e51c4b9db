//! The answers of a live report, from the files that its page holds: questions and answers are plain data. The page asks them
//! of the engine, and tests of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::int8;
use super::part::{LiveCircuit, LiveFeature, LiveItem, LiveLenses, LiveUnit};
use super::plan::{CONTENTS, DICTIONARY, LiveContents, MODEL, TRANSCODERS};
use crate::base::files::Files;
use crate::base::{Result, Task, json as read_json, order};
use crate::checkpoint::load::LoadSettings;
use crate::circuit::attribution_graph::intervene::{FeatureChange, Freeze, NodeChange, intervene};
use crate::err;
use crate::features::contexts;
use crate::features::feature::placed;
use crate::intervene::chance::apart_of;
use crate::intervene::{FeatureHook, FeatureHookOptions};
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::decoder::{Decoder, Logits};
use crate::model::hooks::{Action, BoundHook};
use crate::model::reading::lens_page::{LensPage, LensPageOptions};
use crate::model::run::{Ask, PassEnd, RecordOptions};
use crate::model::site::{NAME_ONE, Place, one_site};
use crate::report::items::Item;
use crate::report::json::json;
use crate::sae::load::LoadOptions;
use crate::sae::transcoders::TranscodersOptions;
use crate::sae::{Sae, Transcoders, site_of};
use crate::tensor::{DType, Tensor, normalise};
use crate::tokenizer::tokens::TokenName;

/// Number of next tokens in an answer.
const NEXT: usize = 10;

/// Maximum number of positions that lenses read: the last ones. Each has the ranks of all its guesses in all layers.
const MOST_READ: usize = 32;

/// Model, dictionaries and items of a live report.
pub struct LiveReport {
    model: Model,
    dictionaries: Vec<LiveDictionary>,
    transcoders: Vec<Transcoders>,
    items: Vec<Option<LiveItem>>,
}

struct LiveDictionary {
    sae: Sae,
    place: Place,
}

/// A question to an item.
#[derive(Debug, Clone, Deserialize)]
pub struct LiveQuestion {
    pub item: usize,
    pub text: String,
    /// Nodes of a circuit that are changed.
    #[serde(default)]
    pub changes: Vec<LiveChange>,
    /// Layer and head whose pattern is asked for.
    #[serde(default)]
    pub head: Option<[usize; 2]>,
}

/// A node, and the factor of what it is: 0 ablates it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct LiveChange {
    pub node: usize,
    pub factor: f64,
}

/// A text as a model reads it, with or without changes.
struct Reading {
    /// The codes of each node at each token; None for a node without codes.
    codes: Vec<Option<Vec<f64>>>,
    /// End of the pass at all tokens.
    end: PassEnd,
}

/// A reading as a page is told of it.
#[derive(Debug, Serialize)]
struct Side {
    codes: Vec<Option<Vec<f64>>>,
    /// -log p of each token in nats; none for the first.
    loss: Vec<Option<f64>>,
    /// The mean of these.
    mean_loss: Option<f64>,
    /// The probability of each target after each token.
    targets: Vec<Vec<f64>>,
}

impl LiveReport {
    /// Loads what a page holds below a folder.
    pub fn load(files: &Files, root: &Path, task: &Task) -> Result<Self> {
        let text = files.bytes(&root.join(CONTENTS))?;
        let contents: LiveContents =
            read_json::read_content(&text, |e| err!(Format, "expected the items of a live report, found others: {e}"))?;
        let place = |name: &str, number: usize| root.join(format!("{name}{number}")).display().to_string();
        let mut model = if contents.int8 {
            int8::load(files, &root.join(MODEL), task)?
        } else {
            Model::load(files, &root.join(MODEL).display().to_string(), &LoadSettings::default(), task)?
        };
        // Dictionaries name the model that they are of by where it was.
        model.origin = contents.origin;
        let load = |number: usize| -> Result<LiveDictionary> {
            let sae = Sae::load(files, &place(DICTIONARY, number), &LoadOptions::default(), task)?;
            Ok(LiveDictionary { place: placed(&model, &sae)?, sae })
        };
        let dictionaries = (0..contents.dictionaries).map(load).collect::<Result<_>>()?;
        let options = TranscodersOptions::default();
        let load = |number: usize| Transcoders::load(files, &place(TRANSCODERS, number), &options, task);
        let transcoders = (0..contents.transcoders).map(load).collect::<Result<_>>()?;
        Ok(Self { model, dictionaries, transcoders, items: contents.items })
    }

    /// Answers a question in plain data: `item` and `text`, and what the kind of the item takes.
    pub fn answer(&self, question: &Value, task: &Task) -> Result<Value> {
        let LiveQuestion { item, text, changes, head } = LiveQuestion::deserialize(question)
            .map_err(|e| err!(Format, "expected the fields of a question, found others: {e}"))?;
        let Some(item) = self.items.get(item).and_then(Option::as_ref) else {
            return Err(err!(Argument, "expected an item that answers, found item {item}"));
        };
        let prompt = if let LiveItem::Circuit(circuit) = item { circuit.prompt.as_slice() } else { &[] };
        let (ids, cut) = self.ids(&text, prompt, task)?;
        let tokens: Vec<String> = ids.iter().map(|id| contexts::name(&self.model, *id)).collect();
        if ids.is_empty() {
            return Ok(json!({ "tokens": tokens, "cut": cut }));
        }
        let mut answer = match item {
            LiveItem::Circuit(circuit) => self.circuit(circuit, &ids, &changes, task)?,
            LiveItem::Lenses(lenses) => self.lenses(lenses, &ids, task)?,
            LiveItem::Heads => self.head(head, &ids, task)?,
            LiveItem::Feature(feature) => self.feature(feature, &ids, task)?,
        };
        answer["tokens"] = json!(tokens);
        answer["cut"] = cut.into();
        Ok(answer)
    }

    /// Returns the tokens of a text, as many as the model reads, and how many are left out. Where a prompt had a token before
    /// its text that the tokenizer adds only when it is asked to, so has the text.
    fn ids(&self, text: &str, prompt: &[u32], task: &Task) -> Result<(Vec<u32>, usize)> {
        let tokenizer = self.model.text_tokenizer()?;
        let mut ids = tokenizer.encode(text, None, task)?.ids;
        if !prompt.is_empty() && !ids.is_empty() && ids.first() != prompt.first() {
            let begun =
                tokenizer.encode(text, Some(true), task).ok().filter(|begun| begun.ids.first() == prompt.first());
            ids = begun.map_or(ids, |begun| begun.ids);
        }
        let cut = ids.len().saturating_sub(self.model.decoder.config().context);
        ids.truncate(ids.len() - cut);
        Ok((ids, cut))
    }

    /// Reads a text as a circuit's nodes do, as it is and with the changes.
    fn circuit(&self, circuit: &LiveCircuit, ids: &[u32], changes: &[LiveChange], task: &Task) -> Result<Value> {
        let mut factors = BTreeMap::new();
        for LiveChange { node, factor } in changes {
            if !factor.is_finite() {
                return Err(err!(Argument, "expected a finite factor, found {factor}"));
            }
            let unit = circuit.nodes.get(*node).and_then(|node| node.unit.as_ref());
            let unit = unit.ok_or_else(|| err!(Argument, "expected a node that can be changed, found node {node}"))?;
            factors.insert(unit, *factor);
        }
        let (before, after) = match circuit.transcoders {
            Some(transcoders) => self.by_transcoders(circuit, transcoders, ids, &factors, task)?,
            None => self.by_dictionaries(circuit, ids, &factors, task)?,
        };
        let next = self.next(&before, after.as_ref(), task)?;
        let targets: Vec<String> = circuit.targets.iter().map(|id| contexts::name(&self.model, *id)).collect();
        let side = |reading: Reading| json(&side(&self.model.decoder, reading, &circuit.targets, ids, task)?);
        let before = side(before)?;
        let after = after.map(side).transpose()?;
        Ok(json!({ "before": before, "after": after, "next": next, "targets": targets }))
    }

    /// Reads a text with dictionaries of single sites, without the changes and with them: features are scaled wherever they are
    /// active.
    fn by_dictionaries(
        &self,
        circuit: &LiveCircuit,
        ids: &[u32],
        factors: &BTreeMap<&LiveUnit, f64>,
        task: &Task,
    ) -> Result<(Reading, Option<Reading>)> {
        let before = self.with_hooks(circuit, ids, Vec::new(), task)?;
        if factors.is_empty() {
            return Ok((before, None));
        }
        let after = self.with_hooks(circuit, ids, self.hooks(factors, task)?, task)?;
        Ok((before, Some(after)))
    }

    fn with_hooks(
        &self,
        circuit: &LiveCircuit,
        ids: &[u32],
        hooks: Vec<BoundHook<'_>>,
        task: &Task,
    ) -> Result<Reading> {
        let units = || circuit.nodes.iter().map(|node| node.unit.as_ref());
        let used: BTreeSet<usize> = units().flatten().filter_map(LiveUnit::dictionary).collect();
        let places: BTreeSet<Place> =
            used.iter().filter_map(|number| Some(self.dictionaries.get(*number)?.place)).collect();
        let batch = Batch::new(vec![ids.to_vec()])?;
        let ask = Ask { hooks, places: places.into_iter().collect(), positions: None };
        let (cache, end) = self.model.decoder.run_to_end(&batch, ask, &batch.points(), task)?;
        let mut read = BTreeMap::new();
        for number in used {
            let LiveDictionary { sae, place } = self.dictionary(number)?;
            read.insert(number, contexts::recorded(&self.model, sae, *place, &batch, 0, &cache, task)?);
        }
        let codes = |unit: Option<&LiveUnit>| -> Option<Vec<f64>> {
            let Some(LiveUnit::Feature { dictionary, feature }) = unit else { return None };
            let codes = read.get(dictionary)?;
            Some((0..ids.len()).map(|row| f64::from(codes.code(row, *feature))).collect())
        };
        Ok(Reading { codes: units().map(codes).collect(), end })
    }

    /// Returns the hooks of a run with changes: one for the features of a dictionary that have one factor.
    fn hooks<'a>(&self, factors: &BTreeMap<&LiveUnit, f64>, task: &Task) -> Result<Vec<BoundHook<'a>>> {
        let scaled = |factor: f64| if factor == 0.0 { Action::Zero } else { Action::Scale(factor) };
        let mut groups: BTreeMap<(usize, u64), Vec<usize>> = BTreeMap::new();
        let mut hooks = Vec::new();
        for (unit, factor) in factors {
            match unit {
                LiveUnit::Feature { dictionary, feature } => {
                    groups.entry((*dictionary, factor.to_bits())).or_default().push(*feature);
                }
                LiveUnit::Site { site } => {
                    let edit = Box::new(scaled(*factor).begin());
                    hooks.push(BoundHook::new(self.model.decoder.config(), site, None, None, edit)?);
                }
                LiveUnit::Transcoder { .. } => return Err(err!(Bug, "a transcoder without its graph")),
            }
        }
        for ((dictionary, factor), features) in groups {
            let sae = self.dictionary(dictionary)?.sae.clone();
            let hook = FeatureHook::new(sae, features, &FeatureHookOptions::default(), site_of)?;
            let action = hook.action(&scaled(f64::from_bits(factor)), task)?;
            hooks.push(hook.bound(&self.model, Box::new(action.begin()), None)?);
        }
        Ok(hooks)
    }

    /// Reads a text with the transcoders of an attribution graph, without the changes and with them. In the graph's own prompt a
    /// feature is changed at its position, in others wherever it is active; nothing else is held.
    fn by_transcoders(
        &self,
        circuit: &LiveCircuit,
        transcoders: usize,
        ids: &[u32],
        factors: &BTreeMap<&LiveUnit, f64>,
        task: &Task,
    ) -> Result<(Reading, Option<Reading>)> {
        let transcoders =
            self.transcoders.get(transcoders).ok_or_else(|| err!(Bug, "a graph without its transcoders"))?;
        let positions: Vec<usize> = (0..ids.len()).collect();
        let run = |changes: &[NodeChange]| {
            intervene(&self.model, transcoders, ids, changes, Freeze::Nothing, &positions, task)
        };
        let clean = run(&[])?;
        let active = fired(circuit, transcoders, &clean.pre)?;
        let end = |logits: Tensor| PassEnd::of(logits, Logits::Points(&[]));
        let before = Reading { codes: codes_of(circuit, &active)?, end: end(clean.before) };
        if factors.is_empty() {
            return Ok((before, None));
        }
        let changed = run(&node_changes(factors, &active, &circuit.prompt, ids)?)?;
        let active = fired(circuit, transcoders, &changed.pre)?;
        Ok((before, Some(Reading { codes: codes_of(circuit, &active)?, end: end(changed.after) })))
    }

    /// Returns the likeliest next tokens, each with its probability before and after the changes.
    fn next(&self, before: &Reading, after: Option<&Reading>, task: &Task) -> Result<Vec<Value>> {
        let shares = |reading: &Reading| -> Result<Vec<f64>> {
            let points = reading.end.points()?;
            let last = self.model.decoder.logits_of(&reading.end, points - 1..points, task)?;
            let last = last.get(0)?.to_dtype(DType::F64)?;
            Ok(normalise::softmax(&last, 0)?.to_vec1()?)
        };
        let p = shares(before)?;
        let q = after.map(shares).transpose()?;
        let later = |id: usize| q.as_ref().and_then(|q| q.get(id).copied());
        let most: Vec<f64> = p.iter().enumerate().map(|(id, p)| later(id).map_or(*p, |q| p.max(q))).collect();
        let row = |id: usize| json!([contexts::name(&self.model, id as u32), p[id], later(id)]);
        Ok(order::descending(&most).into_iter().take(NEXT).map(row).collect())
    }

    /// Reads the last positions of a text by the logit lens, as a page of lenses has it.
    fn lenses(&self, lenses: &LiveLenses, ids: &[u32], task: &Task) -> Result<Value> {
        let batch = Batch::new(vec![ids.to_vec()])?;
        let positions = (ids.len().saturating_sub(MOST_READ)..ids.len()).map(|position| position as i64).collect();
        let options = LensPageOptions {
            k: lenses.guesses.max(1),
            pin: lenses.pinned.iter().map(|id| TokenName::Id(i64::from(*id))).collect(),
            record: RecordOptions { pos: Some(positions) },
        };
        let name = |id: u32| contexts::name(&self.model, id);
        let page = LensPage::of(&self.model, &batch, &[], &options, Vec::new(), &name, task)?;
        Ok(json!({ "html": page.html()?, "read": page.positions.len() }))
    }

    /// Returns the pattern of a head: a row for each query, a column for each key.
    fn head(&self, head: Option<[usize; 2]>, ids: &[u32], task: &Task) -> Result<Value> {
        let [layer, head] = head.ok_or_else(|| err!(Argument, "expected a layer and a head, found none"))?;
        let decoder = &self.model.decoder;
        let place = one_site(decoder.config(), &format!("pattern.{layer}.{head}"), NAME_ONE)?;
        let batch = Batch::new(vec![ids.to_vec()])?;
        let cache = decoder.cache(&batch, Ask { places: vec![place], ..Ask::default() }, task)?;
        let shares = cache.at(place)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let pattern: Vec<&[f64]> = shares.chunks(ids.len()).collect();
        Ok(json!({ "pattern": pattern }))
    }

    /// Reads a text with the dictionary of a feature.
    fn feature(&self, of: &LiveFeature, ids: &[u32], task: &Task) -> Result<Value> {
        let number = of.dictionary.ok_or_else(|| err!(Bug, "a feature without its dictionary"))?;
        let LiveDictionary { sae, place } = self.dictionary(number)?;
        let codes = contexts::codes(&self.model, sae, *place, &[ids.to_vec()], task)?;
        let codes: Vec<f64> = (0..ids.len()).map(|row| f64::from(codes.code(row, of.feature))).collect();
        Ok(json!({ "codes": codes }))
    }

    fn dictionary(&self, number: usize) -> Result<&LiveDictionary> {
        self.dictionaries.get(number).ok_or_else(|| err!(Bug, "a feature without its dictionary"))
    }
}

impl LiveUnit {
    fn dictionary(&self) -> Option<usize> {
        if let Self::Feature { dictionary, .. } = self { Some(*dictionary) } else { None }
    }

    fn layer(&self) -> Option<usize> {
        if let Self::Transcoder { layer, .. } = self { Some(*layer) } else { None }
    }
}

/// Returns the activations of all features of each layer that nodes are of, `[pos, features]`.
fn fired(circuit: &LiveCircuit, transcoders: &Transcoders, pre: &[Tensor]) -> Result<BTreeMap<usize, Tensor>> {
    let units = circuit.nodes.iter().filter_map(|node| node.unit.as_ref());
    let layers: BTreeSet<usize> = units.filter_map(LiveUnit::layer).collect();
    let of_layer = |layer: usize| -> Result<(usize, Tensor)> {
        let found = transcoders.layers().get(layer).zip(pre.get(layer));
        let (features, pre) = found.ok_or_else(|| err!(Bug, "a feature of no layer"))?;
        Ok((layer, features.fired(pre)?))
    };
    layers.into_iter().map(of_layer).collect()
}

/// Returns the activations of each node at each token; None for one that is no feature.
fn codes_of(circuit: &LiveCircuit, active: &BTreeMap<usize, Tensor>) -> Result<Vec<Option<Vec<f64>>>> {
    let codes = |unit: Option<&LiveUnit>| -> Result<Option<Vec<f64>>> {
        let Some(LiveUnit::Transcoder { layer, feature, .. }) = unit else { return Ok(None) };
        of_feature(active, *layer, *feature).map(Some)
    };
    circuit.nodes.iter().map(|node| codes(node.unit.as_ref())).collect()
}

/// Returns the changes of features of transcoders, each at its positions.
fn node_changes(
    factors: &BTreeMap<&LiveUnit, f64>,
    active: &BTreeMap<usize, Tensor>,
    prompt: &[u32],
    ids: &[u32],
) -> Result<Vec<NodeChange>> {
    let mut values = BTreeMap::new();
    for (unit, factor) in factors {
        let LiveUnit::Transcoder { layer, feature, position } = unit else {
            return Err(err!(Bug, "a change of what is no feature of a graph"));
        };
        let codes = of_feature(active, *layer, *feature)?;
        let changed = codes.iter().enumerate().filter(|(at, code)| **code != 0.0 && (ids != prompt || at == position));
        values.extend(changed.map(|(at, code)| ((*layer, at, *feature), factor * code)));
    }
    let change =
        |((layer, position, feature), value)| NodeChange::from(FeatureChange { layer, position, feature, value });
    Ok(values.into_iter().map(change).collect())
}

/// Returns the activations of a feature of transcoders; at the first position none counts as active.
fn of_feature(active: &BTreeMap<usize, Tensor>, layer: usize, feature: usize) -> Result<Vec<f64>> {
    let all = active.get(&layer).ok_or_else(|| err!(Bug, "a feature of no layer"))?;
    let mut codes = all.narrow(1, feature, 1)?.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    if let Some(first) = codes.first_mut() {
        *first = 0.0;
    }
    Ok(codes)
}

/// Returns what a page is told of a reading.
fn side(model: &Decoder, reading: Reading, targets: &[u32], ids: &[u32], task: &Task) -> Result<Side> {
    let losses = model.losses_within(&reading.end, ids, task)?;
    if let Some(wrong) = losses.iter().find(|loss| !loss.is_finite()) {
        return Err(err!(Numeric, "expected losses that are numbers, found {wrong}")
            .hint("the change is too large for the model; take a smaller factor"));
    }
    let mean = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
    let targets = if targets.is_empty() {
        Vec::new()
    } else {
        let found = apart_of(model, &reading.end, targets, task)?;
        (0..targets.len()).map(|target| found.iter().map(|point| point[target]).collect()).collect()
    };
    Ok(Side {
        codes: reading.codes,
        mean_loss: (!losses.is_empty()).then_some(mean),
        loss: std::iter::once(None).chain(losses.into_iter().map(Some)).collect(),
        targets,
    })
}
