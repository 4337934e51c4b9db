//! `probe::fit`, `split`, `selectivity` and `load`.

use super::{Probe, class_names};
use crate::base::error::both;
use crate::probes::labels::ClassLabels;
use crate::probes::probe;
use crate::probes::selectivity::{self, SelectivityOptions};
use crate::probes::split::{RowSplit, SplitOptions};
use crate::script::prelude::*;
use crate::script::tensor::values;

/// Selects elements of an argument that has one for each row: a tensor or an array.
fn rows_of(value: &Dynamic, rows: &[usize]) -> Result<Dynamic> {
    if let Some(tensor) = value.read_lock::<Tensor>() {
        let rows: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
        let places = Tensor::from_slice(&rows, rows.len(), &Device::Cpu)?.to_device(tensor.device())?;
        return Ok(Dynamic::from(tensor.contiguous()?.index_select(&places, 0)?));
    }
    let array = given("y", value).list()?;
    Ok(rows.iter().filter_map(|row| array.get(*row).cloned()).collect::<Array>().into())
}

#[export_module(manifest)]
pub mod functions {
    /// Fits a probe: a linear classifier of rows `x`, [rows, width], with a label `y` for each.
    ///
    /// Rows are activations, or the codes of a dictionary. Labels are booleans, integers or texts in an array, or a tensor
    /// of integers. Of two classes the second (true, the larger number, the later text) is the one that scores are for.
    ///
    /// - "logistic": logistic regression, for more classes softmax regression: the mean of -log p(label), plus l2 / 2
    ///   times the squared weights, is minimised. Newton's method and L-BFGS end where no component of the gradient is
    ///   above 1e-9. Without a penalty, classes that can be separated are refused: no weights are the best.
    /// - "difference_of_means": a row belongs to the nearest mean of a class; of two classes the direction is the
    ///   difference of their means.
    /// - "sparse": logistic regression on the `k` columns whose means differ most between a class and the rest (Gurnee et
    ///   al. 2023): on codes, a few features.
    ///
    /// Judge a probe on rows that it was not fitted on: see `probe::split`.
    ///
    /// # Options
    /// - [probe]
    ///
    /// # Example
    /// ```
    /// let x = tensor([[0, 1], [1, 0], [3, 1], [4, 0]]);
    /// let p = probe::fit(x, [false, false, true, true]);
    /// p  //=> logistic probe of false / true on 2 numbers
    /// p.predict([[0, 0], [5, 0]])  //=> [false, true]
    /// let d = probe::fit(x, ["few", "few", "many", "many"], #{ kind: "difference_of_means" });
    /// d.direction  //=> tensor([1.0, 0.0])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn fit(ctx: NativeCallContext, x: Any, y: Any, options: Options) -> Fallible<Probe> {
        let env = env(&ctx)?;
        let options = taken(options)?;
        let (x, names) = both(values("x", &x), class_names("y", &y))?;
        let labels = ClassLabels::of(&names).map_err(|e| e.about("y"))?;
        // Each step of Newton's method looks at all products of two columns.
        let cost = x.elem_count() as f64 * x.dims().last().copied().unwrap_or(1) as f64;
        let task = env.task.clone();
        let fitted = env.task.heavy(cost, move || probe::Probe::fit(&x, &labels, &options, &task))?;
        Ok(fitted.into())
    }

    /// Splits rows and labels into a part to fit on and a part to judge on, which share no group.
    ///
    /// With `groups`, such as the document of each row, whole groups are held out: rows of one document are alike, and a
    /// probe that has seen some of them would be judged too well. Returns the parts as maps with `x`, `y`, the `rows`
    /// that they are, and their `groups`, if given.
    ///
    /// # Options
    /// - [probe_split]
    ///
    /// # Example
    /// ```
    /// let x = tensor([[0], [1], [2], [3], [4], [5]]);
    /// let parts = probe::split(x, [0, 1, 0, 1, 0, 1], #{ groups: ["a", "a", "b", "b", "c", "c"], held_out: 0.3 });
    /// [parts.train.x.shape, parts.held_out.x.shape, parts.held_out.y]  //=> [[4, 1], [2, 1], [0, 1]]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn split(_ctx: NativeCallContext, x: Any, y: Any, options: Options) -> Fallible<Map> {
        let ids = options.get("groups").cloned();
        let options: SplitOptions = taken(options)?;
        let (rows, names) = both(values("x", &x), class_names("y", &y))?;
        let count = names.len();
        if rows.dims().first() != Some(&count) {
            let shape = rows.dims();
            return Err(err!(Shape, "expected a label for each row of {shape:?}, found {count}").about("y").into());
        }
        let rows = Dynamic::from(rows);
        let parts = RowSplit::of(count, &options.rows, options.seed.cast_unsigned())?;
        let part = |numbers: &[usize]| -> Result<Dynamic> {
            let mut map = Map::new();
            map.insert("x".into(), super::rows_of(&rows, numbers)?);
            map.insert("y".into(), super::rows_of(&y, numbers)?);
            map.insert("rows".into(), numbers.iter().map(|row| Dynamic::from(*row as i64)).collect::<Array>().into());
            if let Some(ids) = &ids {
                map.insert("groups".into(), super::rows_of(ids, numbers)?);
            }
            Ok(map.into())
        };
        let fields = [("train", part(&parts.train)?), ("held_out", part(&parts.held_out)?)];
        Ok(fields.into_iter().map(|(name, part)| (name.into(), part)).collect())
    }

    /// Measures the selectivity of a probe: its accuracy less that on a control task of random labels (Hewitt & Liang
    /// 2019), both on held-out rows.
    ///
    /// In a control task each of the `types`, such as token ids, has one label, drawn from those of the rows; only a probe
    /// that remembers types does well on it. Without `types` every row is its own: labels are shuffled, and the control
    /// task is at chance. Intervals of 95 % are a bootstrap over held-out rows or groups. A call without `seed` holds out the
    /// rows that `probe::split` does, and its control tasks are its own.
    ///
    /// # Options
    /// - [probe_selectivity]
    ///
    /// # Example
    /// ```
    /// let y = (0..40).map(|i| i % 2 == 0);
    /// let x = tensor(y.map(|is_even| if is_even { [2, 1] } else { [0, 1] }));
    /// let found = probe::selectivity(x, y, #{ draws: 2 });
    /// found["measure"]  //=> ["accuracy", "on control tasks", "selectivity"]
    /// found["value"][0]  //=> 1.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn selectivity(ctx: NativeCallContext, x: Any, y: Any, options: Options) -> Fallible<Table> {
        let env = env(&ctx)?;
        let options: SelectivityOptions = taken(options)?;
        let (x, names) = both(values("x", &x), class_names("y", &y))?;
        let task = env.task.clone();
        let found = env.drawing(&ctx, "probe::selectivity", options.seed, |seed| {
            let options = SelectivityOptions { seed, ..options };
            env.task.apart(move || selectivity::selectivity(&x, &names, &options, &task))
        });
        Ok(found?)
    }

    /// Reads a probe from a file that `p.save(path)` wrote.
    ///
    /// # Example
    /// ```
    /// let p = probe::fit([[0, 1], [3, 0]], [false, true]);
    /// p.save("probe.safetensors");
    /// probe::load("probe.safetensors").direction.equal(p.direction)  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load(ctx: NativeCallContext, path: &str) -> Fallible<Probe> {
        let found = probe::Probe::load(&env(&ctx)?.files, Path::new(path)).map_err(|e| e.about("path"))?;
        Ok(found.into())
    }
}
