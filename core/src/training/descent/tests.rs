//! Tests of descents: updates against their formulas, constraints, and steps that fail.

use super::*;
use crate::base::random::stream;
use crate::tensor::reduce::{Reduction, reduce};
use crate::tensor::{arithmetic, create, linalg, matmul, shape};

fn t(values: &[f64], dims: &[usize], dtype: DType) -> Tensor {
    create::from_floats(values.to_vec(), dims, dtype).unwrap()
}

fn f64s(t: &Tensor) -> Vec<f64> {
    floats(t).unwrap()
}

fn random(dims: &[usize], seed: u64) -> Tensor {
    create::randn(dims, DType::F64, &mut stream(seed, "test", 0)).unwrap()
}

fn squares(p: &[Tensor]) -> Result<Tensor> {
    reduce(&arithmetic::pow(&(&p[0]).into(), &2.into())?, Reduction::Sum, None, false)
}

fn descent(rule: DescentRule, x: &Tensor, options: DescentOptions) -> Descent {
    Descent::new(rule, vec![("x".into(), x.clone())], options).unwrap()
}

const SGD: DescentRule = DescentRule::Sgd { momentum: 0.9, weight_decay: 0.1 };
const ADAM: DescentRule = DescentRule::Adam { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.1 };
const ADAMW: DescentRule = DescentRule::AdamW { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.1 };

/// Makes three steps on x^2 by the formulas of the papers.
fn by_hand(rule: DescentRule, mut x: f64, lr: f64) -> f64 {
    let mut m = 0.0;
    let mut v = 0.0;
    for step in 1..=3 {
        let gradient = 2.0 * x;
        x = match rule {
            DescentRule::Sgd { momentum, weight_decay } => {
                m = momentum * m + gradient + weight_decay * x;
                x - lr * m
            }
            DescentRule::Adam { betas: [b1, b2], eps, weight_decay }
            | DescentRule::AdamW { betas: [b1, b2], eps, weight_decay } => {
                let apart = matches!(rule, DescentRule::AdamW { .. });
                let gradient = if apart { gradient } else { gradient + weight_decay * x };
                m = b1 * m + (1.0 - b1) * gradient;
                v = b2 * v + (1.0 - b2) * gradient * gradient;
                let mean = m / (1.0 - b1.powi(step));
                let square = v / (1.0 - b2.powi(step));
                let kept = if apart { x * (1.0 - lr * weight_decay) } else { x };
                kept - lr * mean / (square.sqrt() + eps)
            }
        };
    }
    x
}

#[test]
fn steps_are_those_of_the_formulas() {
    for rule in [SGD, ADAM, ADAMW] {
        for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 1e-6)] {
            let mut descent =
                descent(rule, &t(&[1.0, -3.0], &[2], dtype), DescentOptions { lr: 0.1, ..Default::default() });
            let losses: Vec<f64> = (0..3).map(|_| descent.step(&mut squares, &Task::default()).unwrap()).collect();
            assert!((losses[0] - 10.0).abs() < 1e-6 && losses[2] < losses[0], "{losses:?}");
            for (found, x) in f64s(&descent.parameters()[0]).into_iter().zip([1.0, -3.0]) {
                let expected = by_hand(rule, x, 0.1);
                assert!((found - expected).abs() < tolerance, "{rule:?} {dtype:?}: {found} is not {expected}");
            }
        }
    }
}

#[test]
fn constraints_hold_after_every_step() {
    let task = Task::default();
    let aim = random(&[5, 3], 1);
    let mut away = |p: &[Tensor]| squares(&[(&p[0] - &aim)?]);
    let all = || ParameterChoice::All;
    for rule in [SGD, ADAM, ADAMW] {
        let unit = DescentOptions { lr: 0.1, unit: all(), ..Default::default() };
        let orthogonal = DescentOptions { lr: 0.1, orthogonal: all(), ..Default::default() };
        let range = DescentOptions { lr: 0.1, range: ParameterRanges::All([-0.2, 0.3]), ..Default::default() };
        let mut made = |options| {
            let mut descent = descent(rule, &random(&[5, 3], 2), options);
            let losses: Vec<f64> = (0..30).map(|_| descent.step(&mut away, &task).unwrap()).collect();
            assert!(losses[29] < losses[0], "{rule:?}: {losses:?}");
            descent.parameters().remove(0)
        };
        let rows = f64s(&reduce(&made(unit), Reduction::Norm { p: 2.0 }, Some(&[1]), false).unwrap());
        assert!(rows.iter().all(|size| (size - 1.0).abs() < 1e-12));
        let w = made(orthogonal);
        let gram = f64s(&matmul::matmul(&shape::transpose(&w, 0, 1).unwrap(), &w).unwrap());
        assert!(gram.iter().enumerate().all(|(i, x)| (x - f64::from(u8::from(i % 4 == 0))).abs() < 1e-12));
        assert!(f64s(&made(range)).iter().all(|x| (-0.2..=0.3).contains(x)));
    }
}

/// Checks a descent against the best orthonormal W for tr(W^T A), which is U V^T of A's singular vectors (Schönemann
/// 1966).
#[test]
fn an_orthogonal_descent_finds_the_procrustes_rotation() {
    let aim = random(&[4, 4], 3);
    let task = Task::default();
    let options = DescentOptions { lr: 0.05, orthogonal: ParameterChoice::All, ..Default::default() };
    let rule = DescentRule::Sgd { momentum: 0.0, weight_decay: 0.0 };
    let linalg::SvdTensors { u, s, vt } = linalg::svd(&aim).unwrap();
    let best = matmul::matmul(&u, &vt).unwrap();
    // From the same component of the group as the best, which no continuous path leaves.
    let begun = matmul::matmul(
        &best,
        &linalg::qr(&(create::eye(4, 4, DType::F64).unwrap() + (random(&[4, 4], 4) * 0.2).unwrap()).unwrap())
            .unwrap()
            .0,
    )
    .unwrap();
    let mut descent = descent(rule, &begun, options);
    let mut loss = |p: &[Tensor]| -> Result<Tensor> { Ok((&p[0] * &aim)?.sum_all()?.neg()?) };
    let mut last = 0.0;
    for _ in 0..2000 {
        last = descent.step(&mut loss, &task).unwrap();
    }
    let most: f64 = f64s(&s).iter().sum();
    assert!((last + most).abs() < 1e-6, "{last} is not {}", -most);
}

#[test]
fn a_step_that_fails_names_its_parameter_and_changes_nothing() {
    let task = Task::default();
    let parameters = vec![("a".into(), t(&[1.0], &[1], DType::F32)), ("b".into(), t(&[0.0], &[1], DType::F32))];
    let mut descent = Descent::new(ADAMW, parameters, DescentOptions::default()).unwrap();
    descent.step(&mut |p| Ok(((&p[0] + &p[1])?.sqr()?).sum_all()?), &task).unwrap();
    let before: Vec<f64> = descent.parameters().iter().flat_map(f64s).collect();
    let mut root = |p: &[Tensor]| -> Result<Tensor> { Ok((&p[0] + (&p[1] - &p[1].detach())?.sqrt()?)?.sum_all()?) };
    let error = descent.step(&mut root, &task).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Numeric, "the gradient of `b` is inf at step 2"));
    let error = descent.step(&mut |p| Ok((p[0].sum_all()? * f64::INFINITY)?), &task).unwrap_err();
    assert_eq!(error.message, "the loss is inf at step 2");
    assert_eq!(descent.parameters().iter().flat_map(f64s).collect::<Vec<f64>>(), before);
    assert_eq!(descent.made(), 1);
}

#[test]
fn what_cannot_descend_is_refused() {
    let x = || vec![("weight".to_string(), t(&[1.0, 2.0], &[2], DType::F32))];
    let refused = |options: DescentOptions| Descent::new(ADAM, x(), options).err().unwrap();
    let named = |name: &str| ParameterChoice::Named(vec![name.into()]);
    let error = refused(DescentOptions { unit: named("wieght"), ..Default::default() });
    assert_eq!(error.hint.as_deref(), Some("did you mean `weight`?"));
    assert!(refused(DescentOptions { orthogonal: named("weight"), ..Default::default() }).message.contains("a matrix"));
    let both = DescentOptions { unit: named("weight"), range: ParameterRanges::All([0.0, 1.0]), ..Default::default() };
    assert!(refused(both).message.contains("found several"));
    assert!(
        refused(DescentOptions { schedule: ScheduleShape::Linear, ..Default::default() }).message.contains("`steps`")
    );
    let ints = vec![("ids".to_string(), t(&[1.0], &[1], DType::I64))];
    assert!(Descent::new(ADAM, ints, DescentOptions::default()).err().unwrap().message.contains("`ids`"));
    assert!(Descent::new(ADAM, Vec::new(), DescentOptions::default()).is_err());
}

#[test]
fn the_rate_follows_the_schedule() {
    let options =
        DescentOptions { lr: 1.0, schedule: ScheduleShape::Linear, warmup: 2, steps: Some(6), ..Default::default() };
    let mut descent = descent(SGD, &t(&[1e-3], &[1], DType::F64), options);
    let mut rates = Vec::new();
    for _ in 0..7 {
        rates.push(descent.rate());
        descent.step(&mut squares, &Task::default()).unwrap();
    }
    assert_eq!(rates, [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]);
}

#[test]
fn an_interruption_keeps_the_steps_so_far() {
    let task = Task::default();
    let mut descent = descent(SGD, &t(&[1.0], &[1], DType::F64), DescentOptions::default());
    let flag = task.flag().clone();
    let within = task.clone();
    let step = || {
        if descent.made() == 3 {
            flag.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        descent.step(&mut squares, &within)
    };
    let losses = descend(Steps { count: 100, label: "descending", left: "the losses so far" }, step, &task).unwrap();
    assert_eq!((losses.len() as u64, task.is_interrupted()), (descent.made(), false));
    assert!((3..=4).contains(&losses.len()));
}
