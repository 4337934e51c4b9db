//! The survey of all features of a dictionary in one pass, beside the harvest that feeds it.

use std::ops::ControlFlow;
use std::process::Command;
use std::time::Duration;

use microtome::base::Task;
use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::data::Text;
use microtome::data::harvest::{Block, HarvestOptions, Streamed, TextReading};
use microtome::features::Survey;
use microtome::features::survey::KeptPositions;
use microtome::model::{Model, load};
use microtome::sae::Sae;
use microtome::script::Session;
use microtome::script::engine::env::Env;

use super::common::{Rows, timed};
use super::most_memory::most_memory;
use super::peers::rate;
use super::{human, made};

const CHILD: &str = "MICROTOME_BENCH_SURVEY";
const TOKENS: usize = 500_000;
const FEATURES: usize = 1536;
const CODES: usize = 24;
const SITE: &str = "resid_post.3";
const RUNS: usize = 3;

pub const SENTENCE: &str = "The pass over text reads 500,000 tokens that the embedded model wrote, and keeps of each of 1,536 \
    features of a random top-k dictionary (24 codes a row) on `resid_post.3` its strongest contexts, contexts drawn among all, \
    and its histograms; beside it stands the harvest of the same activations that keeps nothing, each in a process of its \
    own, the median of three runs after one that does not count.";

pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs the part that the parent requests, and prints its seconds and the peak memory of this process.
pub fn print() {
    let (model, text) = model_and_text();
    let sae = made::dictionary(SITE, model.decoder.config().d_model, FEATURES, CODES, 0);
    let is_survey = std::env::var(CHILD).is_ok_and(|part| part == "survey");
    let run = || if is_survey { survey(&model, &sae, &text) } else { harvest(&model, &text) };
    let time = timed(run, RUNS);
    println!("{} {}", time.as_secs_f64(), most_memory().unwrap_or_default());
}

fn model_and_text() -> (Model, Text) {
    let files = Files::new(Access::new(&std::env::temp_dir(), &Rules::default()).unwrap(), false);
    let model = Model::load(&files, load::INSIDE, &load::Loading::default(), &Task::default()).unwrap();
    let mut session = Session::new(Env::in_memory(&std::env::temp_dir().join("microtome-bench")).unwrap());
    let code = format!("data::text(\"sample\", #{{ tokens: {TOKENS}, seed: 0 }})");
    (model, session.eval("bench", &code).unwrap().cast::<Text>())
}

fn survey(model: &Model, sae: &Sae, text: &Text) {
    let found = Survey::of(
        model,
        std::slice::from_ref(sae),
        text,
        &HarvestOptions::default(),
        KeptPositions::default(),
        &Task::default(),
    );
    assert!(found.unwrap().positions > TOKENS as u64 / 2);
}

fn harvest(model: &Model, text: &Text) {
    let task = Task::default();
    let harvest = TextReading::new(model, text, &HarvestOptions::default()).harvest(&[SITE], &task).unwrap();
    let mut kept = 0;
    let mut sink = Streamed(|block: Block| {
        kept += block.len();
        Ok(ControlFlow::Continue(()))
    });
    harvest.run(&mut sink, &task).unwrap();
    assert!(kept > TOKENS / 2);
}

/// The time of a part, and the peak memory of its process.
fn measured(part: &str) -> (Duration, Option<u64>) {
    let output = Command::new(std::env::current_exe().unwrap()).env(CHILD, part).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let (time, most) = said.trim().split_once(' ').unwrap();
    (Duration::from_secs_f64(time.parse().unwrap()), most.parse().ok().filter(|most| *most > 0))
}

pub fn rows(rows: &mut Rows) {
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
