//! Cached fits are loaded bit for bit, and only under a key of the same numbers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::*;
use crate::base::access::Rules as Allowed;
use crate::base::cache::{ClearedFolders, clear};
use crate::base::files::Files;
use crate::base::random::stream;
use crate::data::harvest::{HarvestOptions, Skipped, TextReading};
use crate::data::{Text, text};
use crate::fixtures;
use crate::model::Model;
use crate::model::config::Config;
use crate::sae::fit::tests::kind;
use crate::sae::fit::{self, AuxK, Dead, EncoderProducts, ErrorNormalisation, FitRun, OfTensor, Recipe, follows};
use crate::sae::{About, Activation};
use crate::tensor::{DType, create};
use crate::tokenizer::Tokenizer;
use crate::training::{Schedule, ScheduleShape};

fn model(config: Config) -> Model {
    let letters = (b'a'..=b'z').map(|letter| char::from(letter).to_string());
    let tokenizer = Tokenizer::characters(letters.collect(), None, None).unwrap();
    let decoder = fixtures::decoder(Config { vocab: 26, context: 8, ..config }, DType::F32);
    Model::new(decoder, Some(tokenizer), "sample")
}

fn plain() -> Model {
    model(fixtures::config())
}

fn words(words: &[&str], tokens: Option<u64>) -> Text {
    let options = text::TextOptions { tokens, ..text::TextOptions::default() };
    Text::given(words.iter().map(ToString::to_string).collect(), options).unwrap()
}

fn reads(model: &Model, text: &Text, options: &HarvestOptions) -> ReadingKey {
    let task = Task::default();
    let reading = TextReading::new(model, text, options);
    ReadingKey::new(reading, reading.harvest(&["resid_post.*"], &task).unwrap(), &task).unwrap()
}

fn recipe(name: &str, options: Value) -> Recipe {
    let kind = kind(name, options);
    Recipe {
        unit: kind.properties().likes_unit,
        steps: 6,
        schedule: Schedule { shape: ScheduleShape::Trapezoid, warmup: 1, decay: 2, floor: 0.0 },
        dead: Dead::AuxK(AuxK { k: 2, weight: 1.0 / 3.0, most: usize::MAX }),
        follows: follows(6),
        seed: 3,
        ..fit::tests::recipe(kind, ErrorNormalisation::Normalised)
    }
}

fn topk() -> Recipe {
    recipe("topk", json!({ "k": 2 }))
}

const ROWS: RowOrder = RowOrder { site: "resid_post.0", at_once: 512, buffer: None, seed: 3 };

fn key(recipe: &Recipe) -> FitKey {
    FitKey::new(&reads(&plain(), &words(&["abcdefgh", "hgfedcba"], None), &HarvestOptions::default()), &ROWS, recipe)
}

fn fitted(recipe: &Recipe) -> (FitProduct, FitHistory) {
    let x = create::randn(&[64, 5], DType::F32, &mut stream(1, "x", 0)).unwrap();
    let rows = Box::new(OfTensor::new(&x, 3).unwrap());
    let about = About { models: vec!["sample".into()], sites: vec!["resid_post.0".into()], ..About::default() };
    let task = Task::default();
    let run = FitRun::new(vec![(recipe.clone(), None)], rows, None, &task).unwrap();
    let found = run.run(&about, &task).unwrap().remove(0);
    (found.made, found.history)
}

fn access(folder: &Path, rules: Allowed) -> Access {
    Access::new(&folder.join("out"), &rules).unwrap()
}

fn cache(folder: &Path) -> DictionaryCache {
    DictionaryCache::open(&folder.join("cache"), &access(folder, Allowed::default())).unwrap().unwrap()
}

/// Returns every number of a dictionary by its bits, and its metadata.
fn bits(made: &FitProduct) -> (Vec<Vec<u32>>, String) {
    let sae = made.clone().dictionary().unwrap();
    let parts = sae.parts();
    let mut all = vec![&parts.encoder, &parts.decoder];
    all.extend(parts.encoder_bias.as_ref().into_iter().chain(&parts.decoder_bias).chain(&parts.skip));
    match &parts.activation {
        Activation::Threshold(threshold) => all.push(threshold),
        Activation::Gated { gate, magnitude, log_scale } => all.extend([gate, magnitude, log_scale]),
        _ => {}
    }
    let of = |t: &crate::tensor::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let bits = all.into_iter().map(|t| of(t).into_iter().map(f32::to_bits).collect()).collect();
    (bits, format!("{:?} {} {} {:?}", parts.activation.name(), parts.centred, parts.rescaled, parts.about))
}

#[test]
fn what_is_found_is_what_was_kept_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path());
    let task = Task::default();
    for (name, options) in [
        ("topk", json!({ "k": 2 })),
        ("batch_topk", json!({ "k": 2 })),
        ("matryoshka", json!({ "k": 2, "prefixes": [4, 12] })),
        ("tied", json!({ "l1": 0.03 })),
        ("gated", json!({ "l1": 0.03 })),
        ("jumprelu", json!({ "l0": 0.1, "threshold": 0.05, "bandwidth": 0.2 })),
    ] {
        let recipe = recipe(name, options);
        let key = key(&recipe);
        let (sae, history) = fitted(&recipe);
        assert!(cache.find(&key, &task).unwrap().is_none());
        cache.put(&key, &sae, &history).unwrap();
        let found = cache.find(&key, &task).unwrap().unwrap();
        assert_eq!(bits(&found.made), bits(&sae), "{name}");
        assert_eq!((found.history.steps.len(), &found.history), (6, &history), "{name}");
    }
}

#[test]
fn a_key_is_of_all_that_the_numbers_depend_on_and_of_nothing_else() {
    let text = words(&["abcdefgh", "hgfedcba"], None);
    let plain = plain();
    let of = |model: &Model, text: &Text, options: &HarvestOptions| {
        FitKey::new(&reads(model, text, options), &ROWS, &topk()).hash().to_string()
    };
    let base = of(&plain, &text, &HarvestOptions::default());
    let moved = Model { origin: "elsewhere".into(), ..plain.clone() };
    assert_eq!(of(&moved, &text, &HarvestOptions::default()), base);

    let mut all = BTreeSet::from([base]);
    let mut is_new = |what: &str, hash: String| assert!(all.insert(hash), "{what}");
    let deeper = model(Config { norm_eps: 1e-6, ..fixtures::config() });
    is_new("another config", of(&deeper, &text, &HarvestOptions::default()));
    is_new("other tokens", of(&plain, &words(&["abcdefgh", "hgfedcbb"], None), &HarvestOptions::default()));
    is_new("fewer tokens", of(&plain, &words(&["abcdefgh", "hgfedcba"], Some(8)), &HarvestOptions::default()));
    is_new("another context", of(&plain, &text, &HarvestOptions { context: Some(4), ..HarvestOptions::default() }));
    let keep = Skipped { without_first: 1, ..Skipped::default() };
    is_new("other positions", of(&plain, &text, &HarvestOptions { skip: keep, ..HarvestOptions::default() }));

    let reads = reads(&plain, &text, &HarvestOptions::default());
    for (what, rows) in [
        ("another site", RowOrder { site: "resid_post.1", ..ROWS }),
        ("other batches", RowOrder { at_once: 256, ..ROWS }),
        ("a buffer", RowOrder { buffer: Some(8), ..ROWS }),
        ("another order", RowOrder { seed: 4, ..ROWS }),
    ] {
        is_new(what, FitKey::new(&reads, &rows, &topk()).hash().to_string());
    }
    for (what, recipe) in [
        ("k", recipe("topk", json!({ "k": 3 }))),
        ("kind", recipe("batch_topk", json!({ "k": 2 }))),
        ("seed", Recipe { seed: 4, ..topk() }),
        ("lr", Recipe { lr: 1.1e-2, ..topk() }),
        ("steps", Recipe { steps: 7, ..topk() }),
        ("dead", Recipe { dead: Dead::Leave, ..topk() }),
        ("products", Recipe { compute: EncoderProducts::Bf16, ..topk() }),
    ] {
        is_new(what, FitKey::new(&reads, &ROWS, &recipe).hash().to_string());
    }
    is_new("d_sae", FitKey::new(&reads, &ROWS, &Recipe { d_sae: 13, ..topk() }).hash().to_string());
}

#[test]
fn no_byte_of_a_file_can_be_another() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path());
    let task = Task::default();
    let key = key(&topk());
    let (sae, history) = fitted(&topk());
    cache.put(&key, &sae, &history).unwrap();
    let place = cache.place(&key);
    let whole = fs::read(&place).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 40).chain([whole.len() - 1]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&place, bytes).unwrap();
        assert!(cache.find(&key, &task).is_err(), "byte {at}");
    }
    for length in [0, 10, 64, 65, whole.len() / 2, whole.len() - 1] {
        fs::write(&place, &whole[..length]).unwrap();
        assert!(cache.find(&key, &task).is_err(), "{length} bytes");
    }
    // One that lies under the key of another is none of it.
    let other = self::key(&Recipe { seed: 9, ..topk() });
    fs::create_dir_all(cache.place(&other).parent().unwrap()).unwrap();
    fs::write(cache.place(&other), &whole).unwrap();
    let error = cache.find(&other, &task).unwrap_err();
    assert_eq!(error.message, "expected the dictionary of this key, found another");
    cache.put(&key, &sae, &history).unwrap();
    assert_eq!(fs::read(&place).unwrap(), whole);
}

#[test]
fn two_processes_keep_side_by_side_and_never_half() {
    let folder = tempfile::tempdir().unwrap();
    let one = cache(folder.path());
    let other = cache(folder.path());
    let task = Task::default();
    let (sae, history) = fitted(&topk());
    let same = key(&topk());
    let another = key(&Recipe { seed: 9, ..topk() });
    other.0.files.lock(one.place(&same).parent().unwrap()).unwrap();
    assert!(one.put(&same, &sae, &history).unwrap_err().message.contains("another run"));
    assert!(one.find(&same, &task).unwrap().is_none());
    one.put(&another, &sae, &history).unwrap();
    other.put(&same, &sae, &history).unwrap();
    assert!(one.find(&same, &task).unwrap().is_some());
    // The lock is given back at once, however long the run goes on.
    one.put(&same, &sae, &history).unwrap();
    let left = fs::read_dir(one.place(&same).parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "nothing but the dictionary");
}

#[test]
fn the_rules_of_a_run_hold_for_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let kept = super::folder(&cache);
    let open = |rules: Allowed| DictionaryCache::open(&cache, &access(folder.path(), rules)).unwrap().is_some();
    assert!(open(Allowed::default()));
    // As for the output folder, a denial of the user's holds however short it is.
    assert!(!open(Allowed { deny_write: vec![folder.path().into()], ..Allowed::default() }));
    assert!(!open(Allowed { deny_write: vec![kept.clone()], ..Allowed::default() }));
    assert!(!open(Allowed { deny_read: vec![cache.clone()], ..Allowed::default() }));
}

#[test]
fn what_is_kept_is_listed_and_cleared_by_its_last_use() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path());
    let files = Files::new(access(folder.path(), Allowed::default()), false);
    let (sae, history) = fitted(&topk());
    let old = key(&topk());
    let new = key(&Recipe { seed: 9, ..topk() });
    cache.put(&old, &sae, &history).unwrap();
    cache.put(&new, &sae, &history).unwrap();
    let now = SystemTime::now();
    let before = now - Duration::from_secs(9 * 24 * 60 * 60);
    fs::File::options().append(true).open(cache.place(&old)).unwrap().set_modified(before).unwrap();
    fs::create_dir_all(cache.0.folder.join("mine")).unwrap();
    fs::create_dir_all(cache.0.folder.join("a".repeat(64))).unwrap();
    let found = listed(&cache.0.folder, &files);
    assert_eq!(found.len(), 3);
    let words = ["topk of 12", "resid_post.0", "sample", "given texts"];
    assert_eq!(found.iter().filter(|one| one.words == words).count(), 2);
    assert!(found.iter().any(|one| one.words[0].starts_with("damaged: cannot read")), "{found:?}");
    assert_eq!(found.last().unwrap().lies.used, SystemTime::UNIX_EPOCH, "what was used last comes first");

    // The one in use, and a folder that is not ours, stay.
    fs::remove_dir(cache.0.folder.join("a".repeat(64))).unwrap();
    assert_eq!(clear(&cache.0.folder, Some(9), now).unwrap().count, 1);
    assert!(!cache.place(&old).exists() && cache.place(&new).exists());
    assert_eq!(clear(&cache.0.folder, Some(9), now).unwrap(), ClearedFolders::default());
    let cleared = clear(&cache.0.folder, None, now).unwrap();
    assert!(cleared.count == 1 && cleared.bytes > 1000);
    assert!(!cache.place(&new).exists() && cache.0.folder.join("mine").exists());
}
