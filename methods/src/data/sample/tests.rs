//! Sampled text is the same every time, stored or not.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::base::Task;
use crate::base::random::stream;
use crate::data::{Document, Documents};
use crate::model::batch::Batch;
use crate::model::decoder::Decoder;
use crate::model::generate::Choice;
use crate::model::init;
use crate::model::tokenizer::Tokenizer;
use crate::tensor::{DType, Device};

const CONTEXT: usize = 12;

fn decoder() -> Arc<Decoder> {
    let config = json!({ "layers": 1, "d_model": 8, "heads": 2, "vocab": 5, "context": CONTEXT });
    let config = init::config(&config).unwrap();
    let weights = init::init(&config, &mut stream(3, "test", 0), DType::F32, &Device::Cpu, &Task::default()).unwrap();
    Arc::new(Decoder::new(config, weights))
}

fn drawn(tokens: usize, settings: Settings) -> Vec<u32> {
    sample(&decoder(), 0, tokens, settings, &Task::default()).unwrap()
}

#[test]
fn a_longer_text_begins_as_a_shorter_one() {
    let long = drawn(40 * CONTEXT, Settings::default());
    assert_eq!(long.len(), 40 * CONTEXT);
    assert_eq!(drawn(3 * CONTEXT + 5, Settings::default()), long[..3 * CONTEXT + 5]);
    assert!(long.chunks(CONTEXT).all(|row| row[0] == 0));
    assert_ne!(long[..CONTEXT], long[CONTEXT..2 * CONTEXT]);
    assert_ne!(drawn(CONTEXT, Settings { seed: 1, ..Settings::default() }), long[..CONTEXT]);
}

#[test]
fn the_likeliest_alone_is_greedy_generation() {
    let decoder = decoder();
    let row = drawn(CONTEXT, Settings { top_k: 1, ..Settings::default() });
    let batch = Batch::new(vec![vec![0]]).unwrap();
    let choice = Choice::greedy(CONTEXT - 1);
    let greedy = decoder.generate(&batch, &choice, Vec::new(), &mut |_, _| Ok(true), &Task::default()).unwrap();
    assert_eq!(row[1..], greedy[0]);
}

#[test]
fn what_is_stored_goes_on_as_it_would_have() {
    let names = ["<end>", "(", "a", ")", "'"].map(String::from).to_vec();
    let tokenizer = Tokenizer::characters(names, Some("<end>"), None).unwrap();
    let own = fingerprint(&decoder(), &Task::default()).unwrap();
    let passages = |ids: Vec<u32>, weights: [u8; 32]| {
        let stored = Asset { ids, context: CONTEXT as u32, settings: Settings::default(), weights };
        let settings = Settings::default();
        let stored = Some(Arc::new(stored));
        let mut all = Passages::new(decoder(), tokenizer.clone(), settings, stored, &Task::default()).unwrap();
        let next = |_| all.next(&Task::default()).unwrap().unwrap();
        (0..20).map(next).collect::<Vec<Document>>()
    };
    let anew = passages(Vec::new(), own);
    // Two and a half rows are stored: the half row is sampled again.
    assert_eq!(passages(drawn(CONTEXT * 5 / 2, Settings::default()), own), anew);
    // Stored text is used: other ids make other passages, unless they are of another model.
    assert_ne!(passages(vec![2; CONTEXT], own), anew);
    assert_eq!(passages(vec![2; CONTEXT], [0; 32]), anew);
    assert!(anew.iter().all(|document| !document.text.contains("<end>") && document.marks.is_some()));
    assert_eq!(&*anew[0].origin, "sample, seed 0, row 0");
    let none = Settings { top_k: 0, ..Settings::default() };
    assert!(sample(&decoder(), 0, 1, none, &Task::default()).is_err());
}
