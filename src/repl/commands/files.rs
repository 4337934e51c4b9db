//! `:load`, `:run`, `:save` and `:out`.

use std::path::Path;

use super::super::{LineFailure, PromptFlow, Repl};
use crate::report::visible_text::visible;
use crate::script::Session;
use crate::script::engine::env::Arguments;
use crate::script::session::notebook;

pub fn load(repl: &mut Repl, file: &str) -> Result<PromptFlow, LineFailure> {
    let file = unquoted(file);
    let text = repl.session().env().files.text(Path::new(file))?;
    let _value = repl.evaluate(file, &text)?;
    Ok(PromptFlow::Continue)
}

pub fn run(repl: &mut Repl, line: &str) -> Result<PromptFlow, LineFailure> {
    let mut words = words(line);
    let file = words.remove(0);
    let mut beside = Session::new(repl.session().env().beside(Arguments::parse(&words)?));
    let text = beside.env().files.text(Path::new(&file))?;
    let outcome = beside.eval(&file, &text);
    let _value =
        outcome.map_err(|failure| LineFailure { sources: Some(beside.sources().clone()), ..failure.into() })?;
    beside.env().arguments.refuse_unasked()?;
    let checks = &beside.env().checks;
    if checks.failed() > 0 {
        repl.remark(&format!("{} of {} checks failed", checks.failed(), checks.failed() + checks.passed()));
        // They count for the exit code where nobody sits at the prompt.
        (0..checks.failed()).for_each(|_| repl.session().env().checks.count(false));
    }
    Ok(PromptFlow::Continue)
}

pub fn save(repl: &mut Repl, file: &str) -> Result<PromptFlow, LineFailure> {
    let file = unquoted(file);
    let script = repl.script();
    let text = if notebook::is_notebook(file) { notebook::written(&script.cells())? } else { script.text() };
    let place = repl.session().env().files.save_whole(Path::new(file), &text)?;
    repl.say(&format!("saved {}", place.display()));
    for remark in &script.remarks {
        repl.remark(remark);
    }
    let beside = Session::new(repl.session().env().beside(Arguments::default()));
    if let Some(failure) = beside.check(file, &script.text()).first() {
        repl.remark(&format!("the saved script has an error: {}", failure.message));
    }
    Ok(PromptFlow::Continue)
}

pub fn out(repl: &mut Repl, _: &str) -> Result<PromptFlow, LineFailure> {
    let (folder, written) = {
        let session = repl.session();
        let files = &session.env().files;
        (files.access().out().to_path_buf(), files.ledger().written)
    };
    repl.say(&visible(&folder.display().to_string()));
    for path in written.keys() {
        let below = path.strip_prefix(&folder).unwrap_or(path).display().to_string();
        repl.say(&format!("  {}", visible(&below)));
    }
    Ok(PromptFlow::Continue)
}

/// Removes the quotes of a path, which may stand in them as it would in code.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

/// Splits words as a shell does; quotes hold together what has blanks in it. At least one word is returned.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut quoted = false;
    for letter in line.trim().chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '"' | '\'') => (quote, quoted) = (Some(letter), true),
            (None, letter) if letter.is_whitespace() => {
                if quoted || words.last().is_some_and(|word| !word.is_empty()) {
                    words.push(String::new());
                    quoted = false;
                }
            }
            (_, letter) => {
                if let Some(word) = words.last_mut() {
                    word.push(letter);
                }
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_a_shell_does() {
        assert_eq!(
            words("a.rhai --n  3 --text \"two words\" '' --x=\"a b\""),
            ["a.rhai", "--n", "3", "--text", "two words", "", "--x=a b"]
        );
        assert_eq!(words(""), [""]);
        assert_eq!(unquoted("\"a b\""), "a b");
        assert_eq!(unquoted("a"), "a");
    }
}
