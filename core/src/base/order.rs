//! Items in the order of a number of each, the largest or the smallest first; equal ones stay as they are.
//!
//! A stable sort is compiled anew for every closure that compares, some 12 KB each without optimisation; these are compiled
//! once.

/// Returns the places of numbers, that of the largest first.
pub fn descending(numbers: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*b].total_cmp(&numbers[*a]));
    order
}

/// Returns the places of numbers, that of the smallest first.
pub fn ascending(numbers: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*a].total_cmp(&numbers[*b]));
    order
}

/// Sorts items by a number of each, the largest first.
pub fn sort_descending<T, N: Into<f64>>(items: &mut [T], number: impl Fn(&T) -> N) {
    let numbers: Vec<f64> = items.iter().map(|item| number(item).into()).collect();
    arrange(items, descending(&numbers));
}

/// Sorts items by a number of each, the smallest first.
pub fn sort_ascending<T, N: Into<f64>>(items: &mut [T], number: impl Fn(&T) -> N) {
    let numbers: Vec<f64> = items.iter().map(|item| number(item).into()).collect();
    arrange(items, ascending(&numbers));
}

/// Puts items into an order of their places, along each of its cycles.
fn arrange<T>(items: &mut [T], mut order: Vec<usize>) {
    for start in 0..order.len() {
        let mut at = start;
        loop {
            let from = std::mem::replace(&mut order[at], at);
            if from == start {
                break;
            }
            items.swap(at, from);
            at = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nan_is_the_largest_and_minus_0_below_0() {
        assert_eq!(descending(&[0.0, f64::NAN, -0.0, 2.0]), [1, 3, 0, 2]);
        assert_eq!(ascending(&[0.0, f64::NAN, -0.0, 2.0]), [2, 0, 3, 1]);
    }

    proptest! {
        #[test]
        fn items_come_as_a_stable_sort_has_them(numbers in prop::collection::vec(-3_i8..3, 0..40)) {
            let items: Vec<(usize, f32)> = numbers.iter().map(|number| f32::from(*number)).enumerate().collect();
            let mut expected = items.clone();
            let mut found = items.clone();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1));
            sort_descending(&mut found, |(_, number)| *number);
            prop_assert_eq!(&found, &expected);
            expected = items.clone();
            found = items;
            expected.sort_by(|a, b| a.1.total_cmp(&b.1));
            sort_ascending(&mut found, |(_, number)| *number);
            prop_assert_eq!(found, expected);
        }
    }
}
