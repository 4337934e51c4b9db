//! Continuing texts, with the words printed as they come where somebody sits at a prompt.

use std::sync::Arc;

use rand_chacha::rand_core::Rng;
use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};

use super::{Asked, Input, Model};
use crate::base::task::Silent;
use crate::base::{Result, Task};
use crate::model::generate::Choice;
use crate::model::tokenizer::Stream;
use crate::script::console::Console;
use crate::script::env::{Env, env};
use crate::script::options::{OptionReader, options};
use crate::script::value::{Any, Fallible, Given, Options, given};

/// What ends a text beside the number of tokens.
#[derive(Default)]
struct Stops {
    ids: Vec<u32>,
    texts: Vec<String>,
}

impl Stops {
    /// Texts and ids of tokens, one alone or an array of them.
    fn read(option: &Given, m: &Model) -> Result<Self> {
        let mut stops = Self { ids: m.config().eos.clone(), texts: Vec::new() };
        for each in option.elements() {
            match each.text() {
                Ok(text) if text.is_empty() => return Err(each.refuse("a text that is not empty")),
                Ok(text) => stops.texts.push(text),
                Err(_) => {
                    let vocab = m.config().vocab;
                    let id = each.size().ok().filter(|id| *id < vocab);
                    let refusal = || each.refuse(&format!("a text or the id of a token below {vocab}"));
                    stops.ids.push(id.ok_or_else(refusal)? as u32);
                }
            }
        }
        Ok(stops)
    }
}

/// A continuation on its way, as text.
struct Writer<'a> {
    stream: Stream<'a>,
    text: String,
}

/// New tokens of each text and, where they were wanted, what they say.
struct Generated {
    ids: Vec<Vec<u32>>,
    texts: Vec<String>,
    several: bool,
}

fn choice(read: &mut OptionReader, env: &Env) -> Result<Choice> {
    let top_k = read.get("top_k", Given::size)?;
    let top_p = read.get("top_p", Given::number)?;
    let sampled = top_k.is_some() || top_p.is_some();
    let seed = read.seed()?;
    Ok(Choice {
        tokens: read.size("tokens", 50)?,
        temperature: read.number("temperature", if sampled { 1.0 } else { 0.0 })?,
        top_k,
        top_p,
        repetition_penalty: read.number("repetition_penalty", 1.0)?,
        seed: seed.unwrap_or_else(|| env.random.generator(None).next_u64()),
        stops: Vec::new(),
        windowed: read.flag("windowed", false)?,
    })
}

/// `in_words` says whether the caller wants texts, and not only ids.
fn generated(ctx: &NativeCallContext, m: &Model, x: &Dynamic, map: Options, in_words: bool) -> Fallible<Generated> {
    let env = env(ctx)?;
    let mut read = options(map);
    let asked = Asked::read(&mut read)?;
    let mut choice = choice(&mut read, &env)?;
    let stops = match read.value("stop") {
        Some(stop) => Stops::read(&given("stop", &stop), m)?,
        None => Stops { ids: m.config().eos.clone(), ..Stops::default() },
    };
    read.finish()?;
    choice.stops = stops.ids;
    let in_words = in_words || !stops.texts.is_empty();
    let input = asked.input(ctx, m, x)?;
    let mut writers = if in_words { writers(m, &input)? } else { Vec::new() };
    let voice = (in_words && !input.several && env.console.is_conversation()).then_some(&env.console);
    let mut said = |row: usize, token: u32| -> Result<bool> {
        let Some(writer) = writers.get_mut(row) else { return Ok(true) };
        let new = writer.stream.push(token)?;
        if let Some(console) = voice {
            console.speak(&new);
        }
        writer.text.push_str(&new);
        Ok(!stops.texts.iter().any(|stop| writer.text.contains(stop)))
    };
    let outcome = asked
        .run(ctx, m, |hooks, task| m.decoder().generate(&input.batch, &choice, hooks, &mut said, &beside(task, voice)));
    let texts = writers.into_iter().map(|writer| writer.text + writer.stream.finish().as_str()).collect();
    if let Some(console) = voice {
        console.end_speech();
    }
    Ok(Generated { ids: outcome?, texts, several: input.several })
}

fn writers<'a>(m: &'a Model, input: &Input) -> Result<Vec<Writer<'a>>> {
    let tokenizer = m.tokenizer().map_err(|e| e.hint("`m.generate_ids` gives the ids of the new tokens"))?;
    let begin = |row: &Vec<u32>| Ok(Writer { stream: tokenizer.stream_after(row)?, text: String::new() });
    input.batch.rows().iter().map(begin).collect()
}

/// The task of a generation: where its words are seen to come, a bar would stand in their way.
fn beside(task: &Task, voice: Option<&Console>) -> Task {
    match voice {
        Some(_) => Task::new(task.flag().clone(), Arc::new(Silent)),
        None => task.clone(),
    }
}

/// One value for a text, an array for several.
fn as_given(values: impl IntoIterator<Item = impl Into<Dynamic>>, several: bool) -> Dynamic {
    let mut values = values.into_iter().map(Into::into);
    if several { values.collect::<Array>().into() } else { values.next().unwrap_or_default() }
}

#[export_module(manifest)]
pub mod methods {
    /// Continues a text, and gives back what is new; an array of texts for several.
    ///
    /// Without more being said the likeliest token is taken every time. Hooks act at every step. A model's own token for
    /// the end ends a text too. At a prompt the words are printed as they come.
    ///
    /// # Options
    /// - `tokens` = 50: at most so many new tokens
    /// - `temperature` = 0, or 1 with `top_k` or `top_p`: what logits are divided by before a token is drawn; 0 takes the likeliest
    /// - `top_k` = all: draw among the k likeliest tokens
    /// - `top_p` = 1: draw among the likeliest tokens that have this much probability together
    /// - `repetition_penalty` = 1: what logits of tokens that stand in the text are divided by, if positive, or multiplied
    /// - `seed` = none: a seed of this call's own; without one the run's seed decides
    /// - `stop` = none: a text or the id of a token that ends it, or an array of them; they are kept
    /// - `windowed` = false: whether a text may outgrow the context; then its older half is forgotten, as often as needed
    /// - `hooks` = none: a hook, or an array of them, in the order that they act in
    /// - `bos` = the tokenizer's own rule: whether the token that marks a beginning is put before each text
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// let on = hooks::edit("logits", |x| { x[[":", ":", 1]] = 100; x });
    /// m.generate("the", #{ tokens: 3, hooks: on })  //=> " cat cat cat"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn generate(ctx: NativeCallContext, m: &mut Model, x: Any, options: Options) -> Fallible<Any> {
        let new = super::generated(&ctx, m, &x, options, true)?;
        Ok(super::as_given(new.texts, new.several))
    }

    /// Continues a text as `m.generate` does, and gives back the ids of the new tokens; an array of them for several.
    ///
    /// It needs no tokenizer.
    ///
    /// # Options
    /// - `tokens` = 50: at most so many new tokens
    /// - `temperature` = 0, or 1 with `top_k` or `top_p`: what logits are divided by before a token is drawn; 0 takes the likeliest
    /// - `top_k` = all: draw among the k likeliest tokens
    /// - `top_p` = 1: draw among the likeliest tokens that have this much probability together
    /// - `repetition_penalty` = 1: what logits of tokens that stand in the text are divided by, if positive, or multiplied
    /// - `seed` = none: a seed of this call's own; without one the run's seed decides
    /// - `stop` = none: a text or the id of a token that ends it, or an array of them; they are kept
    /// - `windowed` = false: whether a text may outgrow the context; then its older half is forgotten, as often as needed
    /// - `hooks` = none: a hook, or an array of them, in the order that they act in
    /// - `bos` = the tokenizer's own rule: whether the token that marks a beginning is put before each text
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let on = hooks::edit("logits", |x| { x[[":", ":", 4]] = 100; x });
    /// m.generate_ids([1, 2], #{ tokens: 3, hooks: on })  //=> [4, 4, 4]
    /// m.generate_ids([1, 2], #{ tokens: 3, hooks: on, stop: 4 })  //=> [4]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn generate_ids(ctx: NativeCallContext, m: &mut Model, x: Any, options: Options) -> Fallible<Array> {
        let new = super::generated(&ctx, m, &x, options, false)?;
        let id = |id: u32| Dynamic::from(i64::from(id));
        let rows = new.ids.into_iter().map(|row| row.into_iter().map(id).collect::<Array>());
        Ok(super::as_given(rows, new.several).into_array().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::script::Session;
    use crate::script::env::Env;
    use crate::script::thread::with_large_stack;

    #[test]
    fn words_are_said_as_they_come_only_where_somebody_sits_at_a_prompt() {
        with_large_stack(|| {
            let mut session = Session::new(Env::in_memory(Path::new("out")).unwrap());
            let model = "let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 2 }, #{ words: [\"a\", \"b\"] });\n\
                         let next = hooks::edit(\"logits\", |x, at| { let y = x * 0; y[[\":\", \":\", at.step % 2]] = 1; y });";
            let _nothing = session.eval("model", model).unwrap();
            let code = "m.generate(\"a\", #{ tokens: 3, hooks: next })";
            let said = |session: &mut Session, code: &str| {
                let value = session.eval("line", code);
                (value.map(|value| value.to_string()).ok(), session.env().console.take(), session.env().console.take_spoken())
            };
            assert_eq!(said(&mut session, code), (Some(" a b a".into()), String::new(), String::new()));
            session.env().console.converse();
            assert_eq!(said(&mut session, code), (Some(" a b a".into()), " a b a\n".into(), " a b a".into()));
            // Several texts at once would be said in each other's way.
            assert_eq!(said(&mut session, &code.replace("\"a\"", "[\"a\"]")).1, "");
            // A line that was begun is ended, whatever comes between.
            let failing = "m.generate(\"a\", #{ hooks: [next, hooks::edit(\"logits\", |x, at| if at.step == 2 { throw 1 })] })";
            assert_eq!(said(&mut session, failing), (None, " a b\n".into(), " a b".into()));
        })
        .unwrap();
    }
}
