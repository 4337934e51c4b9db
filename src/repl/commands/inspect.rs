//! `:help`, `:doc`, `:vars`, `:type` and `:reset`.

use rhai::{Array, Dynamic, Map};

use super::super::{LineFailure, PromptFlow, Repl};
use super::{TABLE, find, help};
use crate::err;
use crate::report::visible_text::visible;
use crate::script::engine::value::{repr, type_name};

pub fn help(repl: &mut Repl, name: &str) -> Result<PromptFlow, LineFailure> {
    let name = name.trim_start_matches(':');
    if name.is_empty() {
        repl.say(&help::overview());
        return Ok(PromptFlow::Continue);
    }
    let Some(command) = find(name) else {
        let all: Vec<String> = TABLE.iter().map(|command| command.name.to_string()).collect();
        return Err(err!(Name, "unknown command `:{name}`").maybe_hint(super::suggestion(name, &all)).into());
    };
    let usage = format!(":{} {}", command.name, command.arguments);
    repl.say(&format!("{}\n\n  {}. {}", usage.trim_end(), capital(command.summary), command.help));
    Ok(PromptFlow::Continue)
}

fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

pub fn doc(repl: &mut Repl, name: &str) -> Result<PromptFlow, LineFailure> {
    help::answer(repl, name)?;
    Ok(PromptFlow::Continue)
}

pub fn vars(repl: &mut Repl, _: &str) -> Result<PromptFlow, LineFailure> {
    let listing = {
        let session = repl.session();
        let variables = session.variables();
        let width = session.env().console.screen().width;
        let names = variables.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(24);
        let kinds = variables.iter().map(|(_, value)| type_name(value).chars().count()).max().unwrap_or(0);
        let line = |(name, value): &(&str, &Dynamic)| {
            let room = width.saturating_sub(names + kinds + 4).max(12);
            format!("{name:<names$}  {:<kinds$}  {}", type_name(value), brief(value, room)).trim_end().to_string()
        };
        variables.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    repl.say(if listing.is_empty() { "no variables yet" } else { &listing });
    Ok(PromptFlow::Continue)
}

pub fn type_of(repl: &mut Repl, code: &str) -> Result<PromptFlow, LineFailure> {
    let name = repl.next_name();
    let ast = repl.session().compile(&name, code)?;
    let value = repl.session_mut().aside(&name, &ast)?.0;
    repl.say(type_name(&value));
    Ok(PromptFlow::Continue)
}

pub fn reset(repl: &mut Repl, _: &str) -> Result<PromptFlow, LineFailure> {
    repl.session_mut().reset();
    repl.done.clear();
    repl.say("cleared variables, functions and imports");
    repl.begin();
    Ok(PromptFlow::Continue)
}

/// Writes a value in at most `room` characters; of a large one only the beginning is looked at.
pub fn brief(value: &Dynamic, room: usize) -> String {
    const SHOWN: usize = 8;
    let text = if let Some(array) = value.read_lock::<Array>() {
        let parts: Vec<String> = array.iter().take(SHOWN).map(|element| brief(element, room)).collect();
        let more = if array.len() > SHOWN { format!(", .. {} in all", array.len()) } else { String::new() };
        format!("[{}{more}]", parts.join(", "))
    } else if let Some(map) = value.read_lock::<Map>() {
        let parts: Vec<String> =
            map.iter().take(SHOWN).map(|(key, value)| format!("{}: {}", visible(key), brief(value, room))).collect();
        let more = if map.len() > SHOWN { format!(", .. {} in all", map.len()) } else { String::new() };
        format!("#{{ {}{more} }}", parts.join(", "))
    } else {
        repr(value)
    };
    if text.chars().count() <= room {
        return text;
    }
    text.chars().take(room.saturating_sub(2)).chain("..".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_are_told_in_short() {
        let many: Array = (0..1_000_i64).map(Dynamic::from).collect();
        assert_eq!(brief(&many.into(), 60), "[0, 1, 2, 3, 4, 5, 6, 7, .. 1000 in all]");
        assert_eq!(brief(&"a long string".into(), 8), "\"a lon..");
        let nested: Array = vec![Dynamic::from(1_i64), Dynamic::from(vec![Dynamic::from(2_i64)])];
        assert_eq!(brief(&nested.into(), 60), "[1, [2]]");
    }
}
