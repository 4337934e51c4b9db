//! Examples of the front pages of `cargo doc`: each is code of this file, which is compiled and run.
//!
//! Doc comments are not tested themselves, since the code in those of bindings is Rhai (Cargo.toml).

use std::path::Path;

use kernels as microtome_kernels;
use microtome_methods as microtome_core;

/// Files whose documentation has an example.
const PAGES: &[&str] = &[
    "methods/src/lib.rs",
    "methods/src/data/mod.rs",
    "methods/src/sae/mod.rs",
    "methods/src/intervene/mod.rs",
    "methods/src/features/mod.rs",
    "methods/src/circuit/mod.rs",
    "core/src/lib.rs",
    "core/src/base/mod.rs",
    "core/src/tensor/mod.rs",
    "core/src/training/mod.rs",
    "core/src/probes/mod.rs",
    "core/src/model/mod.rs",
    "kernels/src/lib.rs",
];

/// Returns the lines of the examples in a file's own documentation, without their indentation; hidden lines are left out.
fn examples(page: &str) -> Vec<Vec<&str>> {
    let mut found: Vec<Vec<&str>> = Vec::new();
    let mut is_code = false;
    for line in page.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim) {
        if line.starts_with("```") {
            is_code = line == "```rust,no_run";
            found.extend(is_code.then(Vec::new));
        } else if is_code && !line.starts_with("# ") {
            found.last_mut().unwrap().push(line);
        }
    }
    found
}

#[test]
fn examples_of_the_front_pages_are_those_of_this_file() {
    let here: Vec<&str> = include_str!("front_pages.rs").lines().map(str::trim).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in PAGES {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        let found = examples(&text);
        assert!(!found.is_empty(), "{page} has no example");
        for example in found {
            let is_here = here.windows(example.len()).any(|lines| lines == example);
            assert!(is_here, "not compiled in this file, from {page}:\n{}", example.join("\n"));
        }
    }
}

#[test]
fn an_attention_layer_is_ablated() -> microtome_methods::base::Result<()> {
    use microtome_methods::model::predict::predicted;
    use microtome_methods::prelude::*;

    let task = Task::default();
    let files = Files::unrecorded("out".as_ref())?;
    let model = Model::load(&files, "tiny", &LoadSettings::default(), &task)?;

    let tokens = model.tokenizer()?.encode("The committee (which had met in March", None, &task)?;
    let batch = Batch::new(vec![tokens.ids])?;
    let likely = predicted(&model.decoder, &batch, -1, 5, Vec::new(), &task)?;
    assert_eq!(likely[0].id, model.token(&TokenName::Text(")".into()), &task)?);
    assert!(likely[0].probability > 0.9);

    let config = model.decoder.config();
    let ablated = BoundHook::new(config, "attn_out.3", None, None, Box::new(Action::Zero.begin()))?;
    let without = predicted(&model.decoder, &batch, -1, 5, vec![ablated], &task)?;
    assert_ne!(without[0].id, likely[0].id);
    Ok(())
}

#[test]
fn a_text_is_split_and_pairs_are_drawn() -> microtome_methods::base::Result<()> {
    use microtome_methods::data::pack::gathered;
    use microtome_methods::data::pairs::{PairOptions, pairs};
    use microtome_methods::prelude::*;

    let task = Task::default();
    let files = Files::unrecorded("out".as_ref())?;
    let model = Model::load(&files, "tiny", &LoadSettings::default(), &task)?;

    // A text that the model wrote, in two parts that share no document.
    let text = Text::of_tiny(&files, TextOptions::default(), &task)?;
    let parts = text.split(&[3.0, 1.0])?;
    let rows = gathered(&parts[0], model.tokenizer()?, 64, Some(8), &task, |row| Ok(row.ids))?;
    assert_eq!((rows.len(), rows[0].len()), (8, 64));

    // Prompts that a bracket closes, each beside one in which none is open.
    let drawn = pairs("parenthesis", &PairOptions { n: 4, ..Default::default() }, &task)?;
    assert!(drawn.iter().all(|pair| pair.clean.contains('(') && !pair.corrupt.contains('(')));
    Ok(())
}

#[test]
fn activations_are_patched() -> microtome_methods::base::Result<()> {
    use microtome_methods::data::pairs::PairOptions;
    use microtome_methods::data::pairs::tokens::{PairTokenOptions, token_pairs};
    use microtome_methods::intervene::grid::{GridBy, GridOptions, grid};
    use microtome_methods::prelude::*;

    let task = Task::default();
    let files = Files::unrecorded("out".as_ref())?;
    let model = Model::load(&files, "tiny", &LoadSettings::default(), &task)?;

    // Pairs of prompts of one length, and where in the model their difference is, by activation patching.
    let form = PairTokenOptions { same_length: true, ..Default::default() };
    let options = PairOptions { n: 4, ..Default::default() };
    let drawn = token_pairs("parenthesis", &options, &form, model.tokenizer()?, &task)?;
    let pairs: Vec<TokenPair> = drawn.into_iter().map(|(_, tokens)| tokens).collect();
    let by_layer = GridOptions { by: GridBy::Layer, ..Default::default() };
    let effects = grid(&model, &pairs, Measure::LogitDiff, true, &[], &by_layer, &task)?;

    // The embeddings have all of it.
    assert!((effects.values[0] - 1.0).abs() < 1e-3);
    Ok(())
}

mod dictionaries {
    use microtome_methods::model::site::select;
    use microtome_methods::prelude::*;

    /// Fits a top-k dictionary at each of these sites.
    fn fitted(model: &Model, sites: &[&str], text: &Text, files: &Files, task: &Task) -> Result<Vec<Sae>> {
        let options = FitOptions { ratio: 2.0, steps: Some(10), batch: 512, ..Default::default() };
        let plans = [FitPlan::new(kinds::TopK { k: 8, ..Default::default() }, options)];
        let reading = HarvestOptions { context: Some(64), ..Default::default() };
        let storage = FitStorage::none(files);
        let readings = [TextReading::new(model, text, &reading)];
        let source = Source::Text(&readings);
        let target = Target::Dictionary(sites);
        let job = Job { source, target, plans: &plans, is_sweep: false, storage: &storage };
        job.run(task)?.into_iter().map(|one| one.made.dictionary()).collect()
    }

    /// Computes the activations of a dictionary's features, `[1, pos, features]`, where the model reads these tokens.
    fn codes(model: &Model, sae: &Sae, tokens: Tokens, task: &Task) -> Result<Tensor> {
        let site = &sae.parts().about.sites[0].name;
        let ask = Ask { places: select(model.decoder.config(), site)?, ..Default::default() };
        let cache = model.decoder.cache(&Batch::new(vec![tokens.ids])?, ask, task)?;
        sae.encode(&cache.get(site)?)
    }

    /// Returns the model inside, and a short text of its own.
    fn tiny(files: &Files, task: &Task) -> Result<(Model, Text)> {
        let options = TextOptions { tokens: Some(512), ..Default::default() };
        Ok((Model::load(files, "tiny", &LoadSettings::default(), task)?, Text::of_tiny(files, options, task)?))
    }

    fn files() -> Result<Files> {
        Files::unrecorded("out".as_ref())
    }

    #[test]
    fn a_dictionary_is_fitted() -> Result<()> {
        let files = files()?;
        let task = Task::default();
        let (model, text) = tiny(&files, &task)?;
        let saes = fitted(&model, &["resid_post.3"], &text, &files, &task)?;
        let tokens = model.tokenizer()?.encode("The committee (which", None, &task)?;
        let count = tokens.len();
        assert_eq!(codes(&model, &saes[0], tokens, &task)?.dims(), [1, count, saes[0].d_sae()]);
        Ok(())
    }

    mod composed {
        use candle_core::{Module, Tensor};
        use microtome_methods::prelude::Sae;

        /// Computes what a module's dictionary misses of what the module writes.
        fn missed(module: &impl Module, sae: &Sae, x: &Tensor) -> candle_core::Result<Tensor> {
            let written = x.apply(module)?;
            &written - written.apply(sae)?
        }

        #[test]
        fn a_dictionary_is_a_module() -> microtome_methods::base::Result<()> {
            let sae = microtome_methods::sae::baselines::identity(2)?;
            let x = Tensor::new(&[[1f32, -2.0]], &candle_core::Device::Cpu)?;
            assert_eq!(missed(&|x: &Tensor| x * 2.0, &sae, &x)?.to_vec2::<f32>()?, [[0.0, 0.0]]);
            assert!(x.narrow(1, 0, 1)?.apply(&sae).is_err());
            Ok(())
        }
    }

    mod features {
        use microtome_methods::features::overview::OverviewOptions;
        use microtome_methods::features::predicting::{PredictingOptions, predicting};
        use microtome_methods::prelude::*;

        /// Makes the card of the feature of a dictionary that promotes ")" most in a text.
        fn closing(model: &Model, sae: &Sae, text: &Text, task: &Task) -> Result<FeatureCard> {
            let options = PredictingOptions { candidates: 4, ..Default::default() };
            let ranking = predicting(model, sae, text, &[")".into()], &options, task)?;
            let overview = Overview::of(model, vec![sae.clone()], text, OverviewOptions::default(), task)?;
            overview.card(model, 0, ranking.feature(0)?.index, task)
        }

        #[test]
        fn a_feature_has_a_card() -> Result<()> {
            let files = super::files()?;
            let task = Task::default();
            let (model, text) = super::tiny(&files, &task)?;
            let saes = super::fitted(&model, &["resid_post.5"], &text, &files, &task)?;
            let card = closing(&model, &saes[0], &text, &task)?;
            assert_eq!(card.site, "resid_post.5");
            Ok(())
        }
    }

    mod circuit {
        use microtome_methods::circuit::tree::{TreeOptions, causal_tree};
        use microtome_methods::features::predicting::{PredictingOptions, predicting};
        use microtome_methods::prelude::*;

        /// Finds the features on which the one that promotes ")" most depends, in dictionaries of several layers.
        fn closing(model: &Model, saes: &[Sae], text: &Text, task: &Task) -> Result<Circuit> {
            let last = &saes[saes.len() - 1];
            let options = PredictingOptions { candidates: 4, ..Default::default() };
            let ranking = predicting(model, last, text, &[")".into()], &options, task)?;
            let options = TreeOptions { contexts: 4, children: 2, ..Default::default() };
            causal_tree(model, saes, &ranking.feature(0)?, text, &options, task)
        }

        #[test]
        fn a_tree_is_found() -> Result<()> {
            let files = super::files()?;
            let task = Task::default();
            let (model, text) = super::tiny(&files, &task)?;
            let saes = super::fitted(&model, &["resid_post.4", "resid_post.5"], &text, &files, &task)?;
            let circuit = closing(&model, &saes, &text, &task)?;
            assert_eq!(circuit.graph.nodes[0].site, "resid_post.5");
            Ok(())
        }
    }
}

#[test]
fn activations_are_recorded() -> microtome_core::base::Result<()> {
    use microtome_core::base::files::Files;
    use microtome_core::base::{Error, Task};
    use microtome_core::checkpoint::load::LoadSettings;
    use microtome_core::model::Model;
    use microtome_core::model::batch::Batch;
    use microtome_core::model::run::Ask;
    use microtome_core::model::site::select;

    let task = Task::default();
    let files = Files::unrecorded("out".as_ref())?;
    let model = Model::load(&files, "tiny", &LoadSettings::default(), &task)?;

    let tokens = model.tokenizer()?.encode("The committee (which had met in March", None, &task)?;
    let count = tokens.len();
    let batch = Batch::new(vec![tokens.ids])?;
    let ask = Ask { places: select(model.decoder.config(), "resid_post.*")?, ..Default::default() };
    let cache = model.decoder.cache(&batch, ask, &task)?;
    assert_eq!(cache.len(), 6);
    assert_eq!(cache.get("resid_post.5")?.dims(), [1, count, 192]);
    Ok::<(), Error>(())
}

#[test]
fn rules_decide_what_is_read() -> microtome_core::base::Result<()> {
    use microtome_core::base::access::{Access, Rules};
    use microtome_core::base::files::Files;
    use microtome_core::base::{Error, Kind};

    // Whatever opens a file asks the rules first.
    let rules = Rules { deny_read: vec!["/".into()], ..Default::default() };
    let files = Files::new(Access::new("out".as_ref(), &rules)?, false);
    let refused = files.text("Cargo.toml".as_ref()).unwrap_err();
    assert_eq!(refused.kind, Kind::Access);
    Ok::<(), Error>(())
}

#[test]
fn tensors_are_multiplied() -> microtome_core::base::Result<()> {
    use microtome_core::base::Error;
    use microtome_core::tensor::einsum::einsum;
    use microtome_core::tensor::{Device, Tensor};

    let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    let gram = einsum("ij,ik->jk", &[x.clone(), x])?;
    assert_eq!(gram.to_vec2::<f32>()?, [[10.0, 14.0], [14.0, 20.0]]);
    Ok::<(), Error>(())
}

#[test]
fn a_parameter_descends() -> microtome_core::base::Result<()> {
    use microtome_core::base::{Error, Task};
    use microtome_core::tensor::{Device, Tensor};
    use microtome_core::training::descent::{Descent, DescentOptions, DescentRule};

    // The minimum of (x - 3)^2.
    let task = Task::default();
    let start = Tensor::new(0f32, &Device::Cpu)?;
    let rule = DescentRule::Sgd { momentum: 0.0, weight_decay: 0.0 };
    let options = DescentOptions { lr: 0.25, ..Default::default() };
    let mut descent = Descent::new(rule, vec![("x".into(), start)], options)?;
    for _ in 0..20 {
        descent.step(&mut |x| Ok((&x[0] - 3.0)?.sqr()?), &task)?;
    }
    assert!((descent.parameters()[0].to_scalar::<f32>()? - 3.0).abs() < 1e-3);
    Ok::<(), Error>(())
}

#[test]
fn a_probe_tells_rows_apart() -> microtome_core::base::Result<()> {
    use microtome_core::base::{Error, Task};
    use microtome_core::probes::{ClassLabels, ClassName, Probe, ProbeOptions};
    use microtome_core::tensor::{Device, Tensor};

    let x = Tensor::new(&[[0f32, 1.0], [0.2, 0.0], [3.0, 0.0], [2.8, 1.0]], &Device::Cpu)?;
    let names = [false, false, true, true].map(ClassName::Flag);
    let probe = Probe::fit(&x, &ClassLabels::of(&names)?, &ProbeOptions::default(), &Task::default())?;
    assert_eq!(probe.predict(&x)?, names);
    Ok::<(), Error>(())
}

#[test]
fn a_norm_is_ablated() -> microtome_core::base::Result<()> {
    use microtome_core::base::files::Files;
    use microtome_core::base::{Error, Task};
    use microtome_core::checkpoint::load::LoadSettings;
    use microtome_core::model::Model;
    use microtome_core::model::batch::Batch;
    use microtome_core::model::hooks::{Action, BoundHook};

    let task = Task::default();
    let files = Files::unrecorded("out".as_ref())?;
    let model = Model::load(&files, "tiny", &LoadSettings::default(), &task)?;

    // The unembedding has no bias: where the final norm is ablated, all logits are 0.
    let batch = Batch::new(vec![vec![1, 2, 3]])?;
    let ablated = BoundHook::new(model.decoder.config(), "final_norm", None, None, Box::new(Action::Zero.begin()))?;
    let logits = model.decoder.logits_at(&batch, &[-1], vec![ablated], &task)?;
    assert!(logits.flatten_all()?.to_vec1::<f32>()?.iter().all(|logit| *logit == 0.0));
    Ok::<(), Error>(())
}

#[test]
fn an_activation_function_is_applied() -> kernels::Result<()> {
    use candle_core::{Device, Tensor};
    use microtome_kernels::{Activation, Error, activate};

    let x = Tensor::new(&[-1f32, 0.0, 2.0], &Device::Cpu)?;
    assert_eq!(activate(&x, Activation::Relu)?.to_vec1::<f32>()?, [0.0, 0.0, 2.0]);
    Ok::<(), Error>(())
}
