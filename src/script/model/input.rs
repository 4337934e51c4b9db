//! The input of a model: texts, tokens or ids, one or several, and hooks.

use super::Hook;
use crate::data::pack::gathered;
use crate::model::batch::Batch;
use crate::model::hooks::BoundHook;
use crate::model::inject::InjectOptions;
use crate::script::engine::value::given_back;
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::tensor::{DType, dtype};
use crate::tokenizer::Tokenizer;
pub use crate::tokenizer::tokens::token_id;
use crate::tokenizer::tokens::{Tokens, TokensOptions};

/// Texts as ids, and whether the script gave an array of them or one alone.
pub struct Input {
    pub batch: Batch,
    pub several: bool,
}

handle_setting!(Hook, "a hook");

crate::options! {
    /// Options of every call that runs a model.
    #[derive(Clone)]
    pub struct InputOptions {
        /// A hook, or an array of hooks, which act in their order.
        hooks: Vec<Hook> = Vec::new() => usually("none");
        with tokens: TokensOptions;
    }
}

impl InputOptions {
    /// Reads the first argument of the call as token ids.
    pub fn input(&self, ctx: &NativeCallContext, model: &Model, x: &Dynamic) -> Result<Input> {
        InputReader { by: model, bos: self.tokens.bos, task: &env(ctx)?.task, name: "x" }.input(x)
    }

    /// Runs `work` with the hooks; what a function of the script throws within it is thrown unchanged.
    pub fn run<T>(
        &self,
        ctx: &NativeCallContext,
        model: &Model,
        work: impl FnOnce(Vec<BoundHook>, &Task) -> Result<T>,
    ) -> Fallible<T> {
        self.run_with(&Callbacks::new(ctx), ctx, model, work)
    }

    /// Runs work as `run` does, with vectors in the place of tokens of a batch. Hooks at the same site see them.
    pub fn run_injected<T>(
        &self,
        ctx: &NativeCallContext,
        model: &Model,
        inject: &InjectOptions,
        batch: &Batch,
        work: impl FnOnce(Vec<BoundHook>, &Task) -> Result<T>,
    ) -> Fallible<T> {
        let injected = inject.bound(model.plain(), batch, &env(ctx)?.task)?;
        self.run(ctx, model, |hooks, task| work(injected.into_iter().chain(hooks).collect(), task))
    }

    /// Runs work as `run` does, where the work calls further functions of the script.
    pub fn run_with<T>(
        &self,
        calls: &Callbacks,
        ctx: &NativeCallContext,
        model: &Model,
        work: impl FnOnce(Vec<BoundHook>, &Task) -> Result<T>,
    ) -> Fallible<T> {
        let bound = model.kept().iter().chain(&self.hooks).map(|hook| hook.bound(model.plain(), calls));
        let bound = bound.collect::<Result<Vec<_>>>().map_err(|e| e.about("hooks"))?.into_iter().flatten().collect();
        calls.outcome(work(bound, &env(ctx)?.task))
    }
}

/// Reads the ids of one text, given as text, tokens or ids.
pub fn one_text(ctx: &NativeCallContext, model: &Model, name: &'static str, x: &Dynamic) -> Result<Vec<u32>> {
    InputReader { by: model, bos: None, task: &env(ctx)?.task, name }.row(x)
}

/// Reads one text in tokens: a text, ids, whose text is decoded, or tokens, which stay as they are.
pub fn one_in_tokens(
    ctx: &NativeCallContext,
    model: &Model,
    name: &'static str,
    x: &Dynamic,
    bos: Option<bool>,
) -> Result<Tokens> {
    let reader = InputReader { by: model, bos, task: &env(ctx)?.task, name };
    if let Some(text) = x.read_lock::<rhai::ImmutableString>() {
        return reader.encoded(&text);
    }
    let ids = reader.row(x)?;
    match x.read_lock::<Tokens>() {
        Some(tokens) => Ok(tokens.clone()),
        None => model.tokenizer().and_then(|tokenizer| tokenizer.of_ids(ids)).map_err(|e| e.about(name)),
    }
}

/// Reads the first argument of a call for anything that predicts tokens.
pub fn texts(ctx: &NativeCallContext, by: &dyn ReadsTokens, x: &Dynamic) -> Result<Input> {
    named_texts(ctx, by, "x", x)
}

/// Reads texts for anything that predicts tokens, under the name that errors call them by.
pub fn named_texts(ctx: &NativeCallContext, by: &dyn ReadsTokens, name: &'static str, x: &Dynamic) -> Result<Input> {
    InputReader { by, bos: None, task: &env(ctx)?.task, name }.input(x)
}

/// Texts that a script gives as an option, as it gave them.
#[derive(Clone)]
pub struct GivenTexts(Dynamic);

impl GivenTexts {
    pub fn read(&self, ctx: &NativeCallContext, by: &dyn ReadsTokens, name: &'static str) -> Result<Batch> {
        Ok(named_texts(ctx, by, name, &self.0)?.batch)
    }
}

impl Setting for GivenTexts {
    fn wanted() -> String {
        "a text of `data::text`, or texts, tokens or ids".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        let are_texts = |texts: &Dynamic| {
            texts.is::<Text>()
                || texts.is::<Array>()
                || texts.is::<Tensor>()
                || texts.is::<Tokens>()
                || texts.is_string()
        };
        Some(given_back(value)).filter(are_texts).map(Self)
    }

    fn written(&self) -> String {
        "texts".into()
    }
}

/// Prompts with an answer to each, as ids, and which tokens of each text are the answer's.
pub struct Answers {
    pub batch: Batch,
    pub answers: Vec<Range<usize>>,
}

/// Reads an array of maps of `prompt` and `answer`; None if the value is not one.
pub fn answers(
    ctx: &NativeCallContext,
    by: &dyn ReadsTokens,
    name: &'static str,
    x: &Dynamic,
) -> Result<Option<Answers>> {
    let Some(array) = x.read_lock::<Array>() else { return Ok(None) };
    if !array.first().is_some_and(Dynamic::is_map) {
        return Ok(None);
    }
    let reader = InputReader { by, bos: None, task: &env(ctx)?.task, name };
    let mut rows = Vec::with_capacity(array.len());
    let mut answers = Vec::with_capacity(array.len());
    for one in array.iter() {
        let map = one.read_lock::<Map>().ok_or_else(|| not_an_answer(name))?;
        let (Some(prompt), Some(answer), 2) = (map.get("prompt"), map.get("answer"), map.len()) else {
            return Err(not_an_answer(name));
        };
        let mut ids = reader.row(prompt)?;
        // An answer goes on behind its prompt, and has no BOS token of its own.
        let bos = answer.is_string().then_some(false);
        let own = InputReader { bos, ..reader }.row(answer)?;
        if own.is_empty() {
            return Err(err!(Argument, "expected an answer of at least one token, found an empty one").about(name));
        }
        answers.push(ids.len()..ids.len() + own.len());
        ids.extend(own);
        rows.push(ids);
    }
    Ok(Some(Answers { batch: Batch::new(rows).map_err(|e| e.about(name))?, answers }))
}

fn not_an_answer(name: &str) -> Error {
    err!(Argument, "expected answers, each a map of `prompt` and `answer`, found another value")
        .hint("[#{ prompt: \"How are you?\", answer: \" Well.\" }]")
        .about(name)
}

/// A reader of tokens.
pub trait ReadsTokens {
    fn tokenizer(&self) -> Result<&Tokenizer>;
    /// Returns the number of tokens of the vocabulary.
    fn vocab(&self) -> usize;
    /// Returns the length of the rows that a long text is read in.
    fn context(&self) -> usize;
}

impl ReadsTokens for Model {
    fn tokenizer(&self) -> Result<&Tokenizer> {
        Model::tokenizer(self)
    }

    fn vocab(&self) -> usize {
        self.config().vocab
    }

    fn context(&self) -> usize {
        self.config().context
    }
}

#[derive(Clone, Copy)]
struct InputReader<'a> {
    by: &'a dyn ReadsTokens,
    bos: Option<bool>,
    task: &'a Task,
    name: &'static str,
}

impl InputReader<'_> {
    fn input(&self, x: &Dynamic) -> Result<Input> {
        if let Some(text) = x.read_lock::<Text>() {
            return Ok(Input { batch: self.packed(&text).map_err(|e| e.about(self.name))?, several: true });
        }
        let rows = match (x.read_lock::<Array>(), x.read_lock::<Tensor>()) {
            (Some(array), _) if !is_ids(&array) => Some(array.iter().map(|row| self.row(row)).collect::<Result<_>>()?),
            (_, Some(ids)) if ids.rank() == 2 => Some(self.rows(&ids)?),
            _ => None,
        };
        let several = rows.is_some();
        let rows = match rows {
            Some(rows) => rows,
            None => vec![self.row(x)?],
        };
        Ok(Input { batch: Batch::new(rows).map_err(|e| e.about(self.name))?, several })
    }

    /// Packs a text into rows as long as the model's context.
    fn packed(&self, text: &Text) -> Result<Batch> {
        if self.bos.is_some() {
            return Err(err!(Argument, "expected no `bos` beside a text of `data::text`")
                .hint("`bos` is an option of `data::text` itself"));
        }
        Batch::new(gathered(text, self.by.tokenizer()?, self.by.context(), None, self.task, |row| Ok(row.ids))?)
    }

    fn row(&self, x: &Dynamic) -> Result<Vec<u32>> {
        if let Some(text) = x.read_lock::<rhai::ImmutableString>() {
            return Ok(self.encoded(&text)?.ids);
        }
        if self.bos.is_some() {
            return Err(err!(Argument, "expected a text to go with `bos`, found what is in tokens already")
                .hint("`bos` is an option of `m.tokens`, too")
                .about(self.name));
        }
        if let Some(tokens) = x.read_lock::<Tokens>() {
            return Ok(tokens.ids.clone());
        }
        match (x.read_lock::<Array>(), x.read_lock::<Tensor>()) {
            (Some(array), _) if array.is_empty() || is_ids(&array) => self.ids(given(self.name, x).integers()?),
            (_, Some(ids)) if ids.rank() == 1 => self.rows(&ids.unsqueeze(0)?).map(|rows| rows.concat()),
            _ => Err(given(self.name, x).refuse("a text, tokens or token ids")),
        }
    }

    fn encoded(&self, text: &str) -> Result<Tokens> {
        let tokens = self.by.tokenizer().and_then(|tokenizer| tokenizer.encode(text, self.bos, self.task));
        tokens.map_err(|e| e.about(self.name))
    }

    /// Reads the rows of a tensor of ids.
    fn rows(&self, ids: &Tensor) -> Result<Vec<Vec<u32>>> {
        if dtype::is_float(ids.dtype()) {
            let found = ids.dtype().as_str();
            return Err(err!(Argument, "expected integers as token ids, found a tensor of {found}")
                .hint("t.to(\"i64\") makes integers of it")
                .about(self.name));
        }
        let rows = dtype::cast(ids, DType::I64)?.to_vec2::<i64>()?;
        rows.into_iter().map(|row| self.ids(row)).collect()
    }

    fn ids(&self, ids: Vec<i64>) -> Result<Vec<u32>> {
        let vocab = self.by.vocab();
        ids.into_iter().map(|id| token_id(id, vocab).map_err(|e| e.about(self.name))).collect()
    }
}

/// Returns whether an array has the ids of one text, rather than several texts.
fn is_ids(array: &Array) -> bool {
    array.first().is_some_and(|first| first.is_int() || first.is_float())
}
