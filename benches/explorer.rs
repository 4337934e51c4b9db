//! From key to answer: a text of 50 tokens read by the explorer's own server, over a socket. Writes
//! `docs/benchmarks-explorer.md`.
//!
//! `cargo bench --bench explorer`. A person who types changes the text at its end, so each request has another one. The
//! page draws what comes in a frame of its own, which Chromium is asked for in `tests/explorer.rs`.

#[allow(dead_code, reason = "times are listed here, since a percentile is wanted")]
mod common;
#[path = "common/server.rs"]
mod server;

use std::time::Duration;

use common::{Rows, milliseconds, publish};
use microtome::base::memory;
use microtome::script::Session;
use microtome::script::engine::env::Env;
use microtome::script::engine::thread::with_large_stack;
use serde_json::json;
use server::Server;

const TOKENS: usize = 50;

fn main() {
    memory::keep_freed();
    let place = std::env::temp_dir().join("microtome-bench-explorer");
    std::fs::create_dir_all(&place).unwrap();
    let folder = place.clone();
    with_large_stack(move || {
        let prepare = r#"
            let m = model::load("tiny");
            let text = data::text("sample", #{ tokens: 65536 });
            for d in [[1536, "usual"], [16384, "wide"]] {
                sae::fit(m, "resid_post.3", text, #{ k: 32, d_sae: d[0], steps: 20, seed: 0 }).save(d[1]);
            }
        "#;
        drop(Session::new(Env::in_memory(&folder).unwrap()).eval("bench", prepare).unwrap());
    })
    .unwrap();
    let mut rows = Rows::new();
    for (name, features) in [("usual", 1536), ("wide", 16384)] {
        let server = Server::start(
            "tiny",
            &place.join(name).join("dictionary.safetensors").display().to_string(),
            &["--text", "grammar", "--tokens", "5000000"],
        );
        let (median, late) = server.asked(0, TOKENS);
        rows.push((format!("read of {TOKENS} tokens, {features} features: median"), milliseconds(median)));
        rows.push((format!("read of {TOKENS} tokens, {features} features: 95th percentile"), milliseconds(late)));
        if name == "usual" {
            let (median, late) = beside_a_card(&server);
            rows.push(("the same while a card reads its text: median".into(), milliseconds(median)));
            rows.push(("the same while a card reads its text: 95th percentile".into(), milliseconds(late)));
        }
    }
    publish("Benchmarks of the explorer", "explorer", "benchmarks-explorer.md", SENTENCES, &rows);
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
