//! Every family computes what its reference library computes, from files as they are published.

mod candle;
mod files;
mod hostile;
mod older;
mod sites;
mod sources;

use files::{FAMILIES, expected, files, fixture, floats, ids, load};
use microtome::base::Task;
use microtome::model::batch::Batch;
use microtome::model::decoder::Decoder;
use microtome::model::generate::Choice;
use microtome::model::load::Options;
use microtome::model::run::Ask;
use microtome::model::site::{self, Kind, Place, Site};
use microtome::tensor::Tensor;

/// The largest difference of two tensors of one shape.
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    floats(a).iter().zip(floats(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The logits and the stream before each block, the last one behind the final norm.
fn streams(decoder: &Decoder, batch: &Batch) -> (Tensor, Vec<Tensor>) {
    let places = ["resid_pre.*", "final_norm"].iter().flat_map(|name| site::select(decoder.config(), name).unwrap());
    let ask = Ask { places: places.collect(), ..Ask::default() };
    let run = decoder.run(batch, ask, &Task::default()).unwrap();
    (run.logits, run.cache.iter().map(|(_, x)| x.clone()).collect())
}

#[test]
fn logits_and_every_hidden_state_are_those_of_transformers() {
    for family in FAMILIES {
        let decoder = load(&files(), &fixture(family), &Options::default());
        let expected = expected(family);
        let (logits, hidden) = streams(&decoder, &Batch::new(ids(&expected["input_ids"])).unwrap());
        assert!(distance(&logits, &expected["logits"]) < 1e-4, "{family}: logits");
        for (i, x) in hidden.iter().enumerate() {
            let off = distance(x, &expected[&format!("hidden.{i}")]);
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
    for family in FAMILIES {
        let decoder = load(&files(), &fixture(family), &Options::default());
        let all = ids(&expected(family)["greedy"]).remove(0);
        let (start, wanted) = all.split_at(24);
        let batch = Batch::new(vec![start.to_vec()]).unwrap();
        let said =
            decoder.generate(&batch, &Choice::greedy(wanted.len()), Vec::new(), &mut |_, _| Ok(true), &Task::default());
        assert_eq!(said.unwrap(), [wanted], "{family}");
        let whole = Batch::new(vec![all.clone()]).unwrap();
        let logits = decoder.logits(&whole, Vec::new(), &Task::default()).unwrap();
        let best = ids(&logits.argmax(2).unwrap()).remove(0);
        assert_eq!(best[23..35], *wanted, "{family}");
    }
}

#[test]
fn every_family_has_all_of_its_sites_and_its_stream_adds_up() {
    for family in FAMILIES {
        let decoder = load(&files(), &fixture(family), &Options::default());
        let config = decoder.config();
        let places: Vec<Place> = Site::all(config).into_iter().map(|site| Place { site, head: None }).collect();
        let rows = ids(&expected(family)["input_ids"]);
        let short = rows[0][3..10].to_vec();
        let texts = Batch::new(vec![rows[0].clone(), short.clone()]).unwrap();
        let ask = Ask { places: places.clone(), ..Ask::default() };
        let run = decoder.run(&texts, ask, &Task::default()).unwrap();
        assert_eq!(run.cache.iter().map(|(place, _)| *place).collect::<Vec<_>>(), places, "{family}");
        for layer in 0..config.layers {
            let at = |kind| run.cache.at(Place { site: Site::new(kind, layer), head: None }).unwrap();
            let sum = ((at(Kind::ResidPre) + at(Kind::AttnOut)).unwrap() + at(Kind::MlpOut)).unwrap();
            let off = distance(&sum, &at(Kind::ResidPost));
            assert!(off < 1e-4, "{family}: layer {layer} is off by {off}");
        }
        let alone = decoder.logits(&Batch::new(vec![short]).unwrap(), Vec::new(), &Task::default()).unwrap();
        let off = distance(&alone, &run.logits.narrow(0, 1, 1).unwrap().narrow(1, 0, 7).unwrap());
        assert!(off < 1e-4, "{family}: a text beside a longer one is off by {off}");
    }
}
