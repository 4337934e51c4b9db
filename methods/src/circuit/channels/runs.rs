//! Runs of pairs with only some channels kept.
//!
//! A channel that is not kept has another value at every position: its mean over the tokens of all prompts, zero, or what it
//! has at the position in the run of the pair's other prompt.

use super::sites::Channels;
use crate::circuit::ablations::{Ablations, NodeAblations, no_number};
use crate::circuit::edges::EdgeAblation;
use crate::circuit::graph::{Graph, Node, Part};
use crate::intervene::metric::{Measure, MetricPlan};
use crate::model::hooks::{At, Hooks};
use crate::sae::prelude::*;
use crate::tensor::elementwise::softplus;

/// The number of pairs in one pass.
const AT_ONCE: usize = 64;

/// The prompts of one kind of some pairs.
struct Prompts<'a> {
    plan: MetricPlan<'a>,
    /// The values of channels that are not kept, site by site.
    others: Vec<Tensor>,
}

/// Pairs that are run together.
struct RunGroup<'a> {
    clean: Prompts<'a>,
    /// Corrupt prompts; none where no pair has one.
    corrupt: Option<Prompts<'a>>,
    numbers: Vec<usize>,
}

/// Runs of pairs with channels ablated.
pub struct ChannelRuns<'a> {
    decoder: &'a Decoder,
    pub channels: Channels,
    groups: Vec<RunGroup<'a>>,
    pub pairs: usize,
}

impl<'a> ChannelRuns<'a> {
    /// Runs all prompts once where what ablated channels have is read from them.
    pub fn new(
        model: &'a Model,
        pairs: &[TokenPair],
        measure: Measure<'a>,
        ablation: EdgeAblation,
        task: &Task,
    ) -> Result<Self> {
        let decoder = model.decoder.as_ref();
        let channels = Channels::new(decoder)?;
        if pairs.is_empty() {
            return Err(err!(Argument, "expected at least one pair, found none").about("pairs"));
        }
        check_prompts(pairs, ablation)?;
        let has_corrupt = pairs.iter().all(|pair| !pair.corrupt.is_empty());
        let numbers: Vec<usize> = (0..pairs.len()).collect();
        let mut plans = Vec::new();
        for numbers in numbers.chunks(AT_ONCE) {
            let some: Vec<TokenPair> = numbers.iter().map(|number| pairs[*number].clone()).collect();
            let plan = |which| MetricPlan::new(measure, decoder, &some, which, numbers, task);
            let clean = plan(Prompt::Clean)?;
            let corrupt = if has_corrupt { Some(plan(Prompt::Corrupt)?) } else { None };
            plans.push((clean, corrupt, numbers.to_vec()));
        }
        let fixed = match ablation {
            EdgeAblation::Corrupt => Vec::new(),
            EdgeAblation::Zero => zeros(decoder, &channels)?,
            EdgeAblation::Mean => {
                let all = plans.iter().flat_map(|(clean, corrupt, _)| std::iter::once(clean).chain(corrupt));
                means(decoder, &channels, all, task)?
            }
        };
        let mut groups = Vec::new();
        for (clean, corrupt, numbers) in plans {
            task.check()?;
            let mut own = [fixed.clone(), fixed.clone()];
            if let (EdgeAblation::Corrupt, Some(corrupt)) = (ablation, &corrupt) {
                own = [recorded(decoder, &channels, corrupt, task)?, recorded(decoder, &channels, &clean, task)?];
            }
            let [of_clean, of_corrupt] = own;
            let corrupt = corrupt.map(|plan| Prompts { plan, others: of_corrupt });
            groups.push(RunGroup { clean: Prompts { plan: clean, others: of_clean }, corrupt, numbers });
        }
        Ok(Self { decoder, channels, groups, pairs: pairs.len() })
    }

    /// Computes the mean loss of telling the answers from the wrong ones, with masks of all channels, `[channels]`:
    /// -log sigmoid(d) for clean prompts and -log sigmoid(-d) for corrupt ones, where d is the metric of the pair.
    pub fn loss(&self, masks: &Tensor, task: &Task) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        let mut prompts = 0;
        for group in &self.groups {
            let both = [(Some(&group.clean), 1.0), (group.corrupt.as_ref(), -1.0)];
            for (own, sign) in both {
                let Some(own) = own else { continue };
                task.check()?;
                let found = softplus(&self.run(own, masks, task)?.affine(-sign, 0.0)?)?.sum_all()?;
                sum = Some(match sum {
                    Some(sum) => (sum + found)?,
                    None => found,
                });
                prompts += group.numbers.len();
            }
        }
        let sum = sum.ok_or_else(|| err!(Bug, "runs without prompts"))?;
        Ok((sum / prompts as f64)?)
    }

    fn run(&self, prompts: &Prompts, masks: &Tensor, task: &Task) -> Result<Tensor> {
        let mut hooks = ChannelMasks { channels: &self.channels, masks, others: &prompts.others };
        prompts.plan.run(self.decoder, &mut hooks, task)
    }

    /// Returns masks that are 1 for channels that are kept, and 0 for others.
    pub fn masks(&self, kept: &[bool]) -> Result<Tensor> {
        let masks: Vec<f32> = kept.iter().map(|kept| f32::from(u8::from(*kept))).collect();
        Ok(Tensor::from_vec(masks, kept.len(), self.decoder.device())?)
    }

    /// Returns the loss with only some channels kept.
    pub fn loss_with(&self, kept: &[bool], task: &Task) -> Result<f64> {
        Ok(floats(&self.loss(&self.masks(kept)?, task)?)?[0])
    }
}

/// Refuses pairs whose prompts cannot stand in for each other, or which only in part have corrupt prompts.
fn check_prompts(pairs: &[TokenPair], ablation: EdgeAblation) -> Result<()> {
    let lacks = pairs.iter().position(|pair| pair.corrupt.is_empty());
    let has = pairs.iter().position(|pair| !pair.corrupt.is_empty());
    let needs = ablation == EdgeAblation::Corrupt;
    if let Some(number) = lacks
        && (needs || has.is_some())
    {
        return Err(err!(Argument, "expected a corrupt prompt in pair {number}, found none").about("pairs"));
    }
    let differs = pairs.iter().position(|pair| needs && pair.clean.len() != pair.corrupt.len());
    match differs {
        None => Ok(()),
        Some(number) => {
            let clean = pairs[number].clean.len();
            let corrupt = pairs[number].corrupt.len();
            Err(err!(
                Argument,
                "expected prompts of the same length, found {clean} and {corrupt} tokens in pair {number}"
            )
            .hint("ablation: \"mean\" takes prompts of any length; data::pairs(task, #{ for: m, same_length: true }) makes such pairs")
            .about("pairs"))
        }
    }
}

fn zeros(decoder: &Decoder, channels: &Channels) -> Result<Vec<Tensor>> {
    let zero = |shape: &Vec<usize>| Ok(Tensor::zeros(shape.as_slice(), decoder.dtype(), decoder.device())?);
    channels.sites.iter().map(|one| zero(&one.shape)).collect()
}

/// Records all channels of some prompts: `[texts, pos, ..]` for each site.
fn recorded(decoder: &Decoder, channels: &Channels, plan: &MetricPlan, task: &Task) -> Result<Vec<Tensor>> {
    let places: Vec<Place> = channels.sites.iter().map(|one| Place { site: one.site, head: None }).collect();
    let cache = decoder.cache(plan.batch(), Ask { places: places.clone(), ..Ask::default() }, task)?;
    places.into_iter().map(|place| cache.at(place)).collect()
}

/// Computes the mean of each channel over the tokens of all prompts.
fn means<'b>(
    decoder: &Decoder,
    channels: &Channels,
    plans: impl Iterator<Item = &'b MetricPlan<'b>>,
    task: &Task,
) -> Result<Vec<Tensor>> {
    let mut sums: Vec<Tensor> = Vec::new();
    let mut tokens = 0;
    for plan in plans {
        task.check()?;
        for (index, x) in recorded(decoder, channels, plan, task)?.into_iter().enumerate() {
            let mut sum: Option<Tensor> = sums.get(index).cloned();
            for (row, ids) in plan.batch().rows().iter().enumerate() {
                let own = x.get(row)?.narrow(0, 0, ids.len())?.to_dtype(DType::F64)?.sum(0)?;
                sum = Some(match sum {
                    Some(sum) => (sum + own)?,
                    None => own,
                });
            }
            match (sum, sums.get_mut(index)) {
                (Some(sum), Some(place)) => *place = sum,
                (Some(sum), None) => sums.push(sum),
                (None, _) => {}
            }
        }
        tokens += plan.batch().rows().iter().map(Vec::len).sum::<usize>();
    }
    sums.into_iter().map(|sum| Ok((sum / tokens as f64)?.to_dtype(decoder.dtype())?)).collect()
}

/// The hooks that keep each channel as far as its mask says: x m + other (1 - m).
struct ChannelMasks<'a> {
    channels: &'a Channels,
    masks: &'a Tensor,
    others: &'a [Tensor],
}

impl Hooks for ChannelMasks<'_> {
    fn wants(&self, site: Site) -> bool {
        self.channels.index(site).is_some()
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        let index = self.channels.index(at.site).ok_or_else(|| err!(Bug, "a site without channels"))?;
        let one = &self.channels.sites[index];
        let mask = self.masks.narrow(0, one.first, one.width())?.reshape(one.shape.as_slice())?.to_dtype(x.dtype())?;
        let rest = mask.affine(-1.0, 1.0)?;
        let kept = x.broadcast_mul(&mask)?;
        Ok(Some(kept.broadcast_add(&self.others[index].broadcast_mul(&rest)?)?))
    }
}

impl Ablations for ChannelRuns<'_> {
    fn units(&self) -> usize {
        self.channels.count
    }

    fn kept(&self, graph: &Graph) -> Result<Vec<bool>> {
        let mut kept = vec![false; self.units()];
        for node in graph.nodes.iter().filter(|node| !matches!(node.part, Part::Whole | Part::Token(_))) {
            kept[self.channels.number(node)?] = true;
        }
        Ok(kept)
    }

    /// Returns the class of each channel, its site.
    fn alike(&self) -> Vec<usize> {
        let site = |(index, one): (usize, &super::sites::ChannelSite)| vec![index; one.width()];
        self.channels.sites.iter().enumerate().flat_map(site).collect()
    }

    fn values(&self, kept: &[bool], task: &Task) -> Result<Vec<f64>> {
        let masks = self.masks(kept)?;
        let mut all = vec![f64::NAN; self.pairs];
        for group in &self.groups {
            task.check()?;
            let found = floats(&self.run(&group.clean, &masks, task)?)?;
            for (value, number) in found.into_iter().zip(&group.numbers) {
                if value.is_nan() {
                    return Err(no_number(value, *number, " with channels ablated"));
                }
                all[*number] = value;
            }
        }
        Ok(all)
    }
}

impl NodeAblations for ChannelRuns<'_> {
    fn node_classes(&self) -> Vec<usize> {
        self.alike()
    }

    fn node(&self, node: &Node) -> Result<usize> {
        self.channels.number(node)
    }

    fn units_of(&self, node: usize) -> Vec<usize> {
        vec![node]
    }
}
