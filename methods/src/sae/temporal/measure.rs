//! A temporal dictionary in its model: its codes on texts, what it is measured by, and how well its parts reconstruct.

use super::{TemporalCodes, TemporalSae, without_padding};
use crate::common::*;
use crate::data::Text;
use crate::data::harvest::width;
use crate::model::site::one_site;
use crate::sae::SitePair;
use crate::sae::metrics::{CodedBatch, MeasureOptions, Meter};
use crate::sae::splice::heads_joined;
use crate::sae::text_rows::dictionary::{CodedTexts, TextDictionary, TextMeasureOptions};
use crate::sae::text_rows::{CountedPositions, in_batches};
use crate::tensor::files::NamedTensors;
use crate::tensor::{dtype, float};
use kernels::Gap;

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

    /// Measures what the parts reconstruct, each with the bias: the predicted one, the novel one, and both; and as a
    /// control the predicted one where the tokens before are those of another row, half of the rows away. `energy` is a
    /// part's share of the squared lengths of both.
    pub fn parts(&self, model: &Model, text: &Text, options: &TextMeasureOptions, task: &Task) -> Result<Table> {
        let rows = self.rows(model, text, &options.rows, task)?;
        if rows.len() < 2 {
            return Err(err!(Argument, "expected a text of at least two rows, found one")
                .hint("as a control the dictionary predicts from the tokens of another row")
                .about("text"));
        }
        let place = self.place(model)?;
        let names = ["predicted", "predicted from another text", "novel", "both"];
        let mut meters = names.iter().map(|_| self.meter(options.measure)).collect::<Result<Vec<_>>>()?;
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
                energy[number] += float(&self.written(&codes.to_device(device)?)?.sqr()?.sum_all()?)?;
            }
            Ok(())
        })?;
        let whole = energy[0] + energy[2];
        let mut table =
            Table::new("what the parts of a temporal dictionary reconstruct", ["part", "fve", "l0", "energy"], []);
        for (number, meter) in meters.into_iter().enumerate() {
            let found = meter.finish()?;
            let share = (whole > 0.0 && number != 3).then(|| energy[number] / whole);
            table.rows.push(vec![names[number].into(), found.fve.into(), found.l0.into(), share.into()]);
        }
        Ok(table)
    }
}

impl TextDictionary for TemporalSae {
    fn to_tensors(&self) -> Result<NamedTensors> {
        self.in_one_file()
    }

    fn of_tensors(named: &NamedTensors) -> Result<Self> {
        Self::of_one_file(named)
    }

    fn sites(&self) -> Result<SitePair<'_>> {
        let site = self.site()?;
        Ok(SitePair { reads: site, writes: site })
    }

    fn places(&self, model: &Model) -> Result<[Place; 2]> {
        Ok([self.place(model)?; 2])
    }

    fn context(&self) -> Option<usize> {
        self.context
    }

    fn meter(&self, options: MeasureOptions) -> Result<Meter> {
        Meter::new(self.d_in(), self.d_sae(), options)
    }

    /// Computes the novel codes, and what they write together with the predicted ones.
    fn coded(&self, model: &Model, batch: &Batch, task: &Task) -> Result<CodedTexts> {
        let SiteActivations { x, gap } = activations(model, self.place(model)?, batch, task)?;
        let x = x.to_device(self.decoder.device())?;
        let TemporalCodes { predicted, novel } = self.codes(&x, gap.as_ref())?;
        Ok(CodedTexts { x_hat: self.decode(&x, &(predicted + &novel)?)?, x, codes: novel })
    }
}
