//! The layouts of published dictionaries, by what SAELens calls them, and whether their files are read here.

/// The way in which files of a layout are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Files that are read.
    Known,
    /// Layers of a cross-layer transcoder, which is read as a whole.
    CrossLayer,
    /// Files that are not read, and what they are.
    Other(&'static str),
}

/// The layout of circuit-tracer's sets of transcoders, a file for each layer.
pub const LAYERS: &str = "mwhanna_transcoder";

const KNOWN: [&str; 6] = ["saelens", "gemma_2", "gemma_2_transcoder", "gemma_3", "dictionary_learning_1", LAYERS];

const CROSS_LAYER: &str = "mntss_clt_layer_transcoder";

/// The layouts that are not read: their names, and what they are.
const OTHERS: [(&str, &str); 7] = [
    ("llama_scope", "that of Llama Scope, `hyperparams.json` and `checkpoints/final.safetensors`"),
    (
        "llama_scope_r1_distill",
        "that of Llama Scope for R1, `config.json` and `sae_weights.safetensors` of other names",
    ),
    ("qwen_scope", "that of Qwen Scope, a `layerN.sae.pt` whose k stands in the name of the repository"),
    ("goodfire", "Goodfire's, a PyTorch file without a config"),
    ("deepseek_r1", "a PyTorch file of one dictionary of R1 without a config"),
    ("connor_rob_hook_z", "that of Kissane and Krzyzanowski, a PyTorch file with `_cfg.json` beside it"),
    ("temporal", "that of temporal SAEs, which predict a part of their codes by attention over earlier tokens"),
];

/// Returns what is done with the files of a layout.
pub fn layout(name: &str) -> Layout {
    let other = OTHERS.iter().find(|(other, _)| *other == name);
    match other {
        Some((_, what)) => Layout::Other(what),
        None if KNOWN.contains(&name) => Layout::Known,
        None if name == CROSS_LAYER => Layout::CrossLayer,
        None => Layout::Other("one that was not known when this program was built"),
    }
}
