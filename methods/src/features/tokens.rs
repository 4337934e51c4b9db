//! Tokens whose probability is measured, by a text that they begin with or by their ids.

use crate::common::*;

crate::text_or_number! {
    /// Tokens by a text or an id.
    pub enum TokenPattern {
        /// All tokens whose text, without leading space, begins with a prefix.
        Prefix(String),
        Id(i64),
    }
    wanted "a text that tokens begin with, or a token id"
}

impl From<&str> for TokenPattern {
    fn from(prefix: &str) -> Self {
        Self::Prefix(prefix.into())
    }
}

/// Returns the ids of all tokens that are meant, each once and in order. Errors are about the argument or option
/// `token`.
pub fn token_ids(model: &Model, patterns: &[TokenPattern]) -> Result<Vec<u32>> {
    found(model, patterns).map_err(|error| Error { about: None, ..error }.about("token"))
}

fn found(model: &Model, patterns: &[TokenPattern]) -> Result<Vec<u32>> {
    let count = model.decoder.config().outputs();
    let mut ids = Vec::new();
    for pattern in patterns {
        match pattern {
            TokenPattern::Prefix(prefix) => {
                let tokenizer = model.tokenizer.as_ref().ok_or_else(|| {
                    err!(Argument, "this model has no tokenizer: it reads token ids, and no text")
                        .hint("name the tokens by their ids")
                })?;
                ids.extend(tokenizer.token_set(prefix)?);
            }
            TokenPattern::Id(id) => {
                let known = u32::try_from(*id).ok().filter(|id| (*id as usize) < count);
                let last = count.saturating_sub(1);
                ids.push(known.ok_or_else(|| err!(Argument, "expected token ids from 0 to {last}, found {id}"))?);
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        Err(err!(Argument, "expected at least one token for `token`, found an empty array"))
    } else {
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::samples::model;

    #[test]
    fn tokens_are_named_by_their_beginnings_and_by_their_ids() {
        let model = model();
        let bracket = token_ids(&model, &[")".into()]).unwrap();
        assert_eq!(bracket.len(), 1);
        assert_eq!(model.tokenizer.as_ref().unwrap().text_of(bracket[0]).unwrap(), ")");
        let ids = [3, 1, 3].map(TokenPattern::Id);
        assert_eq!(token_ids(&model, &ids).unwrap(), [1, 3]);
        let error = token_ids(&model, &[TokenPattern::Id(28)]).unwrap_err();
        assert_eq!(error.message, "expected token ids from 0 to 27, found 28");
        assert_eq!(error.about.as_deref(), Some("token"));
        assert!(token_ids(&model, &["zz".into()]).unwrap_err().about.is_some_and(|about| about == "token"));
        assert!(token_ids(&model, &[]).unwrap_err().message.starts_with("expected at least one token"));
    }
}
