//! The activations of a text at several sites of a model, each by itself: in which way they are read.

use super::rows::{Held, Source, harvested};
use crate::base::{Result, Task};
use crate::data::Text;
use crate::data::harvest::{Harvest, Options, at_once};
use crate::err;
use crate::model::Model;
use crate::model::site::Place;
use crate::sae::About;
use crate::sae::kept::{self, Reads};
use crate::tensor::Tensor;

/// The sites of a model that some names stand for, in the order of the computation, and how they are read. What can be
/// held in memory is harvested in one pass of the model; else the model runs anew for each site.
pub struct Sites<'a> {
    model: &'a Model,
    text: &'a Text,
    options: &'a Options,
    held: Held,
    places: Vec<Place>,
    names: Vec<String>,
    widths: Vec<usize>,
    context: usize,
    together: bool,
}

impl<'a> Sites<'a> {
    pub fn new(
        model: &'a Model,
        sites: &[&str],
        text: &'a Text,
        (options, held): (&'a Options, Held),
        task: &Task,
    ) -> Result<Self> {
        let mut harvest = Harvest::new(model, sites, text, options, task)?;
        let most = held.of_widths(harvest.widths()) as u64;
        let together = match text.options().tokens {
            Some(tokens) if tokens <= most => true,
            _ => harvest.count(most, task)?.is_some(),
        };
        Ok(Self {
            names: harvest.places().iter().map(ToString::to_string).collect(),
            widths: harvest.widths().to_vec(),
            places: harvest.places().to_vec(),
            context: harvest.context(),
            model,
            text,
            options,
            held,
            together,
        })
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What all of them read, for the keys of dictionaries that are kept.
    pub fn reads(&self, task: &Task) -> Result<Reads> {
        let harvest = Harvest::new(self.model, &self.all(), self.text, self.options, task)?;
        Reads::new(self.model, self.text, self.options, harvest, task)
    }

    /// How the rows of one of them come, and how wide they are.
    pub fn rows<'s>(&self, site: &'s str) -> Result<(kept::Rows<'s>, usize)> {
        let at = self.names.iter().position(|name| name == site);
        let found = at.and_then(|at| Some((self.places.get(at)?, *self.widths.get(at)?)));
        let (place, width) = found.ok_or_else(|| err!(Bug, "a site that is not among those that are read"))?;
        let (through, buffer) = match self.together {
            true => (self.places.as_slice(), None),
            false => (std::slice::from_ref(place), Some(self.held.of_widths(&[width]))),
        };
        let at_once = at_once(&self.model.decoder, through, self.context);
        Ok((kept::Rows { site, at_once, buffer, seed: self.held.seed }, width))
    }

    /// The activations at some of them, which come as they would with all of them.
    pub fn sources(&self, wanted: &[&str], task: &Task) -> Result<Vec<Source>> {
        if !self.together {
            let source =
                |site: &&str| Source::of_model((self.model, &[*site]), self.text, self.options, self.held, task);
            return wanted.iter().map(source).collect();
        }
        let source = |(site, x): (String, Tensor)| {
            let about = About { model: Some(self.model.origin.clone()), sites: vec![site], ..About::default() };
            Source::of_tensors(&[x], self.held.seed, about)
        };
        let found = harvested(self.model, &self.all(), self.text, self.options, task)?;
        found.into_iter().filter(|(site, _)| wanted.contains(&site.as_str())).map(source).collect()
    }

    fn all(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }
}
