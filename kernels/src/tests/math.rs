//! The functions of math.rs against f64, by the error bounds that they state.

use pulp::Simd;

use super::at_every_level;
use crate::base::instructions::arch;
use crate::numbers::elementwise::{UnaryFunction, map};
use crate::numbers::math;

macro_rules! functions {
    ($($name:ident),*) => {$(
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy)]
        struct $name;

        impl UnaryFunction for $name {
            #[inline(always)]
            fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
                math::$name(simd, x)
            }
        }
    )*};
}

functions!(exp, tanh, erf, relu, gelu, gelu_tanh, silu);

/// Returns numbers spread evenly over the sizes of f32 that matter, of both signs.
fn grid() -> Vec<f32> {
    let sizes = (0..8000).map(|i| 1e-4 * 1.0019_f32.powi(i)).take_while(|x| *x < 110.0);
    sizes.flat_map(|x| [x, -x]).chain([0.0, -0.0]).collect()
}

/// Returns the largest distance from `expected`, as a share of `size(x, expected)`.
fn error(function: impl UnaryFunction, expected: impl Fn(f64) -> f64, size: impl Fn(f64, f64) -> f64) -> f64 {
    let x = grid();
    let mut found = vec![0.0; x.len()];
    map(arch(), &mut found, &x, function);
    let errors = x.iter().zip(&found).map(|(x, found)| {
        let x = f64::from(*x);
        let expected = expected(x);
        let rounded = expected as f32;
        // Where f32 has no such number, the nearest one is expected.
        if f64::from(rounded) == f64::from(*found) {
            0.0
        } else {
            (f64::from(*found) - expected).abs() / size(x, expected).abs()
        }
    });
    errors.fold(0.0, f64::max)
}

/// Computes erf by the integral of its derivative, in steps so fine that Simpson's rule is exact to 1e-12.
fn erf_exact(x: f64) -> f64 {
    let end = x.abs().min(6.5);
    let steps = 400;
    let width = end / f64::from(steps);
    let weight = |i: i32| {
        if i == 0 || i == steps {
            1.0
        } else if i % 2 == 1 {
            4.0
        } else {
            2.0
        }
    };
    let sum: f64 = (0..=steps).map(|i| weight(i) * (-(f64::from(i) * width).powi(2)).exp()).sum();
    (sum * width / 3.0 * std::f64::consts::FRAC_2_SQRT_PI).copysign(x)
}

#[test]
fn functions_keep_their_error_bounds() {
    at_every_level(|| {
        let of_value = |_: f64, y: f64| y;
        // Below the normal numbers of f32 the bound is a share of the smallest of them.
        let of_normal = |_: f64, y: f64| y.abs().max(f64::from(f32::MIN_POSITIVE));
        let of_argument = |x: f64, _: f64| x.abs().max(1e-30);
        assert!(error(exp, f64::exp, of_normal) < 2e-7);
        assert!(error(tanh, f64::tanh, of_value) < 3e-7);
        assert!(error(erf, erf_exact, of_value) < 3e-7);
        assert_eq!(error(relu, |x| x.max(0.0), |_, _| 1.0), 0.0);
        assert!(error(gelu, |x| x / 2.0 * (1.0 + erf_exact(x / 2_f64.sqrt())), of_argument) < 3e-7);
        let curve = |x: f64| ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh();
        assert!(error(gelu_tanh, |x| x / 2.0 * (1.0 + curve(x)), of_argument) < 3e-7);
        assert!(error(silu, |x| x / (1.0 + (-x).exp()), of_argument) < 3e-7);
    });
}

#[test]
fn the_ends_of_the_line() {
    at_every_level(|| {
        let x = [f32::NEG_INFINITY, f32::INFINITY, f32::NAN, -200.0, 200.0];
        let of = |function: &dyn Fn(&mut [f32])| {
            let mut y = [0.0; 5];
            function(&mut y);
            y.map(|y| if y.is_nan() { "NaN".to_string() } else { format!("{y}") }).join(" ")
        };
        assert_eq!(of(&|y| map(arch(), y, &x, exp)), "0 inf NaN 0 inf");
        assert_eq!(of(&|y| map(arch(), y, &x, tanh)), "-1 1 NaN -1 1");
        assert_eq!(of(&|y| map(arch(), y, &x, erf)), "-1 1 NaN -1 1");
        assert_eq!(of(&|y| map(arch(), y, &x, relu)), "0 inf NaN 0 200");
        assert_eq!(of(&|y| map(arch(), y, &x, gelu)), "NaN inf NaN -0 200");
    });
}
