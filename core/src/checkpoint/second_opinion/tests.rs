//! Second opinions on tiny checkpoints: they agree within the bound, and what was changed is found.

use super::*;
use crate::base::random::stream;
use crate::checkpoint::load::{self, LoadOptions, LoadedModel};
use crate::model::config::{Experts, Rotary, Scaling};
use crate::model::hooks::Action;
use crate::model::init;
use crate::model::weights::Weights;

/// The fixtures of families that candle has, and computes the same as.
const FAMILIES: [&str; 17] = [
    "gemma",
    "gemma2",
    "gemma3_text",
    "glm4",
    "gpt_bigcode",
    "llama",
    "llama3_rope",
    "mistral",
    "mixtral",
    "olmo2",
    "phi",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "smollm3",
    "stablelm",
];

/// Token ids, as many as the windows of the fixtures are long.
const IDS: [u32; 8] = [3, 141, 59, 26, 5, 35, 89, 79];

fn fixture(family: &str) -> PathBuf {
    kit::fixture("models").join(family)
}

fn loaded_in(family: &str, dtype: DType) -> LoadedModel {
    let place = fixture(family);
    let files = Files::unrecorded(&place).unwrap();
    let loading = LoadOptions { dtype: dtype.into(), ..LoadOptions::default() }.onto(Device::Cpu);
    load::folder(&files, &place, &loading, &Task::default()).unwrap()
}

fn loaded(family: &str) -> LoadedModel {
    loaded_in(family, DType::F32)
}

fn texts() -> Batch {
    Batch::new(vec![IDS.to_vec(), IDS[2..5].to_vec()]).unwrap()
}

/// Returns the verdict on a checkpoint which is read as another config.
fn read_as(found: &LoadedModel, config: Config) -> Result<Verification> {
    let config_json = found.published.as_ref().map(|published| &published.config_json);
    let sources = Sources { config_json, gguf: None };
    verify(&Decoder::new(config, found.weights.clone()), sources, &texts(), Vec::new(), &Task::default())
}

/// Returns the verdict on random weights.
fn random(config: Config) -> Result<Verification> {
    let draws = &mut stream(1, "test", 0);
    let weights = init::init(&config, draws, DType::F32, &Device::Cpu, &Task::default()).unwrap();
    verify(&Decoder::new(config, weights), Sources::default(), &texts(), Vec::new(), &Task::default())
}

fn first_apart(verification: &Verification) -> &str {
    &verification.first_apart().unwrap().name
}

#[test]
fn families_that_candle_has_agree_at_every_place() {
    for family in FAMILIES {
        let found = loaded(family);
        let verification = read_as(&found, found.config.clone()).unwrap();
        assert_eq!(verification.agrees(), Some(true), "{family}: {:?}", verification.first_apart());
        // A bound that is too wide would say so of anything.
        for one in &verification.compared[..verification.compared.len() - 1] {
            assert!(one.limit.unwrap().bound < 2e-4, "{family}: {one:?}");
        }
        let middle = if family == "phi" { 0 } else { 3 };
        assert_eq!(verification.compared.len(), 1 + middle + 3 + 2, "{family}");
    }
}

#[test]
fn families_without_such_a_fixture_agree_with_random_weights() {
    let experts = |config: &Config| config.experts.clone().map(|experts| Experts { plain: vec![0, 2], ..experts });
    let mixed = loaded("qwen2_moe").config;
    let mixed = Config { experts: experts(&mixed), ..mixed };
    let granite = loaded("granite").config;
    let granite = Config {
        score_scale: (granite.d_head as f64).powf(-0.5),
        embed_scale: None,
        write_scale: None,
        logit_scale: None,
        mlp_bias: false,
        ..granite
    };
    // As files of llama.cpp and llama2.c have them.
    let llama = loaded("llama").config;
    let neighbours = llama.rotary.clone().map(|rotary| Rotary { neighbours: true, ..rotary });
    let llama = Config { rotary: neighbours, ..llama };
    for config in [mixed, granite, llama] {
        let family = config.family.clone();
        let verification = random(config).unwrap();
        assert_eq!(verification.agrees(), Some(true), "{family}: {:?}", verification.first_apart());
    }
}

#[test]
fn norms_of_gemma_may_have_their_one_in_the_weights() {
    let found = loaded("gemma3_text");
    let config = Config { norm_plus_one: false, ..found.config.clone() };
    let all = found.weights.named(&found.config).unwrap();
    let with_one = Weights::build(&config, &mut |name, _| {
        let numbers = all.iter().find(|(known, _)| known == name).unwrap().1.tensor()?;
        Ok(if name.ends_with("norm.weight") { (numbers + 1.0)? } else { numbers })
    });
    let model = Decoder::new(config, with_one.unwrap());
    let verification = verify(&model, Sources::default(), &texts(), Vec::new(), &Task::default()).unwrap();
    assert_eq!(verification.agrees(), Some(true), "{:?}", verification.first_apart());
}

#[test]
fn a_config_that_is_read_otherwise_than_candle_reads_it_is_found_where_it_acts() {
    let found = loaded("llama");
    let rotary = found.config.rotary.clone().map(|rotary| Rotary { theta: 1000.0, ..rotary });
    let turned = read_as(&found, Config { rotary, ..found.config.clone() }).unwrap();
    assert_eq!(first_apart(&turned), "logits from resid_mid.0");
    let normed = read_as(&found, Config { norm_eps: 1e-3, ..found.config.clone() }).unwrap();
    assert_eq!(first_apart(&normed), "logits from resid_pre.0");
    let found = loaded("llama3_rope");
    let scaling = Scaling::Llama3 { factor: 2.0, low: 1.0, high: 4.0, original: 64 };
    let rotary = found.config.rotary.clone().map(|rotary| Rotary { scaling, ..rotary });
    let stretched = read_as(&found, Config { rotary, ..found.config.clone() }).unwrap();
    assert_eq!(first_apart(&stretched), "logits from resid_mid.0");
    let found = loaded("gemma2");
    let capped = read_as(&found, Config { logit_cap: Some(20.0), ..found.config.clone() }).unwrap();
    assert_eq!(first_apart(&capped), "logits from resid_pre.0");
    let found = loaded("gemma3_text");
    let rotary_local = found.config.rotary_local.clone().map(|rotary| Rotary { theta: 1000.0, ..rotary });
    let turned = read_as(&found, Config { rotary_local, ..found.config.clone() }).unwrap();
    assert_eq!(first_apart(&turned), "logits from resid_mid.0");
    let found = loaded("mixtral");
    let experts = found.config.experts.clone().map(|experts| Experts { chosen: 3, ..experts });
    let chosen = read_as(&found, Config { experts, ..found.config.clone() }).unwrap();
    assert_eq!(first_apart(&chosen), "logits from resid_post.0");
}

#[test]
fn a_wrong_map_of_names_is_found_since_candle_undoes_it() {
    let found = loaded("qwen2");
    let mut weights = found.weights.clone();
    let mlp = weights.blocks[1].mlp.as_mut().unwrap();
    mlp.up = mlp.gate.replace(mlp.up.clone()).unwrap();
    let model = Decoder::new(found.config.clone(), weights);
    let mut names = layout(&found.config).unwrap().unwrap();
    let gate = names.weights["blocks.1.mlp.gate.weight"].clone();
    let up = names.weights.insert("blocks.1.mlp.up.weight".into(), gate).unwrap();
    names.weights.insert("blocks.1.mlp.gate.weight".into(), up);
    let family = families::family(&found.config).unwrap();
    let task = Task::default();
    let second = CandleModel::new(&model, family, names, Sources::default(), &texts(), &task).unwrap();
    let verification = second.verify(&model, &texts(), Vec::new(), &task).unwrap();
    assert_eq!(first_apart(&verification), "logits from resid_post.1");
}

#[test]
fn the_place_of_the_largest_difference_is_told() {
    let found = loaded("mistral");
    let model = Decoder::new(found.config.clone(), found.weights.clone());
    let action = Box::new(Action::Scale(1.5).begin());
    let hook = BoundHook::new(&found.config, "mlp_out.2", None, Some(vec![4]), action).unwrap();
    let batch = Batch::new(vec![IDS.to_vec()]).unwrap();
    let verification = verify(&model, Sources::default(), &batch, vec![hook], &Task::default()).unwrap();
    let logits = verification.compared.iter().find(|one| one.name == "logits").unwrap();
    let limit = logits.limit.unwrap();
    assert_eq!((logits.agrees(), limit.text, limit.position), (Some(false), 0, 4));
}

#[test]
fn what_candle_does_not_compute_is_refused() {
    let refused = |found: &LoadedModel, config: Config| read_as(found, config).unwrap_err().message;
    let granite = loaded("granite");
    assert_eq!(
        refused(&granite, granite.config.clone()),
        "candle's granite computes something else: `score_scale` of this model is 0.2, and 0.3535533905932738 there"
    );
    let mixed = loaded("qwen2_moe");
    assert!(refused(&mixed, mixed.config.clone()).contains("`experts` of this model is"));
    let neo = loaded("gpt_neox");
    assert!(
        refused(&neo, neo.config.clone())
            .starts_with("candle has no implementation that computes what gpt_neox does; it has those of gemma ")
    );
    let gemma = loaded("gemma3_text");
    assert!(
        refused(&gemma, Config { score_scale: 0.2, ..gemma.config.clone() })
            .contains("`score_scale` of this model is 0.2")
    );
    let scaled =
        gemma.config.rotary.clone().map(|rotary| Rotary { scaling: Scaling::Linear { factor: 8.0 }, ..rotary });
    assert!(refused(&gemma, Config { rotary: scaled, ..gemma.config.clone() }).contains("`rotary` of this model is"));
    let windows = vec![None, Some(8), Some(8)];
    assert!(refused(&gemma, Config { windows, ..gemma.config.clone() }).contains("`windows` of this model is"));
    let halves = loaded_in("llama", DType::BF16);
    assert_eq!(
        refused(&halves, halves.config.clone()),
        "expected a model in f32, found bf16, whose rounding hides differences"
    );
    let mistral = loaded("mistral");
    let model = Decoder::new(mistral.config.clone(), mistral.weights.clone());
    let nine = Batch::new(vec![vec![1; 9]]).unwrap();
    let error = verify(&model, Sources::default(), &nine, Vec::new(), &Task::default()).unwrap_err();
    assert_eq!((error.message.as_str(), error.about.as_deref()), ("expected at most 8 tokens, found 9", Some("x")));
}

#[test]
fn the_usual_text_is_within_the_window_and_the_vocabulary() {
    let found = loaded("mistral");
    let model = Model::new(Decoder::new(found.config.clone(), found.weights.clone()), None, "");
    let text = usual_text(&model, &Task::default()).unwrap();
    assert_eq!(text.width(), 8);
    assert!(text.rows()[0].iter().all(|id| (*id as usize) < found.config.vocab));
}
