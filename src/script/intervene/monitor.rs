//! `intervene::monitor`: watching what a model reads or writes for features, probes and directions.

use crate::intervene::monitor::{self as core, Alarm, MonitorRunOptions, Sensor};
use crate::probes::ClassLabels;
use crate::script::features::Feature;
use crate::script::model::prelude::*;
use crate::script::probes::{Probe, class_names};
use crate::script::sae::site_of;

/// A monitor as scripts hold it.
#[derive(Clone)]
pub struct Monitor(Arc<core::Monitor>);

crate::options! {
    /// All options of `intervene::monitor`.
    pub struct MonitorOptions {
        /// The site that probes and vectors read.
        site: Option<String> = None => usually("none, for features alone");
        /// A score above it raises an alarm: one for all that is watched, or one for each.
        threshold: Vec<f64> = vec![0.0];
        /// Number of first positions of a text that raise no alarm and do not count in its score. In many models the
        /// activations of the first token are many times as long as all others, and its score is the largest of each text.
        without_first: usize = 0;
    }

    /// Options of a monitor that watches texts.
    pub struct WatchOptions {
        /// Whether only the first token with an alarm is recorded of each text.
        stop: bool = false;
    }
}

impl Handle for Monitor {
    const NAME: &'static str = "Monitor";

    fn short(&self) -> String {
        let watched = &self.0.sensors;
        match watched.as_slice() {
            [one] => format!("monitor of {}", one.name()),
            [first, rest @ ..] => format!("monitor of {} and {} more", first.name(), rest.len()),
            [] => "monitor of nothing".into(),
        }
    }

    fn json(&self) -> Result<Value> {
        let watched = self.0.sensors.iter().zip(&self.0.thresholds);
        let each = watched.map(|(sensor, threshold)| json!({ "watched": sensor.name(), "threshold": threshold }));
        Ok(each.collect())
    }
}

/// Reads a feature or a probe.
fn sensor(given: &GivenValue, site: Option<&str>) -> Result<Sensor> {
    if let Some(feature) = given.handle::<Feature>() {
        let site = site_of(&feature.sae.core)?;
        return Ok(Sensor::Feature { sae: feature.sae.core, index: feature.index, site });
    }
    let site = |what: &str| {
        site.ok_or_else(|| {
            err!(Argument, "expected the site that the {what} reads, found none")
                .hint("#{ site: \"resid_post.3\" }")
                .about("site")
        })
    };
    if let Some(vector) = given.handle::<Tensor>() {
        return Sensor::direction(&vector, site("vector")?);
    }
    let probe =
        given.handle::<Probe>().ok_or_else(|| given.refuse("a feature, a probe, a vector or an array of them"))?;
    Ok(Sensor::Probe { probe: probe.core().clone(), site: site("probe")?.into() })
}

/// Reads the texts of a call with their labels.
fn labelled(ctx: &NativeCallContext, m: &Model, x: &Dynamic, y: &Dynamic) -> Result<(Batch, ClassLabels)> {
    let labels = ClassLabels::of(&class_names("y", y)?).map_err(|e| e.about("y"))?;
    Ok((texts(ctx, m, x)?.batch, labels))
}

/// Alarms as a table.
fn alarms_table(monitor: &core::Monitor, m: &Model, rows: &[Vec<u32>], alarms: &[Alarm], task: &Task) -> Result<Table> {
    let row = |alarm: &Alarm| {
        task.check()?;
        let id = rows[alarm.text][alarm.position];
        let token =
            m.core().tokenizer.as_ref().map_or(Ok(Cell::Int(i64::from(id))), |t| t.text_of(id).map(Cell::from))?;
        let name = monitor.sensors[alarm.sensor].name();
        Ok(vec![alarm.text.into(), alarm.position.into(), token, name.into(), alarm.score.into()])
    };
    Ok(Table::new(
        "alarms",
        ["text", "position", "token", "watched", "score"],
        alarms.iter().map(row).collect::<Result<Vec<_>>>()?,
    ))
}

#[export_module(manifest)]
pub mod functions {
    /// Returns a monitor: it watches what a model reads or writes for features, probes or directions whose score is above
    /// a threshold.
    ///
    /// `watched` is a feature, a probe of two classes, a vector [d], or an array of them. The score of a feature is its code,
    /// that of a probe the log odds of its second class, that of a vector the projection onto its direction. Fit thresholds on one set of texts with `fit`, and judge them on another
    /// with `judge`; then `watch` texts, or `generate` one.
    ///
    /// # Options
    /// - [monitor]
    ///
    /// # Example
    /// ```
    /// let p = probe::fit([[0, 0], [1, 0], [3, 1], [4, 1]], [false, false, true, true]);
    /// intervene::monitor(p, #{ site: "resid_post.1" })  //=> monitor of probe of true at resid_post.1
    /// let s = sae::load("tests/fixtures/saes/saelens-topk");
    /// intervene::monitor([s.feature(12), s.feature(3)], #{ threshold: [1, 2.5] })
    /// //=> monitor of feature 12 of resid_post.3 and 1 more
    /// ```
    #[rhai_fn(return_raw)]
    pub fn monitor(_ctx: NativeCallContext, watched: Any, options: Options) -> Fallible<Monitor> {
        let MonitorOptions { site, threshold, without_first } = taken(options)?;
        let given = given("watched", &watched).elements();
        let sensors = given.iter().map(|one| super::sensor(one, site.as_deref())).collect::<Result<Vec<_>>>()?;
        if site.is_some() && sensors.iter().all(|sensor| matches!(sensor, Sensor::Feature { .. })) {
            return Err(err!(Argument, "expected a probe or a vector beside the option `site`, found features alone")
                .about("site")
                .into());
        }
        Ok(Monitor(core::Monitor { without_first, ..core::Monitor::new(sensors, &threshold)? }.into()))
    }

    /// Reads a monitor that `mon.save` wrote; a file with anything else is refused.
    ///
    /// # Example
    /// ```
    /// let mon = intervene::monitor(tensor([0, 3, 4]), #{ site: "resid_post.1", threshold: 2 });
    /// mon.save("guard.json");
    /// intervene::load_monitor("guard.json").thresholds  //=> [2.0]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load_monitor(ctx: NativeCallContext, path: &str) -> Fallible<Monitor> {
        Ok(Monitor(core::Monitor::load(&env(&ctx)?.files, path.as_ref())?.into()))
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the monitor with thresholds fitted on labelled texts: for each feature or probe the lowest one above
    /// which at most a given share of the texts without the label has a score anywhere.
    ///
    /// `x` are texts, tokens or ids, `y` a label for each: of two classes the second (true) should raise an alarm.
    ///
    /// # Options
    /// - [monitor_fit]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 4, heads: 1, vocab: 10, context: 8 }, #{ seed: 1 });
    /// let x = [[1, 2], [3, 4], [5, 6], [7, 8]];
    /// let h = m.cache(x, "resid_post.0")["resid_post.0"][[":", -1]];
    /// let p = probe::fit(h, [false, false, true, true]);
    /// let mon = intervene::monitor(p, #{ site: "resid_post.0" }).fit(m, x, [false, false, true, true]);
    /// mon.judge(m, x, [false, false, true, true])["false-positive rate"]  //=> [0.0]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn fit(
        ctx: NativeCallContext,
        mon: &mut Monitor,
        m: Model,
        x: Any,
        y: Any,
        options: Options,
    ) -> Fallible<Monitor> {
        let env = env(&ctx)?;
        let options = taken(options)?;
        let (batch, labels) = super::labelled(&ctx, &m, &x, &y)?;
        Ok(Monitor(mon.0.fitted(m.core(), batch.rows(), &labels, &options, &env.task)?.into()))
    }

    /// Returns the monitor with thresholds that keep to a rate of false alarms on new texts, from honest texts alone: a new text,
    /// drawn as these were, raises an alarm with at most that probability.
    ///
    /// `x` are texts, tokens or ids that should raise no alarm, at least 1 / rate - 1 of them, of what the monitor will watch:
    /// what this model writes after prompts that are used, as long as it will be. The threshold is the k-th largest score, for
    /// the largest k with k / (n + 1) at most the rate (split conformal prediction); a text has the largest score of its
    /// positions. Several sensors have equal shares of the rate. `save` writes rate and number of texts beside the threshold. For
    /// thresholds from labelled texts, whose rate is that of these texts, there is `fit`.
    ///
    /// # Options
    /// - [monitor_calibrate]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 4, heads: 1, vocab: 10, context: 8 }, #{ seed: 1 });
    /// let mon = intervene::monitor(tensor([1, 2, 0, -1]), #{ site: "resid_post.0" });
    /// let honest = (0..9).map(|i| [i, 9 - i]);
    /// let guard = mon.calibrate(m, honest, #{ false_positive_rate: 0.2 });
    /// guard.false_alarms(m, honest).alarms  //=> 1
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn calibrate(
        ctx: NativeCallContext,
        mon: &mut Monitor,
        m: Model,
        x: Any,
        options: Options,
    ) -> Fallible<Monitor> {
        let env = env(&ctx)?;
        let options = taken(options)?;
        let batch = texts(&ctx, &m, &x)?.batch;
        Ok(Monitor(mon.0.calibrated(m.core(), batch.rows(), &options, &env.task)?.into()))
    }

    /// Counts the honest texts that raise an alarm, as a map: `alarms`, of so many `texts`, their `rate`, and its 95 % interval
    /// from `low` to `high` (Wilson 1927).
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 4, heads: 1, vocab: 10, context: 8 }, #{ seed: 1 });
    /// let mon = |threshold| intervene::monitor(tensor([1, 0, 0, 0]), #{ site: "resid_post.0", threshold: threshold });
    /// let found = mon.call(100).false_alarms(m, [[1, 2], [3, 4, 5]]);
    /// [found.alarms, found.texts, found.rate]  //=> [0, 2, 0.0]
    /// mon.call(-100).false_alarms(m, [[1, 2], [3, 4, 5]]).rate  //=> 1.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn false_alarms(ctx: NativeCallContext, mon: &mut Monitor, m: Model, x: Any) -> Fallible<Map> {
        let env = env(&ctx)?;
        let batch = texts(&ctx, &m, &x)?.batch;
        let found = mon.0.false_alarms(m.core(), batch.rows(), &env.task)?;
        let [low, high] = found.interval;
        let fields: [(&str, Dynamic); 5] = [
            ("alarms", (found.alarms as i64).into()),
            ("texts", (found.texts as i64).into()),
            ("rate", found.rate().into()),
            ("low", low.into()),
            ("high", high.into()),
        ];
        Ok(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// Judges the monitor on labelled texts, on which its thresholds were not fitted: AUROC, precision (the share of
    /// alarms that are right), recall and false-positive rate (the shares of texts with and without the label that
    /// raise an alarm), each with a 95 % interval over texts. A text has the largest score of its positions.
    ///
    /// # Options
    /// - [monitor_judge]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 4, heads: 1, vocab: 10, context: 8 }, #{ seed: 1 });
    /// let p = probe::fit(tensor::randn([20, 4], #{ seed: 1 }), (0..20).map(|i| i % 2 == 0));
    /// let mon = intervene::monitor(p, #{ site: "resid_post.0" });
    /// let found = mon.judge(m, [[1, 2], [3, 4], [5, 6], [7, 8]], [false, false, true, true]);
    /// found.columns[5]  //=> "precision"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn judge(
        ctx: NativeCallContext,
        mon: &mut Monitor,
        m: Model,
        x: Any,
        y: Any,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        let options = taken(options)?;
        let (batch, labels) = super::labelled(&ctx, &m, &x, &y)?;
        Ok(mon.0.on(m.core(), batch.rows(), &labels, &options, &env.task)?.judged())
    }

    /// Computes the ROC of the monitor on labelled texts: for false-positive rates from 0 to 1 the recall with its 95 %
    /// interval over texts, and the threshold.
    ///
    /// # Options
    /// - [monitor_judge]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 4, heads: 1, vocab: 10, context: 8 }, #{ seed: 1 });
    /// let p = probe::fit(tensor::randn([20, 4], #{ seed: 1 }), (0..20).map(|i| i % 2 == 0));
    /// let mon = intervene::monitor(p, #{ site: "resid_post.0" });
    /// let roc = mon.roc(m, [[1, 2], [3, 4], [5, 6], [7, 8]], [false, false, true, true]);
    /// roc["recall"][-1]  //=> 1.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn roc(
        ctx: NativeCallContext,
        mon: &mut Monitor,
        m: Model,
        x: Any,
        y: Any,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        let options = taken(options)?;
        let (batch, labels) = super::labelled(&ctx, &m, &x, &y)?;
        Ok(mon.0.on(m.core(), batch.rows(), &labels, &options, &env.task)?.roc())
    }

    /// Lists the alarms of texts, as a table: text, position, token, what raised it, and its score.
    ///
    /// `x` is a text of `data::text`, or texts, tokens or ids.
    ///
    /// # Options
    /// - [monitor_watch]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 4, heads: 1, vocab: 10, context: 8 }, #{ seed: 1 });
    /// let p = probe::fit(tensor::randn([20, 4], #{ seed: 1 }), (0..20).map(|i| i % 2 == 0));
    /// let mon = intervene::monitor(p, #{ site: "resid_post.0", threshold: -100 });
    /// mon.watch(m, [[1, 2], [3, 4]])["position"]  //=> [0, 1, 0, 1]
    /// mon.watch(m, [[1, 2], [3, 4]], #{ stop: true })["position"]  //=> [0, 0]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn watch(ctx: NativeCallContext, mon: &mut Monitor, m: Model, x: Any, options: Options) -> Fallible<Table> {
        let env = env(&ctx)?;
        let WatchOptions { stop } = taken(options)?;
        let batch = texts(&ctx, &m, &x)?.batch;
        let alarms = mon.0.watch(m.core(), batch.rows(), stop, &env.task)?;
        Ok(super::alarms_table(&mon.0, &m, batch.rows(), &alarms, &env.task)?)
    }

    /// Continues a text under the monitor, which reads each token before the next is chosen, and stops at the first token
    /// with an alarm.
    ///
    /// Returns the `ids` of the new tokens and their `text`, the `alarms` as of `watch`, those in the prompt included, and
    /// whether it `stopped`. The last new token of a text that is not stopped has not been read.
    ///
    /// # Options
    /// - [monitor_run]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 4, heads: 1, vocab: 10, context: 8 }, #{ seed: 1 });
    /// let p = probe::fit(tensor::randn([20, 4], #{ seed: 1 }), (0..20).map(|i| i % 2 == 0));
    /// let mon = |threshold| intervene::monitor(p, #{ site: "resid_post.0", threshold: threshold });
    /// let free = mon.call(100).generate(m, [1, 2], #{ tokens: 3 });
    /// [free.ids.len(), free.stopped]  //=> [3, false]
    /// let halted = mon.call(-100).generate(m, [1, 2], #{ tokens: 3 });
    /// [halted.ids.len(), halted.stopped, halted.alarms["position"]]  //=> [0, true, [0]]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn generate(ctx: NativeCallContext, mon: &mut Monitor, m: Model, x: Any, options: Options) -> Fallible<Map> {
        let env = env(&ctx)?;
        let options: MonitorRunOptions = taken(options)?;
        let batch = texts(&ctx, &m, &x)?.batch;
        let prompt = batch.only_row().map_err(|e| e.about("x"))?;
        // What takes the likeliest token each time draws nothing.
        let seed = if options.temperature == 0.0 { Seed::of(0) } else { options.seed.seed };
        let written = env.drawing(&ctx, "Monitor.generate", seed, |seed| {
            mon.0.generate(m.core(), prompt, &options, seed.draws(), &env.task)
        })?;
        let table = super::alarms_table(&mon.0, &m, std::slice::from_ref(&written.ids), &written.alarms, &env.task)?;
        let new = &written.ids[written.prompt.min(written.ids.len())..];
        let text = match &m.core().tokenizer {
            None => Dynamic::UNIT,
            Some(tokenizer) => {
                let mut stream = tokenizer.stream_after(prompt)?;
                let pieces = new.iter().map(|id| stream.push(*id)).collect::<Result<Vec<_>>>()?;
                (pieces.concat() + stream.finish().as_str()).into()
            }
        };
        let ids: Array = new.iter().map(|id| Dynamic::from(i64::from(*id))).collect();
        let fields: [(&str, Dynamic); 4] = [
            ("ids", ids.into()),
            ("text", text),
            ("alarms", Dynamic::from(table)),
            ("stopped", written.stopped.into()),
        ];
        Ok(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// Counts what the monitor costs: the `multiplications` for each token, and their number for each of the model's
    /// own, as `of_model`.
    ///
    /// A probe has one for each number that it reads. A dictionary encodes all of its features: their number times its
    /// width. The model has one for each weight of its blocks and of the unembedding, without those of attention scores.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 4, heads: 1, vocab: 10, context: 8 });
    /// let p = probe::fit(tensor::randn([20, 4], #{ seed: 1 }), (0..20).map(|i| i % 2 == 0));
    /// intervene::monitor(p, #{ site: "resid_post.0" }).cost(m).multiplications  //=> 4
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn cost(mon: &mut Monitor, m: Model) -> Fallible<Map> {
        let (own, share) = mon.0.cost(m.core())?;
        Ok([("multiplications".into(), Dynamic::from(own as i64)), ("of_model".into(), share.into())].into())
    }

    /// Saves the monitor as JSON, and returns the path: for each probe or vector its weights, its site and its threshold,
    /// and on how many texts of which model the thresholds were fitted, at which false-positive rate.
    ///
    /// A feature is refused: save its dictionary, and the threshold beside it. `intervene::load_monitor` reads the file.
    ///
    /// # Example
    /// ```
    /// let p = probe::fit([[0, 0], [1, 0], [3, 1], [4, 1]], [false, false, true, true]);
    /// intervene::monitor(p, #{ site: "resid_post.1" }).save("guard.json").ends_with("guard.json")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, mon: &mut Monitor, path: &str) -> Fallible<String> {
        let saved = mon.0.save(&env(&ctx)?.files, path.as_ref())?;
        Ok(saved.display().to_string())
    }

    /// Computes the scores of texts by token: for each text an array for each of what is watched, of a score for each token.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 4, heads: 1, vocab: 10, context: 8 }, #{ seed: 1 });
    /// let mon = intervene::monitor(tensor([1, 0, 0, 0]), #{ site: "resid_post.0" });
    /// mon.scores(m, [[1, 2], [3, 4, 5]]).map(|text| text[0].len())  //=> [2, 3]
    /// mon.scores(m, [[1, 2]])[0][0][1] == m.cache([1, 2], "resid_post.0")["resid_post.0"].at([0, 1, 0])  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn scores(ctx: NativeCallContext, mon: &mut Monitor, m: Model, x: Any) -> Fallible<Array> {
        let env = env(&ctx)?;
        let batch = texts(&ctx, &m, &x)?.batch;
        let found = mon.0.scores(m.core(), batch.rows(), &env.task)?;
        let of_one = |scores: Vec<f64>| Dynamic::from(scores.into_iter().map(Dynamic::from).collect::<Array>());
        let of_text = |text: Vec<Vec<f64>>| Dynamic::from(text.into_iter().map(of_one).collect::<Array>());
        Ok(found.into_iter().map(of_text).collect())
    }

    /// Returns the thresholds, in the order of what is watched.
    ///
    /// # Example
    /// ```
    /// let s = sae::load("tests/fixtures/saes/saelens-topk");
    /// intervene::monitor([s.feature(1), s.feature(2)], #{ threshold: 3 }).thresholds  //=> [3.0, 3.0]
    /// ```
    #[rhai_fn(global, get = "thresholds", pure)]
    pub fn thresholds(mon: &mut Monitor) -> Array {
        mon.0.thresholds.iter().map(|threshold| Dynamic::from(*threshold)).collect()
    }

    /// Returns what is watched and the thresholds, as an array of maps.
    ///
    /// # Example
    /// ```
    /// let s = sae::load("tests/fixtures/saes/saelens-topk");
    /// intervene::monitor(s.feature(1)).to_map()  //=> [#{ threshold: 0.0, watched: "feature 1 of resid_post.3" }]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(mon: &mut Monitor) -> Fallible<Dynamic> {
        Ok(mapped(mon)?)
    }
}
