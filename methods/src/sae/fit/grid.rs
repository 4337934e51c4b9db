//! Plans over a grid of settings.

use super::kinds;
use super::plan::{FitOptions, FitPlan, TargetName};
use crate::base::random::{OF_CALL, Seed};
use crate::common::*;
use crate::options::{Field, Plain, Setting};

/// The names of the kinds of a grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindNames(pub Vec<String>);

impl Setting for KindNames {
    const CHOICES: &'static [&'static str] = &kinds::NAMES;

    fn wanted() -> String {
        "a kind of dictionary, or an array of such".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        Vec::of(value).map(Self)
    }

    fn written(&self) -> String {
        self.0.iter().map(String::written).collect::<Vec<_>>().join(", ")
    }
}

crate::options! {
    /// The axes that every grid has. Those of kinds are `l1`, `l0`, `target` and `k`.
    pub struct FitGridOptions {
        /// Kind of dictionary, or an array of kinds.
        kind: KindNames = KindNames(vec!["topk".into()]);
        /// Number of features, or an array of numbers.
        d_sae: Option<Vec<usize>> = None => usually("`ratio` times d");
        /// Number of features over number of dimensions, or an array of ratios.
        ratio: Option<Vec<f64>> = None => usually("8").above(0.0);
        /// Seed, or an array of seeds.
        seed: Option<Vec<i64>> = None => usually(OF_CALL);
    }
}

/// The options of kinds that are axes of a grid. They vary slower than those of all kinds.
pub const AXES_OF_KINDS: [&str; 4] = ["l1", "l0", "target", "k"];

/// Returns a plan for each cell of a grid, in the order of the kinds; the last axis varies fastest. `own` are options of the
/// kinds, lists where they are axes; a kind gets those that it has.
pub fn grid(
    of: TargetName,
    axes: &FitGridOptions,
    options: &FitOptions,
    own: &[(&str, Plain)],
) -> Result<Vec<FitPlan>> {
    let named = &axes.kind.0;
    let kinds = named.iter().map(|name| kinds::options_of(name)).collect::<Result<Vec<_>>>()?;
    let has = |fields: &[Field], name: &str| fields.iter().any(|field| field.name == name);
    if let Some((stray, _)) = own.iter().find(|(name, _)| !kinds.iter().any(|fields| has(fields, name))) {
        return Err(err!(Argument, "expected no `{stray}` for {}", named.join(", ")).about(*stray));
    }
    let mut plans = Vec::new();
    for (name, fields) in named.iter().zip(kinds) {
        let own: Vec<(&str, Plain)> = own.iter().filter(|(name, _)| has(fields, name)).cloned().collect();
        let options = FitOptions { kind: kinds::called(name)?, ..options.clone() };
        for own in cells_of_kind(own) {
            for options in cells_of_all(axes, options.clone()) {
                plans.push(FitPlan::named(of, options, &own)?);
            }
        }
    }
    if plans.is_empty() {
        Err(err!(Argument, "expected values to sweep over, found an empty list").about("options"))
    } else {
        Ok(plans)
    }
}

/// Returns the options of a kind for each combination of their values.
fn cells_of_kind(own: Vec<(&str, Plain)>) -> Vec<Vec<(&str, Plain)>> {
    let mut cells = vec![own.clone()];
    for axis in AXES_OF_KINDS {
        let Some((place, Plain::List(values))) =
            own.iter().position(|(name, _)| *name == axis).and_then(|place| Some((place, own.get(place)?.1.clone())))
        else {
            continue;
        };
        cells = with_each(cells, &values, |cell, value| cell[place].1 = value.clone());
    }
    cells
}

/// Returns the options of all kinds for each combination of their values.
fn cells_of_all(axes: &FitGridOptions, options: FitOptions) -> Vec<FitOptions> {
    let mut cells = vec![options];
    if let Some(values) = &axes.d_sae {
        cells = with_each(cells, values, |cell, value| cell.d_sae = Some(*value));
    }
    if let Some(values) = &axes.ratio {
        cells = with_each(cells, values, |cell, value| cell.ratio = *value);
    }
    if let Some(values) = &axes.seed {
        cells = with_each(cells, values, |cell, value| cell.seed = Seed::of(*value));
    }
    cells
}

/// Returns each cell once with each of the values.
pub fn with_each<T: Clone, V>(cells: Vec<T>, values: &[V], set: impl Fn(&mut T, &V)) -> Vec<T> {
    let mut all = Vec::with_capacity(cells.len() * values.len());
    for cell in &cells {
        for value in values {
            let mut cell = cell.clone();
            set(&mut cell, value);
            all.push(cell);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(axes: &FitGridOptions, own: &[(&str, Plain)]) -> Result<Vec<String>> {
        let plans = grid(TargetName::Dictionary, axes, &FitOptions::default(), own)?;
        Ok(plans.iter().map(|plan| plan.recipe(64, 4).folder()).collect())
    }

    #[test]
    fn the_last_axis_varies_fastest_and_a_kind_gets_its_own_options() {
        let axes = FitGridOptions {
            kind: KindNames(vec!["topk".into(), "tied".into()]),
            d_sae: Some(vec![8, 12]),
            seed: Some(vec![3]),
            ..FitGridOptions::default()
        };
        let own = [("k", Plain::List(vec![Plain::Integer(1), Plain::Integer(2)])), ("l1", Plain::Float(0.5))];
        let expected = [
            "topk-k-1-8-seed-3",
            "topk-k-1-12-seed-3",
            "topk-k-2-8-seed-3",
            "topk-k-2-12-seed-3",
            "tied-l1-0.5-8-seed-3",
            "tied-l1-0.5-12-seed-3",
        ];
        assert_eq!(cells(&axes, &own).unwrap(), expected);
    }

    #[test]
    fn strays_and_empty_axes_are_refused() {
        let of = |axes: FitGridOptions, own: &[(&str, Plain)]| cells(&axes, own).unwrap_err().message;
        let k = [("k", Plain::Integer(2))];
        assert_eq!(of(FitGridOptions::default(), &[("l1", Plain::Float(0.5))]), "expected no `l1` for topk");
        let unknown = FitGridOptions { kind: KindNames(vec!["tide".into()]), ..FitGridOptions::default() };
        assert_eq!(of(unknown, &k), "unknown kind of dictionary `tide`");
        let empty = FitGridOptions { seed: Some(Vec::new()), ..FitGridOptions::default() };
        assert_eq!(of(empty, &k), "expected values to sweep over, found an empty list");
    }
}
