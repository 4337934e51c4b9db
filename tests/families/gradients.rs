//! Gradients of weights beside those of torch.

use std::collections::BTreeMap;

use candle_core::Var;
use kit::{far, largest};
use microtome::base::Task;
use microtome::checkpoint::load::{self, LoadSettings};
use microtome::checkpoint::save::arranged;
use microtome::model::batch::Batch;
use microtome::model::decoder::Decoder;
use microtome::model::run::token_losses;
use microtome::model::weights::Weights;
use microtome::tensor::Tensor;

use super::files::{ENCODERS, expected, files, fixture, ids, tensors};
use super::latent::LATENT;
use super::states::STATE_SPACES;

type Loss = fn(&Decoder, &Batch) -> Tensor;

/// The mean loss of all tokens of two texts of one length.
fn mean_loss(decoder: &Decoder, batch: &Batch) -> Tensor {
    let logits = decoder.logits(batch, Vec::new(), &Task::default()).unwrap();
    let each = batch.rows().iter().enumerate().map(|(row, ids)| token_losses(&logits.get(row).unwrap(), ids).unwrap());
    Tensor::cat(&each.collect::<Vec<_>>(), 0).unwrap().mean_all().unwrap()
}

/// Every so many tokens are those whose loss is taken at their own positions, from the third on.
const MASKED: usize = 5;

/// The mean of -log p of some tokens at their own positions.
fn masked_loss(decoder: &Decoder, batch: &Batch) -> Tensor {
    let points: Vec<(usize, usize)> =
        (0..batch.rows().len()).flat_map(|row| (3..batch.width()).step_by(MASKED).map(move |at| (row, at))).collect();
    let logits = decoder.logits_at_points(batch, &points, Vec::new(), &Task::default()).unwrap();
    let targets: Vec<u32> = points.iter().map(|(row, at)| batch.rows()[*row][*at]).collect();
    kernels::token_losses(&logits, &targets).unwrap().mean_all().unwrap()
}

#[test]
fn gradients_of_weights_are_those_of_torch() {
    let causal = STATE_SPACES.into_iter().chain(LATENT).chain(["rwkv7"]);
    let causal = causal.map(|family| (family, mean_loss as Loss));
    for (family, loss) in causal.chain(ENCODERS.map(|family| (family, masked_loss as Loss))) {
        let loaded = load::folder(&files(), &fixture(family), &LoadSettings::default(), &Task::default()).unwrap();
        let batch = Batch::new(ids(&expected(family)["input_ids"])).unwrap();
        let own: BTreeMap<String, Tensor> = loaded
            .weights
            .named(&loaded.config)
            .unwrap()
            .into_iter()
            .map(|(name, weight)| (name, Var::from_tensor(&weight.tensor().unwrap()).unwrap().into_inner()))
            .collect();
        let weights = Weights::build(&loaded.config, &mut |name, _| Ok(own[name].clone())).unwrap();
        let model = Decoder::new(loaded.config.clone(), weights);
        let taped = kernels::TapedTensor::of(|| Ok::<_, kernels::Error>(loss(&model, &batch))).unwrap();
        let found = taped.backward().unwrap();
        let gradients = Weights::build(&loaded.config, &mut |name, _| match found.get(&own[name]) {
            Some(gradient) => Ok(gradient.clone()),
            // An expert that nothing is routed to has none, and neither have biases that choose.
            None => Ok(own[name].zeros_like()?),
        });
        let gradients = gradients.unwrap();
        let layout = loaded.published.unwrap().layout;
        let found = arranged(&layout, &gradients, &|_, weight| weight.tensor(), &Task::default()).unwrap();
        let wanted = tensors(&fixture(family).join("gradients.safetensors"));
        assert!(wanted.len() > 2);
        let mut most = 0.0_f64;
        for (name, wanted) in &wanted {
            let off = far(&found[name], wanted) / largest(wanted).max(1e-3);
            most = most.max(off);
            assert!(off < 1e-4, "{family}: the gradient of {name} is off by {off}");
        }
        println!("{family}: gradients are off by at most {most:.1e} of the largest");
    }
}
