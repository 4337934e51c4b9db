//! The content of a live report: one model, the dictionaries that its items name, and the items that answer.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::part::{LiveItem, LivePart, LiveUnit};
use crate::base::Result;
use crate::err;
use crate::features::feature::{check_feature, placed};
use crate::model::Model;
use crate::report::items::Item;
use crate::sae::{Sae, Transcoders};

/// The files of a live report: what it is of, and the folders of its model, its dictionaries and its transcoders by their numbers.
pub const CONTENTS: &str = "report.json";
pub const MODEL: &str = "model";
pub const DICTIONARY: &str = "dictionary-";
pub const TRANSCODERS: &str = "transcoders-";

/// The model and the dictionaries of a live report, and what each of its items answers with.
#[derive(Debug, Clone)]
pub struct LivePlan {
    pub model: Model,
    pub dictionaries: Vec<Sae>,
    pub transcoders: Vec<Transcoders>,
    /// The items in the order of the report; None for one that stays as it is printed.
    pub items: Vec<Option<LiveItem>>,
    /// Whether the page holds the matrices of the model as int8, in place of 16 bits.
    pub int8: bool,
}

/// The plan as a page is told of it, beside the files of model and dictionaries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveContents {
    /// The source of the model, which its dictionaries name.
    pub origin: String,
    /// Numbers of dictionaries and of sets of transcoders.
    pub dictionaries: usize,
    pub transcoders: usize,
    pub items: Vec<Option<LiveItem>>,
    pub int8: bool,
}

impl LivePlan {
    /// Plans the live report of these items. `find` returns the model of a name, or, where no item names one, that of the
    /// call. `more` are dictionaries for the cards of features, beside those of circuits.
    pub fn of(
        items: &[Rc<dyn Item>],
        find: impl FnOnce(Option<&str>) -> Result<Model>,
        more: Vec<Sae>,
    ) -> Result<Self> {
        let parts: Vec<Option<LivePart>> = items.iter().map(|item| item.live()).collect();
        if parts.iter().all(Option::is_none) {
            return Err(err!(Argument, "expected an item that answers, found none among {} items", items.len())
                .hint("circuits, pages of lenses, maps of heads and cards of features answer"));
        }
        let names: BTreeSet<&str> = parts.iter().flatten().filter_map(|part| part.model.as_deref()).collect();
        if names.len() > 1 {
            let names = names.into_iter().collect::<Vec<_>>().join("` and `");
            return Err(err!(Argument, "expected items of one model, found those of `{names}`")
                .hint("a live report has one model inside: make a report for each"));
        }
        let model = find(names.first().copied())?;
        model.decoder.check_keeps_none("a live report")?;
        model.decoder.config().expect_next_token("a live report")?;
        model.text_tokenizer()?;
        let mut plan =
            Self { model, dictionaries: Vec::new(), transcoders: Vec::new(), items: Vec::new(), int8: false };
        let mut cards = more;
        cards.extend(parts.iter().flatten().flat_map(|part| part.dictionaries.iter().cloned()));
        for part in parts {
            let item = part.map(|part| plan.placed(part, &cards)).transpose()?.flatten();
            plan.items.push(item);
        }
        if plan.items.iter().all(Option::is_none) {
            return Err(err!(Argument, "expected the dictionaries of the cards, found those of other sites alone")
                .hint("name them with the option `dictionaries`"));
        }
        for sae in &plan.dictionaries {
            placed(&plan.model, sae)?;
        }
        Ok(plan)
    }

    /// Returns an item whose dictionaries are counted as those of the report are; None where the dictionary of a card is
    /// unknown.
    fn placed(&mut self, part: LivePart, cards: &[Sae]) -> Result<Option<LiveItem>> {
        let LivePart { mut item, dictionaries, transcoders, .. } = part;
        match &mut item {
            LiveItem::Circuit(circuit) => {
                for node in &mut circuit.nodes {
                    if let Some(LiveUnit::Feature { dictionary, .. }) = &mut node.unit {
                        let own = dictionaries.get(*dictionary);
                        let own = own.ok_or_else(|| err!(Bug, "a node without its dictionary"))?;
                        *dictionary = self.dictionary(own);
                    }
                }
                circuit.transcoders = transcoders.map(|own| self.transcoders_of(own));
            }
            LiveItem::Feature(feature) => {
                let Some(own) = cards.iter().find(|sae| sae.parts().about.site() == feature.site) else {
                    return Ok(None);
                };
                check_feature(own, feature.feature)?;
                feature.dictionary = Some(self.dictionary(own));
            }
            LiveItem::Lenses(_) | LiveItem::Heads => {}
        }
        Ok(Some(item))
    }

    /// Returns the place of a dictionary, which is in the report once.
    fn dictionary(&mut self, sae: &Sae) -> usize {
        if let Some(known) = self.dictionaries.iter().position(|other| other.is(sae)) {
            return known;
        }
        self.dictionaries.push(sae.clone());
        self.dictionaries.len() - 1
    }

    fn transcoders_of(&mut self, own: Transcoders) -> usize {
        if let Some(known) = self.transcoders.iter().position(|other| other.is(&own)) {
            return known;
        }
        self.transcoders.push(own);
        self.transcoders.len() - 1
    }

    /// Returns what the page is told of the plan.
    pub fn contents(&self) -> LiveContents {
        LiveContents {
            origin: self.model.origin.clone(),
            dictionaries: self.dictionaries.len(),
            transcoders: self.transcoders.len(),
            items: self.items.clone(),
            int8: self.int8,
        }
    }
}
