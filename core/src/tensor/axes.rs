//! Axes and shapes as scripts give them: negative ones count from the end, and all are checked before use.

use crate::common::*;

/// Returns the position that an index means among `len`, where a negative one counts from the end; None if it is out of
/// range.
pub fn from_end(index: i64, len: usize) -> Option<usize> {
    let place = if index < 0 { index.checked_add_unsigned(len as u64)? } else { index };
    usize::try_from(place).ok().filter(|place| *place < len)
}

/// Returns an axis counted from the front.
pub fn axis(axis: i64, rank: usize) -> Result<usize> {
    let signed = rank as i64;
    from_end(axis, rank).ok_or_else(|| match rank {
        0 => err!(Index, "expected a tensor with axes, found one without"),
        _ => err!(Index, "expected an axis from {} to {}, found {axis}", -signed, signed - 1),
    })
}

/// Returns several axes, sorted; a repeated one is refused. `None` means all of them.
pub fn axes(given: Option<&[i64]>, rank: usize) -> Result<Vec<usize>> {
    let Some(given) = given else { return Ok((0..rank).collect()) };
    let mut found = given.iter().map(|a| axis(*a, rank)).collect::<Result<Vec<_>>>()?;
    found.sort_unstable();
    if let Some(twice) = found.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!(Argument, "expected each axis once, found axis {} twice", twice[0]);
    }
    Ok(found)
}

/// Returns a position along an axis of `len` entries, counted from the front.
pub fn position(index: i64, len: usize) -> Result<usize> {
    let signed = len as i64;
    from_end(index, len).ok_or_else(|| match len {
        0 => err!(Index, "expected no index, since the axis is empty, found {index}"),
        _ => err!(Index, "expected an index from {} to {}, found {index}", -signed, signed - 1),
    })
}

/// Converts the sizes that a script gave to a shape.
pub fn shape(sizes: &[i64]) -> Result<Vec<usize>> {
    let size = |s: &i64| usize::try_from(*s).map_err(|_| err!(Shape, "expected sizes of 0 or more, found {s}"));
    sizes.iter().map(size).collect()
}

/// Returns the shape that two shapes broadcast to, as in numpy.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |dims: &[usize], i: usize| if i + dims.len() < rank { 1 } else { dims[i + dims.len() - rank] };
    (0..rank)
        .map(|i| match (size(a, i), size(b, i)) {
            (1, other) | (other, 1) => Ok(other),
            (x, y) if x == y => Ok(x),
            _ => Err(err!(Shape, "expected shapes that broadcast, found {a:?} and {b:?}")
                .hint("sizes must be equal or 1, compared from the last axis backwards")),
        })
        .collect()
}

/// Returns the shape without some axes, or with size 1 in their places.
pub fn reduced(dims: &[usize], axes: &[usize], keepdim: bool) -> Vec<usize> {
    let sizes = dims.iter().enumerate();
    if keepdim {
        sizes.map(|(i, size)| if axes.contains(&i) { 1 } else { *size }).collect()
    } else {
        sizes.filter(|(i, _)| !axes.contains(i)).map(|(_, size)| *size).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_axes_count_from_the_end() {
        assert_eq!(axis(-1, 3), Ok(2));
        assert_eq!(axes(Some(&[2, -3]), 3), Ok(vec![0, 2]));
        assert_eq!(axes(None, 2), Ok(vec![0, 1]));
        assert_eq!(axes(Some(&[]), 2), Ok(vec![]));
        for (given, rank) in [(3, 3), (-4, 3), (0, 0), (i64::MIN, 2), (i64::MAX, 2)] {
            assert_eq!(axis(given, rank).unwrap_err().kind, crate::base::Kind::Index);
        }
        assert!(axes(Some(&[1, -1]), 2).unwrap_err().message.contains("axis 1 twice"));
    }

    #[test]
    fn shapes_broadcast_from_the_end() {
        assert_eq!(broadcast(&[2, 1], &[3]), Ok(vec![2, 3]));
        assert_eq!(broadcast(&[0], &[1]), Ok(vec![0]));
        assert_eq!(broadcast(&[], &[4, 5]), Ok(vec![4, 5]));
        let error = broadcast(&[2, 3], &[4]).unwrap_err();
        assert_eq!(error.message, "expected shapes that broadcast, found [2, 3] and [4]");
        assert!(shape(&[2, -1]).is_err());
    }
}
