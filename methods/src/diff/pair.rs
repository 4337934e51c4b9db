//! Two models that read the same tokens: their checks, and their predictions and activations side by side.

use crate::common::*;
use crate::data::harvest::width;
use crate::model::by_words::ReferencePredictions;
use crate::model::hooks::NoHooks;
use crate::model::site::NAME_ONE;

crate::options! {
    /// The part of a text that two models are compared on.
    pub struct DiffText {
        /// Number of tokens in a row of `data::text`; longer rows of other texts are cut.
        context: Option<usize> = None => usually("the model's context").at_least(1.0);
        /// Maximum number of rows that are read.
        rows: usize = 256 => at_least(1.0);
    }
}

/// The number of rows in a batch of the models.
const AT_ONCE: usize = 16;

/// Maximum number of logits that are compared at once where they are whole, but for those of one position; and of a batch where a
/// hook sees them, but for those of one row.
const LOGITS: usize = 1 << 24;

/// Tokens of a context up to the position that it is of.
const BEFORE: usize = 12;

/// A position of the rows that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowPosition {
    pub row: usize,
    pub column: usize,
}

/// A function that gets some positions, and the predictions of the base and of the tuned model there.
pub(super) type TakePredictions<'a> =
    dyn FnMut(&[RowPosition], &ReferencePredictions, &ReferencePredictions) -> Result<()> + 'a;

/// A function that gets the number of a row, and the activations of both models in it, `[positions, width]` in f32.
pub(super) type TakeActivations<'a> = dyn FnMut(usize, &Tensor, &Tensor) -> Result<()> + 'a;

/// A model, and what fine-tuning made of it.
#[derive(Clone, Copy)]
pub struct ModelPair<'a> {
    pub base: &'a Model,
    pub tuned: &'a Model,
}

impl<'a> ModelPair<'a> {
    /// Pairs two models; refuses those whose vocabularies differ in size.
    pub fn new(base: &'a Model, tuned: &'a Model) -> Result<Self> {
        let [expected, found] = [base, tuned].map(|model| model.decoder.config().outputs());
        if expected == found {
            return Ok(Self { base, tuned });
        }
        Err(err!(Argument, "expected models of one vocabulary, found one of {expected} tokens and one of {found}")
            .hint("tokens are compared by their ids, so both models need the same tokenizer")
            .about("tuned"))
    }

    /// Refuses rows of tokens that the two models read differently in a text, and returns what both read.
    pub fn agreed(self, of_base: Vec<Vec<u32>>, of_tuned: &[Vec<u32>]) -> Result<Vec<Vec<u32>>> {
        if of_base == of_tuned {
            return Ok(of_base);
        }
        Err(err!(Argument, "expected models that read the same tokens, found others in the second")
            .hint("both need the same tokenizer, and rows of the same length: #{ context: 64 }")
            .about("tuned"))
    }

    /// Finds a site in both models, which must be equally wide there.
    pub(super) fn place(self, site: &str) -> Result<Place> {
        let [of_base, of_tuned] = [self.base, self.tuned].map(|model| -> Result<(Place, usize)> {
            let config = model.decoder.config();
            let place = one_site(config, site, NAME_ONE)?;
            Ok((place, width(config, place)?))
        });
        let (place, expected) = of_base.map_err(|e| e.about("site"))?;
        let (_, found) = of_tuned.map_err(|e| e.about("tuned"))?;
        if expected == found {
            return Ok(place);
        }
        Err(err!(Shape, "expected models that are equally wide at `{place}`, found widths of {expected} and {found}")
            .hint("activations have a difference only where both models have the same coordinates")
            .about("tuned"))
    }

    /// Returns the width of a site, which both models have.
    pub(super) fn width(self, place: Place) -> Result<usize> {
        width(self.base.decoder.config(), place)
    }

    /// Gives the predictions of both models at all positions to `take`, some positions at a time.
    pub(super) fn predictions(
        self,
        rows: &[Vec<u32>],
        what: &str,
        take: &mut TakePredictions,
        task: &Task,
    ) -> Result<()> {
        let decoders = [&self.base.decoder, &self.tuned.decoder];
        let outputs = self.base.decoder.config().outputs().max(1);
        let is_in_words = decoders.iter().all(|decoder| decoder.reads_in_words());
        let at_once = if is_in_words { usize::MAX } else { (LOGITS / outputs).max(1) };
        let longest = rows.iter().map(Vec::len).max().unwrap_or(1);
        let mut rows_at_once = AT_ONCE;
        for decoder in decoders {
            // A hook at the logits, which a model keeps, sees those of a whole batch.
            if matches!(decoder.ending(&NoHooks, &[])?, Logits::Points(_)) {
                rows_at_once = (LOGITS / (longest * outputs).max(1)).clamp(1, AT_ONCE);
            }
        }
        let bar = task.begin(what, Some(rows.len() as u64));
        for (part, rows) in rows.chunks(rows_at_once).enumerate() {
            task.check()?;
            let batch = Batch::new(rows.to_vec())?;
            let points = batch.points();
            let first = part * rows_at_once;
            let place = |(row, column): &(usize, usize)| RowPosition { row: first + row, column: *column };
            let [base, tuned] = decoders.map(|decoder| decoder.run_to_end(&batch, Ask::default(), &points, task));
            let [(_, base), (_, tuned)] = [base?, tuned?];
            for some in (0..points.len()).step_by(at_once.min(points.len())) {
                let some = some..points.len().min(some.saturating_add(at_once));
                let places: Vec<RowPosition> = points[some.clone()].iter().map(place).collect();
                let base = decoders[0].reference(&base.part(some.clone())?, task)?;
                take(&places, &base, &decoders[1].reference(&tuned.part(some)?, task)?)?;
            }
            bar.advance(rows.len() as u64);
        }
        Ok(())
    }

    /// Gives the activations of both models at a site to `take`, row by row.
    pub(super) fn activations(
        self,
        rows: &[Vec<u32>],
        place: Place,
        take: &mut TakeActivations,
        task: &Task,
    ) -> Result<()> {
        let wide = self.width(place)?;
        let bar = task.begin(&format!("reading {place} of both models"), Some(rows.len() as u64));
        for (part, rows) in rows.chunks(AT_ONCE).enumerate() {
            task.check()?;
            let batch = Batch::new(rows.to_vec())?;
            let [base, tuned] = [self.base, self.tuned].map(|model| -> Result<Tensor> {
                let ask = Ask { places: vec![place], ..Ask::default() };
                let x = model.decoder.cache(&batch, ask, task)?.at(place)?;
                let x = dtype::convert(&x.detach(), DType::F32)?.to_device(&Device::Cpu)?;
                Ok(x.contiguous()?.reshape((rows.len(), batch.width(), wide))?)
            });
            let base = base?;
            let tuned = tuned?;
            for (row, length) in batch.lengths().into_iter().enumerate() {
                let number = part * AT_ONCE + row;
                let of_row = |x: &Tensor| -> Result<Tensor> {
                    let x = x.get(row)?.narrow(0, 0, length)?;
                    finite(&x, place, number)?;
                    Ok(x)
                };
                take(number, &of_row(&base)?, &of_row(&tuned)?)?;
            }
            bar.advance(rows.len() as u64);
        }
        Ok(())
    }
}

/// Returns the tokens up to a position, as one text.
pub(super) fn context(rows: &[Vec<u32>], at: RowPosition, name: &dyn Fn(u32) -> String) -> String {
    let row = rows.get(at.row).map(Vec::as_slice).unwrap_or_default();
    let end = (at.column + 1).min(row.len());
    row[end.saturating_sub(BEFORE)..end].iter().map(|id| name(*id)).collect()
}

/// Returns the token at a position.
pub(super) fn token(rows: &[Vec<u32>], at: RowPosition) -> u32 {
    rows.get(at.row).and_then(|row| row.get(at.column)).copied().unwrap_or_default()
}

/// Refuses activations that are not finite, whose difference would be meaningless.
fn finite(x: &Tensor, place: Place, row: usize) -> Result<()> {
    let numbers = x.flatten_all()?.to_vec1::<f32>()?;
    match numbers.iter().find(|number| !number.is_finite()) {
        None => Ok(()),
        Some(found) => Err(err!(Numeric, "expected finite activations at `{place}`, found {found} in text {row}")
            .hint("the model overflows there; load it in f32")),
    }
}
