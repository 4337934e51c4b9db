//! Gated delta nets with all their sites: a layer whose memory of a text is one matrix for each head.
//!
//! Each token decays the matrix S of a head, and then corrects what its key k reads there to its value v (Yang, Kautz and
//! Hatamizadeh 2024, section 3.1): with a the share that stays, b the strength of the correction,
//!
//! ```text
//! S' = a S + k u^T,    u = b (v - a S^T k),    and the query q reads S'^T q.
//! ```

use super::flow::{Flow, FlowResult};
use super::past::RecurrentState;
use super::recurrent::{convolved, only_real, real_columns, wide};
use super::{Decoder, Past, linear};
use crate::base::{Result, Task};
use crate::err;
use crate::model::config::{Activation, NormKind};
use crate::model::site::SiteKind;
use crate::model::weights::DeltaNet;
use crate::tensor::Tensor;
use crate::tensor::elementwise::{sigmoid, softplus};

/// Tokens whose corrections are computed together: a matrix is passed on once for so many.
const CHUNK: usize = 32;

/// Number that is added to the squared length by which queries and keys are divided, in every model that has these
/// nets.
const EPS: f64 = 1e-6;

impl Decoder {
    /// Computes the output of a delta net: `[batch, pos, d_model]`. All columns of the flow give keys and values; what
    /// is read begins at the column `from`, and so do the columns of the flow behind it.
    pub(super) fn delta_net(
        &self,
        flow: &mut Flow,
        layer: usize,
        weights: &DeltaNet,
        x: &Tensor,
        past: Option<&mut Past>,
        from: usize,
    ) -> FlowResult<Tensor> {
        let sizes = self.config.delta_of(layer).ok_or_else(|| err!(Bug, "layer {layer} has no delta net"))?;
        let (rows, columns, _) = x.dims3()?;
        let before = past.as_ref().and_then(|past| past.state(layer)).cloned();
        let real = real_columns(flow, rows);
        let channels = [&weights.q, &weights.k, &weights.v].map(|map| linear(flow.task, x, map));
        let [q, k, v] = channels;
        let channels = Tensor::cat(&[q?, k?, v?], 2)?;
        let (mixed, recent) =
            convolved(&channels, &weights.conv, None, before.as_ref().map(|state| &state.recent), &real)?;
        let mixed = kernels::activate(&mixed, self.config.act)?;

        let narrow = sizes.key_heads * sizes.d_key;
        let part = |start: usize, heads: usize, size: usize| -> Result<Tensor> {
            Ok(mixed.narrow(2, start, heads * size)?.contiguous()?.reshape((rows, columns, heads, size))?)
        };
        let q = flow.see(SiteKind::DeltaQ, layer, part(0, sizes.key_heads, sizes.d_key)?)?;
        let k = flow.see(SiteKind::DeltaK, layer, part(narrow, sizes.key_heads, sizes.d_key)?)?;
        let v = flow.see(SiteKind::DeltaV, layer, part(2 * narrow, sizes.value_heads, sizes.d_value)?)?;
        let write = flow.see(SiteKind::DeltaBeta, layer, sigmoid(&linear(flow.task, x, &weights.write)?)?)?;
        // As published models have it, decays are in f32 at least: their products over a text would be rounded away.
        let asked = linear(flow.task, x, &weights.forget)?;
        let asked = asked.to_dtype(wide(&asked))?;
        let rate = weights.log_rate.to_dtype(asked.dtype())?.exp()?;
        let decay = flow.see(SiteKind::DeltaDecay, layer, softplus(&asked)?.broadcast_mul(&rate)?.neg()?)?;

        let write = only_real(&write, &real)?;
        let decay = only_real(&decay, &real)?;
        let memory = before.map(|state| state.memory);
        let (read, memory) =
            remembered(DeltaInputs { q: &q, k: &k, v: &v, write: &write, decay: &decay }, memory, flow.task)?;
        if let Some(past) = past {
            past.keep(layer, RecurrentState { recent, memory });
        }
        let read = flow.tail(&read.to_dtype(x.dtype())?, from)?;
        let asking = flow.tail(x, from)?;
        flow.columns.start = from;
        let read = flow.see(SiteKind::DeltaRead, layer, read)?;
        let gate = kernels::reshape(&linear(flow.task, &asking, &weights.gate)?, read.dims())?;
        let gate = flow.see(SiteKind::DeltaGate, layer, gate)?;
        let normed = kernels::norm(&read, NormKind::Rms, self.config.norm_eps, Some(&weights.norm), false, None)?;
        let opened = (normed * kernels::activate(&gate, Activation::Silu)?)?;
        let written = linear(flow.task, &super::attention::heads_joined(&opened)?, &weights.o)?;
        Ok(self.scaled_write(written)?)
    }
}

/// Requests of the tokens of a pass to the matrices: queries and keys `[batch, pos, key_head, d_key]`, values
/// `[batch, pos, value_head, d_value]`, strengths and the logarithms of decays `[batch, pos, value_head]`.
struct DeltaInputs<'a> {
    q: &'a Tensor,
    k: &'a Tensor,
    v: &'a Tensor,
    write: &'a Tensor,
    decay: &'a Tensor,
}

/// Computes what each query reads, `[batch, pos, value_head, d_value]`, and the matrices behind the last token,
/// `[batch * value_head, d_key, d_value]`.
///
/// Within a chunk, the u of all tokens solve one triangular system, since each token's correction reads those before it
/// (section 3.3 of the paper, after Yang et al. 2024, "Parallelizing linear transformers with the delta rule"): with g the
/// products of decays since the chunk's beginning,
///
///     u_i + sum over j < i of b_i (g_i / g_j) (k_i . k_j) u_j = b_i (v_i - g_i S^T k_i).
///
/// All chunks are solved at once, for the terms with v and with S apart.
fn remembered(asked: DeltaInputs, memory: Option<Tensor>, task: &Task) -> Result<(Tensor, Tensor)> {
    let (rows, columns, heads, d_value) = asked.v.dims4()?;
    let (_, _, key_heads, d_key) = asked.k.dims4()?;
    let size = columns.min(CHUNK);
    let dtype = wide(asked.v);
    let device = asked.v.device();
    let chunks = columns.div_ceil(size);
    // [batch * head, chunk, token, ..], with zeros for the tokens that the last chunk lacks: they forget and write nothing.
    let by_chunk = |x: &Tensor| -> Result<Tensor> {
        let x = x.to_dtype(dtype)?.pad_with_zeros(1, 0, chunks * size - columns)?.transpose(1, 2)?.contiguous()?;
        Ok(x.reshape(((), chunks, size, x.dim(3)?))?)
    };
    let of_length_one = |x: &Tensor| -> Result<Tensor> {
        let x = x.to_dtype(dtype)?;
        let length = (x.sqr()?.sum_keepdim(3)? + EPS)?.sqrt()?;
        let x = x.broadcast_div(&length)?.unsqueeze(3)?;
        let x = x.broadcast_as((rows, columns, key_heads, heads / key_heads, d_key))?.contiguous()?;
        by_chunk(&x.reshape((rows, columns, heads, d_key))?)
    };
    let q = (of_length_one(asked.q)? * (d_key as f64).powf(-0.5))?;
    let k = of_length_one(asked.k)?;
    let v = by_chunk(asked.v)?;
    let write = by_chunk(&asked.write.unsqueeze(3)?)?;

    // The logarithms of g, token by token, as a product with a triangle of ones.
    let mask = |holds: fn(usize, usize) -> bool| {
        let each = (0..size).flat_map(|i| (0..size).map(move |j| u8::from(holds(i, j))));
        Tensor::from_vec(each.collect::<Vec<_>>(), (size, size), device)
    };
    let decay = by_chunk(&asked.decay.unsqueeze(3)?)?;
    let decayed = mask(|i, j| j <= i)?.to_dtype(dtype)?.broadcast_as((decay.dim(0)?, chunks, size, size))?;
    let decayed = decayed.contiguous()?.matmul(&decay)?;
    let apart = decayed.broadcast_sub(&decayed.transpose(2, 3)?)?;
    let never = Tensor::full(f32::NEG_INFINITY, apart.shape(), device)?.to_dtype(dtype)?;
    let seen = mask(|i, j| j <= i)?.broadcast_as(apart.shape())?;
    let share = seen.where_cond(&apart, &never)?.exp()?;
    let fresh = decayed.exp()?;

    let turned = k.transpose(2, 3)?.contiguous()?;
    let earlier = mask(|i, j| j < i)?.to_dtype(dtype)?;
    let system = (k.matmul(&turned)? * &share)?.broadcast_mul(&write)?.broadcast_mul(&earlier)?;
    let wanted = Tensor::cat(&[v.broadcast_mul(&write)?, k.broadcast_mul(&(&write * &fresh)?)?], 3)?;
    let solved = solved(&system, &wanted, task)?;
    let from_values = solved.narrow(3, 0, d_value)?;
    let from_memory = solved.narrow(3, d_value, d_key)?;
    let within = (q.matmul(&turned)? * &share)?;
    let asking = q.broadcast_mul(&fresh)?;
    // [batch * head, chunk, token, 1]: what is left of each token at the end of its chunk.
    let left = share.narrow(2, size - 1, 1)?.transpose(2, 3)?;
    let kept = k.broadcast_mul(&left)?.transpose(2, 3)?;
    let rest = fresh.narrow(2, size - 1, 1)?;

    let at = |x: &Tensor, chunk: usize| -> Result<Tensor> { Ok(x.narrow(1, chunk, 1)?.squeeze(1)?.contiguous()?) };
    let mut memory = match memory {
        Some(memory) => memory,
        None => Tensor::zeros((rows * heads, d_key, d_value), dtype, device)?,
    };
    let mut read = Vec::with_capacity(chunks);
    for chunk in 0..chunks {
        task.check()?;
        let u = (at(&from_values, chunk)? - at(&from_memory, chunk)?.matmul(&memory)?)?;
        read.push((at(&asking, chunk)?.matmul(&memory)? + at(&within, chunk)?.matmul(&u)?)?);
        memory = (memory.broadcast_mul(&at(&rest, chunk)?)? + at(&kept, chunk)?.matmul(&u)?)?;
    }
    let read = Tensor::cat(&read, 1)?.narrow(1, 0, columns)?.contiguous()?;
    Ok((read.reshape((rows, heads, columns, d_value))?.transpose(1, 2)?.contiguous()?, memory))
}

/// Solves `x + system x = wanted` by substitution, where the system has nothing on its diagonal nor above it:
/// `[.., token, ..]`. A product of powers would be faster, and lose all digits where keys repeat.
fn solved(system: &Tensor, wanted: &Tensor, task: &Task) -> Result<Tensor> {
    let mut found = wanted.narrow(2, 0, 1)?;
    for row in 1..wanted.dim(2)? {
        task.check()?;
        let earlier = system.narrow(2, row, 1)?.narrow(3, 0, row)?.contiguous()?.matmul(&found.contiguous()?)?;
        found = Tensor::cat(&[&found, &(wanted.narrow(2, row, 1)? - earlier)?], 2)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use kit::far;

    use super::*;
    use crate::base::random::stream;
    use crate::tensor::{DType, create};

    const HEADS: usize = 4;
    const D_KEY: usize = 3;
    const D_VALUE: usize = 5;

    /// Draws queries, keys, values, strengths and decays of two texts. Keys repeat, and are hardly forgotten: there
    /// each correction has to see all others.
    fn asked(columns: usize) -> [Tensor; 5] {
        let mut turn = 0;
        let mut random = |shape: &[usize]| {
            turn += 1;
            create::randn(shape, DType::F64, &mut stream(turn, "delta", 0)).unwrap()
        };
        let first = random(&[2, 1, 2, D_KEY]);
        let k = Tensor::cat(
            &[&first.repeat((1, columns / 2, 1, 1)).unwrap(), &random(&[2, columns - columns / 2, 2, D_KEY])],
            1,
        );
        let write = sigmoid(&random(&[2, columns, HEADS]).affine(3.0, 2.0).unwrap()).unwrap();
        let decay = random(&[2, columns, HEADS]).sqr().unwrap().affine(-0.1, 0.0).unwrap();
        [random(&[2, columns, 2, D_KEY]), k.unwrap(), random(&[2, columns, HEADS, D_VALUE]), write, decay]
    }

    fn read(all: &[Tensor; 5], memory: Option<Tensor>) -> (Tensor, Tensor) {
        let [q, k, v, write, decay] = all;
        remembered(DeltaInputs { q, k, v, write, decay }, memory, &Task::default()).unwrap()
    }

    /// Computes one head of one text, token by token, as the recurrence is written.
    fn plainly(all: &[Tensor; 5], row: usize, head: usize) -> Vec<Vec<f64>> {
        let of = |at: usize, head: usize| -> Vec<Vec<f64>> {
            let x = all[at].get(row).unwrap().narrow(1, head, 1).unwrap();
            x.reshape((x.dim(0).unwrap(), ())).unwrap().to_vec2().unwrap()
        };
        let unit = |x: &[f64]| -> Vec<f64> {
            let length = (x.iter().map(|x| x * x).sum::<f64>() + EPS).sqrt();
            x.iter().map(|x| x / length).collect()
        };
        let q = of(0, head / 2);
        let k = of(1, head / 2);
        let v = of(2, head);
        let write = of(3, head);
        let decay = of(4, head);
        let mut memory = [[0.0; D_VALUE]; D_KEY];
        let mut found = Vec::new();
        for at in 0..q.len() {
            let q = unit(&q[at]);
            let k = unit(&k[at]);
            memory.iter_mut().flatten().for_each(|x| *x *= decay[at][0].exp());
            let mut out = vec![0.0; D_VALUE];
            for (value, out) in out.iter_mut().enumerate() {
                let known: f64 = (0..D_KEY).map(|key| memory[key][value] * k[key]).sum();
                (0..D_KEY).for_each(|key| memory[key][value] += k[key] * write[at][0] * (v[at][value] - known));
                *out = (0..D_KEY).map(|key| memory[key][value] * q[key]).sum::<f64>() / (D_KEY as f64).sqrt();
            }
            found.push(out);
        }
        found
    }

    #[test]
    fn chunks_read_what_a_recurrence_reads_token_by_token() {
        for columns in [1, 7, CHUNK, 2 * CHUNK + 5] {
            let all = asked(columns);
            let (found, _) = read(&all, None);
            for (row, head) in [(0, 0), (0, 3), (1, 1)] {
                let found = found.get(row).unwrap().narrow(1, head, 1).unwrap().squeeze(1).unwrap();
                for (found, expected) in found.to_vec2::<f64>().unwrap().iter().zip(plainly(&all, row, head)) {
                    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-10), "{columns} columns");
                }
            }
        }
    }

    #[test]
    fn a_text_is_read_on_from_what_was_remembered() {
        let all = asked(40);
        let part = |from: usize, count: usize| all.each_ref().map(|x| x.narrow(1, from, count).unwrap());
        let (whole, end) = read(&all, None);
        let (first, memory) = read(&part(0, 33), None);
        let (second, memory) = read(&part(33, 6), Some(memory));
        let (third, memory) = read(&part(39, 1), Some(memory));
        assert!(far(&whole, Tensor::cat(&[first, second, third], 1).unwrap()) < 1e-12);
        assert!(far(&end, &memory) < 1e-12);
    }
}
