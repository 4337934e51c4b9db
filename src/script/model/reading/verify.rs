//! `m.verify`: a model's activations beside those that another program recorded, or that candle computes.

use crate::checkpoint::second_opinion::{self, Sources};
use crate::model::batch::Batch;
use crate::model::reading::verify::{ComparedActivation, Dump, Verification as Core};
use crate::script::model::{InputOptions, Model};
use crate::script::prelude::*;

/// A model's activations beside those of a dump, or of another implementation.
#[derive(Clone)]
pub struct Verification(Arc<Core>);

impl Verification {
    /// Returns the tables of the compared activations and of those left out.
    fn tables(&self) -> Vec<Table> {
        let left_out = (!self.0.unknown.is_empty()).then(|| self.0.left_out());
        [self.0.table()].into_iter().chain(left_out).collect()
    }
}

impl Item for Verification {
    fn kind(&self) -> &'static str {
        "verification"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        let drawn = self.tables().iter().map(|table| table.terminal(screen)).collect::<Result<Vec<_>>>()?;
        Ok(drawn.join("\n"))
    }

    fn html(&self) -> Result<String> {
        self.tables().iter().map(Item::html).collect()
    }

    fn data(&self) -> Result<Value> {
        let compared = |one: &ComparedActivation| {
            let mut found = json!({
                "activation": one.name,
                "theirs": number(one.theirs),
                "ours": number(one.ours),
                "cosine": number(one.cosine),
                "largest": number(one.largest),
                "relative": number(one.relative),
            });
            if let Some(limit) = one.limit {
                found["bound"] = number(limit.bound);
                found["text"] = limit.text.into();
                found["position"] = limit.position.into();
            }
            found
        };
        let unknown = |(name, why): &(String, String)| json!({ "activation": name, "why": why });
        Ok(json!({
            "compared": self.0.compared.iter().map(compared).collect::<Value>(),
            "unknown": self.0.unknown.iter().map(unknown).collect::<Value>(),
        }))
    }
}

handle!(Verification, "Verification", |verification| {
    let Core { dump, compared, unknown } = &*verification.0;
    let worst = verification.0.worst().map_or(f64::NAN, |one| one.relative);
    let left_out = if unknown.is_empty() { String::new() } else { format!(", {} not compared", unknown.len()) };
    let held = match (verification.0.agrees(), verification.0.first_apart()) {
        (_, Some(first)) => format!(", `{}` beyond the bound of rounding", first.name),
        (Some(true), None) => ", all within the bound of rounding".to_string(),
        _ => String::new(),
    };
    format!(
        "{} beside {dump}: at most {worst:.1e} of the norm apart{held}{left_out}",
        count(compared.len(), "activation")
    )
});

fn verified(ctx: &NativeCallContext, m: &Model, path: &str, x: Option<&Dynamic>) -> Fallible<Verification> {
    if path == second_opinion::NAME {
        return beside_candle(ctx, m, x);
    }
    let env = env(ctx)?;
    let dump = env.files.map_as(Path::new(path), |bytes| Dump::new(path.into(), bytes));
    let dump = dump.map_err(|e| e.about("path"))?;
    let asked = InputOptions::default();
    let batch: Batch = match x {
        Some(x) => asked.input(ctx, m, x)?.batch,
        None => dump.ids(m.config().vocab).map_err(|e| e.about("path"))?,
    };
    let core = asked.run(ctx, m, |hooks, task| dump.verify(m.decoder(), &batch, hooks, task))?;
    Ok(Verification(Arc::new(core)))
}

fn beside_candle(ctx: &NativeCallContext, m: &Model, x: Option<&Dynamic>) -> Fallible<Verification> {
    let asked = InputOptions::default();
    let batch = match x {
        Some(x) => asked.input(ctx, m, x)?.batch,
        None => second_opinion::usual_text(m.plain(), &env(ctx)?.task)?,
    };
    let plain = m.plain();
    let config_json = plain.published.as_ref().map(|published| &published.config_json);
    let is_gguf = plain.origin.ends_with(".gguf");
    let gguf = if is_gguf { env(ctx)?.files.map(Path::new(&plain.origin)).ok().map(Arc::new) } else { None };
    let sources = Sources { config_json, gguf };
    let core = asked.run(ctx, m, |hooks, task| second_opinion::verify(m.decoder(), sources, &batch, hooks, task))?;
    Ok(Verification(Arc::new(core)))
}

#[export_module(manifest)]
pub mod methods {
    /// Compares the model's activations with those that another program recorded of the same weights and tokens, or with
    /// candle's implementation of its family.
    ///
    /// The dump is a .safetensors file of activations, under TransformerLens' names or ours, and of the ids that were read,
    /// as `tokens` or `input_ids`; ids that it lacks are given as `x`, and all texts have the same length. TransformerLens'
    /// cache is such a file: `save_file({name: x.clone() for name, x in cache.items()} | {"tokens": tokens, "logits":
    /// logits}, "dump.safetensors")`. For each activation it shows both Euclidean norms, the cosine, max |ours - theirs|
    /// and |ours - theirs| / |theirs|, over all positions, in the order of the computation, and it lists what could not be
    /// compared, with the reason. `hook_normalized` is what a norm gives before its weights, which `attn_in`, `mlp_in` and
    /// `final_norm` are behind; scores are compared where the mask leaves them.
    ///
    /// `"candle"` in place of a path asks for a second opinion without another program: candle-transformers' own
    /// implementation of the model's family, with the same weights, in f32 on the CPU. Numbers that the model's config.json
    /// states, candle reads there, and a GGUF file it reads by itself, too. Compared are, on `x` or on a text of up to 32
    /// tokens, logits from the residual stream after each attention and each MLP layer (the logit lens) at the last position
    /// of each text, and logits and losses at all positions. Each row has the bound that rounding explains,
    /// 8 u (k + 1) (sqrt(m) + n) with u = 2^-24 after k blocks, for sums of up to m products and texts of up to n tokens, and
    /// the text and position of the largest difference. A model of which candle would compute something else is refused with
    /// the reason (granite's multipliers, gemma 3's scaled RoPE, experts in layers of no pattern), and so are half precision
    /// and texts longer than the model's attention window.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// m.run([1, 2, 3], #{ sites: ["resid_post.*", "pattern.0"] }).save("dump.safetensors");
    /// let verified = m.verify("dump.safetensors", [1, 2, 3]);
    /// verified  //=> 4 activations beside dump.safetensors: at most 0.0e0 of the norm apart
    /// verified.table()["activation"]  //=> ["blocks.0.attn.hook_pattern", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post", "logits"]
    /// let sizes = #{ vocab_size: 10, hidden_size: 16, intermediate_size: 32, num_attention_heads: 2, num_hidden_layers: 1 };
    /// let llama = model::init(#{ model_type: "llama" } + sizes);
    /// llama.verify("candle").table()["activation"].extract(0..3)  //=> ["logits from resid_pre.0", "logits from resid_mid.0", "logits from resid_post.0"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn verify(ctx: NativeCallContext, m: &mut Model, path: &str) -> Fallible<Verification> {
        verified(&ctx, m, path, None)
    }

    #[rhai_fn(global, name = "verify", pure, return_raw)]
    pub fn verify_with(ctx: NativeCallContext, m: &mut Model, path: &str, x: Any) -> Fallible<Verification> {
        verified(&ctx, m, path, Some(&x))
    }

    /// Tabulates each activation: the norms of ours and theirs, the cosine, the largest difference, and the difference
    /// relative to the norm of theirs.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.run([1, 2, 3], #{ sites: "embed" }).save("embed.safetensors");
    /// m.verify("embed.safetensors", [1, 2, 3]).table()["|ours - theirs| / |theirs|"]  //=> [0.0, 0.0]
    /// ```
    #[rhai_fn(global, pure)]
    pub fn table(verification: &mut Verification) -> Table {
        verification.0.table()
    }

    /// Returns the largest |ours - theirs| / |theirs| of all activations.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.run([1, 2, 3]).save("all.safetensors");
    /// m.verify("all.safetensors", [1, 2, 3]).worst < 1e-5  //=> true
    /// m.verify("all.safetensors", [3, 2, 1]).worst < 1e-5  //=> false
    /// ```
    #[rhai_fn(global, get = "worst", pure)]
    pub fn worst(verification: &mut Verification) -> f64 {
        verification.0.worst().map_or(f64::NAN, |one| one.relative)
    }

    /// Returns whether all differences from candle's implementation are within the bounds that rounding explains; `()` for a
    /// dump, whose precision is not known.
    ///
    /// # Example
    /// ```
    /// let sizes = #{ vocab_size: 10, hidden_size: 16, intermediate_size: 32, num_attention_heads: 2, num_hidden_layers: 1 };
    /// let m = model::init(#{ model_type: "llama" } + sizes);
    /// m.verify("candle", [1, 2, 3]).agrees  //=> true
    /// m.with(hooks::scale("mlp_out.0", 1.1)).verify("candle", [1, 2, 3]).agrees  //=> false
    /// m.run([1, 2, 3]).save("all.safetensors");
    /// m.verify("all.safetensors", [1, 2, 3]).agrees  //=> ()
    /// ```
    #[rhai_fn(global, get = "agrees", pure)]
    pub fn agrees(verification: &mut Verification) -> Dynamic {
        verification.0.agrees().map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Returns the names in the dump that were not compared, each with the reason.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// tensor::save("odd.safetensors", #{ "resid_post.0": tensor::zeros([1, 3, 8]), mine: tensor([1]) });
    /// m.verify("odd.safetensors", [1, 2, 3]).unknown  //=> #{ mine: "unknown site `mine`" }
    /// ```
    #[rhai_fn(global, get = "unknown", pure)]
    pub fn unknown(verification: &mut Verification) -> rhai::Map {
        verification.0.unknown.iter().map(|(name, why)| (name.as_str().into(), why.clone().into())).collect()
    }

    /// Saves the tables as .html, .json or .txt, by the ending of the name. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.run([1, 2], #{ sites: "embed" }).save("embed.safetensors");
    /// m.verify("embed.safetensors", [1, 2]).save("doc/verified.html").ends_with("verified.html")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, verification: &mut Verification, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, verification, path)?)
    }

    /// Returns what was compared and what was not, as a map.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.run([1, 2], #{ sites: "embed" }).save("embed.safetensors");
    /// m.verify("embed.safetensors", [1, 2]).to_map().compared[0].cosine > 0.999  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(verification: &mut Verification) -> Fallible<Dynamic> {
        Ok(mapped(verification)?)
    }
}
