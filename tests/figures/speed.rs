//! Tables of speed, out of the files that the benchmarks write.

use super::root;

/// The templates of the tables: `{FILE/ROW UNIT}` is the first number of a row of docs/benchmarks-FILE.md, `+1` behind the
/// row's name that of the row below it; `{FILE@}` the machine and the day, `{FILE@PEER}` the peer with its version.
const README: &str = "\
| what | microtome | beside it | measured on |
|---|---|---|---|
| all logits of 256 tokens, Gemma 3 270M | {passes/all logits ms} | {passes@transformers}: {passes/all logits+1 ms} | {passes@} |
| a training step of a top-k SAE, 4,096 features, rows of Gemma 3 270M | 1 | {real@dictionary_learning}: {real/a step of `topk`, 4096 features, 4096 rows+1 x} times as long; {real@sparsify}: {real/a step of `topk`, 4096 features, 4096 rows+3 x} times | {real@} |
| forward with all logits, the shape of Pythia-70M | {forward/forward with all logits ms} | {forward@TransformerLens}: {forward/forward with all logits+1 ms} | {forward@} |
| generation, one text, with cache | {forward/generation, one text, with cache n} tokens a second | {forward@transformers}: {forward/generation, one text, with cache+1 n} | the same |
| a causal tree, the shape of Pythia-70M | 1 | the plain loop in PyTorch: {circuit/causal tree of 40 nodes, 10 of them expanded+2 times2} times as long | {circuit@} |
| patching by layer and position, a prompt of 50 tokens | {patching/layer by position, `get_act_patch_resid_pre`, 300 patches s} | {patching@TransformerLens}: {patching/layer by position, `get_act_patch_resid_pre`, 300 patches+1 s}, the same effects | {patching@} |
| exact effects of all 3,580 edges, a prompt of 50 tokens | {edges/Pythia-70M's shape: exact, all edges s} | {edges@TransformerLens}, a forward pass for each: {edges/Pythia-70M's shape: a split forward pass for each edge, TransformerLens s} by every hundredth | {edges@} |
| an attribution graph, 64 tokens, six transcoders of 4,096 features | {attribution-graph/the graph s} | {attribution-graph@circuit-tracer}: {attribution-graph/the graph+1 s}, the same graph | {attribution-graph@} |
| `microtome -e '1 + 2'`, process start to exit | {/`microtome -e '1 + 2'`, process start to exit ms} | `python -c 'import torch'`: {/`python -c 'import torch'`, same run ms} | {@} |";

/// The machines of the table.
const MACHINES: [&str; 3] = ["EPYC, AVX-512", "Xeon, AVX-512", "slower EPYC, AVX2"];

/// Returns the pages of a benchmark on each of the machines; none where it was not run.
fn pages(bench: &str) -> [Option<&'static str>; 3] {
    match bench {
        "passes" => [Some("passes"), Some("passes-xeon"), Some("passes-avx2")],
        "forward" => [Some("forward"), Some("forward-xeon"), Some("forward-avx2")],
        "real" => [Some("real"), Some("real-xeon"), Some("real-avx2")],
        "sae" => [None, Some("sae"), Some("sae-avx2")],
        _ => [None; 3],
    }
}

/// A row of the table of machines.
struct SpeedRow {
    what: &'static str,
    /// The benchmark, its row, and the unit, as in the templates.
    bench: &'static str,
    row: &'static str,
    unit: &'static str,
    /// The peers, and how far below the row theirs is.
    beside: &'static [(&'static str, usize)],
}

/// Returns the row of a pass through the real model.
const fn passes(what: &'static str, row: &'static str) -> SpeedRow {
    SpeedRow { what, bench: "passes", row, unit: "ms", beside: &[("transformers", 1)] }
}

/// Returns the row of tokens a second.
const fn rate(what: &'static str, row: &'static str) -> SpeedRow {
    SpeedRow { what, bench: "real", row, unit: "n", beside: &[("transformers", 1), ("llama.cpp", 2)] }
}

/// Returns the row of a forward pass of random weights.
const fn forward(what: &'static str, row: &'static str, beside: &'static [(&'static str, usize)]) -> SpeedRow {
    SpeedRow { what, bench: "forward", row, unit: "ms", beside }
}

/// Returns the row of a step, or of the codes, of a dictionary, beside the three libraries.
const fn dictionary(what: &'static str, bench: &'static str, unit: &'static str, row: &'static str) -> SpeedRow {
    SpeedRow { what, bench, row, unit, beside: &[("dictionary_learning", 1), ("SAELens", 2), ("sparsify", 3)] }
}

/// Sections of the table, the real model first.
const SECTIONS: [(&str, &[SpeedRow]); 3] = [
    (
        "Gemma 3 270M, 256 tokens where nothing else is said",
        &[
            passes("all logits", "all logits"),
            passes("the last logits", "the last logits"),
            passes("`resid_post.8` alone", "`resid_post.8` alone"),
            passes("gradients of one logit at the inputs of all layers", "gradients of one logit at all `resid_pre`"),
            passes("gradients of 8 texts of 64 tokens", "gradients of 8 texts of 64 tokens"),
            passes("gradients of 64 texts of 64 tokens", "gradients of 64 texts of 64 tokens"),
            passes("logit lens at three layers", "logit lens at three layers"),
            passes("patching by layer and position, 16 tokens", "patching by layer and position"),
            passes(
                "zeroing each layer's attention, divergence at all positions of four prompts",
                "zeroing each `attn_out`, divergence at all positions",
            ),
            passes("all logits, products of bf16", "all logits, by products of bf16"),
            rate("reading 512 tokens from Q4_K_M, tokens a second", "reading, of a prompt of 512 tokens"),
            rate("writing behind them, tokens a second", "writing, of a prompt of 512 tokens"),
            dictionary(
                "a step of a top-k SAE on 4,096 rows, 4,096 features",
                "real",
                "ms",
                "a step of `topk`, 4096 features, 4096 rows",
            ),
            dictionary("the same with 16,384 features", "real", "ms", "a step of `topk`, 16384 features, 4096 rows"),
        ],
    ),
    (
        "The shape of Pythia-70M, random weights, 16 texts of 128 tokens where nothing else is said",
        &[
            forward("forward with all logits", "forward with all logits", &[("TransformerLens", 1)]),
            forward("`resid_post.3` alone", "`resid_post.3` alone", &[("TransformerLens, stopped there", 1)]),
            forward("recording 111 sites", "forward that records 111 sites", &[("TransformerLens, 99 of them", 2)]),
            SpeedRow {
                what: "generation, one text, with cache, tokens a second",
                bench: "forward",
                row: "generation, one text, with cache",
                unit: "n",
                beside: &[("transformers", 1)],
            },
        ],
    ),
    (
        "Random rows of 512 numbers, on which no feature dies",
        &[
            dictionary("a step of a top-k SAE on 4,096 rows, 4,096 features", "sae", "inner", "`topk`, 4096 features"),
            dictionary("the same with 16,384 features", "sae", "inner", "`topk`, 16384 features"),
            dictionary(
                "codes of these rows, 4,096 features",
                "sae",
                "inner",
                "codes of a `topk` dictionary, 4096 features",
            ),
            dictionary("the same, 16,384 features", "sae", "inner", "codes of a `topk` dictionary, 16384 features"),
        ],
    ),
];

/// Writes the table of machines: what is measured on each, and how many times as long the peers take, in the order of their names.
fn machines() -> Result<String, String> {
    let heads = MACHINES.map(|machine| format!(" {machine} | times as long |")).concat();
    let mut lines = vec![format!("| what | peers |{heads}"), format!("|---|---|{}", "---|---|".repeat(MACHINES.len()))];
    for (section, rows) in SECTIONS {
        lines.push(format!("| **{section}** |{}", " |".repeat(1 + 2 * MACHINES.len())));
        for row in rows {
            let peers: Vec<&str> = row.beside.iter().map(|(peer, _)| *peer).collect();
            let cells: Result<Vec<String>, String> = pages(row.bench).into_iter().map(|page| row.cells(page)).collect();
            lines.push(format!("| {} | {} | {} |", row.what, peers.join(", "), cells?.join(" | ")));
        }
    }
    Ok(lines.join("\n"))
}

impl SpeedRow {
    /// Returns what is on a page, and the ratios to the peers.
    fn cells(&self, page: Option<&str>) -> Result<String, String> {
        let Some(page) = page else { return Ok("– | –".into()) };
        let found = |below: &str, unit: &str| figure(&format!("{page}/{}{below} {unit}", self.row));
        let own = found("", self.unit)?;
        let own = if self.unit == "inner" { format!("{own} ms") } else { own };
        let ratios: Result<Vec<String>, String> =
            self.beside.iter().map(|(_, below)| found(&format!("+{below}"), "x")).collect();
        Ok(format!("{own} | {}", ratios?.join(", ")))
    }
}

const WORKBENCH: &str = "\
| what | measured |
|---|---|
| `microtome -e '1 + 2'`, process start to exit | {/`microtome -e '1 + 2'`, process start to exit ms} |
| `python -c 'import torch'` | {/`python -c 'import torch'`, same run ms} |
| completion with 500 names in scope, of a variable | {/completion of a variable, 500 names in scope n} µs |
| a native call from a script | {/one native call, `t.rank` n} to {/one native call, `t + 1`, 2 x 2 n} ns |
| from Ctrl-C to the end of the process, in a loop / in a 4000 x 4000 SVD | {/from Ctrl-C to the end of the process in an endless loop ms} / {/from Ctrl-C to the end of the process in a singular value decomposition, 4000 x 4000 ms} |";

const GPU: &str = "\
| | ours, ms | beside, ms |
|---|---|---|
| reading 64 texts of 256 tokens, Pythia-70M's shape, all logits | {gpu/forward with all logits, f32 inner}; bf16 {gpu/forward with all logits, bf16 inner} | {gpu@TransformerLens}: {gpu/forward with all logits, f32+1 inner} and {gpu/forward with all logits, bf16+1 inner}; {gpu@transformers}: {gpu/forward with all logits, f32+2 inner} and {gpu/forward with all logits, bf16+2 inner} |
| harvest of `resid_post.3` of the same | {gpu/harvest of `resid_post.3`, f32 inner}; bf16 {gpu/harvest of `resid_post.3`, bf16 inner} | TransformerLens: {gpu/harvest of `resid_post.3`, f32+1 inner} and {gpu/harvest of `resid_post.3`, bf16+1 inner} |
| a step of `topk` on 8,192 rows of 512, 16,384 features | {gpu/`topk`, 16384 features of 512, f32 inner} | {gpu@sparsify}: {gpu/`topk`, 16384 features of 512, f32+7 inner} in f32, {gpu/`topk`, 16384 features of 512, f32+5 inner} with products in bf16, {gpu/`topk`, 16384 features of 512, f32+6 inner} in bf16; {gpu@dictionary_learning}: {gpu/`topk`, 16384 features of 512, f32+1 inner}; {gpu@SAELens}: {gpu/`topk`, 16384 features of 512, f32+3 inner} |
| the same with 131,072 features | {gpu/`topk`, 131072 features of 512, f32 inner} | sparsify: {gpu/`topk`, 131072 features of 512, f32+7 inner}, {gpu/`topk`, 131072 features of 512, f32+5 inner}, {gpu/`topk`, 131072 features of 512, f32+6 inner}; dictionary_learning: {gpu/`topk`, 131072 features of 512, f32+1 inner}; SAELens: {gpu/`topk`, 131072 features of 512, f32+3 inner} |
| rows of 2,048, 131,072 features | {gpu/`topk`, 131072 features of 2048, f32 inner} | sparsify: {gpu/`topk`, 131072 features of 2048, f32+7 inner}, {gpu/`topk`, 131072 features of 2048, f32+5 inner}, {gpu/`topk`, 131072 features of 2048, f32+6 inner}; dictionary_learning: {gpu/`topk`, 131072 features of 2048, f32+1 inner}; SAELens: {gpu/`topk`, 131072 features of 2048, f32+3 inner} |
| a training step, the embedded model's shape, 32 x 128 and 16 x 256 tokens | {gpu/training, 32 texts of 128 tokens, f32 inner} and {gpu/training, 16 texts of 256 tokens, f32 inner} | {gpu@torch}: {gpu/training, 32 texts of 128 tokens, f32+1 inner} and {gpu/training, 16 texts of 256 tokens, f32+1 inner} |
| rows of Gemma 3 270M, 640 wide, 16,384 features, most of them dead | {gpu/`topk` on rows of Gemma, 16384 features of 640, f32 inner} | sparsify: {gpu/`topk` on rows of Gemma, 16384 features of 640, f32+7 inner}, {gpu/`topk` on rows of Gemma, 16384 features of 640, f32+5 inner}, {gpu/`topk` on rows of Gemma, 16384 features of 640, f32+6 inner}; dictionary_learning: {gpu/`topk` on rows of Gemma, 16384 features of 640, f32+1 inner}; SAELens: {gpu/`topk` on rows of Gemma, 16384 features of 640, f32+3 inner} |
| the same with 65,536 features | {gpu/`topk` on rows of Gemma, 65536 features of 640, f32 inner} | sparsify: {gpu/`topk` on rows of Gemma, 65536 features of 640, f32+7 inner}, {gpu/`topk` on rows of Gemma, 65536 features of 640, f32+5 inner}, {gpu/`topk` on rows of Gemma, 65536 features of 640, f32+6 inner}; dictionary_learning: {gpu/`topk` on rows of Gemma, 65536 features of 640, f32+1 inner} |";

/// A table of this name with its numbers.
pub fn table(name: &str) -> Result<String, String> {
    let template = match name {
        "machines" => return machines(),
        "README" => README,
        "workbench" => WORKBENCH,
        "gpu" => GPU,
        _ => return Err(format!("there is no table of speed called `{name}`")),
    };
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (hole, after) = after.split_once('}').ok_or("a hole is not closed")?;
        out += before;
        out += &figure(hole)?;
        rest = after;
    }
    Ok(out + rest)
}

/// A figure, or a machine, as in the templates: `FILE/ROW UNIT`.
pub fn figure(hole: &str) -> Result<String, String> {
    if let Some((file, peer)) = hole.split_once('@') {
        return measured(&page(file)?, peer).ok_or(format!("`{hole}` is not stated"));
    }
    let (file, about) = hole.split_once('/').ok_or(format!("`{hole}` names no file"))?;
    let (row, unit) = about.rsplit_once(' ').ok_or(format!("`{hole}` has no unit"))?;
    let (row, below) =
        row.split_once('+').filter(|(_, n)| n.len() == 1).map_or((row, 0), |(row, n)| (row, n.parse().unwrap_or(0)));
    let page = page(file)?;
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
    let at = rows
        .iter()
        .position(|line| line.starts_with(&format!("| {row} | ")))
        .ok_or(format!("no row `{row}` in {file}"))?;
    let cell =
        rows.get(at + below).and_then(|line| line.trim_end_matches(" |").rsplit_once(" | ")).map(|(_, cell)| cell);
    cell.and_then(|cell| shown(cell, unit)).ok_or(format!("`{hole}` has no such number"))
}

fn page(file: &str) -> Result<String, String> {
    let name = if file.is_empty() { "benchmarks.md".into() } else { format!("benchmarks-{file}.md") };
    std::fs::read_to_string(root().join("docs").join(&name)).map_err(|e| format!("{name}: {e}"))
}

/// The machine and the day, or a peer, that a page names in
/// `Written by .. on MACHINE (2 threads), DAY, beside PEER 1.0, PEER 2.0.`.
fn measured(page: &str, peer: &str) -> Option<String> {
    let line = page.lines().find(|line| line.starts_with("Written by "))?;
    let (machine, rest) = line.split_once("` on ")?.1.split_once(" threads)")?;
    let (machine, _threads) = machine.rsplit_once(" (")?;
    if peer.is_empty() {
        let day = rest.strip_prefix(", ")?.get(..10)?;
        return Some(format!("{machine}, {day}"));
    }
    let peers = rest.split_once(", beside ").map(|(_, peers)| peers.split(". ").next().unwrap_or(peers));
    // A package may be called `transformer-lens`, or, with its maker, `eai-sparsify`.
    let bare = |name: &str| name.trim_start_matches("eai-").to_lowercase().replace(['-', '_'], "");
    let mut named = peers.into_iter().flat_map(|peers| peers.split(", ")).filter_map(|found| found.split_once(' '));
    let version = named.find(|(name, _)| bare(name) == bare(peer)).map(|(_, version)| version);
    Some(version.map_or(peer.into(), |version| format!("{peer} {version}")))
}

/// The first number of a cell, the one in brackets, or that of its ratio, as the tables show it.
fn shown(cell: &str, unit: &str) -> Option<String> {
    let after = |words: &str| cell.split_once(words).map(|(_, rest)| rest);
    let text = match unit {
        "times" | "times2" | "x" => after("ours is ").or_else(|| after("ours takes "))?,
        "inner" => after("(")?,
        _ => cell,
    };
    let digits: String = text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let number: f64 = digits.parse().ok()?;
    Some(match unit {
        "x" | "n" | "inner" => digits,
        "times" => format!("{number:.0}"),
        "times2" => grouped(two_digits(number)),
        "ms" if number < 100.0 => format!("{number} ms"),
        "ms" => format!("{} ms", grouped(number)),
        "s" if number < 10_000.0 => format!("{:.1} s", number / 1e3),
        "s" => format!("{} s", grouped(number / 1e3)),
        _ => return None,
    })
}

fn two_digits(number: f64) -> f64 {
    let scale = 10f64.powf(number.log10().floor() - 1.0);
    (number / scale).round() * scale
}

/// A whole number with a comma between thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let split = digits.len().saturating_sub(3);
    if split == 0 { digits } else { format!("{},{}", &digits[..split], &digits[split..]) }
}
