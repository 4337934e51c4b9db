//! Tests of the gradients of all functions: those that pass them against finite differences, by candle's graph and by the
//! tape; those whose derivative is 0 give constants; and those that pass none refuse.

use super::reduce::{Reduction, reduce};
use super::*;
use crate::base::random::stream;
use crate::base::{Result, Task};

/// A function of one tensor, with the name that a failure is reported by.
type NamedFunction = (&'static str, fn(&Tensor) -> Result<Tensor>);

fn constant(dims: &[usize], seed: u64) -> Tensor {
    create::uniform(dims, 0.5, 2.0, DType::F64, &mut stream(seed, "test", 0)).unwrap()
}

fn positions() -> Tensor {
    create::from_floats(vec![2.0, 0.0, 1.0, 1.0, 3.0, 0.0], &[2, 3], DType::I64).unwrap()
}

/// Builds a square matrix of x.
fn square(x: &Tensor) -> Result<Tensor> {
    matmul::matmul(x, &constant(&[4, 2], 20))
}

/// Builds a positive definite matrix of x.
fn definite(x: &Tensor) -> Result<Tensor> {
    let gram = matmul::matmul(&shape::transpose(x, 0, 1)?, x)?;
    arithmetic::add(&gram.into(), &create::eye(4, 4, DType::F64)?.into())
}

/// Builds two square matrices of x.
fn batch(x: &Tensor) -> Result<Tensor> {
    shape::reshape(x, &[2, 2, 2])
}

fn sum_of(parts: [Tensor; 2]) -> Result<Tensor> {
    let flat = parts.map(|part| shape::flatten(&part, 0, -1).unwrap());
    shape::cat(&flat, 0)
}

const OPERATORS: &[NamedFunction] = &[
    ("add", |x| arithmetic::add(&x.into(), &constant(&[4], 1).into())),
    ("add to all", |x| arithmetic::add(&constant(&[3, 2, 4], 1).into(), &x.into())),
    ("add number", |x| arithmetic::add(&x.into(), &2.into())),
    ("sub", |x| arithmetic::sub(&constant(&[2, 1], 1).into(), &x.into())),
    ("number minus", |x| arithmetic::sub(&2.into(), &x.into())),
    ("neg", arithmetic::neg),
    ("mul", |x| arithmetic::mul(&x.into(), &x.into())),
    ("mul row", |x| arithmetic::mul(&x.into(), &x.get(0)?.into())),
    ("mul number", |x| arithmetic::mul(&3.into(), &x.into())),
    ("div", |x| arithmetic::div(&constant(&[2, 4], 2).into(), &x.into())),
    ("div by row", |x| arithmetic::div(&x.into(), &x.get(1)?.into())),
    ("rem", |x| arithmetic::rem(&x.into(), &constant(&[4], 1).into())),
    ("rem by", |x| arithmetic::rem(&3.into(), &x.into())),
    ("pow number", |x| arithmetic::pow(&x.into(), &1.5.into())),
    ("square", |x| arithmetic::pow(&x.into(), &2.into())),
    ("cube", |x| arithmetic::pow(&x.into(), &3.into())),
    ("pow 4", |x| arithmetic::pow(&x.into(), &4.into())),
    ("pow 5", |x| arithmetic::pow(&x.into(), &5.into())),
    ("pow 0", |x| arithmetic::add(&arithmetic::pow(&x.into(), &0.into())?.into(), &x.into())),
    ("pow tensor", |x| arithmetic::pow(&constant(&[4], 3).into(), &x.into())),
    ("pow of tensor", |x| arithmetic::pow(&x.into(), &constant(&[4], 3).into())),
    ("pow of negatives", |x| {
        arithmetic::pow(&arithmetic::neg(x)?.into(), &create::full(&[4], 3.into(), DType::F64)?.into())
    }),
    ("matmul", |x| matmul::matmul(x, &constant(&[4, 3], 5))),
    ("matmul from the right", |x| matmul::matmul(&constant(&[3, 2], 6), x)),
    ("matmul vector", |x| matmul::matmul(x, &x.get(0)?)),
    ("matmul vector from the left", |x| matmul::matmul(&constant(&[2], 6), x)),
    ("matmul of a batch", |x| matmul::matmul(&constant(&[3, 5, 2], 6), x)),
    ("matmul of batches", |x| matmul::matmul(&batch(x)?, &batch(x)?)),
    ("outer", |x| matmul::outer(&x.get(0)?, &x.get(1)?)),
    ("maximum", |x| compare::maximum(&x.into(), &1.2.into())),
    ("minimum", |x| compare::minimum(&x.into(), &constant(&[4], 13).into())),
    ("where", |x| {
        let mask = compare::compare(compare::Comparison::Gt, &x.into(), &1.2.into())?;
        compare::select(&mask, &x.into(), &x.get(0)?.into())
    }),
    ("clamp", |x| compare::clamp(x, Some(Number::Float(0.8)), Some(Number::Float(1.5)))),
    ("cast", |x| dtype::cast(x, DType::F64)),
];

const ELEMENTS: &[NamedFunction] = &[
    ("exp", elementwise::exp),
    ("log", elementwise::log),
    ("log2", elementwise::log2),
    ("log10", elementwise::log10),
    ("sqrt", elementwise::sqrt),
    ("sin", elementwise::sin),
    ("cos", elementwise::cos),
    ("tanh", elementwise::tanh),
    ("erf", elementwise::erf),
    ("gelu", elementwise::gelu),
    ("silu", elementwise::silu),
    ("recip", elementwise::recip),
    ("sigmoid", elementwise::sigmoid),
    ("relu", |x| elementwise::relu(&arithmetic::sub(&x.into(), &1.2.into())?)),
    ("abs", |x| elementwise::abs(&arithmetic::sub(&x.into(), &1.2.into())?)),
    ("nan_to_num", |x| elementwise::nan_to_num(x, 0.0, None, None)),
    ("softmax", |x| normalise::softmax(x, 1)),
    ("log_softmax", |x| normalise::log_softmax(x, 0)),
    ("cosine", |x| normalise::cosine(x, &constant(&[2, 4], 4), 1)),
];

const REDUCTIONS: &[NamedFunction] = &[
    ("sum", |x| reduce(x, Reduction::Sum, Some(&[0]), false)),
    ("sum of all", |x| reduce(x, Reduction::Sum, None, false)),
    ("sum of no axis", |x| reduce(x, Reduction::Sum, Some(&[]), false)),
    ("prod", |x| reduce(x, Reduction::Prod, Some(&[1]), false)),
    ("mean", |x| reduce(x, Reduction::Mean, Some(&[1]), true)),
    ("variance", |x| reduce(x, Reduction::Var { correction: 1.0 }, Some(&[1]), false)),
    ("std", |x| reduce(x, Reduction::Std { correction: 0.0 }, Some(&[0]), false)),
    ("std of all", |x| reduce(x, Reduction::Std { correction: 1.0 }, None, false)),
    ("min", |x| reduce(x, Reduction::Min, Some(&[0]), false)),
    ("max", |x| reduce(x, Reduction::Max, Some(&[1]), false)),
    ("logsumexp", |x| reduce(x, Reduction::LogSumExp, Some(&[0, 1]), false)),
    ("norm 1", |x| reduce(x, Reduction::Norm { p: 1.0 }, Some(&[0]), true)),
    ("norm 2", |x| reduce(x, Reduction::Norm { p: 2.0 }, Some(&[1]), false)),
    ("norm 3", |x| reduce(x, Reduction::Norm { p: 3.0 }, Some(&[1]), true)),
    ("norm inf", |x| reduce(x, Reduction::Norm { p: f64::INFINITY }, Some(&[1]), false)),
    ("median", |x| reduce(x, Reduction::Median, Some(&[1]), false)),
    ("quantile", |x| reduce(x, Reduction::Quantile { q: 0.3 }, None, false)),
    ("quantiles", |x| statistics::quantiles(x, &[0.1, 0.8], Some(&[1]), false)),
    ("covariance", |x| statistics::covariance(&shape::transpose(x, 0, 1)?, 1.0)),
    ("corr", |x| statistics::correlation(&shape::transpose(x, 0, 1)?)),
    ("corr of two", |x| statistics::correlation_of(&x.get(0)?, &constant(&[4], 14))),
    ("cumsum", |x| order::cumsum(x, 1)),
    ("cumsum of columns", |x| order::cumsum(x, 0)),
    ("sort", |x| Ok(order::sort(x, 1, order::Direction::Descending)?.0)),
    ("topk", |x| Ok(order::topk(x, 2, 1, order::Direction::Descending)?.0)),
    ("rfft real", |x| Ok(fourier::rfft(x, 1)?.real)),
    ("rfft imag", |x| Ok(fourier::rfft(x, 0)?.imag)),
    ("rfft power", |x| Ok(fourier::rfft(&x.get(0)?, 0)?.power)),
];

const PARTS: &[NamedFunction] = &[
    ("index", |x| index::get(x, &[index::AxisIndex::At(1), index::AxisIndex::List(vec![0, 0, 3])])),
    ("range", |x| index::get(x, &[index::AxisIndex::All, index::AxisIndex::Range { start: 1, end: Some(3) }])),
    ("mask", |x| {
        let mask = compare::compare(compare::Comparison::Gt, &x.into(), &1.2.into())?;
        index::get(x, &[index::AxisIndex::Mask(mask)])
    }),
    ("assign", |x| index::set(x, &[index::AxisIndex::All, index::AxisIndex::At(0)], &7.into())),
    ("assign itself", |x| index::set(&constant(&[2, 4], 8), &[index::AxisIndex::At(1)], &x.get(0)?.into())),
    ("gather", |x| gather::gather(x, 1, &positions())),
    ("scatter", |x| gather::scatter(&constant(&[2, 4], 9), 1, &positions(), &x.narrow(1, 0, 3)?.contiguous()?)),
    ("scatter_add", |x| gather::scatter_add(x, 1, &positions(), &x.narrow(1, 0, 3)?.contiguous()?)),
    ("tril", |x| shape::tril(x, 0)),
    ("triu", |x| shape::triu(x, 1)),
    ("diag", |x| shape::diag(x, 1)),
    ("diag_embed", |x| shape::diag_embed(&x.get(0)?, -1)),
    ("flip", |x| shape::flip(x, None)),
    ("repeat", |x| shape::repeat(x, &[2, 3])),
    ("cat", |x| shape::cat(&[x.clone(), x.clone()], 0)),
    ("stack", |x| shape::stack(&[x.clone(), constant(&[2, 4], 2)], 1)),
    ("split", |x| Ok(shape::split(x, &[1, 3], 1)?.remove(1))),
    ("roll", |x| shape::roll(x, 1, 1)),
    ("reshape", |x| shape::reshape(x, &[4, -1])),
    ("flatten", |x| shape::flatten(x, 0, -1)),
    ("permute", |x| shape::permute(&batch(x)?, &[2, 0, 1])),
    ("transpose", |x| shape::transpose(x, 0, 1)),
    ("squeeze", |x| shape::squeeze(&shape::unsqueeze(x, 1)?, None)),
    ("unsqueeze", |x| shape::unsqueeze(x, -1)),
    ("expand", |x| shape::expand(x, &[3, -1, -1])),
];

const ALGEBRA: &[NamedFunction] = &[
    ("einsum", |x| einsum::einsum("ij,jk,il->kl", &[x.clone(), constant(&[4, 2], 7), x.clone()])),
    ("einsum of a diagonal", |x| einsum::einsum("ii->i", &[square(x)?])),
    ("einsum with an ellipsis", |x| einsum::einsum("...i,ij->j...", &[batch(x)?, square(x)?])),
    ("inverse", |x| linalg::inverse(&square(x)?)),
    ("inverse of a batch", |x| linalg::inverse(&batch(x)?)),
    ("det", |x| linalg::det(&square(x)?)),
    ("det of a batch", |x| linalg::det(&batch(x)?)),
    ("solve", |x| linalg::solve(&square(x)?, &x.get(0)?.narrow(0, 0, 2)?)),
    ("solve of a batch", |x| linalg::solve(&batch(x)?, &batch(x)?.transpose(1, 2)?)),
    ("lstsq", |x| linalg::lstsq(&shape::transpose(x, 0, 1)?, &constant(&[4], 15))),
    ("pinv", |x| linalg::pinv(x, None)),
    ("pinv of lower rank", |x| linalg::pinv(&matmul::outer(&x.get(0)?, &x.get(1)?)?, None)),
    ("cholesky", |x| linalg::cholesky(&definite(x)?)),
    ("svd u", |x| Ok(linalg::svd(&weighted(x)?)?.u)),
    ("svd s", |x| Ok(linalg::svd(x)?.s)),
    ("svd vt", |x| Ok(linalg::svd(&weighted(x)?)?.vt)),
    ("svd of a tall matrix", |x| {
        let linalg::SvdTensors { u, s, vt } = linalg::svd(&shape::transpose(x, 0, 1)?)?;
        sum_of([
            matmul::matmul(&u, &constant(&[2, 3], 16))?,
            matmul::matmul(&arithmetic::mul(&vt.into(), &s.into())?, &constant(&[2], 17))?,
        ])
    }),
    ("qr q", |x| matmul::matmul(&constant(&[3, 4], 18), &linalg::qr(&shape::transpose(x, 0, 1)?)?.0)),
    ("qr r", |x| Ok(linalg::qr(&shape::transpose(x, 0, 1)?)?.1)),
    ("qr of a wide matrix", |x| {
        let (q, r) = linalg::qr(x)?;
        sum_of([matmul::matmul(&constant(&[3, 2], 18), &q)?, r])
    }),
    ("qr of a batch", |x| Ok(linalg::qr(&batch(x)?)?.1)),
    ("eigh values", |x| Ok(linalg::eigh(&gram(x)?)?.0)),
    ("eigh vectors", |x| matmul::matmul(&constant(&[3, 2], 19), &linalg::eigh(&gram(x)?)?.1)),
];

/// Builds a symmetric matrix with two different eigenvalues.
fn gram(x: &Tensor) -> Result<Tensor> {
    matmul::matmul(x, &shape::transpose(x, 0, 1)?)
}

/// Builds a matrix whose singular vectors have parts of different weight, so that their squares do not add up to a
/// constant.
fn weighted(x: &Tensor) -> Result<Tensor> {
    arithmetic::mul(&x.into(), &constant(&[2, 4], 21).into())
}

/// Returns the sum of the elements' squares with different weights, as a function of one number for every element.
fn objective(f: fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    let result = f(x)?;
    let weights = create::arange(1.into(), (1 + result.elem_count() as i64).into(), 1.into(), Some(DType::F64))?;
    let squares = arithmetic::pow(&result.clone().into(), &2.into())?;
    let weights = shape::reshape(&weights, &result.dims().iter().map(|size| *size as i64).collect::<Vec<_>>())?;
    reduce(&arithmetic::mul(&squares.into(), &weights.into())?, Reduction::Sum, None, false)
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let values = element::floats(&constant(&[2, 4], 0)).unwrap();
    let make = |values: &[f64]| create::from_floats(values.to_vec(), &[2, 4], DType::F64).unwrap();
    let mut complaints = Vec::new();
    for (name, f) in [OPERATORS, ELEMENTS, REDUCTIONS, PARTS, ALGEBRA].concat() {
        let x = candle_core::Var::from_tensor(&make(&values)).unwrap();
        let by_graph = objective(f, &x).unwrap_or_else(|error| panic!("{name}: {error}")).backward();
        let by_graph = by_graph.unwrap_or_else(|error| panic!("{name}: {error}"));
        let by_graph = element::floats(by_graph.get(&x).unwrap_or_else(|| panic!("{name} has no gradient"))).unwrap();
        let mut function = |p: &[Tensor]| objective(f, &p[0]);
        let by_tape = derivative::value_and_gradients(&mut function, &[make(&values)], &Task::default());
        let by_tape = element::floats(&by_tape.unwrap_or_else(|error| panic!("{name}: {error}")).gradients[0]).unwrap();
        for i in 0..values.len() {
            let step = 1e-6;
            let at = |change: f64| {
                let mut moved = values.clone();
                moved[i] += change;
                element::floats(&objective(f, &make(&moved)).unwrap()).unwrap()[0]
            };
            let expected = (at(step) - at(-step)) / (2.0 * step);
            for (way, found) in [("graph", by_graph[i]), ("tape", by_tape[i])] {
                if (found - expected).abs() > 1e-5 * expected.abs().max(1.0) {
                    complaints.push(format!("{name} by the {way}: element {i}: {found} is not {expected}"));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn what_is_constant_almost_everywhere_gives_constants() {
    let constants: &[NamedFunction] = &[
        ("sign", elementwise::sign),
        ("round", elementwise::round),
        ("floor", elementwise::floor),
        ("ceil", elementwise::ceil),
        ("is_nan", elementwise::is_nan),
        ("is_inf", elementwise::is_inf),
        ("is_finite", elementwise::is_finite),
        ("eq", |x| compare::compare(compare::Comparison::Eq, &x.into(), &1.into())),
        ("lt", |x| compare::compare(compare::Comparison::Lt, &x.into(), &1.into())),
        ("and", |x| compare::and(x, x)),
        ("not", compare::not),
        ("any", |x| reduce(x, Reduction::Any, Some(&[0]), false)),
        ("all", |x| reduce(x, Reduction::All, Some(&[0]), false)),
        ("norm 0", |x| reduce(x, Reduction::Norm { p: 0.0 }, Some(&[0]), false)),
        ("argmax", |x| order::arg_extreme(x, None, false, order::Direction::Descending)),
        ("argsort", |x| order::argsort(x, 0, order::Direction::Ascending)),
        ("topk indices", |x| Ok(order::topk(x, 1, 0, order::Direction::Descending)?.1)),
        ("nonzero", index::nonzero),
        ("detach", |x| Ok(x.detach())),
    ];
    let x = candle_core::Var::from_tensor(&constant(&[2, 4], 0)).unwrap();
    for (name, f) in constants {
        let result = f(&x).unwrap();
        assert!(!result.track_op(), "{name} tracks gradients");
    }
}

#[test]
fn what_passes_no_gradient_refuses_by_name() {
    let refusing: &[NamedFunction] = &[
        ("unique", |x| Ok(statistics::unique(x)?.0)),
        ("histogram", |x| statistics::histogram(x, 3, None).map(|_| x.detach())),
        ("to(\"i64\")", |x| dtype::cast(x, DType::I64)),
    ];
    let x = candle_core::Var::from_tensor(&constant(&[2, 4], 0)).unwrap();
    for (name, f) in refusing {
        let error = f(&x).unwrap_err();
        assert!(error.message.contains(&format!("`{name}`")), "{}", error.message);
        assert!(error.hint.unwrap().contains("detach"));
    }
}

#[test]
fn where_a_derivative_does_not_exist_it_is_0_or_shared() {
    let gradient = |f: fn(&Tensor) -> Result<Tensor>, values: &[f64]| {
        let x = create::from_floats(values.to_vec(), &[values.len()], DType::F64).unwrap();
        let mut function = |p: &[Tensor]| reduce(&f(&p[0])?, Reduction::Sum, None, false);
        let found = derivative::value_and_gradients(&mut function, &[x], &Task::default()).unwrap();
        element::floats(&found.gradients[0]).unwrap()
    };
    assert_eq!(gradient(elementwise::relu, &[0.0, 1.0, -1.0]), [0.0, 1.0, 0.0]);
    assert_eq!(gradient(elementwise::abs, &[0.0, 2.0, -1.0]), [0.0, 1.0, -1.0]);
    assert_eq!(gradient(|x| reduce(x, Reduction::Norm { p: 2.0 }, None, false), &[0.0, 0.0]), [0.0, 0.0]);
    assert_eq!(gradient(|x| reduce(x, Reduction::Std { correction: 0.0 }, None, false), &[1.0, 1.0]), [0.0, 0.0]);
    assert_eq!(gradient(|x| reduce(x, Reduction::Max, None, false), &[3.0, 1.0, 3.0]), [0.5, 0.0, 0.5]);
    assert_eq!(gradient(|x| reduce(x, Reduction::Prod, None, false), &[0.0, 2.0, 3.0]), [6.0, 0.0, 0.0]);
    assert_eq!(gradient(|x| normalise::cosine(x, x, 0), &[0.0, 0.0]), [0.0, 0.0]);
    // A singular matrix still has the gradient of its determinant.
    let det = gradient(|x| linalg::det(&x.reshape((2, 2))?), &[1.0, 2.0, 2.0, 4.0]);
    assert!(det.iter().zip([4.0, -2.0, -2.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{det:?}");
}

#[test]
fn vectors_that_are_not_determined_refuse_a_gradient() {
    let refused = |f: fn(&Tensor) -> Result<Tensor>| {
        let eye = create::eye(2, 2, DType::F64).unwrap();
        let mut function = |p: &[Tensor]| reduce(&f(&p[0])?, Reduction::Sum, None, false);
        derivative::value_and_gradients(&mut function, &[eye], &Task::default()).map(|_| ()).unwrap_err().message
    };
    assert!(refused(|x| Ok(linalg::svd(x)?.u)).contains("equal singular values"));
    assert!(refused(|x| Ok(linalg::eigh(x)?.1)).contains("equal eigenvalues"));
}
