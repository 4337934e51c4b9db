//! Forms in which a tensor is shown: a card with its properties, and a short form of one line.

use candle_core::{Device, Tensor};

use super::reduce::{self, Reduction};
use super::{Number, display, dtype, element, statistics};
use crate::base::results::{Card, Cell};
use crate::base::{Result, memory};

/// Bars in the histogram of a card.
const BINS: usize = 32;
/// Number of characters up to which a tensor is written out in its short form.
const SHORT: usize = 100;
/// Number of elements up to which they are rounded, where they are too long for the short form.
const ROUNDED: usize = 32;

/// Builds a card of the properties of a tensor, which fits a screen of `width` columns.
pub fn card(t: &Tensor, width: usize) -> Result<Card> {
    let bytes = t.elem_count() as u128 * t.dtype().size_in_bytes() as u128;
    let mut fields: Vec<(String, Cell)> = vec![
        ("shape".into(), format!("{:?}", t.dims()).into()),
        ("dtype".into(), t.dtype().as_str().into()),
        ("device".into(), device(t.device()).into()),
        ("size".into(), memory::human(bytes).into()),
    ];
    let s = statistics::summary(t)?;
    if s.finite > 0 {
        // A large integer is not exact in f64.
        let exact = |x: f64, how: Reduction| -> Result<Cell> {
            if dtype::is_float(t.dtype()) {
                return Ok(Cell::Float(x));
            }
            Ok(match reduce::number(t, how)? {
                Number::Int(whole) => Cell::Int(whole),
                Number::Float(x) => Cell::Float(x),
            })
        };
        fields.extend([
            ("min".into(), exact(s.min, Reduction::Min)?),
            ("mean".into(), s.mean.into()),
            ("max".into(), exact(s.max, Reduction::Max)?),
            ("std".into(), s.std.into()),
        ]);
    }
    fields.push(("NaN".into(), s.nan.into()));
    if s.infinite > 0 {
        fields.push(("inf".into(), s.infinite.into()));
    }
    let histogram = if s.finite > 1 && s.min < s.max { Some(statistics::histogram(t, BINS, None)?.0) } else { None };
    Ok(Card { title: "Tensor".into(), fields, histogram, body: Some(display::body(t, width)?) })
}

/// Returns the name of a device in scripts.
pub fn device(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    }
}

/// Writes a tensor in one line: its numbers where they are few, rounded (after `≈`) where they are long, else dtype and
/// shape alone. f32 is not named beside numbers that are whole.
pub fn short(t: &Tensor) -> Result<String> {
    // The numbers of a tensor without rows do not show the length of its rows.
    let hollow = t.rank() > 1 && t.dims()[0] == 0;
    // Rows without elements are written, too.
    if element::steps(t).saturating_mul(3) <= SHORT && !hollow {
        let numbers = nested(&mut texts(t)?.into_iter(), t.dims());
        let named = match t.dtype() {
            candle_core::DType::F32 => format!("tensor({numbers})"),
            other => format!("tensor({numbers}, {})", other.as_str()),
        };
        if named.len() <= SHORT {
            return Ok(named);
        }
    }
    let about = if t.elem_count() <= ROUNDED && t.elem_count() > 0 && dtype::is_float(t.dtype()) {
        let mut rounded = element::floats(t)?.into_iter().map(rounded);
        format!(" ≈ {}", nested(&mut rounded, t.dims()))
    } else {
        String::new()
    };
    Ok(format!("tensor({}, {:?}{about})", t.dtype().as_str(), t.dims()))
}

/// Writes a number to four digits.
fn rounded(x: f64) -> String {
    let short = format!("{x:.3e}").parse::<f64>().unwrap_or(x);
    format!("{short:?}")
}

/// Writes every element as text: the shortest that reads back as the same number of its dtype.
fn texts(t: &Tensor) -> Result<Vec<String>> {
    if !dtype::is_float(t.dtype()) {
        return Ok(element::ints(t)?.iter().map(i64::to_string).collect());
    }
    let values = element::floats(t)?;
    let wide = t.dtype() == candle_core::DType::F64;
    Ok(values.iter().map(|x| if wide { format!("{x:?}") } else { format!("{:?}", *x as f32) }).collect())
}

fn nested(texts: &mut impl Iterator<Item = String>, dims: &[usize]) -> String {
    match dims.split_first() {
        None => texts.next().unwrap_or_default(),
        Some((len, rest)) => {
            let parts: Vec<String> = (0..*len).map(|_| nested(texts, rest)).collect();
            format!("[{}]", parts.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;
    use crate::tensor::fixture::t;
    use candle_core::DType;

    #[test]
    fn short_forms() {
        let short = |values: &[f64], dims: &[usize], dtype| short(&t(values, dims, dtype)).unwrap();
        assert_eq!(short(&[1.0, 0.1, f64::NAN, -2.5], &[2, 2], DType::F32), "tensor([[1.0, 0.1], [NaN, -2.5]])");
        assert_eq!(short(&[1.0, 2.0], &[2], DType::I64), "tensor([1, 2], i64)");
        assert_eq!(short(&[3.0], &[], DType::F16), "tensor(3.0, f16)");
        assert_eq!(short(&[], &[2, 0], DType::U8), "tensor([[], []], u8)");
        assert_eq!(short(&[1e30], &[1], DType::F32), "tensor([1e30])");
        assert_eq!(short(&[0.0; 100], &[10, 10], DType::BF16), "tensor(bf16, [10, 10])");
        assert_eq!(super::short(&create::zeros(&[1000, 0], DType::F32).unwrap()).unwrap(), "tensor(f32, [1000, 0])");
    }

    #[test]
    fn cards_of_all_sorts() {
        let fields = |t: &Tensor| {
            let card = card(t, 80).unwrap();
            (card.fields.into_iter().collect::<std::collections::BTreeMap<_, _>>(), card.histogram)
        };
        let (found, histogram) = fields(&t(&[1.0, 3.0, f64::NAN, f64::INFINITY], &[2, 2], DType::F32));
        assert_eq!(found["shape"], Cell::Text("[2, 2]".into()));
        assert_eq!(
            (&found["min"], &found["max"], &found["mean"]),
            (&Cell::Float(1.0), &Cell::Float(3.0), &Cell::Float(2.0))
        );
        assert_eq!((&found["NaN"], &found["inf"]), (&Cell::Int(1), &Cell::Int(1)));
        assert_eq!(histogram.unwrap().counts.iter().sum::<u64>(), 2);
        let (found, histogram) = fields(&t(&[], &[0], DType::I64));
        assert!(!found.contains_key("min") && histogram.is_none());
        let (found, _) = fields(&t(&[5.0], &[], DType::I64));
        assert_eq!(found["max"], Cell::Int(5));
        let large = (1 << 53) + 1;
        let (found, _) = fields(&create::from_numbers(&[large.into(), 0.into()], &[2], DType::I64).unwrap());
        assert_eq!(found["max"], Cell::Int(large));
    }
}
