//! A model as it is constructed: parts of the residual stream, and what each head and MLP reads and writes.

use rand::RngExt;
use rand_distr::StandardNormal;

use super::Algorithm;
use crate::checkpoint::family;
use crate::common::*;
use crate::model::config::{Activation, Positions};
use crate::model::weights::{Attention, Block, Linear, Mlp, Weights};

/// The margin, about, by which attention scores of what a head attends to exceed others: all else gets e^-30.
pub const HARD: f64 = 30.0;
/// The margin of an answer's logit over the others.
pub const LOGIT: f64 = 10.0;
/// The difference between the scores of two neighbouring positions where a head seeks one: the others get e^-15.
const NEAR: f64 = 15.0;
/// The number of dimensions that decoys write into and that nothing reads.
const UNREAD: usize = 4;
/// The number of neurons in a decoy's MLP.
const DECOY_NEURONS: usize = 8;

/// Weights that are not 0: from, to, and the weight.
type Wires = Vec<(usize, usize, f64)>;

/// Wires of a head: its queries, keys and values (from the residual stream to its own dimensions), and its output.
#[derive(Default)]
pub struct HeadWires {
    pub q: Wires,
    pub k: Wires,
    pub v: Wires,
    pub o: Wires,
}

/// A neuron: relu(reads + bias), times its output weights.
pub struct Neuron {
    pub reads: Vec<(usize, f64)>,
    pub bias: f64,
    pub writes: Vec<(usize, f64)>,
}

/// A model under construction.
pub struct WeightPlan {
    layers: usize,
    heads: usize,
    context: usize,
    width: usize,
    embed: Wires,
    positions: Wires,
    made: BTreeMap<(usize, usize), HeadWires>,
    mlps: BTreeMap<usize, Vec<Neuron>>,
    unembed: Wires,
    bias: Vec<(usize, f64)>,
    /// Parts that positions write: 1, the position, its square.
    pub one: usize,
    pub place: usize,
    square: usize,
}

/// Returns wires from the dimensions of a part to those of another one of the same size.
pub fn copy(from: Range<usize>, to: usize, weight: f64) -> Wires {
    from.enumerate().map(|(i, dim)| (dim, to + i, weight)).collect()
}

/// Returns the wires from a head's output to a part: each of its dimensions into one.
pub fn write(part: Range<usize>) -> Wires {
    part.enumerate().map(|(from, dim)| (from, dim, 1.0)).collect()
}

/// Builds two neurons that together are 0 below a threshold and 1 above it, with a ramp of width 1 / `steep` between.
pub fn step(reads: &[(usize, f64)], threshold: f64, steep: f64, writes: &[(usize, f64)]) -> [Neuron; 2] {
    let neuron = |shift: f64, sign: f64| Neuron {
        reads: reads.iter().map(|(dim, weight)| (*dim, steep * weight)).collect(),
        bias: shift - steep * threshold,
        writes: writes.iter().map(|(dim, weight)| (*dim, sign * weight)).collect(),
    };
    [neuron(0.5, 1.0), neuron(-0.5, -1.0)]
}

impl WeightPlan {
    pub fn new(layers: usize, heads: usize, context: usize) -> Self {
        let positions = (0..context).flat_map(|p| [(p, 0, 1.0), (p, 1, p as f64), (p, 2, (p * p) as f64)]);
        Self {
            layers,
            heads,
            context,
            width: 3,
            embed: Vec::new(),
            positions: positions.collect(),
            made: BTreeMap::new(),
            mlps: BTreeMap::new(),
            unembed: Vec::new(),
            bias: Vec::new(),
            one: 0,
            place: 1,
            square: 2,
        }
    }

    /// Adds a part to the residual stream.
    pub fn part(&mut self, size: usize) -> Range<usize> {
        let start = self.width;
        self.width += size;
        start..self.width
    }

    /// Adds a part with a dimension for each token of a range, which is 1 where that token is embedded.
    pub fn tokens(&mut self, tokens: Range<usize>) -> Range<usize> {
        let part = self.part(tokens.len());
        self.embed.extend(tokens.zip(part.clone()).map(|(token, dim)| (token, dim, 1.0)));
        part
    }

    /// Adds a dimension with a number for each token.
    pub fn token_value(&mut self, value: impl Fn(usize) -> f64, tokens: usize) -> usize {
        let dim = self.part(1).start;
        self.embed.extend((0..tokens).map(|token| (token, dim, value(token))));
        dim
    }

    /// Adds a dimension with a number for each position.
    pub fn position_value(&mut self, value: impl Fn(usize) -> f64) -> usize {
        let dim = self.part(1).start;
        self.positions.extend((0..self.context).map(|position| (position, dim, value(position))));
        dim
    }

    pub fn head(&mut self, layer: usize, head: usize, made: HeadWires) {
        self.made.insert((layer, head), made);
    }

    pub fn mlp(&mut self, layer: usize, neurons: Vec<Neuron>) {
        self.mlps.insert(layer, neurons);
    }

    /// Makes the dimensions of a part the logits, times a factor.
    pub fn answers(&mut self, part: Range<usize>, factor: f64) {
        self.unembed.extend(copy(part, 0, factor));
    }

    /// Makes a dimension raise one logit.
    pub fn answer(&mut self, dim: usize, output: usize, factor: f64) {
        self.unembed.push((dim, output, factor));
    }

    /// Gives a logit a constant.
    pub fn usual(&mut self, output: usize, logit: f64) {
        self.bias.push((output, logit));
    }

    /// Returns queries (in two dimensions of the head, from `at` on) that seek the position `sought`, a sum over
    /// dimensions of the residual stream; and the keys: -NEAR (j - c)^2 without the term that all j have in common.
    pub fn seek(&self, sought: &[(usize, f64)], at: usize) -> (Wires, Wires) {
        let q = sought.iter().map(|(dim, weight)| (*dim, at, *weight)).chain([(self.one, at + 1, 1.0)]);
        (q.collect(), vec![(self.place, at, 2.0 * NEAR), (self.square, at + 1, -NEAR)])
    }

    pub fn model(self, algorithm: &Algorithm) -> Result<Model> {
        let head_sizes = self.made.values().flat_map(|head| [&head.q, &head.k, &head.v]).flatten();
        let d_head = head_sizes.map(|(_, to, _)| to + 1).max().unwrap_or(1);
        let d_mlp = self.mlps.values().map(Vec::len).max().unwrap_or(0).max(DECOY_NEURONS);
        let config = Config {
            layers: self.layers,
            d_model: self.width + UNREAD,
            heads: self.heads,
            kv_heads: self.heads,
            d_head,
            d_mlp,
            vocab: algorithm.tokens.len(),
            vocab_out: Some(algorithm.outputs).filter(|outputs| *outputs < algorithm.tokens.len()),
            context: self.context,
            act: Activation::Relu,
            norm: None,
            norm_weight: false,
            norm_bias: false,
            pre_norm: false,
            final_norm: false,
            positions: Positions::Learned,
            mlp_bias: true,
            unembed_bias: true,
            ..Config::plain(family::OWN)
        };
        let config = config.checked()?;
        let weights = self.weights(&config)?;
        let tokens = algorithm.tokens.iter().map(|token| token.to_string()).collect();
        let tokenizer = Tokenizer::words(tokens, None, None)?;
        let origin = format!("compiled: {}", algorithm.name);
        Ok(Model::new(Decoder::new(config, weights), Some(tokenizer), origin))
    }

    fn weights(&self, config: &Config) -> Result<Weights> {
        let d = config.d_model;
        let blocks = (0..self.layers).map(|layer| self.block(config, layer)).collect::<Result<_>>()?;
        let bias: Wires = self.bias.iter().map(|(output, logit)| (0, *output, *logit)).collect();
        Ok(Weights {
            embed: rows(config.vocab, d, &self.embed)?.into(),
            embed_norm: None,
            pos_embed: Some(rows(self.context, d, &self.positions)?),
            type_embed: None,
            stream_norm: None,
            layer_inputs: None,
            blocks,
            transform: None,
            final_norm: None,
            unembed: Linear {
                weight: matrix(config.outputs(), d, &self.unembed)?.into(),
                bias: Some(rows(1, config.outputs(), &bias)?.squeeze(0)?),
            },
        })
    }

    fn block(&self, config: &Config, layer: usize) -> Result<Block> {
        let d = config.d_model;
        let d_head = config.d_head;
        let wide = self.heads * d_head;
        let [mut q, mut k, mut v, mut o] = [(); 4].map(|()| Wires::new());
        for number in 0..self.heads {
            let decoy;
            let head = match self.made.get(&(layer, number)) {
                Some(head) => head,
                None => {
                    decoy = self.decoy(d_head, layer * self.heads + number);
                    &decoy
                }
            };
            let first = number * d_head;
            for (all, own) in [(&mut q, &head.q), (&mut k, &head.k), (&mut v, &head.v)] {
                all.extend(own.iter().map(|(from, to, weight)| (*from, first + to, *weight)));
            }
            o.extend(head.o.iter().map(|(from, to, weight)| (first + from, *to, *weight)));
        }
        let reads =
            |wires: &Wires| -> Result<Linear> { Ok(Linear { weight: matrix(wide, d, wires)?.into(), bias: None }) };
        let attn = Attention {
            latent: None,
            q: reads(&q)?,
            gate: None,
            k: Some(reads(&k)?),
            v: Some(reads(&v)?),
            o: Linear { weight: matrix(d, wide, &o)?.into(), bias: None },
            q_norm: None,
            k_norm: None,
            sinks: None,
        };
        let mlp = Some(self.mlp_weights(config, layer)?);
        let attn_norm = None;
        let attn_post_norm = None;
        let attn_stream_norm = None;
        let mlp_norm = None;
        let mlp_post_norm = None;
        let mlp_stream_norm = None;
        let delta = None;
        let ssm = None;
        let rwkv = None;
        let mlp_shift = None;
        let mixture = None;
        Ok(Block {
            attn_norm,
            attn: Some(attn),
            delta,
            ssm,
            rwkv,
            attn_post_norm,
            attn_stream_norm,
            mlp_norm,
            mlp_shift,
            mlp,
            mixture,
            mlp_post_norm,
            mlp_stream_norm,
            layer_input: None,
            scale: None,
        })
    }

    fn mlp_weights(&self, config: &Config, layer: usize) -> Result<Mlp> {
        let d = config.d_model;
        let d_mlp = config.d_mlp;
        let mut up = Wires::new();
        let mut bias = Wires::new();
        let mut down = Wires::new();
        if let Some(neurons) = self.mlps.get(&layer) {
            for (number, neuron) in neurons.iter().enumerate() {
                up.extend(neuron.reads.iter().map(|(dim, weight)| (*dim, number, *weight)));
                bias.push((0, number, neuron.bias));
                down.extend(neuron.writes.iter().map(|(dim, weight)| (number, *dim, *weight)));
            }
        } else {
            let decoy = self.decoy(d_mlp, self.layers * self.heads + layer);
            (up, down) = (decoy.v, decoy.o);
        }
        Ok(Mlp {
            gate: None,
            up: Linear { weight: matrix(d_mlp, d, &up)?.into(), bias: Some(rows(1, d_mlp, &bias)?.squeeze(0)?) },
            down: Linear {
                weight: matrix(d, d_mlp, &down)?.into(),
                bias: Some(Tensor::zeros(d, DType::F32, &Device::Cpu)?),
            },
        })
    }

    /// Builds a head that reads the whole residual stream at random, and writes where nothing reads.
    fn decoy(&self, size: usize, number: usize) -> HeadWires {
        let mut random = stream(0, "decoys", number as u64);
        let mut drawn = |from: Range<usize>, to: Range<usize>| -> Wires {
            let pairs = from.flat_map(|from| to.clone().map(move |to| (from, to)));
            pairs.map(|(from, to)| (from, to, 0.3 * random.sample::<f64, _>(StandardNormal))).collect()
        };
        let stream = 0..self.width + UNREAD;
        HeadWires {
            q: drawn(stream.clone(), 0..size),
            k: drawn(stream.clone(), 0..size),
            v: drawn(stream, 0..size),
            o: drawn(0..size, self.width..self.width + UNREAD),
        }
    }
}

/// Builds a table with a row for each index that wires begin at.
fn rows(from: usize, to: usize, wires: &Wires) -> Result<Tensor> {
    let mut values = vec![0.0_f32; from * to];
    for (row, column, weight) in wires {
        let place = values.get_mut(row * to + column).filter(|_| *column < to);
        let Some(value) = place else { bail!(Bug, "a wire from {row} to {column}, of {from} and {to}") };
        *value += *weight as f32;
    }
    Tensor::from_vec(values, (from, to), &Device::Cpu).map_err(|error| err!(Bug, "weights: {error}"))
}

/// Builds the matrix `[to, from]` of wires.
fn matrix(to: usize, from: usize, wires: &Wires) -> Result<Tensor> {
    Ok(rows(from, to, wires)?.t()?.contiguous()?)
}
