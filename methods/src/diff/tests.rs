//! Two models against plain computations, and a change whose rank and direction are known.

use std::sync::Arc;

use kernels::LogitsBeside;

use super::*;
use crate::base::Task;
use crate::base::random::stream;
use crate::features::samples;
use crate::model::Model;
use crate::model::adapter::{AdapterParts, AdapterSettings, LowRankModule, ModulePlace, ModuleRows};
use crate::model::batch::Batch;
use crate::model::run::Ask;
use crate::model::site::select;
use crate::tensor::{DType, Tensor, create};

const SITE: &str = "mlp_out.1";

fn rows() -> Vec<Vec<u32>> {
    vec![vec![3, 1, 4, 1, 5, 9, 2, 6], vec![2, 7], vec![1, 8, 2, 8, 1], vec![8]]
}

/// Makes a model, and one with an adapter of rank 1 on what the last MLP writes.
fn models() -> (Model, Model, Tensor) {
    let base = samples::model();
    let draw = |shape: &[usize], turn| create::randn(shape, DType::F32, &mut stream(5, "adapter", turn)).unwrap();
    let up = draw(&[16, 1], 1);
    let module = LowRankModule {
        name: "down".into(),
        is_embedding: false,
        down: draw(&[1, 24], 0),
        up: up.clone(),
        alpha: 1.0,
        places: vec![ModulePlace { weight: "blocks.1.mlp.down.weight".into(), rows: ModuleRows::All }],
    };
    let settings =
        AdapterSettings { rank: 1, alpha: 1.0, rslora: false, bias: "none".into(), saved: Vec::new(), task: None };
    let parts = AdapterParts { settings, modules: vec![module], wholes: Vec::new() };
    let tuned = base.with_adapter("lora".into(), Arc::new(parts), 1.0).unwrap();
    (base, tuned, up.flatten_all().unwrap())
}

/// Computes the logits of one row alone.
fn logits(model: &Model, row: &[u32]) -> Vec<Vec<f64>> {
    let batch = Batch::new(vec![row.to_vec()]).unwrap();
    let logits = model.decoder.logits(&batch, Vec::new(), &Task::default()).unwrap();
    logits.get(0).unwrap().to_dtype(DType::F64).unwrap().to_vec2().unwrap()
}

/// Computes the activations of one row alone.
fn read(model: &Model, row: &[u32]) -> Vec<Vec<f64>> {
    let place = select(model.decoder.config(), SITE).unwrap()[0];
    let ask = Ask { places: vec![place], ..Ask::default() };
    let batch = Batch::new(vec![row.to_vec()]).unwrap();
    let cache = model.decoder.cache(&batch, ask, &Task::default()).unwrap();
    cache.at(place).unwrap().get(0).unwrap().to_dtype(DType::F64).unwrap().to_vec2().unwrap()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|x| (x - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|x| x / sum).collect()
}

fn close(found: f64, expected: f64, most: f64, what: &str) {
    assert!((found - expected).abs() <= most, "{what}: {found} is not {expected}");
}

/// Draws two logits of five rows and eleven words.
pub(super) fn logits_beside() -> [Vec<f32>; 2] {
    [0, 1].map(|turn| {
        let drawn = create::randn(&[5, 11], DType::F32, &mut stream(9, "logits", turn)).unwrap();
        drawn.flatten_all().unwrap().to_vec1().unwrap()
    })
}

/// Gives two logits of eleven words to `take` in blocks of so many rows and words.
pub(super) fn blocks(both: &[Vec<f32>; 2], rows: usize, words: usize, take: &mut dyn FnMut(&LogitsBeside)) {
    let count = both[0].len() / 11;
    for first in (0..11).step_by(words) {
        for start in (0..count).step_by(rows) {
            let words = first..(first + words).min(11);
            let rows = start..count.min(start + rows);
            let cut = |logits: &Vec<f32>| -> Vec<f32> {
                rows.clone().flat_map(|row| logits[row * 11..][words.clone()].to_vec()).collect()
            };
            let [p, q] = [cut(&both[0]), cut(&both[1])];
            take(&LogitsBeside { rows, words, p: &p, q: &q });
        }
    }
}

fn letter(id: u32) -> String {
    char::from(b'a' + id as u8).into()
}

#[test]
fn a_model_diverges_from_itself_by_exactly_nothing() {
    let (_, tuned, _) = models();
    let pair = ModelPair::new(&tuned, &tuned).unwrap();
    let found = kl(pair, &rows(), &Task::default()).unwrap();
    assert!(found.values.iter().flatten().all(|value| *value == 0.0));
    assert_eq!((found.count(), found.mean(), found.largest()), (16, 0.0, 0.0));
    let table = found.contexts(2, &letter);
    assert_eq!(table.column("raised").unwrap(), [&crate::base::Cell::Missing; 2]);
    let mined = mine(pair, &rows(), &MiningOptions::default(), 1, &Task::default()).unwrap();
    assert!(mined.tokens.iter().all(|token| (token.among_top, token.rises, token.mean) == (0, 0, 0.0)));
    assert!(mined.topics.is_empty());
}

#[test]
fn divergences_are_those_of_each_text_alone_by_their_definition() {
    let (base, tuned, _) = models();
    let found = kl(ModelPair::new(&base, &tuned).unwrap(), &rows(), &Task::default()).unwrap();
    assert!(found.mean() > 1e-3);
    for (row, ids) in rows().iter().enumerate() {
        for (column, (base, tuned)) in logits(&base, ids).iter().zip(logits(&tuned, ids)).enumerate() {
            let p = softmax(&tuned);
            let q = softmax(base);
            let terms: Vec<f64> = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).collect();
            close(found.values[row][column], terms.iter().sum(), 1e-5, "divergence");
            let best = (0..terms.len()).max_by(|a, b| terms[*a].total_cmp(&terms[*b])).unwrap();
            assert_eq!(found.raised[row][column] as usize, best);
        }
    }
    let strongest = found.strongest(16);
    let value = |at: &super::pair::RowPosition| found.values[at.row][at.column];
    assert!(strongest.is_sorted_by(|a, b| value(a) >= value(b)));
    // Token 1 alone is read four times.
    let by_token = found.by_token(28, 4, &letter);
    assert_eq!(by_token.rows.len(), 1);
    let ones = [(0, 1), (0, 3), (2, 0), (2, 4)].map(|(row, column)| found.values[row][column]);
    let mean = ones.iter().sum::<f64>() / 4.0;
    assert!(by_token.rows.iter().any(|row| row[0] == "b".into() && row[1] == mean.into()));
    assert_eq!(found.contexts(1, &letter).rows[0].len(), 5);
    assert!(found.heat(4, &letter).is_err() && found.heat(1, &letter).unwrap().values == found.values[1]);
}

#[test]
fn mean_differences_are_those_of_each_position() {
    let (base, tuned, up) = models();
    let pair = ModelPair::new(&base, &tuned).unwrap();
    let found = activations(pair, &rows(), SITE, &FirstTokens { first: 2 }, &Task::default()).unwrap();
    assert_eq!(found.positions.iter().map(|one| one.count).collect::<Vec<_>>(), [4, 3, 9]);
    let differences = |keep: &dyn Fn(usize) -> bool| -> Vec<Vec<f64>> {
        let of_row = |ids: &Vec<u32>| -> Vec<Vec<f64>> {
            let both = read(&base, ids).into_iter().zip(read(&tuned, ids)).enumerate();
            both.filter(|(position, _)| keep(*position))
                .map(|(_, (base, tuned))| tuned.iter().zip(base).map(|(tuned, base)| tuned - base).collect())
                .collect()
        };
        rows().iter().flat_map(of_row).collect()
    };
    let groups: [&dyn Fn(usize) -> bool; 3] =
        [&|position| position == 0, &|position| position == 1, &|position| position > 1];
    for (one, keep) in found.positions.iter().zip(groups) {
        let all = differences(keep);
        for (at, found) in one.difference().into_iter().enumerate() {
            close(found, all.iter().map(|row| row[at]).sum::<f64>() / all.len() as f64, 1e-5, "mean difference");
        }
        let norms: f64 = all.iter().map(|row| row.iter().map(|x| x * x).sum::<f64>().sqrt()).sum();
        close(one.each, norms / all.len() as f64, 1e-5, "mean norm of differences");
    }
    // The adapter writes along one direction.
    let mean: Vec<f64> = found.at(None).unwrap().difference();
    let up: Vec<f64> = up.to_dtype(DType::F64).unwrap().to_vec1().unwrap();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    close(dot(&mean, &up).abs() / (dot(&mean, &mean) * dot(&up, &up)).sqrt(), 1.0, 1e-5, "cosine");
    let vector = found.vector(Some(1)).unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
    close(dot(&vector, &vector).sqrt(), found.stream_norm(), 1e-4, "length");
    close(found.stream_norm(), found.at(None).unwrap().norms[1], 0.0, "norm of the stream");
    assert_eq!(found.vector(Some(2)).unwrap_err().about.as_deref(), Some("position"));
    let table = found.tokens(&tuned, 3, &letter).unwrap();
    assert_eq!(table.rows.len(), 9);
    // Where all rows are short there are no later positions.
    let short = activations(pair, &[vec![2, 7]], SITE, &FirstTokens::default(), &Task::default()).unwrap();
    assert_eq!(short.first(), 2);
    assert!(short.vector(None).unwrap_err().message.contains("more than 2 tokens"));
}

#[test]
fn a_change_of_rank_one_has_one_component() {
    let (base, tuned, up) = models();
    let pair = ModelPair::new(&base, &tuned).unwrap();
    let rows = rows();
    let found = differences(pair, &rows, SITE, &Task::default()).unwrap();
    assert_eq!(found.x.dims(), [16, 16]);
    let expected: Vec<Vec<f64>> = rows
        .iter()
        .flat_map(|ids| {
            let both = read(&base, ids).into_iter().zip(read(&tuned, ids));
            both.map(|(base, tuned)| tuned.iter().zip(base).map(|(tuned, base)| tuned - base).collect())
                .collect::<Vec<_>>()
        })
        .collect();
    for (found, expected) in found.x.to_vec2::<f32>().unwrap().iter().zip(&expected) {
        found
            .iter()
            .zip(expected)
            .for_each(|(found, expected)| close(f64::from(*found), *expected, 1e-5, "difference"));
    }
    let parts = components(found, Some(3), &Task::default()).unwrap();
    close(parts.shares[0], 1.0, 1e-6, "share");
    let axis = parts.dictionary.directions().get(0).unwrap();
    let cosine = (axis * &up).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()
        / up.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
    close(f64::from(cosine.abs()), 1.0, 1e-5, "cosine");
    // The share of the mean, and the ends.
    let square: f64 = expected.iter().flatten().map(|x| x * x).sum::<f64>() / 16.0;
    let mean: f64 = (0..16).map(|at| (expected.iter().map(|row| row[at]).sum::<f64>() / 16.0).powi(2)).sum();
    close(parts.share_of_mean, mean / square, 1e-5, "share of the mean");
    let ends = parts.contexts(0, 2, &letter).unwrap();
    assert_eq!(ends.rows.len(), 4);
    let codes: Vec<f64> =
        ends.rows.iter().map(|row| if let crate::base::Cell::Float(x) = row[0] { x } else { f64::NAN }).collect();
    // Both ends, the furthest first.
    assert!(codes[0] >= codes[1] && codes[1] > codes[3] && codes[3] >= codes[2], "{codes:?}");
    assert!(parts.contexts(3, 2, &letter).is_err());
    assert_eq!(parts.tokens(&tuned, 0, 4, &letter).unwrap().rows.len(), 4);
}

#[test]
fn tokens_that_rise_are_counted_as_each_position_has_them() {
    let (base, tuned, _) = models();
    let options = MiningOptions { top: 3, topics: 2, ..MiningOptions::default() };
    let pair = ModelPair::new(&base, &tuned).unwrap();
    let found = mine(pair, &rows(), &options, 1, &Task::default()).unwrap();
    let mut counts = vec![0; 28];
    let mut means = vec![0.0; 28];
    let mut square = 0.0;
    for ids in rows() {
        for (base, tuned) in logits(&base, &ids).iter().zip(logits(&tuned, &ids)) {
            let risen: Vec<f64> = tuned.iter().zip(base).map(|(tuned, base)| tuned - base).collect();
            let mean = risen.iter().sum::<f64>() / 28.0;
            let risen: Vec<f64> = risen.into_iter().map(|x| x - mean).collect();
            let mut order: Vec<usize> = (0..28).collect();
            order.sort_by(|a, b| risen[*b].total_cmp(&risen[*a]));
            for token in &order[..3] {
                counts[*token] += 1;
                square += risen[*token].powi(2);
            }
            means.iter_mut().zip(&risen).for_each(|(sum, x)| *sum += x / 16.0);
        }
    }
    assert_eq!(found.tokens.iter().map(|token| token.among_top).collect::<Vec<_>>(), counts);
    found.tokens.iter().zip(&means).for_each(|(token, mean)| close(token.mean, *mean, 1e-5, "mean rise"));
    let table = found.table(2, &letter);
    let most = counts.iter().copied().max().unwrap();
    assert_eq!(table.rows[0][1], (most as f64 / 16.0).into());
    assert!(square > 0.0 && found.unexplained < 1.0);
    assert_eq!(found.topics.len(), 2);
    close(found.topics.iter().map(|topic| topic.share).sum(), 1.0, 1e-9, "shares");
    for topic in &found.topics {
        close(topic.weights.iter().map(|(_, weight)| weight).sum(), 1.0, 1e-9, "weights");
    }
    assert!(found.contexts(2, 3, &letter).is_err() && found.contexts(0, 3, &letter).unwrap().rows.len() <= 3);
    assert!(mine(pair, &rows(), &MiningOptions { top: 29, ..options }, 1, &Task::default()).is_err());
}

#[test]
fn a_matrix_of_low_rank_is_factored_and_its_error_is_that_of_the_factors() {
    // Two topics with disjoint columns, so that the factorisation is unique.
    let draw =
        |turn| create::uniform(&[40], 0.0, 1.0, DType::F64, &mut stream(2, "codes", turn)).unwrap().to_vec1::<f64>();
    let codes = [draw(0).unwrap(), draw(1).unwrap()];
    let row = |at: usize| -> SparseRow {
        vec![(0, 2.0 * codes[0][at]), (1, codes[0][at]), (2, codes[1][at]), (4, 3.0 * codes[1][at])]
    };
    let rows: Vec<SparseRow> = (0..40).map(row).collect();
    let found = factorise(&rows, 5, 2, &mut stream(1, "nmf", 0), &Task::default()).unwrap();
    assert!(found.error < 1e-4 * found.total, "{} of {}", found.error, found.total);
    let first = usize::from(found.topics[0][0] < found.topics[0][4]);
    close(found.topics[first][0] / found.topics[first][1], 2.0, 1e-2, "ratio");
    close(found.topics[1 - first][4] / found.topics[1 - first][2], 3.0, 1e-2, "ratio");
    close(found.topics[first][3], 0.0, 1e-9, "column of zeros");
    // With one topic something is left, and the error is what the factors leave.
    let one = factorise(&rows, 5, 1, &mut stream(1, "nmf", 0), &Task::default()).unwrap();
    let mut error = 0.0;
    for (at, codes) in one.codes.iter().enumerate() {
        for column in 0..5 {
            let value = rows[at].iter().find(|(found, _)| *found == column).map_or(0.0, |(_, value)| *value);
            error += (value - codes[0] * one.topics[0][column]).powi(2);
        }
    }
    close(one.error, error, 1e-9 * one.total, "error");
    assert!(one.error > 0.05 * one.total);
    assert!(factorise(&rows, 5, 0, &mut stream(1, "nmf", 0), &Task::default()).is_err());
}

#[test]
fn models_that_cannot_be_compared_are_refused() {
    let (base, _, _) = models();
    let other = Model::new(crate::fixtures::decoder(crate::fixtures::config(), DType::F32), None, "other");
    let refusal = ModelPair::new(&base, &other).map(|_| ()).unwrap_err();
    assert_eq!(refusal.message, "expected models of one vocabulary, found one of 28 tokens and one of 20");
    assert_eq!(refusal.about.as_deref(), Some("tuned"));
    let wide =
        crate::model::config::Config { d_model: 32, d_head: 8, vocab: 28, context: 12, ..crate::fixtures::config() };
    let wide = Model::new(crate::fixtures::decoder(wide, DType::F32), None, "wide");
    let pair = ModelPair::new(&base, &wide).unwrap();
    let refusal = differences(pair, &rows(), "resid_post.1", &Task::default()).map(|_| ()).unwrap_err();
    assert_eq!(refusal.message, "expected models that are equally wide at `resid_post.1`, found widths of 16 and 32");
    assert!(pair.agreed(rows(), &rows()[1..]).is_err());
    assert!(pair.agreed(rows(), &rows()).is_ok());
}
