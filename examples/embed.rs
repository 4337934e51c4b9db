//! The library without scripts: how scripts/parenthesis_circuit.rhai begins, in Rust. Dictionaries on the residual
//! stream behind every layer of the model inside the binary are fitted to text that it wrote, and measured on other text.
//!
//! `cargo run --release --example embed`

use std::path::Path;

use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::base::{Result, Task};
use microtome::data::Text;
use microtome::data::harvest::HarvestOptions;
use microtome::data::sample::{self, Settings};
use microtome::err;
use microtome::model::{Model, load};
use microtome::sae::fit::{FitOptions, FitPlan, FitStorage, kinds, to_sites};
use microtome::sae::metrics::{MeasureOnOptions, measured_in_model};

fn main() -> Result<()> {
    let task = Task::default();
    let files = Files::new(Access::new(Path::new("out"), &Rules::default())?, false);
    let model = Model::load(&files, load::INSIDE, &load::Options::default(), &task)?;
    let written_by = (model.decoder.clone(), model.text_tokenizer()?.clone());
    let text = Text::sample("sample", written_by, Settings::default(), Some(sample::stored()?), Default::default());
    let parts = text.limited(400_000).split(&[12.0, 2.0, 2.0, 2.0, 2.0])?;
    let [to_fit, held_out, ..] = parts.as_slice() else { return Err(err!(Bug, "fewer parts than shares")) };

    let reading = HarvestOptions { context: Some(256), ..Default::default() };
    let options = FitOptions { ratio: 4.0, passes: 6.0, lr: 0.012, ..FitOptions::default() };
    let plan = FitPlan::new(kinds::TopK { k: 8 }, options);
    let fitted = to_sites((&model, &["resid_post.*"]), to_fit, &reading, &plan, &FitStorage::none(&files), &task)?;

    for found in &fitted {
        let options = MeasureOnOptions::default();
        let measures = measured_in_model(&found.sae, (&model, held_out), &reading, &options, &task)?;
        let (site, l0, fve) = (&found.sae.parts().about.sites[0], measures.l0, measures.fve.unwrap_or(f64::NAN));
        println!("{site}: L0 {l0:.1}, fraction of variance explained {fve:.3}");
    }
    Ok(())
}
