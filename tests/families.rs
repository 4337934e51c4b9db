//! Every family computes what its reference library computes, from files in their published form.

mod checks;
mod encoders;
pub mod files;
mod gradients;
mod hostile;
mod injected;
mod latent;
mod narrow;
mod older;
mod pictured;
mod scores;
mod sentences;
mod sites;
mod sources;
mod states;
mod time_mixing;

use files::{ENCODERS, FAMILIES, expected, files, fixture, ids, load};
use kit::far;
use microtome::base::Task;
use microtome::checkpoint::load::LoadSettings;
use microtome::model::batch::Batch;
use microtome::model::decoder::Decoder;
use microtome::model::generate::SamplingSettings;
use microtome::model::run::Ask;
use microtome::model::site;
use microtome::tensor::Tensor;

/// The logits and the stream before each block, the last one after the final norm.
pub fn streams(decoder: &Decoder, batch: &Batch) -> (Tensor, Vec<Tensor>) {
    let places = ["resid_pre.*", "final_norm"].iter().flat_map(|name| site::select(decoder.config(), name).unwrap());
    let ask = Ask { places: places.collect(), ..Ask::default() };
    let run = decoder.run(batch, ask, &Task::default()).unwrap();
    (run.logits, run.cache.iter().map(|(_, x)| x.clone()).collect())
}

#[test]
fn logits_and_every_hidden_state_are_those_of_transformers() {
    for family in FAMILIES {
        let decoder = load(&files(), &fixture(family), &LoadSettings::default());
        let expected = expected(family);
        let (logits, hidden) = streams(&decoder, &Batch::new(ids(&expected["input_ids"])).unwrap());
        assert!(far(&logits, &expected["logits"]) < 1e-4, "{family}: logits");
        for (i, x) in hidden.iter().enumerate() {
            let off = far(x, &expected[&format!("hidden.{i}")]);
            assert!(off < 1e-4, "{family}: hidden.{i} is off by {off}");
        }
        assert!(
            !expected.contains_key(&format!("hidden.{}", hidden.len())),
            "{family}: a hidden state was not compared"
        );
    }
}

#[test]
fn greedy_continuations_are_those_of_transformers_with_and_without_a_cache() {
    for family in FAMILIES.into_iter().filter(|family| !ENCODERS.contains(family)) {
        let decoder = load(&files(), &fixture(family), &LoadSettings::default());
        let all = ids(&expected(family)["greedy"]).remove(0);
        let (start, wanted) = all.split_at(24);
        let batch = Batch::new(vec![start.to_vec()]).unwrap();
        let said = decoder.generate(
            &batch,
            &SamplingSettings::greedy(wanted.len()),
            Vec::new(),
            &mut |_, _| Ok(true),
            &Task::default(),
        );
        assert_eq!(said.unwrap(), [wanted], "{family}");
        let whole = Batch::new(vec![all.clone()]).unwrap();
        let logits = decoder.logits(&whole, Vec::new(), &Task::default()).unwrap();
        let best = ids(&logits.argmax(2).unwrap()).remove(0);
        assert_eq!(best[23..35], *wanted, "{family}");
    }
}

#[test]
fn a_text_beside_a_longer_one_is_read_as_if_alone() {
    for family in FAMILIES {
        let decoder = load(&files(), &fixture(family), &LoadSettings::default());
        let long = ids(&expected(family)["input_ids"]).remove(0);
        let short = long[3..10].to_vec();
        let logits = |rows| decoder.logits(&Batch::new(rows).unwrap(), Vec::new(), &Task::default()).unwrap();
        let alone = logits(vec![short.clone()]);
        let both = logits(vec![long, short]);
        let off = far(&alone, both.narrow(0, 1, 1).unwrap().narrow(1, 0, 7).unwrap());
        assert!(off < 1e-4, "{family}: off by {off}");
    }
}
