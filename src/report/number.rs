//! Numbers as people read them: the right number of digits, thousands set apart, powers of ten where they help.

use crate::base::counts::grouped;
use crate::base::results::is_missing;
use crate::base::{Cell, Grid};

/// Writes the number with `significant` digits, zeros at the end left off: `0.1234`, `12,345`, `1.2e-7`.
pub fn digits(value: f64, significant: usize) -> String {
    if !value.is_finite() {
        return non_finite(value);
    }
    if value == 0.0 {
        return "0".into();
    }
    let significant = significant.max(1);
    // The exponent is that of the rounded number, since 999.96 with four digits is 1000 and not 1000.0.
    let scientific = format!("{:.*e}", significant - 1, value);
    let (mantissa, exponent) = split(&scientific);
    if !(-4..6.max(significant as i32)).contains(&exponent) {
        return format!("{}e{exponent}", without_zeros(mantissa));
    }
    let decimals = (significant as i32 - 1 - exponent).max(0) as usize;
    grouped(&without_zeros(&format!("{value:.decimals$}")))
}

/// Writes the number with a fixed number of decimals, thousands set apart.
pub fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return non_finite(value);
    }
    let text = format!("{value:.decimals$}");
    // A number that rounds to zero has no sign.
    let is_zero = text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.'));
    grouped(if is_zero { text.trim_start_matches('-') } else { &text })
}

/// Writes the number with a power of ten, as in `7.5×10⁸`, with `decimals` in the mantissa; `10⁸` where the mantissa is
/// one.
pub fn power(value: f64, decimals: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return fixed(value, 0);
    }
    let scientific = format!("{value:.decimals$e}");
    let (mantissa, exponent) = split(&scientific);
    let raised = format!("10{}", superscript(exponent));
    match without_zeros(mantissa).as_str() {
        "1" => raised,
        "-1" => format!("-{raised}"),
        mantissa => format!("{mantissa}×{raised}"),
    }
}

/// Writes the numbers of a grid as they stand in its cells: nothing where there is none, or where a causal mask is.
pub fn cell_texts(grid: &Grid) -> Vec<String> {
    let columns = grid.columns.len();
    let masked = is_causal(grid);
    let mut texts = cells(&grid.values);
    for (place, (text, value)) in texts.iter_mut().zip(&grid.values).enumerate() {
        if value.is_nan() || masked && place % columns > place / columns {
            text.clear();
        }
    }
    texts
}

/// Returns whether all above the diagonal is masked, as in an attention pattern: nothing stands there.
fn is_causal(grid: &Grid) -> bool {
    let size = grid.columns.len();
    let above = |(place, _): &(usize, &f64)| place % size > place / size;
    let is_masked = |value: &f64| *value == 0.0 || value.is_nan();
    size > 2
        && grid.rows.len() == size
        && grid.values.iter().enumerate().filter(above).all(|(_, value)| is_masked(value))
}

/// Writes the numbers of one grid, short and with common decimals: at most two, unless all are small.
fn cells(values: &[f64]) -> Vec<String> {
    let largest = values.iter().filter(|v| v.is_finite()).fold(0.0, |most: f64, v| most.max(v.abs()));
    let whole = values.iter().all(|v| !v.is_finite() || v.fract() == 0.0);
    let write = |value: &f64| match largest {
        most if most < 1e5 && whole => fixed(*value, 0),
        most if (0.1..1e5).contains(&most) => fixed(*value, (2 - most.log10().floor() as i32).clamp(0, 2) as usize),
        most if (1e-3..0.1).contains(&most) => fixed(*value, (1 - most.log10().floor() as i32) as usize),
        _ => digits(*value, 2),
    };
    values.iter().map(write).collect()
}

/// Format of the numbers of one column, whose points stand under each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NumberFormat {
    /// A number of decimals that all numbers have.
    Decimals(usize),
    /// A format of its own for each number: their sizes are too far apart for common decimals.
    Free,
}

impl NumberFormat {
    /// Chooses common decimals, if the smallest number keeps three digits within six decimals.
    pub fn of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Self {
        let mut smallest = f64::INFINITY;
        let mut largest: f64 = 0.0;
        let mut whole = true;
        for cell in cells {
            if let Cell::Float(value) = cell
                && value.is_finite()
                && *value != 0.0
            {
                smallest = smallest.min(value.abs());
                largest = largest.max(value.abs());
                whole &= value.fract() == 0.0;
            }
        }
        if largest == 0.0 || whole && largest < 1e6 {
            return NumberFormat::Decimals(0);
        }
        let decimals = (2 - smallest.log10().floor() as i32).max(0);
        if decimals <= 6 && largest < 1e6 && largest / smallest < 1e5 {
            NumberFormat::Decimals(decimals as usize)
        } else {
            NumberFormat::Free
        }
    }

    pub fn write(self, cell: &Cell) -> String {
        match (cell, self) {
            (Cell::Missing, _) => NOTHING.into(),
            (Cell::Bool(value), _) => value.to_string(),
            (Cell::Int(value), _) => grouped(&value.to_string()),
            (Cell::Float(value), NumberFormat::Decimals(decimals)) => fixed(*value, decimals),
            (Cell::Float(value), NumberFormat::Free) => digits(*value, 4),
            (Cell::Text(text), _) => super::visible_text::visible_lines(text),
        }
    }
}

/// Text in place of a value that is missing.
const NOTHING: &str = "–";

fn non_finite(value: f64) -> String {
    match value {
        v if is_missing(v) => NOTHING.into(),
        v if v.is_nan() => "NaN".into(),
        v if v > 0.0 => "inf".into(),
        _ => "-inf".into(),
    }
}

/// Splits a number that `{:e}` wrote into mantissa and exponent.
fn split(scientific: &str) -> (&str, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (mantissa, exponent.parse().unwrap_or(0))
}

fn without_zeros(text: &str) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text.into() }
}

fn superscript(number: i32) -> String {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    number.to_string().bytes().map(|b| if b == b'-' { '⁻' } else { RAISED[usize::from(b - b'0') % 10] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::results::MISSING;

    #[test]
    fn numbers_have_the_digits_asked_for() {
        for (value, text) in [
            (0.0, "0"),
            (0.123_456, "0.1235"),
            (999.96, "1000"),
            (12_345.678, "12,346"),
            (123_456.0, "123,456"),
            (1_234_567.0, "1.235e6"),
            (-0.000_123_46, "-0.0001235"),
            (1.5e-7, "1.5e-7"),
            (f64::NAN, "NaN"),
            (MISSING, "–"),
            (f64::NEG_INFINITY, "-inf"),
            (5.0, "5"),
            (f64::MAX, "1.798e308"),
        ] {
            assert_eq!(digits(value, 4), text);
        }
    }

    #[test]
    fn powers_and_groups() {
        assert_eq!(power(1e-4, 0), "10⁻⁴");
        assert_eq!(power(-2.5e12, 1), "-2.5×10¹²");
        assert_eq!(grouped("1234"), "1234");
        assert_eq!(grouped("-1234567.891"), "-1,234,567.891");
        assert_eq!(fixed(-0.0001, 2), "0.00");
    }

    #[test]
    fn the_cells_of_a_grid_are_short_and_alike() {
        assert_eq!(cells(&[0.0, 3.0, f64::NAN]), ["0", "3", "NaN"]);
        assert_eq!(cells(&[0.123, -0.9]), ["0.12", "-0.90"]);
        assert_eq!(cells(&[1.25, 0.5]), ["1.25", "0.50"]);
        assert_eq!(cells(&[12.34, 0.5]), ["12.3", "0.5"]);
        assert_eq!(cells(&[0.0123, 0.005]), ["0.012", "0.005"]);
        assert_eq!(cells(&[2e-9, 1.0e-9]), ["2e-9", "1e-9"]);
    }

    #[test]
    fn a_column_agrees_on_decimals_where_sizes_allow() {
        let floats = |values: &[f64]| values.iter().map(|v| Cell::Float(*v)).collect::<Vec<_>>();
        assert_eq!(NumberFormat::of(floats(&[0.5, 0.0123, 12.0]).iter()), NumberFormat::Decimals(4));
        assert_eq!(NumberFormat::of(floats(&[1.0, 20.0]).iter()), NumberFormat::Decimals(0));
        assert_eq!(NumberFormat::of(floats(&[1e-9, 20.0]).iter()), NumberFormat::Free);
        assert_eq!(NumberFormat::of([].iter()), NumberFormat::Decimals(0));
        assert_eq!(NumberFormat::Decimals(3).write(&Cell::Float(2.0)), "2.000");
    }
}
