//! The tokens around positions where a feature is active, with its activation at each of them.

use super::feature::place;
use super::survey::{Moment, Window};
use crate::base::HeatText;
use crate::common::*;
use crate::sae::{Sae, SparseCodes};

/// The number of rows in a batch of the model.
const AT_ONCE: usize = 16;

/// A position and the tokens around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    pub moment: Moment,
    pub ids: Vec<u32>,
    /// The feature's activation at each token.
    pub codes: Vec<f32>,
    /// The features that are active at the position itself.
    pub active: Vec<u32>,
}

/// Returns the contexts of a feature at some positions of the rows, in their order. The model reads each row up to
/// where its context ends, since activations depend on what comes before.
pub fn around(
    model: &Model,
    sae: &Sae,
    feature: usize,
    rows: &[Vec<u32>],
    moments: &[Moment],
    window: Window,
    task: &Task,
) -> Result<Vec<Context>> {
    let place = place(model, sae)?;
    let mut cuts = moments.iter().map(|moment| RowPrefix::of(*moment, rows, window)).collect::<Result<Vec<_>>>()?;
    // Rows of similar lengths share a batch, so that there is little padding.
    cuts.sort_by_key(|cut| (cut.row.len(), cut.moment.row, cut.moment.column));
    let bar = task.begin("reading contexts", Some(cuts.len() as u64));
    let mut found = Vec::new();
    for part in cuts.chunks(AT_ONCE) {
        let codes = codes(model, sae, place, &part.iter().map(|cut| cut.row.to_vec()).collect::<Vec<_>>(), task)?;
        let width = part.iter().map(|cut| cut.row.len()).max().unwrap_or_default();
        for (number, cut) in part.iter().enumerate() {
            found.push(Context {
                moment: cut.moment,
                ids: cut.row.get(cut.start..).unwrap_or_default().to_vec(),
                codes: (cut.start..cut.row.len()).map(|column| codes.code(number * width + column, feature)).collect(),
                active: codes.row(number * width + cut.moment.column as usize).0.to_vec(),
            });
        }
        bar.advance(part.len() as u64);
    }
    let order = |context: &Context| moments.iter().position(|moment| *moment == context.moment);
    found.sort_by_key(order);
    Ok(found)
}

/// A row up to the end of a context.
struct RowPrefix<'a> {
    moment: Moment,
    row: &'a [u32],
    /// The first column of the context.
    start: usize,
}

impl<'a> RowPrefix<'a> {
    fn of(moment: Moment, rows: &'a [Vec<u32>], window: Window) -> Result<Self> {
        let row = rows.get(moment.row as usize).map(Vec::as_slice).unwrap_or_default();
        let column = moment.column as usize;
        if column >= row.len() {
            return Err(err!(Bug, "position {column} of row {}, which has {} tokens", moment.row, row.len()));
        }
        let end = row.len().min(column.saturating_add(window.after).saturating_add(1));
        Ok(Self { moment, row: row.get(..end).unwrap_or_default(), start: column.saturating_sub(window.before) })
    }
}

/// Returns the activations of all features for padded rows of tokens: position by position, row by row.
pub fn codes(model: &Model, sae: &Sae, place: Place, rows: &[Vec<u32>], task: &Task) -> Result<SparseCodes> {
    let batch = Batch::new(rows.to_vec())?;
    let cache = model.decoder.cache(&batch, Ask { places: vec![place], ..Ask::default() }, task)?;
    recorded(model, sae, place, &batch, 0, &cache, task)
}

/// Returns the activations of all features from what a run has recorded at the site, where it began at the token `first` of
/// each text.
pub fn recorded(
    model: &Model,
    sae: &Sae,
    place: Place,
    batch: &Batch,
    first: usize,
    cache: &Cache,
    task: &Task,
) -> Result<SparseCodes> {
    let x = dtype::convert(&cache.at(place)?, DType::F32)?.to_device(&Device::Cpu)?;
    let positions = batch.rows().len() * batch.width();
    let wide = x.elem_count() / positions.max(1);
    sae.check_fits(wide, &model.name(), &place.to_string())?;
    let x = x.contiguous()?.reshape((positions, wide))?;
    finite(&x, place, batch.rows(), batch.width(), first)?;
    sae.encode_sparse(&dtype::convert(&x, sae.parts().encoder.dtype())?, task)
}

/// Refuses activations that are not finite, whose encoding would be meaningless.
fn finite(x: &Tensor, place: Place, rows: &[Vec<u32>], width: usize, first: usize) -> Result<()> {
    let wide = x.dim(1)?;
    let numbers = x.flatten_all()?.to_vec1::<f32>()?;
    for (at, numbers) in numbers.chunks(wide.max(1)).enumerate() {
        let row = at / width.max(1);
        let column = at % width.max(1);
        let is_real = rows.get(row).is_some_and(|ids| column < ids.len());
        if let Some(wrong) = numbers.iter().find(|number| is_real && !number.is_finite()) {
            return Err(err!(
                Numeric,
                "expected finite activations at `{place}`, found {wrong} at position {} of text {row}",
                first + column
            )
            .hint("the model overflows there; load it in f32"));
        }
    }
    Ok(())
}

/// Returns a feature's activations at the tokens of one text, which is split into rows of the model's context.
pub fn on(model: &Model, sae: &Sae, place: Place, feature: usize, ids: &[u32], task: &Task) -> Result<Vec<f32>> {
    if ids.is_empty() {
        return Err(err!(Argument, "expected a text of at least one token, found none"));
    }
    let mut found = Vec::with_capacity(ids.len());
    for rows in ids.chunks(model.decoder.config().context).collect::<Vec<_>>().chunks(AT_ONCE) {
        let rows: Vec<Vec<u32>> = rows.iter().map(|row| row.to_vec()).collect();
        let codes = codes(model, sae, place, &rows, task)?;
        // Only the last row may be shorter, so that no padding comes before a real position.
        let real: usize = rows.iter().map(Vec::len).sum();
        found.extend((0..real).map(|at| codes.code(at, feature)));
    }
    Ok(found)
}

/// Draws tokens and activations as heat text.
pub fn heat(model: &Model, title: String, ids: &[u32], codes: &[f32]) -> HeatText {
    HeatText {
        title,
        tokens: ids.iter().map(|id| name(model, *id)).collect(),
        values: codes.iter().map(|code| f64::from(*code)).collect(),
        quantity: "code".into(),
    }
}

/// Returns the text of a token, or its id, where the model has no tokenizer.
pub fn name(model: &Model, id: u32) -> String {
    let text = model.tokenizer.as_ref().and_then(|tokenizer| tokenizer.text_of(id).ok());
    text.unwrap_or_else(|| format!(" {id}"))
}

/// Returns the text of a token in quotation marks, with control characters escaped, for the tables of cards.
pub fn quoted(model: &Model, id: u32) -> String {
    format!("{:?}", name(model, id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::samples::{dictionary, model};
    use crate::model::site::select;

    fn place(model: &Model) -> Place {
        select(model.decoder.config(), "resid_post.1").unwrap()[0]
    }

    /// Computes the activations of a row by one run and a dense encoding.
    fn plain(model: &Model, sae: &Sae, row: &[u32]) -> Vec<Vec<f32>> {
        let ask = Ask { places: vec![place(model)], ..Ask::default() };
        let cache = model.decoder.cache(&Batch::new(vec![row.to_vec()]).unwrap(), ask, &Task::default()).unwrap();
        sae.encode(&cache.at(place(model)).unwrap()).unwrap().get(0).unwrap().to_vec2().unwrap()
    }

    #[test]
    fn the_heat_of_a_context_is_what_the_dictionary_encodes_there() {
        let model = model();
        let sae = dictionary("resid_post.1", 1);
        let rows: Vec<Vec<u32>> = (0..20).map(|i| (0..3 + i % 9).map(|j| (i * 5 + j * j * 3) % 28).collect()).collect();
        let moments: Vec<Moment> = rows
            .iter()
            .enumerate()
            .map(|(row, ids)| Moment { row: row as u32, column: ids.len() as u32 / 2, code: row as f32 })
            .collect();
        let window = Window { before: 2, after: 1 };
        let found = around(&model, &sae, 4, &rows, &moments, window, &Task::default()).unwrap();
        for (context, moment) in found.iter().zip(&moments) {
            assert_eq!(context.moment, *moment);
            let row = &rows[moment.row as usize];
            let column = moment.column as usize;
            let codes = plain(&model, &sae, row);
            let start = column.saturating_sub(2);
            let end = (column + 2).min(row.len());
            assert_eq!(context.ids, row[start..end]);
            for (found, column) in context.codes.iter().zip(start..end) {
                assert!((found - codes[column][4]).abs() < 1e-4);
            }
            let active: Vec<u32> = (0..24).filter(|f| codes[column][*f as usize] != 0.0).collect();
            assert_eq!(context.active, active);
        }
    }

    #[test]
    fn texts_of_any_length_are_read() {
        let model = model();
        let sae = dictionary("resid_post.1", 1);
        for length in [1, 11, 12, 13, 30] {
            let ids: Vec<u32> = (0..length).map(|i| (i * 7) % 28).collect();
            let found = on(&model, &sae, place(&model), 2, &ids, &Task::default()).unwrap();
            let expected: Vec<f32> =
                ids.chunks(12).flat_map(|row| plain(&model, &sae, row).into_iter().map(|codes| codes[2])).collect();
            assert_eq!(found.len(), ids.len());
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?} {expected:?}");
        }
        assert!(on(&model, &sae, place(&model), 2, &[], &Task::default()).is_err());
    }

    #[test]
    fn numbers_that_overflow_are_told_with_their_place() {
        let model = model();
        let huge = Tensor::new(&[[1.0_f32, 2.0], [f32::NAN, 0.0]], &Device::Cpu).unwrap();
        let rows = [vec![1], vec![2]];
        let error = finite(&huge, place(&model), &rows, 1, 5).unwrap_err();
        assert!(error.message.contains("found NaN at position 5 of text 1"), "{}", error.message);
        // Padding is not an activation.
        assert!(finite(&huge, place(&model), &[vec![1], vec![]], 1, 0).is_ok());
    }
}
