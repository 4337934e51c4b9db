//! The experiment of scripts/parenthesis_circuit.rhai by the library alone: dictionaries on the residual stream behind
//! every layer of the model inside the binary, the feature that most promotes ")", its causal tree, and its evaluation.
//!
//! `cargo run --release --example embed`

use microtome::circuit::attribution::{SelectOptions, select};
use microtome::circuit::judge::{JudgeOptions, judge, labelled_language};
use microtome::circuit::sufficiency::{SufficiencyOptions, sufficiency};
use microtome::circuit::tree::{TreeOptions, causal_tree};
use microtome::features::predicting::{PredictingOptions, predicting};
use microtome::features::{describe::DescribeOptions, text_codes::FeatureTextOptions};
use microtome::prelude::*;
use microtome::report::{Item, Screen};

fn main() -> Result<()> {
    let task = Task::default();
    let files = Files::unrecorded("out".as_ref())?;
    let model = Model::load(&files, "tiny", &LoadSettings::default(), &task)?;
    let text = Text::of_tiny(&files, TextOptions { tokens: Some(400_000), ..Default::default() }, &task)?;
    // Five parts that share no document: one fits, one selects the feature, one finds the tree, one describes it, one
    // judges it.
    let parts = text.split(&[12.0, 2.0, 2.0, 2.0, 2.0])?;

    let context = Some(256);
    let plan = FitOptions { ratio: 4.0, passes: 6.0, lr: Some(0.012), ..Default::default() };
    let plan = FitPlan::new(kinds::TopK { k: 8, ..Default::default() }, plan);
    let reading = HarvestOptions { context, ..Default::default() };
    let storage = FitStorage::none(&files);
    let readings = [TextReading::new(&model, &parts[0], &reading)];
    let job = Job {
        source: Source::Text(&readings),
        target: Target::Dictionary(&["resid_post.*"]),
        plans: &[plan],
        is_sweep: false,
        storage: &storage,
    };
    let saes = job.run(&task)?.into_iter().map(|one| one.made.dictionary()).collect::<Result<Vec<Sae>>>()?;

    let text = FeatureTextOptions { context, ..Default::default() };
    let options = PredictingOptions { text: text.clone(), ..Default::default() };
    let ranking = predicting(&model, &saes[saes.len() - 1], &parts[1], &[")".into()], &options, &task)?;
    let target = ranking.feature(0)?;
    let options = TreeOptions { min_effect: 0.1, ..Default::default() };
    let mut tree = causal_tree(&model, &saes, &target, &parts[2], &options, &task)?;
    let options = DescribeOptions { text: FeatureTextOptions { tokens: 20_000, ..text }, ..Default::default() };
    let described = tree.describe(&model, &parts[3], &options, &task)?;
    let judged = judge(&model, &tree, &parts[4], Some(&labelled_language()), &JudgeOptions::default(), &task)?;
    let options = JudgeOptions { draws: 3, unrelated: 50, nodes: Some(false), ..Default::default() };
    let language = judge(&model, &tree, &labelled_language().limited(16_000), None, &options, &task)?;

    let options = SelectOptions { tokens: 20_000, ..Default::default() };
    let chosen = select(&model, &saes, &target, &parts[2], &options, &task)?;
    let options = SufficiencyOptions { sizes: vec![16, 64, 128, 256, 512, 1024], draws: 2, ..Default::default() };
    let kept = sufficiency(&model, &chosen, &[tree], &parts[4], &options, &task)?.table();

    let labels = judged.labels.map(|labels| labels.best).unwrap_or_default();
    for table in [described, judged.faithfulness, judged.necessity, labels, language.necessity, kept] {
        println!("{}", table.terminal(&Screen { width: 120, ..Default::default() })?);
    }
    println!("P falls more without the tree than without any other set: {:?}", judged.beats_random);
    Ok(())
}
