//! Vectors in prompts beside hooks of PyTorch on transformers' models, by the formulas of the published methods
//! (`tests/fixtures/injected/make.py`), and vectors of descriptions beside the code of the method's authors.

use kit::{far, far_relative};
use microtome::base::Task;
use microtome::checkpoint::load::LoadSettings;
use microtome::checkpoint::reconstructor::Reconstructor;
use microtome::model::Model;
use microtome::model::batch::Batch;
use microtome::model::generate::{Drawn, GenerateOptions};
use microtome::model::inject::{InjectOptions, InjectedNorm, InjectedVectors, Injection, InjectionRule};
use microtome::tensor::{DType, Tensor, Values};

use crate::families::files::{files, fixture, load};

fn injection(site: &str, positions: &[i64], vectors: &Tensor, rule: InjectionRule) -> InjectOptions {
    let injection = Injection {
        vector: InjectedVectors::Same(Values::Tensor(vectors.clone())),
        at: None,
        pos: Some(positions.to_vec()),
        site: site.into(),
        rule,
    };
    InjectOptions { inject: vec![injection] }
}

#[test]
fn published_ways_to_put_vectors_in_say_what_they_say_in_pytorch() {
    for family in ["gpt2", "gpt_neox", "llama"] {
        let truth = kit::tensors(kit::fixture("injected").join(format!("{family}.safetensors")));
        let model = Model::new(load(&files(), &fixture(family), &LoadSettings::default()), None, family);
        let places: Vec<i64> = truth["places"].to_vec1().unwrap();
        let vectors = &truth["vectors"];
        let own = InjectionRule::default();
        let oracle = InjectionRule { add: true, norm: Some(InjectedNorm::Same), ..own.clone() };
        let verbaliser = InjectionRule { norm: Some(InjectedNorm::Of(3.0)), ..own.clone() };
        let methods = [
            ("oracle", injection("resid_post.1", &places, vectors, oracle)),
            ("patchscope", injection("resid_post.1", &places, vectors, own.clone())),
            ("selfie", injection("resid_pre.1", &places, vectors, own)),
            ("verbaliser", injection("embed", &places[..1], &vectors.narrow(0, 0, 1).unwrap(), verbaliser)),
        ];
        let batch = Batch::new(truth["ids"].to_dtype(DType::U32).unwrap().to_vec2().unwrap()).unwrap();
        let task = Task::default();
        for (name, inject) in methods {
            let hooks = inject.bound(&model, &batch, &task).unwrap();
            let logits = model.decoder.logits(&batch, hooks, &task).unwrap();
            let off = far(&logits, &truth[&format!("{name}.logits")]);
            assert!(off < 1e-4, "{family}: {name} is off by {off}");
            let said: Vec<Vec<u32>> = truth[&format!("{name}.said")].to_dtype(DType::U32).unwrap().to_vec2().unwrap();
            let options = GenerateOptions { tokens: said[0].len(), inject, ..GenerateOptions::default() };
            let drawn = Drawn { seed: 0, in_words: false };
            let found = model.generate(&batch, &options, drawn, Vec::new(), &mut |_| {}, &task).unwrap();
            assert_eq!(found.ids, said, "{family}: {name}");
        }
    }
}

/// Reconstructors as their authors save them, in both forms, beside their own code (`tests/fixtures/nla/make.py`).
#[test]
fn reconstructors_make_the_vectors_that_they_make_in_the_authors_code() {
    let texts = ["a list of names", "brackets (which are open)", "the\nend"].map(String::from);
    let task = Task::default();
    for family in ["qwen2", "gemma3_text"] {
        let folder = kit::fixture("nla").join(family);
        let name = folder.display().to_string();
        let model = Model::load(&files(), &name, &LoadSettings::default(), &task).unwrap();
        let reconstructor = Reconstructor::open(&files(), &name, &task).unwrap();
        let truth = kit::tensors(folder.join("expected.safetensors"));
        let expected = &truth["vectors"];
        let found = reconstructor.reconstruct(&model, &texts, &task).unwrap();
        assert!(far_relative(&found, expected) < 1e-5, "{family}: {}", far_relative(&found, expected));
        for (row, text) in texts.iter().enumerate() {
            let alone = reconstructor.reconstruct(&model, std::slice::from_ref(text), &task).unwrap();
            assert!(far_relative(&alone, found.narrow(0, row, 1).unwrap()) < 1e-5, "{family}: {text}");
        }
        let error = model.decoder.config().expect_next_token("this").unwrap_err();
        assert!(error.message.contains("no unembedding"), "{}", error.message);
    }
}
