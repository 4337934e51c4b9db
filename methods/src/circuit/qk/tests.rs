//! Pairs of parts sum to the score, for models and dictionaries of every kind, and lie where a known circuit has them.

use super::*;
use crate::circuit::compiled::{self, CompiledPairOptions};
use crate::circuit::graph::Port;
use crate::features::samples::plain;
use crate::fixtures::{config, configs, decoder};
use crate::sae::transcoders::{DecoderRows, Fires, Reads, TranscoderLayer, Writes};
use crate::sae::{About, Parts, Scaling};
use crate::tensor::create;

const TEXT: [u32; 8] = [3, 1, 4, 1, 5, 9, 2, 6];

fn random(shape: &[usize], seed: u64) -> Tensor {
    create::randn(shape, DType::F32, &mut stream(seed, "sample", 4)).unwrap()
}

fn named(decoder: Decoder) -> Model {
    Model::new(decoder, None, "made")
}

/// Builds transcoders of a model with skip connections, a third of whose features are active.
fn transcoders(model: &Decoder, reads: Reads, writes: Writes, crosses: bool) -> Transcoders {
    let layers = model.config().layers;
    let d = model.config().d_model;
    let layer = |layer: usize| {
        let seed = 10 * layer as u64;
        let written = if crosses { layers - layer } else { 1 };
        TranscoderLayer {
            encoder: random(&[12, d], seed + 1),
            encoder_bias: Some(Tensor::full(-1.5_f32, 12, &Device::Cpu).unwrap()),
            fires: Fires::Relu,
            decoder: DecoderRows::Held(random(&[12, written, d], seed + 2)),
            decoder_bias: Some(random(&[d], seed + 3)),
            skip: Some((random(&[d, d], seed + 4) * 0.1).unwrap()),
        }
    };
    Transcoders::new((0..layers).map(layer).collect(), reads, writes).unwrap()
}

/// Builds a dictionary of a site.
fn dictionary(d: usize, site: &str, scaling: Scaling) -> Sae {
    let about = About { sites: vec![site.into()], ..About::default() };
    Sae::new(Parts {
        encoder_bias: Some(random(&[12], 22)),
        decoder_bias: Some(random(&[d], 24)),
        centred: true,
        rescaled: true,
        scaling,
        about,
        ..plain(random(&[12, d], 21), random(&[12, d], 23))
    })
    .unwrap()
}

/// Splits the scores of some queries and keys of every head, asserts that the pairs sum to them, and returns how many
/// were split and the largest number of parts.
fn check(model: &Model, given: &QkDictionaries, what: &str) -> (usize, usize) {
    let config = model.decoder.config().clone();
    let mut checked = 0;
    let mut most = 0;
    for layer in (0..config.layers).filter(|layer| config.attends(*layer)) {
        for head in 0..config.heads {
            for (from, to) in [(-1, None), (-1, Some(7)), (4, Some(3)), (0, Some(0))] {
                let options = QkOptions { from, to };
                let site = format!("scores.{layer}.{head}");
                let found = qk(model, &TEXT, &site, given, &options, &Task::default());
                let found = found.unwrap_or_else(|e| panic!("{what}: {e:?}"));
                // Terms of either sign are added in f32; a cap makes no difference larger.
                let sizes: f64 = found.values.iter().map(|value| value.abs()).sum();
                let slack = 1e-5 * (1.0 + sizes + found.position_bias.unwrap_or(0.0).abs());
                assert!(found.rest().abs() < slack, "{what}: {}: {} of {}", found.title(), found.rest(), found.score);
                for marginal in [found.of_queries(), found.of_keys()] {
                    assert!((marginal.iter().sum::<f64>() - found.sum()).abs() < slack, "{what}: {site}");
                }
                checked += 1;
                most = most.max(found.queries.len());
            }
        }
    }
    (checked, most)
}

#[test]
fn pairs_of_parts_sum_to_the_score_in_models_of_every_kind() {
    let mut models = 0;
    for config in configs().into_iter().filter(|config| config.has_attention() && !config.stream_norm) {
        let model = named(decoder(config.clone(), DType::F32));
        let (checked, most) = check(&model, &QkDictionaries::default(), &format!("{config:?}"));
        assert!(checked > 0);
        // Embedding, the parts of the first layer, and biases.
        assert!(most >= 3, "{config:?}: {most} parts");
        models += 1;
    }
    assert!(models > 15, "{models} models");
}

#[test]
fn features_of_transcoders_stand_for_what_mlps_write() {
    let mut models = 0;
    for config in
        configs().into_iter().filter(|config| config.has_mlp() && !config.stream_norm && config.norm.is_some())
    {
        let model = named(decoder(config.clone(), DType::F32));
        for crosses in [false, true] {
            let given = transcoders(&model.decoder, Reads::MlpIn, Writes::MlpOut, crosses);
            let given = QkFeatures::Transcoders(given).into();
            let (_, most) = check(&model, &given, &format!("{config:?}"));
            assert!(most > 4, "{config:?}: {most} parts");
        }
        models += 1;
    }
    assert!(models > 12, "{models} models");
}

#[test]
fn transcoders_read_and_write_where_they_say() {
    // A norm behind MLPs, which is between what these transcoders write and the stream.
    let post_norm = configs().into_iter().find(|config| config.post_norm && config.pre_norm).unwrap();
    for config in [post_norm, config()] {
        let model = named(decoder(config.clone(), DType::F32));
        for (reads, writes) in [(Reads::ResidMid, Writes::Inner), (Reads::Normed, Writes::MlpOut)] {
            let given = QkFeatures::Transcoders(transcoders(&model.decoder, reads, writes, true)).into();
            check(&model, &given, &format!("{reads:?} {writes:?} {config:?}"));
        }
    }
}

#[test]
fn features_of_a_dictionary_stand_for_what_the_head_reads() {
    for config in configs().into_iter().filter(|config| config.has_attention() && config.shared_keys.is_none()) {
        let layer = (0..config.layers).rev().find(|layer| config.attends(*layer)).unwrap();
        let model = named(decoder(config.clone(), DType::F32));
        for site in
            [format!("resid_pre.{layer}"), format!("resid_post.{}", layer.max(1) - 1), format!("attn_in.{layer}")]
        {
            for scaling in [Scaling::None, Scaling::LayerNorm] {
                let given = QkFeatures::Dictionary(dictionary(config.d_model, &site, scaling)).into();
                let options = QkOptions { from: 5, to: Some(4) };
                let found = qk(&model, &TEXT, &format!("scores.{layer}.1"), &given, &options, &Task::default());
                if layer == 0 && site == "resid_post.0" {
                    assert!(found.unwrap_err().message.contains("which the head reads"));
                    continue;
                }
                let found = found.unwrap();
                let sizes: f64 = found.values.iter().map(|value| value.abs()).sum();
                assert!(found.rest().abs() < 1e-5 * (1.0 + sizes), "{site}: {} of {}", found.rest(), found.score);
                assert!(found.queries.iter().any(|part| part.activation.is_some()), "{site}");
            }
        }
    }
}

/// Returns the names of the senders that a compiled circuit has for an input of a head, as parts are named.
fn senders(truth: &crate::circuit::Graph, head: &str, port: Port) -> Vec<String> {
    let of_port = truth.edges.iter().filter(|edge| edge.port == Some(port) && truth.nodes[edge.to].name() == head);
    of_port.map(|edge| truth.nodes[edge.from].name().replace("z.", "head_out.")).collect()
}

#[test]
fn in_compiled_models_scores_are_made_of_the_edges_of_the_circuit() {
    let mut checked = 0;
    for name in compiled::all() {
        let found = compiled::compiled(name).unwrap();
        let pairs = found.pairs(4, &CompiledPairOptions::default(), &Task::default()).unwrap();
        for node in &found.truth.nodes {
            let name = node.name();
            let Some(head) = name.strip_prefix("z.") else { continue };
            let queries = senders(&found.truth, &name, Port::Q);
            let keys = senders(&found.truth, &name, Port::K);
            for pair in &pairs {
                let given = QkDictionaries::default();
                let options = QkOptions { from: -1, to: None };
                let text = found.model.tokenizer().unwrap().encode(&pair.clean, None, &Task::default()).unwrap().ids;
                let split = qk(&found.model, &text, &format!("scores.{head}"), &given, &options, &Task::default());
                let split = split.unwrap();
                // What is no edge of the circuit carries exactly nothing; positions are no nodes of it.
                let is_known = |part: &QkPart, known: &[String]| {
                    ["biases", "pos_embed"].contains(&part.name.as_str()) || known.contains(&part.name)
                };
                for (at, value) in split.values.iter().enumerate() {
                    let query = &split.queries[at / split.keys.len()];
                    let key = &split.keys[at % split.keys.len()];
                    let is_edge = is_known(query, &queries) && is_known(key, &keys);
                    assert!(is_edge || *value == 0.0, "{name}: {} and {} make {value}", query.name, key.name);
                    checked += usize::from(*value != 0.0);
                }
            }
        }
    }
    assert!(checked > 50, "{checked} pairs are not 0");
}

#[test]
fn the_induction_head_of_the_compiled_model_matches_a_token_with_the_one_before_the_key() {
    let found = compiled::compiled("induction").unwrap();
    let text = found.model.tokenizer().unwrap().encode("^ a b c a", None, &Task::default()).unwrap().ids;
    let options = QkOptions { from: -1, to: None };
    let split = qk(&found.model, &text, "scores.1.0", &QkDictionaries::default(), &options, &Task::default()).unwrap();
    assert_eq!((split.from, split.to), (4, 2), "the b behind the first a");
    let match_of = |split: &QkScore| {
        let query = split.queries.iter().position(|part| part.name == "embed").unwrap();
        let key = split.keys.iter().position(|part| part.name == "head_out.0.1").unwrap();
        split.values[query * split.keys.len() + key]
    };
    assert!((match_of(&split) - 80.0).abs() < 1e-3, "{}", match_of(&split));
    // Behind another letter nothing matches.
    let options = QkOptions { from: -1, to: Some(3) };
    let other = qk(&found.model, &text, "scores.1.0", &QkDictionaries::default(), &options, &Task::default()).unwrap();
    assert!(match_of(&other).abs() < 1e-3, "{}", match_of(&other));
}

#[test]
fn what_cannot_be_split_is_refused_by_name() {
    let refused = |model: &Model, site: &str, given: &QkDictionaries, options: QkOptions| {
        qk(model, &TEXT, site, given, &options, &Task::default()).unwrap_err().message
    };
    let all = configs();
    let plain = named(decoder(config(), DType::F32));
    let none = QkDictionaries::default();
    let last = QkOptions::default();
    assert_eq!(
        refused(&plain, "scores.1", &none, last),
        "expected the scores of one head, such as `scores.1.0`, found `scores.1`"
    );
    assert!(refused(&plain, "z.1.0", &none, last).contains("found `z.1.0`"));
    let ahead = QkOptions { from: 2, to: Some(3) };
    assert_eq!(refused(&plain, "scores.1.0", &none, ahead), "expected a key that position 2 attends to, found 3");
    let windowed = all.iter().find(|config| config.window(0) == Some(3) && config.score_cap.is_some()).unwrap();
    let windowed = named(decoder(windowed.clone(), DType::F32));
    let far = QkOptions { from: 7, to: Some(4) };
    assert_eq!(refused(&windowed, "scores.0.0", &none, far), "expected a key that position 7 attends to, found 4");
    let outside = QkOptions { from: 8, to: None };
    assert_eq!(
        refused(&plain, "scores.1.0", &none, outside),
        "expected a position of the 8 tokens of the text, found 8"
    );
    let normed = named(decoder(all.iter().find(|config| config.stream_norm).unwrap().clone(), DType::F32));
    assert!(refused(&normed, "scores.1.0", &none, last).contains("a model with norms of the residual stream"));
    let net = named(decoder(all.iter().find(|config| config.delta.is_some()).unwrap().clone(), DType::F32));
    assert!(refused(&net, "scores.0.0", &none, last).contains("scores"), "a delta net has no scores");
    let elsewhere = QkFeatures::Dictionary(dictionary(16, "resid_pre.0", Scaling::None)).into();
    assert!(refused(&plain, "scores.1.0", &elsewhere, last).contains("found one of `resid_pre.0`"));
    let few = transcoders(&plain.decoder, Reads::MlpIn, Writes::MlpOut, false);
    let few = Transcoders::new(few.layers()[..1].to_vec(), Reads::MlpIn, Writes::MlpOut).unwrap();
    let few = QkFeatures::Transcoders(few).into();
    assert!(refused(&plain, "scores.1.0", &few, last).contains("found none for layer 1"));
}
