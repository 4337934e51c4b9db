//! Einstein summation: `einsum("bqd,bkd->bqk", [q, k])`, as matrix products of two operands at a time.

use candle_core::Tensor;

use super::{arithmetic, axes, backward, device, dtype, element, index, matmul, reduce};
use crate::common::*;

/// An operand and the letter of each of its axes, no letter twice.
struct LetteredOperand {
    tensor: Tensor,
    letters: Vec<char>,
}

/// Multiplies the operands and sums over the letters that the result does not have. A letter that occurs twice in one
/// operand takes its diagonal. Without `->` the result has the letters that occur once, in alphabetical order. `...` stands
/// for axes without letters, which broadcast; without `->` they are the first of the result.
pub fn einsum(spec: &str, operands: &[Tensor]) -> Result<Tensor> {
    let (spelled, operands) = spelled_out(spec, &device::together(operands)?)?;
    let (inputs, output) = parse(&spelled)?;
    if inputs.len() != operands.len() {
        bail!(Argument, "expected {} tensors for `{spec}`, found {}", inputs.len(), operands.len());
    }
    sizes(spec, &inputs, &operands)?;
    let mut parts: Vec<LetteredOperand> = inputs
        .into_iter()
        .zip(&operands)
        .map(|(letters, tensor)| diagonals(LetteredOperand { tensor: tensor.clone(), letters }))
        .collect::<Result<_>>()?;
    let mut product = parts.remove(0);
    while !parts.is_empty() {
        let next = parts.remove(0);
        let later = |c: &char| output.contains(c) || parts.iter().any(|p| p.letters.contains(c));
        product = pair(product, next, later)?;
    }
    let alone = summed(product, |c| output.contains(c))?;
    arrange(&alone, &output)
}

const DOTS: &str = "...";

/// Signs that stand for an axis of `...`, counted from the last.
const UNNAMED: std::ops::Range<u32> = 0x2460..0x24A0;

/// Returns the specification with a sign for each axis of `...`, and the operands without those of size 1 that
/// broadcast.
fn spelled_out(spec: &str, operands: &[Tensor]) -> Result<(String, Vec<Tensor>)> {
    let compact: String = spec.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match compact.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (compact.as_str(), None),
    };
    let parts: Vec<&str> = left.split(',').collect();
    if !compact.contains('.') || parts.len() != operands.len() {
        return Ok((compact.clone(), operands.to_vec()));
    }
    let mut sizes: Vec<usize> = Vec::new();
    for (part, tensor) in parts.iter().zip(operands) {
        if let Some((first, count)) = unnamed(part, tensor)? {
            sizes = axes::broadcast(&sizes, &tensor.dims()[first..first + count])?;
        }
    }
    let named = parts.iter().zip(operands).map(|(part, tensor)| named(part, tensor, &sizes));
    let (named, tensors): (Vec<String>, Vec<Tensor>) = named.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let all: String = signs(sizes.len())?.into_iter().collect();
    let result = match right {
        Some(right) if right.matches(DOTS).count() > 1 => {
            bail!(Argument, "expected `...` once after `->`, found it twice")
        }
        Some(right) => right.replace(DOTS, &all),
        None => all.chars().chain(once(&parts.concat()).into_iter().filter(|c| *c != '.')).collect(),
    };
    Ok((format!("{}->{result}", named.join(",")), tensors))
}

/// Returns the first axis that `...` stands for in an operand's letters, and their number.
fn unnamed(part: &str, tensor: &Tensor) -> Result<Option<(usize, usize)>> {
    let Some((before, _)) = part.split_once(DOTS) else { return Ok(None) };
    let first = before.chars().count();
    if part.matches(DOTS).count() > 1 {
        bail!(Argument, "expected `...` once in `{part}`, found it twice");
    }
    let named = part.chars().count() - DOTS.len();
    match tensor.rank().checked_sub(named) {
        Some(count) => Ok(Some((first, count))),
        None => bail!(Shape, "expected at least {named} axes for `{part}`, found shape {:?}", tensor.dims()),
    }
}

/// Returns the signs of so many axes.
fn signs(count: usize) -> Result<Vec<char>> {
    if count > UNNAMED.len() {
        bail!(Shape, "expected at most {} axes for `...`, found {count}", UNNAMED.len());
    }
    Ok(UNNAMED.take(count).rev().filter_map(char::from_u32).collect())
}

/// Returns an operand's letters with signs for `...`, whose axes broadcast to `sizes`, and the operand without those of
/// size 1 that are stretched.
fn named(part: &str, tensor: &Tensor, sizes: &[usize]) -> Result<(String, Tensor)> {
    let Some((first, count)) = unnamed(part, tensor)? else { return Ok((part.into(), tensor.clone())) };
    let whole = &sizes[sizes.len() - count..];
    let is_kept = |axis: &usize| {
        let inside = axis.checked_sub(first).filter(|inside| *inside < count);
        inside.is_none_or(|inside| tensor.dims()[*axis] == whole[inside])
    };
    let signs = signs(count)?;
    let letters: String = (0..count).filter(|i| is_kept(&(first + i))).map(|i| signs[i]).collect();
    let dims: Vec<usize> = (0..tensor.rank()).filter(is_kept).map(|axis| tensor.dims()[axis]).collect();
    Ok((part.replace(DOTS, &letters), backward::reshaped(tensor, &dims)?))
}

/// Returns the letters that occur once, in alphabetical order.
fn once(letters: &str) -> Vec<char> {
    // Counted once: the text may have any length, and has not been compared with the tensors yet.
    let mut counts = BTreeMap::new();
    letters.chars().for_each(|letter| *counts.entry(letter).or_insert(0_usize) += 1);
    counts.into_iter().filter(|(_, count)| *count == 1).map(|(letter, _)| letter).collect()
}

/// Returns the letters of each operand and of the result.
fn parse(spec: &str) -> Result<(Vec<Vec<char>>, Vec<char>)> {
    let (left, right) = match spec.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (spec, None),
    };
    let inputs: Vec<Vec<char>> = left.split(',').map(|part| part.chars().collect()).collect();
    let letters = || inputs.iter().flatten();
    let after = right.unwrap_or_default().chars();
    if let Some(wrong) =
        letters().copied().chain(after).find(|c| !c.is_ascii_alphabetic() && !UNNAMED.contains(&u32::from(*c)))
    {
        return Err(err!(Argument, "expected letters, commas and one `->`, found `{wrong}` in `{spec}`")
            .hint("one letter for each axis: \"ij,jk->ik\" is the matrix product; `...` stands for any axes"));
    }
    let output: Vec<char> = match right {
        Some(right) => right.chars().collect(),
        None => once(&letters().collect::<String>()),
    };
    for (i, letter) in output.iter().enumerate() {
        if output[..i].contains(letter) {
            bail!(Argument, "expected each letter once after `->`, found `{letter}` twice");
        }
        if !letters().any(|c| c == letter) {
            bail!(Argument, "expected letters of the operands after `->`, found `{letter}`");
        }
    }
    Ok((inputs, output))
}

/// Checks that every letter stands for one size.
fn sizes(spec: &str, inputs: &[Vec<char>], operands: &[Tensor]) -> Result<()> {
    let mut sizes = BTreeMap::new();
    for (letters, tensor) in inputs.iter().zip(operands) {
        if letters.len() != tensor.rank() {
            let named: String = letters.iter().collect();
            bail!(Shape, "expected {} axes for `{named}` in `{spec}`, found shape {:?}", letters.len(), tensor.dims());
        }
        for (letter, size) in letters.iter().zip(tensor.dims()) {
            let known = *sizes.entry(*letter).or_insert(*size);
            if known != *size {
                bail!(Shape, "expected one size for `{letter}` in `{spec}`, found {known} and {size}");
            }
        }
    }
    Ok(())
}

/// Takes diagonals until no letter occurs twice.
fn diagonals(mut part: LetteredOperand) -> Result<LetteredOperand> {
    while let Some((i, j)) = twice(&part.letters) {
        let rank = part.tensor.rank();
        let size = part.tensor.dims()[i];
        let rest: Vec<usize> = (0..rank).filter(|a| *a != i && *a != j).collect();
        let front = part.tensor.permute([vec![i, j], rest.clone()].concat())?;
        let mut dims = vec![size * size];
        dims.extend(rest.iter().map(|a| part.tensor.dims()[*a]));
        let places: Vec<usize> = (0..size).map(|k| k * size + k).collect();
        part.tensor = index::take(&front.reshape(dims)?, &places, 0)?;
        part.letters = std::iter::once(part.letters[i]).chain(rest.iter().map(|a| part.letters[*a])).collect();
    }
    Ok(part)
}

fn twice(letters: &[char]) -> Option<(usize, usize)> {
    (0..letters.len()).find_map(|j| letters[..j].iter().position(|c| *c == letters[j]).map(|i| (i, j)))
}

/// Takes the sum over the letters that are not kept.
fn summed(part: LetteredOperand, kept: impl Fn(&char) -> bool) -> Result<LetteredOperand> {
    let over: Vec<i64> = (0..part.letters.len()).filter(|i| !kept(&part.letters[*i])).map(|i| i as i64).collect();
    if over.is_empty() {
        return Ok(part);
    }
    let tensor = reduce::reduce(&part.tensor, reduce::Reduction::Sum, Some(&over), false)?;
    Ok(LetteredOperand { tensor, letters: part.letters.into_iter().filter(kept).collect() })
}

/// Returns the product of two operands, summed over the letters that are not needed later.
fn pair(a: LetteredOperand, b: LetteredOperand, later: impl Fn(&char) -> bool) -> Result<LetteredOperand> {
    let in_a = a.letters.clone();
    let in_b = b.letters.clone();
    let a = summed(a, |c| later(c) || in_b.contains(c))?;
    let b = summed(b, |c| later(c) || in_a.contains(c))?;
    let (shared, rows): (Vec<char>, Vec<char>) = a.letters.iter().partition(|c| b.letters.contains(c));
    let (batch, inner): (Vec<char>, Vec<char>) = shared.into_iter().partition(later);
    let columns: Vec<char> = b.letters.iter().filter(|c| !a.letters.contains(c)).copied().collect();
    let left = arrange(&a, &[&batch[..], &rows, &inner].concat())?;
    let right = arrange(&b, &[&batch[..], &inner, &columns].concat())?;
    let tensor = batched(&left, &right, batch.len(), inner.len())?;
    Ok(LetteredOperand { tensor, letters: [batch, rows, columns].concat() })
}

/// Multiplies [batch.., rows.., inner..] with [batch.., inner.., columns..] as a batch of matrix products.
fn batched(left: &Tensor, right: &Tensor, batch: usize, inner: usize) -> Result<Tensor> {
    let (batches, rest) = left.dims().split_at(batch);
    let (rows, summed) = rest.split_at(rest.len() - inner);
    let columns = &right.dims()[batch + inner..];
    let dims = [batches, rows, columns].concat();
    element::room(&dims, dtype::promote(left.dtype(), right.dtype()))?;
    let size = |sizes: &[usize]| sizes.iter().product::<usize>();
    let left = backward::reshaped(left, &[size(batches), size(rows), size(summed)])?;
    let right = backward::reshaped(right, &[size(batches), size(summed), size(columns)])?;
    // Without a common letter to sum over, element-wise multiplication is faster than a matrix product.
    let product =
        if inner == 0 { arithmetic::mul(&left.into(), &right.into())? } else { matmul::matmul(&left, &right)? };
    backward::reshaped(&product, &dims)
}

/// Returns the axes in the order of these letters.
fn arrange(part: &LetteredOperand, letters: &[char]) -> Result<Tensor> {
    let order: Vec<usize> = letters.iter().filter_map(|c| part.letters.iter().position(|o| o == c)).collect();
    Ok(part.tensor.permute(order)?)
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;
    use candle_core::DType;
    use proptest::prelude::*;

    fn count(dims: &[usize]) -> Tensor {
        let len = dims.iter().product::<usize>();
        create::from_floats((0..len).map(|i| (i % 5) as f64 - 1.0).collect(), dims, DType::F64).unwrap()
    }

    /// Computes the definition of einsum: a loop over every assignment of all letters.
    fn plainly(spec: &str, operands: &[Tensor]) -> Vec<f64> {
        let (inputs, output) = parse(spec).unwrap();
        let mut sizes: BTreeMap<char, usize> = BTreeMap::new();
        for (letters, t) in inputs.iter().zip(operands) {
            sizes.extend(letters.iter().copied().zip(t.dims().iter().copied()));
        }
        let data: Vec<Vec<f64>> = operands.iter().map(|t| element::floats(t).unwrap()).collect();
        let place = |letters: &[char], at: &BTreeMap<char, usize>| letters.iter().fold(0, |p, c| p * sizes[c] + at[c]);
        let mut result = vec![0.0; output.iter().map(|c| sizes[c]).product()];
        for turn in 0..sizes.values().product::<usize>() {
            let mut rest = turn;
            let at: BTreeMap<char, usize> = sizes
                .iter()
                .map(|(c, size)| {
                    let i = rest % size;
                    rest /= size;
                    (*c, i)
                })
                .collect();
            result[place(&output, &at)] += inputs.iter().zip(&data).map(|(l, d)| d[place(l, &at)]).product::<f64>();
        }
        result
    }

    proptest! {
        #[test]
        fn sums_are_the_plain_loops(
            spec in prop::sample::select(vec![
                "ij,jk->ik", "ij,jk", "bqd,bkd->bqk", "i,j->ij", "ij->ji", "ii->i", "ii", "iij->j", "ij,ij->", "bij,bjk->bik",
                "ijk->", "i,i,i->i", "ab,bc,cd->ad", "ab,cb,b->ca", "i,j->", "abc,cd,ae->bde", "aab,b->a",
            ]),
            size in prop::collection::vec(0_usize..4, 5),
        ) {
            let (inputs, _) = parse(spec).unwrap();
            let size_of = |c: &char| size[(*c as usize) % 5];
            let operands: Vec<Tensor> = inputs.iter().map(|l| count(&l.iter().map(size_of).collect::<Vec<_>>())).collect();
            let found = einsum(spec, &operands).unwrap();
            prop_assert_eq!(element::floats(&found).unwrap(), plainly(spec, &operands), "{}", spec);
        }
    }

    #[test]
    fn an_ellipsis_stands_for_any_axes_and_broadcasts() {
        let a = count(&[2, 3, 4]);
        let b = count(&[4, 5]);
        let of = |spec: &str, operands: &[&Tensor]| {
            let operands: Vec<Tensor> = operands.iter().map(|t| (*t).clone()).collect();
            let found = einsum(spec, &operands).unwrap();
            (found.dims().to_vec(), element::floats(&found).unwrap())
        };
        assert_eq!(of("...i,ij->...j", &[&a, &b]), of("abi,ij->abj", &[&a, &b]));
        assert_eq!(of("...i,ij", &[&a, &b]), of("abi,ij->abj", &[&a, &b]));
        assert_eq!(of("i...->...i", &[&a]), of("iab->abi", &[&a]));
        assert_eq!(of("...", &[&a]), of("abc->abc", &[&a]));
        assert_eq!(of("...ij->", &[&a]), of("aij->", &[&a]));
        // The first operand has fewer axes, and one of size 1.
        let c = count(&[1, 4]);
        let d = count(&[2, 3, 4]);
        assert_eq!(of("...i,...i->...", &[&c, &d]), of("i,abi->ab", &[&c.get(0).unwrap(), &d]));
        let e = count(&[3, 1]);
        assert_eq!(of("...,...->...", &[&e, &a]), of("b,abc->abc", &[&e.flatten_all().unwrap(), &a]));
        for wrong in ["..i->i", "éé...->", "...i...->i", "...abcd->", "...ij->......"] {
            assert!(einsum(wrong, std::slice::from_ref(&a)).is_err(), "{wrong}");
        }
        assert!(einsum("...i,...i->...", &[a, count(&[2, 4])]).is_err());
    }

    #[test]
    fn wrong_specifications() {
        let m = count(&[2, 3]);
        for wrong in ["ij->ik", "ij->ii", "i1", "ijk", "ij,jk->ik", "", "ii", "ij->j->i", "->"] {
            assert!(einsum(wrong, std::slice::from_ref(&m)).is_err(), "{wrong}");
        }
        assert!(einsum("ij,jk->ik", &[m.clone(), m.clone()]).unwrap_err().message.contains("one size for `j`"));
        let tall = create::zeros(&[3_000_000], DType::U8).unwrap();
        let error = einsum("i,j->ij", &[tall.clone(), tall]).unwrap_err();
        assert_eq!(error.kind, crate::base::Kind::Memory);
    }
}
