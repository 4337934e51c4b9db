//! A temporal dictionary in its model: its codes on texts, how well its parts reconstruct, and what the model loses
//! with the reconstruction in the place of the activations.

use super::{TemporalCodes, TemporalSae, without_padding};
use crate::base::{Result, Table, Task};
use crate::data::Text;
use crate::data::harvest::width;
use crate::err;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::run::Ask;
use crate::model::site::{Place, one_site};
use crate::sae::SitePair;
use crate::sae::metrics::{
    CodedBatch, Effect, EvaluationText, JudgedRowsOptions, KlPositions, MeasureOptions, Measures, Meter, effect_of,
};
use crate::sae::splice::{ErrorTreatment, Splice, heads_joined};
use crate::sae::text_rows::{CountedPositions, in_batches, rows_of};
use crate::tensor::{DType, Device, Tensor, dtype, floats};
use kernels::Gap;

crate::options! {
    /// A temporal dictionary measured on a text.
    #[derive(Debug, Clone)]
    pub struct TemporalMeasureOptions {
        with measure: MeasureOptions;
        with rows: JudgedRowsOptions;
    }
}

crate::options! {
    /// A temporal dictionary spliced into a model.
    #[derive(Debug, Clone)]
    pub struct TemporalEffectOptions {
        /// The positions that the KL is a mean over: those behind which another token of the row stands, or all.
        kl: KlPositions = KlPositions::Predicted;
        with rows: JudgedRowsOptions;
    }
}

/// The activations of a site on a batch of texts, in f32 and with zeros in the padding, `[batch, pos, d]`, and the
/// padding.
pub struct SiteActivations {
    pub x: Tensor,
    pub gap: Option<Gap>,
}

/// Computes the activations of a site.
pub fn activations(model: &Model, place: Place, batch: &Batch, task: &Task) -> Result<SiteActivations> {
    let cache = model.decoder.cache(batch, Ask { places: vec![place], ..Ask::default() }, task)?;
    let x = dtype::convert(&cache.at(place)?.detach(), DType::F32)?;
    let x = heads_joined(&x, width(model.decoder.config(), place)?)?;
    let wide = batch.width();
    let lengths = batch.lengths();
    let gap = lengths.iter().any(|length| *length < wide).then_some(Gap { lengths, width: wide });
    Ok(SiteActivations { x: without_padding(&x, gap.as_ref())?, gap })
}

/// Finds a site of a model that has activations at each position.
pub fn place_of(model: &Model, site: &str) -> Result<Place> {
    let config = model.decoder.config();
    if !config.causal {
        return Err(err!(Argument, "expected a model whose tokens see those before them, found {}", model.name())
            .hint("a temporal dictionary predicts a token from those before it")
            .about("m"));
    }
    let place = one_site(config, site, "a temporal dictionary reads and writes at one site, such as `resid_post.3`")?;
    width(config, place)?;
    Ok(place)
}

/// Positions of some texts: activations, codes and what these write.
pub(super) struct CodedTexts {
    pub x: Tensor,
    pub codes: TemporalCodes,
    pub x_hat: Tensor,
    pub positions: Vec<u32>,
}

impl TemporalSae {
    /// Finds its site in a model, and refuses a model that has no such site, or another width there.
    pub fn place(&self, model: &Model) -> Result<Place> {
        let place = place_of(model, self.site()?)?;
        let found = width(model.decoder.config(), place)?;
        if found != self.d_in() {
            let d_in = self.d_in();
            return Err(
                err!(Argument, "expected {d_in} numbers at {place}, found {found} in {}", model.name()).about("m")
            );
        }
        Ok(place)
    }

    /// Computes the codes of texts that a model reads: `[batch, pos, d_sae]`. Those of padding mean nothing.
    pub fn codes_in(&self, model: &Model, batch: &Batch, task: &Task) -> Result<TemporalCodes> {
        let SiteActivations { x, gap } = activations(model, self.place(model)?, batch, task)?;
        let found = self.codes(&x.to_device(self.decoder.device())?, gap.as_ref())?;
        let here = |t: &Tensor| -> Result<Tensor> { Ok(t.to_device(&Device::Cpu)?) };
        Ok(TemporalCodes { predicted: here(&found.predicted)?, novel: here(&found.novel)? })
    }

    /// Computes the attention pattern of a head on texts that a model reads, as [`TemporalSae::pattern`] does.
    pub fn pattern_in(&self, model: &Model, batch: &Batch, layer: usize, head: usize, task: &Task) -> Result<Tensor> {
        let found = activations(model, self.place(model)?, batch, task)?;
        self.pattern(&found.x.to_device(self.decoder.device())?, layer, head)
    }

    /// Reads the rows of a text on which it is judged, which have as many tokens as those that it was fitted on.
    pub fn rows(
        &self,
        model: &Model,
        text: &Text,
        options: &JudgedRowsOptions,
        task: &Task,
    ) -> Result<Vec<EvaluationText>> {
        self.place(model)?;
        rows_of(model, text, self.context, options, task)
    }

    /// Measures how well predicted and novel codes together reconstruct a site on a text, and how sparse the novel ones
    /// are.
    pub fn measured(
        &self,
        model: &Model,
        text: &Text,
        options: &TemporalMeasureOptions,
        task: &Task,
    ) -> Result<Measures> {
        let rows = self.rows(model, text, &options.rows, task)?;
        let mut meter = Meter::new(self.d_in(), self.d_sae(), options.measure)?;
        self.on_rows(model, &rows, task, &mut |part| {
            let CodedTexts { x, codes, x_hat, positions } = part;
            meter.add(CodedBatch { x: &x, codes: &codes.novel, x_hat: &x_hat, positions: Some(&positions) }, task)
        })?;
        meter.finish()
    }

    /// Gives activations, codes and reconstructions at the positions that count to `take`, some texts at a time.
    pub(super) fn on_rows(
        &self,
        model: &Model,
        rows: &[EvaluationText],
        task: &Task,
        take: &mut dyn FnMut(CodedTexts) -> Result<()>,
    ) -> Result<()> {
        let place = self.place(model)?;
        in_batches(rows, task, |_, part, batch| {
            let SiteActivations { x, gap } = activations(model, place, &batch, task)?;
            let x = x.to_device(self.decoder.device())?;
            let codes = self.codes(&x, gap.as_ref())?;
            let x_hat = self.decode(&x, &(&codes.predicted + &codes.novel)?)?;
            let counted = CountedPositions::of(part, batch.width())?;
            take(CodedTexts {
                x: counted.rows_of(&x)?,
                codes: TemporalCodes {
                    predicted: counted.rows_of(&codes.predicted)?,
                    novel: counted.rows_of(&codes.novel)?,
                },
                x_hat: counted.rows_of(&x_hat)?,
                positions: counted.positions,
            })
        })
    }

    /// Measures what a model loses with the reconstruction in the place of the activations, beside zeros and the mean
    /// there.
    pub fn effect(&self, model: &Model, text: &Text, options: &TemporalEffectOptions, task: &Task) -> Result<Effect> {
        let rows = self.rows(model, text, &options.rows, task)?;
        let site = self.place(model)?.to_string();
        let splice = Splice::new(self.clone(), ErrorTreatment::Dropped);
        effect_of(&model.decoder, SitePair { reads: &site, writes: &site }, splice, &rows, options.kl, task)
    }

    /// Measures what the parts reconstruct, each with the bias: the predicted one, the novel one, and both; and as a
    /// control the predicted one where the tokens before are those of another row, half of the rows away. `energy` is a
    /// part's share of the squared lengths of both.
    pub fn parts(&self, model: &Model, text: &Text, options: &TemporalMeasureOptions, task: &Task) -> Result<Table> {
        let rows = self.rows(model, text, &options.rows, task)?;
        if rows.len() < 2 {
            return Err(err!(Argument, "expected a text of at least two rows, found one")
                .hint("as a control the dictionary predicts from the tokens of another row")
                .about("text"));
        }
        let place = self.place(model)?;
        let names = ["predicted", "predicted from another text", "novel", "both"];
        let mut meters =
            names.iter().map(|_| Meter::new(self.d_in(), self.d_sae(), options.measure)).collect::<Result<Vec<_>>>()?;
        let mut energy = [0.0; 4];
        in_batches(&rows, task, |start, part, batch| {
            let others: Vec<Vec<u32>> = (0..part.len())
                .map(|number| {
                    // Rows side by side may be of one document.
                    let other = &rows[(start + number + rows.len().div_ceil(2)) % rows.len()].ids;
                    // A shorter text goes on from its beginning.
                    (0..batch.width()).map(|at| other[at % other.len()]).collect()
                })
                .collect();
            let SiteActivations { x, gap } = activations(model, place, &batch, task)?;
            let past = activations(model, place, &Batch::new(others)?, task)?;
            let device = self.decoder.device();
            let x = x.to_device(device)?;
            let own = self.codes(&x, gap.as_ref())?;
            let other = self.codes_after(&x, &past.x.to_device(device)?)?;
            let both = (&own.predicted + &own.novel)?;
            let counted = CountedPositions::of(part, batch.width())?;
            let rows_of_x = counted.rows_of(&x)?;
            for (number, codes) in [&own.predicted, &other.predicted, &own.novel, &both].into_iter().enumerate() {
                let x_hat = counted.rows_of(&self.decode(&x, codes)?)?;
                let codes = counted.rows_of(codes)?;
                let positions = Some(counted.positions.as_slice());
                meters[number].add(CodedBatch { x: &rows_of_x, codes: &codes, x_hat: &x_hat, positions }, task)?;
                energy[number] += floats(&self.written(&codes.to_device(device)?)?.sqr()?.sum_all()?)?[0];
            }
            Ok(())
        })?;
        let whole = energy[0] + energy[2];
        let mut table = Table {
            title: "what the parts of a temporal dictionary reconstruct".into(),
            columns: ["part", "fve", "l0", "energy"].map(String::from).to_vec(),
            rows: Vec::new(),
        };
        for (number, meter) in meters.into_iter().enumerate() {
            let found = meter.finish()?;
            let share = if whole > 0.0 && number != 3 { Some(energy[number] / whole) } else { None };
            let share = share.map_or(crate::base::Cell::Missing, crate::base::Cell::from);
            let fve = found.fve.map_or(crate::base::Cell::Missing, crate::base::Cell::from);
            table.rows.push(vec![names[number].into(), fve, found.l0.into(), share]);
        }
        Ok(table)
    }
}
