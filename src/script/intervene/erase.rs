//! `intervene::erase` and `erasure`: taking out of activations what linear probes read.

use crate::base::error::both;
use crate::intervene::erase::{self as core, EraseOptions, EraserKind, ErasureOptions, FittedWith, LabelledSite};
use crate::probes::{ClassLabels, ClassName};
use crate::script::model::prelude::*;
use crate::script::model::{Hook, HookAction};
use crate::script::probes::class_names;
use crate::script::sae::Sae;

/// An eraser as scripts hold it.
#[derive(Clone)]
pub struct Eraser(Arc<core::Eraser>);

impl DictionarySetting {
    pub fn core(&self) -> crate::sae::Sae {
        self.0.core.clone()
    }
}

handle_setting!(DictionarySetting(Sae), "a dictionary", |sae| sae.short());

handle_setting!(RowsSetting(Tensor), "a tensor of rows", |rows| format!("{:?}", rows.dims()));

crate::options! {
    /// All options of `intervene::erase`.
    #[derive(Clone)]
    pub struct EraseCall {
        /// Dictionary of the kind "features".
        dictionary: Option<DictionarySetting> = None => usually("none");
        /// All rows that the eraser will be applied to, labelled or not, for all but "oracle" and "features": their mean stays
        /// where it is, and "leace" changes them least.
        background: Option<RowsSetting> = None => usually("the labelled rows");
        with erase: EraseOptions;
    }

    /// All options of `intervene::erasure`.
    #[derive(Clone)]
    pub struct ErasureCall {
        /// A dictionary of the site, whose features are erased, too.
        dictionary: Option<DictionarySetting> = None => usually("none");
        with comparison: ErasureOptions;
    }
}

impl Handle for Eraser {
    const NAME: &'static str = "Eraser";

    fn short(&self) -> String {
        let eraser = &self.0;
        let what = match (eraser.rank(), eraser.features()) {
            (Some(rank), _) => format!(", {}", count(rank, "direction")),
            (None, Some(features)) => format!(", {}", count(features.len(), "feature")),
            (None, None) => String::new(),
        };
        let classes: Vec<String> = eraser.classes.iter().map(ClassName::to_string).collect();
        format!("{} eraser of {}{what}", eraser.kind.word().replace('_', " "), classes.join(" / "))
    }

    fn json(&self) -> Result<Value> {
        let eraser = &self.0;
        Ok(json!({
            "kind": eraser.kind,
            "classes": eraser.classes,
            "rows": eraser.rows,
            "width": eraser.width,
            "directions": eraser.rank(),
            "features": eraser.features(),
        }))
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Fits an eraser: a change of activations after which a linear probe cannot read their labels.
    ///
    /// `x` are rows, [rows, width], `y` their labels, as for `probe::fit`. The kinds:
    ///
    /// - "leace": of all affine changes after which rows and labels do not covary, the one that changes the rows least
    ///   (Belrose et al. 2023). On the rows that it was fitted on no linear probe is better than the majority rate.
    /// - "oracle": the same with the labels known, which changes less; it is applied with labels, and is no hook.
    /// - "mean_projection": the orthogonal projection that makes the means of the classes equal.
    /// - "inlp": in each of `rounds` the direction of a new logistic probe is projected out (Ravfogel et al. 2020).
    /// - "features": the `k` features of a dictionary whose mean codes differ most between the classes are set to 0.
    /// - "random": `k` random directions are projected out: the control.
    ///
    /// # Options
    /// - [erase]
    ///
    /// # Example
    /// ```
    /// let x = tensor([[0, 1], [1, 0], [3, 1], [4, 0]]);
    /// let y = [false, false, true, true];
    /// let e = intervene::erase(x, y);
    /// e  //=> leace eraser of false / true, 1 direction
    /// let erased = e.apply(x);
    /// (erased[0..2].mean(0) - erased[2..4].mean(0)).abs().max() < 1e-5  //=> true
    /// probe::fit(erased, y).accuracy(erased, y)  //=> 0.5
    /// ```
    #[rhai_fn(return_raw)]
    pub fn erase(ctx: NativeCallContext, x: Any, y: Any, options: Options) -> Fallible<Eraser> {
        let env = env(&ctx)?;
        let EraseCall { dictionary, background, erase } = taken(options)?;
        let (x, names) = both(values("x", &x), class_names("y", &y))?;
        let labels = ClassLabels::of(&names).map_err(|e| e.about("y"))?;
        let sae = dictionary.map(|dictionary| dictionary.0.core);
        let task = env.task.clone();
        let background = background.map(|rows| rows.0);
        let fit = |erase: EraseOptions| {
            env.task.apart(move || {
                let with = FittedWith { dictionary: sae.as_ref(), background: background.as_ref() };
                core::Eraser::fit(&x, &labels, &erase, with, &task)
            })
        };
        // The other kinds draw nothing.
        let fitted = match erase.kind {
            EraserKind::Random => {
                env.drawing(&ctx, "intervene::erase", erase.seed, |seed| fit(EraseOptions { seed, ..erase }))?
            }
            _ => fit(erase)?,
        };
        Ok(Eraser(fitted.into()))
    }

    /// Compares ways to erase a label of a text from a site of a model, as a table.
    ///
    /// Erasers are fitted where the label has one of the `values`, on documents that are not held out. Then for each, on
    /// those held out: the accuracy of a probe that was fitted anew on erased activations, with its 95 % interval over
    /// documents, beside the majority rate; the edit size, which is the sum of squared changes over that of squared
    /// deviations from the mean; and what the eraser, as a hook at all positions, does to the model: how much the loss of
    /// the next token rises where the label `predicts` is set, and KL(clean || erased) in nats at the other positions that
    /// have none of the values. Random directions, as many as each method takes out, are the mean of three draws.
    ///
    /// # Options
    /// - [erasure]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("grammar", #{ mix: #{ gender: 1 } });
    /// let asked = #{ methods: "leace", predicts: "pronoun_next", tokens: 4096, context: 64 };
    /// let found = intervene::erasure(m, "resid_post.1", text, "gender", asked);
    /// found["method"]  //=> ["none", "leace"]
    /// found["edit size"][1] > 0  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn erasure(
        ctx: NativeCallContext,
        m: Model,
        site: &str,
        text: Text,
        label: &str,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        let ErasureCall { dictionary, comparison } = taken(options)?;
        let sae = dictionary.map(|dictionary| dictionary.0.core);
        let of = LabelledSite { model: m.core(), site, text: &text, label, dictionary: sae.as_ref() };
        let found = env.drawing(&ctx, "intervene::erasure", comparison.seed, |seed| {
            core::erasure(&of, &ErasureOptions { seed, ..comparison }, &env.task)
        });
        Ok(found?)
    }
}

fn applied(ctx: &NativeCallContext, e: &Eraser, x: Tensor, names: Option<Vec<ClassName>>) -> Fallible<Tensor> {
    let eraser = e.0.clone();
    let cost = x.elem_count() as f64 * e.0.width as f64;
    Ok(env(ctx)?.task.heavy(cost, move || eraser.apply(&x, names.as_deref()))?)
}

#[export_module(manifest)]
pub mod methods {
    /// Erases the concept from rows, [rows, width] or with more axes before the last.
    ///
    /// # Example
    /// ```
    /// let e = intervene::erase([[0, 0], [2, 1], [6, 0], [8, 1]], [0, 0, 1, 1], #{ kind: "mean_projection" });
    /// e.apply([9, 0.5])  //=> tensor([4.0, 0.5])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn apply(ctx: NativeCallContext, e: &mut Eraser, x: Any) -> Fallible<Tensor> {
        super::applied(&ctx, e, values("x", &x)?, None)
    }

    /// Erases the concept from rows by the oracle, which is told their labels.
    ///
    /// # Example
    /// ```
    /// let x = [[0, 1], [2, 0], [6, 1], [8, 0]];
    /// let y = [0, 0, 1, 1];
    /// let e = intervene::erase(x, y, #{ kind: "oracle" });
    /// e.apply(x, y)[0]  //=> tensor([3.0, 1.0])
    /// ```
    #[rhai_fn(global, name = "apply", pure, return_raw)]
    pub fn apply_with_labels(ctx: NativeCallContext, e: &mut Eraser, x: Any, y: Any) -> Fallible<Tensor> {
        let (x, names) = both(values("x", &x), class_names("y", &y))?;
        super::applied(&ctx, e, x, Some(names))
    }

    /// Returns the eraser as a hook, which erases the concept from the activations at a site.
    ///
    /// # Options
    /// - [hook]
    ///
    /// # Example
    /// ```
    /// let e = intervene::erase([[0, 0], [2, 1], [6, 0], [8, 1]], [0, 0, 1, 1]);
    /// e.hook("resid_post.1")  //=> erase by leace at resid_post.1
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn hook(e: &mut Eraser, site: &str, map: Options) -> Fallible<Hook> {
        e.0.check_hook()?;
        let mut read = options(map);
        let hook = Hook::new(HookAction::Erase(e.0.clone()), site, &mut read)?;
        read.finish()?;
        Ok(hook)
    }

    /// Returns the number of directions that the eraser takes out; `()` where it is no projection.
    ///
    /// # Example
    /// ```
    /// intervene::erase([[0, 0], [2, 1], [6, 0]], ["a", "b", "c"]).rank  //=> 2
    /// ```
    #[rhai_fn(global, get = "rank", pure)]
    pub fn rank(e: &mut Eraser) -> Dynamic {
        e.0.rank().map_or(Dynamic::UNIT, |rank| Dynamic::from(rank as i64))
    }

    /// Returns the features that the eraser sets to 0; `()` where it is of another kind.
    ///
    /// # Example
    /// ```
    /// let asked = #{ kind: "features", dictionary: sae::identity(2) };
    /// intervene::erase([[0, 0], [2, 1], [6, 0], [8, 1]], [0, 0, 1, 1], asked).features  //=> [0]
    /// ```
    #[rhai_fn(global, get = "features", pure)]
    pub fn features(e: &mut Eraser) -> Dynamic {
        match e.0.features() {
            Some(all) => all.iter().map(|feature| Dynamic::from(i64::from(*feature))).collect::<Array>().into(),
            None => Dynamic::UNIT,
        }
    }

    /// Returns the eraser as a map.
    ///
    /// # Example
    /// ```
    /// intervene::erase([[0, 0], [2, 1], [6, 0]], ["a", "b", "c"]).to_map().directions  //=> 2
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(e: &mut Eraser) -> Fallible<Dynamic> {
        Ok(mapped(e)?)
    }
}
