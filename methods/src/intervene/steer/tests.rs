//! Tests of steering: directions, effects, damage, and the random baseline.

use kit::far;

use super::measure::repetition;
use super::sweep::SweepStrength;
use super::*;
use crate::fixtures::{config, decoder};
use crate::model::site::select;
use crate::sae::baselines;

fn model() -> Model {
    Model::new(decoder(config(), DType::F32), None, "test")
}

fn held() -> PushOptions {
    PushOptions { clamp: true, ..PushOptions::default() }
}

fn text() -> Vec<Vec<u32>> {
    vec![vec![1, 2, 3, 4, 5], vec![6, 7, 8], vec![9, 10, 11, 12]]
}

fn prompts() -> Batch {
    Batch::new(vec![vec![1, 2, 3], vec![4, 5]]).unwrap()
}

fn column(table: &Table, name: &str) -> Vec<f64> {
    let number = |cell: &&Cell| match cell {
        Cell::Float(value) => *value,
        Cell::Int(value) => *value as f64,
        other => panic!("{other:?}"),
    };
    table.column(name).unwrap().iter().map(number).collect()
}

fn sweep(model: &Model, directions: Vec<Direction>, options: &SteerOptions, token: u32) -> Result<Table> {
    let push = Push::new(&model.decoder, directions, &text(), &options.push, &Task::default())?;
    let sweep = SteeringSweep { model, push: &push, prompts: &prompts(), options, seed: 3 };
    steer(&sweep, &text(), &mut Effect::Tokens(vec![token]), &Task::default())
}

#[test]
fn a_token_is_promoted_by_its_direction_and_random_ones_do_not() {
    let model = model();
    let row = model.decoder.weights().unembed.weight.row(7).unwrap();
    let direction = || vec![Direction::of_vector("resid_post.1", &row).unwrap()];
    let options = SteerOptions { strengths: vec![0.0, 4.0], ..SteerOptions::default() };
    let table = sweep(&model, direction(), &options, 7).unwrap();
    // Own and random at 0, then at 4.
    let effect = column(&table, "effect");
    let kl = column(&table, "kl");
    let loss = column(&table, "loss");
    assert!((effect[0] - effect[1]).abs() < 1e-9 && kl[0].abs() < 1e-9 && kl[1].abs() < 1e-9, "{table:?}");
    assert!((loss[0] - loss[1]).abs() < 1e-9);
    assert!(effect[2] > effect[0] && effect[2] > effect[3], "{effect:?}");
    assert!(kl[2] > 0.0 && kl[3] > 0.0);
    assert_eq!((column(&table, "prompts"), column(&table, "rows")), (vec![2.0; 4], vec![3.0; 4]));
    let without = SteerOptions { random: 0, tokens: 0, ..options };
    let table = sweep(&model, direction(), &without, 7).unwrap();
    assert_eq!((table.rows.len(), table.column("repetition").unwrap()[0]), (2, &Cell::Missing));
}

#[test]
fn the_random_directions_of_one_call_differ() {
    let model = model();
    let row = model.decoder.weights().unembed.weight.row(7).unwrap();
    let direction = vec![Direction::of_vector("resid_post.1", &row).unwrap()];
    let push = Push::new(&model.decoder, direction, &text(), &PushOptions::default(), &Task::default()).unwrap();
    let options = SteerOptions { strengths: vec![1.0], random: 6, ..SteerOptions::default() };
    let sweep = SteeringSweep { model: &model, push: &push, prompts: &prompts(), options: &options, seed: 3 };
    let mut drawn = Vec::new();
    let mut measure = |pushed: &SweepStrength| {
        drawn.extend(pushed.others.map(|others| floats(&others[0]).unwrap()));
        Ok(vec![vec![0.0]])
    };
    sweep.run(&mut measure, &Task::default()).unwrap();
    assert_eq!(drawn.len(), 6);
    assert!((0..6).all(|at| !drawn[..at].contains(&drawn[at])), "{drawn:?}");
}

#[test]
fn the_loss_without_steering_is_that_of_the_model() {
    let model = model();
    let row = model.decoder.weights().unembed.weight.row(7).unwrap();
    let options = SteerOptions { strengths: vec![0.0], random: 0, tokens: 0, ..SteerOptions::default() };
    let table = sweep(&model, vec![Direction::of_vector("resid_post.0", &row).unwrap()], &options, 7).unwrap();
    let batch = Batch::new(text()).unwrap();
    let losses = model.decoder.losses(&batch, Vec::new(), &Task::default()).unwrap();
    let means: Vec<f64> = losses
        .iter()
        .zip(batch.lengths())
        .map(|(loss, length)| floats(loss).unwrap()[..length - 1].iter().sum::<f64>() / (length - 1) as f64)
        .collect();
    assert!((column(&table, "loss")[0] - means.iter().sum::<f64>() / 3.0).abs() < 1e-5);
}

#[test]
fn clamped_features_have_the_code_they_are_set_to() {
    let model = model();
    let sae = baselines::neurons_relu(16, None).unwrap();
    let direction = Direction::of_features(&sae, &[4], Some("resid_post.0")).unwrap();
    let push = Push::new(&model.decoder, vec![direction], &text(), &held(), &Task::default()).unwrap();
    let hooks = push.hooks(&model.decoder, 2.0, None).unwrap();
    let ask = crate::model::run::Ask { hooks, places: push.places(), positions: None };
    let x = model.decoder.cache(&prompts(), ask, &Task::default()).unwrap().get("resid_post.0").unwrap();
    let codes = floats(&sae.encode(&x.get(0).unwrap()).unwrap().narrow(1, 4, 1).unwrap()).unwrap();
    // Where a neuron was negative its activation was 0, and the residual stream below 0 stays under what is added.
    assert!(codes.iter().any(|code| (code - 2.0 * push.unit()).abs() < 1e-4), "{codes:?}");
    assert!(codes.iter().all(|code| *code <= 2.0 * push.unit() + 1e-4));
}

#[test]
fn vectors_are_differences_and_their_common_component() {
    let model = model();
    let place = select(model.decoder.config(), "embed").unwrap()[0];
    let of = |method| {
        let with = Batch::new(vec![vec![1], vec![2]]).unwrap();
        let without = Batch::new(vec![vec![3], vec![4]]).unwrap();
        let options = VectorOptions { method, ..VectorOptions::default() };
        let side = |batch| ReadTexts { batch, answers: None };
        let texts = ContrastTexts { with: side(with), without: side(without), neutral: None };
        steering_vector(&model.decoder, &texts, place, &options, &Task::default()).unwrap()
    };
    let row = |id: usize| model.decoder.weights().embed.row(id).unwrap();
    let expected = ((((row(1) + row(2)).unwrap() - row(3)).unwrap() - row(4)).unwrap() / 2.0).unwrap();
    let mean = of(VectorMethod::Mean);
    assert!(far(&mean, &expected) < 1e-6);
    let pca = of(VectorMethod::Pca);
    let dot = (&pca * &mean).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    let size = pca.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    // Its length is that of the mean difference along it.
    assert!(dot > 0.0 && (dot - size).abs() < 1e-4 * size, "{dot} and {size}");
}

#[test]
fn answers_are_read_at_their_own_tokens_and_confounds_are_gone() {
    let model = model();
    let place = select(model.decoder.config(), "embed").unwrap()[0];
    let row = |id: usize| model.decoder.weights().embed.row(id).unwrap();
    let answered = |rows: Vec<Vec<u32>>, answers: Vec<std::ops::Range<usize>>| ReadTexts {
        batch: Batch::new(rows).unwrap(),
        answers: Some(answers),
    };
    let texts = |neutral: Option<Batch>| ContrastTexts {
        with: answered(vec![vec![9, 1, 2], vec![9, 3]], vec![1..3, 1..2]),
        without: answered(vec![vec![9, 8, 4], vec![9, 4]], vec![2..3, 1..2]),
        neutral,
    };
    let of = |neutral, confounds| {
        let options = VectorOptions { confounds, ..VectorOptions::default() };
        steering_vector(&model.decoder, &texts(neutral), place, &options, &Task::default())
    };
    let plain = of(None, None).unwrap();
    let answer = ((row(1) + row(2)).unwrap() / 2.0).unwrap();
    let expected = (((answer + row(3)).unwrap() / 2.0).unwrap() - row(4)).unwrap();
    assert!(far(&plain, &expected) < 1e-6);
    // Three tokens behind the first of their text span a plane about their mean, which the vector has no part in.
    let neutral = || Some(Batch::new(vec![vec![9, 5, 6], vec![9, 7]]).unwrap());
    let left = of(neutral(), Some(1.0)).unwrap();
    for other in [6, 7] {
        let axis = (row(5) - row(other)).unwrap();
        let dot = |x: &Tensor| f64::from((x * &axis).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap());
        assert!(dot(&left).abs() < 1e-5, "{}", dot(&left));
        assert!(dot(&plain).abs() > 1e-3, "{}", dot(&plain));
    }
    assert!(far(of(neutral(), Some(0.0)).unwrap(), &plain) < 1e-6);
    assert!(of(None, Some(0.5)).unwrap_err().message.starts_with("expected `neutral` text"));
    assert!(of(Some(Batch::new(vec![vec![9], vec![5]]).unwrap()), None).is_err());
}

#[test]
fn repetition_is_the_share_of_triples_that_come_again() {
    assert_eq!(repetition(&[1, 2]), 0.0);
    assert_eq!(repetition(&[1, 2, 3, 4, 5]), 0.0);
    assert_eq!(repetition(&[7, 7, 7, 7, 7]), 1.0 - 1.0 / 3.0);
}

#[test]
fn what_cannot_steer_is_refused() {
    let model = model();
    let zero = Tensor::zeros(16, DType::F32, &Device::Cpu).unwrap();
    assert!(Direction::of_vector("resid_post.0", &zero).is_err());
    let ones = |width: usize| Tensor::ones(width, DType::F32, &Device::Cpu).unwrap();
    let run = |direction: Direction, options: &SteerOptions| {
        sweep(&model, vec![direction], options, 7).map(drop).unwrap_err().message
    };
    let narrow = Direction::of_vector("resid_post.0", &ones(3)).unwrap();
    assert_eq!(run(narrow, &SteerOptions::default()), "expected a vector of 16 numbers at `resid_post.0`, found 3");
    let clamped = SteerOptions { push: held(), ..SteerOptions::default() };
    let vector = || Direction::of_vector("resid_post.0", &ones(16)).unwrap();
    assert_eq!(run(vector(), &clamped), "expected features to clamp, found a vector at `resid_post.0`");
    let infinite = SteerOptions { strengths: vec![f64::NAN], ..SteerOptions::default() };
    assert_eq!(run(vector(), &infinite), "expected finite strengths, found NaN");
    let sae = baselines::neurons_relu(16, None).unwrap();
    assert!(Direction::of_features(&sae, &[16], Some("resid_post.0")).is_err());
    assert!(Direction::of_features(&sae, &[], Some("resid_post.0")).is_err());
}
