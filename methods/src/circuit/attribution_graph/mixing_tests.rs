//! Attention patterns that are computed again wherever they are read mix as held ones do, and make the same graphs.

use kit::far_relative;

use super::mixing::Mixing;
use super::sum_tests::{is_linear, made, plain, random};
use super::*;
use crate::fixtures::{configs, decoder};
use crate::sae::text_rows::fit::tests::tiny;

/// More tokens than two blocks of queries have.
const TOKENS: usize = 300;

fn prompt(tokens: usize, vocab: usize) -> Vec<u32> {
    (0..tokens).map(|at| ((7 * at + at / 13) % vocab) as u32).collect()
}

#[test]
fn patterns_that_are_computed_again_mix_as_held_ones_do_in_models_of_every_kind() {
    let task = Task::default();
    let batch = Batch::new(vec![prompt(TOKENS, 20)]).unwrap();
    for config in configs().into_iter().filter(is_linear) {
        let model = plain(decoder(Config { context: TOKENS, ..config.clone() }, DType::F32));
        let dictionaries = GraphDictionaries::from(&made(&model.decoder, false));
        let run = |patterns: Patterns| {
            PromptRun::of(&model.decoder, &dictionaries, &batch, patterns, MlpPaths::Held, &task).unwrap()
        };
        let [held, recomputed] = [Patterns::Held, Patterns::Recomputed].map(|patterns| run(patterns).held);
        for (layer, (held, recomputed)) in held.blocks.iter().zip(&recomputed.blocks).enumerate() {
            let held = &held.heads().unwrap().mixing;
            let recomputed = &recomputed.heads().unwrap().mixing;
            assert!(matches!((held, recomputed), (Mixing::Held(_), Mixing::Recomputed(_))));
            // Cones that end within a block of queries, and behind one.
            for positions in [1, 100, 129, TOKENS] {
                let x = random(&[config.heads, positions, 6], 7);
                let queries = [positions - 1, positions - 1, positions / 2];
                let all = |mixing: &Mixing| {
                    [
                        mixing.to_values(&x, config.kv_heads, &task).unwrap(),
                        mixing.mixed(&x, &task).unwrap(),
                        mixing.of_queries(&queries, positions, &task).unwrap(),
                    ]
                };
                for (found, expected) in all(recomputed).iter().zip(&all(held)) {
                    assert_eq!(found.dims(), expected.dims());
                    let far = far_relative(found, expected);
                    assert!(far < 1e-5, "{far} with {positions} positions in layer {layer}: {config:?}");
                }
            }
        }
    }
}

#[test]
fn graphs_of_the_model_inside_the_program_are_those_of_held_patterns() {
    let (model, _) = tiny();
    let task = Task::default();
    let transcoders = made(&model.decoder, false);
    let prompt = prompt(200, 4096);
    let options = AttributionGraphOptions { nodes: 6, logits: 1, ..Default::default() };
    let graph = |patterns: Patterns| {
        graph_by(&model, GraphDictionaries::from(&transcoders), &prompt, &options, patterns, &task).unwrap()
    };
    let [held, recomputed] = [Patterns::Held, Patterns::Recomputed].map(graph);
    let places = |graph: &AttributionGraph| -> Vec<[usize; 3]> {
        graph.features.iter().map(|one| [one.layer, one.position, one.feature]).collect()
    };
    assert_eq!(places(&held), places(&recomputed));
    let mut rows = 0;
    for (node, (held, recomputed)) in held.matrix.rows.iter().zip(&recomputed.matrix.rows).enumerate() {
        let sum: f64 = held.iter().map(|edge| f64::from(edge.abs())).sum();
        for (source, (edge, found)) in held.iter().zip(recomputed).enumerate() {
            let off = f64::from(edge - found).abs();
            assert!(off <= 5e-6 * sum, "{node} from {source}: {found}, not {edge}, of {sum}");
        }
        rows += usize::from(sum > 0.0);
    }
    assert_eq!(rows, 7, "rows of six features and a target");
}

#[test]
fn patterns_of_short_prompts_are_held() {
    let config = Config { layers: 18, heads: 4, ..configs().remove(0) };
    let tokens = (1..1000).find(|tokens| Patterns::of(&config, *tokens) == Patterns::Recomputed);
    assert_eq!(tokens, Some(483), "4 x 18 x 4 x 483^2 bytes are more than 64 MiB");
}
