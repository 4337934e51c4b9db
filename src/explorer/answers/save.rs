//! Steps of an exploration, saved as a script that computes them again by public functions.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::state::Explorer;
use super::continuations::{Change, ChangeKind};
use super::read::ReadQuestion;
use super::{CardQuestion, FeatureQuestion, HeadQuestion, Question, heads, lenses, tree};
use crate::base::clock::{Instant, sleep};
use crate::base::{Result, Task};
use crate::err;
use crate::model::reading::fitted::{FittedLens, LensKind};
use crate::options::number_text;

/// The folder below the output folder.
const FOLDER: &str = "explore";

/// Maximum number of steps of a script.
const MOST: usize = 500;

/// Time that another explorer that saves is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The questions to be asked again, in their order.
#[derive(Debug, Clone, Deserialize)]
pub struct SaveQuestion {
    pub steps: Vec<Question>,
}

const ACTIVE: &str = r##"
// As many tokens from the beginning of a text as the model reads.
fn first_tokens(m, text) { let ids = m.tokens(text).ids; ids.extract(0, min(ids.len(), m.config.context)) }

// The features that are active in a text, but for its first positions where some are left out: each with its largest
// code, at how many tokens, and the sum of its codes.
fn active(m, s, site, ids, without_first) {
    let count = ids.len() - without_first;
    if count <= 0 { return []; }
    let found = s.active(m.cache(ids, site)[site].reshape([ids.len(), s.d_in])[without_first..ids.len()]);
    let features = found.features.to_array();
    let codes = found.codes.to_array();
    let all = #{};
    for i in 0..features.len() {
        let key = `${features[i]}`;
        let of = if key in all { all[key] } else { [features[i], codes[i], 0, 0.0] };
        all[key] = [of[0], max(of[1], codes[i]), of[2] + 1, of[3] + codes[i]];
    }
    let rows = all.values().map(|of| [of[0], if of[2] < count { max(of[1], 0.0) } else { of[1] }, of[2], of[3]]);
    rows.sort(|a, b| if a[1] > b[1] { -1 } else if a[1] < b[1] { 1 } else { a[0] - b[0] });
    rows
}
"##;

const READ: &str = r##"
// A text: the features that are active, the loss of each token, and what comes next.
fn read(m, s, site, text, without_first) {
    let ids = first_tokens(m, text);
    if ids.is_empty() { return #{ text: text, active: [], losses: [], next: () }; }
    let columns = ["feature", "largest code", "tokens", "sum"];
    let next = m.predict(ids, min(10, m.config.vocab));
    #{ text: text, active: table(active(m, s, site, ids, without_first), #{ columns: columns }), losses: m.losses(ids), next: next }
}
"##;

const COMPARE: &str = r##"
// Two texts by the largest and the mean codes of features, those that differ most first.
fn compare(m, s, site, a, b, without_first) {
    let all = #{};
    for (text, side) in [a, b] {
        let ids = first_tokens(m, text);
        for of in active(m, s, site, ids, without_first) {
            let key = `${of[0]}`;
            let row = if key in all { all[key] } else { [of[0], 0.0, 0.0, 0.0, 0.0] };
            row[1 + side] = of[1];
            row[3 + side] = of[3] / (ids.len() - without_first);
            all[key] = row;
        }
    }
    let rows = all.values();
    let apart = |row| abs(row[3] - row[4]);
    rows.sort(|a, b| if apart.call(a) > apart.call(b) { -1 } else if apart.call(a) < apart.call(b) { 1 } else { a[0] - b[0] });
    let columns = ["feature", "largest in a", "largest in b", "mean in a", "mean in b"];
    #{ a: a, b: b, features: table(rows.extract(0, min(200, rows.len())), #{ columns: columns }) }
}
"##;

const LENSES: &str = r##"
// A text by the logit lens and by fitted ones: what each layer predicts at its last positions, at most so many.
fn lenses(m, fitted, text, most) {
    let ids = m.tokens(text).ids;
    let ids = ids.extract(0, min(ids.len(), m.config.context));
    if ids.is_empty() { return #{ text: text, lenses: () }; }
    let positions = range(max(0, ids.len() - most), ids.len()).to_array();
    #{ text: text, lenses: m.lens_page(ids, fitted, #{ pos: positions }) }
}
"##;

const PROCEED: &str = r##"
// As many tokens up to the end of a text as the model reads.
fn last_tokens(m, text) { let ids = m.tokens(text).ids; ids.extract(max(0, ids.len() - m.config.context)) }

// How a text goes on, as it is and with changes of features.
fn proceed(m, text, changes, how) {
    let ids = last_tokens(m, text);
    let before = m.logits(ids, #{ pos: -1 }).to("f64").log_softmax(-1);
    let after = m.logits(ids, #{ pos: -1, hooks: changes }).to("f64").log_softmax(-1);
    let few = min(12, m.config.vocab);
    #{
        text: text,
        kl: (before.exp() * (before - after)).sum(),
        next: m.predict(ids, few),
        next_changed: m.predict(ids, few, #{ hooks: changes }),
        before: m.generate(ids, how),
        after: m.generate(ids, how + #{ hooks: changes }),
    }
}
"##;

/// Writes the script, and says where it is.
pub fn save(explorer: &Explorer, saving: &SaveQuestion, task: &Task) -> Result<Value> {
    if saving.steps.is_empty() || saving.steps.len() > MOST {
        let found = saving.steps.len();
        return Err(err!(Argument, "expected from 1 to {MOST} steps to save, found {found}"));
    }
    let files = &explorer.files;
    let folder = files.access().to_write(Path::new(FOLDER))?;
    let begin = Instant::now();
    // Another explorer may be saving beside this one; the folder is locked until it has.
    while let Err(taken) = files.lock(&folder) {
        task.check()?;
        if begin.elapsed() > PATIENCE {
            return Err(taken);
        }
        sleep(Duration::from_millis(20));
    }
    let saved = write(explorer, saving);
    files.release();
    let (place, script) = saved?;
    let here = std::env::current_dir().ok();
    let shown = here.and_then(|here| place.strip_prefix(here).ok().map(Path::to_path_buf)).unwrap_or(place);
    Ok(json!({ "path": shown.display().to_string(), "script": script }))
}

/// Writes the script under the first number that is free.
fn write(explorer: &Explorer, saving: &SaveQuestion) -> Result<(PathBuf, String)> {
    let mut number = 1;
    let path = |number: usize| Path::new(FOLDER).join(format!("explore-{number}.rhai"));
    while explorer.files.access().to_write(&path(number))?.exists() {
        number += 1;
    }
    let script = script(explorer, &saving.steps, &format!("explore-{number}"))?;
    Ok((explorer.files.save_whole(&path(number), &script)?, script))
}

/// Returns the whole script. Its value is an array with what each step found.
pub fn script(explorer: &Explorer, steps: &[Question], name: &str) -> Result<String> {
    let lines = steps.iter().map(|step| line(explorer, step)).collect::<Result<Vec<String>>>()?;
    let has = |wanted: fn(&Question) -> bool| steps.iter().any(wanted);
    let reads = has(|step| matches!(step, Question::Read(_)));
    let compares = has(|step| matches!(step, Question::Compare(_)));
    let proceeds = has(|step| matches!(step, Question::Continue(_)));
    let mut out = String::from("// What was looked at in the explorer, computed again.\n");
    let plan = &explorer.plan;
    let mut add = |text: std::fmt::Arguments| out.write_fmt(text).map_err(|e| err!(Bug, "cannot write a script: {e}"));
    add(format_args!("let m = model::load({});\n", quoted(&plan.model)))?;
    let sources: Vec<String> =
        explorer.dictionaries.iter().map(|of| format!("sae::load({})", quoted(&of.source))).collect();
    add(format_args!("let saes = [{}];\n", sources.join(", ")))?;
    let heads = has(|step| matches!(step, Question::Heads | Question::Head(_)));
    if heads || has(|step| matches!(step, Question::Card(_) | Question::Tree(_))) {
        add(format_args!("let text = data::text({}, #{{ tokens: {} }});\n", quoted(&plan.text), plan.tokens))?;
    }
    if heads {
        let read: Vec<String> = heads::dictionaries(explorer).iter().map(|at| format!("saes[{at}]")).collect();
        add(format_args!("let heads = features::heads(m, text, #{{ dictionaries: [{}] }});\n", read.join(", ")))?;
    }
    let reads_lenses = has(|step| matches!(step, Question::Lenses(_)));
    if reads_lenses {
        let loaded = |(source, lens): &(String, FittedLens)| {
            let call = if lens.kind() == LensKind::Tuned { "load_tuned_lens" } else { "load_jacobian_lens" };
            format!("model::{call}({})", quoted(source))
        };
        let fitted: Vec<String> = explorer.lenses.iter().map(loaded).collect();
        add(format_args!("let fitted = [{}];\n", fitted.join(", ")))?;
    }
    // A script has the functions that its steps call, and no others.
    let parts =
        [(reads || compares, ACTIVE), (reads, READ), (compares, COMPARE), (reads_lenses, LENSES), (proceeds, PROCEED)];
    for (_, part) in parts.into_iter().filter(|(is_needed, _)| *is_needed) {
        add(format_args!("{part}"))?;
    }
    add(format_args!("\nlet found = [\n"))?;
    for line in lines {
        add(format_args!("    {line},\n"))?;
    }
    add(format_args!("];\nprint(report({}, found).save());\nfound\n", quoted(name)))?;
    Ok(out)
}

/// Returns a step as a call.
fn line(explorer: &Explorer, step: &Question) -> Result<String> {
    let feature = |dictionary: usize, feature: usize| -> Result<String> {
        explorer.with_feature(dictionary, feature)?;
        Ok(format!("saes[{dictionary}].feature({feature})"))
    };
    let at = |dictionary: usize| -> Result<String> {
        let place = explorer.dictionary(dictionary)?.place.to_string();
        Ok(format!("m, saes[{dictionary}], {}", quoted(&place)))
    };
    Ok(match step {
        Question::Read(ReadQuestion { dictionary, text, without_first, .. }) => {
            format!("read({}, {}, {})", at(*dictionary)?, quoted(text), usize::from(*without_first))
        }
        Question::Compare(comparing) => {
            let [a, b] = comparing.texts.each_ref().map(|text| quoted(text));
            format!("compare({}, {a}, {b}, {})", at(comparing.dictionary)?, usize::from(comparing.without_first))
        }
        Question::Card(CardQuestion { dictionary, feature: of, without_first }) => {
            let options = if *without_first { ", #{ without_first: 1 }" } else { "" };
            format!("features::card(m, {}, text{options})", feature(*dictionary, *of)?)
        }
        Question::Tree(FeatureQuestion { dictionary, feature: of }) => {
            let tokens = tree::options(explorer).tokens;
            format!("circuit::causal_tree(m, saes, {}, text, #{{ tokens: {tokens} }})", feature(*dictionary, *of)?)
        }
        Question::Continue(going) => {
            going.check()?;
            let hook = |change: &Change| {
                let of = feature(change.dictionary, change.feature)?;
                Ok(match change.action {
                    ChangeKind::Ablate => format!("hooks::zero({of})"),
                    ChangeKind::Scale => format!("hooks::scale({of}, {})", number_text(change.amount()?)),
                    ChangeKind::Clamp => format!("hooks::patch({of}, {})", number_text(change.amount()?)),
                })
            };
            let hooks = going.changes.iter().map(hook).collect::<Result<Vec<String>>>()?.join(", ");
            let tokens = going.tokens;
            let temperature = number_text(going.temperature);
            let how = format!("tokens: {tokens}, temperature: {temperature}, seed: {}, windowed: true", going.seed);
            format!("proceed(m, {}, [{hooks}], #{{ {how} }})", quoted(&going.text))
        }
        Question::Lenses(reading) => format!("lenses(m, fitted, {}, {})", quoted(&reading.text), lenses::MOST),
        Question::Heads => "heads".into(),
        Question::Head(HeadQuestion { layer, head }) => format!("heads.card({layer}, {head})"),
        Question::Save(_) => return Err(err!(Argument, "expected steps that show something, found `save`")),
    })
}

/// Writes a text as a string of the language. What cannot be seen, or changes how the rest is seen, is escaped.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            ' ' => out.push(' '),
            c if c.is_alphanumeric() || c.is_ascii_graphic() => out.push(c),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_the_language_reads_them() {
        assert_eq!(quoted("a \"b\"\\\n\té"), r#""a \"b\"\\\n\té""#);
        assert_eq!(quoted("\u{202e}\u{7}😀`${x}`"), r#""\U0000202e\U00000007\U0001f600`${x}`""#);
    }
}
