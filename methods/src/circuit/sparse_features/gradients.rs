//! Passes that note what dictionaries read and write, and take gradients where they write.

use candle_core::Var;
use kernels::TapedTensor;

use super::cases::Portion;
use super::placed::{DictionaryValues, PlacedDictionary};
use crate::common::*;
use crate::model::hooks::{At, Hooks};

/// A pass with variables at the sites where some dictionaries write.
#[derive(Default)]
struct GradientVariables<'a> {
    placed: &'a [PlacedDictionary],
    /// The dictionaries where a variable of zeros is added, whose gradient is that of the activation.
    tapped: Range<usize>,
    /// Whether gradients stop at these dictionaries, so that each is reached directly only.
    cuts: bool,
    /// The tensor that is added at a dictionary's output site.
    moved: Option<(usize, &'a Tensor)>,
    /// The dictionary whose values end the pass.
    until: Option<usize>,
    variables: BTreeMap<usize, Var>,
    noted: BTreeMap<Site, Tensor>,
    values: Option<DictionaryValues>,
}

impl GradientVariables<'_> {
    /// Returns the dictionaries that write a site.
    fn at(&self, site: Site) -> impl Iterator<Item = usize> + use<> {
        let found: Vec<usize> = (0..self.placed.len()).filter(|at| self.placed[*at].writes.site == site).collect();
        found.into_iter()
    }
}

impl Hooks for GradientVariables<'_> {
    fn wants(&self, site: Site) -> bool {
        self.placed.iter().any(|placed| [placed.reads.site, placed.writes.site].contains(&site))
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        self.noted.insert(at.site, x.clone());
        let mut changed = None;
        for number in self.at(at.site) {
            let mut x = changed.clone().unwrap_or_else(|| x.clone());
            if let Some((_, by)) = self.moved.filter(|(moved, _)| *moved == number) {
                x = (&x + by.to_dtype(x.dtype())?)?;
                changed = Some(x.clone());
            }
            if self.until == Some(number) {
                let placed = &self.placed[number];
                let read = self.noted.get(&placed.reads.site);
                let read = read.ok_or_else(|| err!(Bug, "`{}` was not passed", placed.reads))?;
                self.values = Some(placed.values(read, &x)?);
            }
            if self.tapped.contains(&number) {
                let variable = Var::zeros(x.shape(), x.dtype(), x.device())?;
                let x = if self.cuts { x.detach() } else { x };
                changed = Some(kernels::add(&x, variable.as_tensor())?);
                self.variables.insert(number, variable);
            }
        }
        Ok(changed)
    }

    fn last(&self) -> Option<Site> {
        self.until.map(|until| self.placed[until].writes.site)
    }
}

/// Activations that dictionaries read and write in a pass.
pub struct SiteActivations(BTreeMap<Site, Tensor>);

impl SiteActivations {
    /// Returns the activation that a dictionary reads.
    pub fn read(&self, placed: &PlacedDictionary) -> Result<&Tensor> {
        self.at(placed.reads.site)
    }

    /// Returns the nodes of a dictionary.
    pub fn values(&self, placed: &PlacedDictionary) -> Result<DictionaryValues> {
        let place = |e: crate::base::Error| e.within(format!("at `{}`", placed.writes));
        placed.values(self.at(placed.reads.site)?, self.at(placed.writes.site)?).map_err(place)
    }

    fn at(&self, site: Site) -> Result<&Tensor> {
        self.0.get(&site).ok_or_else(|| err!(Bug, "`{site}` was not passed"))
    }
}

/// Runs texts up to the last of some dictionaries.
pub fn noted(model: &Decoder, placed: &[PlacedDictionary], batch: &Batch, task: &Task) -> Result<SiteActivations> {
    let mut taps = GradientVariables { placed, until: placed.len().checked_sub(1), ..GradientVariables::default() };
    model.forward(batch, Pass { hooks: &mut taps, past: None, logits: Logits::Last, task })?;
    Ok(SiteActivations(taps.noted))
}

/// The gradients of the sum of a metric where some dictionaries write.
pub struct WriteGradients {
    /// The metric of each case.
    pub values: Vec<f64>,
    pub noted: SiteActivations,
    /// The gradients by dictionary: `[rows, pos, d]` in f32.
    pub gradients: BTreeMap<usize, Tensor>,
}

/// Sites where gradients are taken, and how.
pub struct GradientSites<'a> {
    pub tapped: Range<usize>,
    /// Whether the gradients of one dictionary stop at the others.
    pub cuts: bool,
    /// The tensor that is added to the activation of a dictionary.
    pub moved: Option<(usize, &'a Tensor)>,
}

impl WriteGradients {
    pub fn of(
        model: &Decoder,
        placed: &[PlacedDictionary],
        portion: &Portion,
        tapping: GradientSites,
        task: &Task,
    ) -> Result<Self> {
        let GradientSites { tapped, cuts, moved } = tapping;
        let mut taps = GradientVariables { placed, tapped, cuts, moved, ..GradientVariables::default() };
        let points = portion.points();
        let mut values = Vec::new();
        let mut has_gradient = false;
        let taped = TapedTensor::of_tensor(|| -> Result<Tensor> {
            let end = model.end_at(portion.batch(), &points, &mut taps, None, task)?;
            let found = portion.values(model, &end, task)?;
            values = floats(&found.detach())?;
            has_gradient = found.track_op();
            Ok(found.sum_all()?)
        })?;
        if !has_gradient {
            return Err(err!(Argument, "the metric does not depend on the logits by operations that have gradients")
                .hint("compute it from the logits with arithmetic, indexing, sums and softmax, and return a tensor")
                .about("metric"));
        }
        let found = task.apart(move || Ok(taped.backward()?))?;
        let each = taps.variables.iter().map(|(number, variable)| {
            let gradient = match found.get(variable) {
                Some(gradient) => gradient.detach(),
                // The metric does not depend on this place.
                None => variable.as_tensor().zeros_like()?,
            };
            Ok((*number, gradient.to_dtype(DType::F32)?))
        });
        let gradients = each.collect::<Result<_>>()?;
        let noted = taps.noted.into_iter().map(|(site, x)| (site, x.detach())).collect();
        Ok(Self { values, noted: SiteActivations(noted), gradients })
    }
}

/// The nodes of one dictionary in a pass, from which gradients go back to those that reach it directly.
pub struct Pullback {
    /// The feature activations and the error, concatenated: `[rows, pos, features + d]`.
    nodes: TapedTensor,
    variables: BTreeMap<usize, Var>,
}

impl Pullback {
    /// Prepares the gradients from the dictionary `to` back to some before it.
    pub fn of(
        model: &Decoder,
        placed: &[PlacedDictionary],
        batch: &Batch,
        from: Range<usize>,
        to: usize,
        task: &Task,
    ) -> Result<Arc<Self>> {
        let mut taps =
            GradientVariables { placed, tapped: from, cuts: true, until: Some(to), ..GradientVariables::default() };
        let nodes = TapedTensor::of_tensor(|| -> Result<Tensor> {
            model.forward(batch, Pass { hooks: &mut taps, past: None, logits: Logits::Last, task })?;
            let DictionaryValues { codes, error } =
                taps.values.take().ok_or_else(|| err!(Bug, "a pass without its values"))?;
            Ok(Tensor::cat(&[codes, error], 2)?)
        })?;
        Ok(Arc::new(Self { nodes, variables: taps.variables }))
    }

    /// Returns the gradients of the sum of `weights` times activations and error, `[rows, pos, features + d]`, by
    /// dictionary.
    pub fn back(&self, weights: &Tensor) -> Result<BTreeMap<usize, Tensor>> {
        let found = self.nodes.pulled_back(weights)?;
        let each = self.variables.iter().filter_map(|(number, variable)| {
            let gradient = found.get(variable)?;
            Some(gradient.detach().to_dtype(DType::F32).map(|gradient| (*number, gradient)))
        });
        Ok(each.collect::<candle_core::Result<_>>()?)
    }
}
