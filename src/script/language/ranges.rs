//! Methods of ranges: what lists have for closures, so that `(0..6).map(|i| ..)` needs no list to be made before.

use rhai::Variant;

use crate::script::engine::room::check_room;
use crate::script::prelude::*;

/// Numbers in steps, `range(0, 10, 3)`. It stands in for the language's own, which has no methods.
#[derive(Debug, Clone)]
pub struct SteppedRange {
    first: i64,
    step: i64,
    /// Number of integers that are left.
    count: u64,
}

impl SteppedRange {
    fn new(from: i64, to: i64, step: i64) -> Result<Self> {
        let way = i128::from(to) - i128::from(from);
        let each = i128::from(step);
        if step == 0 {
            return Err(err!(Argument, "expected a step that is not 0, found 0").about("step"));
        }
        let count = if (way > 0) == (step > 0) { way.unsigned_abs().div_ceil(each.unsigned_abs()) } else { 0 };
        Ok(Self { first: from, step, count: count as u64 })
    }
}

impl Iterator for SteppedRange {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        self.count = self.count.checked_sub(1)?;
        let first = self.first;
        self.first = first.wrapping_add(self.step);
        Some(first)
    }
}

/// Floats in steps, `range(0, 1, 0.1)`. Each is computed from the first, so that errors do not add up.
#[derive(Debug, Clone)]
pub struct SteppedFloats {
    first: f64,
    step: f64,
    /// Number of floats that were made; `count` is that of all.
    made: u64,
    count: u64,
}

impl SteppedFloats {
    fn new(from: f64, to: f64, step: f64) -> Result<Self> {
        for (name, value) in [("from", from), ("to", to), ("step", step)] {
            if !value.is_finite() {
                return Err(err!(Argument, "expected a finite number, found {value}").about(name));
            }
        }
        if step == 0.0 {
            return Err(err!(Argument, "expected a step that is not 0, found 0").about("step"));
        }
        // The end is excluded, also where rounding leaves the last step short of it: 10 steps of 0.1 make 1.
        let steps = (to - from) / step;
        let whole = steps.round();
        let count = if (steps - whole).abs() <= 1e-9 * whole.abs() { whole } else { steps.ceil() };
        Ok(Self { first: from, step, made: 0, count: count.max(0.0) as u64 })
    }
}

impl Iterator for SteppedFloats {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        if self.made >= self.count {
            return None;
        }
        let number = self.first + self.made as f64 * self.step;
        self.made += 1;
        Some(number)
    }
}

/// Loops over stepped ranges.
pub fn iteration() -> Module {
    let mut module = Module::new();
    module.set_custom_type::<SteppedRange>("range");
    module.set_custom_type::<SteppedFloats>("range");
    module.set_iterator::<SteppedRange>();
    module.set_iterator::<SteppedFloats>();
    module
}

#[export_module(manifest)]
pub mod functions {
    /// Returns the integers from `from` to `to`, which is excluded, one every `step` (1 by default); a negative step
    /// counts down. With a number among them that is not whole they are floats.
    ///
    /// # Example
    /// ```
    /// range(0, 10, 3).to_array()  //=> [0, 3, 6, 9]
    /// range(0, 1, 0.25).to_array()  //=> [0.0, 0.25, 0.5, 0.75]
    /// range(3, 0, -1).map(|i| i * i)  //=> [9, 4, 1]
    /// let sum = 0;
    /// for i in range(0..10, 5) { sum += i }
    /// sum  //=> 5
    /// ```
    pub fn range(from: i64, to: i64) -> ExclusiveRange {
        from..to
    }

    #[rhai_fn(name = "range", return_raw)]
    pub fn range_in_steps(from: i64, to: i64, step: i64) -> Fallible<SteppedRange> {
        Ok(SteppedRange::new(from, to, step)?)
    }

    #[rhai_fn(name = "range", return_raw)]
    pub fn range_of_range(range: ExclusiveRange, step: i64) -> Fallible<SteppedRange> {
        Ok(SteppedRange::new(range.start, range.end, step)?)
    }

    // Integers take the forms above, which are as near as the language's own; these take floats among them as well.
    #[rhai_fn(name = "range", return_raw)]
    pub fn range_of_floats(from: f64, to: f64, step: f64) -> Fallible<Dynamic> {
        super::stepped_by(&[from.into(), to.into(), step.into()])
    }

    #[rhai_fn(name = "range", return_raw)]
    pub fn range_of_numbers(from: Num, to: Num, step: Num) -> Fallible<Dynamic> {
        super::stepped_by(&[from, to, step])
    }

    #[rhai_fn(name = "range", return_raw)]
    pub fn range_of_range_in_whole_steps(range: ExclusiveRange, step: Int) -> Fallible<SteppedRange> {
        Ok(SteppedRange::new(range.start, range.end, given("step", &step).integer()?)?)
    }
}

/// Makes numbers in steps: integers, where all three are whole (`3.0` is `3`), else floats.
fn stepped_by(numbers: &[Dynamic; 3]) -> Fallible<Dynamic> {
    let [from, to, step] = [("from", &numbers[0]), ("to", &numbers[1]), ("step", &numbers[2])];
    let whole = |(name, value): (&'static str, &Dynamic)| given(name, value).integer();
    if let (Ok(from), Ok(to), Ok(step)) = (whole(from), whole(to), whole(step)) {
        return Ok(Dynamic::from(SteppedRange::new(from, to, step)?));
    }
    let float = |(name, value): (&'static str, &Dynamic)| given(name, value).number();
    Ok(Dynamic::from(SteppedFloats::new(float(from)?, float(to)?, float(step)?)?))
}

type ExclusiveRange = std::ops::Range<i64>;
type InclusiveRange = std::ops::RangeInclusive<i64>;

macro_rules! of_ranges {
    ($module:ident, $range:ty) => {
        #[export_module(manifest)]
        pub mod $module {
            /// Returns the numbers of a range as an array.
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

            /// Returns the number of numbers in a range.
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

            /// Returns the result of a closure for each number of a range, as an array.
            ///
            /// # Example
            /// ```
            /// (0..4).map(|i| i * i)  //=> [0, 1, 4, 9]
            /// ```
            #[rhai_fn(global, pure, return_raw)]
            pub fn map(ctx: NativeCallContext, range: &mut $range, f: FnPtr) -> Fallible<Dynamic> {
                super::as_list(&ctx, "map", range, [f.into()])
            }

            /// Returns the numbers of a range for which a closure returns true.
            ///
            /// # Example
            /// ```
            /// (0..6).filter(|i| i % 2 == 0)  //=> [0, 2, 4]
            /// ```
            #[rhai_fn(global, pure, return_raw)]
            pub fn filter(ctx: NativeCallContext, range: &mut $range, f: FnPtr) -> Fallible<Dynamic> {
                super::as_list(&ctx, "filter", range, [f.into()])
            }

            /// Folds the numbers of a range into one value: a closure takes the result so far, at first `initial` or
            /// nothing, and the next number.
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
                // A list's own gives the element as `this` alone, and `map` keeps all results until the last.
                let _true = super::as_list(&ctx, "filter", range, [f.into()])?;
                Ok(())
            }
        }
    };
}

of_ranges!(exclusive, ExclusiveRange);
of_ranges!(inclusive, InclusiveRange);
of_ranges!(stepped, SteppedRange);
of_ranges!(stepped_floats, SteppedFloats);

/// The numbers of a range, and how many they are.
trait RangeNumbers: Clone {
    type Number: Variant + Clone;

    fn count(&self) -> u64;

    fn all(&self) -> impl Iterator<Item = Self::Number>;
}

impl RangeNumbers for ExclusiveRange {
    type Number = i64;

    fn count(&self) -> u64 {
        if self.start < self.end { self.end.abs_diff(self.start) } else { 0 }
    }

    fn all(&self) -> impl Iterator<Item = i64> {
        self.clone()
    }
}

impl RangeNumbers for InclusiveRange {
    type Number = i64;

    fn count(&self) -> u64 {
        if self.start() <= self.end() { self.end().abs_diff(*self.start()).saturating_add(1) } else { 0 }
    }

    fn all(&self) -> impl Iterator<Item = i64> {
        self.clone()
    }
}

impl RangeNumbers for SteppedRange {
    type Number = i64;

    fn count(&self) -> u64 {
        self.count
    }

    fn all(&self) -> impl Iterator<Item = i64> {
        self.clone()
    }
}

impl RangeNumbers for SteppedFloats {
    type Number = f64;

    fn count(&self) -> u64 {
        self.count - self.made
    }

    fn all(&self) -> impl Iterator<Item = f64> {
        self.clone()
    }
}

fn length(range: &impl RangeNumbers) -> i64 {
    i64::try_from(range.count()).unwrap_or(i64::MAX)
}

fn numbers(ctx: &NativeCallContext, range: &impl RangeNumbers) -> Fallible<Array> {
    /// Number of elements that are made between two looks at the flag.
    const PIECE: usize = 1 << 12;
    let env = env(ctx)?;
    let length = length(range);
    check_room(length as u128 * size_of::<Dynamic>() as u128, || format!("a range of {length} numbers as an array"))?;
    let mut list = Array::new();
    for number in range.all() {
        if list.len().is_multiple_of(PIECE) {
            env.task.check()?;
        }
        list.push(Dynamic::from(number));
    }
    Ok(list)
}

/// Calls a method of lists on the numbers of a range.
fn as_list<const N: usize>(
    ctx: &NativeCallContext,
    name: &str,
    range: &impl RangeNumbers,
    mut arguments: [Dynamic; N],
) -> Fallible<Dynamic> {
    // The numbers, and what becomes of each.
    let each = 2 * size_of::<Dynamic>() as u128;
    check_room(length(range) as u128 * each, || "a list of a range's numbers".into())?;
    let mut list = Dynamic::from(numbers(ctx, range)?);
    let mut all: Vec<&mut Dynamic> = std::iter::once(&mut list).chain(&mut arguments).collect();
    ctx.call_native_fn_raw(name, true, &mut all)
}
