//! What products of bf16 and of int8 do to numbers, in every family: to residual streams, to what a dictionary explains, to
//! the loss that it recovers, and to the features that fire. Writes `docs/benchmarks-rounding.md`.
//!
//! `cargo bench --bench rounding`, some minutes, from the fixtures of the tests. Gemma 3 270M is the last row where
//! `MICROTOME_GEMMA` names a folder with it.

mod common;

use std::fmt::Write;

use common::{BenchPage, anywhere, gemma, in_session, root};
use microtome::base::memory;
use microtome::script::Session;

const COMPARED: &str = include_str!("rounding/compared.rhai");
const HEADER: &str =
    "| model | cosine of streams | FVE | cross-entropy | loss recovered | the same features | their ranks |
|---|---|---|---|---|---|---|
";
/// Columns of [`HEADER`] behind the first: digits behind the point, and whether the model in f32 is shown, which is 1 elsewhere.
const COLUMNS: [(usize, bool); 6] = [(5, false), (4, true), (4, true), (3, true), (4, false), (5, false)];

/// Tokens of the text, and its rows that are read.
const TOKENS: usize = 4096;
const ROWS: usize = 16;

/// A model, and how it is loaded with products of bf16 and of int8.
struct Rounded {
    name: String,
    path: String,
    /// Options of every load.
    options: String,
    /// Options of the load with products of int8.
    int8: &'static str,
    fit: &'static str,
}

fn main() {
    let page = BenchPage::new("What rounded products do to numbers", "rounding", SENTENCES);
    memory::keep_freed();
    let mut table = format!("{}\n\n{HEADER}", page.opening());
    for model in models() {
        let name = model.name.clone();
        let found = in_session(&anywhere(), move |session| model.compared(session));
        let cells: Vec<String> = COLUMNS.iter().enumerate().map(|(at, column)| cell(&found, at, *column)).collect();
        writeln!(table, "| {name} | {} |", cells.join(" | ")).unwrap();
        page.write(&table);
        println!("{name}: {found:?}");
    }
}

/// Returns the numbers of a column for f32, bf16 and int8; a dash for what a model does not have.
fn cell(found: &[Vec<Option<f64>>], column: usize, (digits, with_exact): (usize, bool)) -> String {
    let shown = |number: &Option<f64>| number.map_or("–".into(), |number| format!("{number:.digits$}"));
    let first = usize::from(!with_exact);
    let cells: Vec<String> = found[first..].iter().map(|numbers| shown(&numbers[column])).collect();
    if cells.iter().all(|cell| cell == "–") { "–".into() } else { cells.join(", ") }
}

fn models() -> Vec<Rounded> {
    const FIT: &str = "#{ k: 8, d_sae: 128, steps: 100, seed: 0 }";
    const QUANTISED: &str = "dtype: \"q8\", compute: \"int8\"";
    const TRAINED: &str = "#{ k: 32, steps: 300, seed: 0 }";
    let fixtures = root().join("tests/fixtures/models");
    let mut names: Vec<String> = std::fs::read_dir(&fixtures)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    let tokenizer = fixtures.join("tokenizer.json");
    let mut models: Vec<Rounded> = names
        .into_iter()
        .map(|name| Rounded {
            path: fixtures.join(&name).display().to_string(),
            options: format!("tokenizer: {:?}", tokenizer.display().to_string()),
            int8: QUANTISED,
            fit: FIT,
            name,
        })
        .collect();
    models.push(Rounded {
        name: "**`tiny`**".into(),
        path: "tiny".into(),
        options: String::new(),
        int8: QUANTISED,
        fit: TRAINED,
    });
    if let Some(folder) = gemma::folder() {
        models.push(Rounded {
            name: "**Gemma 3 270M**, Q4_K_M".into(),
            path: gemma::file(&folder),
            options: String::new(),
            int8: "compute: \"int8\"",
            fit: TRAINED,
        });
    }
    models
}

impl Rounded {
    /// Returns the numbers of [`COMPARED`] for f32, bf16 and int8.
    fn compared(&self, session: &mut Session) -> Vec<Vec<Option<f64>>> {
        let Self { path, options, int8, fit, .. } = self;
        let code = format!(
            "{COMPARED}
            let load = |options| {{ let all = #{{ {options} }}; all.mixin(options); model::load({path:?}, all) }};
            let text = data::text(\"sample\", #{{ tokens: {TOKENS} }});
            compared(load, [#{{ compute: \"bf16\" }}, #{{ {int8} }}], text, {fit}, {ROWS})"
        );
        let found = session.eval("bench", &code).unwrap_or_else(|failure| panic!("{}: {}", self.name, failure.message));
        let lists = found.into_array().unwrap().into_iter().map(|list| list.into_array().unwrap());
        lists.map(|list| list.into_iter().map(|number| number.as_float().ok()).collect()).collect()
    }
}

const SENTENCES: &str = "\
Every fixture of a family, which has random weights, then models that are trained. Each is loaded in f32, with `compute: \"bf16\"`, and \
with `compute: \"int8\"`, for which matrices are Q8_0 (`dtype: \"q8\"`) or, of Gemma, the blocks of its file, so that there only the \
rounding of what they read is seen. A top-k dictionary is fitted in f32 to the layer before the last (128 features, k 8, 100 steps; \
of trained models as many as by default, k 32, 300 steps), and reads what the others compute. All numbers are of 16 rows of the \
sample text, as long as the model's context, and at most 4,096 tokens.

- **Cosine of streams**: the smallest over all `resid_post` of the activations' cosine with those in f32; of bf16, then of int8.
- **FVE**: what the dictionary explains of the variance; in f32, bf16 and int8, as are the next two.
- **Cross-entropy** of the next token, in nats.
- **Loss recovered**: (zero - spliced) / (zero - clean) of cross-entropies. A dash: zeros in place of the layer cost less than .05 \
nats, so that there is nothing to recover, or the model predicts no next token.
- **The same features**: which part of the features that fire on a token in f32 fire on it.
- **Their ranks**: Spearman's correlation of the features' mean activations with those in f32, over features that fire there.";
