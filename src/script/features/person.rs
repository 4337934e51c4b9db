//! A person at the prompt who explains features and judges explanations.

use std::io::IsTerminal;

use crate::base::questions::{Answers, Question, Reply};
use crate::base::{Result, Task};
use crate::err;
use crate::script::engine::env::Env;

/// A longer line is none that somebody typed.
const LONGEST: usize = 10_000;

/// Whoever sits at the prompt.
pub struct Person<'a> {
    env: &'a Env,
}

impl<'a> Person<'a> {
    /// Only where questions are seen and answers can be typed.
    pub fn at_prompt(env: &'a Env) -> Result<Self> {
        match env.console.is_conversation() && std::io::stdin().is_terminal() {
            true => Ok(Self { env }),
            false => Err(err!(Argument, "expected a person at the prompt, found a script that runs without one")
                .hint("call it at microtome's prompt, or ask a language model: model::endpoint(..)")),
        }
    }

    fn answer(&self, question: &str, number: usize, of: usize, task: &Task) -> Result<String> {
        self.env.console.say(&format!("\n{number} of {of}: {question}"));
        let line = line(task)?;
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

/// The next line that is typed; Ctrl-C does not wait for it.
fn line(task: &Task) -> Result<String> {
    while !is_typed() {
        task.check()?;
    }
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).map_err(|e| err!(File, "cannot read what is typed: {e}"))?;
    match read {
        0 => Err(err!(Argument, "expected an answer, found the end of what is typed")),
        _ => Ok(line),
    }
}

/// Whether a line is there; waits for a fiftieth of a second.
#[cfg(unix)]
fn is_typed() -> bool {
    let mut typed = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
    // SAFETY: one descriptor is looked at, and it outlives the call.
    unsafe { libc::poll(&raw mut typed, 1, 20) > 0 }
}

/// Elsewhere reading itself waits.
#[cfg(not(unix))]
fn is_typed() -> bool {
    true
}
