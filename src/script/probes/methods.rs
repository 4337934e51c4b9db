//! The methods of probes: what they say of rows, and how well.

use super::{Probe, class_names, class_value};
use crate::probes::judge::JudgeProbeOptions;
use crate::probes::measures::JudgedRows;
use crate::script::prelude::*;
use crate::script::tensor::values;

/// Runs work of a probe on rows: on a thread of its own where they are many, so that Ctrl-C is heard.
fn on_rows<T: Send + 'static>(
    ctx: &NativeCallContext,
    p: &Probe,
    x: &Dynamic,
    work: impl FnOnce(&crate::probes::Probe, &Tensor) -> Result<T> + Send + 'static,
) -> Fallible<T> {
    let x = values("x", x)?;
    let probe = p.core().clone();
    // Each number is multiplied by a weight of each output, and rows may be sorted by their scores.
    let cost = x.elem_count() as f64 * (probe.outputs() + 20) as f64;
    Ok(env(ctx)?.task.heavy(cost, move || work(&probe, &x))?)
}

/// Computes a measure of labelled rows and the probe's scores of them.
fn measured<T: Send + 'static>(
    ctx: &NativeCallContext,
    p: &Probe,
    x: &Dynamic,
    y: &Dynamic,
    measure: impl FnOnce(&JudgedRows) -> T + Send + 'static,
) -> Fallible<T> {
    let names = class_names("y", y)?;
    on_rows(ctx, p, x, move |probe, x| Ok(measure(&probe.judged(x, &names)?)))
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the probe's scores of rows [rows, width]: for two classes the log odds of the second, [rows]; for more a
    /// score for each class, [rows, classes], whose softmax is the probability.
    ///
    /// # Example
    /// ```
    /// let p = probe::fit([[0], [1], [3], [4]], [0, 0, 1, 1], #{ kind: "difference_of_means" });
    /// p.scores([[2], [4]]).to_array()  //=> [0.0, 12.0]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn scores(ctx: NativeCallContext, p: &mut Probe, x: Any) -> Fallible<Tensor> {
        super::on_rows(&ctx, p, &x, |probe, x| probe.scores(x).map_err(|e| e.about("x")))
    }

    /// Returns the likeliest class of each row, as an array.
    ///
    /// # Example
    /// ```
    /// let p = probe::fit([[0], [1], [3], [4]], ["few", "few", "many", "many"]);
    /// p.predict([[0.5], [9]])  //=> ["few", "many"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn predict(ctx: NativeCallContext, p: &mut Probe, x: Any) -> Fallible<Array> {
        let found = super::on_rows(&ctx, p, &x, |probe, x| probe.predict(x).map_err(|e| e.about("x")))?;
        Ok(found.iter().map(class_value).collect())
    }

    /// Returns the share of rows whose likeliest class is their label.
    ///
    /// # Example
    /// ```
    /// let p = probe::fit([[0], [1], [3], [4]], [0, 0, 1, 1]);
    /// p.accuracy([[0], [1], [3], [1]], [0, 0, 1, 1])  //=> 0.75
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn accuracy(ctx: NativeCallContext, p: &mut Probe, x: Any, y: Any) -> Fallible<f64> {
        super::measured(&ctx, p, &x, &y, |judged| judged.accuracy(&judged.each_once()))
    }

    /// Returns the area under the ROC curve: the probability that a row of the second class has a larger score than one
    /// of the first, ties counted half; 0.5 for random scores. For several classes it is the mean over them, each
    /// against the rest.
    ///
    /// # Example
    /// ```
    /// let p = probe::fit([[0], [1], [3], [4]], [0, 0, 1, 1]);
    /// p.auroc([[0], [2], [1], [4]], [0, 0, 1, 1])  //=> 0.75
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn auroc(ctx: NativeCallContext, p: &mut Probe, x: Any, y: Any) -> Fallible<f64> {
        let auroc = super::measured(&ctx, p, &x, &y, |judged| judged.auroc(&judged.each_once()))?;
        if auroc.is_nan() {
            Err(err!(Argument, "expected rows of at least two classes for AUROC, found one").about("y").into())
        } else {
            Ok(auroc)
        }
    }

    /// Counts how many rows of each class are predicted as which class, as a table.
    ///
    /// # Example
    /// ```
    /// let p = probe::fit([[0], [1], [3], [4]], [0, 0, 1, 1]);
    /// p.confusion([[0], [4], [3], [4]], [0, 0, 1, 1]).to_map().rows  //=> [["0", 1, 1], ["1", 0, 2]]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn confusion(ctx: NativeCallContext, p: &mut Probe, x: Any, y: Any) -> Fallible<Table> {
        super::measured(&ctx, p, &x, &y, JudgedRows::confusion_table)
    }

    /// Measures how well the probe is calibrated: `error`, the expected calibration error, and `table`, its reliability
    /// table (Guo et al. 2017).
    ///
    /// Rows are put into ten bins by the probability p of the predicted class. The error is the sum over bins of (rows in
    /// the bin / all rows) |accuracy - mean p|.
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([200, 1], #{ seed: 1 });
    /// let y = (x.reshape([200]) + tensor::randn([200], #{ seed: 2 })) > 0;
    /// let found = probe::fit(x, y).calibration(x, y);
    /// found.error < 0.1  //=> true
    /// found.table.columns  //=> ["from", "to", "rows", "mean probability", "accuracy"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn calibration(ctx: NativeCallContext, p: &mut Probe, x: Any, y: Any) -> Fallible<Map> {
        let (error, table) = super::measured(&ctx, p, &x, &y, |judged| {
            (judged.calibration_error(&judged.each_once()), judged.reliability_table())
        })?;
        Ok([("error".into(), error.into()), ("table".into(), Dynamic::from(table))].into())
    }

    /// Judges the probe on rows that it was not fitted on: accuracy, the accuracy of always answering with the class
    /// that was commonest where it was fitted, their difference, AUROC, and expected calibration error, each with a 95
    /// % interval.
    ///
    /// Intervals are a bootstrap over rows, or over whole `groups`, such as documents.
    ///
    /// # Options
    /// - [probe_judge]
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([200, 3], #{ seed: 1 });
    /// let y = (x[[":", 0]] + tensor::randn([200], #{ seed: 2 })) > 0;
    /// let parts = probe::split(x, y);
    /// let found = probe::fit(parts.train.x, parts.train.y).judge(parts.held_out.x, parts.held_out.y);
    /// found["measure"]
    /// //=> ["accuracy", "majority rate", "above majority", "AUROC", "calibration error"]
    /// found["low"][3] > 0.5  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn judge(ctx: NativeCallContext, p: &mut Probe, x: Any, y: Any, options: Options) -> Fallible<Table> {
        let env = env(&ctx)?;
        let options: JudgeProbeOptions = taken(options)?;
        let x = values("x", &x)?;
        let names = class_names("y", &y)?;
        let probe = p.core().clone();
        let found = env.drawing(&ctx, "Probe.judge", options.seed, |seed| {
            let options = JudgeProbeOptions { seed, ..options };
            env.task.apart(move || probe.judge(&x, &names, &options))
        });
        Ok(found?)
    }

    /// Returns the unit vector [width] along which the log odds of the second class rise fastest; for several classes
    /// one for each, [classes, width]. It goes into `hooks::project_out(site, v)` and `hooks::add(site, v, scale)`.
    ///
    /// # Example
    /// ```
    /// let p = probe::fit([[0, 0], [0, 1], [2, 0], [2, 1]], [0, 0, 1, 1], #{ kind: "difference_of_means" });
    /// p.direction  //=> tensor([1.0, 0.0])
    /// hooks::project_out("resid_post.1", p.direction)  //=> project out 1 direction at resid_post.1
    /// ```
    #[rhai_fn(global, get = "direction", pure, return_raw)]
    pub fn direction(p: &mut Probe) -> Fallible<Tensor> {
        Ok(p.core().direction()?)
    }

    /// Returns the classes, in order.
    ///
    /// # Example
    /// ```
    /// probe::fit([[0], [1], [3]], ["b", "a", "a"]).classes  //=> ["a", "b"]
    /// ```
    #[rhai_fn(global, get = "classes", pure)]
    pub fn classes(p: &mut Probe) -> Array {
        p.core().classes.iter().map(class_value).collect()
    }

    /// Returns the columns that a sparse probe reads, such as features of a dictionary; `()` for a probe that reads
    /// all.
    ///
    /// # Example
    /// ```
    /// let codes = [[0, 0, 1], [0, 1, 0], [0, 0, 3], [0, 1, 4]];
    /// probe::fit(codes, [0, 0, 1, 1], #{ kind: "sparse", k: 1 }).features  //=> [2]
    /// ```
    #[rhai_fn(global, get = "features", pure)]
    pub fn features(p: &mut Probe) -> Dynamic {
        match &p.core().features {
            Some(all) => all.iter().map(|column| Dynamic::from(*column as i64)).collect::<Array>().into(),
            None => Dynamic::UNIT,
        }
    }

    /// Returns the probe as a map: its kind, classes with their shares, width, penalty and biases.
    ///
    /// # Example
    /// ```
    /// probe::fit([[0], [1], [3], [4]], [0, 0, 1, 1]).to_map().shares  //=> [0.5, 0.5]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(p: &mut Probe) -> Fallible<Dynamic> {
        Ok(mapped(p)?)
    }

    /// Writes the probe into one .safetensors file, which `probe::load` reads. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// let p = probe::fit([[0, 1], [3, 0]], [false, true]);
    /// p.save("probe.safetensors").ends_with("probe.safetensors")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, p: &mut Probe, path: &str) -> Fallible<String> {
        let place = p.core().save(&env(&ctx)?.files, Path::new(path)).map_err(|e| e.about("path"))?;
        Ok(place.display().to_string())
    }
}
