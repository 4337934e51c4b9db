//! Tests of the gradients of all differentiable functions, against finite differences.

use super::reduce::{Reduction, reduce};
use super::*;
use crate::base::Result;
use crate::base::random::stream;

/// A function of one tensor, with the name that a failure is reported by.
type Case = (&'static str, fn(&Tensor) -> Result<Tensor>);

fn constant(dims: &[usize], seed: u64) -> Tensor {
    create::uniform(dims, 0.5, 2.0, DType::F64, &mut stream(seed, "test", 0)).unwrap()
}

fn positions() -> Tensor {
    create::from_floats(vec![2.0, 0.0, 1.0, 1.0, 3.0, 0.0], &[2, 3], DType::I64).unwrap()
}

fn cases() -> Vec<Case> {
    vec![
        ("add", |x| arithmetic::add(&x.into(), &constant(&[4], 1).into())),
        ("number minus", |x| arithmetic::sub(&2.into(), &x.into())),
        ("mul", |x| arithmetic::mul(&x.into(), &x.into())),
        ("div", |x| arithmetic::div(&constant(&[2, 4], 2).into(), &x.into())),
        ("pow number", |x| arithmetic::pow(&x.into(), &1.5.into())),
        ("square", |x| arithmetic::pow(&x.into(), &2.into())),
        ("pow tensor", |x| arithmetic::pow(&constant(&[4], 3).into(), &x.into())),
        ("maximum", |x| compare::maximum(&x.into(), &1.2.into())),
        ("clamp", |x| compare::clamp(x, Some(Number::Float(0.8)), Some(Number::Float(1.5)))),
        ("exp", elementwise::exp),
        ("log", elementwise::log),
        ("sqrt", elementwise::sqrt),
        ("sin", elementwise::sin),
        ("cos", elementwise::cos),
        ("tanh", elementwise::tanh),
        ("erf", elementwise::erf),
        ("gelu", elementwise::gelu),
        ("silu", elementwise::silu),
        ("recip", elementwise::recip),
        ("sigmoid", elementwise::sigmoid),
        ("relu", elementwise::relu),
        ("abs", elementwise::abs),
        ("softmax", |x| normalise::softmax(x, 1)),
        ("log_softmax", |x| normalise::log_softmax(x, 0)),
        ("cosine", |x| normalise::cosine(x, &constant(&[2, 4], 4), 1)),
        ("matmul", |x| matmul::matmul(x, &constant(&[4, 3], 5))),
        ("matmul from the right", |x| matmul::matmul(&constant(&[3, 2], 6), x)),
        ("einsum", |x| einsum::einsum("ij,jk,il->kl", &[x.clone(), constant(&[4, 2], 7), x.clone()])),
        ("sum", |x| reduce(x, Reduction::Sum, Some(&[0]), false)),
        ("std", |x| reduce(x, Reduction::Std { correction: 1.0 }, Some(&[1]), false)),
        ("max", |x| reduce(x, Reduction::Max, Some(&[1]), false)),
        ("logsumexp", |x| reduce(x, Reduction::LogSumExp, Some(&[0, 1]), false)),
        ("norm 3", |x| reduce(x, Reduction::Norm { p: 3.0 }, Some(&[1]), true)),
        ("cumsum", |x| order::cumsum(x, 1)),
        ("sort", |x| Ok(order::sort(x, 1, order::Direction::Descending)?.0)),
        ("topk", |x| Ok(order::topk(x, 2, 1, order::Direction::Descending)?.0)),
        ("index", |x| index::get(x, &[index::Index::At(1), index::Index::List(vec![0, 0, 3])])),
        ("assign", |x| index::set(x, &[index::Index::All, index::Index::At(0)], &7.into())),
        ("assign itself", |x| index::set(&constant(&[2, 4], 8), &[index::Index::At(1)], &x.get(0)?.into())),
        ("gather", |x| gather::gather(x, 1, &positions())),
        ("scatter", |x| gather::scatter(&constant(&[2, 4], 9), 1, &positions(), &x.narrow(1, 0, 3)?.contiguous()?)),
        ("scatter_add", |x| gather::scatter_add(x, 1, &positions(), &x.narrow(1, 0, 3)?.contiguous()?)),
        ("tril", |x| shape::tril(x, 0)),
        ("flip", |x| shape::flip(x, None)),
        ("repeat", |x| shape::repeat(x, &[2, 3])),
        ("cat", |x| shape::cat(&[x.clone(), x.clone()], 0)),
        ("roll", |x| shape::roll(x, 1, 1)),
        ("cast", |x| dtype::cast(x, DType::F64)),
    ]
}

/// The sum of the squares of a function's result, as a function of one number for every element.
fn objective(f: fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Tensor {
    f(x).unwrap().sqr().unwrap().sum_all().unwrap()
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let values = element::floats(&constant(&[2, 4], 0)).unwrap();
    let make = |values: &[f64]| create::from_floats(values.to_vec(), &[2, 4], DType::F64).unwrap();
    for (name, f) in cases() {
        let x = candle_core::Var::from_tensor(&make(&values)).unwrap();
        let grads = objective(f, &x).backward().unwrap();
        let found = element::floats(grads.get(&x).unwrap_or_else(|| panic!("{name} has no gradient"))).unwrap();
        for i in 0..values.len() {
            let step = 1e-6;
            let at = |change: f64| {
                let mut moved = values.clone();
                moved[i] += change;
                element::floats(&objective(f, &make(&moved))).unwrap()[0]
            };
            let expected = (at(step) - at(-step)) / (2.0 * step);
            let close = (found[i] - expected).abs() <= 1e-4 * expected.abs().max(1.0);
            assert!(close, "{name}: element {i}: {} is not {expected}", found[i]);
        }
    }
}
