//! Tests of path patching against whole runs with one hook for each frozen output, and against whole patches where the
//! paths are the only connections.

use super::*;
use crate::fixtures::{config, configs, decoder};
use crate::intervene::fixtures::{model, pairs};
use crate::intervene::grid::{GridBy, GridOptions, grid};
use crate::model::hooks::{Action, BoundHook, PatchSource};

fn options(senders: &[&str], receivers: &[&[&str]], mlps: PathMlps) -> PathOptions {
    PathOptions {
        senders: Some(senders.iter().map(|name| name.to_string()).collect()),
        receivers: receivers.iter().map(|names| names.iter().map(|name| name.to_string()).collect()).collect(),
        mlps,
        ..PathOptions::default()
    }
}

fn found(model: &Model, measure: Measure, options: &PathOptions) -> Grid {
    paths(model, &pairs(), measure, false, options, &Task::default()).unwrap()
}

/// The two passes as whole runs of one pair, with a hook for each site.
struct PlainPasses<'a> {
    model: &'a Decoder,
    run: Batch,
    own: std::sync::Arc<crate::model::cache::Cache>,
    other: std::sync::Arc<crate::model::cache::Cache>,
}

impl<'a> PlainPasses<'a> {
    fn new(model: &'a Decoder, pair: &TokenPair) -> Self {
        let cached = |ids: &Vec<u32>| {
            let places = Site::all(model.config()).into_iter().map(|site| Place { site, head: None }).collect();
            let batch = Batch::new(vec![ids.clone()]).unwrap();
            std::sync::Arc::new(model.cache(&batch, Ask { places, ..Ask::default() }, &Task::default()).unwrap())
        };
        let run = Batch::new(vec![pair.corrupt.clone()]).unwrap();
        Self { model, run, own: cached(&pair.corrupt), other: cached(&pair.clean) }
    }

    fn hook(&self, name: &str, cache: &std::sync::Arc<crate::model::cache::Cache>) -> BoundHook<'static> {
        let action = Action::Patch(PatchSource::Cache(cache.clone())).begin();
        BoundHook::new(self.model.config(), name, None, None, Box::new(action)).unwrap()
    }

    /// Returns the logits after the last token.
    fn effect(&self, sender: &str, receivers: &[&str], mlps: PathMlps) -> Tensor {
        let config = self.model.config();
        let of = select(config, sender).unwrap()[0];
        let mut hooks = vec![self.hook(sender, &self.other)];
        for site in written(config) {
            let is_own_layer = of.site.kind == SiteKind::Z && site == Site::new(SiteKind::AttnOut, of.site.layer);
            let is_of_mlps = matches!(site.kind, SiteKind::MlpOut | SiteKind::LayerOut);
            let is_recomputed = mlps == PathMlps::Recomputed && is_of_mlps;
            if site > of.site && !is_own_layer && !is_recomputed {
                hooks.push(self.hook(&site.to_string(), &self.own));
            }
        }
        let places = Site::all(config).into_iter().map(|site| Place { site, head: None }).collect();
        let first = self.model.cache(&self.run, Ask { hooks, places, positions: None }, &Task::default()).unwrap();
        let first = std::sync::Arc::new(first);
        if receivers == ["logits"] {
            return first.get("logits").unwrap();
        }
        let hooks = receivers.iter().filter(|name| **name != "logits").map(|name| self.hook(name, &first));
        let mut hooks: Vec<BoundHook> = hooks.collect();
        if receivers.contains(&"logits") {
            let last = Place { site: last_stream(config), head: None };
            let vector = (first.at(last).unwrap() - self.own.at(last).unwrap()).unwrap();
            let action = Action::Add { vector, scale: 1.0 }.begin();
            hooks.push(BoundHook::new(config, &last.to_string(), None, None, Box::new(action)).unwrap());
        }
        self.model.logits(&self.run, hooks, &Task::default()).unwrap()
    }
}

/// Returns whether paths are patched in models of this config.
fn has_paths(config: &Config) -> bool {
    !config.stream_norm && config.rwkv.is_none()
}

#[test]
fn paths_are_those_of_plain_hooks_in_every_shape_of_model() {
    for config in configs().into_iter().filter(has_paths) {
        let model = model(decoder(config.clone(), DType::F32));
        let pairs = &pairs()[..1];
        let plain = PlainPasses::new(&model.decoder, &pairs[0]);
        // The logit of a token after the prompt.
        let read = |number: usize, logits: &Tensor| {
            assert_eq!(number, 0);
            Ok(logits.get(2)?)
        };
        let before =
            floats(&plain.own.get("logits").unwrap().get(0).unwrap().get(3).unwrap().get(2).unwrap()).unwrap()[0];
        let mut senders = vec!["embed", "attn_out.0"];
        if config.attends(0) {
            senders.extend(["z.0.1", "z.0.3"]);
        }
        let mut receivers: Vec<&[&str]> = vec![&["q.1.2"], &["attn_in.1"], &["logits"]];
        if config.keys_from(1).is_none() {
            receivers.extend([["k.1.0"].as_slice(), &["v.1.0"], &["q.1.0", "v.1.0"]]);
        }
        if config.layer_inputs.is_some() {
            senders.push("layer_out.0");
        }
        if config.has_mlp() {
            senders.extend(["mlp_out.0", "z.1.0"]);
            receivers.extend([["mlp_in.1"].as_slice(), &["mlp_in.0"], &["mlp_in.1", "logits"]]);
        }
        for mlps in [PathMlps::Frozen, PathMlps::Recomputed] {
            let grid =
                paths(&model, pairs, Measure::Of(&read), false, &options(&senders, &receivers, mlps), &Task::default());
            let grid = grid.unwrap();
            for (row, sender) in grid.rows.iter().enumerate() {
                for (column, names) in receivers.iter().enumerate() {
                    let value = grid.values[row * receivers.len() + column];
                    let from = select(&config, sender).unwrap()[0].site;
                    let is_path =
                        names.iter().any(|name| reaches(&config, from, select(&config, name).unwrap()[0].site));
                    assert_eq!(value.is_nan(), !is_path, "{sender} to {names:?}");
                    if is_path {
                        let logits = plain.effect(sender, names, mlps);
                        let expected =
                            floats(&logits.get(0).unwrap().get(3).unwrap().get(2).unwrap()).unwrap()[0] - before;
                        let far = (value - expected).abs();
                        assert!(
                            far < 1e-4 * (1.0 + expected.abs()),
                            "{sender} to {names:?}: {value} and {expected} in {config:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn all_paths_together_are_the_whole_patch() {
    // In two layers of attention alone, a head of the first reaches the logits directly or through the second.
    let heads = |layers: usize, d_mlp: usize| Config { layers, d_mlp, windows: Vec::new(), ..config() };
    let all: &[&str] = &["q.1", "k.1", "v.1", "logits"];
    let cases = [
        (heads(2, 0), "z.0.*", all),
        (heads(1, 24), "z.0.*", &["mlp_in.0", "logits"]),
        (heads(1, 24), "mlp_out.0", &["logits"]),
    ];
    for (config, senders, receivers) in cases {
        let model = model(decoder(config, DType::F32));
        for measure in [Measure::LogitDiff, Measure::Loss] {
            let paths = found(&model, measure, &options(&[senders], &[receivers], PathMlps::Frozen));
            let (by, site) = if senders.starts_with('z') { (GridBy::Head, "z.0") } else { (GridBy::Layer, senders) };
            let options = GridOptions { by, sites: Some(vec![site.into()]), ..GridOptions::default() };
            let whole = grid(&model, &pairs(), measure, false, &[], &options, &Task::default()).unwrap();
            assert_eq!(paths.values.len(), whole.values.len());
            for (a, b) in paths.values.iter().zip(&whole.values) {
                assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{senders}: {a} and {b}");
            }
        }
    }
}

#[test]
fn a_model_that_runs_as_a_whole_has_the_same_paths() {
    for config in configs().into_iter().filter(has_paths) {
        let receivers: &[&[&str]] = &[&["q.1.*"], &["logits"]];
        let heads = if config.attends(0) { "z.0.*" } else { "attn_out.0" };
        let options = options(&["embed", heads], receivers, PathMlps::Frozen);
        let model = model(decoder(config, DType::F32));
        let nothing = crate::model::hooks::KeptHook::new("nothing".into(), vec![], || Ok(vec![]));
        let fast = found(&model, Measure::LogitDiff, &options);
        let plain = found(&model.keeping(vec![nothing]), Measure::LogitDiff, &options);
        for (a, b) in fast.values.iter().zip(&plain.values) {
            assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} and {b}");
        }
    }
}

#[test]
fn what_is_no_sender_or_receiver_is_named() {
    let model = model(decoder(config(), DType::F32));
    let refused = |senders: &[&str], receivers: &[&[&str]]| {
        let options = options(senders, receivers, PathMlps::Frozen);
        paths(&model, &pairs(), Measure::LogitDiff, false, &options, &Task::default()).unwrap_err().message
    };
    assert_eq!(refused(&["q.0.1"], &[&["logits"]]), "expected senders that write into the stream, found `q.0.1`");
    assert_eq!(refused(&["z.0.1"], &[&["z.1.1"]]), "expected receivers that read the stream, found `z.1.1`");
    assert_eq!(refused(&[], &[&["logits"]]), "expected at least one sender, found none");
    assert_eq!(refused(&["z.0.1"], &[]), "expected at least one receiver, found none");
    assert_eq!(refused(&["z.0.1"], &[&[]]), "expected at least one receiver, found none");
}
