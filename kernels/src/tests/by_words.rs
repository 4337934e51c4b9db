//! Losses, divergences and the likeliest words by some words at a time, against all logits.

use candle_core::{DType, Tensor};

use super::super::losses::by_words::{
    GoesOn, LogitsBeside, RowsBeside, UnembeddedRows, Unembedding, UnembeddingMatrix, blocks_beside_by, compared_by,
    divergences_by, likeliest_by, losses_by, totals_by,
};
use super::super::losses::some_words::{RowWord, logits_of_words, ranks_by};
use super::super::{Kind, PackedMatrix, divergences, linear, token_losses};
use super::back::check;
use super::{assert_close, at_every_level, list, numbers};

const ALWAYS: GoesOn = &|| true;
const WORDS: usize = 16;
const INNER: usize = 9;

/// Returns unembeddings of these words, without and with all that they may have, in a dtype.
fn unembeddings(words: usize, dtype: DType) -> Vec<Unembedding> {
    let matrix = UnembeddingMatrix::Numbers(numbers(&[words, INNER], 1.0, 2).to_dtype(dtype).unwrap());
    let bias = Some(numbers(&[words], 1.0, 3).to_dtype(dtype).unwrap());
    let plain = Unembedding { matrix, bias: None, scale: None, cap: None };
    vec![
        plain.clone(),
        Unembedding { bias, scale: Some(0.5), ..plain.clone() },
        Unembedding { cap: Some(3.0), ..plain },
    ]
}

fn targets(rows: usize, words: usize) -> Vec<u32> {
    (0..rows).map(|row| (row * 7 % words) as u32).collect()
}

#[test]
fn losses_and_their_gradients() {
    at_every_level(|| {
        for (rows, words) in [(1, 1), (3, 5), (4, 16), (3, 40), (40, 33)] {
            let targets = targets(rows, words);
            for number in 0..3 {
                check(&[numbers(&[rows, INNER], 1.0, 1)], 1e-5, 1.0, |t| {
                    let by = &unembeddings(words, t[0].dtype())[number];
                    losses_by(UnembeddedRows { x: &t[0], by }, &targets, WORDS, ALWAYS)
                });
            }
        }
    });
}

#[test]
fn divergences_and_their_gradients() {
    at_every_level(|| {
        for (rows, words) in [(1, 1), (3, 5), (3, 40), (40, 33)] {
            let other = numbers(&[rows, INNER], 1.0, 5);
            for number in 0..3 {
                check(&[numbers(&[rows, INNER], 1.0, 1)], 2e-5, 1.0, |t| {
                    let by = &unembeddings(words, t[0].dtype())[number];
                    let p = other.to_dtype(t[0].dtype())?;
                    let [p, q] = [&p, &t[0]].map(|x| UnembeddedRows { x, by });
                    divergences_by(p, q, WORDS, ALWAYS)
                });
            }
        }
    });
}

#[test]
fn totals_and_their_gradients() {
    at_every_level(|| {
        for (rows, words) in [(1, 1), (3, 40), (40, 33)] {
            for number in 0..3 {
                check(&[numbers(&[rows, INNER], 1.0, 1)], 1e-5, 1.0, |t| {
                    let by = &unembeddings(words, t[0].dtype())[number];
                    totals_by(UnembeddedRows { x: &t[0], by }, WORDS, ALWAYS)
                });
            }
        }
    });
}

/// Returns two words behind each row, one of them behind all, and one twice.
fn words_of_rows(rows: usize, words: usize) -> Vec<RowWord> {
    let each = (0..rows).flat_map(|row| [(row, (row * 7 % words) as u32), (row, words as u32 - 1)]);
    each.chain([(0, 0)]).collect()
}

#[test]
fn logits_of_words_and_their_gradients() {
    at_every_level(|| {
        for (rows, words) in [(1, 1), (3, 40), (40, 33)] {
            let named = words_of_rows(rows, words);
            for number in 0..3 {
                check(&[numbers(&[rows, INNER], 1.0, 1)], 1e-5, 1.0, |t| {
                    let by = &unembeddings(words, t[0].dtype())[number];
                    logits_of_words(UnembeddedRows { x: &t[0], by }, &named)
                });
            }
        }
    });
    let x = &numbers(&[5, INNER], 1.0, 1);
    let named = words_of_rows(5, 40);
    let narrow = unembeddings(40, DType::BF16).into_iter();
    for stored in unembeddings(40, DType::F32).into_iter().chain(narrow) {
        let wide = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
        let UnembeddingMatrix::Numbers(matrix) = &stored.matrix else { unreachable!() };
        let matrix = UnembeddingMatrix::Numbers(wide(matrix));
        let all = Unembedding { matrix, bias: stored.bias.as_ref().map(wide), ..stored };
        let all = list(&all.logits_plain(x).unwrap());
        let found = list(&logits_of_words(UnembeddedRows { x, by: &stored }, &named).unwrap());
        for ((row, word), found) in named.iter().zip(found) {
            assert!((found - all[row * 40 + *word as usize]).abs() < 1e-6 * found.abs().max(1.0));
        }
    }
}

#[test]
fn ranks_are_those_of_all_logits_and_equal_ones_are_no_larger() {
    for dtype in [DType::F32, DType::F64] {
        let all = numbers(&[40, INNER], 1.0, 2).to_dtype(dtype).unwrap();
        // Here the rows of the matrix stand twice, in different blocks, so that each logit has its equal.
        let twice = all.narrow(0, 0, 20).unwrap();
        let twice = Tensor::cat(&[&twice, &twice], 0).unwrap();
        for (matrix, rows) in [(all, 40), (twice, 3)] {
            let matrix = UnembeddingMatrix::Numbers(matrix);
            let by = &Unembedding { matrix, bias: None, scale: None, cap: Some(3.0) };
            let x = &numbers(&[rows, INNER], 1.0, 1).to_dtype(dtype).unwrap();
            let named = words_of_rows(rows, 40);
            let found = ranks_by(UnembeddedRows { x, by }, &named, WORDS, ALWAYS).unwrap();
            let all = list(&by.logits_plain(x).unwrap());
            for ((row, word), found) in named.into_iter().zip(found) {
                let logits = &all[row * 40..][..40];
                let own = logits[word as usize];
                // Sums that are rounded in another order are near, and no others are.
                let expected = logits.iter().filter(|logit| **logit > own + 1e-6).count();
                assert_eq!(found.larger, expected, "row {row}, word {word}");
                let total = logits.iter().map(|logit| f64::from(*logit).exp()).sum::<f64>().ln();
                assert!((found.log_probability - (f64::from(own) - total)).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn copies_are_compared_with_the_same_rows() {
    for rows in [3, 40, 700] {
        let p = numbers(&[rows, INNER], 1.0, 1);
        let [a, b] = [2, 3].map(|seed| numbers(&[rows, INNER], 1.0, seed));
        let both = candle_core::Var::from_tensor(&Tensor::cat(&[&a, &b, &p], 0).unwrap()).unwrap();
        for by in &unembeddings(40, DType::F32) {
            let values = |x: &Tensor| {
                let [p, q] = [&p, x].map(|x| UnembeddedRows { x, by });
                let found = divergences_by(p, q, WORDS, ALWAYS).unwrap().detach();
                found.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap()
            };
            let apart: Vec<f64> = [&a, &b, &p].into_iter().flat_map(values).collect();
            let joined = values(&both.as_tensor().detach());
            let recorded = values(both.as_tensor());
            for (apart, (joined, recorded)) in apart.iter().zip(joined.iter().zip(recorded)) {
                assert!((apart - joined).abs() < 1e-6 && (apart - recorded).abs() < 1e-6);
            }
            assert!(joined[2 * rows..].iter().all(|divergence| divergence.abs() < 1e-12));
        }
    }
    let by = &unembeddings(40, DType::F32)[0];
    let [three, four] = [3, 4].map(|rows| numbers(&[rows, INNER], 1.0, 1));
    let [p, q] = [&three, &four].map(|x| UnembeddedRows { x, by });
    assert!(divergences_by(p, q, WORDS, ALWAYS).is_err());
}

#[test]
fn copies_may_be_of_either_prediction() {
    for (rows, dtype) in [(3, DType::F32), (40, DType::F32), (3, DType::F64)] {
        let [q, a, b] = [1, 2, 3].map(|seed| numbers(&[rows, INNER], 1.0, seed).to_dtype(dtype).unwrap());
        let both = Tensor::cat(&[&a, &b], 0).unwrap();
        for by in &unembeddings(40, dtype) {
            let values = |p: &Tensor, q: &Tensor| {
                let [p, q] = [p, q].map(|x| UnembeddedRows { x, by });
                divergences_by(p, q, WORDS, ALWAYS).unwrap().detach().to_dtype(DType::F64).unwrap().to_vec1::<f64>()
            };
            let apart: Vec<f64> = [&a, &b].into_iter().flat_map(|p| values(p, &q).unwrap()).collect();
            let var = candle_core::Var::from_tensor(&q).unwrap();
            for q in [&q, var.as_tensor()] {
                let joined = values(&both, q).unwrap();
                assert_eq!(joined.len(), 2 * rows);
                assert!(apart.iter().zip(joined).all(|(apart, joined)| (apart - joined).abs() < 1e-6));
            }
        }
    }
}

/// Checks that blocks of two predictions have each logit once, at its place, whatever is done to logits.
#[test]
fn blocks_beside_have_all_logits_of_both() {
    for (rows, words, dtype) in [(3, 40, DType::F32), (40, 33, DType::F32), (1100, 5, DType::F32), (3, 40, DType::F64)]
    {
        let [p, q] = [1, 2].map(|seed| numbers(&[rows, INNER], 1.0, seed).to_dtype(dtype).unwrap());
        for by in &unembeddings(words, dtype) {
            let expected = [&p, &q].map(|x| list(&by.logits_plain(x).unwrap()));
            let mut found = [vec![f32::NAN; rows * words], vec![f32::NAN; rows * words]];
            let mut sums = RowsBeside::new(rows);
            let mut take = |block: &LogitsBeside| {
                for row in 0..block.rows.len() {
                    let begin = (block.rows.start + row) * words + block.words.start;
                    for (found, logits) in found.iter_mut().zip(block.row(row)) {
                        let place = &mut found[begin..begin + block.words.len()];
                        assert!(place.iter().all(|logit| logit.is_nan()));
                        place.copy_from_slice(logits);
                    }
                }
                sums.add(block);
            };
            let [p, q] = [&p, &q].map(|x| UnembeddedRows { x, by });
            blocks_beside_by(p, q, WORDS, ALWAYS, &mut take).unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5));
            }
            let whole = divergences_by(p, q, words, ALWAYS).unwrap().to_dtype(DType::F64).unwrap();
            let whole = whole.to_vec1::<f64>().unwrap();
            let found = sums.divergences();
            assert_eq!(found.len(), rows);
            assert!(found.iter().zip(whole).all(|(found, whole)| (found.divergence - whole).abs() < 1e-6));
        }
    }
}

#[test]
fn gradients_of_small_divergences() {
    let p = numbers(&[6, INNER], 1.0, 1);
    let q = (&p + (numbers(&[6, INNER], 1.0, 2) * 1e-3).unwrap()).unwrap();
    for number in 0..3 {
        let gradient = |dtype: DType| {
            let by = &unembeddings(40, dtype)[number];
            let p = p.to_dtype(dtype).unwrap();
            let q = candle_core::Var::from_tensor(&q.to_dtype(dtype).unwrap()).unwrap();
            let [p, of_q] = [&p, q.as_tensor()].map(|x| UnembeddedRows { x, by });
            let found = divergences_by(p, of_q, WORDS, ALWAYS).unwrap().sum_all().unwrap();
            list(found.backward().unwrap().get(&q).unwrap())
        };
        let exact = gradient(DType::F64);
        let size = exact.iter().map(|slope| slope.abs()).fold(0.0, f32::max);
        assert!(size > 0.0 && size < 1e-2);
        for (found, exact) in gradient(DType::F32).into_iter().zip(exact) {
            assert!((found - exact).abs() < 2e-3 * size, "{found:e} is not {exact:e}");
        }
    }
}

/// Checks results against those of all logits at once, in f64, whose bits are the same for few rows.
#[test]
fn sums_by_words_are_those_of_all() {
    let x = numbers(&[5, INNER], 3.0, 1);
    let other = numbers(&[5, INNER], 3.0, 7);
    let by = &unembeddings(200, DType::F32)[0];
    let UnembeddingMatrix::Numbers(matrix) = &by.matrix else { unreachable!() };
    let [of_x, of_other] = [&x, &other].map(|x| linear(x, matrix, None).unwrap());
    let [p, q] = [&other, &x].map(|x| UnembeddedRows { x, by });
    let expected = divergences(&of_other, &of_x).unwrap().to_vec1::<f64>().unwrap();
    let found = divergences_by(p, q, WORDS, ALWAYS).unwrap().to_vec1::<f64>().unwrap();
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12 * expected.max(1.0), "{found} {expected}");
    }
    assert_eq!(divergences_by(q, q, WORDS, ALWAYS).unwrap().to_vec1::<f64>().unwrap(), [0.0; 5]);
    let targets = targets(5, 200);
    let expected = token_losses(&of_x, &targets).unwrap();
    assert_close(&losses_by(q, &targets, WORDS, ALWAYS).unwrap(), &expected, 1e-6, 1.0);
    for at in [q, UnembeddedRows { x: &x.to_dtype(DType::F64).unwrap(), by: &unembeddings(200, DType::F64)[0] }] {
        let other = other.to_dtype(at.x.dtype()).unwrap();
        let compared = compared_by(at, &[&other, at.x], &targets, WORDS, ALWAYS).unwrap();
        assert_eq!(compared.len(), 3);
        let beside = |x| divergences_by(at, UnembeddedRows { x, by: at.by }, WORDS, ALWAYS).unwrap();
        let losses = |x| losses_by(UnembeddedRows { x, by: at.by }, &targets, WORDS, ALWAYS).unwrap();
        for (found, x) in compared.iter().zip([at.x, &other, at.x]) {
            for (row, found) in found.iter().enumerate() {
                assert!((found.divergence - beside(x).to_vec1::<f64>().unwrap()[row]).abs() < 1e-12);
                assert!((found.loss - f64::from(list(&losses(x))[row])).abs() < 1e-5);
            }
        }
    }
    // One block has the bits of all.
    assert_eq!(list(&losses_by(q, &targets, 200, ALWAYS).unwrap()), list(&expected));
    let found = likeliest_by(q, 4, WORDS, ALWAYS).unwrap();
    for (row, found) in list(&of_x).chunks_exact(200).zip(found) {
        let mut words: Vec<(u32, f32)> = row.iter().enumerate().map(|(word, logit)| (word as u32, *logit)).collect();
        words.sort_by(|a, b| b.1.total_cmp(&a.1));
        assert_eq!(found.words, words[..4]);
        let total = row.iter().map(|logit| f64::from(*logit).exp()).sum::<f64>().ln();
        assert!((found.total - total).abs() < 1e-5, "{} {total}", found.total);
    }
}

#[test]
fn many_rows_and_rows_without_a_gradient() {
    let rows = 1100;
    let targets = targets(rows, 40);
    let weights =
        Tensor::from_vec((0..rows).map(|row| (row % 3 / 2) as f32).collect(), rows, &candle_core::Device::Cpu);
    let weights = weights.unwrap();
    check(&[numbers(&[rows, INNER], 1.0, 1)], 1e-5, 1.0, |t| {
        let by = &unembeddings(40, t[0].dtype())[0];
        let losses = losses_by(UnembeddedRows { x: &t[0], by }, &targets, WORDS, ALWAYS)?;
        Ok((&losses * weights.to_dtype(losses.dtype())?)?)
    });
}

#[test]
fn packed_and_narrow_matrices() {
    let wide = numbers(&[70, 32], 1.0, 2);
    let packed = PackedMatrix::int8(&wide).unwrap().unwrap();
    let of = |matrix: UnembeddingMatrix| Unembedding { matrix, bias: None, scale: None, cap: None };
    let narrow = wide.to_dtype(DType::BF16).unwrap();
    let cases = [
        (UnembeddingMatrix::Numbers(packed.tensor().unwrap()), UnembeddingMatrix::Packed(packed)),
        (UnembeddingMatrix::Numbers(narrow.to_dtype(DType::F32).unwrap()), UnembeddingMatrix::Numbers(narrow)),
    ];
    for (wide, stored) in cases.map(|(wide, stored)| (of(wide), of(stored))) {
        for rows in [1, 40] {
            let x = candle_core::Var::from_tensor(&numbers(&[rows, 32], 1.0, 1)).unwrap();
            let targets = targets(rows, 70);
            let found = [&wide, &stored].map(|by| {
                let losses = losses_by(UnembeddedRows { x: &x, by }, &targets, WORDS, ALWAYS).unwrap();
                let gradients = losses.sum_all().unwrap().backward().unwrap();
                (list(&losses), list(gradients.get(&x).unwrap()))
            });
            assert_eq!(found[0], found[1]);
        }
    }
}

#[test]
fn what_does_not_fit_and_what_is_interrupted() {
    let by = &unembeddings(40, DType::F32)[0];
    let x = &numbers(&[2, INNER], 1.0, 1);
    let rows = UnembeddedRows { x, by };
    let never: GoesOn = &|| false;
    assert_eq!(losses_by(rows, &[0, 1], WORDS, never).unwrap_err().kind, Kind::Interrupted);
    assert_eq!(divergences_by(rows, rows, WORDS, never).unwrap_err().kind, Kind::Interrupted);
    assert_eq!(likeliest_by(rows, 3, WORDS, never).unwrap_err().kind, Kind::Interrupted);
    assert_eq!(ranks_by(rows, &[(1, 3)], WORDS, never).unwrap_err().kind, Kind::Interrupted);
    assert_eq!(blocks_beside_by(rows, rows, WORDS, never, &mut |_| {}).unwrap_err().kind, Kind::Interrupted);
    // The gradient is made with the blocks, so that an interruption is heard while it is.
    let tracked = candle_core::Var::from_tensor(x).unwrap();
    let left = std::cell::Cell::new(2);
    let twice: GoesOn = &|| left.replace(left.get() - 1) > 0;
    let of_tracked = UnembeddedRows { x: tracked.as_tensor(), by };
    assert_eq!(losses_by(of_tracked, &[0, 1], WORDS, twice).unwrap_err().kind, Kind::Interrupted);
    assert!(logits_of_words(rows, &[(0, 40)]).unwrap_err().message.contains("word 40 behind row 0"));
    assert!(logits_of_words(rows, &[(2, 0)]).is_err());
    assert_eq!(logits_of_words(rows, &[]).unwrap().elem_count(), 0);
    assert!(losses_by(rows, &[0, 40], WORDS, ALWAYS).unwrap_err().message.contains("below the vocabulary of 40"));
    assert!(losses_by(rows, &[0], WORDS, ALWAYS).is_err());
    let other = UnembeddedRows { x, by: &unembeddings(41, DType::F32)[0] };
    assert!(divergences_by(rows, other, WORDS, ALWAYS).unwrap_err().message.contains("40 and 41 words"));
    assert!(blocks_beside_by(rows, other, WORDS, ALWAYS, &mut |_| {}).unwrap_err().message.contains("40 and 41 words"));
}
