//! The numbers of a tensor as a block of text that fits a width; the middle of long axes is left out.

use candle_core::Tensor;

use super::index::{self, AxisIndex};
use super::{dtype, element};
use crate::base::Result;

/// Entries shown along the axis before the last, and along those before it.
const ROWS: usize = 8;
const BLOCKS: usize = 4;
/// Minimum number of columns, however narrow the screen.
const FEWEST_COLUMNS: usize = 2;
/// Numbers at least this wide are looked at to find the width of all.
const WIDEST: usize = 12;

/// The shown entries of an axis: all, or this many from both ends.
#[derive(Clone)]
struct AxisEntries {
    positions: Vec<i64>,
    /// The place where the middle is left out.
    gap: Option<usize>,
}

impl AxisEntries {
    fn of(len: usize, most: usize) -> Self {
        if len <= most {
            return Self { positions: (0..len as i64).collect(), gap: None };
        }
        let head = most.div_ceil(2);
        let tail = most - head;
        let positions = (0..head).chain(len - tail..len).map(|i| i as i64).collect();
        Self { positions, gap: Some(head) }
    }
}

/// Writes the numbers in brackets, row under row, at most `width` columns wide.
pub fn body(t: &Tensor, width: usize) -> Result<String> {
    let rank = t.rank();
    // The widest shown number decides how many fit a row, and how many fit decides which are shown: so first with as
    // many as could fit at all, and then again with as many as do.
    let fits = |cell: usize| (width.saturating_sub(2 * rank + 5) / (cell + 2)).max(FEWEST_COLUMNS);
    let first = Picture::of(t, fits(1).min(fits(WIDEST) * 4))?;
    let picture = Picture::of(t, fits(first.cell()))?;
    Ok(picture.text(&mut 0, 0))
}

/// The shown numbers as text, with the places where something is left out.
struct Picture {
    axes: Vec<AxisEntries>,
    cells: Vec<String>,
}

impl Picture {
    fn of(t: &Tensor, columns: usize) -> Result<Self> {
        let rank = t.rank();
        let most = |axis: usize| match rank - axis {
            1 => columns,
            2 => ROWS,
            _ => BLOCKS,
        };
        let axes: Vec<AxisEntries> =
            t.dims().iter().enumerate().map(|(axis, len)| AxisEntries::of(*len, most(axis))).collect();
        let indices: Vec<AxisIndex> = axes.iter().map(|shown| AxisIndex::List(shown.positions.clone())).collect();
        let part = index::get(&t.detach(), &indices)?;
        let cells = if dtype::is_float(t.dtype()) {
            float_texts(&element::floats(&part)?)
        } else {
            element::ints(&part)?.iter().map(i64::to_string).collect()
        };
        Ok(Self { axes, cells })
    }

    fn cell(&self) -> usize {
        self.cells.iter().map(String::len).max().unwrap_or(1)
    }

    /// Writes one entry of the axis `depth`, whose first number is `next`.
    fn text(&self, next: &mut usize, depth: usize) -> String {
        let Some(shown) = self.axes.get(depth) else {
            let cell = self.cells.get(*next).map(String::as_str).unwrap_or_default();
            *next += 1;
            return format!("{cell:>width$}", width = self.cell());
        };
        let last = depth + 1 == self.axes.len();
        let mut parts: Vec<String> = shown.positions.iter().map(|_| self.text(next, depth + 1)).collect();
        if let Some(gap) = shown.gap {
            parts.insert(gap, "..".into());
        }
        let between = if last { ", ".to_string() } else { format!(",\n{}", " ".repeat(depth + 1)) };
        format!("[{}]", parts.join(&between))
    }
}

/// Writes floats alike: whole, with four decimals, or with an exponent where they are very large or small.
fn float_texts(values: &[f64]) -> Vec<String> {
    let finite = || values.iter().filter(|x| x.is_finite()).map(|x| x.abs());
    let most = finite().fold(0.0, f64::max);
    let least = finite().filter(|x| *x > 0.0).fold(f64::INFINITY, f64::min);
    let whole = finite().all(|x| x.fract() == 0.0);
    let text = |x: &f64| match x {
        x if x.is_nan() => "NaN".into(),
        x if x.is_infinite() => {
            if *x > 0.0 {
                "inf".into()
            } else {
                "-inf".into()
            }
        }
        x if whole && most < 1e8 => format!("{x}."),
        x if most >= 1e6 || most < 1e-3 && least < 1e-3 => format!("{x:.3e}"),
        x => format!("{x:.4}"),
    };
    values.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;
    use crate::tensor::fixture::t;
    use candle_core::DType;
    use proptest::prelude::*;

    #[test]
    fn numbers_in_columns() {
        let text = body(&t(&[1.0, -0.5, f64::NAN, 10.0], &[2, 2], DType::F32), 80).unwrap();
        assert_eq!(text, "[[ 1.0000, -0.5000],\n [    NaN, 10.0000]]");
        assert_eq!(body(&t(&[1.0, 20.0], &[2], DType::I64), 80).unwrap(), "[ 1, 20]");
        assert_eq!(body(&t(&[1.0, 2.0], &[2], DType::F32), 80).unwrap(), "[1., 2.]");
        assert_eq!(body(&t(&[2e-9, 1e-9], &[2], DType::F64), 80).unwrap(), "[2.000e-9, 1.000e-9]");
        assert_eq!(body(&t(&[7.0], &[], DType::U8), 80).unwrap(), "7");
        assert_eq!(body(&t(&[], &[0, 2], DType::F32), 80).unwrap(), "[]");
        let long = create::arange(0.into(), 1000.into(), 1.into(), Some(DType::I64)).unwrap();
        assert_eq!(body(&long, 40).unwrap(), "[  0,   1,   2, .., 997, 998, 999]");
        let tall = long.reshape((1000, 1)).unwrap();
        assert_eq!(body(&tall, 40).unwrap().lines().count(), 9);
    }

    #[test]
    fn wide_numbers_leave_out_more_columns() {
        let x = t(&[0.0, 841_470.5, 909_297.5, 141_120.5, -756_802.5], &[1, 5], DType::F64);
        assert_eq!(body(&x, 60).unwrap(), "[[      0.0000,  841470.5000, .., -756802.5000]]");
    }

    proptest! {
        #[test]
        fn bodies_fit_their_width(dims in prop::collection::vec(0_usize..300, 0..3), width in 60_usize..200, scale in -12_i32..12) {
            let len = dims.iter().product::<usize>();
            let values = (0..len).map(|i| (i as f64).sin() * 10_f64.powi(scale)).collect();
            let x = create::from_floats(values, &dims, DType::F64).unwrap();
            let text = body(&x, width).unwrap();
            prop_assert!(text.lines().all(|line| line.chars().count() <= width), "{}", text);
        }
    }
}
