//! The drawing of a model from its config: which boxes there are, and which sites exist in each layer.

use super::parts::{Drawn, Input, Section, SegmentBuilder, SitesAt, Step};
use crate::model::config::{Activation, Config, Mixer, NormKind, Order};
use crate::model::site::SiteKind;

/// Lists the sections of a model: what is before all blocks, each distinct kind of block, what is behind them.
pub fn sections(config: &Config) -> Vec<Section> {
    let mut kinds: Vec<Section> = Vec::new();
    for layer in 0..config.layers {
        let steps = block(config, layer);
        match kinds.iter_mut().find(|kind| kind.steps == steps) {
            Some(kind) => kind.layers.push(layer),
            None => kinds.push(Section { title: String::new(), layers: vec![layer], steps }),
        }
    }
    let all: Vec<Vec<String>> =
        kinds.iter().map(|kind| traits(config, kind.layers.first().copied().unwrap_or_default())).collect();
    for (kind, own) in kinds.iter_mut().zip(&all) {
        // The first word is what mixes positions, and the others tell layers with the same apart.
        let is_telling = |other: &Vec<String>, word: &String| {
            !other.contains(word) && (own.first() == Some(word) || own.first() == other.first())
        };
        let telling = own.iter().filter(|word| all.iter().any(|other| is_telling(other, word)));
        let telling: Vec<&str> = telling.map(String::as_str).collect();
        let about = if telling.is_empty() { String::new() } else { format!(": {}", telling.join(", ")) };
        let name = if kind.layers.len() == 1 { "Layer" } else { "Layers" };
        kind.title = format!("{name} {}{about}", ranges(&kind.layers));
    }
    let first = Section { title: "Input".into(), layers: Vec::new(), steps: embedding(config) };
    let last = Section { title: "Output".into(), layers: Vec::new(), steps: output(config) };
    let mut sections = [vec![first], kinds, vec![last]].concat();
    let outside = SitesAt { config, layer: None };
    let unplaced = others(&outside.kinds().collect::<Vec<_>>(), outside, &sections);
    if let Some(last) = sections.last_mut() {
        last.steps.extend(unplaced);
    }
    sections
}

/// Returns steps for those of the kinds that none of the sections has.
fn others(kinds: &[SiteKind], at: SitesAt, sections: &[Section]) -> Vec<Step> {
    let placed: Vec<&str> = sections.iter().flat_map(Section::sites).map(|site| site.name).collect();
    let unplaced = kinds.iter().filter(|kind| !placed.contains(&kind.name()));
    let said = |kind: SiteKind| kind.meaning().split(": [").next().unwrap_or_default();
    unplaced.map(|kind| Step::Other { site: at.label(*kind), meaning: said(*kind) }).collect()
}

/// Writes ascending numbers as ranges: `0-2, 4`.
fn ranges(layers: &[usize]) -> String {
    let mut runs: Vec<[usize; 2]> = Vec::new();
    for layer in layers {
        match runs.last_mut() {
            Some(run) if run[1] + 1 == *layer => run[1] = *layer,
            _ => runs.push([*layer, *layer]),
        }
    }
    let written = |[first, last]: [usize; 2]| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}-{last}"),
    };
    runs.into_iter().map(written).collect::<Vec<_>>().join(", ")
}

/// Lists in words what may tell one layer from another.
fn traits(config: &Config, layer: usize) -> Vec<String> {
    let mixer = match config.mixer_of(layer) {
        Mixer::Attention => "attention",
        Mixer::Delta => "delta net",
        Mixer::StateSpace => "state space",
        Mixer::TimeMixing => "time mixing",
    };
    let mut found = vec![mixer.to_string()];
    if config.attends(layer) {
        found.push(config.window(layer).map_or("no window".into(), |window| format!("window of {window}")));
        found.push(format!("heads of {}", config.d_head_of(layer)));
        found.push(if config.unrotated.contains(&layer) { "no rotation" } else { "rotation" }.into());
        found.extend(config.keys_from(layer).map(|from| format!("keys of layer {from}")));
    }
    found.push(if config.experts_of(layer).is_some() { "experts" } else { "no experts" }.into());
    found.push(format!("MLP of {}", config.d_mlp_of(layer)));
    found
}

fn embedding(config: &Config) -> Vec<Step> {
    let mut made = SegmentBuilder::new(SitesAt { config, layer: None });
    let tokens = Drawn::new("token embedding", 0..=0)
        .detail(format!("{} tokens to {}", config.vocab, config.d_model))
        .details(config.embed_norm.then(|| norm_name(config)))
        .details(config.token_types.map(|_| "+ the first type's vector".to_string()))
        .details(config.embed_scale.map(|scale| format!("× {}", short(scale))))
        .behind("embed");
    let tokens = made.add(tokens);
    made.add_to_stream(tokens);
    if made.has("pos_embed") {
        let positions =
            Drawn::new("position embedding", 1..=1).detail(format!("{} positions", config.context)).behind("pos_embed");
        let positions = made.add(positions);
        made.add_to_stream(positions);
    }
    let mut steps = vec![made.finished()];
    if config.stream_norm {
        steps.push(Step::Stream { name: norm_name(config), inside: Vec::new(), sites: Vec::new() });
    }
    steps
}

fn output(config: &Config) -> Vec<Step> {
    let mut made = SegmentBuilder::new(SitesAt { config, layer: None });
    let mut read = Input::Stream;
    if let Some(transform) = &config.transform {
        let name = if transform.norm { norm_name(config) } else { String::new() };
        let passed = made.add(Drawn::new(name, 0..=1).behind("transform_in").reads(&[read]));
        let map = Drawn::new("map", 0..=1)
            .detail(format!("{0} to {0}", config.d_model))
            .detail(activation_name(transform.act));
        read = made.add(map.behind("transform_out").reads(&[passed]));
    }
    let name = if made.has("final_norm_scale") { norm_name(config) } else { String::new() };
    read = made.add(Drawn::new(name, 0..=1).inside("final_norm_scale").behind("final_norm").reads(&[read]));
    if made.has("logits") {
        let unembedding = Drawn::new("unembedding", 0..=1)
            .detail(format!("{} to {} logits", config.d_model, config.outputs()))
            .details(config.tied.then(|| "the matrix of the embedding".to_string()))
            .details(config.logit_scale.map(|scale| format!("× {}", short(scale))))
            .details(config.logit_cap.map(|cap| format!("cap of {}", short(cap))))
            .behind("logits")
            .reads(&[read]);
        made.add(unembedding);
    }
    vec![made.finished()]
}

/// Lists the steps of a block.
fn block(config: &Config, layer: usize) -> Vec<Step> {
    let at = SitesAt { config, layer: Some(layer) };
    let stream =
        |site: &'static str| Step::Stream { name: String::new(), inside: Vec::new(), sites: at.labels(&[site]) };
    let mut steps = vec![stream("resid_pre")];
    let mut made = SegmentBuilder::new(at);
    let width = made.mixer_width(layer);
    match config.order {
        Order::Serial => {
            let read = made.norm(0..=width - 1, "norm_scale", "attn_in");
            made.mixer(layer, 0, read);
            steps.push(made.finished());
            steps.extend(on_stream(at, "resid_mid_scale", &["resid_mid"], None));
            if config.has_mlp() {
                let mut made = SegmentBuilder::new(at);
                let width = made.mlp_width(layer);
                let own = made.own_mlp_width(layer);
                let read = made.norm(0..=own - 1, "mlp_norm_scale", "mlp_in");
                made.mlp(layer, 0..=width - 1, read);
                steps.push(made.finished());
            }
        }
        Order::Parallel => {
            let read = made.norm(0..=width - 1, "norm_scale", "attn_in");
            made.mixer(layer, 0, read);
            if config.has_mlp() {
                let last = width + made.mlp_width(layer) - 1;
                let own = width + made.own_mlp_width(layer) - 1;
                let read = made.norm(width..=own, "mlp_norm_scale", "mlp_in");
                made.mlp(layer, width..=last, read);
            }
            steps.push(made.finished());
        }
        Order::ParallelShared => {
            let beside = if config.has_mlp() { made.mlp_width(layer) } else { 0 };
            let last = width + beside - 1;
            let name = if made.has("norm_scale") { norm_name(config) } else { String::new() };
            let normed = made.add(Drawn::new(name, 0..=last).inside("norm_scale").reads(&[Input::Stream]));
            let read = made.add(Drawn::new("", 0..=width - 1).behind("attn_in").reads(&[normed]));
            made.mixer(layer, 0, read);
            if config.has_mlp() {
                let read = made.add(Drawn::new("", width..=last).behind("mlp_in").reads(&[normed]));
                made.mlp(layer, width..=last, read);
            }
            steps.push(made.finished());
        }
    }
    let mut made = SegmentBuilder::new(at);
    if made.has("layer_input") {
        made.layer_input();
        steps.push(made.finished());
    }
    let scale = config.layer_scale.then_some("× a weight");
    steps.extend(on_stream(at, "resid_post_scale", &["resid_post"], scale));
    let own = Section { title: String::new(), layers: Vec::new(), steps: steps.clone() };
    let unplaced = others(&at.kinds().collect::<Vec<_>>(), at, &[own]);
    let before_last = steps.len() - 1;
    steps.splice(before_last..before_last, unplaced);
    steps
}

/// Returns the step of sites of the stream behind a norm or factor of its own, where there is one.
fn on_stream(at: SitesAt, scale: &'static str, sites: &[&'static str], factor: Option<&str>) -> Option<Step> {
    let inside = at.labels(&[scale]);
    let norm = (!inside.is_empty()).then(|| norm_name(at.config));
    let name = norm.or(factor.map(String::from)).unwrap_or_default();
    let sites = at.labels(sites);
    (!name.is_empty() || !sites.is_empty()).then_some(Step::Stream { name, inside, sites })
}

/// Returns the name of the norms of a model.
pub fn norm_name(config: &Config) -> String {
    match config.norm {
        Some(NormKind::Layer) => "layer norm",
        Some(NormKind::Rms) => "RMS norm",
        None => "no norm",
    }
    .into()
}

pub fn activation_name(act: Activation) -> &'static str {
    match act {
        Activation::Relu => "ReLU",
        Activation::Gelu => "GELU",
        Activation::GeluTanh => "GELU (tanh)",
        Activation::Silu => "SiLU",
        Activation::SquaredRelu => "squared ReLU",
    }
}

/// Writes a number with up to four digits.
pub fn short(value: f64) -> String {
    let written = crate::report::number::digits(value, 4);
    if written.contains('.') && !written.contains('e') {
        written.trim_end_matches('0').trim_end_matches('.').into()
    } else {
        written
    }
}
