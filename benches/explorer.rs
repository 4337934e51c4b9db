//! From key to answer: a text of 50 tokens read by the explorer's own server, over a socket. Writes
//! `docs/benchmarks-explorer.md`.
//!
//! `cargo bench --bench explorer`. A person who types changes the text at its end, so each request has another one. The
//! page draws what comes in a frame of its own, which Chromium is asked for in `tests/explorer.rs`.

mod common;

use std::time::Duration;

use common::server::Server;
use common::{BenchPage, Rows, eval, in_session, milliseconds};
use serde_json::json;

const TOKENS: usize = 50;

/// Two dictionaries of one site.
const PREPARE: &str = r#"
    let m = model::load("tiny");
    let text = data::text("sample", #{ tokens: 65536 });
    for d in [[1536, "usual"], [16384, "wide"]] {
        sae::fit(m, "resid_post.3", text, #{ k: 32, d_sae: d[0], steps: 20, seed: 0 }).save(d[1]);
    }
"#;

fn main() {
    BenchPage::new("Benchmarks of the explorer", "explorer", SENTENCES).run(|folder| {
        in_session(folder, |session| eval(session, PREPARE));
        let mut rows = Rows::new();
        for (name, features) in [("usual", 1536), ("wide", 16384)] {
            let dictionary = folder.join(name).join("dictionary.safetensors").display().to_string();
            let server = Server::start("tiny", &dictionary, &["--text", "grammar", "--tokens", "5000000"]);
            let (median, late) = server.asked(0, TOKENS);
            rows.push((format!("read of {TOKENS} tokens, {features} features: median"), milliseconds(median)));
            rows.push((format!("read of {TOKENS} tokens, {features} features: 95th percentile"), milliseconds(late)));
            if name == "usual" {
                let (median, late) = beside_a_card(&server);
                rows.push(("the same while a card reads its text: median".into(), milliseconds(median)));
                rows.push(("the same while a card reads its text: 95th percentile".into(), milliseconds(late)));
            }
        }
        rows
    });
}

const SENTENCES: &str = "The program `microtome explore` runs beside the bench, with `tiny` and a dictionary of \
    `resid_post.3` (TopK, k 32); a request is a new connection, the whole JSON of the answer is received and parsed. Each of \
    the 200 requests has another text.";

/// The same while the first card of a dictionary reads the text.
fn beside_a_card(server: &Server) -> (Duration, Duration) {
    let card = server.begin("card", json!({ "page": "bench", "slot": "card", "dictionary": 0, "feature": 1 }));
    let found = server.asked(1000, TOKENS);
    drop(card);
    found
}
