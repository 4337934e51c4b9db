//! Dictionaries as wholes: how their directions lie among each other, on a map, and how much of their codes is kept.

use super::baselines::draws;
use super::measure::directions;
use crate::sae::map::{self, MapOptions};
use crate::sae::metrics::{self, GeometryOptions, Shape, ShapeOptions, SuppressionOptions};
use crate::script::prelude::*;
use crate::script::sae::Sae;
use crate::script::tensor::values;

/// Returns two tables by their names.
fn tables(summary: Table, table: Table) -> Map {
    [("summary", summary), ("table", table)].map(|(name, table)| (name.into(), Dynamic::from(table))).into()
}

#[export_module(manifest)]
pub mod functions {
    /// Measures how the directions of a dictionary, or of a tensor `[features, d]`, lie among each other (Elhage et al.
    /// 2022), compared with as many random directions of the same lengths.
    ///
    /// Returns a map of two tables. `summary`: the mutual coherence, the mean of each direction's largest |cosine|, the
    /// interference, which is p times the sum of squared cosines with the others, and the dimensions that each
    /// direction has, `|W_i|² / sum over j of (W_i . W_j / |W_i|)²`; with 95 % intervals by the bootstrap over
    /// directions, and with what theory says of random ones. `table`: these numbers of each feature.
    ///
    /// # Options
    /// - [geometry]
    ///
    /// # Example
    /// ```
    /// let found = sae::geometry(tensor([[1, 0], [-1, 0], [0, 2]]));
    /// found.table["dimensions"]  //=> [0.5, 0.5, 1.0]
    /// found.table["interference"]  //=> [1.0, 1.0, 0.0]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn geometry(ctx: NativeCallContext, s: Any, options: Options) -> Fallible<Map> {
        let env = env(&ctx)?;
        let options: GeometryOptions = taken(options)?;
        let directions = directions("s", &s)?;
        let found = env.drawing(&ctx, "sae::geometry", Seed::default(), |seed| {
            metrics::geometry(&directions, options, seed.draws(), &env.task)
        })?;
        Ok(tables(found.summary(&env.task)?, found.table()))
    }

    /// Points in two dimensions for the directions of a dictionary, or of a tensor `[features, d]`, where those with large
    /// cosines lie together: `[features, 2]`, for `plot::scatter`. Distances between far points mean little.
    ///
    /// # Options
    /// - [map]
    ///
    /// # Example
    /// ```
    /// let points = sae::map(sae::random(8, 40, #{ seed: 1 }), #{ epochs: 20 });
    /// plot::scatter(points[[":", 0]], points[[":", 1]]).save("map.svg");
    /// points.shape  //=> [40, 2]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn map(ctx: NativeCallContext, s: Any, options: Options) -> Fallible<Tensor> {
        let env = env(&ctx)?;
        let options: MapOptions = taken(options)?;
        Ok(map::map(&directions("s", &s)?, &options, &env.task)?)
    }

    /// Finds groups of features whose codes lie along a curve, with their order on it, over the activations `x`
    /// `[.., d]`: shapes that a model computes with, where one direction is not enough (Engels et al. 2024; Gurnee et al.
    /// 2025).
    ///
    /// Features that follow each other on a curve are active together. A feature is linked to those that its codes
    /// correlate with most, where the link is mutual; linked features are a group of at most 256. The slowest modes of
    /// the random walk between the features of a group, by their correlations, order it along a line and around a circle
    /// (Coifman & Lafon 2006). Groups and orders are made from half of the rows, drawn at random, and judged on the others:
    /// with their correlations `w` above 0 and distances `d` in the order, the fit is `1 - sum of w d / (mean d * sum of
    /// w)`, 0 in a random order on average. A group is of the kind that fits better; `chance` is the largest fit of random
    /// orders of it.
    ///
    /// Returns a map: `groups`, the largest fit beyond chance first, each a map of its `features` in their order, its
    /// `kind`, "line" or "circle", the `fit`, the one by `chance` and the mean `correlation` of features that follow each
    /// other; a `table` of them; and the number of features that are `active`. `std/shapes` goes on from here.
    ///
    /// # Options
    /// - [shapes]
    ///
    /// # Example
    /// ```
    /// let x = (tensor::arange(200).unsqueeze(1) / 20 - tensor::arange(10)).abs();
    /// let found = sae::shapes(sae::neurons(10), (1.5 - x).maximum(0), #{ seed: 1 });
    /// found.groups.map(|group| [group.kind, group.features.len])  //=> [["line", 10]]
    /// found.groups[0].fit > found.groups[0].chance  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn shapes(ctx: NativeCallContext, s: Sae, x: Any, options: Options) -> Fallible<Map> {
        let env = env(&ctx)?;
        let options: ShapeOptions = taken(options)?;
        let x = values("x", &x)?;
        let found = env.drawing(&ctx, "sae::shapes", options.seed, |seed| {
            let options = ShapeOptions { seed, ..options };
            metrics::shapes(&s.core, &x, &options, &env.task).map_err(|e| e.about("x"))
        })?;
        let group = |one: &Shape| -> Dynamic {
            let features: Vec<Dynamic> = one.features.iter().map(|feature| (*feature as i64).into()).collect();
            let fields: [(&str, Dynamic); 5] = [
                ("features", features.into()),
                ("kind", one.kind.word().into()),
                ("fit", one.fit.into()),
                ("chance", one.chance.into()),
                ("correlation", one.correlation.into()),
            ];
            Dynamic::from(fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>())
        };
        let groups: Vec<Dynamic> = found.groups.iter().map(group).collect();
        let fields: [(&str, Dynamic); 3] = [
            ("groups", groups.into()),
            ("table", Dynamic::from(found.table())),
            ("active", (found.active as i64).into()),
        ];
        Ok(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// Measures how much of the best codes the features of a dictionary keep on activations `[.., d]`: below 1 they are
    /// suppressed, as a penalty on their size does (Wright & Sharkey 2024).
    ///
    /// For each feature the factor on its codes that leaves the least squared error, with all others held, is
    /// `s = 1 + sum c d.(x - x_hat) / sum c²|d|²`, and `kept` is `1 / s`. Returns a map of two tables. `summary`: the
    /// mean over features, the share of all codes together, and how many features are suppressed or too large, which
    /// are those whose interval leaves 1 out; compared with the same numbers for errors of other rows. `table`: each
    /// feature with its 95 % interval, which takes rows for independent.
    ///
    /// # Options
    /// - [suppression]
    ///
    /// # Example
    /// ```
    /// let x = tensor::uniform([100, 4], #{ seed: 1 });
    /// sae::suppression(sae::neurons(4, #{ relu: true }), x).table["kept"]  //=> [1.0, 1.0, 1.0, 1.0]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn suppression(ctx: NativeCallContext, s: Sae, x: Any, options: Options) -> Fallible<Map> {
        let env = env(&ctx)?;
        let options: SuppressionOptions = taken(options)?;
        let x = values("x", &x)?;
        let found = env.drawing(&ctx, "sae::suppression", Seed::default(), |seed| {
            metrics::suppression(&s.core, &x, options, &mut draws(seed), &env.task)
        })?;
        Ok(tables(found.summary(), found.table()))
    }
}
