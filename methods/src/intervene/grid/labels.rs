//! The labels of the rows and columns of a grid.

use super::effects::MeanEffect;
use super::groups::Alignment;
use super::parts::{PatchPart, SitePart};
use super::{GridBy, GridMethod, GridOptions};
use crate::base::Grid;
use crate::base::counts::count;
use crate::base::results::MISSING;
use crate::sae::prelude::*;

/// The labels of a grid.
pub struct GridLabels<'a> {
    pub model: &'a Model,
    pub pairs: &'a [TokenPair],
    pub options: &'a GridOptions,
}

impl GridLabels<'_> {
    pub fn grid(&self, means: &BTreeMap<PatchPart, MeanEffect>, quantity: String) -> Grid {
        let mut rows: Vec<String> = Vec::new();
        let mut columns = 0;
        let mut cells = Vec::new();
        for (part, mean) in means {
            let (row, column) = self.cell(part);
            let at = rows.iter().position(|known| *known == row).unwrap_or_else(|| {
                rows.push(row);
                rows.len() - 1
            });
            columns = columns.max(column + 1);
            cells.push((at, column, *mean));
        }
        let mut values = vec![MISSING; rows.len() * columns];
        let mut intervals = vec![[MISSING; 2]; values.len()];
        for (row, column, MeanEffect { mean, interval }) in cells {
            let at = row * columns + column;
            (values[at], intervals[at]) = (mean, interval);
        }
        Grid {
            title: self.title(),
            row_axis: "site".into(),
            column_axis: self.options.by.word().into(),
            columns: (0..columns).map(|column| self.column(column, columns)).collect(),
            rows,
            quantity,
            values,
            intervals,
        }
    }

    fn title(&self) -> String {
        let pairs = count(self.pairs.len(), "pair");
        if let Some(ablation) = self.options.ablate {
            return format!("{} into clean prompts, {pairs}", ablation.word());
        }
        let (run, from) = self.options.direction.prompts();
        let method = match self.options.method {
            GridMethod::Exact => "",
            GridMethod::Attribution => ", estimated by attribution",
            GridMethod::Integrated => ", estimated by integrated gradients",
            GridMethod::AtpStar => ", sizes estimated by AtP*",
        };
        format!("{} into {} prompts{method}, {pairs}", from.word(), run.word())
    }

    /// Returns the label of the row, and the column, of a part.
    fn cell(&self, part: &PatchPart) -> (String, usize) {
        match part.part {
            SitePart::All if self.options.by == GridBy::Layer => {
                let kind = part.place.site.kind.name();
                let row = part.place.head.map_or_else(|| kind.to_string(), |head| format!("{kind}, head {head}"));
                (row, part.place.site.layer)
            }
            SitePart::All => (part.place.to_string(), 0),
            SitePart::Position(at) | SitePart::Head(at) | SitePart::Neuron(at) | SitePart::Feature(at) => {
                (part.place.to_string(), at)
            }
        }
    }

    /// Returns the label of a column. A position has its token as its label where all pairs have the same one there,
    /// and else its span.
    fn column(&self, column: usize, columns: usize) -> String {
        if self.options.by != GridBy::Position {
            return column.to_string();
        }
        // Spans and tokens are those of clean prompts, unless positions are those of another.
        let which = if self.pairs.iter().all(|pair| pair.clean.len() == pair.corrupt.len()) {
            Prompt::Clean
        } else {
            self.options.direction.prompts().0
        };
        let is_from_end = self.options.align == Alignment::End;
        let position = |pair: &TokenPair| {
            if is_from_end { (pair.prompt(which)?.len() + column).checked_sub(columns) } else { Some(column) }
        };
        let number = if is_from_end { format!("-{}", columns - column) } else { column.to_string() };
        let mut tokens = self.pairs.iter().map(|pair| pair.prompt(which)?.get(position(pair)?).copied());
        let first = tokens.next().flatten();
        let is_same = first.is_some() && tokens.all(|token| token == first);
        let text = || self.model.tokenizer.as_ref()?.text_of(first?).ok();
        let span = || {
            let in_span = |pair: &'_ TokenPair| -> Option<String> {
                let position = position(pair).filter(|_| which == Prompt::Clean)?;
                pair.spans.iter().find(|(_, span)| span.contains(&position)).map(|(name, _)| name.clone())
            };
            let mut all = self.pairs.iter().map(in_span);
            let name = all.next()??;
            all.all(|other| other.as_ref() == Some(&name)).then_some(name)
        };
        let called = if is_same { text() } else { span() };
        called.map_or(number.clone(), |called| format!("{number} {}", called.trim()))
    }
}
