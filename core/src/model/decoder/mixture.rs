//! A mixture of experts: the router's probabilities, and the MLPs of the experts that it chooses for each token.

use candle_core::D;

use super::flow::{Flow, FlowResult};
use super::{Decoder, linear};
use crate::base::{Result, Task};
use crate::err;
use crate::model::config::{ClampedGate, ExpertGroups, Experts, NormKind};
use crate::model::site::SiteKind;
use crate::model::weights::{Linear, Mixture, Mlp, ParallelExperts};
use crate::tensor::elementwise::sigmoid;
use crate::tensor::normalise::softmax;
use crate::tensor::{DType, Tensor};

impl Decoder {
    /// Computes the output of experts beside an MLP, through norms on both sides, from the residual stream
    /// `[.., d_model]`.
    pub(super) fn experts_beside<'a>(
        &self,
        flow: &mut Flow,
        layer: usize,
        mixture: &'a Mixture,
        experts: &Experts,
        stream: &Tensor,
    ) -> FlowResult<(Tensor, &'a ParallelExperts)> {
        let Some(beside) = &mixture.beside else {
            return Err(err!(Bug, "experts and an MLP in layer {layer} without their norms").into());
        };
        let x = self.plainly_normed(beside.norm.as_ref(), stream)?;
        let x = flow.see(SiteKind::ExpertsIn, layer, x)?;
        let kind = self.config.norm.unwrap_or(NormKind::Rms);
        let asked = kernels::norm(stream, kind, self.config.norm_eps, Some(&beside.router_scale), false, None)?;
        let asked = (asked * (self.config.d_model as f64).powf(-0.5))?;
        let out = self.mixture(flow, layer, mixture, experts, &x, &asked)?;
        let out = self.plainly_normed(beside.post_norm.as_ref(), &out)?;
        Ok((flow.see(SiteKind::ExpertsOut, layer, out)?, beside))
    }

    /// Computes the output of the experts for each token of x `[.., d_model]`. Only routed experts are computed;
    /// `asked` is the router's input.
    pub(super) fn mixture(
        &self,
        flow: &mut Flow,
        layer: usize,
        mixture: &Mixture,
        experts: &Experts,
        x: &Tensor,
        asked: &Tensor,
    ) -> FlowResult<Tensor> {
        // As published models have it, probabilities are in f32 at least: rounded ones would be equal.
        let wide = if asked.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let scores = if experts.wide_router {
            linear(flow.task, &asked.to_dtype(wide)?, &in_dtype(&mixture.router, wide)?)?
        } else {
            linear(flow.task, asked, &mixture.router)?.to_dtype(wide)?
        };
        let shares = if experts.sigmoid { sigmoid(&scores)? } else { softmax(&scores, -1)? };
        let shares = flow.see(SiteKind::Router, layer, shares)?;
        let rows = kernels::reshape(x, &[x.elem_count() / self.config.d_model, self.config.d_model])?;
        let shares = shares.reshape((rows.dim(0)?, experts.count))?;
        let mut out = self.of_chosen(&rows, &shares, mixture, experts, flow.task)?;
        if let Some(shared) = &mixture.shared {
            let own = self.expert(&rows, &shared.mlp, experts, flow.task)?;
            out = match &shared.gate {
                Some(gate) => (out + own.broadcast_mul(&sigmoid(&linear(flow.task, &rows, gate)?)?)?)?,
                None => (out + own)?,
            };
        }
        Ok(kernels::reshape(&out, x.dims())?)
    }

    /// Sums the outputs of the routed experts, each times its share: `[tokens, d_model]`.
    fn of_chosen(
        &self,
        rows: &Tensor,
        shares: &Tensor,
        mixture: &Mixture,
        experts: &Experts,
        task: &Task,
    ) -> Result<Tensor> {
        let (tokens, d) = rows.dims2()?;
        let routes = Routes::new(shares, experts, mixture.choice_bias.as_ref())?;
        let mut written = Vec::new();
        for (expert, readers) in mixture.experts.iter().zip(&routes.readers).filter(|(_, readers)| !readers.is_empty())
        {
            task.check()?;
            let read = rows.index_select(&Tensor::new(readers.as_slice(), rows.device())?, 0)?;
            written.push(self.expert(&read, expert, experts, task)?);
        }
        let each = (tokens, experts.chosen);
        let places = Tensor::from_vec(routes.places, tokens * experts.chosen, rows.device())?;
        let written = Tensor::cat(&written, 0)?.index_select(&places, 0)?.reshape((tokens, experts.chosen, d))?;
        let chosen = Tensor::from_vec(routes.chosen, each, rows.device())?;
        let mut weights = shares.gather(&chosen, 1)?;
        if experts.renormalised {
            weights = weights.broadcast_div(&weights.sum_keepdim(1)?)?;
        }
        if let Some(scale) = experts.scale {
            weights = (weights * scale)?;
        }
        if let Some(beside) = &mixture.beside {
            let scales = beside.expert_scales.to_dtype(weights.dtype())?;
            weights = (weights * scales.index_select(&chosen.flatten_all()?, 0)?.reshape(each)?)?;
        }
        Ok(written.broadcast_mul(&weights.to_dtype(rows.dtype())?.unsqueeze(D::Minus1)?)?.sum(1)?)
    }

    /// Computes the MLP of one expert on some tokens: `[tokens, d_model]`.
    fn expert(&self, x: &Tensor, mlp: &Mlp, experts: &Experts, task: &Task) -> Result<Tensor> {
        let up = linear(task, x, &mlp.up)?;
        let gate = mlp.gate.as_ref().map(|gate| linear(task, x, gate)).transpose()?;
        let hidden = match (gate, experts.clamped) {
            (Some(gate), Some(clamped)) => clamped_gate(&gate, &up, clamped)?,
            (Some(gate), None) => kernels::activate_gated(&gate, &up, self.config.act)?,
            (None, _) => kernels::activate(&up, self.config.act)?,
        };
        linear(task, &hidden, &mlp.down)
    }
}

/// Returns a map whose numbers are in this dtype.
fn in_dtype(map: &Linear, dtype: DType) -> Result<Linear> {
    let bias = map.bias.as_ref().map(|bias| bias.to_dtype(dtype)).transpose()?;
    Ok(Linear { weight: map.weight.tensor()?.to_dtype(dtype)?.into(), bias })
}

fn clamped_gate(gate: &Tensor, up: &Tensor, ClampedGate { limit, slope }: ClampedGate) -> Result<Tensor> {
    let gate = gate.minimum(limit)?;
    let up = up.clamp(-limit, limit)?;
    let opened = (&gate * sigmoid(&(&gate * slope)?)?)?;
    Ok((opened * (up + 1.0)?)?)
}

/// The experts that read each token, and the tokens that each expert reads.
struct Routes {
    /// Tokens that each expert reads, in ascending order.
    readers: Vec<Vec<u32>>,
    /// Experts that read each token, in ascending order: so sums are the same whatever else is computed.
    chosen: Vec<u32>,
    /// Row of each token and each of its experts in the results of all experts, one expert after the other.
    places: Vec<u32>,
}

impl Routes {
    /// Picks the experts with the highest shares, `[tokens, experts]`, or of the highest sums of share and bias where there
    /// are biases; of equal ones the first.
    fn new(shares: &Tensor, experts: &Experts, bias: Option<&Tensor>) -> Result<Self> {
        let shares = shares.detach().to_dtype(DType::F32)?;
        let shares = match bias {
            Some(bias) => shares.broadcast_add(&bias.detach().to_dtype(DType::F32)?)?,
            None => shares,
        };
        let shares = shares.to_vec2::<f32>()?;
        let mut readers = vec![Vec::new(); experts.count];
        let mut chosen = Vec::new();
        let mut ranks = Vec::new();
        for (token, shares) in shares.iter().enumerate() {
            let mut order = match &experts.groups {
                Some(groups) => of_best_groups(shares, groups),
                None => (0..shares.len()).collect(),
            };
            order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
            order.truncate(experts.chosen);
            order.sort_unstable();
            for expert in order {
                ranks.push(readers[expert].len());
                readers[expert].push(token as u32);
                chosen.push(expert as u32);
            }
        }
        let mut first = 0;
        let starts: Vec<usize> = readers
            .iter()
            .map(|readers| {
                first += readers.len();
                first - readers.len()
            })
            .collect();
        let places = chosen.iter().zip(ranks).map(|(expert, rank)| (starts[*expert as usize] + rank) as u32).collect();
        Ok(Self { readers, chosen, places })
    }
}

/// Lists the experts of the best groups in ascending order; of equal groups the first are better.
fn of_best_groups(shares: &[f32], groups: &ExpertGroups) -> Vec<usize> {
    let size = shares.len() / groups.count.max(1);
    let worth = |group: &[f32]| {
        let mut best = group.to_vec();
        best.sort_by(|a, b| b.total_cmp(a));
        best.iter().take(groups.best).sum::<f32>()
    };
    let worths: Vec<f32> = shares.chunks(size.max(1)).map(worth).collect();
    let mut order: Vec<usize> = (0..worths.len()).collect();
    order.sort_by(|a, b| worths[*b].total_cmp(&worths[*a]));
    order.truncate(groups.chosen);
    order.sort_unstable();
    order.iter().flat_map(|group| group * size..(group + 1) * size).collect()
}

#[cfg(test)]
mod tests {
    use kit::far;

    use super::*;
    use crate::base::Task;
    use crate::model::batch::Batch;
    use crate::model::config::Config;
    use crate::model::fixtures::{configs, decoder};
    use crate::model::hooks::{At, Hooks};
    use crate::model::run::Ask;
    use crate::model::site::{Place, Site, select};
    use crate::tensor::Device;

    fn mixed() -> Config {
        configs().into_iter().find(|config| config.experts.is_some()).unwrap()
    }

    #[test]
    fn the_most_likely_experts_read_a_token_and_of_equal_ones_the_first() {
        let experts = mixed().experts.unwrap();
        let shares = Tensor::new(&[[0.1_f32, 0.4, 0.2, 0.3], [0.25; 4], [0.0, 0.5, 0.5, 0.0]], &Device::Cpu).unwrap();
        let routes = Routes::new(&shares, &experts, None).unwrap();
        assert_eq!(routes.chosen, [1, 3, 0, 1, 1, 2]);
        assert_eq!(routes.readers, [vec![1], vec![0, 1, 2], vec![2], vec![0]]);
        // Expert 0 has row 0, expert 1 rows 1 to 3, expert 2 row 4, expert 3 row 5.
        assert_eq!(routes.places, [1, 5, 0, 2, 3, 4]);
    }

    #[test]
    fn the_output_is_the_weighted_sum_of_whole_mlps() {
        let model = decoder(mixed(), DType::F64);
        let experts = model.config().experts.clone().unwrap();
        let mixture = &model.weights().blocks[1];
        let mixture = mixture.mixture.as_ref().unwrap();
        let task = Task::default();
        let batch = Batch::new(vec![vec![1, 4, 2, 0, 3], vec![2, 2, 7]]).unwrap();
        let places: Vec<Place> = ["mlp_in.1", "router.1", "mlp_out.1"]
            .iter()
            .flat_map(|name| select(model.config(), name).unwrap())
            .collect();
        let cache = model.cache(&batch, Ask { places: places.clone(), ..Ask::default() }, &task).unwrap();
        let [x, shares, found] = [0, 1, 2].map(|at| cache.at(places[at]).unwrap().get(0).unwrap());
        let all: Vec<Tensor> =
            mixture.experts.iter().map(|mlp| model.expert(&x, mlp, &experts, &task).unwrap()).collect();
        let shared = mixture.shared.as_ref().unwrap();
        let gate = sigmoid(&linear(&task, &x, shared.gate.as_ref().unwrap()).unwrap()).unwrap();
        let beside = model.expert(&x, &shared.mlp, &experts, &task).unwrap().broadcast_mul(&gate).unwrap();
        for token in 0..5 {
            let shares: Vec<f64> = shares.get(token).unwrap().to_vec1().unwrap();
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let mut order: Vec<usize> = (0..4).collect();
            order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
            let sum: f64 = order[..experts.chosen].iter().map(|expert| shares[*expert]).sum();
            let mut expected = beside.get(token).unwrap();
            for expert in &order[..experts.chosen] {
                expected = (expected + (all[*expert].get(token).unwrap() * (shares[*expert] / sum)).unwrap()).unwrap();
            }
            assert!(far(found.get(token).unwrap(), expected) < 1e-12);
        }
    }

    /// Hooks that give all to one expert at `router.1`, and record what its layer writes.
    struct Only(usize, Option<Tensor>);

    impl Hooks for Only {
        fn wants(&self, site: Site) -> bool {
            site.layer == 1 && matches!(site.kind, SiteKind::Router | SiteKind::MlpOut | SiteKind::MlpIn)
        }

        fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
            match at.site.kind {
                SiteKind::Router => {
                    let mut one = vec![0.0_f64; x.dim(2)?];
                    one[self.0] = 1.0;
                    Ok(Some(Tensor::new(one, x.device())?.broadcast_as(x.shape())?.contiguous()?))
                }
                SiteKind::MlpIn => {
                    self.1 = Some(x.clone());
                    Ok(None)
                }
                _ => {
                    self.1 = Some((x - self.1.take().expect("the input comes first"))?);
                    Ok(None)
                }
            }
        }

        fn last(&self) -> Option<Site> {
            Some(Site::new(SiteKind::MlpOut, 1))
        }
    }

    #[test]
    fn a_hook_at_the_router_changes_which_experts_are_chosen_and_their_weights() {
        let model = decoder(mixed(), DType::F64);
        let batch = Batch::new(vec![vec![1, 4, 2]]).unwrap();
        let task = Task::default();
        let of = |expert| {
            let mut only = Only(expert, None);
            let pass =
                super::super::Pass { hooks: &mut only, past: None, logits: super::super::Logits::Last, task: &task };
            assert!(model.forward(&batch, pass).unwrap().is_none());
            only.1.unwrap().get(0).unwrap()
        };
        let place = select(model.config(), "mlp_in.1").unwrap()[0];
        let x = model.cache(&batch, Ask { places: vec![place], ..Ask::default() }, &task).unwrap().at(place).unwrap();
        let x = x.get(0).unwrap();
        let mixture = model.weights().blocks[1].mixture.as_ref().unwrap();
        let alone = |expert: usize| {
            model.expert(&x, &mixture.experts[expert], model.config().experts.as_ref().unwrap(), &task).unwrap()
        };
        let difference = (of(3) - of(0)).unwrap();
        let expected = (alone(3) - alone(0)).unwrap();
        assert!(far(difference, expected) < 1e-12);
    }
}
