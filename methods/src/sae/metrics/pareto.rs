//! Comparing dictionaries: FVE, L0, and the loss recovered.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Effect, Measures};
use crate::base::{Cell, Table, order};
use crate::sae::Sae;
use crate::sae::fit::SETTINGS;

/// One dictionary among others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    pub kind: String,
    /// The settings that differ from others of its kind: `l1 0.001`, `k 32`.
    pub settings: String,
    pub features: usize,
    pub l0: f64,
    pub fve: Option<f64>,
    pub dead_share: f64,
    /// CE recovered, where a model was given.
    pub recovered: Option<f64>,
}

impl Point {
    pub fn of(sae: &Sae, measures: &Measures, effect: Option<&Effect>) -> Self {
        Self {
            kind: sae.parts().about.kind.to_string(),
            settings: settings(sae),
            features: sae.d_sae(),
            l0: measures.l0,
            fve: measures.fve,
            dead_share: measures.features.dead_share(),
            recovered: effect.and_then(|effect| effect.ce.recovered()),
        }
    }

    /// Returns whether this is as good in both and better in one: no more codes, and no less explained.
    fn beats(&self, other: &Self) -> bool {
        let fve = |point: &Self| point.fve.unwrap_or(f64::NEG_INFINITY);
        self.l0 <= other.l0 && fve(self) >= fve(other) && (self.l0 < other.l0 || fve(self) > fve(other))
    }
}

/// Names the options of the dictionary's kind and its seed, where it was fitted here; else how many codes it keeps.
fn settings(sae: &Sae) -> String {
    let said = sae.parts().about.more.get(SETTINGS);
    let options = said.and_then(|said| said.get("options")?.as_object());
    let number = |(key, value): (&String, &Value)| value.is_number().then(|| format!("{key} {value}"));
    let mut parts: Vec<String> = options.into_iter().flatten().filter_map(number).collect();
    if let Some(seed) = said.and_then(|said| said.get("seed")) {
        parts.push(format!("seed {seed}"));
    }
    match (parts.is_empty(), sae.parts().activation.most()) {
        (true, Some(k)) => format!("k {k}"),
        _ => parts.join(", "),
    }
}

/// Dictionaries by FVE and L0.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pareto {
    pub points: Vec<Point>,
}

impl Pareto {
    /// Marks the dictionaries on the front: no other one explains as much with fewer codes, or more with as many.
    pub fn front(&self) -> Vec<bool> {
        self.points.iter().map(|point| !self.points.iter().any(|other| other.beats(point))).collect()
    }

    pub fn table(&self) -> Table {
        let row = |(point, is_on_front): (&Point, bool)| -> Vec<Cell> {
            vec![
                point.kind.as_str().into(),
                point.settings.as_str().into(),
                point.features.into(),
                point.l0.into(),
                point.fve.into(),
                point.dead_share.into(),
                point.recovered.into(),
                is_on_front.into(),
            ]
        };
        let columns = ["kind", "settings", "features", "l0", "fve", "dead_share", "ce_recovered", "front"];
        Table::new("FVE against L0", columns, self.points.iter().zip(self.front()).map(row))
    }

    /// Groups the points by kind and sorts them by L0; a kind that has several widths is split by width.
    pub fn lines<'a>(&'a self) -> Vec<(String, Vec<&'a Point>)> {
        let mut lines: Vec<(&str, usize, Vec<&'a Point>)> = Vec::new();
        for point in &self.points {
            match lines.iter_mut().find(|(kind, features, _)| *kind == point.kind && *features == point.features) {
                Some((_, _, points)) => points.push(point),
                None => lines.push((&point.kind, point.features, vec![point])),
            }
        }
        let kinds: Vec<&str> = lines.iter().map(|(kind, ..)| *kind).collect();
        let named = |(kind, features, mut points): (&str, usize, Vec<&'a Point>)| {
            order::sort_ascending(&mut points, |point| point.l0);
            match kinds.iter().filter(|known| **known == kind).count() {
                1 => (kind.to_string(), points),
                _ => (format!("{kind}, {features} features"), points),
            }
        };
        lines.into_iter().map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(kind: &str, features: usize, l0: f64, fve: Option<f64>) -> Point {
        Point { kind: kind.into(), settings: String::new(), features, l0, fve, dead_share: 0.0, recovered: None }
    }

    #[test]
    fn the_front_are_those_that_nobody_beats() {
        let points = vec![
            point("a", 8, 4.0, Some(0.5)),
            point("a", 8, 2.0, Some(0.5)),
            point("b", 8, 8.0, Some(0.9)),
            point("b", 8, 9.0, Some(0.9)),
            point("b", 8, 1.0, None),
            point("c", 8, 2.0, Some(0.5)),
        ];
        // Equals do not beat each other, and what has no value is beaten by nothing that takes more codes.
        assert_eq!(Pareto { points }.front(), [false, true, true, false, true, true]);
    }

    #[test]
    fn lines_are_of_one_kind_and_width_and_rise() {
        let points = vec![
            point("a", 8, 4.0, Some(0.7)),
            point("b", 8, 3.0, Some(0.6)),
            point("a", 8, 2.0, Some(0.5)),
            point("a", 16, 3.0, Some(0.8)),
        ];
        let found = Pareto { points };
        let lines = found.lines();
        let names: Vec<&str> = lines.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a, 8 features", "b", "a, 16 features"]);
        assert_eq!(lines[0].1.iter().map(|point| point.l0).collect::<Vec<_>>(), [2.0, 4.0]);
        assert_eq!(found.table().rows.len(), 4);
    }
}
