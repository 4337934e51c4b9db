//! Sums, means and extremes of lists of numbers, such as the column of a table. What is missing in it, `()`, is left out.

use std::cmp::Ordering;

use crate::script::prelude::*;

/// Collects the numbers of a list, at least one.
fn numbers(array: &Array) -> Result<Vec<&Dynamic>> {
    let mut found = Vec::with_capacity(array.len());
    for (place, element) in array.iter().enumerate().filter(|(_, element)| !element.is_unit()) {
        if !(element.is_int() || element.is_float()) {
            return Err(given(&format!("array[{place}]"), element).refuse("a number"));
        }
        found.push(element);
    }
    if found.is_empty() {
        Err(err!(Argument, "expected an array with at least one number, found none"))
    } else {
        Ok(found)
    }
}

fn float(number: &Dynamic) -> f64 {
    number.as_int().map_or_else(|_| number.as_float().unwrap_or(f64::NAN), |whole| whole as f64)
}

fn total(numbers: &[&Dynamic]) -> f64 {
    numbers.iter().map(|number| float(number)).sum()
}

/// Adds up numbers: an integer, if all of them are.
fn sum(numbers: &[&Dynamic]) -> Result<Dynamic> {
    let Some(whole) = numbers.iter().map(|number| number.as_int().ok()).collect::<Option<Vec<i64>>>() else {
        return Ok(total(numbers).into());
    };
    let sum = whole.into_iter().try_fold(0_i64, i64::checked_add);
    sum.map(Dynamic::from).ok_or_else(|| {
        err!(Numeric, "expected a sum of at most 64 bits, found a larger one")
            .hint("floats have room for it: `x.map(|n| n.to_float()).sum()`")
    })
}

/// Finds the number that stands first in an order, where `wanted` is that of a better one beside the best so far; NaN,
/// if there is one.
fn extreme(numbers: &[&Dynamic], wanted: Ordering) -> Dynamic {
    let order = |one: &Dynamic, other: &Dynamic| match (one.as_int(), other.as_int()) {
        (Ok(one), Ok(other)) => one.cmp(&other),
        _ => float(one).partial_cmp(&float(other)).unwrap_or(Ordering::Equal),
    };
    let better = |best, next| if order(next, best) == wanted { next } else { best };
    let nan = numbers.iter().copied().find(|number| float(number).is_nan());
    nan.or_else(|| numbers.iter().copied().reduce(better)).cloned().unwrap_or_default()
}

#[export_module(manifest)]
pub mod methods {
    /// Computes the mean of the numbers of an array; a missing one, `()`, is left out. An array without a number is an
    /// error.
    ///
    /// # Example
    /// ```
    /// [1, 2, (), 6].mean()  //=> 3.0
    /// table([#{ loss: 2.5 }, #{ loss: 1.5 }])["loss"].mean()  //=> 2.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn mean(array: &mut Array) -> Fallible<f64> {
        let numbers = super::numbers(array)?;
        Ok(super::total(&numbers) / numbers.len() as f64)
    }

    /// Sums the numbers of an array, to an integer if all of them are. A missing one, `()`, is left out; an array
    /// without a number is an error.
    ///
    /// # Example
    /// ```
    /// [1, 2, ()].sum()  //=> 3
    /// [1, 0.5].sum()  //=> 1.5
    /// ```
    #[rhai_fn(global, name = "sum", pure, return_raw)]
    pub fn sum_of(array: &mut Array) -> Fallible<Num> {
        Ok(super::sum(&super::numbers(array)?)?)
    }

    /// Returns the smallest number of an array; NaN where there is one. A missing one, `()`, is left out; an array
    /// without a number is an error.
    ///
    /// # Example
    /// ```
    /// [3, 1.5, (), 2].min()  //=> 1.5
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn min(array: &mut Array) -> Fallible<Num> {
        Ok(super::extreme(&super::numbers(array)?, Ordering::Less))
    }

    /// Returns the largest number of an array; NaN where there is one. A missing one, `()`, is left out; an array
    /// without a number is an error.
    ///
    /// # Example
    /// ```
    /// [3, 1.5, (), 2].max()  //=> 3
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn max(array: &mut Array) -> Fallible<Num> {
        Ok(super::extreme(&super::numbers(array)?, Ordering::Greater))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_stay_integers_and_nan_is_not_passed_over() {
        let list = |numbers: &[f64]| numbers.iter().map(|number| Dynamic::from(*number)).collect::<Array>();
        let whole: Array = vec![3_i64.into(), Dynamic::UNIT, 2_i64.into()];
        let found = numbers(&whole).unwrap();
        assert_eq!((sum(&found).unwrap().as_int(), total(&found)), (Ok(5), 5.0));
        assert_eq!(extreme(&found, Ordering::Less).as_int(), Ok(2));
        let odd = list(&[1.0, f64::NAN, 3.0]);
        assert!(extreme(&numbers(&odd).unwrap(), Ordering::Greater).as_float().unwrap().is_nan());
        let large: Array = vec![i64::MAX.into(), 1_i64.into()];
        assert!(sum(&numbers(&large).unwrap()).unwrap_err().message.contains("64 bits"));
        assert!(numbers(&vec![Dynamic::UNIT]).unwrap_err().message.contains("found none"));
        let wrong = numbers(&vec![1_i64.into(), "x".into()]).unwrap_err().message;
        assert_eq!(wrong, "expected a number for `array[1]`, found string \"x\"");
    }
}
