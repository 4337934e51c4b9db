//! Options that the core declares, as the reference lists them: a doc comment names a group, `- [fit]`, and the group's
//! fields stand in its place.

use std::sync::OnceLock;

use crate::options::{Field, OptionGroup};
use crate::sae::fit::kinds;

/// A line of the list under `# Options`: "- `key` = default: meaning"; or one of a group, "- [fit]", that the core declares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptionDoc {
    pub key: String,
    pub default: String,
    pub meaning: String,
    /// The words that it is one of, where the core declares them.
    pub choices: &'static [&'static str],
    /// The option that decides whether there is this one, and the words of it with which there is; where not all have it.
    pub of: &'static str,
    pub kinds: Vec<&'static str>,
}

/// Word in place of the default of an option that has none.
pub const REQUIRED: &str = "required";

impl OptionDoc {
    /// Lists the settings with which the option can be given, as a hint names them: `kind: "topk"`.
    pub fn others(&self) -> impl Iterator<Item = String> {
        self.kinds.iter().map(|kind| format!("`{}: {kind:?}`", self.of))
    }

    /// Returns whether there is this option with this kind; with one that is not known there may be.
    pub fn fits(&self, kind: Option<&str>) -> bool {
        self.kinds.is_empty() || kind.is_none_or(|kind| self.kinds.contains(&kind))
    }
}

/// A group by the name that doc comments give.
pub type NamedOptions = (&'static str, fn() -> Vec<OptionDoc>);

/// The groups of all parts of the language, from the first engine on.
static GROUPS: OnceLock<Vec<&'static NamedOptions>> = OnceLock::new();

/// Makes the groups known to doc comments.
pub fn register(all: impl IntoIterator<Item = &'static NamedOptions>) {
    GROUPS.get_or_init(|| all.into_iter().collect());
}

/// Returns the options of a group. One that nobody declared is shown as such, and fails a test.
pub fn group(name: &str) -> Vec<OptionDoc> {
    match GROUPS.get().into_iter().flatten().find(|(known, _)| *known == name) {
        Some((_, options)) => options(),
        None => vec![OptionDoc { key: format!("[{name}]"), meaning: "no such group".into(), ..OptionDoc::default() }],
    }
}

/// Returns the options that a type declares.
pub fn fields<T: OptionGroup>() -> Vec<OptionDoc> {
    T::fields().iter().map(|field| option(field, field.only.0, field.only.1.to_vec())).collect()
}

fn option(field: &Field, of: &'static str, kinds: Vec<&'static str>) -> OptionDoc {
    let default = if field.is_required { REQUIRED.into() } else { field.default.clone() };
    let choices = match field.choices {
        // Kinds are listed in the text.
        [] => String::new(),
        choices => format!("; {}", choices.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")),
    };
    let whose = if kinds.is_empty() { String::new() } else { format!("of {}: ", kinds.join(", ")) };
    let meaning = format!("{whose}{}{choices}", field.meaning);
    OptionDoc { key: field.name.into(), default, meaning, choices: field.choices, of, kinds }
}

/// Returns the options of each kind of dictionary; those that mean the same for several kinds stand once.
pub fn of_kinds() -> Vec<OptionDoc> {
    let mut found: Vec<(&Field, Vec<&'static str>)> = Vec::new();
    for kind in kinds::NAMES {
        for field in kinds::options_of(kind).unwrap_or_default() {
            let same = |known: &&mut (&Field, Vec<&'static str>)| {
                known.0.name == field.name && known.0.meaning == field.meaning
            };
            match found.iter_mut().find(same) {
                Some((_, kinds)) => kinds.push(kind),
                None => found.push((field, vec![kind])),
            }
        }
    }
    found.sort_by_key(|(field, _)| field.name);
    found.into_iter().map(|(field, kinds)| option(field, "kind", kinds)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sae::fit::FitOptions;

    #[test]
    fn options_of_kinds_stand_once_with_the_kinds_that_have_them() {
        let all = of_kinds();
        let k: Vec<&OptionDoc> = all.iter().filter(|option| option.key == "k").collect();
        assert_eq!(k.len(), 4);
        assert!(k.iter().any(|option| option.meaning == "of topk: number of codes in a row"), "{k:?}");
        assert!(k.iter().any(|option| option.meaning.starts_with("of batch_topk, matryoshka: ")), "{k:?}");
        assert!(k.iter().all(|option| option.default == REQUIRED), "{k:?}");
        assert!(k[0].fits(None) && !k[0].fits(Some("l1")));
        let fit = fields::<FitOptions>();
        assert!(fit[0].choices.contains(&"topk"));
    }
}
