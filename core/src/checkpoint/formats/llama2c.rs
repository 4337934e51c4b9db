//! Checkpoints of llama2.c: a header of seven numbers and f32 tensors in a fixed order, each layer by layer.

use super::base::{ModelSizes, llama};
use crate::common::*;
use crate::model::config::{Config, Rotary, Scaling};
use crate::model::layout::{Layout, TensorSource, WeightFrom};
use crate::tensor::files::reader::{ByteReader, elements};
use crate::tensor::{DType, Device, Tensor};

/// The first number of the newer versions: `ak42`.
const MAGIC: u32 = 0x616b_3432;

/// The length of the header of version 1, padded with zeros.
const HEADER: usize = 256;

/// Largest size that is accepted; the product of two of these does not overflow.
const LARGEST: i32 = 1 << 30;

/// Largest number of layers: no model has more, and the layout of this many takes little memory.
const MOST_LAYERS: i32 = 1 << 12;

/// The token between texts; llama2.c begins with it and stops at it.
const BOUNDARY: u32 = 1;

/// The shape and the byte range of each tensor.
type TensorPlaces = BTreeMap<String, (Vec<usize>, Range<usize>)>;

/// A file with a parsed and checked header, whose tensors are read one by one.
pub struct Checkpoint<B> {
    bytes: B,
    config: Config,
    tensors: TensorPlaces,
}

impl<B: AsRef<[u8]>> Checkpoint<B> {
    /// Parses the header; its tensors must fill the file to the last byte.
    pub fn new(bytes: B) -> Result<Self> {
        let content = bytes.as_ref();
        let mut reader = ByteReader::new(content);
        let newer = ByteReader::new(content).u32()? == MAGIC;
        let config = if newer { versioned(&mut reader)? } else { legacy(&mut reader)? };
        let order = if newer { order_of_version_1(&config) } else { order_of_legacy(&config) };
        let tensors = placed(order, reader.place(), content.len())?;
        Ok(Self { config, tensors, bytes })
    }

    pub fn layout(&self) -> Result<Layout> {
        let same = |(name, _): (String, Vec<usize>)| (name.clone(), WeightFrom::Same(name));
        let weights = self.config.parameters()?.into_iter().map(same).collect();
        Ok(Layout { config: self.config.clone(), weights, ignored: vec![COSINES.into(), SINES.into()] })
    }
}

impl<B: AsRef<[u8]>> TensorSource for Checkpoint<B> {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|(shape, _)| shape.clone())
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        let Some((shape, place)) = self.tensors.get(name) else {
            return Err(err!(Name, "this file has no tensor `{name}`")
                .maybe_hint(names::suggestion(name, self.tensors.keys().map(String::as_str))));
        };
        memory::check(place.len() as u128, || format!("the tensor {name}"))?;
        let data = self.bytes.as_ref().get(place.clone()).unwrap_or_default();
        Ok(Tensor::from_raw_buffer(data, DType::F32, shape, &Device::Cpu)?)
    }
}

/// Reads the header of the first files, which had no version; a negative vocabulary size means an untied unembedding.
fn legacy(reader: &mut ByteReader) -> Result<Config> {
    let sizes = sizes(reader)?;
    config(sizes, sizes[5] > 0)
}

fn versioned(reader: &mut ByteReader) -> Result<Config> {
    reader.u32()?;
    match reader.i32()? {
        1 => {}
        2 => {
            return Err(err!(Format, "expected version 1 of llama2.c's files, found 2, which is quantised")
                .hint("export the model again with `--version 1`"));
        }
        other => bail!(Format, "expected version 1 of llama2.c's files, found {other}"),
    }
    let sizes = sizes(reader)?;
    let tied = match reader.u8()? {
        0 => false,
        1 => true,
        other => bail!(Format, "expected 0 or 1 for whether the unembedding is the embedding, found {other}"),
    };
    if reader.take(HEADER - reader.place())?.iter().any(|byte| *byte != 0) {
        bail!(Format, "expected zeros at the end of the header, found something else");
    }
    if sizes[5] < 0 {
        bail!(Format, "vocab_size: expected at least 1, found {}", sizes[5]);
    }
    config(sizes, tied)
}

/// Sizes of the header: dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, max_seq_len.
type HeaderSizes = [i32; 7];

fn sizes(reader: &mut ByteReader) -> Result<HeaderSizes> {
    let mut sizes = [0; 7];
    for size in &mut sizes {
        *size = reader.i32()?;
    }
    Ok(sizes)
}

fn config(sizes: HeaderSizes, tied: bool) -> Result<Config> {
    const NAMES: [&str; 7] = ["dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "max_seq_len"];
    let mut checked = [0_usize; 7];
    for ((size, name), checked) in sizes.into_iter().zip(NAMES).zip(&mut checked) {
        let most = if name == "n_layers" { MOST_LAYERS } else { LARGEST };
        let size = if name == "vocab_size" { size.saturating_abs() } else { size };
        if size < 1 || size > most {
            return Err(err!(Format, "{name}: expected 1 to {most}, found {size}")
                .hint("this is no checkpoint of llama2.c, or it is damaged"));
        }
        *checked = size as usize;
    }
    let [d_model, d_mlp, layers, heads, kv_heads, vocab, context] = checked;
    if !d_model.is_multiple_of(heads) || !heads.is_multiple_of(kv_heads) || !(d_model / heads).is_multiple_of(2) {
        return Err(err!(
            Format,
            "expected {heads} heads of an even size to divide {d_model}, and {kv_heads} heads of keys to divide them"
        )
        .hint("this is no checkpoint of llama2.c, or it is damaged"));
    }
    let d_head = d_model / heads;
    let rotary = Rotary { dims: d_head, theta: 10_000.0, neighbours: true, scaling: Scaling::None };
    let config = Config {
        kv_heads,
        norm_eps: 1e-5,
        rotary: Some(rotary),
        tied,
        bos: Some(BOUNDARY),
        eos: vec![BOUNDARY],
        ..llama(ModelSizes { layers, d_model, heads, d_head, d_mlp, vocab, context })
    };
    config.checked_of_file()
}

/// Rotary tables, stored in files before llama2.c computed them itself.
const COSINES: &str = "freq_cis_real";
const SINES: &str = "freq_cis_imag";

/// Tensors in the order of the file, by our names.
type Listing = Vec<(String, Vec<usize>)>;

/// Lists one part of every layer.
fn each(config: &Config, part: &str) -> Listing {
    let d = config.d_model;
    let wide = config.d_mlp;
    let narrow = config.kv_heads * config.d_head;
    let shape = match part {
        "attn.q" | "attn.o" => vec![d, d],
        "attn.k" | "attn.v" => vec![narrow, d],
        "mlp.gate" | "mlp.up" => vec![wide, d],
        "mlp.down" => vec![d, wide],
        _ => vec![d],
    };
    (0..config.layers).map(|layer| (format!("blocks.{layer}.{part}.weight"), shape.clone())).collect()
}

fn one(name: &str, shape: &[usize]) -> Listing {
    vec![(name.into(), shape.into())]
}

const ATTENTION: [&str; 4] = ["attn.q", "attn.k", "attn.v", "attn.o"];
/// MLP matrices w1, w2 and w3.
const MLP: [&str; 3] = ["mlp.gate", "mlp.down", "mlp.up"];

fn order_of_legacy(config: &Config) -> Listing {
    let mut order = one("embed", &[config.vocab, config.d_model]);
    order.extend(each(config, "attn_norm"));
    order.extend(ATTENTION.iter().flat_map(|part| each(config, part)));
    order.extend(each(config, "mlp_norm"));
    order.extend(MLP.iter().flat_map(|part| each(config, part)));
    order.extend(one("final_norm.weight", &[config.d_model]));
    order.extend([COSINES, SINES].iter().flat_map(|name| one(name, &[config.context, config.d_head / 2])));
    order.extend(unembed(config));
    order
}

fn order_of_version_1(config: &Config) -> Listing {
    let mut order = each(config, "attn_norm");
    order.extend(each(config, "mlp_norm"));
    order.extend(one("final_norm.weight", &[config.d_model]));
    order.extend(one("embed", &[config.vocab, config.d_model]));
    order.extend(ATTENTION.iter().chain(&MLP).flat_map(|part| each(config, part)));
    order.extend(unembed(config));
    order
}

fn unembed(config: &Config) -> Listing {
    if config.tied { Vec::new() } else { one("unembed.weight", &[config.vocab, config.d_model]) }
}

/// Assigns every tensor its byte range after the header, in order, up to the end of the file.
fn placed(order: Listing, start: usize, length: usize) -> Result<TensorPlaces> {
    let mut reached = start;
    let mut tensors = BTreeMap::new();
    for (name, shape) in order {
        let width = DType::F32.size_in_bytes();
        let size = elements(&shape, width).map_err(|e| e.within(&name))? * width;
        let end = reached.checked_add(size).filter(|end| *end <= length);
        let Some(end) = end else {
            return Err(err!(Format, "expected {size} bytes for {name}, found {}", length - reached)
                .hint("this is no checkpoint of llama2.c, or it is cut short"));
        };
        tensors.insert(name, (shape, reached..end));
        reached = end;
    }
    if reached != length {
        return Err(err!(
            Format,
            "expected the tensors to fill the file, found {} bytes behind them",
            length - reached
        )
        .hint("this is no checkpoint of llama2.c, or it is damaged"));
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a model of two layers whose numbers count up.
    fn file(vocab: i32, newer: bool) -> Vec<u8> {
        let sizes: HeaderSizes = [8, 12, 2, 4, 2, vocab, 5];
        let mut bytes = Vec::new();
        if newer {
            bytes.extend(MAGIC.to_le_bytes());
            bytes.extend(1_i32.to_le_bytes());
        }
        for (index, size) in sizes.into_iter().enumerate() {
            bytes.extend(if newer && index == 5 { size.abs() } else { size }.to_le_bytes());
        }
        if newer {
            bytes.push(u8::from(vocab > 0));
            bytes.resize(HEADER, 0);
        }
        let layer = 8 + 8 * 8 + 2 * 4 * 8 + 8 * 8 + 8 + 3 * 12 * 8;
        let tables = if newer { 0 } else { 2 * 5 };
        let unembed = if vocab < 0 { 8 * 16 } else { 0 };
        let numbers = 16 * 8 + 2 * layer + 8 + tables + unembed;
        bytes.extend((0..numbers).flat_map(|i| (i as f32).to_le_bytes()));
        bytes
    }

    fn first(checkpoint: &Checkpoint<Vec<u8>>, name: &str) -> f32 {
        checkpoint.tensor(name).unwrap().flatten_all().unwrap().get(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn tensors_lie_where_the_program_expects_them() {
        let legacy = Checkpoint::new(file(-16, false)).unwrap();
        assert_eq!(first(&legacy, "embed"), 0.0);
        assert_eq!(first(&legacy, "blocks.1.attn_norm.weight"), 136.0);
        assert_eq!(first(&legacy, "blocks.0.attn.q.weight"), 144.0);
        assert_eq!(first(&legacy, "blocks.0.attn.k.weight"), 272.0);
        assert_eq!(first(&legacy, "blocks.0.mlp_norm.weight"), 528.0);
        assert_eq!(first(&legacy, "blocks.0.mlp.gate.weight"), 544.0);
        assert_eq!(first(&legacy, "blocks.0.mlp.down.weight"), 736.0);
        assert_eq!(first(&legacy, "blocks.0.mlp.up.weight"), 928.0);
        assert_eq!(first(&legacy, "final_norm.weight"), 1120.0);
        assert_eq!(first(&legacy, "unembed.weight"), 1138.0);
        let newer = Checkpoint::new(file(-16, true)).unwrap();
        assert_eq!(first(&newer, "blocks.1.mlp_norm.weight"), 24.0);
        assert_eq!(first(&newer, "embed"), 40.0);
        assert_eq!(first(&newer, "blocks.1.mlp.up.weight"), 168.0 + 384.0 + 4.0 * 96.0 + 96.0);
        assert_eq!(first(&newer, "unembed.weight"), 168.0 + 384.0 + 6.0 * 96.0);
    }

    #[test]
    fn the_sign_of_the_vocabulary_says_whether_the_embedding_is_tied() {
        for newer in [false, true] {
            for (vocab, tied) in [(16, true), (-16, false)] {
                let layout = Checkpoint::new(file(vocab, newer)).unwrap().layout().unwrap();
                assert_eq!((layout.config.tied, layout.config.vocab), (tied, 16));
                assert_eq!(layout.weights.contains_key("unembed.weight"), !tied);
                let shapes = Checkpoint::new(file(vocab, newer)).unwrap();
                for (name, shape) in layout.config.parameters().unwrap() {
                    assert_eq!(shapes.shape(&name), Some(shape), "{name}");
                }
            }
        }
    }

    fn refused(bytes: Vec<u8>) -> String {
        Checkpoint::new(bytes).err().unwrap().message
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        let good = file(16, false);
        assert_eq!(refused(good[..20].to_vec()), "expected 4 bytes at byte 20, found 0");
        assert_eq!(refused(good[..400].to_vec()), "expected 512 bytes for embed, found 372");
        let longer = [good.clone(), vec![0]].concat();
        assert_eq!(refused(longer), "expected the tensors to fill the file, found 1 bytes behind them");
        let with = |place: usize, size: i32| {
            let mut bytes = good.clone();
            bytes[place..place + 4].copy_from_slice(&size.to_le_bytes());
            refused(bytes)
        };
        assert_eq!(with(0, 0), format!("dim: expected 1 to {LARGEST}, found 0"));
        assert_eq!(with(8, i32::MAX), format!("n_layers: expected 1 to {MOST_LAYERS}, found {}", i32::MAX));
        assert_eq!(with(20, i32::MIN), format!("vocab_size: expected 1 to {LARGEST}, found {}", i32::MAX));
        assert_eq!(with(12, 3), "expected 3 heads of an even size to divide 8, and 2 heads of keys to divide them");
        let mut newer = file(16, true);
        newer[4] = 2;
        assert_eq!(refused(newer.clone()), "expected version 1 of llama2.c's files, found 2, which is quantised");
        newer[4] = 1;
        newer[100] = 1;
        assert_eq!(refused(newer), "expected zeros at the end of the header, found something else");
    }
}
