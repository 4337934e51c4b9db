//! A person at the prompt who explains features and judges explanations.

use crate::questions::{Answers, Question, Reply};
use crate::script::prelude::*;

/// A longer line is none that somebody typed.
const LONGEST: usize = 10_000;

/// The person at the prompt.
pub struct Person<'a> {
    env: &'a Env,
}

impl<'a> Person<'a> {
    /// Makes a person of the prompt, where questions are seen and answers can be typed.
    pub fn at_prompt(env: &'a Env) -> Result<Self> {
        if env.console.can_ask() {
            Ok(Self { env })
        } else {
            Err(err!(Argument, "expected a person at the prompt, found a script that runs without one")
                .hint("call it at microtome's prompt, or ask a language model: model::endpoint(..)"))
        }
    }

    fn answer(&self, question: &str, number: usize, of: usize, task: &Task) -> Result<String> {
        self.env.console.say(&format!("\n{number} of {of}: {question}"));
        let line = self.env.console.ask(task)?;
        let line = line.ok_or_else(|| err!(Argument, "expected an answer, found the end of what is typed"))?;
        Ok(line.trim().chars().take(LONGEST).collect())
    }
}

impl Answers for Person<'_> {
    fn name(&self) -> String {
        "a person".into()
    }

    fn answers(&self, questions: &[Question], task: &Task) -> Result<Vec<Result<Reply>>> {
        if let Some(first) = questions.first() {
            self.env.console.say(&first.system);
        }
        let asked = questions.iter().enumerate();
        let reply = |(number, question): (usize, &Question)| {
            let text = self.answer(&question.user, number + 1, questions.len(), task)?;
            Ok(Ok(Reply { text, chances: Vec::new() }))
        };
        asked.map(reply).collect()
    }
}
