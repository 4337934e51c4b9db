//! Fragments of a text: one of each document, drawn at random, half of them to explain features and half to judge.

use rand::RngExt;
use rand::seq::SliceRandom;

use crate::data::pack::{EncodedDocument, Encoder, Row};
use crate::features::TextCodes;
use crate::features::feature::{FeatureList, tokenizer};
use crate::sae::prelude::*;
use crate::sae::{About, Parts};
use crate::tokenizer::labels::Labels;

/// The largest number of documents that are read for each fragment; a document that is shorter than a fragment is
/// skipped.
const DOCUMENTS: usize = 20;

crate::options! {
    /// The fragments of a text that features are explained by and judged on.
    pub struct FragmentOptions {
        /// Number of fragments, each from another document: half to explain, half to judge.
        fragments: usize = 1024 => at_least(4.0).at_most(1e6);
        /// Number of tokens in a fragment.
        length: Option<usize> = None => usually("64, and 32 for detection and fuzzing, or the model's context").at_least(2.0);
        /// The site that is read, for dictionaries that were made from activations alone.
        site: Option<String> = None => usually("that of each feature's dictionary");
    }
}

/// Halves of the fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    Explainer,
    Judge,
}

/// Fragments with the activations of some features.
pub struct Fragments {
    pub read: TextCodes,
    /// The number of fragments for explaining; they come first.
    explaining: usize,
    /// The seed of what is drawn of them.
    pub seed: u64,
    /// The number of each feature in its dictionary, which seeds the draws for it.
    pub numbers: Vec<u64>,
}

impl Fragments {
    /// Reads fragments of `usual` tokens, unless the options say otherwise. In every call that states no seed they are the
    /// same fragments of a text, so that none by which a feature is explained judges the explanation.
    pub fn of(
        model: &Model,
        list: &FeatureList,
        text: &Text,
        options: &FragmentOptions,
        usual: usize,
        seed: Seed,
        task: &Task,
    ) -> Result<Self> {
        let context = model.decoder.config().context;
        let length = options.length.unwrap_or(usual.min(context));
        if length > context {
            return Err(err!(
                Argument,
                "expected fragments of at most {context} tokens, the model's context, found {length}"
            )
            .about("length"));
        }
        let (rows, explaining) =
            rows(&text.labelled(), tokenizer(model)?, options.fragments, length, seed.sample(), task)?;
        let saes = list.saes.iter().map(|sae| placed(sae, options.site.as_deref())).collect::<Result<Vec<Sae>>>()?;
        let read = TextCodes::of_rows(model, &saes, &list.features, &rows, task)?;
        let numbers = list.features.iter().map(|(_, feature)| *feature as u64).collect();
        Ok(Self { read, explaining, seed: seed.draws(), numbers })
    }

    pub fn count(&self) -> usize {
        self.read.starts.len().saturating_sub(1)
    }

    pub fn half(&self, half: Half) -> Range<usize> {
        match half {
            Half::Explainer => 0..self.explaining,
            Half::Judge => self.explaining..self.count(),
        }
    }

    /// Returns the tokens of a fragment, by their places in the text.
    pub fn places(&self, fragment: usize) -> Range<usize> {
        let at = |number: usize| self.read.starts.get(number).copied().unwrap_or_default();
        at(fragment)..at(fragment + 1)
    }

    /// Returns a feature's activations in a fragment; one below 0 counts as 0.
    pub fn codes(&self, feature: usize, fragment: usize) -> Vec<f64> {
        let codes = self.read.codes.get(feature).and_then(|codes| codes.get(self.places(fragment)));
        codes.unwrap_or_default().iter().map(|code| f64::from(code.max(0.0))).collect()
    }

    /// Returns the texts of a fragment's tokens.
    pub fn tokens(&self, fragment: usize) -> Vec<&str> {
        let ids = self.read.ids.get(self.places(fragment)).unwrap_or_default();
        ids.iter().map(|id| self.read.texts.get(id).map_or("", String::as_str)).collect()
    }

    /// Returns the fragments of a half in which a feature is active, strongest first, and those in which it is not.
    pub fn sorted(&self, feature: usize, half: Half) -> (Vec<usize>, Vec<usize>) {
        let strongest = |fragment: usize| self.codes(feature, fragment).into_iter().fold(0.0, f64::max);
        let all = self.half(half).map(|fragment| (strongest(fragment), fragment));
        let (mut active, silent): (Vec<_>, Vec<_>) = all.partition(|(code, _)| *code > 0.0);
        order::sort_descending(&mut active, |(code, _)| *code);
        let numbers = |of: Vec<(f64, usize)>| of.into_iter().map(|(_, fragment)| fragment).collect();
        (numbers(active), numbers(silent))
    }

    /// Draws some of the fragments, for a feature and a purpose.
    pub fn drawn(&self, mut of: Vec<usize>, count: usize, feature: usize, purpose: &str) -> Vec<usize> {
        let turn = self.numbers.get(feature).copied().unwrap_or_default();
        let (drawn, _) = of.partial_shuffle(&mut stream(self.seed, purpose, turn), count);
        drawn.to_vec()
    }
}

/// Places a dictionary at a site, unless it has its own.
fn placed(sae: &Sae, site: Option<&str>) -> Result<Sae> {
    let parts = sae.parts().clone();
    match site.filter(|_| parts.about.sites.is_empty()) {
        None => Ok(sae.clone()),
        Some(site) => Sae::new(Parts { about: About { sites: vec![site.into()], ..parts.about }, ..parts }),
    }
}

/// Returns one fragment of each document: those to explain, then those to judge, and how many explain.
///
/// Of two documents in a row one is drawn to explain and the other judges, whatever the length of fragments, so that
/// explanations from fragments of one length are judged on other documents at another length, too.
fn rows(
    text: &Text,
    tokenizer: &Tokenizer,
    count: usize,
    length: usize,
    seed: u64,
    task: &Task,
) -> Result<(Vec<Row>, usize)> {
    let mut encoder = Encoder::new(text.documents(task)?, tokenizer.clone());
    let mut cuts = stream(seed, "fragments", 0);
    let mut halves = stream(seed, "halves of a text", 0);
    let mut left = text.options().tokens.unwrap_or(u64::MAX);
    let mut explaining = Vec::new();
    let mut judging = Vec::new();
    let mut documents = 0_usize;
    let mut explains = false;
    let bar = task.begin(&format!("reading {}", text.name()), Some(count as u64));
    while explaining.len() + judging.len() < count
        && documents < count.saturating_mul(DOCUMENTS)
        && left > 0
        && let Some(document) = encoder.next(task)?
    {
        explains = if documents.is_multiple_of(2) { halves.random() } else { !explains };
        documents += 1;
        left = left.saturating_sub(document.ids.len() as u64);
        if let Some(spare) = document.ids.len().checked_sub(length) {
            let row = cut(&document, cuts.random_range(0..=spare), length);
            if explains {
                explaining.push(row)
            } else {
                judging.push(row)
            }
            bar.advance(1);
        }
    }
    if explaining.len() < 2 || judging.len() < 2 {
        let found = explaining.len() + judging.len();
        return Err(err!(
            Argument,
            "expected at least 4 documents of {length} tokens or more, found {found} among {documents}"
        )
        .hint("read another text, or shorter fragments: #{ length: 16 }")
        .about("text"));
    }
    let middle = explaining.len();
    explaining.append(&mut judging);
    Ok((explaining, middle))
}

fn cut(document: &EncodedDocument, start: usize, length: usize) -> Row {
    let range = start..start + length;
    let of = |values: &Vec<u32>| values.get(range.clone()).unwrap_or_default().to_vec();
    let labels = document
        .labels
        .as_ref()
        .map(|labels| Labels { columns: labels.columns.clone(), values: labels.values.iter().map(of).collect() });
    Row {
        ids: of(&document.ids),
        spans: document.spans.get(range.clone()).unwrap_or_default().to_vec(),
        stretches: Vec::new(),
        labels,
    }
}
