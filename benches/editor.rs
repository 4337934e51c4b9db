//! What somebody who writes a script of 1,000 lines waits for after a key: its mistakes, and what the server for editors
//! says at the cursor. Writes `docs/benchmarks-editor.md`.
//!
//! `cargo bench --bench editor`, half a minute.

mod common;

use std::time::{Duration, Instant};

use common::{BenchPage, Rows, milliseconds};
use kit::editor::Editor;
use serde_json::json;

const KEYS: usize = 200;
const BLOCKS: usize = 100;

/// Ten lines, with the number of the block for `N`.
const BLOCK: &str = r#"let mN = model::load("tiny");
let xN = tensor::randn([64, 192], #{ seed: N });
let sN = sae::fit(xN, #{ k: 4, ratio: 2, steps: 2 });
fn fN(a, b) {
    let c = a.sum() + b;
    if c > 2.0 { c } else { [1, 2, 3].map(|i| i * c).len() }
}
let yN = fN(xN, 1.0);
// What came out of it.
print(`${yN} and ${sN}`);
"#;

fn main() {
    BenchPage::new("Benchmarks of the server for editors", "editor", SENTENCES).run(|folder| {
        let mut editor = Editor::begun(env!("CARGO_BIN_EXE_microtome"), folder);
        let text: String = (0..BLOCKS).map(|number| BLOCK.replace('N', &number.to_string())).collect();
        let begun = Instant::now();
        let uri = editor.open("long.rhai", &text);
        assert!(editor.mistakes(&uri, 1).is_empty());
        let mut rows: Rows = vec![("the first mistakes after a text was opened".into(), milliseconds(begun.elapsed()))];
        let mut times = [const { Vec::new() }; 4];
        for key in 0..KEYS {
            let version = key as i64 + 2;
            let line = 10 * (key / 2 % BLOCKS) + 9;
            let at = |character: u32| json!({ "line": line, "character": character });
            // A letter is written, and taken away by the next key.
            let is_written = key % 2 == 0;
            let range = json!({ "start": at(0), "end": at(u32::from(!is_written)) });
            let written = if is_written { "x" } else { "" };
            let begun = Instant::now();
            editor.change(&uri, version, json!([{ "range": range, "text": written }]));
            assert_eq!(editor.mistakes(&uri, version).is_empty(), !is_written);
            times[0].push(begun.elapsed());
            for (place, method) in ["completion", "hover", "signatureHelp"].iter().enumerate() {
                // In the call of the block's second line.
                let cursor = json!({ "line": line - 8, "character": 20 });
                let begun = Instant::now();
                let asked = json!({ "textDocument": { "uri": uri }, "position": cursor });
                editor.result(&format!("textDocument/{method}"), asked);
                times[place + 1].push(begun.elapsed());
            }
        }
        for (what, times) in WHAT.into_iter().zip(times) {
            rows.push((format!("{what}: median"), milliseconds(share(&times, 0.5))));
            rows.push((format!("{what}: 95th percentile"), milliseconds(share(&times, 0.95))));
        }
        rows
    });
}

const WHAT: [&str; 4] =
    ["mistakes of the text, after a key", "candidates at the cursor", "what a name means", "the parameters of a call"];

/// The time that this share of all times is at most.
fn share(times: &[Duration], share: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[((times.len() - 1) as f64 * share).round() as usize]
}

const SENTENCES: &str = "A script of 1,000 lines is open, and after each of 200 keys the client waits for the mistakes of the \
    whole text, and then for three answers at the cursor; times are those of the client.";
