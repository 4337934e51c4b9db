//! The survey of all features of a dictionary in one pass, beside the harvest that feeds it.

use std::ops::ControlFlow;

use microtome::base::Task;
use microtome::base::files::Files;
use microtome::checkpoint::load;
use microtome::data::Text;
use microtome::data::harvest::{ActivationBlock, FunctionSink, HarvestOptions, TextReading};
use microtome::features::Survey;
use microtome::features::survey::KeptPositions;
use microtome::model::Model;
use microtome::sae::Sae;
use microtome::script::Session;
use microtome::script::engine::env::Env;

use super::common::child::time_and_memory;
use super::common::{Rows, anywhere, most_memory, rate, timed};
use super::{human, made};

const TOKENS: usize = 500_000;
const FEATURES: usize = 1536;
const CODES: usize = 24;
const SITE: &str = "resid_post.3";
const RUNS: usize = 3;

pub const SENTENCE: &str = "The pass over text reads 500,000 tokens that the embedded model wrote, and keeps of each of 1,536 \
    features of a random top-k dictionary (24 codes a row) on `resid_post.3` its strongest contexts, contexts drawn among all, \
    and its histograms; beside it stands the harvest of the same activations that keeps nothing, each in a process of its \
    own, the median of three runs after one that does not count.";

/// Runs the part that the parent requests, and prints its seconds and the peak memory of this process.
pub fn print(part: &str) {
    let (model, text) = model_and_text();
    let sae = made::dictionary(SITE, model.decoder.config().d_model, FEATURES, CODES, 0);
    let run = || if part == "survey" { survey(&model, &sae, &text) } else { harvest(&model, &text) };
    let time = timed(run, RUNS);
    println!("{} {}", time.as_secs_f64(), most_memory().unwrap_or_default());
}

fn model_and_text() -> (Model, Text) {
    let files = Files::unrecorded(&std::env::temp_dir()).unwrap();
    let model = Model::load(&files, load::INSIDE, &load::LoadSettings::default(), &Task::default()).unwrap();
    let mut session = Session::new(Env::in_memory(&anywhere()).unwrap());
    let code = format!("data::text(\"sample\", #{{ tokens: {TOKENS}, seed: 0 }})");
    (model, session.eval("bench", &code).unwrap().cast::<Text>())
}

fn survey(model: &Model, sae: &Sae, text: &Text) {
    let options = HarvestOptions::default();
    let reading = TextReading::new(model, text, &options);
    let found = Survey::of(std::slice::from_ref(sae), reading, KeptPositions::default(), &Task::default());
    assert!(found.unwrap().positions > TOKENS as u64 / 2);
}

fn harvest(model: &Model, text: &Text) {
    let task = Task::default();
    let harvest = TextReading::new(model, text, &HarvestOptions::default()).harvest(&[SITE], &task).unwrap();
    let mut kept = 0;
    let mut sink = FunctionSink(|block: ActivationBlock| {
        kept += block.len();
        Ok(ControlFlow::Continue(()))
    });
    harvest.run(&mut sink, &task).unwrap();
    assert!(kept > TOKENS / 2);
}

pub fn rows(rows: &mut Rows) {
    let measured = |part| {
        let (time, most) = time_and_memory(part, &anywhere());
        (time, Some(most).filter(|most| *most > 0))
    };
    let [(harvest, harvest_most), (survey, survey_most)] = ["harvest", "survey"].map(measured);
    let share = harvest.as_secs_f64() / survey.as_secs_f64();
    rows.push(("harvest alone".into(), rate(TOKENS, harvest)));
    rows.push(("peak memory of its process".into(), human(harvest_most)));
    rows.push((
        format!("contexts and histograms of {FEATURES} features"),
        format!("{} ({share:.2} of the speed of the harvest)", rate(TOKENS, survey)),
    ));
    rows.push(("peak memory of its process".into(), human(survey_most)));
}
