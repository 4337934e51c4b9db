//! Indexing and assignment: each index selects along its own axis, a mask along as many as it has.

use candle_core::{DType, Tensor};

use super::{Number, Operand, axes, device, dtype, element, gather, number};
use crate::common::*;

/// The selection along one axis (or, for a mask, along several).
#[derive(Debug, Clone)]
pub enum AxisIndex {
    /// One entry; the axis is removed.
    At(i64),
    /// Entries from `start` to `end`, which is excluded; `None` means the end of the axis. Negative bounds count from
    /// the end.
    Range { start: i64, end: Option<i64> },
    /// Entries at these indices, in this order.
    List(Vec<i64>),
    /// The entries where a mask is not 0; the axes that it covers become one.
    Mask(Tensor),
    /// The whole axis.
    All,
}

/// One index, resolved for the axes that it covers.
enum AxisSelection {
    One(usize),
    Span { start: usize, len: usize },
    Many(Vec<usize>),
}

struct AxisStep {
    /// Size of the axis, or product of the sizes that a mask covers.
    size: usize,
    picked: AxisSelection,
}

impl AxisStep {
    fn positions(&self) -> Vec<usize> {
        match &self.picked {
            AxisSelection::One(at) => vec![*at],
            AxisSelection::Span { start, len } => (*start..start + len).collect(),
            AxisSelection::Many(positions) => positions.clone(),
        }
    }

    /// Returns the size of the axis in the result, if it stays.
    fn len(&self) -> Option<usize> {
        match &self.picked {
            AxisSelection::One(_) => None,
            AxisSelection::Span { len, .. } => Some(*len),
            AxisSelection::Many(positions) => Some(positions.len()),
        }
    }
}

/// Returns the part of a tensor at the indices; axes without an index are taken whole. Gradients flow.
pub fn get(t: &Tensor, indices: &[AxisIndex]) -> Result<Tensor> {
    let steps = plan(t.dims(), indices)?;
    let merged: Vec<usize> = steps.iter().map(|step| step.size).collect();
    let mut part = if merged == t.dims() { t.clone() } else { t.reshape(merged)? };
    // From the last axis backwards, so that a removed axis does not shift those that follow.
    for (axis, step) in steps.iter().enumerate().rev() {
        part = match &step.picked {
            AxisSelection::One(at) => part.narrow(axis, *at, 1)?.squeeze(axis)?,
            AxisSelection::Span { start, len } if (*start, *len) == (0, step.size) => part,
            AxisSelection::Span { start, len } => part.narrow(axis, *start, *len)?,
            AxisSelection::Many(positions) => take(&part, positions, axis)?,
        };
    }
    Ok(part)
}

/// Returns the entries at these positions of one axis, in this order.
pub(super) fn take(t: &Tensor, positions: &[usize], axis: usize) -> Result<Tensor> {
    let mut dims = t.dims().to_vec();
    dims[axis] = positions.len();
    if element::room(&dims, t.dtype())? == 0 {
        return Ok(Tensor::zeros(dims, t.dtype(), t.device())?);
    }
    let ids: Vec<i64> = positions.iter().map(|p| *p as i64).collect();
    let ids = element::int_tensor(ids, &[positions.len()], t.device())?;
    Ok(t.contiguous()?.index_select(&ids, axis)?)
}

/// Returns a copy of the tensor in which the part at the indices is replaced; the value broadcasts to it. Gradients
/// flow.
pub fn set(t: &Tensor, indices: &[AxisIndex], value: &Operand) -> Result<Tensor> {
    let t = &if let Operand::Tensor(value) = value { device::on_device_of(t, value)? } else { t.clone() };
    let steps = plan(t.dims(), indices)?;
    let part: Vec<usize> = steps.iter().filter_map(AxisStep::len).collect();
    let value = fitting(value, t)?;
    if axes::broadcast(value.dims(), &part).ok().as_deref() != Some(part.as_slice()) {
        bail!(Shape, "expected a value that broadcasts to the part {part:?}, found shape {:?}", value.dims());
    }
    let count = element::room(&part, DType::I64)?;
    if count == 0 {
        return Ok(t.clone());
    }
    element::room(t.dims(), t.dtype())?;
    let places = element::int_tensor(places(&steps), &[count], t.device())?;
    let value = value.broadcast_as(part)?.contiguous()?.reshape(count)?;
    let changed = gather::replaced(&t.flatten_all()?, &places, &value, 0)?;
    Ok(changed.reshape(t.dims())?)
}

/// Converts the value to the tensor's dtype; a float for integers is refused.
fn fitting(value: &Operand, t: &Tensor) -> Result<Tensor> {
    let to = t.dtype();
    if dtype::is_float(to) {
        return value.tensor(to, &t.into());
    }
    match value {
        Operand::Number(n) => match n.as_int() {
            Some(whole) => number::scalar(Number::Int(whole), to, t.device()),
            None => Err(err!(Argument, "expected a whole number for a tensor of {}, found {n}", to.as_str())
                .hint("cast the tensor to f32 first")),
        },
        Operand::Tensor(v) if dtype::is_float(v.dtype()) => {
            Err(err!(Argument, "expected integers for a tensor of {}, found {}", to.as_str(), v.dtype().as_str())
                .hint("cast the value, or the tensor"))
        }
        Operand::Tensor(v) => dtype::cast(&device::on_device_of(v, t)?, to),
    }
}

/// Returns the flat indices of the selected elements.
fn places(steps: &[AxisStep]) -> Vec<i64> {
    let mut places = vec![0_i64];
    for step in steps {
        let positions = step.positions();
        let size = step.size as i64;
        places = places.iter().flat_map(|base| positions.iter().map(move |p| base * size + *p as i64)).collect();
    }
    places
}

fn plan(dims: &[usize], indices: &[AxisIndex]) -> Result<Vec<AxisStep>> {
    let covered: usize = indices.iter().map(covers).sum();
    if covered > dims.len() {
        bail!(Index, "expected at most {} indices for shape {dims:?}, found {covered}", dims.len());
    }
    let mut rest = dims;
    let mut steps = Vec::with_capacity(dims.len());
    for index in indices {
        let (mine, others) = rest.split_at(covers(index));
        steps.push(step(index, mine)?);
        rest = others;
    }
    steps
        .extend(rest.iter().map(|size| AxisStep { size: *size, picked: AxisSelection::Span { start: 0, len: *size } }));
    Ok(steps)
}

fn covers(index: &AxisIndex) -> usize {
    match index {
        AxisIndex::Mask(mask) => mask.rank(),
        _ => 1,
    }
}

fn step(index: &AxisIndex, dims: &[usize]) -> Result<AxisStep> {
    let size = dims.iter().product();
    let picked = match index {
        AxisIndex::At(at) => AxisSelection::One(axes::position(*at, size)?),
        AxisIndex::Range { start, end } => {
            let start = bound(*start, size)?;
            let end = bound(end.unwrap_or(size as i64), size)?;
            if start > end {
                bail!(Index, "expected a range that runs forward, found {start}..{end}");
            }
            AxisSelection::Span { start, len: end - start }
        }
        AxisIndex::List(list) => {
            AxisSelection::Many(list.iter().map(|at| axes::position(*at, size)).collect::<Result<_>>()?)
        }
        AxisIndex::Mask(mask) if mask.dims() != dims => {
            return Err(err!(Shape, "expected a mask of shape {dims:?}, found {:?}", mask.dims())
                .hint("a mask must have the shape of the axes that it covers"));
        }
        AxisIndex::Mask(mask) => {
            element::room_for_rows(mask.elem_count(), size_of::<usize>())?;
            let set = element::bytes(&super::compare::truth(mask)?)?;
            AxisSelection::Many(set.iter().enumerate().filter(|(_, bit)| **bit != 0).map(|(i, _)| i).collect())
        }
        AxisIndex::All => AxisSelection::Span { start: 0, len: size },
    };
    Ok(AxisStep { size, picked })
}

fn bound(at: i64, size: usize) -> Result<usize> {
    let signed = size as i64;
    let found = if at < 0 { at.saturating_add(signed) } else { at };
    usize::try_from(found)
        .ok()
        .filter(|found| *found <= size)
        .ok_or_else(|| err!(Index, "expected a range within 0..{size}, found the bound {at}"))
}

/// Returns the indices of the elements that are not 0: `[n]` for one axis, else `[n, axes]`.
pub fn nonzero(t: &Tensor) -> Result<Tensor> {
    element::room(t.dims(), DType::F64)?;
    let places: Vec<usize> =
        element::floats(t)?.iter().enumerate().filter(|(_, x)| **x != 0.0).map(|(i, _)| i).collect();
    let axes = t.rank();
    element::room(&[places.len(), axes], DType::I64)?;
    let mut found = Vec::with_capacity(places.len() * axes);
    for place in &places {
        let mut inside = *place;
        let start = found.len();
        for size in t.dims().iter().rev() {
            found.push((inside % size) as i64);
            inside /= size;
        }
        found[start..].reverse();
    }
    let dims = if axes == 1 { vec![places.len()] } else { vec![places.len(), axes] };
    element::int_tensor(found, &dims, t.device())
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;
    use crate::tensor::fixture::f64s;
    use proptest::prelude::*;

    fn count(dims: &[usize], dtype: DType) -> Tensor {
        let len = dims.iter().product::<usize>();
        create::from_floats((0..len).map(|i| i as f64).collect(), dims, dtype).unwrap()
    }

    #[test]
    fn each_kind_of_index_over_every_dtype() {
        for dtype in dtype::ALL {
            let t = count(&[3, 4], dtype);
            let got = |indices: &[AxisIndex]| get(&t, indices).unwrap();
            assert_eq!(f64s(&got(&[AxisIndex::At(-1)])), [8.0, 9.0, 10.0, 11.0]);
            assert_eq!(f64s(&got(&[AxisIndex::At(1), AxisIndex::At(2)])), [6.0]);
            assert_eq!(
                f64s(&got(&[AxisIndex::All, AxisIndex::Range { start: 1, end: Some(-1) }])),
                [1.0, 2.0, 5.0, 6.0, 9.0, 10.0]
            );
            assert_eq!(f64s(&got(&[AxisIndex::List(vec![2, 0]), AxisIndex::At(0)])), [8.0, 0.0]);
            assert_eq!(f64s(&got(&[AxisIndex::List(vec![1, -1]), AxisIndex::List(vec![3, 0])])), [7.0, 4.0, 11.0, 8.0]);
            let mask =
                super::super::compare::compare(super::super::compare::Comparison::Gt, &t.clone().into(), &9.into());
            assert_eq!(f64s(&got(&[AxisIndex::Mask(mask.unwrap())])), [10.0, 11.0]);
            assert_eq!(got(&[AxisIndex::List(vec![])]).dims(), [0, 4]);
            let changed = set(&t, &[AxisIndex::At(0), AxisIndex::Range { start: 2, end: None }], &7.into()).unwrap();
            assert_eq!((f64s(&changed)[..5].to_vec(), changed.dtype()), (vec![0.0, 1.0, 7.0, 7.0, 4.0], dtype));
        }
    }

    #[test]
    fn what_is_out_of_range_or_does_not_fit_is_refused() {
        let t = count(&[2, 3], DType::I64);
        for wrong in [
            vec![AxisIndex::At(2)],
            vec![AxisIndex::At(i64::MIN)],
            vec![AxisIndex::Range { start: 0, end: Some(3) }],
            vec![AxisIndex::Range { start: i64::MIN, end: Some(i64::MAX) }],
            vec![AxisIndex::Range { start: 2, end: Some(1) }],
            vec![AxisIndex::List(vec![0, 5])],
            vec![AxisIndex::All, AxisIndex::All, AxisIndex::All],
            vec![AxisIndex::Mask(count(&[3], DType::U8))],
        ] {
            assert!(get(&t, &wrong).is_err(), "{wrong:?}");
        }
        assert!(set(&t, &[AxisIndex::At(0)], &1.5.into()).unwrap_err().hint.unwrap().contains("cast"));
        assert!(set(&t, &[AxisIndex::At(0)], &count(&[2], DType::I64).into()).is_err());
        assert!(set(&t, &[], &count(&[1, 2, 3], DType::I64).into()).is_err());
        assert_eq!(f64s(&set(&t, &[AxisIndex::At(0)], &2.0.into()).unwrap())[0], 2.0);
        let large = create::from_numbers(&[Number::Int(1 << 40)], &[1], DType::I64).unwrap();
        assert!(set(&count(&[1], DType::U8), &[], &large.into()).is_err());
    }

    #[test]
    fn gradients_pass_through_both() {
        let x = candle_core::Var::from_tensor(&count(&[4], DType::F32)).unwrap();
        let part = get(&x, &[AxisIndex::List(vec![1, 1, 3])]).unwrap();
        let grads = part.sum_all().unwrap().backward().unwrap();
        assert_eq!(f64s(grads.get(&x).unwrap()), [0.0, 2.0, 0.0, 1.0]);
        let changed = set(&x, &[AxisIndex::At(2)], &5.into()).unwrap();
        let grads = changed.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert_eq!(f64s(grads.get(&x).unwrap()), [0.0, 2.0, 0.0, 6.0]);
    }

    fn any_index(size: usize) -> impl Strategy<Value = AxisIndex> {
        let n = size as i64;
        prop_oneof![
            (-n..n).prop_map(AxisIndex::At),
            (0..=n, 0..=n).prop_map(|(a, b)| AxisIndex::Range { start: a.min(b), end: Some(a.max(b)) }),
            prop::collection::vec(-n..n, 0..4).prop_map(AxisIndex::List),
            Just(AxisIndex::All),
            prop::collection::vec(0_u8..2, size).prop_map(|bits| {
                AxisIndex::Mask(Tensor::from_vec(bits.clone(), bits.len(), &candle_core::Device::Cpu).unwrap())
            }),
        ]
    }

    /// Returns the positions that an index picks, worked out without the code under test.
    fn plainly(index: &AxisIndex, size: usize) -> Vec<usize> {
        let wrap = |at: &i64| if *at < 0 { (*at + size as i64) as usize } else { *at as usize };
        match index {
            AxisIndex::At(at) => vec![wrap(at)],
            AxisIndex::Range { start, end } => (*start as usize..end.unwrap() as usize).collect(),
            AxisIndex::List(list) => list.iter().map(wrap).collect(),
            AxisIndex::Mask(mask) => {
                let bits = mask.to_vec1::<u8>().unwrap();
                (0..size).filter(|i| bits[*i] == 1).collect()
            }
            AxisIndex::All => (0..size).collect(),
        }
    }

    proptest! {
        #[test]
        fn reading_and_writing_are_the_plain_loops(i in any_index(3), j in any_index(4), k in any_index(2)) {
            let t = count(&[3, 4, 2], DType::F32);
            let mut expected = Vec::new();
            let mut changed: Vec<f64> = (0..24).map(f64::from).collect();
            for a in plainly(&i, 3) {
                for b in plainly(&j, 4) {
                    for c in plainly(&k, 2) {
                        expected.push((a * 8 + b * 2 + c) as f64);
                        changed[a * 8 + b * 2 + c] = -1.0;
                    }
                }
            }
            let indices = [i, j, k];
            prop_assert_eq!(f64s(&get(&t, &indices).unwrap()), expected);
            prop_assert_eq!(f64s(&set(&t, &indices, &Operand::from(-1)).unwrap()), changed);
        }
    }
}
