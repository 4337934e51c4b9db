//! The rows of text of an evaluation, and the measures that each of their positions counts for.

use rand::seq::{IndexedRandom, SliceRandom};

use super::JudgeOptions;
use crate::circuit::tree::{CodeReader, ParentReading, Stage};
use crate::common::*;
use crate::data::{Text, pack};
use crate::features::feature::tokenizer;
use crate::features::survey::Tally;
use crate::tokenizer::labels::Column;

/// Maximum number of positions in a row where none of the tokens is due, and in unrelated rows.
pub const OF_ROW: usize = 4;

/// Maximum number of positions where the target is active.
pub const ACTIVE: usize = 64;

/// The number of tokens in a batch of the model, about.
const AT_ONCE: usize = 1 << 11;

/// A text as rows of tokens, with the values of one label, if any.
pub struct TextRows {
    ids: Vec<Vec<u32>>,
    labels: Option<(Column, Vec<Vec<u32>>)>,
    /// The number of first positions of each row that are not measured.
    without_first: usize,
}

impl TextRows {
    pub fn of(model: &Model, text: &Text, context: usize, by: Option<&str>, task: &Task) -> Result<Self> {
        let tokenizer = tokenizer(model)?;
        let Some(by) = by else {
            let ids = pack::gathered(text, tokenizer, context, None, task, |row| Ok(row.ids))?;
            return Ok(Self { ids, labels: None, without_first: 0 });
        };
        let text = text.labelled();
        let column = pack::column(&text, by, task)?;
        let keep = |row: pack::Row| Ok((pack::values(&row, &column)?, row.ids));
        let (values, ids) = pack::gathered(&text, tokenizer, context, None, task, keep)?.into_iter().unzip();
        Ok(Self { ids, labels: Some((column, values)), without_first: 0 })
    }

    /// Returns the rows with some first positions that are not measured.
    pub fn behind(self, without_first: usize) -> Self {
        Self { without_first, ..self }
    }

    fn row(&self, number: usize) -> &[u32] {
        self.ids.get(number).map(Vec::as_slice).unwrap_or_default()
    }

    fn label(&self, number: usize, column: usize) -> u32 {
        let values = self.labels.as_ref().and_then(|(_, values)| values.get(number));
        values.and_then(|values| values.get(column)).copied().unwrap_or_default()
    }
}

/// A position that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeasuredSpot {
    /// The row in the group: the bootstrap draws whole rows.
    pub row: usize,
    /// The row in the batch.
    pub within: usize,
    pub column: usize,
    /// Whether one of the tokens comes next.
    pub is_due: bool,
    /// The value of the label, 0 without one.
    pub label: u32,
}

/// Rows of one batch. Each ends at the last of its measured positions.
#[derive(Debug)]
pub struct MeasuredBatch {
    pub batch: Batch,
    pub spots: Vec<MeasuredSpot>,
}

/// The rows of one measure.
#[derive(Debug, Default)]
pub struct MeasureGroup {
    pub parts: Vec<MeasuredBatch>,
    pub rows: usize,
}

/// A row: its tokens, and its measured columns.
struct MeasuredRow {
    ids: Vec<u32>,
    spots: Vec<RowSpot>,
}

/// A measured column of a row.
#[derive(Clone, Copy)]
struct RowSpot {
    column: usize,
    /// Whether one of the tokens comes next.
    is_due: bool,
    /// The value of the label there.
    label: u32,
}

impl RowSpot {
    /// Returns a spot without a label, where none of the tokens comes next.
    fn elsewhere(column: usize) -> Self {
        Self { column, is_due: false, label: 0 }
    }
}

impl MeasuredRow {
    /// Builds a row, or none without a position.
    fn of(ids: &[u32], spots: Vec<RowSpot>) -> Option<Self> {
        let last = spots.iter().map(|spot| spot.column).max()?;
        Some(Self { ids: ids.iter().take(last + 1).copied().collect(), spots })
    }
}

impl MeasureGroup {
    /// Splits rows into batches of similar lengths.
    fn of(mut rows: Vec<MeasuredRow>) -> Result<Self> {
        rows.sort_by_key(|row| row.ids.len());
        let longest = rows.last().map_or(1, |row| row.ids.len());
        let count = (AT_ONCE / longest).max(1);
        let mut parts = Vec::new();
        for (number, rows) in rows.chunks(count).enumerate() {
            let spots = rows.iter().enumerate().flat_map(|(within, row)| {
                let spot = move |spot: &RowSpot| MeasuredSpot {
                    row: number * count + within,
                    within,
                    column: spot.column,
                    is_due: spot.is_due,
                    label: spot.label,
                };
                row.spots.iter().map(spot)
            });
            let spots = spots.collect();
            parts.push(MeasuredBatch { batch: Batch::new(rows.iter().map(|row| row.ids.clone()).collect())?, spots });
        }
        Ok(Self { parts, rows: rows.len() })
    }

    /// Returns all positions, batch by batch.
    pub fn spots(&self) -> impl Iterator<Item = &MeasuredSpot> {
        self.parts.iter().flat_map(|part| &part.spots)
    }
}

/// The feature that a circuit is of.
pub struct JudgedFeature<'a> {
    /// The dictionary, and its place in the model.
    pub stage: &'a Stage,
    pub feature: usize,
    /// The positions of a text where the feature is active, if the text was surveyed for it.
    pub tally: Option<&'a Tally>,
}

/// The contexts of an evaluation.
pub struct Contexts {
    /// The rows in which one of the tokens comes next: all such positions, and some others before the last of them.
    pub tokens: MeasureGroup,
    /// Positions where the target is active, drawn uniformly from all of them.
    pub target: MeasureGroup,
    /// The unrelated rows, in which the target is inactive and none of the tokens occurs: some positions of each.
    pub other: MeasureGroup,
    /// The label that positions are grouped by.
    pub by: Option<Column>,
    /// The number of rows in which one of the tokens comes next.
    pub due_rows: usize,
    /// The number of positions where the target is active.
    pub fired: u64,
    /// The number of rows of the text.
    pub read: usize,
}

impl Contexts {
    pub fn of(
        model: &Model,
        target: &JudgedFeature,
        rows: &TextRows,
        tokens: &[u32],
        options: &JudgeOptions,
        task: &Task,
    ) -> Result<Self> {
        let JudgedFeature { stage, feature, tally } = *target;
        let Some(tally) = tally.filter(|tally| !tally.some.is_empty()) else {
            return Err(err!(
                Argument,
                "feature {feature} of {} is never active in the text that the tree is evaluated on",
                stage.place
            )
            .hint("read more text, or take a feature that is active"));
        };
        let is_token = |id: &u32| tokens.contains(id);
        let seed = options.seed.sample();
        let first = rows.without_first;
        let mut due: Vec<usize> =
            (0..rows.ids.len()).filter(|number| rows.row(*number).iter().skip(first + 1).any(is_token)).collect();
        let due_rows = due.len();
        if let Some(most) = options.contexts.filter(|most| *most < due_rows) {
            due = due.sample(&mut stream(seed, "rows in which the tokens come next", 0), most).copied().collect();
            due.sort_unstable();
        }
        let due = due.into_iter().filter_map(|number| {
            let (due, elsewhere) = split_by_next(rows.row(number), first, tokens);
            let spots =
                due.into_iter().map(|column| RowSpot { column, is_due: true, label: rows.label(number, column) });
            let spots = spots.chain(elsewhere.into_iter().map(RowSpot::elsewhere));
            MeasuredRow::of(rows.row(number), spots.collect())
        });
        let mut active: BTreeMap<usize, Vec<RowSpot>> = BTreeMap::new();
        for moment in tally.some.iter().take(ACTIVE) {
            active.entry(moment.row as usize).or_default().push(RowSpot::elsewhere(moment.column as usize));
        }
        let active = active.into_iter().filter_map(|(number, spots)| MeasuredRow::of(rows.row(number), spots));
        let others = others(model, target, rows, tokens, options, task)?;
        Ok(Self {
            tokens: MeasureGroup::of(due.collect())?,
            target: MeasureGroup::of(active.collect())?,
            other: MeasureGroup::of(others)?,
            by: rows.labels.as_ref().map(|(column, _)| column.clone()),
            due_rows,
            fired: tally.fired,
            read: rows.ids.len(),
        })
    }

    /// Returns the rows by whose activations comparison features are selected: those of the tokens, or of the target
    /// without tokens.
    pub fn judged(&self) -> &MeasureGroup {
        if self.tokens.rows > 0 { &self.tokens } else { &self.target }
    }
}

/// Returns the positions of a row, from one on, where one of the tokens comes next, and some positions before the last of
/// these where another token does.
fn split_by_next(ids: &[u32], first: usize, tokens: &[u32]) -> (Vec<usize>, Vec<usize>) {
    let next = ids.iter().skip(1).enumerate().skip(first);
    let (due, others): (Vec<_>, Vec<_>) = next.partition(|(_, next)| tokens.contains(next));
    let column = |(column, _): (usize, &u32)| column;
    let due: Vec<usize> = due.into_iter().map(column).collect();
    let last = due.last().copied().unwrap_or_default();
    let before: Vec<usize> = others.into_iter().map(column).filter(|column| *column < last).collect();
    (due, spread(&before))
}

/// Returns some of the positions, evenly spread.
fn spread(positions: &[usize]) -> Vec<usize> {
    positions.iter().copied().step_by(positions.len().div_ceil(OF_ROW).max(1)).collect()
}

/// Draws unrelated rows from all of them.
fn others(
    model: &Model,
    target: &JudgedFeature,
    rows: &TextRows,
    tokens: &[u32],
    options: &JudgeOptions,
    task: &Task,
) -> Result<Vec<MeasuredRow>> {
    let has = |number: usize| rows.row(number).iter().any(|id| tokens.contains(id));
    let shortest = rows.without_first + 1;
    let mut numbers: Vec<usize> =
        (0..rows.ids.len()).filter(|number| rows.row(*number).len() > shortest && !has(*number)).collect();
    numbers.shuffle(&mut stream(options.seed.sample(), "rows of other text", 0));
    let bar = task.begin("looking for other text", Some(options.unrelated.min(numbers.len()) as u64));
    let longest = rows.ids.iter().map(Vec::len).max().unwrap_or(1).max(1);
    let mut found = Vec::new();
    for numbers in numbers.chunks((AT_ONCE / longest).max(1)) {
        if found.len() >= options.unrelated {
            break;
        }
        let some = numbers.iter().map(|number| rows.row(*number).to_vec()).collect();
        let is_silent = silent(model, target, some, rows.without_first, task)?;
        let before = found.len();
        for (number, _) in numbers.iter().zip(is_silent).filter(|(_, is_silent)| *is_silent) {
            let ids = rows.row(*number);
            let columns: Vec<usize> = (rows.without_first..ids.len() - 1).collect();
            found.extend(MeasuredRow::of(ids, spread(&columns).into_iter().map(RowSpot::elsewhere).collect()));
        }
        bar.advance((found.len() - before) as u64);
    }
    found.truncate(options.unrelated);
    Ok(found)
}

/// Returns whether a feature is inactive in each row, from a position on.
fn silent(model: &Model, target: &JudgedFeature, rows: Vec<Vec<u32>>, first: usize, task: &Task) -> Result<Vec<bool>> {
    let JudgedFeature { stage, feature, .. } = *target;
    let batch = Batch::new(rows)?;
    let ask = Ask { places: vec![stage.place], ..Ask::default() };
    let x = model.decoder.cache(&batch, ask, task)?.at(stage.place)?;
    let codes = CodeReader::new(&stage.sae, feature, ParentReading::Code)?.of(&x.flatten(0, 1)?, task)?;
    let of_rows = codes.chunks(batch.width()).zip(batch.lengths());
    Ok(of_rows.map(|(codes, length)| codes.iter().take(length).skip(first).all(|code| *code == 0.0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_told_apart_by_the_token_that_comes_next() {
        assert_eq!(split_by_next(&[1, 9, 2, 8, 3], 0, &[8, 9]), (vec![0, 2], vec![1]));
        assert_eq!(split_by_next(&[1, 9, 2, 8, 3], 1, &[8, 9]), (vec![2], vec![1]));
        assert_eq!(split_by_next(&[9, 4, 4], 0, &[9]), (vec![], vec![]));
        let long: Vec<u32> = (0..12).chain([50]).collect();
        assert_eq!(split_by_next(&long, 0, &[50]), (vec![11], vec![0, 3, 6, 9]));
    }

    #[test]
    fn few_positions_of_a_row_are_spread_over_it() {
        let all: Vec<usize> = (0..10).collect();
        assert_eq!(spread(&all), [0, 3, 6, 9]);
        assert_eq!(spread(&all[..2]), [0, 1]);
        assert_eq!(spread(&[]), Vec::<usize>::new());
    }

    #[test]
    fn rows_end_where_the_last_position_is_and_come_in_parts_of_about_one_length() {
        let row = |length: u32, columns: &[usize]| {
            let spot = |column: &usize| RowSpot { column: *column, is_due: true, label: 0 };
            MeasuredRow::of(&(0..length).collect::<Vec<_>>(), columns.iter().map(spot).collect())
        };
        assert!(row(5, &[]).is_none());
        let rows = || [row(9, &[6]), row(4, &[0, 2]), row(3, &[1])].into_iter().flatten().collect::<Vec<_>>();
        let group = MeasureGroup::of(rows()).unwrap();
        assert_eq!(group.parts[0].batch.lengths(), [2, 3, 7]);
        let places: Vec<(usize, usize)> = group.spots().map(|spot| (spot.row, spot.column)).collect();
        assert_eq!(places, [(0, 1), (1, 0), (1, 2), (2, 6)]);
        let long: Vec<MeasuredRow> = (0..3).filter_map(|_| row(AT_ONCE as u32, &[AT_ONCE - 1])).collect();
        let alone = MeasureGroup::of(long).unwrap();
        assert_eq!((alone.parts.len(), alone.rows), (3, 3));
        assert_eq!(alone.spots().map(|spot| (spot.row, spot.within)).collect::<Vec<_>>(), [(0, 0), (1, 0), (2, 0)]);
    }
}
