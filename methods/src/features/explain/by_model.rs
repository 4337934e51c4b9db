//! A loaded model that answers questions: it continues them, and its own logits are the probabilities of its tokens.

use crate::common::*;
use crate::features::feature::tokenizer;
use crate::model::generate::{Drawn, GenerateOptions};
use crate::model::predict::{Prediction, likeliest_at};
use crate::questions::{Answers, Question, Reply, TokenChances};

/// The number of likeliest tokens whose probabilities are returned.
const LIKELIEST: usize = 15;

/// A loaded model that answers questions.
pub struct ModelAnswerer<'a>(pub &'a Model);

impl ModelAnswerer<'_> {
    fn answer(&self, question: &Question, task: &Task) -> Result<Reply> {
        let model = self.0;
        let context = self.0.decoder.config().context;
        let prompt = format!("{}\n\n{}\n\n", question.system, question.user);
        let ids = tokenizer(model)?.encode(&prompt, None, task)?.ids;
        let left = context.saturating_sub(ids.len()).min(question.tokens);
        if left == 0 {
            let found = ids.len();
            return Err(err!(
                Argument,
                "expected a model that reads more than a question's {found} tokens, found one of {context}"
            )
            .hint("shorter fragments make shorter questions: #{ length: 16 }"));
        }
        let options = GenerateOptions { tokens: left, ..GenerateOptions::default() };
        let batch = Batch::new(vec![ids.clone()])?;
        let mut found =
            model.generate(&batch, &options, Drawn { seed: 0, in_words: true }, Vec::new(), &mut |_| {}, task)?;
        let new = found.ids.pop().unwrap_or_default();
        let text = found.texts.pop().unwrap_or_default();
        let chances = if question.chances { self.chances(&ids, &new, task)? } else { Vec::new() };
        Ok(Reply { text, chances })
    }

    /// Returns the probabilities of an answer's tokens, by one more pass over all of them.
    fn chances(&self, ids: &[u32], new: &[u32], task: &Task) -> Result<Vec<TokenChances>> {
        let model = self.0;
        let tokenizer = tokenizer(self.0)?;
        let points: Vec<(usize, usize)> = (0..new.len()).map(|at| (0, ids.len() + at - 1)).collect();
        let batch = Batch::new(vec![[ids, new].concat()])?;
        let (_, end) = model.decoder.run_to_end(&batch, Ask::default(), &points, task)?;
        let most = LIKELIEST.min(model.decoder.config().outputs());
        let found = likeliest_at(&model.decoder, &end, most, task)?;
        let of = |(id, top): (&u32, Vec<Prediction>)| {
            let named = |one: Prediction| Ok((tokenizer.text_of(one.id)?, one.probability.ln()));
            Ok(TokenChances { token: tokenizer.text_of(*id)?, top: top.into_iter().map(named).collect::<Result<_>>()? })
        };
        new.iter().zip(found).map(of).collect()
    }
}

impl Answers for ModelAnswerer<'_> {
    fn name(&self) -> String {
        self.0.name().to_string()
    }

    fn answers(&self, questions: &[Question], task: &Task) -> Result<Vec<Result<Reply>>> {
        let bar = task.begin(&format!("asking {}", self.name()), Some(questions.len() as u64));
        let answer = |question: &Question| {
            let reply = self.answer(question, task)?;
            bar.advance(1);
            Ok(Ok(reply))
        };
        questions.iter().map(answer).collect()
    }
}
