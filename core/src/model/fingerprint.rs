//! Fingerprints: hashes by which models are told apart.

use kernels::PackedMatrix;
use safetensors::View;
use sha2::{Digest, Sha256};

use super::decoder::Decoder;
use super::weight::Weight;
use crate::base::{Result, Task};
use crate::tensor::{DType, Device, Tensor};

/// Numbers that are hashed at a time, 4 MiB. The embedding of a vocabulary of 2^18, copied whole, took more memory than
/// all that a fit of a dictionary does behind it.
const AT_ONCE: usize = 1 << 20;

/// Returns a hash of all weights as 32-bit numbers, with their names and shapes, which identifies the model of sampled
/// text. Low-rank matrices beside a weight are hashed by themselves, since the merged weight computes other last bits.
pub fn fingerprint(decoder: &Decoder, task: &Task) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let named = decoder.weights().named(decoder.config())?;
    let bar = task.begin("hashing the weights", Some(named.len() as u64));
    for (name, weight) in named {
        hash.update(format!("{name} {:?}\n", weight.dims()));
        if let Some(rounding) = weight.packed().and_then(PackedMatrix::rounding) {
            hash.update(format!("products of {}\n", rounding.name()));
        }
        if let Weight::Adapted(adapted) = &weight {
            add(&mut hash, &adapted.base, AT_ONCE, task)?;
            hash.update(format!("adapted {}\n", adapted.scale));
            add(&mut hash, &adapted.down.clone().into(), AT_ONCE, task)?;
            add(&mut hash, &adapted.up.clone().into(), AT_ONCE, task)?;
        } else {
            add(&mut hash, &weight, AT_ONCE, task)?;
        }
        bar.advance(1);
    }
    for hook in decoder.kept() {
        hash.update(format!("{}\n", hook.told()));
        for numbers in hook.numbers() {
            add(&mut hash, &numbers.clone().into(), AT_ONCE, task)?;
        }
    }
    Ok(hash.finalize().into())
}

/// Adds all numbers of a weight to a hash, about `at_once` of them at a time: one after the other took most of a fit's
/// start without optimisation.
fn add(hash: &mut Sha256, weight: &Weight, at_once: usize, task: &Task) -> Result<()> {
    let dims = weight.dims();
    let Some((rows, width)) = dims.split_first() else {
        return add_whole(hash, &weight.floats()?);
    };
    let at_once = (at_once / width.iter().product::<usize>().max(1)).max(1);
    for start in (0..*rows).step_by(at_once) {
        task.check()?;
        add_whole(hash, &weight.rows(start, at_once.min(rows - start))?.floats()?)?;
    }
    Ok(())
}

fn add_whole(hash: &mut Sha256, numbers: &Tensor) -> Result<()> {
    hash.update(numbers.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.data());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::{config, decoder};

    #[test]
    fn weights_have_the_hash_of_all_their_numbers_however_many_are_read_at_a_time() {
        let task = Task::default();
        let model = decoder(config(), DType::F32);
        let named = model.weights().named(model.config()).unwrap();
        let numbers = |weight: &Weight| weight.floats().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(named.iter().any(|(_, weight)| weight.dims().len() == 2));
        for (name, weight) in &named {
            let mut whole = Sha256::new();
            numbers(weight).iter().for_each(|number| whole.update(number.to_le_bytes()));
            let whole = whole.finalize();
            for at_once in [1, 50, AT_ONCE] {
                let mut hash = Sha256::new();
                add(&mut hash, weight, at_once, &task).unwrap();
                assert_eq!(hash.finalize(), whole, "{name}, {at_once} at a time");
            }
        }
    }
}
