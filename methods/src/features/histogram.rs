//! Positions where one feature is active in a text, counted exactly: by token, by position, by a label, and by the size
//! of its activation.

use super::contexts;
use super::survey::{Moment, SizeClasses, class};
use super::text_codes::{TextCodes, TextLimits};
use crate::base::results::Histogram;
use crate::data::pack;
use crate::sae::prelude::*;
use crate::tokenizer::labels::{Column, ColumnKind};

crate::options! {
    pub struct CountOptions {
        /// The classes of positions: "token", "position", or the name of a label.
        by: String = "token".into();
        /// Number of classes shown; the others are added up.
        rows: usize = 20;
    }

    pub struct FeatureHistogramOptions {
        /// The classes of positions: "code", "token", "position", or the name of a label.
        by: String = "code".into();
        /// Number of classes shown.
        bars: usize = 20;
    }
}

/// Classifications of positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PositionClasses {
    Token,
    Position,
    /// A label of the text, by its name.
    Label(String),
}

impl PositionClasses {
    /// Returns the classification by its name in scripts: "token", "position", or that of a label.
    pub fn named(name: &str) -> Self {
        match name {
            "token" => Self::Token,
            "position" => Self::Position,
            label => Self::Label(label.into()),
        }
    }
}

/// The counts of a class of positions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Count {
    pub positions: u64,
    /// The number of positions at which the feature is active.
    pub fired: u64,
    /// The sum of the feature's activations.
    pub sum: f64,
    /// The largest activation.
    pub most: f64,
}

impl Count {
    fn take(&mut self, code: f32) {
        let code = f64::from(code);
        self.positions += 1;
        self.sum += code;
        if code != 0.0 {
            self.most = if self.fired == 0 { code } else { self.most.max(code) };
            self.fired += 1;
        }
    }

    fn and(self, other: Self) -> Self {
        let most = match (self.fired, other.fired) {
            (0, _) => other.most,
            (_, 0) => self.most,
            _ => self.most.max(other.most),
        };
        Self {
            positions: self.positions + other.positions,
            fired: self.fired + other.fired,
            sum: self.sum + other.sum,
            most,
        }
    }
}

/// Counts classes of positions: tokens with the largest sum first, all others in their order.
pub fn counted(
    model: &Model,
    sae: &Sae,
    feature: usize,
    text: &Text,
    by: &PositionClasses,
    task: &Task,
) -> Result<Vec<(String, Count)>> {
    // A wrong name is refused before the model runs.
    let column = match by {
        PositionClasses::Label(name) => Some(pack::column(&text.labelled(), name, task).map_err(|e| e.about("by"))?),
        PositionClasses::Token | PositionClasses::Position => None,
    };
    let read = TextCodes::of(model, std::slice::from_ref(sae), &[(0, feature)], text, TextLimits::default(), task)?;
    let keys: Vec<u32> = match by {
        PositionClasses::Label(name) => read.label(name).unwrap_or_default().to_vec(),
        PositionClasses::Position => columns(&read.starts).map(|column| class(column as u32) as u32).collect(),
        PositionClasses::Token => read.ids.clone(),
    };
    let mut counts: BTreeMap<u32, Count> = BTreeMap::new();
    for (key, code) in keys.into_iter().zip(read.codes.iter().flatten()) {
        counts.entry(key).or_default().take(*code);
    }
    let mut found: Vec<(u32, Count)> = counts.into_iter().collect();
    if *by == PositionClasses::Token {
        order::sort_descending(&mut found, |(_, count)| count.sum);
    }
    let name = |key: u32| match (&column, by) {
        (Some(column), _) => value_name(column, key),
        (None, PositionClasses::Position) => class_name(key as usize),
        (None, _) => contexts::name(model, key),
    };
    Ok(found.into_iter().map(|(key, count)| (name(key), count)).collect())
}

/// Returns the histogram of nonzero activations.
pub fn sizes(model: &Model, sae: &Sae, feature: usize, text: &Text, task: &Task) -> Result<Histogram> {
    let read = TextCodes::of(model, std::slice::from_ref(sae), &[(0, feature)], text, TextLimits::default(), task)?;
    let mut sizes = SizeClasses::default();
    for code in read.codes.iter().flatten().filter(|code| **code != 0.0) {
        sizes.take(Moment { row: 0, column: 0, code: *code }, 0);
    }
    Ok(sizes.histogram())
}

/// Returns the position of each token in its row.
fn columns(starts: &[usize]) -> impl Iterator<Item = usize> {
    starts.windows(2).flat_map(|ends| 0..ends[1] - ends[0])
}

/// Returns the name of a class of positions, as in `4 to 7`.
pub fn class_name(class: usize) -> String {
    match class {
        0 | 1 => class.to_string(),
        _ => {
            let low = 1_u64 << (class - 1).min(62);
            format!("{low} to {}", 2 * low - 1)
        }
    }
}

fn value_name(column: &Column, value: u32) -> String {
    match &column.values {
        ColumnKind::Kind(kinds) => match (value as usize).checked_sub(1) {
            None => "none".into(),
            Some(kind) => kinds.get(kind).map_or_else(|| value.to_string(), |kind| (*kind).to_string()),
        },
        ColumnKind::Number | ColumnKind::Since => value.to_string(),
    }
}

/// Returns the first classes as a table, all others together in a last row. The mean is of activations where the
/// feature is active.
pub fn table(title: &str, of: &str, counted: &[(String, Count)], most: usize) -> Table {
    let row = |name: &str, count: &Count| -> Vec<Cell> {
        let share = count.fired as f64 / count.positions.max(1) as f64;
        let Count { positions, fired, sum, most } = *count;
        let mean = Cell::from((fired > 0).then(|| sum / fired as f64));
        let most = Cell::from((fired > 0).then_some(most));
        vec![name.into(), positions.into(), fired.into(), share.into(), mean, most, sum.into()]
    };
    let mut rows: Vec<Vec<Cell>> = counted.iter().take(most).map(|(name, count)| row(name, count)).collect();
    if counted.len() > most {
        let others = counted.iter().skip(most).fold(Count::default(), |all, (_, count)| all.and(*count));
        rows.push(row(&format!("{} others", counted.len() - most), &others));
    }
    let columns = [of, "positions", "active", "share", "mean code", "largest", "sum"];
    Table::new(title, columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::harvest::{HarvestOptions, TextReading};
    use crate::data::text::TextOptions;
    use crate::features::samples::{dictionary, model, text};
    use crate::features::survey::{KeptPositions, Survey};

    #[test]
    fn every_way_of_counting_counts_the_same_codes() {
        let model = model();
        let sae = dictionary("resid_post.0", 1);
        let text = text(60, TextOptions { labels: true, ..TextOptions::default() });
        let task = Task::default();
        let options = HarvestOptions::default();
        let reading = TextReading::new(&model, &text, &options);
        let survey = Survey::of(std::slice::from_ref(&sae), reading, KeptPositions::default(), &task).unwrap();
        for feature in [0, 5, 23] {
            let tally = &survey.dictionaries[0][feature];
            for by in [
                PositionClasses::Token,
                PositionClasses::Position,
                PositionClasses::Label("depth".into()),
                PositionClasses::Label("bracket".into()),
            ] {
                let found = counted(&model, &sae, feature, &text, &by, &task).unwrap();
                let all = found.iter().fold(Count::default(), |all, (_, count)| all.and(*count));
                assert_eq!((all.positions, all.fired), (survey.positions, tally.fired), "{by:?}");
                assert!((all.sum - tally.sum).abs() < 1e-3 * (1.0 + tally.sum), "{by:?}");
                assert_eq!(all.fired == 0, tally.top.is_empty());
                if let Some(first) = tally.top.first() {
                    assert!((all.most - f64::from(first.code)).abs() < 1e-4);
                }
            }
            let histogram = sizes(&model, &sae, feature, &text, &task).unwrap();
            assert_eq!(histogram.counts.iter().sum::<u64>(), tally.fired);
        }
    }

    #[test]
    fn labels_have_their_names_and_wrong_ones_are_answered() {
        let model = model();
        let sae = dictionary("resid_post.0", 1);
        let labelled = text(30, TextOptions { labels: true, ..TextOptions::default() });
        let by = |name: &str| PositionClasses::Label(name.into());
        let found = counted(&model, &sae, 1, &labelled, &by("bracket"), &Task::default()).unwrap();
        assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["none", "round"]);
        let error = counted(&model, &sae, 1, &labelled, &by("brakcet"), &Task::default()).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `bracket`?"));
        // Rules find the labels of a text that has none.
        let plain = text(30, TextOptions::default());
        assert_eq!(counted(&model, &sae, 1, &plain, &by("bracket"), &Task::default()).unwrap(), found);
    }

    #[test]
    fn what_is_not_shown_is_added_up() {
        let count = |positions, fired, sum, most| Count { positions, fired, sum, most };
        let all = [
            ("a".into(), count(4, 2, 3.0, 2.0)),
            ("b".into(), count(3, 0, 0.0, 0.0)),
            ("c".into(), count(1, 1, -1.0, -1.0)),
        ];
        let table = table("t", "token", &all, 1);
        assert_eq!(
            table.rows[0],
            ["a".into(), Cell::Int(4), Cell::Int(2), 0.5.into(), 1.5.into(), 2.0.into(), 3.0.into()]
        );
        assert_eq!(table.rows[1][0], "2 others".into());
        assert_eq!(table.rows[1][5], Cell::Float(-1.0));
        assert_eq!([0, 1, 2, 3].map(class_name), ["0", "1", "2 to 3", "4 to 7"]);
    }
}
