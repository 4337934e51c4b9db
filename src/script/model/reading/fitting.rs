//! `m.jacobian_lens` and `m.tuned_lens`: lenses are fitted, judged and loaded.

use super::fitted::FittedLens;
use crate::data::pack::gathered;
use crate::model::reading::fitted::{self as core, JacobianLensOptions, JudgeLensOptions, LensKind, TunedLensOptions};
use crate::script::model::Model;
use crate::script::model::input::texts;
use crate::script::prelude::*;

/// Reads the first tokens of the first prompts of an argument.
fn prompts(ctx: &NativeCallContext, m: &Model, x: &Dynamic, context: usize, most: usize) -> Result<Vec<Vec<u32>>> {
    let Some(text) = x.read_lock::<Text>() else {
        return Ok(texts(ctx, m, x).map_err(|e| e.about("text"))?.batch.rows().to_vec());
    };
    let context = context.min(m.config().context);
    gathered(&text, m.tokenizer()?, context, Some(most), &env(ctx)?.task, |row| Ok(row.ids))
        .map_err(|e| e.about("text"))
}

fn load(ctx: &NativeCallContext, kind: LensKind, path: &str) -> Fallible<FittedLens> {
    let env = env(ctx)?;
    let lens = core::FittedLens::load(kind, &env.files, Path::new(path), &env.task).map_err(|e| e.about("path"))?;
    Ok(FittedLens(lens.into()))
}

#[export_module(manifest)]
pub mod functions {
    /// Loads a Jacobian lens from a .safetensors file that `lens.save` wrote, or from a .pt file of other programs: a
    /// dictionary with `J` by layer, `n_prompts`, `source_layers` and `d_model`.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let lens = m.jacobian_lens([[1, 2, 3, 4], [5, 6, 7]], #{ skip_first: 0 });
    /// lens.save("doc/lens.safetensors");
    /// model::load_jacobian_lens("doc/lens.safetensors")  //=> Jacobian lens of 1 layer, 2 prompts
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load_jacobian_lens(ctx: NativeCallContext, path: &str) -> Fallible<FittedLens> {
        super::load(&ctx, LensKind::Jacobian, path)
    }

    /// Loads a tuned lens from a .safetensors file that `lens.save` wrote.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// m.tuned_lens([[1, 2, 3, 4], [5, 6, 7]], #{ steps: 2 }).save("doc/tuned.safetensors");
    /// model::load_tuned_lens("doc/tuned.safetensors")  //=> tuned lens of 1 layer, 2 prompts
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load_tuned_lens(ctx: NativeCallContext, path: &str) -> Fallible<FittedLens> {
        super::load(&ctx, LensKind::Tuned, path)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Fits a Jacobian lens: for each layer the matrix J that carries its output to the output of the last layer, so that
    /// it can be decoded there.
    ///
    /// J_l is the mean over prompts and positions t of the sum over t' >= t of d h_final(t') / d h_l(t), by backward
    /// passes; the first positions of each prompt and the last are left out. The lens reads softmax(W_U norm(J_l h)),
    /// and the logit lens is the same with the identity in place of J. 100 prompts give a usable lens. Ctrl-C ends the
    /// fit with the prompts that were read so far.
    ///
    /// `text` is one of `data::text`, or an array of texts or of ids.
    ///
    /// # Options
    /// - [jacobian_lens]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 3, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let lens = m.jacobian_lens([[1, 2, 3, 4], [5, 6, 7]], #{ skip_first: 0 });
    /// lens  //=> Jacobian lens of 2 layers, 2 prompts
    /// lens.jacobian(0).shape  //=> [8, 8]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn jacobian_lens(ctx: NativeCallContext, m: &mut Model, text: Any, options: Options) -> Fallible<FittedLens> {
        let options: JacobianLensOptions = taken(options)?;
        let prompts = super::prompts(&ctx, m, &text, options.context, options.prompts)?;
        let lens = core::fit_jacobian(&m.shared().decoder, &prompts, &options, &env(&ctx)?.task)?;
        Ok(FittedLens(lens.into()))
    }

    /// Trains a tuned lens (Belrose et al. 2023): for each layer a matrix A and a vector b that carry its output h to
    /// A h + b, so that it can be decoded as the output of the last layer is.
    ///
    /// They minimise KL(model || lens), where the lens predicts softmax(W_U norm(A h + b)), and begin as the identity
    /// and 0, which is the logit lens. `lens.judge` compares both on held-out text. Ctrl-C ends the training with the
    /// lens so far.
    ///
    /// `text` is one of `data::text`, or an array of texts or of ids.
    ///
    /// # Options
    /// - [tuned_lens]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 3, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let lens = m.tuned_lens([[1, 2, 3, 4], [5, 6, 7]], #{ steps: 20, lr: 0.01 });
    /// lens  //=> tuned lens of 2 layers, 2 prompts
    /// let untrained = m.tuned_lens([[1, 2, 3, 4]], #{ steps: 0 });
    /// untrained.translator(0).matrix.equal(tensor::eye(8))  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn tuned_lens(ctx: NativeCallContext, m: &mut Model, text: Any, options: Options) -> Fallible<FittedLens> {
        let options: TunedLensOptions = taken(options)?;
        let prompts = super::prompts(&ctx, m, &text, options.context, options.prompts)?;
        let env = env(&ctx)?;
        let lens = env.drawing(&ctx, "Model.tuned_lens", options.seed, |seed| {
            core::train_tuned(&m.shared().decoder, &prompts, &TunedLensOptions { seed, ..options }, &env.task)
        })?;
        Ok(FittedLens(lens.into()))
    }

    /// Measures how far the lens is from the model's predictions, beside the logit lens: for each layer the mean over
    /// tokens of KL(model || lens), in nats, with its 95 % interval over prompts. Judge on text that the lens was not
    /// fitted on.
    ///
    /// `text` is one of `data::text`, or an array of texts or of ids.
    ///
    /// # Options
    /// - [judge_lens]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let lens = m.tuned_lens([[1, 2, 3, 4], [5, 6, 7], [8, 9, 1]], #{ steps: 50, lr: 0.01 });
    /// let found = lens.judge(m, [[2, 3, 4, 5], [6, 7, 8]]);
    /// [found["site"], found["lens"]]  //=> [["resid_post.0", "resid_post.0"], ["tuned lens", "logit lens"]]
    /// [found["tokens"], found["prompts"]]  //=> [[7, 7], [2, 2]]
    /// ```
    #[rhai_fn(global, name = "judge", pure, return_raw)]
    pub fn judge_lens(
        ctx: NativeCallContext,
        lens: &mut FittedLens,
        m: Model,
        text: Any,
        options: Options,
    ) -> Fallible<Table> {
        let options: JudgeLensOptions = taken(options)?;
        let prompts = super::prompts(&ctx, &m, &text, options.context, options.prompts)?;
        Ok(lens.0.judge(&m.core().decoder, &prompts, &options, &env(&ctx)?.task)?)
    }
}
