//! Heads that are made: each does one thing by construction. And identities with the model's own runs.

use super::repeats::{Repeats, known_kinds};
use super::text::HeadReading;
use super::tokens::written;
use super::*;
use crate::fixtures::{config, configs, decoder};
use crate::model::config::Positions;
use crate::model::hooks::{Action, BoundHook};
use crate::model::run::mean_of_losses;
use crate::model::weights::{Attention, Linear, Weights};
use kit::far;

const VOCAB: usize = 9;
const CONTEXT: usize = 12;
/// The stream has a token, the token before it, and a position.
const WIDTH: usize = 2 * VOCAB + CONTEXT;

/// Builds a matrix `[out, in]` of some ones times a number.
fn matrix(rows: usize, columns: usize, ones: &[(usize, usize, f32)]) -> Tensor {
    let mut numbers = vec![0.0; rows * columns];
    ones.iter().for_each(|(row, column, value)| numbers[row * columns + column] = *value);
    Tensor::from_vec(numbers, (rows, columns), &Device::Cpu).unwrap()
}

fn map(weight: Tensor) -> Linear {
    Linear { weight: weight.into(), bias: None }
}

/// The maps of one made head: queries, keys, values, and the output projection.
struct MadeHead {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
}

/// Returns the numbers of a square matrix that carry coordinates to others.
fn carry(from: usize, to: usize, count: usize, value: f32) -> Vec<(usize, usize, f32)> {
    (0..count).map(|at| (to + at, from + at, value)).collect()
}

fn made(q: &[(usize, usize, f32)], k: &[(usize, usize, f32)], v: &[(usize, usize, f32)], sign: f32) -> MadeHead {
    let square = |ones: &[(usize, usize, f32)]| matrix(WIDTH, WIDTH, ones);
    MadeHead { q: square(q), k: square(k), v: square(v), o: square(&carry(0, 0, WIDTH, sign)) }
}

/// Builds a head that attends to the token before, and copies it to where the token before is kept.
fn previous() -> MadeHead {
    let position = 2 * VOCAB;
    // The query of position t meets the key of position t - 1, which is carried one further.
    let q = carry(position, position, CONTEXT, 20.0);
    let k = carry(position, position + 1, CONTEXT - 1, 20.0);
    made(&q, &k, &carry(0, VOCAB, VOCAB, 1.0), 1.0)
}

/// Builds a head that attends to the same token, but at its own position, and writes `sign` times the token.
fn duplicate(sign: f32) -> MadeHead {
    let position = 2 * VOCAB;
    let q = [carry(0, 0, VOCAB, 20.0), carry(position, position, CONTEXT, 20.0)].concat();
    let k = [carry(0, 0, VOCAB, 20.0), carry(position, position, CONTEXT, -10.0)].concat();
    made(&q, &k, &carry(0, 0, VOCAB, 1.0), sign)
}

/// Builds a head that attends to where the token before was the one that it stands at, and writes the token there.
fn induction() -> MadeHead {
    // Position 0 keeps itself as the token before, so that it is to be avoided: any token asks for another position.
    let q = [carry(0, 0, VOCAB, 20.0), (0..VOCAB).map(|token| (VOCAB, token, 20.0)).collect()].concat();
    let k = [carry(VOCAB, 0, VOCAB, 20.0), vec![(VOCAB, 2 * VOCAB, -20.0)]].concat();
    made(&q, &k, &carry(0, 0, VOCAB, 1.0), 1.0)
}

fn attention(heads: &[MadeHead; 2]) -> Attention {
    let rows = |part: fn(&MadeHead) -> &Tensor| map(Tensor::cat(&[part(&heads[0]), part(&heads[1])], 0).unwrap());
    Attention {
        latent: None,
        q: rows(|head| &head.q),
        gate: None,
        k: Some(rows(|head| &head.k)),
        v: Some(rows(|head| &head.v)),
        o: map(Tensor::cat(&[&heads[0].o, &heads[1].o], 1).unwrap().contiguous().unwrap()),
        q_norm: None,
        k_norm: None,
        sinks: None,
    }
}

/// Builds a model of attention alone: a head of the token before and one of the same token, and behind them an induction head and
/// one of the same token that lowers it.
fn model() -> Model {
    let config = Config {
        d_model: WIDTH,
        heads: 2,
        kv_heads: 2,
        d_head: WIDTH,
        d_mlp: 0,
        vocab: VOCAB,
        context: CONTEXT,
        norm: None,
        pre_norm: false,
        final_norm: false,
        positions: Positions::Learned,
        rotary: None,
        score_scale: 1.0,
        qkv_bias: false,
        out_bias: false,
        ..config()
    };
    let plain = decoder(config.clone(), DType::F32);
    let mut weights: Weights = plain.weights().clone();
    weights.embed = matrix(VOCAB, WIDTH, &carry(0, 0, VOCAB, 1.0)).into();
    weights.pos_embed =
        Some(matrix(CONTEXT, WIDTH, &(0..CONTEXT).map(|at| (at, 2 * VOCAB + at, 1.0)).collect::<Vec<_>>()));
    weights.unembed = map(matrix(VOCAB, WIDTH, &carry(0, 0, VOCAB, 1.0)));
    weights.blocks[0].attn = Some(attention(&[previous(), duplicate(1.0)]));
    weights.blocks[1].attn = Some(attention(&[induction(), duplicate(-1.0)]));
    Model::new(plain.with_weights(weights), None, "made")
}

fn cards(model: &Model, rows: &[Vec<u32>], options: &HeadsOptions) -> HeadCards {
    HeadCards::of(model, "rows", rows.to_vec(), &[], options, &Task::default()).unwrap()
}

fn rows() -> Vec<Vec<u32>> {
    vec![vec![3, 1, 4, 1, 5, 2, 6, 5, 3, 5], vec![2, 7, 1, 8, 2, 8], vec![1, 4, 1, 4, 2, 1, 3]]
}

#[test]
fn made_heads_have_the_score_of_their_kind_and_no_other() {
    let found = cards(&model(), &rows(), &HeadsOptions::default());
    let scores: Vec<[f64; 4]> = found
        .cards
        .iter()
        .map(|card| {
            let scores = card.scores;
            [scores.previous, scores.duplicate, scores.induction, scores.copying]
        })
        .collect();
    // The head of the token before writes the token to where the unembedding does not read.
    let expected = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0]];
    for (found, expected) in scores.iter().zip(expected) {
        // A head without a place to attend to spreads its attention, a little of it to the token before.
        let tolerances = [0.3, 1e-3, 1e-3, 0.0];
        let near = |at: usize| (found[at] - expected[at]).abs() <= tolerances[at];
        assert!((0..4).all(near) && (expected[0] < 0.5 || found[0] > 0.999), "{scores:?}");
    }
}

#[test]
fn a_made_induction_head_is_what_the_loss_of_repeated_tokens_needs() {
    let model = model();
    let repeats = Repeats::of(&model, &HeadsOptions::default(), &Task::default()).unwrap();
    let found = cards(&model, &repeats.rows, &HeadsOptions::default());
    let rise = |layer, head| found.head(layer, head).unwrap().scores.ablation;
    assert!(rise(1, 0) > 0.1 && rise(0, 0) > 0.1, "{} {}", rise(1, 0), rise(0, 0));
    let card = &found.head(1, 0).unwrap().card;
    // The token that follows is raised, and attended to with all attention.
    let table = &card.tables[0];
    assert!(table.rows.iter().all(|row| matches!(row[2], Cell::Float(weight) if weight > 0.999)));
    for row in &table.rows {
        let (Cell::Text(to), Cell::Text(raised)) = (&row[1], &row[3]) else { panic!("{row:?}") };
        assert!(raised.starts_with(to.as_str()), "{row:?}");
    }
}

#[test]
fn the_scores_are_means_of_the_patterns_of_the_model() {
    for config in configs().into_iter().filter(|config| config.causal && config.has_attention()) {
        let model = Model::new(decoder(config, DType::F32), None, "sample");
        let options = HeadsOptions { length: Some(3), sequences: 2, ..HeadsOptions::default() };
        let Ok(layers) = layers(&model) else { continue };
        // A window of two tokens is too short.
        let Ok(repeats) = Repeats::of(&model, &options, &Task::default()) else { continue };
        let found = known_kinds(&model, &layers, &repeats, &Task::default()).unwrap();
        for (number, found) in found.iter().enumerate() {
            let heads = model.decoder.config().heads;
            let site = Site::new(SiteKind::Pattern, layers[number / heads]);
            let places = vec![Place { site, head: None }];
            let batch = Batch::new(repeats.rows.clone()).unwrap();
            let cache = model.decoder.cache(&batch, Ask { places, ..Ask::default() }, &Task::default()).unwrap();
            let pattern = cache.at(Place { site, head: Some(number % heads) }).unwrap();
            let at = |row: usize, query: usize, key: usize| {
                floats(&pattern.get(row).unwrap().get(query).unwrap()).unwrap()[key]
            };
            let mean = |queries: std::ops::Range<usize>, back: usize| {
                let all: Vec<f64> = (0..2)
                    .flat_map(|row| {
                        queries.clone().map(move |t| (row, t)).map(|(r, t)| at(r, t, t - back)).collect::<Vec<_>>()
                    })
                    .collect();
                all.iter().sum::<f64>() / all.len() as f64
            };
            let expected = [mean(1..6, 1), mean(3..6, 3), mean(3..6, 2)];
            let found = [found.previous, found.duplicate, found.induction];
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
        }
    }
}

#[test]
fn what_the_first_layer_writes_for_an_embedding_is_what_it_writes_at_the_first_position() {
    for config in configs() {
        let Ok(layers) = layers(&Model::new(decoder(config.clone(), DType::F32), None, "sample")) else { continue };
        if config.positions == Positions::Learned || layers[0] != 0 {
            continue;
        }
        let decoder = decoder(config, DType::F32);
        let found = written(&decoder, &layers, &[3, 5], &Task::default()).unwrap();
        let places = vec![Place { site: Site::new(SiteKind::HeadOut, 0), head: None }];
        let batch = Batch::new(vec![vec![3], vec![5]]).unwrap();
        let cache = decoder.cache(&batch, Ask { places: places.clone(), ..Ask::default() }, &Task::default()).unwrap();
        let expected = cache.at(places[0]).unwrap().squeeze(1).unwrap();
        assert!(far(&found[0], expected) < 1e-5);
        assert_eq!(found.len(), layers.len());
    }
}

#[test]
fn an_ablated_head_gives_its_mean_over_the_text() {
    let config = Config { score_cap: Some(5.0), windows: vec![Some(4), None], ..config() };
    let model = Model::new(decoder(config, DType::F32), None, "sample");
    let rows = rows();
    let found = cards(&model, &rows, &HeadsOptions::default());
    let task = Task::default();
    let batch = Batch::new(rows).unwrap();
    let place = Place { site: Site::new(SiteKind::Z, 1), head: None };
    let cache = model.decoder.cache(&batch, Ask { places: vec![place], ..Ask::default() }, &task).unwrap();
    let mean = Action::Mean { cache: cache.into(), by_position: false };
    let hook = BoundHook::new(model.decoder.config(), "z.1.2", None, None, Box::new(mean.begin())).unwrap();
    let loss = |hooks| mean_of_losses(&model.decoder.losses(&batch, hooks, &task).unwrap()).unwrap();
    let expected = loss(vec![hook]) - loss(Vec::new());
    let scores = found.head(1, 2).unwrap().scores;
    assert!((scores.ablation - expected).abs() < 1e-5, "{} {expected}", scores.ablation);
    let (Some(low), Some(high)) = (scores.low, scores.high) else { panic!("an interval of three rows") };
    assert!(low <= scores.ablation && scores.ablation <= high);
}

#[test]
fn rows_of_other_lengths_change_nothing() {
    let model = Model::new(decoder(config(), DType::F32), None, "sample");
    let rows = rows();
    let task = Task::default();
    let alone: Vec<Vec<HeadReading>> = rows
        .iter()
        .map(|row| text::read(&model.decoder, &[0, 1], std::slice::from_ref(row), 1, &task).unwrap())
        .collect();
    let together = text::read(&model.decoder, &[0, 1], &rows, 3, &task).unwrap();
    for (number, found) in together.iter().enumerate() {
        let mut weights: Vec<f32> = alone.iter().map(|readings| readings[number].contexts[0].weight).collect();
        weights.sort_by(|a, b| b.total_cmp(a));
        let found_weights: Vec<f32> = found.contexts.iter().map(|context| context.weight).collect();
        assert!(weights.iter().zip(&found_weights).all(|(a, b)| (a - b).abs() < 1e-6));
        for context in &found.contexts {
            let own = &alone[context.row][number].contexts[0];
            assert_eq!((own.query, own.key), (context.query, context.key));
            assert!(own.z.iter().zip(&context.z).all(|(a, b)| (a - b).abs() < 1e-5));
            assert!(context.key > 0 && context.key < context.query);
            assert!((context.pattern.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn models_whose_heads_have_no_cards_are_refused_by_name() {
    let refused = |config: Config| {
        layers(&Model::new(decoder(config, DType::F32), None, "sample")).map(drop).unwrap_err().message
    };
    let mut found = Vec::new();
    for config in configs() {
        if config.beyond_reading().is_some() || !config.causal || !config.has_attention() {
            found.push(refused(config));
        }
    }
    assert!(!found.is_empty());
    let table = cards(&model(), &rows(), &HeadsOptions::default());
    assert!(table.grid("inductoin").unwrap_err().hint.unwrap().contains("induction"));
    assert_eq!(table.head(2, 0).unwrap_err().about.as_deref(), Some("layer"));
}
