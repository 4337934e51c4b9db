//! Work on all threads, which may fail.

pub use kernels::parallel::{blocks, fill, map, of_each, threads};

use super::error::Result;

/// Returns the results of `one` for each index below `count`, in order, or the first error in order, whichever thread
/// is the faster.
#[track_caller]
pub fn try_map<U: Send>(count: usize, one: &(dyn Fn(usize) -> Result<U> + Sync)) -> Result<Vec<U>> {
    map(count, one).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::err;

    #[test]
    fn the_first_error_in_order_is_the_one() {
        let seventh = |number: usize| match number % 7 {
            6 => Err(err!(Argument, "{number}")),
            _ => Ok(number),
        };
        assert_eq!(try_map(6, &seventh).unwrap(), (0..6).collect::<Vec<_>>());
        assert_eq!(try_map(1000, &seventh).unwrap_err().message, "6");
    }
}
