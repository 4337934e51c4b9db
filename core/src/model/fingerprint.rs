//! Fingerprints: hashes by which models are told apart.

use safetensors::View;
use sha2::{Digest, Sha256};

use super::decoder::Decoder;
use super::weight::Weight;
use crate::base::{Result, Task};
use crate::tensor::{DType, Device, Tensor};

/// Returns a hash of all weights as 32-bit numbers, with their names and shapes, which identifies the model of sampled
/// text. Low-rank matrices beside a weight are hashed by themselves, since the merged weight computes other last bits.
pub fn fingerprint(decoder: &Decoder, task: &Task) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let named = decoder.weights().named(decoder.config())?;
    let bar = task.begin("hashing the weights", Some(named.len() as u64));
    for (name, weight) in named {
        task.check()?;
        hash.update(format!("{name} {:?}\n", weight.dims()));
        if let Weight::Adapted(adapted) = &weight {
            add(&mut hash, &adapted.base.floats()?)?;
            hash.update(format!("adapted {}\n", adapted.scale));
            add(&mut hash, &adapted.down)?;
            add(&mut hash, &adapted.up)?;
        } else {
            add(&mut hash, &weight.floats()?)?;
        }
        bar.advance(1);
    }
    for hook in decoder.kept() {
        hash.update(format!("{}\n", hook.told()));
        for numbers in hook.numbers() {
            add(&mut hash, numbers)?;
        }
    }
    Ok(hash.finalize().into())
}

/// Adds all bytes of a tensor to a hash at once: one number after the other took most of a fit's start without
/// optimisation.
fn add(hash: &mut Sha256, numbers: &Tensor) -> Result<()> {
    hash.update(numbers.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.data());
    Ok(())
}
