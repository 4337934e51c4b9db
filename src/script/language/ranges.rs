//! Methods of ranges: what lists have for closures, so that `(0..6).map(|i| ..)` needs no list to be made before.

use rhai::plugin::*;
use rhai::{Array, Dynamic, FnPtr, NativeCallContext};

use crate::base::memory;
use crate::script::engine::env::env;
use crate::script::engine::value::Fallible;

type ExclusiveRange = std::ops::Range<i64>;
type InclusiveRange = std::ops::RangeInclusive<i64>;

macro_rules! of_ranges {
    ($module:ident, $range:ty) => {
        #[export_module(manifest)]
        pub mod $module {
            /// The numbers of a range as an array.
            ///
            /// # Example
            /// ```
            /// (0..3).to_array()  //=> [0, 1, 2]
            /// (1..=3).to_array()  //=> [1, 2, 3]
            /// ```
            #[rhai_fn(global, pure, return_raw)]
            pub fn to_array(ctx: NativeCallContext, range: &mut $range) -> Fallible<Array> {
                super::numbers(&ctx, range)
            }

            /// How many numbers a range has.
            ///
            /// # Example
            /// ```
            /// (2..5).len  //=> 3
            /// (2..=5).len  //=> 4
            /// ```
            #[rhai_fn(global, name = "len", get = "len", pure)]
            pub fn length(range: &mut $range) -> i64 {
                super::length(range)
            }

            /// What a closure makes of each number of a range, as an array.
            ///
            /// # Example
            /// ```
            /// (0..4).map(|i| i * i)  //=> [0, 1, 4, 9]
            /// ```
            #[rhai_fn(global, pure, return_raw)]
            pub fn map(ctx: NativeCallContext, range: &mut $range, f: FnPtr) -> Fallible<Dynamic> {
                super::as_list(&ctx, "map", range, [f.into()])
            }

            /// The numbers of a range for which a closure says true.
            ///
            /// # Example
            /// ```
            /// (0..6).filter(|i| i % 2 == 0)  //=> [0, 2, 4]
            /// ```
            #[rhai_fn(global, pure, return_raw)]
            pub fn filter(ctx: NativeCallContext, range: &mut $range, f: FnPtr) -> Fallible<Dynamic> {
                super::as_list(&ctx, "filter", range, [f.into()])
            }

            /// One value of all numbers of a range: a closure takes what there is so far and the next number. It begins
            /// with `initial`, or with nothing.
            ///
            /// # Example
            /// ```
            /// (1..=4).reduce(|product, i| product * i, 1)  //=> 24
            /// ```
            #[rhai_fn(global, pure, return_raw)]
            pub fn reduce(ctx: NativeCallContext, range: &mut $range, f: FnPtr) -> Fallible<Dynamic> {
                super::as_list(&ctx, "reduce", range, [f.into()])
            }

            #[rhai_fn(global, name = "reduce", pure, return_raw)]
            pub fn reduce_from(
                ctx: NativeCallContext,
                range: &mut $range,
                f: FnPtr,
                initial: Dynamic,
            ) -> Fallible<Dynamic> {
                super::as_list(&ctx, "reduce", range, [f.into(), initial])
            }

            /// Calls a closure with each number of a range.
            ///
            /// # Example
            /// ```
            /// let sum = 0;
            /// (1..4).for_each(|i| sum += i);
            /// sum  //=> 6
            /// ```
            #[rhai_fn(global, pure, return_raw)]
            pub fn for_each(ctx: NativeCallContext, range: &mut $range, f: FnPtr) -> Fallible<()> {
                // A list's own gives the element as `this` alone.
                let _values = super::as_list(&ctx, "map", range, [f.into()])?;
                Ok(())
            }
        }
    };
}

of_ranges!(exclusive, ExclusiveRange);
of_ranges!(inclusive, InclusiveRange);

/// Where a range begins, and what is behind its end.
trait Ends {
    fn ends(&self) -> (i64, i128);
}

impl Ends for ExclusiveRange {
    fn ends(&self) -> (i64, i128) {
        (self.start, self.end.into())
    }
}

impl Ends for InclusiveRange {
    fn ends(&self) -> (i64, i128) {
        (*self.start(), i128::from(*self.end()) + 1)
    }
}

fn length(range: &impl Ends) -> i64 {
    let (first, end) = range.ends();
    i64::try_from((end - i128::from(first)).max(0)).unwrap_or(i64::MAX)
}

fn numbers(ctx: &NativeCallContext, range: &impl Ends) -> Fallible<Array> {
    /// How many are made between two looks at the flag.
    const PIECE: usize = 1 << 12;
    let env = env(ctx)?;
    let length = length(range);
    memory::check(length as u128 * size_of::<Dynamic>() as u128, || {
        format!("a range of {length} numbers as an array")
    })?;
    let (first, _) = range.ends();
    let mut list = Array::new();
    for offset in 0..length {
        if list.len().is_multiple_of(PIECE) {
            env.task.check()?;
        }
        list.push(Dynamic::from(first + offset));
    }
    Ok(list)
}

/// What a method of lists makes of the numbers.
fn as_list<const N: usize>(
    ctx: &NativeCallContext,
    name: &str,
    range: &impl Ends,
    mut arguments: [Dynamic; N],
) -> Fallible<Dynamic> {
    let mut list = Dynamic::from(numbers(ctx, range)?);
    let mut all: Vec<&mut Dynamic> = std::iter::once(&mut list).chain(&mut arguments).collect();
    ctx.call_native_fn_raw(name, true, &mut all)
}
