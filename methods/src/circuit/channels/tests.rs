//! Channels are ablated as their weights would be without them, and pruning finds a task that only a few of them do.

use kit::{assert_near, far};

use super::*;
use crate::circuit::ablations::Ablations;
use crate::circuit::samples::{model, of_the_authors};
use crate::fixtures::{config, configs, decoder};
use crate::intervene::fixtures;
use crate::model::config::{Experts, NormKind, Predicts, SharedKeys};
use crate::model::hooks::KeptHook;
use crate::model::weights::Weights;

fn pair(clean: &[u32], corrupt: &[u32]) -> TokenPair {
    fixtures::pair(clean, corrupt, [2, 5])
}

fn pairs() -> Vec<TokenPair> {
    vec![pair(&[1, 2, 3, 0], &[1, 4, 3, 0]), pair(&[2, 0, 1], &[2, 3, 1]), pair(&[7, 7, 4, 3, 1], &[7, 1, 4, 3, 1])]
}

/// Builds a copy of a model in which some numbers of its weights are 0.
fn with_zeros(model: &Model, is_zero: impl Fn(&str, usize, usize) -> bool) -> Model {
    let decoder = &model.decoder;
    let config = Config::clone(decoder.config());
    let mut get = |name: &str, shape: &[usize]| {
        let weight = decoder.weights().get(&config, name)?;
        let [rows, columns] = *shape else { return Ok(weight) };
        let mut numbers = floats(&weight)?;
        for (place, number) in numbers.iter_mut().enumerate() {
            if is_zero(name, place / columns, place % columns) {
                *number = 0.0;
            }
        }
        Ok(Tensor::from_vec(numbers, (rows, columns), weight.device())?.to_dtype(weight.dtype())?)
    };
    let weights = Weights::build(&config, &mut get).unwrap();
    Model::new(Arc::new(Decoder::new(config.clone(), weights)), model.tokenizer.clone(), "changed")
}

/// Returns the logit difference of each clean prompt, plainly.
fn differences(model: &Model) -> Vec<f64> {
    let of = |pair: &TokenPair| {
        let batch = Batch::new(vec![pair.clean.clone()]).unwrap();
        let run = model.decoder.run(&batch, Ask::default(), &Task::default()).unwrap();
        let last = floats(&run.logits.get(0).unwrap().get(pair.clean.len() - 1).unwrap()).unwrap();
        last[2] - last[5]
    };
    pairs().iter().map(of).collect()
}

#[test]
fn all_channels_are_the_model_and_its_loss_is_that_of_two_answers() {
    let model = model(Config { kv_heads: 4, ..config() });
    let task = Task::default();
    for ablation in [EdgeAblation::Mean, EdgeAblation::Zero, EdgeAblation::Corrupt] {
        let runs = ChannelRuns::new(&model, &pairs(), Measure::LogitDiff, ablation, &task).unwrap();
        let all = vec![true; runs.units()];
        assert_near(runs.values(&all, &task).unwrap(), differences(&model), 1e-5);
        let corrupt: Vec<TokenPair> = pairs().into_iter().map(|one| pair(&one.corrupt, &one.clean)).collect();
        let turned = ChannelRuns::new(&model, &corrupt, Measure::LogitDiff, ablation, &task).unwrap();
        let of_corrupt = turned.values(&all, &task).unwrap();
        let losses =
            differences(&model).into_iter().chain(of_corrupt.into_iter().map(|d| -d)).map(|d| (1.0 + (-d).exp()).ln());
        assert_near(runs.loss_with(&all, &task).unwrap(), losses.sum::<f64>() / 6.0, 1e-5);
    }
}

#[test]
fn a_channel_at_zero_is_one_whose_weights_are_zero() {
    let plain = model(Config { kv_heads: 4, qkv_bias: false, mlp_bias: false, ..config() });
    let task = Task::default();
    let runs = ChannelRuns::new(&plain, &pairs(), Measure::LogitDiff, EdgeAblation::Zero, &task).unwrap();
    let cases: [(&str, usize, &str, bool); 4] = [
        ("mlp_hidden.0", 3, "blocks.0.mlp.down.weight", false),
        ("v.0", 1, "blocks.0.attn.v.weight", true),
        ("q.1", 2, "blocks.1.attn.q.weight", true),
        ("mlp_in.1", 4, "blocks.1.mlp.up.weight", false),
    ];
    for (site, channel, weight, is_row) in cases {
        let number = runs.channels.number(&Node::new(site, 0, Part::Channel(channel))).unwrap();
        let mut kept = vec![true; runs.units()];
        kept[number] = false;
        let found = runs.values(&kept, &task).unwrap();
        let is_gate = weight.replace("up", "gate");
        let changed = with_zeros(&plain, |name, row, column| {
            (name == weight || name == is_gate) && channel == if is_row { row } else { column }
        });
        assert_near(&found, differences(&changed), 1e-5);
        assert!(found.iter().zip(differences(&plain)).any(|(found, whole)| (found - whole).abs() > 1e-6), "{site}");
    }
}

#[test]
fn channels_at_the_mean_are_held_and_other_prompts_change_nothing_where_all_are_patched() {
    let model = model(Config { kv_heads: 4, ..config() });
    let task = Task::default();
    let runs = ChannelRuns::new(&model, &pairs(), Measure::LogitDiff, EdgeAblation::Mean, &task).unwrap();
    let none = runs.values(&vec![false; runs.units()], &task).unwrap();
    assert!(none.iter().all(|value| (value - none[0]).abs() < 1e-5));
    let patched = ChannelRuns::new(&model, &pairs(), Measure::LogitDiff, EdgeAblation::Corrupt, &task).unwrap();
    let none = patched.values(&vec![false; patched.units()], &task).unwrap();
    let corrupt: Vec<TokenPair> = pairs().into_iter().map(|one| pair(&one.corrupt, &one.clean)).collect();
    let turned = ChannelRuns::new(&model, &corrupt, Measure::LogitDiff, EdgeAblation::Zero, &task).unwrap();
    assert_near(&none, turned.values(&vec![true; turned.units()], &task).unwrap(), 1e-5);
}

#[test]
fn links_are_the_weights_that_are_not_zero() {
    let plain = model(Config { kv_heads: 4, ..config() });
    let sparse = with_zeros(&plain, |name, row, column| !name.contains("embed") && (7 * row + column) % 5 > 0);
    let channels = Channels::new(&sparse.decoder).unwrap();
    let all: Vec<usize> = (0..channels.count).collect();
    let found = links::links(&sparse.decoder, &channels, &all, &[2, 5]).unwrap();
    let config = sparse.decoder.config();
    let mut wanted = 2 * config.d_model;
    for (name, weight) in sparse.decoder.weights().named(config).unwrap() {
        let is_map = name.starts_with("blocks") && weight.dims().len() == 2 && !name.ends_with("gate.weight");
        if is_map {
            wanted += floats(&weight.tensor().unwrap()).unwrap().into_iter().filter(|number| *number != 0.0).count();
        }
    }
    assert!(!config.gated && config.kv_heads == config.heads, "the small model of these tests");
    assert_eq!(found.weights, wanted);
    // One weight, between one neuron and one channel that it writes.
    let neuron = channels.number(&Node::new("mlp_hidden.1", 0, Part::Channel(2))).unwrap();
    let written = channels.number(&Node::new("mlp_out.1", 0, Part::Channel(4))).unwrap();
    let two = links::links(&sparse.decoder, &channels, &[neuron, written], &[]).unwrap();
    let down = floats(&sparse.decoder.weights().get(config, "blocks.1.mlp.down.weight").unwrap()).unwrap();
    let weight = down[4 * config.d_mlp + 2];
    let alone: Vec<f64> = two.links.iter().map(|link| link.weight).collect();
    assert_eq!(alone, if weight == 0.0 { vec![] } else { vec![weight] });
}

#[test]
fn pruning_keeps_the_loss_with_few_channels_and_the_graph_says_which() {
    let model = model(Config { kv_heads: 4, ..config() });
    let task = Task::default();
    // A pair that the model tells apart by itself, whichever way.
    let mut own = pairs();
    for (pair, difference) in own.iter_mut().zip(differences(&model)) {
        pair.corrupt = Vec::new();
        if difference < 0.0 {
            std::mem::swap(&mut pair.answers, &mut pair.wrong);
        }
    }
    let runs = ChannelRuns::new(&model, &own, Measure::LogitDiff, EdgeAblation::Mean, &task).unwrap();
    let whole = runs.loss_with(&vec![true; runs.units()], &task).unwrap();
    let options = NodePruningOptions { loss: whole + 0.02, steps: 60, lr: 0.1, ..NodePruningOptions::default() };
    let graph = node_pruning(&model, &own, &options, &task).unwrap();
    assert!(graph.is_whole);
    let kept = runs.kept(&graph).unwrap();
    let size = kept.iter().filter(|kept| **kept).count();
    assert!(size < runs.units() / 2, "{size} of {}", runs.units());
    let loss = runs.loss_with(&kept, &task).unwrap();
    assert!(loss <= options.loss, "{loss}");
    // None of them can be left out.
    let effects: Vec<f64> = graph.nodes.iter().filter_map(|node| node.effect).collect();
    assert_eq!(effects.len(), size);
    assert!(effects.iter().all(|effect| loss + effect > options.loss));
    assert_eq!(Graph::parse(&graph.json().unwrap()).unwrap(), graph);
    // An interruption leaves the channels so far, without a pass for the effect of each.
    let ending = Task::default();
    ending.end_early(&[Some(1)]);
    let graph = node_pruning(&model, &own, &options, &ending).unwrap();
    assert!(!graph.is_whole && graph.nodes.len() > size);
    assert!(graph.nodes.iter().all(|node| node.effect.is_none()));
}

#[test]
fn pairs_that_the_model_does_not_tell_apart_are_refused() {
    let model = model(Config { kv_heads: 4, ..config() });
    let options = NodePruningOptions { loss: 1e-9, ..NodePruningOptions::default() };
    let said = node_pruning(&model, &pairs(), &options, &Task::default()).unwrap_err();
    assert!(
        said.message.starts_with("expected a model with a loss of at most 0.000000001 on these pairs, found"),
        "{}",
        said.message
    );
    let uneven = [pair(&[1, 2, 3], &[1, 2])];
    let said =
        ChannelRuns::new(&model, &uneven, Measure::LogitDiff, EdgeAblation::Corrupt, &Task::default()).err().unwrap();
    assert!(said.message.contains("found 3 and 2 tokens in pair 0"), "{}", said.message);
}

#[test]
fn a_loss_with_masks_and_its_gradient_are_those_of_the_authors_code() {
    let made = kit::tensors("sparse/step.safetensors");
    let model = of_the_authors("sparse");
    let task = Task::default();
    let rows = |key: &str| -> Vec<Vec<u32>> { made[key].to_dtype(DType::U32).unwrap().to_vec2().unwrap() };
    let pairs = fixtures::pairs_of(rows("pruning.clean"), rows("pruning.corrupt"), rows("pruning.answers"));
    let runs = ChannelRuns::new(&model, &pairs, Measure::LogitDiff, EdgeAblation::Mean, &task).unwrap();
    // The authors mask neither embeddings nor what is unembedded.
    let device = model.decoder.device();
    let of_site = |one: &sites::ChannelSite| match made.get(&format!("pruning.masks.{}", one.site)) {
        Some(parameters) => parameters.clone(),
        None => Tensor::ones(one.width(), DType::F32, device).unwrap(),
    };
    let parameters = Tensor::cat(&runs.channels.sites.iter().map(of_site).collect::<Vec<_>>(), 0).unwrap();
    let kept: Vec<bool> = floats(&parameters).unwrap().into_iter().map(|parameter| parameter >= 0.0).collect();
    assert!(kept.iter().any(|kept| !kept));
    let hard = runs.masks(&kept).unwrap();
    let mut loss = |at: &[Tensor]| -> Result<Tensor> {
        let [masks, _] = straight_through(&at[0], &hard)?;
        runs.loss(&masks, &task)
    };
    let found = value_and_gradients(&mut loss, &[parameters], &task).unwrap();
    assert_near([found.value], floats(&made["pruning.loss"]).unwrap(), 1e-5);
    let mut compared = 0;
    for one in &runs.channels.sites {
        let Some(wanted) = made.get(&format!("pruning.gradient.{}", one.site)) else { continue };
        let own = found.gradients[0].narrow(0, one.first, one.width()).unwrap();
        assert!(far(&own, wanted) < 1e-5, "{}", one.site);
        compared += 1;
    }
    assert_eq!(compared, 16);
}

#[test]
fn models_that_channels_do_not_make_up_are_refused_by_what_they_have() {
    let said = |config: Config| Channels::new(&decoder(config, DType::F32)).unwrap_err().message;
    let base = || Config { norm: Some(NormKind::Rms), norm_bias: false, ..config() };
    let experts = Experts { count: 4, chosen: 2, d_mlp: 8, ..Experts::default() };
    for (config, found) in [
        (Config { experts: Some(experts), ..base() }, "experts, of which each token has its own"),
        (Config { post_norm: true, ..base() }, "norms behind attention and MLPs"),
        (Config { gated_heads: true, ..base() }, "gates of attention heads"),
        (Config { value_norm: true, ..base() }, "norms of values"),
        (
            Config { shared_keys: Some(SharedKeys { layers: 1, d_mlp: 24 }), ..base() },
            "layers that read the keys and values of others",
        ),
    ] {
        assert_eq!(said(config), format!("expected attention and MLPs between plain sums, found {found}"));
    }
    let recurrent: Vec<Config> = configs().into_iter().filter(|config| config.recurrent_layers().is_some()).collect();
    assert!(recurrent.len() > 2);
    for config in recurrent {
        let said = said(config);
        assert!(said.starts_with("expected attention and MLPs between plain sums, found "), "{said}");
    }
    let masked = Config { causal: false, predicts: Predicts::Masked, ..base() };
    assert!(said(masked).starts_with("a circuit of channels needs a model that predicts the next token"));
    let plain = model(base());
    let hook = KeptHook::new("nothing".into(), Vec::new(), || Err(err!(Bug, "a hook that is never bound")));
    let said = Channels::new(&plain.keeping(vec![hook]).decoder).unwrap_err().message;
    assert_eq!(said, "a circuit of channels cannot use the hooks that a model keeps, found `nothing`");
}
