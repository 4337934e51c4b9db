//! Continuations of a text, as it is and with features changed.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::state::Explorer;
use super::tokens::name;
use crate::base::random::Seed;
use crate::base::task::Silent;
use crate::base::{Result, Task};
use crate::err;
use crate::intervene::{FeatureHook, FeatureHookOptions};
use crate::model::batch::Batch;
use crate::model::generate::{Drawn, GenerateOptions};
use crate::model::hooks::{Action, BoundHook, PatchSource};
use crate::model::reading::compare::kl;
use crate::options::seed::SeedOptions;
use crate::sae::site_of;
use crate::tensor::{DType, Device, Tensor, normalise};

/// The number of next tokens, and the most that a text is continued by.
const NEXT: usize = 12;
const MOST: usize = 1000;

/// A text, the changes, and how it is continued.
#[derive(Debug, Clone, Deserialize)]
pub struct ContinueQuestion {
    pub text: String,
    #[serde(default)]
    pub changes: Vec<Change>,
    #[serde(default = "usual")]
    pub tokens: usize,
    #[serde(default)]
    pub temperature: f64,
    #[serde(default)]
    pub seed: i64,
}

fn usual() -> usize {
    24
}

/// A change of a feature's code wherever it is computed.
#[derive(Debug, Clone, Deserialize)]
pub struct Change {
    pub dictionary: usize,
    pub feature: usize,
    pub action: ChangeKind,
    /// The factor, or the code that it is clamped to.
    #[serde(default)]
    pub value: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    Scale,
    Clamp,
    Ablate,
}

impl Change {
    /// Returns the number of a change that has one.
    pub fn amount(&self) -> Result<f64> {
        let wanted = if self.action == ChangeKind::Scale { "a factor" } else { "a code" };
        self.value.ok_or_else(|| err!(Argument, "expected {wanted} as the `value` of a change, found none"))
    }

    fn action(&self) -> Result<Action> {
        Ok(match self.action {
            ChangeKind::Ablate => Action::Zero,
            ChangeKind::Scale => Action::Scale(self.amount()?),
            ChangeKind::Clamp => Action::Patch(PatchSource::Tensor(Tensor::new(self.amount()?, &Device::Cpu)?)),
        })
    }
}

/// Returns the hooks of changes, in their order, for one run.
fn hooks<'a>(explorer: &Explorer, changes: &[Change], task: &Task) -> Result<Vec<BoundHook<'a>>> {
    let hook = |change: &Change| {
        let of = explorer.with_feature(change.dictionary, change.feature)?;
        let hook = FeatureHook::new(of.sae.clone(), vec![change.feature], &FeatureHookOptions::default(), site_of)?;
        let action = hook.action(&change.action()?, task)?;
        hook.bound(&explorer.model, Box::new(action.begin()), None)
    };
    changes.iter().map(hook).collect()
}

impl ContinueQuestion {
    /// Refuses more tokens than a page shows, in what is answered and in what is saved.
    pub fn check(&self) -> Result<()> {
        match self.tokens {
            ..=MOST => Ok(()),
            tokens => Err(err!(Argument, "expected at most {MOST} new tokens, found {tokens}")),
        }
    }
}

/// Says the next token, then the continuations, piece by piece: without the changes, and with them. Returns the last
/// line.
pub fn continue_text(
    explorer: &Explorer,
    proceeding: &ContinueQuestion,
    say: &mut dyn FnMut(Value),
    task: &Task,
) -> Result<Value> {
    let ContinueQuestion { text, changes, tokens, temperature, seed } = proceeding;
    proceeding.check()?;
    let batch = Batch::new(vec![end(explorer, text, task)?])?;
    say(next(explorer, &batch, changes, task)?);
    let options = GenerateOptions {
        tokens: *tokens,
        temperature: Some(*temperature),
        windowed: true,
        seed: SeedOptions { seed: Seed::of(*seed) },
        ..GenerateOptions::default()
    };
    for (side, changes) in [("before", [].as_slice()), ("after", changes)] {
        let mut said = 0;
        let mut heard = |piece: &str| {
            said += piece.len();
            if !piece.is_empty() {
                say(json!({ side: piece }));
            }
        };
        let hooks = hooks(explorer, changes, task)?;
        // The pieces are the progress.
        let quiet = Task::new(task.flag().clone(), Arc::new(Silent));
        let drawn = Drawn { seed: *seed as u64, in_words: true };
        let found = explorer.model.generate(&batch, &options, drawn, hooks, &mut heard, &quiet)?;
        // What is left is of a character that the last token did not finish.
        let rest = found.texts.first().and_then(|text| text.get(said..)).unwrap_or_default();
        if !rest.is_empty() {
            say(json!({ side: rest }));
        }
    }
    Ok(json!({}))
}

/// Returns the end of a text, as much as the model reads.
fn end(explorer: &Explorer, text: &str, task: &Task) -> Result<Vec<u32>> {
    let ids = explorer.model.text_tokenizer()?.encode(text, None, task)?.ids;
    if ids.is_empty() {
        return Err(err!(Argument, "expected a text to continue, found none"));
    }
    let from = ids.len().saturating_sub(explorer.model.decoder.config().context);
    Ok(ids.get(from..).unwrap_or_default().to_vec())
}

/// Returns the tokens that are likeliest to come next before or after the changes, with both probabilities, and the
/// divergence of the whole distributions.
fn next(explorer: &Explorer, batch: &Batch, changes: &[Change], task: &Task) -> Result<Value> {
    let side = |changes: &[Change]| -> Result<(Vec<f64>, Vec<f64>)> {
        let hooks = hooks(explorer, changes, task)?;
        let logits = explorer.model.decoder.logits_at(batch, &[-1], hooks, task)?.get(0)?.get(0)?;
        let logits = logits.to_dtype(DType::F64)?;
        let probabilities = normalise::softmax(&logits, 0)?.to_vec1::<f64>()?;
        Ok((logits.to_vec1::<f64>()?, probabilities))
    };
    let (before, p) = side(&[])?;
    let (after, q) = side(changes)?;
    if let Some(wrong) = before.iter().chain(&after).find(|logit| logit.is_nan()) {
        return Err(err!(Numeric, "expected logits that are numbers, found {wrong}")
            .hint("the change is too large for the model; take a smaller value"));
    }
    let mut all: Vec<(usize, f64, f64)> = p.into_iter().zip(q).enumerate().map(|(id, (p, q))| (id, p, q)).collect();
    all.sort_by(|a, b| b.1.max(b.2).total_cmp(&a.1.max(a.2)).then(a.0.cmp(&b.0)));
    let rows: Vec<Value> =
        all.into_iter().take(NEXT).map(|(id, p, q)| json!([name(explorer, id as u32), p, q])).collect();
    Ok(json!({ "next": rows, "kl": kl(&before, &after) }))
}
