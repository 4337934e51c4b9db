//! AtP* of edges against its plain definition: patterns of whole runs with hooks, and gradients at patterns.

use crate::base::Task;
use crate::circuit::compiled::{CompiledPairOptions, compiled};
use crate::circuit::edges::texts::outputs;
use crate::circuit::edges::wiring::{Receiver, Wiring};
use crate::circuit::edges::*;
use crate::circuit::faithfulness::roc;
use crate::circuit::{Graph, Port};
use crate::fixtures::{config, decoder};
use crate::intervene::fixtures::{model, pairs};
use crate::intervene::grid::dropping;
use crate::intervene::metric::MetricPlan;
use crate::model::config::{Config, Order};
use crate::model::decoder::{Decoder, TextColumns};
use crate::model::hooks::{Action, BoundHook, PatchSource};
use crate::model::run::{Ask, PassEnd};
use crate::model::site::{Place, Site, SiteKind};
use crate::tensor::{DType, Tensor, floats};

fn scored(model: &Model, pairs: &[TokenPair], method: EdgeMethod, ablation: EdgeAblation) -> Graph {
    let options = EdgeOptions { method, ablation, ..EdgeOptions::default() };
    edges(model, pairs, Measure::LogitDiff, false, &options, &Task::default()).unwrap()
}

fn at(kind: SiteKind, layer: usize) -> Place {
    Place { site: Site::new(kind, layer), head: None }
}

/// A plain run of one pair.
struct PlainRun<'a> {
    /// The model with a key and value for each query head.
    decoder: &'a Decoder,
    plan: &'a MetricPlan<'a>,
    task: Task,
}

impl PlainRun<'_> {
    fn hook(&self, place: Place, action: Action) -> BoundHook<'static> {
        BoundHook::new(self.decoder.config(), &place.to_string(), None, None, Box::new(action.begin())).unwrap()
    }

    fn recorded(&self, place: Place, hooks: Vec<BoundHook>) -> Tensor {
        let ask = Ask { places: vec![place], hooks, ..Ask::default() };
        self.decoder.cache(self.plan.batch(), ask, &self.task).unwrap().at(place).unwrap()
    }

    /// Returns the gradients at a site without those through what each other layer writes in turn.
    fn gradients(&self, place: Place, is_dropped: impl Fn(usize) -> bool) -> Vec<Tensor> {
        let config = self.decoder.config();
        let mut metric = |end: &PassEnd| Ok(self.plan.values(self.decoder, end, &self.task)?.sum_all()?);
        let one = |layer: usize| {
            let hooks = dropping(config, layer).unwrap();
            let points = self.plan.points();
            let found = self.decoder.grads_of_end(self.plan.batch(), hooks, &[place], points, &mut metric, &self.task);
            found.unwrap().cache.at(place).unwrap()
        };
        (0..config.layers).filter(|layer| is_dropped(*layer)).map(one).collect()
    }

    /// Returns a head's pattern when its queries or keys have the values that a change of the residual stream gives
    /// them.
    fn pattern(&self, (layer, head, port): (usize, usize, Port), shift: &Tensor) -> Tensor {
        let kind = if port == Port::Q { SiteKind::Q } else { SiteKind::K };
        let add = Action::Add { vector: shift.clone(), scale: 1.0 };
        let cut = self.recorded(at(kind, layer), vec![self.hook(at(SiteKind::ResidPre, layer), add)]);
        let cut = cut.narrow(2, head, 1).unwrap().squeeze(2).unwrap().contiguous().unwrap();
        let place = Place { head: Some(head), ..at(kind, layer) };
        let hook = self.hook(place, Action::Patch(PatchSource::Tensor(cut)));
        let pattern = |hooks| self.recorded(at(SiteKind::Pattern, layer), hooks).narrow(1, head, 1).unwrap();
        (pattern(vec![hook]) - pattern(Vec::new())).unwrap()
    }

    /// Computes the slope of what a receiver reads along a change of its residual stream.
    fn slope(&self, layer: usize, reader: SiteKind, stream: SiteKind, shift: &Tensor) -> Tensor {
        let x = self.recorded(at(stream, layer), Vec::new());
        let read = |by: f64| self.decoder.input_of(reader, layer, &(&x + (shift * by).unwrap()).unwrap()).unwrap();
        ((read(5e-3) - read(-5e-3)).unwrap() * 100.0).unwrap()
    }
}

fn mean_size(change: &Tensor, gradients: &[Tensor]) -> f64 {
    let each = gradients.iter().map(|gradient| floats(&(change * gradient).unwrap().sum_all().unwrap()).unwrap()[0]);
    each.map(f64::abs).sum::<f64>() / gradients.len() as f64
}

#[test]
fn sizes_are_those_of_patterns_computed_again_and_gradients_dropped_layer_by_layer() {
    for order in [Order::Serial, Order::Parallel] {
        let config = Config { layers: 3, order, score_scale: 2.0, ..config() };
        let model = model(decoder(config.clone(), DType::F32));
        let apart = model.decoder.ungrouped().unwrap();
        let wiring = Wiring::new(&config).unwrap();
        let task = Task::default();
        for pair in pairs() {
            let one = [pair];
            let graph = scored(&model, &one, EdgeMethod::AtpStar, EdgeAblation::Corrupt);
            let plan = |which| MetricPlan::new(Measure::LogitDiff, &apart, &one, which, &[0], &task).unwrap();
            let clean = plan(Prompt::Clean);
            let corrupt = plan(Prompt::Corrupt);
            let written = |plan: &MetricPlan| outputs(&apart, &wiring, plan, &task).unwrap().0;
            let shifts = (written(&corrupt) - written(&clean)).unwrap();
            let plain = PlainRun { decoder: &apart, plan: &clean, task: Task::default() };
            let mut compared = 0;
            for edge in (0..wiring.edges()).step_by(3) {
                let (sender, receiver) = wiring.ends(edge);
                let shift = shifts.get(sender).unwrap();
                let expected = match wiring.receivers[receiver] {
                    Receiver::Port { layer, head, port: port @ (Port::Q | Port::K) } => {
                        let gradients = plain.gradients(at(SiteKind::Pattern, layer), |dropped| dropped != layer);
                        let own: Vec<Tensor> =
                            gradients.iter().map(|gradient| gradient.narrow(1, head, 1).unwrap()).collect();
                        mean_size(&plain.pattern((layer, head, port), &shift), &own)
                    }
                    Receiver::Port { layer, head, port: Port::V } => {
                        let slope = plain.slope(layer, SiteKind::AttnIn, SiteKind::ResidPre, &shift);
                        let value =
                            |x: &Tensor| apart.port(SiteKind::V, layer, &[head], x, TextColumns::default(), &task);
                        let none = value(&slope.zeros_like().unwrap()).unwrap();
                        let change = (value(&slope).unwrap() - none).unwrap();
                        let gradients = plain.gradients(at(SiteKind::V, layer), |dropped| dropped != layer);
                        let own: Vec<Tensor> =
                            gradients.iter().map(|gradient| gradient.narrow(2, head, 1).unwrap()).collect();
                        mean_size(&change, &own)
                    }
                    Receiver::Mlp { layer } => {
                        let stream = if wiring.is_serial { SiteKind::ResidMid } else { SiteKind::ResidPre };
                        let slope = plain.slope(layer, SiteKind::MlpIn, stream, &shift);
                        mean_size(&slope, &plain.gradients(at(SiteKind::MlpIn, layer), |dropped| dropped != layer))
                    }
                    Receiver::Logits => mean_size(&shift, &plain.gradients(at(SiteKind::ResidPost, 2), |_| true)),
                };
                let found = graph.edges[edge].effect;
                let near = 1e-4 + 2e-3 * expected.abs();
                let name = graph.edge_name(&graph.edges[edge]);
                assert!((found - expected).abs() < near, "{name}: {found} for {expected}, {order:?}");
                compared += usize::from(expected > 1e-3);
            }
            assert!(compared > 10, "{compared}");
        }
    }
}

#[test]
fn where_only_a_softmax_is_not_linear_sizes_are_exact() {
    let config = Config { norm: None, d_mlp: 0, layers: 1, score_scale: 3.0, ..config() };
    let model = model(decoder(config, DType::F32));
    let pair = &pairs()[..1];
    let exact = scored(&model, pair, EdgeMethod::Exact, EdgeAblation::Corrupt).edges;
    let of = |method| scored(&model, pair, method, EdgeAblation::Corrupt).edges;
    let far = |method| -> f64 {
        let each = of(method).into_iter().zip(&exact).map(|(found, exact)| found.effect.abs() - exact.effect.abs());
        each.fold(0.0, |far, one| one.abs().max(far))
    };
    assert!(far(EdgeMethod::AtpStar) < 1e-4, "{}", far(EdgeMethod::AtpStar));
    assert!(far(EdgeMethod::Eap) > 1e-2, "{}", far(EdgeMethod::Eap));
}

#[test]
fn sizes_rank_the_edges_of_known_circuits() {
    let task = Task::default();
    for name in ["reverse", "sort", "induction", "indirect object"] {
        let known = compiled(name).unwrap();
        let pairs = known.pairs(6, &CompiledPairOptions::default(), &task).unwrap();
        let tokenizer = known.model.tokenizer().unwrap();
        let pairs: Vec<TokenPair> =
            pairs.iter().map(|pair| TokenPair::of("", pair, tokenizer, &task).unwrap()).collect();
        let found = scored(&known.model, &pairs, EdgeMethod::AtpStar, EdgeAblation::Zero);
        let auc = roc(&found, &known.truth, found.edges.len()).unwrap().auc;
        // .875, .667, .900 and .812: in two layers the one pass that counts drops what acts through the other layer.
        assert!(auc > 0.6, "{name}: {auc}");
    }
}
