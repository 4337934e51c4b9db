//! Judging circuits on pairs of prompts: `c.judge(m, pairs)` and its result.

use super::run_options::{RunOptions, maybe, maybe_json, with_runs};
use crate::circuit::ablations::NodeAblations;
use crate::circuit::faithfulness::{self as core, PairJudgeOptions};
use crate::intervene::metric::Measure;
use crate::script::circuit::Circuit;
use crate::script::model::prelude::*;

/// The evaluation of a circuit: how well it explains a task.
#[derive(Clone)]
pub struct PairJudgement(core::PairJudgement);

impl Item for PairJudgement {
    fn kind(&self) -> &'static str {
        "judgement"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        let least = match self.0.left_out.first() {
            Some(one) => format!("Least without a single unit: {:.4}, {}.\n", one.change, one.unit),
            None => String::new(),
        };
        Ok(format!("{}\n{}\n{least}", self.0.table().terminal(screen)?.trim_end(), self.0.note()))
    }

    fn html(&self) -> Result<String> {
        let note = paragraphs(&[self.0.note()]);
        Ok([self.0.table().html()?, note, self.0.minimality_table().html()?].concat())
    }

    fn data(&self) -> Result<Value> {
        let core::PairJudgement { pairs, units, everything, nothing, circuit, complement, random, left_out, .. } =
            &self.0;
        let share = |kept: &core::KeptMetric| {
            json!({
                "units": kept.units,
                "metric": number(kept.metric),
                "f": maybe_json(kept.share.value),
                "interval": kept.share.interval.map(|ends| ends.map(number)),
            })
        };
        let random: Vec<Value> = random.iter().map(|[kept, rest]| json!([share(kept), share(rest)])).collect();
        let left_out: Vec<Value> = left_out.iter().map(|one| json!([one.unit, number(one.change)])).collect();
        Ok(json!({
            "title": self.0.title,
            "pairs": pairs,
            "units": units,
            "everything": number(*everything),
            "nothing": number(*nothing),
            "circuit": share(circuit),
            "complement": share(complement),
            "random": random,
            "left_out": left_out,
        }))
    }
}

handle!(PairJudgement, "PairJudgement", |judged| {
    let f = judged.0.faithfulness().map_or("none".into(), |f| format!("{f:.3}"));
    format!("faithfulness {f} with {} of {}", judged.0.circuit.units, count(judged.0.units, "unit"))
});

#[export_module(manifest)]
pub mod methods {
    /// Judges how well a circuit explains what a metric of pairs of prompts measures, with everything else ablated.
    ///
    /// With m the mean over pairs, faithfulness is f = (m(C) - m(nothing)) / (m(everything) - m(nothing)) (Marks et al.
    /// 2024), completeness the same of everything but the circuit, and minimality the least change of f when one unit of the
    /// circuit is left out, too. Units are edges between heads and MLPs, or features and errors. Random circuits with as many
    /// units of each kind stand beside, with the least and the largest f of all draws; intervals (95 %) are by the bootstrap
    /// over pairs. Where everything and nothing have the same metric there is no f, and the judgement says so.
    ///
    /// # Options
    /// - [circuit_runs]
    /// - [pair_judge]
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let judged = c.truth.judge(c.model, c.pairs(4), #{ ablation: "zero", draws: 2 });
    /// (judged.faithfulness - 1).abs() < 1e-4  //=> true
    /// judged.size  //=> 3
    /// ```
    #[rhai_fn(global, name = "judge", pure, return_raw)]
    pub fn judge_pairs(
        ctx: NativeCallContext,
        circuit: &mut Circuit,
        m: Model,
        pairs: Array,
        options: Options,
    ) -> Fallible<PairJudgement> {
        let (runs, judged) = taken_both::<RunOptions, PairJudgeOptions>(options)?;
        let env = env(&ctx)?;
        let found = env.drawing(&ctx, "Circuit.judge", judged.seed, |seed| {
            let graph = circuit.graph();
            let judged = PairJudgeOptions { seed, ..judged };
            let judge = |runs: &dyn NodeAblations, _: Measure| core::judge(graph, runs, &judged, &env.task);
            super::with_runs(&ctx, circuit, &m, &pairs, &runs, judge)
        });
        Ok(PairJudgement(found?))
    }

    /// Returns the share of the metric that the circuit has by itself; `()` where there is none.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let judged = c.truth.judge(c.model, c.pairs(4), #{ ablation: "zero", draws: 2 });
    /// judged.faithfulness > 0.99  //=> true
    /// ```
    #[rhai_fn(global, get = "faithfulness", pure)]
    pub fn pair_faithfulness(j: &mut PairJudgement) -> Dynamic {
        super::maybe(j.0.faithfulness())
    }

    /// Returns the share of the metric that everything but the circuit has; `()` where there is none.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let judged = c.truth.judge(c.model, c.pairs(4), #{ ablation: "zero", draws: 2 });
    /// judged.completeness.abs() < 0.01  //=> true
    /// ```
    #[rhai_fn(global, get = "completeness", pure)]
    pub fn pair_completeness(j: &mut PairJudgement) -> Dynamic {
        super::maybe(j.0.complement.share.value)
    }

    /// Returns the least change of faithfulness when one unit is left out; `()` where there is none.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let judged = c.truth.judge(c.model, c.pairs(4), #{ ablation: "zero", draws: 2 });
    /// judged.minimality > 0.9  //=> true
    /// ```
    #[rhai_fn(global, get = "minimality", pure)]
    pub fn pair_minimality(j: &mut PairJudgement) -> Dynamic {
        super::maybe(j.0.minimality())
    }

    /// Returns the mean faithfulness of random circuits of the same size; `()` where there is none.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let judged = c.truth.judge(c.model, c.pairs(4), #{ ablation: "zero", draws: 2 });
    /// judged.random < judged.faithfulness  //=> true
    /// ```
    #[rhai_fn(global, get = "random", pure)]
    pub fn pair_random(j: &mut PairJudgement) -> Dynamic {
        super::maybe(j.0.random_faithfulness())
    }

    /// Returns the number of the circuit's units.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// c.truth.judge(c.model, c.pairs(4), #{ ablation: "zero", draws: 2 }).size  //=> 3
    /// ```
    #[rhai_fn(global, get = "size", pure)]
    pub fn pair_size(j: &mut PairJudgement) -> i64 {
        j.0.circuit.units as i64
    }

    /// Tabulates the metric and its share for the circuit, for everything but the circuit, and for random circuits.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// c.truth.judge(c.model, c.pairs(4), #{ ablation: "zero", draws: 2 }).table["units"]  //=> [3, 43, 3, 43]
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn pair_table(j: &mut PairJudgement) -> Table {
        j.0.table()
    }

    /// Tabulates what faithfulness loses without single units, the least first.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// c.truth.judge(c.model, c.pairs(4), #{ ablation: "zero", draws: 2 }).left_out["without"].len()  //=> 3
    /// ```
    #[rhai_fn(global, get = "left_out", pure)]
    pub fn pair_left_out(j: &mut PairJudgement) -> Table {
        j.0.minimality_table()
    }

    /// Returns the judgement's figures as a map.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// c.truth.judge(c.model, c.pairs(4), #{ ablation: "zero", draws: 2 }).to_map().pairs  //=> 4
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn pair_map(j: &mut PairJudgement) -> Fallible<Dynamic> {
        Ok(mapped(j)?)
    }
}
