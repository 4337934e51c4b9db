//! Tests of every metric by its formula, from whole runs of single prompts.

use kit::{assert_close, assert_near};

use super::*;
use crate::fixtures::{config, configs, decoder};
use crate::model::hooks::Action;
use crate::tensor::normalise;

fn pairs() -> Vec<TokenPair> {
    let pair = |clean: &[u32], corrupt: &[u32], answers: &[&[u32]], wrong: &[&[u32]]| TokenPair {
        clean: clean.to_vec(),
        corrupt: corrupt.to_vec(),
        answers: answers.iter().map(|ids| ids.to_vec()).collect(),
        wrong: wrong.iter().map(|ids| ids.to_vec()).collect(),
        ..TokenPair::default()
    };
    vec![
        pair(&[1, 2, 3], &[1, 4, 3], &[&[2]], &[&[5]]),
        pair(&[3, 3, 0, 1, 2], &[3, 3, 0, 1, 4], &[&[4, 1], &[4, 2, 0], &[1]], &[&[0], &[3, 3]]),
        pair(&[5, 1], &[2, 1], &[&[0], &[1]], &[&[2, 2]]),
    ]
}

/// Returns log p of a token after a text.
fn log_p(model: &Decoder, text: &[u32], token: u32) -> f64 {
    let batch = Batch::new(vec![text.to_vec()]).unwrap();
    let logits = model.logits(&batch, vec![], &Task::default()).unwrap().get(0).unwrap().get(text.len() - 1).unwrap();
    let all: Vec<f64> = logits.to_dtype(DType::F64).unwrap().to_vec1().unwrap();
    all[token as usize] - all.iter().map(|x| x.exp()).sum::<f64>().ln()
}

fn score(model: &Decoder, prompt: &[u32], answer: &[u32]) -> f64 {
    (0..answer.len()).map(|at| log_p(model, &[prompt, &answer[..at]].concat(), answer[at])).sum()
}

fn log_sum(model: &Decoder, prompt: &[u32], answers: &[Vec<u32>]) -> f64 {
    answers.iter().map(|answer| score(model, prompt, answer).exp()).sum::<f64>().ln()
}

fn found(measure: Measure, model: &Decoder, which: Prompt) -> Vec<f64> {
    floats(&values(measure, model, model, &pairs(), which, vec![], &Task::default()).unwrap()).unwrap()
}

#[test]
fn metrics_of_answers_are_their_formulas_in_every_shape_of_model() {
    for config in configs() {
        let model = decoder(config, DType::F32);
        for which in [Prompt::Clean, Prompt::Corrupt] {
            let all = pairs();
            let text = |pair: &TokenPair| pair.prompt(which).unwrap().to_vec();
            let right = |pair: &TokenPair| log_sum(&model, &text(pair), &pair.answers);
            let wrong = |pair: &TokenPair| log_sum(&model, &text(pair), &pair.wrong);
            assert_close(found(Measure::LogProb, &model, which), all.iter().map(right).collect::<Vec<_>>(), 1e-4);
            assert_close(
                found(Measure::Prob, &model, which),
                all.iter().map(|pair| right(pair).exp()).collect::<Vec<_>>(),
                1e-4,
            );
            assert_close(
                found(Measure::LogitDiff, &model, which),
                all.iter().map(|pair| right(pair) - wrong(pair)).collect::<Vec<_>>(),
                1e-4,
            );
        }
    }
}

/// Compares what is read of a vocabulary of more words than a block, and its gradients, with what is read of whole logits: a
/// hook at these, which changes nothing, has them made.
#[test]
fn of_a_large_vocabulary_the_same_is_read_as_of_whole_logits() {
    let task = Task::default();
    let shapes = configs().into_iter().filter(|config| config.logit_cap.is_some() || config.unembed_bias);
    for config in shapes {
        let model = decoder(Config { vocab: kernels::WORDS + 30, vocab_out: None, ..config }, DType::F32);
        assert!(model.reads_in_words());
        let zeros = Tensor::zeros(model.config().outputs(), DType::F32, model.device()).unwrap();
        let still = || {
            let action = Action::Add { vector: zeros.clone(), scale: 1.0 };
            vec![BoundHook::new(model.config(), "logits", None, None, Box::new(action.begin())).unwrap()]
        };
        let place = Place { site: Site::new(SiteKind::ResidPost, 0), head: None };
        let kl = Measure::Kl(Prompt::Corrupt);
        for measure in [Measure::LogitDiff, Measure::LogProb, Measure::Prob, Measure::Rank, kl, Measure::Loss] {
            // The first pair alone has answers of one token each.
            for count in [1, 3] {
                let numbers: Vec<usize> = (0..count).collect();
                let plan = MetricPlan::new(measure, &model, &pairs()[..count], Prompt::Clean, &numbers, &task).unwrap();
                let run = |hooks| {
                    let mut chain = Chain { hooks, ..Chain::default() };
                    floats(&plan.run(&model, &mut chain, &task).unwrap()).unwrap()
                };
                assert_close(run(Vec::new()), run(still()), 1e-5);
                if !measure.has_gradient() {
                    continue;
                }
                let slopes = |hooks| {
                    let mut metric = |end: &PassEnd| Ok(plan.values(&model, end, &task)?.sum_all()?);
                    let points = plan.points();
                    let found = model.grads_of_end(plan.batch(), hooks, &[place], points, &mut metric, &task).unwrap();
                    found.cache.at(place).unwrap()
                };
                assert_close(slopes(Vec::new()), slopes(still()), 1e-5);
            }
        }
    }
}

#[test]
fn the_difference_of_single_tokens_is_that_of_their_logits() {
    let model = decoder(config(), DType::F32);
    let pair = &pairs()[0];
    let batch = Batch::new(vec![pair.clean.clone()]).unwrap();
    let last = model.logits(&batch, vec![], &Task::default()).unwrap().get(0).unwrap().get(2).unwrap();
    let logits = floats(&last).unwrap();
    assert_close(&found(Measure::LogitDiff, &model, Prompt::Clean)[..1], [logits[2] - logits[5]], 1e-4);
}

#[test]
fn a_rank_counts_the_likelier_tokens() {
    let model = decoder(config(), DType::F32);
    let rank = |text: &[u32], token: u32| {
        let own = log_p(&model, text, token);
        1 + (0..model.config().outputs() as u32).filter(|other| log_p(&model, text, *other) > own + 1e-9).count()
    };
    let of = |pair: &TokenPair| {
        let answer = |answer: &Vec<u32>| {
            (0..answer.len()).map(|at| rank(&[&pair.clean, &answer[..at]].concat(), answer[at])).max().unwrap()
        };
        pair.answers.iter().map(answer).min().unwrap() as f64
    };
    assert_close(found(Measure::Rank, &model, Prompt::Clean), pairs().iter().map(of).collect::<Vec<_>>(), 1e-4);
}

#[test]
fn no_part_of_a_metric_is_narrower_than_the_model() {
    let model = decoder(config(), DType::F64);
    let own = found(Measure::Kl(Prompt::Clean), &model, Prompt::Clean);
    assert!(own.iter().all(|kl| kl.abs() < 1e-14), "{own:?}");
    // The second clean prompt has four losses, the first two.
    let loss = |pair: &TokenPair| {
        let ids = &pair.clean;
        (1..ids.len()).map(|at| -log_p(&model, &ids[..at], ids[at])).sum::<f64>() / (ids.len() - 1) as f64
    };
    assert_near(found(Measure::Loss, &model, Prompt::Clean), pairs().iter().map(loss).collect::<Vec<_>>(), 1e-12);
}

#[test]
fn losses_and_divergences_are_of_whole_texts_and_of_last_positions() {
    let model = decoder(config(), DType::F32);
    let vocab = model.config().outputs() as u32;
    let loss = |pair: &TokenPair| {
        let ids = &pair.corrupt;
        (1..ids.len()).map(|at| -log_p(&model, &ids[..at], ids[at])).sum::<f64>() / (ids.len() - 1) as f64
    };
    assert_close(found(Measure::Loss, &model, Prompt::Corrupt), pairs().iter().map(loss).collect::<Vec<_>>(), 1e-4);
    let kl = |pair: &TokenPair| {
        (0..vocab)
            .map(|token| {
                let p = log_p(&model, &pair.clean, token);
                p.exp() * (p - log_p(&model, &pair.corrupt, token))
            })
            .sum::<f64>()
    };
    assert_close(
        found(Measure::Kl(Prompt::Clean), &model, Prompt::Corrupt),
        pairs().iter().map(kl).collect::<Vec<_>>(),
        1e-4,
    );
    assert_close(found(Measure::Kl(Prompt::Clean), &model, Prompt::Clean), [0.0; 3], 1e-4);
}

#[test]
fn a_mean_divergence_is_over_all_positions_of_prompts_that_are_as_long() {
    let model = decoder(config(), DType::F32);
    let vocab = model.config().outputs() as u32;
    let pair = TokenPair { clean: vec![1, 2, 3], corrupt: vec![1, 5, 3], ..TokenPair::default() };
    let kl = |end: usize| {
        let term = |token| {
            let p = log_p(&model, &pair.clean[..end], token);
            p.exp() * (p - log_p(&model, &pair.corrupt[..end], token))
        };
        (0..vocab).map(term).sum::<f64>()
    };
    let mean = (1..=3).map(kl).sum::<f64>() / 3.0;
    let of = |pairs: &[TokenPair]| {
        let measure = Measure::MeanKl(Prompt::Clean);
        values(measure, &model, &model, pairs, Prompt::Corrupt, vec![], &Task::default())
    };
    assert_close(floats(&of(std::slice::from_ref(&pair)).unwrap()).unwrap(), [mean], 1e-4);
    let longer = TokenPair { corrupt: vec![1, 5, 3, 4], ..pair.clone() };
    let error = of(&[pair, longer]).unwrap_err();
    assert!(error.message.contains("as many tokens as in the reference prompt, 3, found 4 in pair 1"), "{error:?}");
}

#[test]
fn a_measure_of_ones_own_has_the_last_logits_of_its_pair() {
    let model = decoder(config(), DType::F32);
    let own = |pair: usize, logits: &Tensor| -> Result<Tensor> {
        let token = pairs()[pair].answers[0][0] as usize;
        Ok(normalise::log_softmax(logits, 0)?.get(token)?)
    };
    let expected = pairs().into_iter().map(|pair| log_p(&model, &pair.clean, pair.answers[0][0]));
    assert_close(found(Measure::Of(&own), &model, Prompt::Clean), expected.collect::<Vec<_>>(), 1e-4);
    let wide = |_: usize, logits: &Tensor| -> Result<Tensor> { Ok(logits.clone()) };
    let error =
        values(Measure::Of(&wide), &model, &model, &pairs(), Prompt::Clean, vec![], &Task::default()).unwrap_err();
    assert!(error.message.starts_with("expected one number from the metric of pair 0, found shape"));
}

#[test]
fn normalised_metrics_are_0_for_corrupt_prompts_and_1_for_clean_ones() {
    let model = decoder(config(), DType::F32);
    let normaliser = Normaliser::of(Measure::LogitDiff, &model, &pairs(), &Task::default()).unwrap();
    let mean = |which| {
        let values = values(Measure::LogitDiff, &model, &model, &pairs(), which, vec![], &Task::default()).unwrap();
        floats(&normaliser.values(&values).unwrap()).unwrap().iter().sum::<f64>() / 3.0
    };
    assert!(mean(Prompt::Corrupt).abs() < 1e-6 && (mean(Prompt::Clean) - 1.0).abs() < 1e-5);
    assert!(Normaliser::new(&[1.0, 3.0], &[3.0, 1.0]).unwrap_err().message.ends_with("on average, and that is 0"));
}

#[test]
fn hooks_act_and_gradients_pass() {
    let model = decoder(config(), DType::F32);
    let task = Task::default();
    let d = model.config().d_model;
    let of = |vector: Tensor| {
        let action = Box::new(Action::Add { vector, scale: 1.0 }.begin());
        let hook = BoundHook::new(model.config(), "resid_pre.1", None, None, action).unwrap();
        values(Measure::LogitDiff, &model, &model, &pairs(), Prompt::Clean, vec![hook], &task).unwrap()
    };
    let vector = candle_core::Var::zeros(d, DType::F32, model.device()).unwrap();
    let sum = of(vector.as_tensor().clone()).sum_all().unwrap();
    let gradient = sum.backward().unwrap().get(&vector).unwrap().to_vec1::<f32>().unwrap();
    let along = |h: f32| {
        let moved: Vec<f32> = gradient.iter().map(|g| g * h).collect();
        of(Tensor::new(moved, model.device()).unwrap()).sum_all().unwrap().to_scalar::<f32>().unwrap()
    };
    let norm: f32 = gradient.iter().map(|g| g * g).sum();
    let h = 1e-2 / norm.sqrt();
    let slope = (along(h) - along(-h)) / (2.0 * h);
    assert!(norm > 0.0 && (slope - norm).abs() < 0.02 * norm, "{slope} and {norm}");
}

#[test]
fn what_a_metric_lacks_is_named_with_its_pair() {
    let model = decoder(config(), DType::F32);
    let error = |change: fn(&mut TokenPair), measure: Measure| {
        let mut all = pairs();
        change(&mut all[2]);
        values(measure, &model, &model, &all, Prompt::Corrupt, vec![], &Task::default()).unwrap_err().message
    };
    assert!(
        error(|pair| pair.wrong.clear(), Measure::LogitDiff).starts_with("pair 2: `logit_diff` needs wrong answers")
    );
    assert!(error(|pair| pair.answers.clear(), Measure::Prob).starts_with("pair 2: `prob` needs the correct answers"));
    assert!(
        error(|pair| pair.corrupt.clear(), Measure::Loss).contains("corrupt prompt of at least one token in pair 2")
    );
    assert!(
        error(|pair| pair.corrupt.truncate(1), Measure::Loss).starts_with("pair 2: expected a prompt of at least two")
    );
    assert!(values(Measure::Prob, &model, &model, &[], Prompt::Clean, vec![], &Task::default()).is_err());
}
