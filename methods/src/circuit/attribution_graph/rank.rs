//! The ranking of the features that are expanded next: those with the largest influence through the known rows first.

use super::influence::sum;
use super::sources::{ContributionRow, GraphSources};
use crate::common::*;

/// The smallest sum that a row is divided by in the ranking, as in circuit-tracer.
const LEAST: f64 = 1e-8;

/// Ranks all active features by their influence, the largest first. `rows` are those of the targets, with their
/// weights, and of the features that have one.
pub fn by_influence(
    sources: &GraphSources,
    rows: &[ContributionRow],
    found: &BTreeMap<usize, usize>,
    weights: &[f64],
) -> Vec<usize> {
    let mut influence = vec![0.0; sources.active];
    let through = |influence: &mut Vec<f64>, row: &ContributionRow, weight: f64| {
        if weight == 0.0 {
            return;
        }
        let share = weight / sum(&row.values).max(LEAST);
        sources.each_source(row, &mut |source, value| {
            if let Some(influence) = influence.get_mut(source) {
                *influence += share * f64::from(value.abs());
            }
        });
    };
    for (row, weight) in rows.iter().zip(weights) {
        through(&mut influence, row, *weight);
    }
    // Features stand in the order of layers: what one is given by later ones is known when its turn comes.
    for (feature, place) in found.iter().rev() {
        if let Some(row) = rows.get(*place) {
            let weight = influence[*feature];
            through(&mut influence, row, weight);
        }
    }
    order::descending(&influence)
}
