//! Numbers that the code knows.

use microtome::checkpoint::family;
use microtome::circuit::compiled;
use microtome::data::pairs::TASKS;
use microtome::sae::fit::kinds;

use super::root;

/// Scripts that are no experiments: what runs them all, and what makes the model inside and its card.
const NO_EXPERIMENTS: [&str; 4] = ["all.rhai", "train_tiny.rhai", "tiny_sample.rhai", "tiny_card.rhai"];

/// How many there are.
pub fn of(what: &str) -> Result<String, String> {
    let count = match what {
        // The last is that of models made here.
        "families" => family::known().len() - 1,
        // Crosscoders read several sites, and stand by themselves.
        "kinds" => kinds::NAMES.iter().filter(|name| **name != "crosscoder").count(),
        "tasks" => TASKS.len(),
        "known circuits" => compiled::all().count(),
        "experiments" => {
            let names = std::fs::read_dir(root().join("scripts")).into_iter().flatten().flatten();
            let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.filter(|name| name.ends_with(".rhai") && !NO_EXPERIMENTS.contains(&name.as_str())).count()
        }
        _ => return Err(format!("nobody counts `{what}`")),
    };
    Ok(in_words(count))
}

/// Up to twelve as a word.
fn in_words(count: usize) -> String {
    let words =
        ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    words.get(count).map_or(count.to_string(), |word| word.to_string())
}
