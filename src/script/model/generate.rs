//! Continuing texts, which are printed as they are generated at an interactive prompt.

use super::{GenerateOptions, Input, InputOptions};
use crate::base::task::Silent;
use crate::model::generate::{Continuations, Drawn};
use crate::script::engine::console::Console;
use crate::script::model::Model;
use crate::script::prelude::*;

/// Continues texts; with texts if `in_words`.
fn generated(
    ctx: &NativeCallContext,
    function: &str,
    m: &Model,
    x: &Dynamic,
    map: Options,
    in_words: bool,
) -> Fallible<(Continuations, bool)> {
    let env = env(ctx)?;
    let (asked, options) = taken_both::<InputOptions, GenerateOptions>(map)?;
    // What takes the likeliest token each time draws nothing.
    let seed = if options.is_greedy() { Seed::of(0) } else { options.seed.seed };
    let Input { batch, several } = asked.input(ctx, m, x)?;
    let has_text = in_words || options.stops_at_texts();
    let voice = (has_text && !several && env.console.is_conversation()).then_some(&*env.console);
    let mut heard = |new: &str| {
        if let Some(console) = voice {
            console.speak(new);
        }
    };
    let outcome = env.drawing(ctx, function, seed, |seed| {
        let drawn = Drawn { seed: seed.draws(), in_words };
        asked.run(ctx, m, |hooks, task| {
            m.plain().generate(&batch, &options, drawn, hooks, &mut heard, &beside(task, voice))
        })
    });
    if let Some(console) = voice {
        console.end_speech();
    }
    Ok((outcome?, several))
}

/// Returns the task of a generation: no progress bar where its text is printed.
fn beside(task: &Task, voice: Option<&Console>) -> Task {
    match voice {
        Some(_) => Task::new(task.flag().clone(), Arc::new(Silent)),
        None => task.clone(),
    }
}

/// Returns one value for a text, an array for several.
fn as_given(values: impl IntoIterator<Item = impl Into<Dynamic>>, several: bool) -> Dynamic {
    let mut values = values.into_iter().map(Into::into);
    if several { values.collect::<Array>().into() } else { values.next().unwrap_or_default() }
}

#[export_module(manifest)]
pub mod methods {
    /// Continues a text, and returns the new text; an array of texts for several.
    ///
    /// Decoding is greedy by default. Hooks act at every step. The model's EOS token ends a text, too. At the prompt the
    /// text is printed as it is generated.
    ///
    /// `inject` puts vectors in the place of tokens of the prompt, and of no token that is generated. `at` is a placeholder,
    /// a token that is replaced wherever the prompt has it, `pos` one or several positions. `site` gets the `vector`, by
    /// default `embed`, so that it is read as a token; `add: true` adds it. `norm` is the L2 norm that it gets, a number
    /// or "same" for that of what is there, and `scale` multiplies it. Activation oracles (Karvonen et al. 2025) add with
    /// `#{ site: "resid_post.1", add: true, norm: "same" }`; natural language autoencoders replace an embedding, with the
    /// norm that their `nla_meta.yaml` calls `injection_scale`. Models that look tokens up in each layer, such as Gemma
    /// 4, still look up the placeholder there.
    ///
    /// # Options
    /// - [generate]
    /// - [input]
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// let on = hooks::edit("logits", |x| { x[[":", ":", 1]] = 100; x });
    /// m.generate("the", #{ tokens: 3, hooks: on })  //=> " cat cat cat"
    /// let sat = m.run("sat")["embed"][0][0];
    /// let heard = m.logits("the sat", #{ pos: -1 });
    /// m.logits("the cat", #{ pos: -1, inject: #{ at: " cat", vector: sat } }).equal(heard)  //=> true
    /// m.generate("the cat", #{ tokens: 3, inject: #{ at: " cat", vector: sat } }) == m.generate("the sat", #{ tokens: 3 })  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn generate(ctx: NativeCallContext, m: &mut Model, x: Any, options: Options) -> Fallible<Any> {
        let (new, several) = super::generated(&ctx, "Model.generate", m, &x, options, true)?;
        Ok(super::as_given(new.texts, several))
    }

    /// Continues a text as `m.generate` does, and returns the ids of the new tokens; an array of arrays for several.
    ///
    /// It needs no tokenizer.
    ///
    /// # Options
    /// - [generate]
    /// - [input]
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
        let (new, several) = super::generated(&ctx, "Model.generate_ids", m, &x, options, false)?;
        let id = |id: u32| Dynamic::from(i64::from(id));
        let rows = new.ids.into_iter().map(|row| row.into_iter().map(id).collect::<Array>());
        Ok(super::as_given(rows, several).into_array().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use crate::script::Session;
    use crate::script::engine::thread::with_large_stack;

    #[test]
    fn words_are_said_as_they_come_only_where_somebody_sits_at_a_prompt() {
        with_large_stack(|| {
            let mut session = Session::for_tests();
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
