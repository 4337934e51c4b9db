//! Tokens that a script names by their text.

use super::Tokenizer;
use super::spelling::hexadecimal;
use crate::common::*;

impl Tokenizer {
    /// Returns the one token whose text is exactly this, its leading space included.
    ///
    /// Of several with the same text it is the one that the text is tokenized into, or else the first that is not a
    /// byte's. If there is none, as for words without a leading space, it is the token that the text alone is tokenized
    /// into, if that is one.
    pub fn token(&self, text: &str, task: &Task) -> Result<u32> {
        let exact = |id: u32| self.vocab.piece(id).is_ok_and(|piece| piece.bytes == text.as_bytes());
        let split = self.split.split(text, task);
        if let Ok([(id, _)]) = split.as_deref()
            && exact(*id)
        {
            return Ok(*id);
        }
        let all = self.vocab.iter().filter(|(id, _)| exact(*id));
        if let Some((id, _)) = all.min_by_key(|(id, piece)| (hexadecimal(&piece.name).is_some(), *id)) {
            return Ok(id);
        }
        let split = split?;
        if let [(id, _)] = split.as_slice()
            && self.decode(&[*id])? == text
        {
            return Ok(*id);
        }
        let parts: Vec<String> = split.iter().map(|(id, _)| self.text_of(*id)).collect::<Result<_>>()?;
        let count = if parts.len() == 1 { "1 token".to_string() } else { format!("{} tokens", parts.len()) };
        let shown = parts.iter().map(|part| format!("{part:?}")).collect::<Vec<_>>().join(" ");
        Err(err!(Argument, "expected the text of one token, found {text:?}, which is {count}: {shown}")
            .hint("a token's text includes its leading space: \" the\" and \"the\" are two tokens")
            .about("text"))
    }

    /// Lists the tokens whose text, without one leading space, begins with this, in the order of their ids, except for
    /// special tokens. This is the meaning of a token argument that is one text.
    pub fn token_set(&self, text: &str) -> Result<Vec<u32>> {
        if text.is_empty() {
            bail!(Argument, "expected a text that tokens begin with, found an empty one");
        }
        let begins = |bytes: &[u8]| bytes.strip_prefix(b" ").unwrap_or(bytes).starts_with(text.as_bytes());
        let found = self.vocab.iter().filter(|(_, piece)| !piece.special && begins(&piece.bytes));
        let ids: Vec<u32> = found.map(|(id, _)| id).collect();
        if ids.is_empty() {
            return Err(err!(Argument, "expected a text that tokens begin with, found {text:?}, with which none does")
                .hint("leading spaces of tokens are ignored")
                .about("text"));
        }
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Gguf;
    use super::*;

    fn tokenizer() -> Tokenizer {
        let tokens = ["<unk>", "<s>", "</s>", "<0x29>", "▁)", ")", ").", "▁(", "a", "▁", "<"];
        let token_type = vec![2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 1];
        let scores = vec![0.0; tokens.len()];
        let tokens = tokens.map(String::from).to_vec();
        Tokenizer::from_gguf(Gguf { model: "llama".into(), tokens, scores, token_type, ..Gguf::default() }).unwrap()
    }

    #[test]
    fn a_token_is_found_by_its_whole_text() {
        let task = Task::default();
        let found = |text| tokenizer().token(text, &task);
        assert_eq!(found(" )"), Ok(4));
        assert_eq!(found("("), Ok(7));
        let words = Tokenizer::words(["cat", "?"].map(String::from).to_vec(), None, Some("?")).unwrap();
        assert_eq!((words.token("cat", &task), words.token(" cat", &task)), (Ok(0), Ok(0)));
        assert!(words.token("dog", &task).unwrap_err().message.ends_with("which is 1 token: \" ?\""));
        assert_eq!(found(" ("), Ok(7));
        // `)` is a byte, too, and the text becomes neither of the two, since it gets a space in front.
        assert_eq!(found(")"), Ok(5));
        assert_eq!(found("</s>"), Ok(2));
        let several = found(" )a").unwrap_err();
        assert!(several.message.ends_with("which is 3 tokens: \" \" \" )\" \"a\""), "{}", several.message);
    }

    #[test]
    fn a_set_begins_with_the_text_behind_one_space() {
        assert_eq!(tokenizer().token_set(")"), Ok(vec![3, 4, 5, 6]));
        assert_eq!(tokenizer().token_set("<"), Ok(vec![10]));
        assert!(tokenizer().token_set("zz").unwrap_err().message.contains("\"zz\""));
        assert!(tokenizer().token_set("").is_err());
    }
}
