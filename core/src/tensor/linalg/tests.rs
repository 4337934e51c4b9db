//! Tests of the linear algebra: reconstructions, inverses, singular and broken matrices.

use kit::close;
use proptest::prelude::*;

use super::*;
use crate::base::Kind;
use crate::base::random::stream;
use crate::tensor::compare::all_close;
use crate::tensor::matmul::matmul;
use crate::tensor::{create, shape};

fn t(values: &[f64], dims: &[usize]) -> Tensor {
    create::from_floats(values.to_vec(), dims, DType::F64).unwrap()
}

fn random(dims: &[usize], seed: u64) -> Tensor {
    create::randn(dims, DType::F64, &mut stream(seed, "test", 0)).unwrap()
}

fn same(a: &Tensor, b: &Tensor) -> bool {
    close(a, b, 1e-9)
}

fn transposed(t: &Tensor) -> Tensor {
    shape::transpose(t, 0, 1).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn decompositions_reconstruct(rows in 1_usize..7, columns in 1_usize..7, seed in any::<u64>()) {
        let a = random(&[rows, columns], seed);
        let SvdTensors { u, s, vt } = svd(&a).unwrap();
        prop_assert!(same(&matmul(&matmul(&u, &shape::diag_embed(&s, 0).unwrap()).unwrap(), &vt).unwrap(), &a));
        prop_assert!(same(&matmul(&transposed(&u), &u).unwrap(), &create::eye(s.elem_count(), s.elem_count(), DType::F64).unwrap()));
        let sizes = element::floats(&s).unwrap();
        prop_assert!(sizes.windows(2).all(|w| w[0] >= w[1]));
        let (q, r) = qr(&a).unwrap();
        prop_assert!(same(&matmul(&q, &r).unwrap(), &a));
        prop_assert!(same(&shape::triu(&r, 0).unwrap(), &r));
        prop_assert!(element::floats(&shape::diag(&r, 0).unwrap()).unwrap().iter().all(|d| *d >= 0.0));
        let gram = matmul(&a, &transposed(&a)).unwrap();
        let (values, vectors) = eigh(&gram).unwrap();
        let scaled = matmul(&vectors, &shape::diag_embed(&values, 0).unwrap()).unwrap();
        prop_assert!(same(&matmul(&scaled, &transposed(&vectors)).unwrap(), &gram));
        let definite = (gram + create::eye(rows, rows, DType::F64).unwrap()).unwrap();
        let l = cholesky(&definite).unwrap();
        prop_assert!(same(&matmul(&l, &transposed(&l)).unwrap(), &definite));
        prop_assert!(same(&shape::tril(&l, 0).unwrap(), &l));
    }

    #[test]
    fn solutions_solve(size in 1_usize..6, seed in any::<u64>()) {
        let a = (random(&[size, size], seed) + (create::eye(size, size, DType::F64).unwrap() * 8.0).unwrap()).unwrap();
        for dims in [vec![size], vec![size, 3]] {
            let x = random(&dims, seed ^ 1);
            let b = matmul(&a, &x).unwrap();
            prop_assert!(same(&solve(&a, &b).unwrap(), &x));
            prop_assert!(same(&lstsq(&a, &b).unwrap(), &x));
        }
        prop_assert!(same(&matmul(&inverse(&a).unwrap(), &a).unwrap(), &create::eye(size, size, DType::F64).unwrap()));
        prop_assert!(same(&pinv(&a, None).unwrap(), &inverse(&a).unwrap()));
        prop_assert_eq!(rank(&a, None).unwrap(), size);
    }
}

#[test]
fn signs_are_fixed() {
    let a = t(&[-2.0, 0.0, 0.0, -3.0], &[2, 2]);
    let SvdTensors { u, s, .. } = svd(&a).unwrap();
    assert_eq!(element::floats(&u).unwrap(), [0.0, 1.0, 1.0, 0.0]);
    assert_eq!(element::floats(&s).unwrap(), [3.0, 2.0]);
    let (values, vectors) = eigh(&a).unwrap();
    assert_eq!(element::floats(&values).unwrap(), [-3.0, -2.0]);
    assert_eq!(element::floats(&vectors).unwrap(), [0.0, 1.0, 1.0, 0.0]);
}

#[test]
fn known_values_and_other_dtypes() {
    let a = t(&[1.0, 2.0, 3.0, 4.0], &[2, 2]);
    assert!((element::floats(&det(&a).unwrap()).unwrap()[0] + 2.0).abs() < 1e-12);
    assert_eq!(rank(&t(&[1.0, 2.0, 2.0, 4.0], &[2, 2]), None).unwrap(), 1);
    for dtype in dtype::ALL {
        let narrow = dtype::cast(&a, dtype).unwrap();
        let inverse = inverse(&narrow).unwrap();
        assert_eq!(inverse.dtype(), dtype::float_for(dtype));
        let expected = t(&[-2.0, 1.0, 1.5, -0.5], &[2, 2]);
        assert!(all_close(&inverse, &expected, 1e-5, 1e-5).unwrap(), "{dtype:?}");
    }
    let tall = t(&[1.0, 1.0, 1.0, 2.0, 1.0, 3.0], &[3, 2]);
    let line = lstsq(&tall, &t(&[3.0, 5.0, 7.0], &[3])).unwrap();
    assert!(same(&line, &t(&[1.0, 2.0], &[2])));
}

#[test]
fn what_has_no_answer_is_refused() {
    let singular = t(&[1.0, 2.0, 2.0, 4.0], &[2, 2]);
    assert_eq!(solve(&singular, &t(&[1.0, 1.0], &[2])).unwrap_err().kind, Kind::Numeric);
    assert!(inverse(&t(&[0.0; 4], &[2, 2])).is_err());
    assert!(cholesky(&t(&[1.0, 0.0, 0.0, -1.0], &[2, 2])).unwrap_err().message.contains("positive definite"));
    assert!(eigh(&t(&[1.0, 2.0, 3.0, 4.0], &[2, 2])).unwrap_err().message.contains("symmetric"));
    let broken = t(&[1.0, f64::NAN, f64::INFINITY, 4.0], &[2, 2]);
    let message = svd(&broken).unwrap_err().message;
    assert_eq!(message, "expected finite numbers, found 1 NaN and 1 infinite");
    assert!(svd(&t(&[1.0], &[1])).is_err() && det(&t(&[1.0, 2.0], &[1, 2])).is_err());
    assert!(solve(&singular, &t(&[1.0], &[1])).is_err());
    assert!(pinv(&singular, Some(f64::NAN)).is_err());
}

#[test]
fn empty_matrices() {
    let none = t(&[], &[0, 3]);
    let SvdTensors { u, s, vt } = svd(&none).unwrap();
    assert_eq!((u.dims(), s.dims(), vt.dims()), (&[0, 0][..], &[0][..], &[0, 3][..]));
    let zero = t(&[], &[0, 0]);
    assert_eq!(element::floats(&det(&zero).unwrap()).unwrap(), [1.0]);
    assert_eq!(inverse(&zero).unwrap().dims(), [0, 0]);
    assert_eq!(eigh(&zero).unwrap().1.dims(), [0, 0]);
    assert_eq!(cholesky(&zero).unwrap().dims(), [0, 0]);
    assert_eq!(qr(&none).unwrap().1.dims(), [0, 3]);
    assert_eq!(pinv(&none, None).unwrap().dims(), [3, 0]);
    assert_eq!(rank(&none, None).unwrap(), 0);
}

#[test]
fn a_batch_is_each_of_its_matrices() {
    let a = random(&[2, 3, 4, 4], 1);
    let b = random(&[2, 3, 4], 2);
    let one = |t: &Tensor| t.get(1).unwrap().get(2).unwrap();
    assert!(same(&one(&inverse(&a).unwrap()), &inverse(&one(&a)).unwrap()));
    assert!(same(&one(&solve(&a, &b).unwrap()), &solve(&one(&a), &one(&b)).unwrap()));
    assert!(same(&one(&lstsq(&a, &b).unwrap()), &lstsq(&one(&a), &one(&b)).unwrap()));
    assert!(same(&one(&pinv(&a, None).unwrap()), &pinv(&one(&a), None).unwrap()));
    assert!(same(&one(&det(&a).unwrap()), &det(&one(&a)).unwrap()));
    let SvdTensors { u, s, vt } = svd(&a).unwrap();
    assert_eq!((u.dims(), s.dims(), vt.dims()), (&[2, 3, 4, 4][..], &[2, 3, 4][..], &[2, 3, 4, 4][..]));
    let refused = solve(&a, &random(&[3, 4], 3)).unwrap_err().message;
    assert_eq!(refused, "expected a right side for each matrix of the batch [2, 3], found shape [3, 4]");
    assert!(inverse(&t(&[], &[0, 2, 2])).unwrap_err().message.contains("at least one matrix"));
}
