//! Sentences: suppression, vertical scores and kurtosis of a model, as a program of NumPy computes them
//! (`tests/fixtures/sentences/make.py`); and which families have such.

use super::files::{floats, tensors};
use super::{ENCODERS, FAMILIES, files, fixture, load};
use kit::assert_near;
use microtome::base::Task;
use microtome::checkpoint::load::LoadSettings;
use microtome::intervene::sentences::{ReceiverOptions, Sentence, SentenceOptions, Sentences, of_sentences};
use microtome::model::Model;

fn read(family: &str, ids: &[u32], ends: &[usize], apart: usize) -> microtome::base::Result<Sentences> {
    let model = Model::new(load(&files(), &fixture(family), &LoadSettings::default()), None, "made");
    let starts = std::iter::once(&1).chain(ends);
    let sentence = |(start, end): (&usize, &usize)| Sentence { text: String::new(), tokens: *start..*end };
    let found = ReceiverOptions { heads: 5, apart };
    let options = SentenceOptions { found, ..SentenceOptions::default() };
    of_sentences(&model, ids, starts.zip(ends).map(sentence).collect(), &options, &Task::default())
}

#[test]
fn sentences_are_as_another_program_reads_them() {
    let expected = tensors(&kit::fixture("sentences").join("expected.safetensors"));
    let whole = |name: &str| floats(&expected[name]).into_iter().map(|number| number as usize).collect::<Vec<_>>();
    let ids: Vec<u32> = whole("ids").into_iter().map(|id| id as u32).collect();
    let found = read("llama", &ids, &whole("ends"), 2).unwrap();
    assert_near(&found.log_kl, floats(&expected["log_kl"]), 1e-3);
    let mut suppression = floats(&expected["suppression"]);
    suppression[0] = f64::NAN;
    assert_near(&found.suppression().values, &suppression, 1e-3);
    let vertical: Vec<f64> = found.heads.iter().flat_map(|head| head.vertical.clone()).collect();
    assert_near(&vertical, floats(&expected["vertical"]), 1e-6);
    let kurtosis: Vec<f64> = found.heads.iter().map(|head| head.kurtosis).collect();
    let theirs = floats(&expected["kurtosis"]);
    assert_near(&kurtosis, &theirs, 1e-3);
    let mut order: Vec<usize> = (0..theirs.len()).collect();
    order.sort_by(|a, b| theirs[*b].total_cmp(&theirs[*a]));
    assert_eq!(found.receivers, order[..5]);
}

#[test]
fn every_family_whose_tokens_meet_in_attention_alone_has_sentences() {
    let ids: Vec<u32> = (0..24).map(|at| 3 + (at * 37) % 200).collect();
    for family in FAMILIES {
        match read(family, &ids, &[6, 12, 18, 24], 1) {
            Ok(found) => {
                assert!(!ENCODERS.contains(&family), "{family}");
                let below: Vec<f64> = [4, 8, 9, 12, 13, 14].map(|at| found.log_kl[at]).into();
                assert!(below.iter().all(|value| value.is_finite()), "{family}: {below:?}");
            }
            Err(error) => {
                let told = error.message.as_str();
                let is_refused = told.contains("predicts masked tokens") || told.contains("by attention alone");
                assert!(is_refused, "{family}: {error:?}");
            }
        }
    }
}
