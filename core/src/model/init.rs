//! Random weights of new models.

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::config::Config;
use super::weights::Weights;
use crate::base::{Result, Task, memory};
use crate::tensor::{DType, Device, Tensor};

/// The standard deviation of new weights (Radford et al. 2019, section 2.3).
const SPREAD: f64 = 0.02;

/// Numbers drawn between two checks for an interruption.
const PIECE: usize = 1 << 16;

/// Draws new weights: matrices are normal with standard deviation 0.02, divided, for those that write into the residual
/// stream, by the square root of their number (2 a layer). Biases are 0, and norms scale by 1. Heads of delta nets
/// forget at random rates, and so do state spaces, whose steps begin between 0.001 and 0.1.
pub fn init(config: &Config, random: &mut impl Rng, dtype: DType, device: &Device, task: &Task) -> Result<Weights> {
    let parameters = config.parameters()?;
    let count: u128 = parameters.iter().map(|(_, shape)| places(shape)).fold(0, u128::saturating_add);
    memory::check(count.saturating_mul(dtype.size_in_bytes() as u128), || "the weights of a new model".into())?;
    let writing = SPREAD / (2.0 * config.layers.max(1) as f64).sqrt();
    Weights::build(config, &mut |name, shape| {
        let weight = match WeightRole::of(name) {
            WeightRole::Bias => Tensor::zeros(shape, DType::F32, &Device::Cpu)?,
            WeightRole::Norm if config.norm_plus_one => Tensor::zeros(shape, DType::F32, &Device::Cpu)?,
            WeightRole::Norm => Tensor::ones(shape, DType::F32, &Device::Cpu)?,
            WeightRole::Writes => normal(shape, writing, random, task)?,
            WeightRole::Reads => normal(shape, SPREAD, random, task)?,
            WeightRole::Plain => Tensor::ones(shape, DType::F32, &Device::Cpu)?,
            WeightRole::Share => Tensor::full(0.5_f32, shape, &Device::Cpu)?,
            WeightRole::Rate => rates(shape, random)?,
            WeightRole::Step => steps(shape, random)?,
        };
        Ok(weight.to_dtype(dtype)?.to_device(device)?)
    })
}

fn places(shape: &[usize]) -> u128 {
    shape.iter().fold(1, |product: u128, size| product.saturating_mul(*size as u128))
}

/// The role of a weight, which decides its initial value.
enum WeightRole {
    Bias,
    Norm,
    /// A matrix that writes into the residual stream.
    Writes,
    Reads,
    /// A weight that is 1 whatever norms do: factors of a recurrent layer, the bias of a delta net's forgetting, and
    /// factors of other parts.
    Plain,
    /// The share of the token before in a mixture with the token, which is one half.
    Share,
    /// The logarithm of a rate at which a head of a recurrent layer forgets.
    Rate,
    /// The bias of the steps of a state space.
    Step,
}

impl WeightRole {
    fn of(name: &str) -> Self {
        let base = name.strip_suffix(".weight").unwrap_or(name);
        match base {
            _ if base.ends_with(".bias") || base.ends_with(".choice_bias") => WeightRole::Bias,
            _ if base.ends_with("delta.norm") || base.ends_with("delta.forget_bias") => WeightRole::Plain,
            _ if [".scale", ".router_scale", ".expert_scales"].iter().any(|end| base.ends_with(end)) => {
                WeightRole::Plain
            }
            _ if base.ends_with("ssm.norm") || base.ends_with("ssm.skip") => WeightRole::Plain,
            _ if ["rwkv.norm", "rwkv.removal", "rwkv.replacement"].iter().any(|end| base.ends_with(end)) => {
                WeightRole::Plain
            }
            _ if base.contains("rwkv.shift_") || base.ends_with("mlp.shift") => WeightRole::Share,
            _ if base.ends_with(".log_rate") => WeightRole::Rate,
            _ if base.ends_with("ssm.dt_bias") => WeightRole::Step,
            _ if base.ends_with("norm") => WeightRole::Norm,
            _ if ["attn.o", "delta.o", "ssm.o", "rwkv.o", ".down", "layer_input.project"]
                .iter()
                .any(|end| base.ends_with(end)) =>
            {
                WeightRole::Writes
            }
            _ => WeightRole::Reads,
        }
    }
}

/// Draws logarithms of rates that are uniform up to 16, as in the models that had such heads first (Dao and Gu 2024).
fn rates(shape: &[usize], random: &mut impl Rng) -> Result<Tensor> {
    let drawn: Vec<f32> = (0..shape.iter().product()).map(|_| random.random_range(0.01_f32..16.0).ln()).collect();
    Ok(Tensor::from_vec(drawn, shape, &Device::Cpu)?)
}

/// Draws what softplus turns into steps, whose logarithms are uniform from 0.001 to 0.1 (Gu and Dao 2023, section 3.6).
fn steps(shape: &[usize], random: &mut impl Rng) -> Result<Tensor> {
    let mut step = || {
        let wanted = random.random_range(0.001_f32.ln()..0.1_f32.ln()).exp();
        wanted + (-(-wanted).exp_m1()).ln()
    };
    let drawn: Vec<f32> = (0..shape.iter().product()).map(|_| step()).collect();
    Ok(Tensor::from_vec(drawn, shape, &Device::Cpu)?)
}

fn normal(shape: &[usize], deviation: f64, random: &mut impl Rng, task: &Task) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let mut drawn: Vec<f32> = Vec::with_capacity(count);
    while drawn.len() < count {
        task.check()?;
        let end = (drawn.len() + PIECE).min(count);
        drawn.resize_with(end, || (random.sample::<f64, _>(StandardNormal) * deviation) as f32);
    }
    Ok(Tensor::from_vec(drawn, shape, &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::base::random::stream;
    use crate::checkpoint::described::config;

    fn made(options: Value) -> Config {
        config(&options).unwrap_or_else(|e| panic!("{e}"))
    }

    fn weights(config: &Config, seed: u64) -> Weights {
        init(config, &mut stream(seed, "init", 0), DType::F32, &Device::Cpu, &Task::default()).unwrap()
    }

    fn numbers(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn new_weights_follow_the_rule_and_the_seed() {
        let config = made(json!({"vocab": 300, "layers": 8}));
        let weights = crate::model::init::tests::weights(&config, 1);
        let spread = |t: &Tensor| {
            let x = numbers(t);
            (x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32).sqrt()
        };
        let block = &weights.blocks[3];
        let mlp = block.mlp.as_ref().unwrap();
        for (weight, wanted) in
            [(&weights.embed, 0.02), (&block.attention().unwrap().q.weight, 0.02), (&mlp.down.weight, 0.005)]
        {
            let found = spread(&weight.tensor().unwrap());
            assert!((found / wanted - 1.0).abs() < 0.05, "{found} is not {wanted}");
        }
        assert!(numbers(mlp.up.bias.as_ref().unwrap()).iter().all(|x| *x == 0.0));
        let norm = block.attn_norm.as_ref().unwrap();
        assert!(numbers(norm.weight.as_ref().unwrap()).iter().all(|x| *x == 1.0));
        let embed = |weights: &Weights| numbers(&weights.embed.tensor().unwrap());
        assert_eq!(embed(&weights), embed(&crate::model::init::tests::weights(&config, 1)));
        assert_ne!(embed(&weights), embed(&crate::model::init::tests::weights(&config, 2)));
        let plus_one = crate::model::init::tests::weights(&Config { norm_plus_one: true, ..config }, 1);
        assert!(numbers(plus_one.final_norm.unwrap().weight.as_ref().unwrap()).iter().all(|x| *x == 0.0));
    }

    #[test]
    fn an_interruption_stops_the_drawing() {
        let task = Task::default();
        task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
        let config = made(json!({"vocab": 9}));
        let stopped = init(&config, &mut stream(0, "init", 0), DType::F32, &Device::Cpu, &task);
        assert_eq!(stopped.unwrap_err().kind, crate::base::Kind::Interrupted);
    }
}
