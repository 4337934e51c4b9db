//! Tests that sampled text is the same every time, stored or not.

use std::fs;
use std::time::SystemTime;

use super::*;
use crate::base::access::{Access, Rules};
use crate::base::cache::clear;
use crate::checkpoint::described;
use crate::data::{Document, Documents};
use crate::model::generate::SamplingSettings;
use crate::model::init;
use crate::watch::Watch;

const CONTEXT: usize = 12;

fn decoder() -> Arc<Decoder> {
    let config = json!({ "layers": 1, "d_model": 8, "heads": 2, "vocab": 5, "context": CONTEXT });
    let config = described::config(&config).unwrap();
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
    let choice = SamplingSettings::greedy(CONTEXT - 1);
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
        let written = TextCaches { stored, ..TextCaches::default() };
        let mut all = Passages::new(decoder(), tokenizer.clone(), settings, written, &Task::default()).unwrap();
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

/// Counts how often text was drawn.
fn times_drawn(watch: &Watch) -> usize {
    watch.begun().iter().filter(|label| *label == "drawing text").count()
}

#[test]
fn a_second_reading_finds_what_the_first_has_drawn() {
    let names = ["<end>", "(", "a", ")", "'"].map(String::from).to_vec();
    let tokenizer = Tokenizer::characters(names, Some("<end>"), None).unwrap();
    let (task, watch) = Watch::task();
    let kept = Arc::<SampledGroups>::default();
    let settings = Settings::default();
    // More than one group of rows.
    let read = |count: usize| {
        let written = TextCaches { kept: kept.clone(), ..TextCaches::default() };
        let mut all = Passages::new(decoder(), tokenizer.clone(), settings, written, &task).unwrap();
        (0..count).map(|_| all.next(&task).unwrap().unwrap()).collect::<Vec<Document>>()
    };
    let group = Sampler::new(&decoder(), 0, settings).unwrap().rows();
    let first = read(4 * group);
    let once = times_drawn(&watch);
    assert!(once >= 1);
    assert_eq!(read(4 * group), first);
    assert_eq!((times_drawn(&watch), watch.said().len()), (once, 1));
    // An interruption leaves nothing behind.
    let interrupted = Task::new(Arc::new(true.into()), watch);
    let mut all = Passages::new(decoder(), tokenizer, settings, TextCaches::default(), &task).unwrap();
    assert!(all.next(&interrupted).is_err());
    assert_eq!(all.next(&task).unwrap().unwrap(), first[0]);
}

#[test]
fn a_second_process_reads_what_the_first_has_written() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::new(&folder.path().join("out"), &Rules::default()).unwrap();
    let names = ["<end>", "(", "a", ")", "'"].map(String::from).to_vec();
    let tokenizer = Tokenizer::characters(names, Some("<end>"), None).unwrap();
    // A process has nothing in memory: what it reads, how often it draws, and what it says.
    let process = |seed: u64, fresh: bool| {
        let (task, watch) = Watch::task();
        let cache = TextCache::open(&folder.path().join("cache"), &access, fresh).unwrap().map(Arc::new);
        let written = TextCaches { cache, ..TextCaches::default() };
        let settings = Settings { seed, ..Settings::default() };
        let mut all = Passages::new(decoder(), tokenizer.clone(), settings, written, &task).unwrap();
        let read: Vec<Document> = (0..3).map(|_| all.next(&task).unwrap().unwrap()).collect();
        (read, times_drawn(&watch), watch.said())
    };
    let writes = "sample, seed 7: the model writes this text now; it is kept in the cache for the next reading";
    let (first, drawn, said) = process(7, false);
    assert_eq!((drawn, said), (1, vec![writes.to_string()]));
    assert_eq!(process(7, false), (first.clone(), 0, vec![]));
    assert_eq!(process(7, true), (first.clone(), 1, vec![writes.to_string()]));

    let texts = super::folder(&folder.path().join("cache"));
    let files = Files::new(access.clone(), false);
    let group = Sampler::new(&decoder(), 0, Settings::default()).unwrap().rows();
    let found = listed(&texts, &files);
    assert_eq!((found.len(), &found[0].words), (1, &["7", "0.85", &(group * CONTEXT).to_string()].map(String::from)));
    let place = found[0].lies.folder.join("0.text");

    // One of another seed is another text, wherever its file lies.
    let (other, drawn, _) = process(8, false);
    assert!(other != first && drawn == 1);
    let elsewhere = listed(&texts, &files).into_iter().find(|text| text.words[0] == "8").unwrap();
    let whole = fs::read(&place).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 4;
    let strange = fs::read(elsewhere.lies.folder.join("0.text")).unwrap();
    for damaged in [changed, whole[..whole.len() - 1].to_vec(), Vec::new(), strange] {
        fs::write(&place, damaged).unwrap();
        let (again, drawn, said) = process(7, false);
        assert_eq!((&again, drawn, said.len(), said[1].as_str()), (&first, 1, 2, writes));
        let line = "the cached text sample, seed 7, row 0 cannot be used, so it is written anew: ";
        assert!(said[0].starts_with(line), "{said:?}");
        assert_eq!(fs::read(&place).unwrap(), whole);
    }
    assert_eq!(clear(&texts, None, SystemTime::now()).unwrap().count, 2);
    assert!(!place.exists());
}
