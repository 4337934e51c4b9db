//! Tests of compiled models: right on all prompts, and true edges by a run that is written out here.

use super::*;
use crate::circuit::edges::acdc::{AcdcOptions, acdc};
use crate::circuit::edges::{EdgeAblation, Wiring};
use crate::circuit::faithfulness::{compare, roc};
use crate::data::pairs::tokens::{Prompt, TokenPair};
use crate::intervene::metric::Measure;
use crate::model::hooks::NoHooks;
use crate::model::weights::{Block, Linear};

fn models() -> Vec<CompiledModel> {
    all().map(|name| compiled(name).unwrap()).collect()
}

#[test]
fn every_prompt_is_answered_rightly() {
    for CompiledModel { algorithm, model, .. } in models() {
        let prompts = (algorithm.prompts)();
        assert!(prompts.len() >= 60, "{}", algorithm.name);
        for part in prompts.chunks(1024) {
            let task = Task::default();
            let pass = Pass { hooks: &mut NoHooks, past: None, logits: Logits::Last, task: &task };
            let logits = model.decoder.forward(&Batch::new(part.to_vec()).unwrap(), pass).unwrap().unwrap();
            let logits: Vec<Vec<f32>> = logits.squeeze(1).unwrap().to_vec2().unwrap();
            for (prompt, logits) in part.iter().zip(&logits) {
                let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
                assert_eq!(best as u32, (algorithm.answer)(prompt), "{} {prompt:?}", algorithm.name);
                let next =
                    logits.iter().enumerate().filter(|(id, _)| *id != best).map(|(_, x)| *x).fold(f32::MIN, f32::max);
                assert!(logits[best] - next > 1.9, "{} {prompt:?}: {logits:?}", algorithm.name);
            }
        }
    }
}

#[test]
fn answers_are_those_of_the_algorithms_descriptions() {
    for (name, prompt, answer) in [
        ("reverse", "a b c > c b", "a"),
        ("histogram", "^ a b a", "2"),
        ("sort", "c a b a d > a a", "b"),
        ("parity of brackets", "^ ( ( ) )", "yes"),
        ("parity of brackets", "^ ) (", "no"),
        ("induction", "^ a b c a", "b"),
        ("induction", "^ a b c", "?"),
        ("most frequent", "b a c b", "b"),
        ("most frequent", "b a", "a"),
        ("distinct", "a b a c", "3"),
        ("pattern", "c a b", "yes"),
        ("pattern", "b a c", "no"),
        ("indirect object", "Ann Bob Ann to", "Bob"),
    ] {
        let CompiledModel { algorithm, .. } = compiled(name).unwrap();
        let id = |word: &str| algorithm.tokens.iter().position(|token| *token == word).unwrap() as u32;
        let prompt: Vec<u32> = prompt.split(' ').map(id).collect();
        assert_eq!(algorithm.token((algorithm.answer)(&prompt)), answer, "{name}");
        assert!((algorithm.prompts)().contains(&prompt), "{name}");
    }
}

type DenseRows = Vec<Vec<f64>>;

fn rows(t: &Tensor) -> DenseRows {
    t.to_dtype(DType::F64).unwrap().to_vec2().unwrap()
}

fn sum(a: &DenseRows, b: &DenseRows) -> DenseRows {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect()
}

/// A map, as rows of weights, and its bias.
struct Map(DenseRows, Vec<f64>);

impl Map {
    fn of(map: &Linear) -> Self {
        let bias = map.bias.as_ref().map(|bias| rows(&bias.unsqueeze(0).unwrap()).remove(0));
        Self(rows(&map.weight.tensor().unwrap()), bias.unwrap_or_else(|| vec![0.0; map.weight.dims()[0]]))
    }

    fn applied(&self, x: &DenseRows) -> DenseRows {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        x.iter().map(|x| self.0.iter().zip(&self.1).map(|(row, bias)| dot(row, x) + bias).collect()).collect()
    }
}

/// A model that is computed head by head, in f64.
struct PlainModel {
    heads: usize,
    size: usize,
    positions: DenseRows,
    embed: DenseRows,
    /// Queries, keys, values, what heads write, and the two maps of the MLP.
    blocks: Vec<[Map; 6]>,
    unembed: Map,
}

impl PlainModel {
    fn new(model: &Model) -> Self {
        let config = model.decoder.config();
        let weights = model.decoder.weights();
        let block = |block: &Block| {
            let attn = block.attention().unwrap();
            let mlp = block.mlp.as_ref().unwrap();
            let k = attn.keys().unwrap();
            let v = attn.values().unwrap();
            [&attn.q, k, v, &attn.o, &mlp.up, &mlp.down].map(Map::of)
        };
        Self {
            heads: config.heads,
            size: config.d_head,
            positions: rows(weights.pos_embed.as_ref().unwrap()),
            embed: rows(&weights.embed.tensor().unwrap()),
            blocks: weights.blocks.iter().map(block).collect(),
            unembed: Map::of(&weights.unembed),
        }
    }

    /// Returns the logits after a prompt, where no receiver reads a sender that is cut from it.
    fn run(&self, prompt: &[u32], cut: &dyn Fn(&str, &str, Option<Port>) -> bool) -> Vec<f64> {
        let positions = self.positions[..prompt.len()].to_vec();
        let mut senders: Vec<(String, DenseRows)> =
            vec![("embed".into(), prompt.iter().map(|id| self.embed[*id as usize].clone()).collect())];
        let read = |senders: &[(String, DenseRows)], to: &str, port| {
            let kept = senders.iter().filter(|(from, _)| !cut(from, to, port));
            kept.fold(positions.clone(), |all, (_, written)| sum(&all, written))
        };
        for (layer, [q, k, v, o, up, down]) in self.blocks.iter().enumerate() {
            let mut written = Vec::new();
            for head in 0..self.heads {
                let name = format!("z.{layer}.{head}");
                let part = |x: &Vec<f64>| x[head * self.size..(head + 1) * self.size].to_vec();
                let of = |port, map: &Map| -> DenseRows {
                    map.applied(&read(&senders, &name, Some(port))).iter().map(part).collect()
                };
                let mixed = self.mixed(head, [of(Port::Q, q), of(Port::K, k), of(Port::V, v)]);
                written.push((name, o.applied(&mixed)));
            }
            senders.extend(written);
            let name = format!("mlp_out.{layer}");
            let mut hidden = up.applied(&read(&senders, &name, None));
            hidden.iter_mut().flatten().for_each(|x| *x = x.max(0.0));
            senders.push((name, down.applied(&hidden)));
        }
        self.unembed.applied(&read(&senders, "logits", None)).pop().unwrap()
    }

    /// Returns the output of a head from its queries, keys and values, among zeros for the other heads.
    fn mixed(&self, head: usize, [q, k, v]: [DenseRows; 3]) -> DenseRows {
        let row = |at: usize| {
            let score = |to: usize| q[at].iter().zip(&k[to]).map(|(q, k)| q * k).sum::<f64>();
            let scores: Vec<f64> = (0..=at).map(score).collect();
            let most = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
            let all: f64 = weights.iter().sum();
            let value = |i: usize| weights.iter().zip(&v).map(|(w, v)| w / all * v[i]).sum::<f64>();
            let before = head * self.size;
            let behind = (self.heads - 1 - head) * self.size;
            [vec![0.0; before], (0..self.size).map(value).collect(), vec![0.0; behind]].concat()
        };
        (0..q.len()).map(row).collect()
    }
}

/// Returns every edge of a model.
fn edges(model: &Model) -> Vec<(String, String, Option<Port>)> {
    let config = model.decoder.config();
    let mut senders = vec!["embed".to_string()];
    let mut found = Vec::new();
    let mut into = |senders: &[String], to: &str, ports: &[Option<Port>]| {
        for from in senders {
            found.extend(ports.iter().map(|port| (from.clone(), to.to_string(), *port)));
        }
    };
    for layer in 0..config.layers {
        let heads: Vec<String> = (0..config.heads).map(|head| format!("z.{layer}.{head}")).collect();
        heads.iter().for_each(|head| into(&senders, head, &[Some(Port::Q), Some(Port::K), Some(Port::V)]));
        senders.extend(heads);
        into(&senders, &format!("mlp_out.{layer}"), &[None]);
        senders.push(format!("mlp_out.{layer}"));
    }
    into(&senders, "logits", &[None]);
    found
}

fn divergence(clean: &[f64], cut: &[f64]) -> f64 {
    let logs = |x: &[f64]| {
        let most = x.iter().copied().fold(f64::MIN, f64::max);
        let all = x.iter().map(|x| (x - most).exp()).sum::<f64>().ln() + most;
        x.iter().map(|x| x - all).collect::<Vec<_>>()
    };
    logs(clean).iter().zip(logs(cut)).map(|(p, q)| p.exp() * (p - q)).sum()
}

#[test]
fn cutting_a_true_edge_changes_the_output_and_cutting_others_does_not() {
    for one in models() {
        let name = one.algorithm.name;
        let task = Task::default();
        let pairs = one.pairs(20, &CompiledPairOptions::default(), &task).unwrap();
        let tokenizer = one.model.tokenizer().unwrap();
        let prompts: Vec<Vec<u32>> =
            pairs.iter().map(|pair| tokenizer.encode(&pair.clean, None, &task).unwrap().ids).collect();
        let plain = PlainModel::new(&one.model);
        let whole: Vec<Vec<f64>> = prompts.iter().map(|prompt| plain.run(prompt, &|_, _, _| false)).collect();
        let truth: BTreeSet<(String, String, Option<Port>)> = one
            .truth
            .edges
            .iter()
            .map(|edge| (one.truth.nodes[edge.from].name(), one.truth.nodes[edge.to].name(), edge.port))
            .collect();
        let all = edges(&one.model);
        assert!(truth.iter().all(|edge| all.contains(edge)) && truth.len() == one.truth.edges.len(), "{name}");
        for (from, to, port) in all {
            let cut = |a: &str, b: &str, at: Option<Port>| (a, b, at) == (&from, &to, port);
            let effects = prompts.iter().zip(&whole).map(|(prompt, whole)| divergence(whole, &plain.run(prompt, &cut)));
            let mean = effects.sum::<f64>() / prompts.len() as f64;
            if truth.contains(&(from.clone(), to.clone(), port)) {
                assert!(mean > 0.05, "{name}: {from} to {to} {port:?} is in the truth, and its effect is {mean}")
            } else {
                assert!(mean.abs() < 1e-12, "{name}: {from} to {to} {port:?} has an effect of {mean}")
            }
        }
        // Without everything else the output stays as it is, and the run that is written out here is the model's.
        let others = |a: &str, b: &str, port: Option<Port>| !truth.contains(&(a.to_string(), b.to_string(), port));
        for (prompt, whole) in prompts.iter().zip(&whole) {
            let circuit = plain.run(prompt, &others);
            assert!(circuit.iter().zip(whole).all(|(a, b)| (a - b).abs() < 1e-9), "{name}");
            let pass = Pass { hooks: &mut NoHooks, past: None, logits: Logits::Last, task: &task };
            let logits = one.model.decoder.forward(&Batch::new(vec![prompt.clone()]).unwrap(), pass).unwrap().unwrap();
            let logits: Vec<f32> = logits.flatten_all().unwrap().to_vec1().unwrap();
            assert!(
                logits.iter().zip(whole).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-2),
                "{name}: {logits:?}, {whole:?}"
            );
        }
    }
}

#[test]
fn acdc_with_zero_ablation_finds_exactly_the_truth() {
    for one in models() {
        let name = one.algorithm.name;
        let task = Task::default();
        let pairs = one.pairs(16, &CompiledPairOptions::default(), &task).unwrap();
        let tokens = |pair: &Pair| TokenPair::of("", pair, one.model.tokenizer().unwrap(), &task).unwrap();
        let pairs: Vec<TokenPair> = pairs.iter().map(tokens).collect();
        let options = AcdcOptions { ablation: EdgeAblation::Zero, ..AcdcOptions::default() };
        let found = acdc(&one.model, &pairs, Measure::Kl(Prompt::Clean), false, None, &options, &task).unwrap();
        let compared = compare(&found[0], &one.truth).edges;
        assert!(compared.first.is_empty(), "{name}: {:?} are in no known circuit", compared.first);
        assert!(compared.second.is_empty(), "{name}: {:?} were not found", compared.second);
        let units = Wiring::new(one.model.decoder.config()).unwrap().edges();
        let roc = roc(&found[0], &one.truth, units).unwrap();
        assert_eq!((roc.auc, roc.pessimistic), (1.0, 1.0), "{name}");
    }
}

#[test]
fn pairs_have_one_length_and_two_answers_and_grow_by_their_end() {
    for one in models() {
        let name = one.algorithm.name;
        let task = Task::default();
        let pairs = one.pairs(40, &CompiledPairOptions { seed: 3 }, &task).unwrap();
        assert_eq!(one.pairs(12, &CompiledPairOptions { seed: 3 }, &task).unwrap(), pairs[..12], "{name}");
        assert_ne!(one.pairs(40, &CompiledPairOptions { seed: 4 }, &task).unwrap(), pairs, "{name}");
        for pair in &pairs {
            assert_eq!(pair.clean.split(' ').count(), pair.corrupt.split(' ').count());
            assert_ne!(pair.answers, pair.wrong);
        }
        let answers: BTreeSet<&Vec<String>> = pairs.iter().map(|pair| &pair.answers).collect();
        assert_eq!(answers.len(), one.algorithm.outputs, "{name}");
        let all: BTreeSet<(&String, &String)> = pairs.iter().map(|pair| (&pair.clean, &pair.corrupt)).collect();
        assert_eq!(all.len(), 40);
    }
    let few = compiled("indirect object").unwrap();
    let error = few.pairs(100_000, &CompiledPairOptions::default(), &Task::default()).unwrap_err();
    assert!(error.message.contains("there are no more") && error.about.as_deref() == Some("n"), "{error}");
}

#[test]
fn an_unknown_name_is_refused_with_those_that_there_are() {
    let error = compiled("revers").unwrap_err();
    assert!(error.to_string().contains("reverse"), "{error}");
    assert!(compiled("").unwrap_err().to_string().contains("histogram"));
}
