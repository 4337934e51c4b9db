//! The script language's own functions where they need care: `sleep` that can be interrupted, `pad` and `blob` that
//! ask for room before they take it.

pub mod builtin_replacements;
pub mod lists;
pub mod numbers;
pub mod ranges;
pub mod run;

use std::time::Duration;

use rhai::Blob;

use crate::base::clock::{self, Instant};
use crate::script::engine::room::check_room;
use crate::script::engine::value_memory::weight;
use crate::script::prelude::*;

#[export_module(manifest)]
pub mod functions {
    /// Waits for a number of seconds; Ctrl-C ends the wait.
    ///
    /// # Example
    /// ```
    /// sleep(0);
    /// sleep(0.01);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn sleep(ctx: NativeCallContext, seconds: Num) -> Fallible<()> {
        super::wait(&ctx, given("seconds", &seconds).number()?)
    }

    // The language's own `sleep` for each type of number would be found before the one above.
    #[rhai_fn(name = "sleep", return_raw)]
    pub fn sleep_float(ctx: NativeCallContext, seconds: f64) -> Fallible<()> {
        super::wait(&ctx, seconds)
    }

    #[rhai_fn(name = "sleep", return_raw)]
    pub fn sleep_integer(ctx: NativeCallContext, seconds: i64) -> Fallible<()> {
        super::wait(&ctx, seconds as f64)
    }

    /// Lengthens an array to `length` elements with copies of `value`.
    ///
    /// # Example
    /// ```
    /// let a = [1];
    /// a.pad(3, 0);
    /// a  //=> [1, 0, 0]
    /// ```
    #[rhai_fn(global, name = "pad", return_raw)]
    pub fn pad_array(ctx: NativeCallContext, array: &mut Array, length: Int, value: Any) -> Fallible<()> {
        super::padded(&ctx, array, given("length", &length).integer()?, value)
    }

    #[rhai_fn(global, name = "pad", return_raw)]
    pub fn pad_array_integer(ctx: NativeCallContext, array: &mut Array, length: i64, value: Any) -> Fallible<()> {
        super::padded(&ctx, array, length, value)
    }

    /// Makes a blob of `length` bytes, zeros or all the same `value`.
    ///
    /// # Example
    /// ```
    /// blob(3).len  //=> 3
    /// blob(2, 7)[1]  //=> 7
    /// ```
    #[rhai_fn(name = "blob", return_raw)]
    pub fn blob_zeros(ctx: NativeCallContext, length: Int) -> Fallible<Blob> {
        super::filled(&ctx, given("length", &length).integer()?, 0)
    }

    // As with `sleep`, the language's own would be found before the one above.
    #[rhai_fn(name = "blob", return_raw)]
    pub fn blob_integer(ctx: NativeCallContext, length: i64) -> Fallible<Blob> {
        super::filled(&ctx, length, 0)
    }

    #[rhai_fn(name = "blob", return_raw)]
    pub fn blob_filled(ctx: NativeCallContext, length: Int, value: Int) -> Fallible<Blob> {
        super::filled(&ctx, given("length", &length).integer()?, given("value", &value).integer()?)
    }

    #[rhai_fn(name = "blob", return_raw)]
    pub fn blob_filled_integers(ctx: NativeCallContext, length: i64, value: i64) -> Fallible<Blob> {
        super::filled(&ctx, length, value)
    }

    /// Lengthens a string to `length` characters with copies of `padding`.
    ///
    /// # Example
    /// ```
    /// let text = "7";
    /// text.pad(3, ".");
    /// text  //=> "7.."
    /// ```
    #[rhai_fn(global, name = "pad", return_raw)]
    pub fn pad_text(
        ctx: NativeCallContext,
        text: &mut ImmutableString,
        length: Int,
        padding: ImmutableString,
    ) -> Fallible<()> {
        super::lengthened(&ctx, text, given("length", &length).integer()?, &padding)
    }

    #[rhai_fn(global, name = "pad", return_raw)]
    pub fn pad_text_integer(
        ctx: NativeCallContext,
        text: &mut ImmutableString,
        length: i64,
        padding: ImmutableString,
    ) -> Fallible<()> {
        super::lengthened(&ctx, text, length, &padding)
    }

    #[rhai_fn(global, name = "pad", return_raw)]
    pub fn pad_text_character(
        ctx: NativeCallContext,
        text: &mut ImmutableString,
        length: i64,
        padding: char,
    ) -> Fallible<()> {
        super::lengthened(&ctx, text, length, padding.encode_utf8(&mut [0; 4]))
    }

    /// Lengthens a blob to `length` bytes with a byte; a longer one stays as it is.
    ///
    /// # Example
    /// ```
    /// let b = blob(1, 5);
    /// b.pad(3, 7);
    /// b.to_array()  //=> [5, 7, 7]
    /// ```
    #[rhai_fn(global, name = "pad", return_raw)]
    pub fn pad_blob(ctx: NativeCallContext, blob: &mut Blob, length: Int, value: Int) -> Fallible<()> {
        let length = given("length", &length).integer()?;
        let value = given("value", &value).integer()?;
        super::widened(&ctx, blob, length, value)
    }

    #[rhai_fn(global, name = "pad", return_raw)]
    pub fn pad_blob_integer(ctx: NativeCallContext, blob: &mut Blob, length: i64, value: i64) -> Fallible<()> {
        super::widened(&ctx, blob, length, value)
    }

    /// Returns the type of a value in the words of the reference: "integer", "float", "Tensor".
    ///
    /// # Example
    /// ```
    /// kind_of(1.5)  //=> "float"
    /// ```
    pub fn kind_of(value: Any) -> String {
        crate::script::engine::value::type_name(&value).into()
    }

    /// Rounds to `digits` digits after the point, halves away from 0.
    ///
    /// # Example
    /// ```
    /// round_to(3.14159, 2)  //=> 3.14
    /// round_to(1234, -2)  //=> 1200.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn round_to(x: Num, digits: Int) -> Fallible<f64> {
        let x = given("x", &x).number()?;
        let digits = given("digits", &digits).integer()?.clamp(-300, 300) as i32;
        let scale = 10_f64.powi(digits);
        let rounded = (x * scale).round() / scale;
        Ok(if rounded.is_finite() { rounded } else { x })
    }
}

fn wait(ctx: &NativeCallContext, seconds: f64) -> Fallible<()> {
    let env = env(ctx)?;
    let until = Duration::try_from_secs_f64(seconds.max(0.0)).ok().and_then(|d| Instant::now().checked_add(d));
    loop {
        env.task.check()?;
        let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Ok(());
        }
        clock::sleep(left.min(Duration::from_millis(20)));
    }
}

/// Bytes that are written between two looks at the interrupt flag.
const PIECE: usize = 16 << 20;

/// Makes a blob whose bytes are written, and not left to the system to make when they are looked at: the memory that a
/// value takes is to be seen.
fn filled(ctx: &NativeCallContext, length: i64, value: i64) -> Fallible<Blob> {
    let mut blob = Blob::new();
    widened(ctx, &mut blob, length, value)?;
    Ok(blob)
}

fn widened(ctx: &NativeCallContext, blob: &mut Blob, length: i64, value: i64) -> Fallible<()> {
    let length = room(length, 1, "a blob")?;
    let byte = byte(value)?;
    extended(ctx, blob, length, byte)
}

fn byte(value: i64) -> Fallible<u8> {
    let byte = u8::try_from(value);
    Ok(byte.map_err(|_| err!(Argument, "expected a byte from 0 to 255, found {value}").about("value"))?)
}

fn padded(ctx: &NativeCallContext, array: &mut Array, length: i64, value: Dynamic) -> Fallible<()> {
    let each = size_of::<Dynamic>() as u64 + weight(&value);
    let length = room(length, usize::try_from(each).unwrap_or(usize::MAX), "an array")?;
    extended(ctx, array, length, value)
}

/// Appends copies of a value up to this length. An interruption leaves the list as it was.
fn extended<T: Clone>(ctx: &NativeCallContext, list: &mut Vec<T>, length: usize, value: T) -> Fallible<()> {
    let before = list.len();
    let env = env(ctx)?;
    // At its full length: a list that grows is copied into twice its length on the way.
    list.reserve_exact(length.saturating_sub(before));
    while list.len() < length {
        list.resize(length.min(list.len() + PIECE / size_of::<T>()), value.clone());
        env.task.check().inspect_err(|_| list.truncate(before))?;
    }
    Ok(())
}

fn lengthened(ctx: &NativeCallContext, text: &mut ImmutableString, length: i64, padding: &str) -> Fallible<()> {
    // Twice: the language copies a text into a string of its own.
    let length = room(length, 2 * padding.len().max(1), "a string")?;
    let env = env(ctx)?;
    let each = padding.chars().count();
    let mut missing = length.saturating_sub(text.chars().count());
    if missing == 0 || each == 0 {
        return Ok(());
    }
    let whole = missing.div_ceil(each);
    let piece = (PIECE / padding.len()).clamp(1, whole);
    let copies = padding.repeat(piece);
    // Made at its full length, as above.
    let mut longer = String::with_capacity(text.len() + padding.len() * whole);
    longer.push_str(text);
    while missing >= piece * each {
        longer.push_str(&copies);
        missing -= piece * each;
        env.task.check()?;
    }
    longer.extend(copies.chars().take(missing));
    *text = longer.into();
    Ok(())
}

/// Returns a length that fits into memory.
fn room(length: i64, each: usize, what: &str) -> Fallible<usize> {
    let length = usize::try_from(length).unwrap_or(0);
    check_room(length as u128 * each as u128, || format!("{what} of {length}"))?;
    Ok(length)
}
