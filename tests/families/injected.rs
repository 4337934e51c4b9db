//! Vectors in the place of tokens of a prompt, in every family.

use kit::far;
use microtome::base::Task;
use microtome::checkpoint::load::LoadSettings;
use microtome::model::Model;
use microtome::model::batch::Batch;
use microtome::model::generate::{Drawn, GenerateOptions};
use microtome::model::hooks::{Action, BoundHook, PatchSource};
use microtome::model::inject::{InjectOptions, InjectedVectors, Injection, InjectionRule};
use microtome::model::run::Ask;
use microtome::model::site;
use microtome::tensor::{DType, Tensor, Values};
use microtome::tokenizer::tokens::TokenName;

use super::files::{ENCODERS, FAMILIES, files, fixture, load};

const TEXT: [u32; 7] = [17, 4, 201, 33, 250, 8, 77];
const PLACE: usize = 3;

/// The families and their models, without tokenizers.
fn models() -> impl Iterator<Item = (&'static str, Model)> {
    let loaded = |family| Model::new(load(&files(), &fixture(family), &LoadSettings::default()), None, family);
    FAMILIES.into_iter().map(move |family| (family, loaded(family)))
}

/// Lists the sites of the stream that every family has: where it begins, its middle and its end.
fn streams(model: &Model) -> Vec<String> {
    let layers = model.decoder.config().layers;
    vec![
        "embed".into(),
        "resid_pre.0".into(),
        format!("resid_post.{}", layers / 2),
        format!("resid_post.{}", layers - 1),
    ]
}

/// What a site has at a place of a text.
fn recorded(model: &Model, text: &[u32], site: &str, place: usize) -> Tensor {
    let ask = Ask { places: site::select(model.decoder.config(), site).unwrap(), ..Ask::default() };
    let cache = model.decoder.cache(&Batch::new(vec![text.to_vec()]).unwrap(), ask, &Task::default()).unwrap();
    cache.get(site).unwrap().get(0).unwrap().get(place).unwrap()
}

/// A vector that no model has seen.
fn stranger(model: &Model, seed: f64) -> Tensor {
    let d = model.decoder.config().d_model;
    let numbers: Vec<f64> = (0..d).map(|at| ((at as f64 + 1.0) * (seed + 0.7)).sin()).collect();
    Tensor::from_vec(numbers, d, model.decoder.device()).unwrap().to_dtype(DType::F32).unwrap()
}

fn at_positions(site: &str, positions: &[i64], vector: InjectedVectors) -> InjectOptions {
    let injection = Injection {
        vector,
        at: None,
        pos: Some(positions.to_vec()),
        site: site.into(),
        rule: InjectionRule::default(),
    };
    InjectOptions { inject: vec![injection] }
}

fn same(vector: &Tensor) -> InjectedVectors {
    InjectedVectors::Same(Values::Tensor(vector.clone()))
}

fn logits(model: &Model, texts: &[&[u32]], inject: &InjectOptions) -> Tensor {
    let batch = Batch::new(texts.iter().map(|text| text.to_vec()).collect()).unwrap();
    let hooks = inject.bound(model, &batch, &Task::default()).unwrap();
    model.decoder.logits(&batch, hooks, &Task::default()).unwrap()
}

fn continued(model: &Model, texts: &[&[u32]], tokens: usize, inject: &InjectOptions) -> Vec<Vec<u32>> {
    let batch = Batch::new(texts.iter().map(|text| text.to_vec()).collect()).unwrap();
    let options = GenerateOptions { tokens, inject: inject.clone(), ..GenerateOptions::default() };
    let drawn = Drawn { seed: 0, in_words: false };
    model.generate(&batch, &options, drawn, Vec::new(), &mut |_| {}, &Task::default()).unwrap().ids
}

#[test]
fn the_streams_own_value_at_its_own_place_changes_nothing() {
    for (family, model) in models() {
        let plain = logits(&model, &[&TEXT], &InjectOptions::default());
        for site in streams(&model) {
            let own = recorded(&model, &TEXT, &site, PLACE);
            let found = logits(&model, &[&TEXT], &at_positions(&site, &[PLACE as i64], same(&own)));
            let off = far(&plain, &found);
            assert!(off == 0.0, "{family}: {site} is off by {off}");
        }
    }
}

#[test]
fn the_embedding_of_a_token_is_as_if_the_token_stood_there() {
    for (family, model) in models() {
        let wanted = 90;
        let there: Vec<u32> = TEXT.iter().map(|id| if *id == TEXT[PLACE] { wanted } else { *id }).collect();
        let vector = same(&recorded(&model, &there, "embed", PLACE));
        let mut inject = at_positions("embed", &[], vector);
        inject.inject[0].pos = None;
        inject.inject[0].at = Some(TokenName::Id(i64::from(TEXT[PLACE])));
        let off = far(logits(&model, &[&there], &InjectOptions::default()), logits(&model, &[&TEXT], &inject));
        if model.decoder.config().layer_inputs.is_some() {
            // Layers look the placeholder itself up.
            assert!(off > 1e-4, "{family}: layers did not look the placeholder up");
            continue;
        }
        assert!(off == 0.0, "{family}: off by {off}");
        if !ENCODERS.contains(&family) {
            let wanted = continued(&model, &[&there], 5, &InjectOptions::default());
            assert_eq!(continued(&model, &[&TEXT], 5, &inject), wanted, "{family}");
        }
    }
}

#[test]
fn a_vector_in_a_prompt_is_what_a_hook_on_the_whole_prompt_makes_of_it() {
    for (family, model) in models() {
        for site in streams(&model) {
            let vector = stranger(&model, 1.0);
            let patch = Action::Patch(PatchSource::Tensor(vector.clone()));
            let positions = vec![1, -2];
            let config = model.decoder.config();
            let hook = BoundHook::new(config, &site, None, Some(positions.clone()), Box::new(patch.begin())).unwrap();
            let batch = Batch::new(vec![TEXT.to_vec()]).unwrap();
            let wanted = model.decoder.logits(&batch, vec![hook], &Task::default()).unwrap();
            let off = far(&wanted, logits(&model, &[&TEXT], &at_positions(&site, &positions, same(&vector))));
            assert!(off == 0.0, "{family}: {site} is off by {off}");
        }
    }
}

#[test]
fn what_is_said_after_a_vector_is_the_same_with_and_without_a_cache() {
    for (family, model) in models().filter(|(family, _)| !ENCODERS.contains(family)) {
        for site in streams(&model) {
            let inject = at_positions(&site, &[PLACE as i64], same(&stranger(&model, 2.0)));
            let said = continued(&model, &[&TEXT], 6, &inject).remove(0);
            let mut text = TEXT.to_vec();
            for token in said {
                let whole = logits(&model, &[&text], &inject).get(0).unwrap();
                let last = whole.get(text.len() - 1).unwrap();
                assert_eq!(last.argmax(0).unwrap().to_scalar::<u32>().unwrap(), token, "{family}: {site}");
                text.push(token);
            }
        }
    }
}

#[test]
fn texts_of_different_lengths_are_told_their_own_vectors() {
    let texts: [&[u32]; 3] = [&TEXT, &[90, 3], &[31, 115, 9, 226]];
    for (family, model) in models().filter(|(family, _)| !ENCODERS.contains(family)) {
        let vectors: Vec<Tensor> = (0..texts.len()).map(|row| stranger(&model, row as f64)).collect();
        for site in streams(&model) {
            let each = InjectedVectors::Each(vectors.iter().cloned().map(Values::Tensor).collect());
            let inject = at_positions(&site, &[-2], each);
            let together = continued(&model, &texts, 5, &inject);
            let logits_together = logits(&model, &texts, &inject);
            for (row, text) in texts.iter().enumerate() {
                let alone = at_positions(&site, &[-2], same(&vectors[row]));
                assert_eq!(together[row], continued(&model, &[text], 5, &alone)[0], "{family}: {site}, text {row}");
                let own = logits_together.narrow(0, row, 1).unwrap().narrow(1, 0, text.len()).unwrap();
                let off = far(logits(&model, &[text], &alone), own);
                assert!(off < 1e-4, "{family}: {site}, text {row} is off by {off}");
            }
        }
    }
}
