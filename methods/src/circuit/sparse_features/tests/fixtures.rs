//! Effects, edges and faithfulness of two small models, computed with PyTorch in f64 (formulas of Marks et al. 2024).

use std::collections::BTreeMap;

use kit::{far, largest, tensors};

use crate::base::Task;
use crate::circuit::Ablations;
use crate::circuit::sparse_features::cases::Cases;
use crate::circuit::sparse_features::effects::{SearchInputs, UnitEffects};
use crate::circuit::sparse_features::find::{SHARE, others};
use crate::circuit::sparse_features::placed::PlacedDictionary;
use crate::circuit::sparse_features::units::{Unit, Units};
use crate::circuit::sparse_features::*;
use crate::data::pairs::tokens::TokenPair;
use crate::features::samples::plain;
use crate::fixtures::loaded;
use crate::intervene::fixtures::pairs_of;
use crate::intervene::metric::Measure;
use crate::model::Model;
use crate::sae::{About, Parts, Sae};
use crate::tensor::{DType, Tensor, floats, ints};

struct PairFixture {
    model: Model,
    saes: Vec<Sae>,
    sites: Vec<String>,
    pairs: Vec<TokenPair>,
    effects: BTreeMap<String, Tensor>,
    edges: BTreeMap<String, Tensor>,
}

impl PairFixture {
    fn of(kind: &str) -> Self {
        let folder = kit::fixture("sfc").join(kind);
        let model = loaded(folder.join("model"));
        let effects = tensors(folder.join("effects.safetensors"));
        let edges = tensors(folder.join("edges.safetensors"));
        let parts = tensors(folder.join("dictionaries.safetensors"));
        let mut sites: Vec<String> =
            parts.keys().filter_map(|name| name.strip_suffix(".W_enc").map(String::from)).collect();
        sites.sort();
        let sae = |site: &String| {
            let part = |name: &str| parts[&format!("{site}.{name}")].clone();
            let about = About { kind: "relu".into(), sites: vec![site.as_str().into()], ..About::default() };
            let encoder_bias = Some(part("b_enc"));
            let decoder_bias = Some(part("b_dec"));
            let parts = plain(part("W_enc").t().unwrap().contiguous().unwrap(), part("W_dec"));
            Sae::new(Parts { encoder_bias, decoder_bias, centred: true, about, ..parts }).unwrap()
        };
        let rows = |name: &str| -> Vec<Vec<u32>> {
            let found: &Tensor = &effects[name];
            let wide = found.dim(1).unwrap();
            ints(found).unwrap().chunks(wide).map(|row| row.iter().map(|id| *id as u32).collect()).collect()
        };
        let pairs = pairs_of(rows("clean_ids"), rows("corrupt_ids"), rows("answers"));
        Self { model, saes: sites.iter().map(sae).collect(), sites, pairs, effects, edges }
    }

    /// Returns the numbers of a tensor of one pair.
    fn truth(&self, name: &str, pair: usize) -> Vec<f64> {
        floats(&self.effects[name].get(pair).unwrap()).unwrap()
    }

    /// Computes the effects of one pair by position, for a search of its edges between what is above a threshold.
    fn with_search<T>(
        &self,
        pair: usize,
        (ablation, search): (NodeAblation, SparseFeatureOptions),
        work: impl FnOnce(&SearchInputs, &UnitEffects) -> T,
    ) -> T {
        let task = Task::default();
        let pairs = &self.pairs[pair..=pair];
        let placed = PlacedDictionary::all(&self.model, &self.saes).unwrap();
        let cases = Cases::of_pairs(&self.model, pairs, Measure::LogitDiff, false, SHARE, &task).unwrap();
        let positions = Some(cases.length().unwrap());
        let units = Units::new(&placed, positions);
        let texts = cases.prompts();
        let others = others(&self.model, &placed, &cases, ablation, &texts, positions, &task).unwrap();
        let search = SearchInputs {
            model: &self.model,
            placed: &placed,
            cases: &cases,
            others: &others,
            units: &units,
            options: &search,
        };
        let found = search.effects(&task).unwrap();
        work(&search, &found)
    }

    fn level(search: &SearchInputs, site: &str) -> usize {
        search.placed.iter().position(|placed| placed.name() == site).unwrap()
    }
}

/// Asserts that two lists agree within 1e-4 of the largest expected value.
fn near(found: &[f64], expected: &[f64], name: &str) {
    let far = far(found, expected);
    let largest = largest(expected);
    assert!(far <= 1e-4 * largest.max(1e-3), "{name}: {far} of {largest}");
}

/// Returns the effects of a site as the fixture has them: features by position, and errors.
fn of_site(search: &SearchInputs, effects: &[f64], site: &str) -> (Vec<f64>, Vec<f64>) {
    let level = PairFixture::level(search, site);
    let wide = search.units.features(level) + 1;
    let rows: Vec<&[f64]> = effects[search.units.numbers(level)].chunks(wide).collect();
    (rows.iter().flat_map(|row| row[..wide - 1].to_vec()).collect(), rows.iter().map(|row| row[wide - 1]).collect())
}

#[test]
fn effects_are_the_references() {
    for kind in ["gpt2", "llama"] {
        let fixture = PairFixture::of(kind);
        for pair in 0..2 {
            for (ablation, tag) in [(NodeAblation::Patch, "patch"), (NodeAblation::Zero, "zero")] {
                for (method, name) in [(EffectMethod::Attribution, "attrib"), (EffectMethod::Integrated, "ig")] {
                    let options = SparseFeatureOptions { method, ..SparseFeatureOptions::default() };
                    fixture.with_search(pair, (ablation, options), |search, found| {
                        for site in &fixture.sites {
                            let (codes, errors) = of_site(search, &found.effects, site);
                            near(&codes, &fixture.truth(&format!("{name}.{tag}.{site}"), pair), site);
                            near(&errors, &fixture.truth(&format!("{name}_err.{tag}.{site}"), pair), site);
                        }
                    });
                }
            }
            let options = SparseFeatureOptions { method: EffectMethod::Exact, ..SparseFeatureOptions::default() };
            fixture.with_search(pair, (NodeAblation::Patch, options), |search, found| {
                near(&[found.metric], &fixture.truth("m_clean", pair), "the metric");
                let (codes, errors) = of_site(search, &found.effects, "resid_post.1");
                near(&codes, &fixture.truth("exact.resid_post.1", pair), "exact");
                near(&errors, &fixture.truth("exact_err.resid_post.1", pair), "exact errors");
            });
        }
    }
}

#[test]
fn edges_are_the_references() {
    for kind in ["gpt2", "llama"] {
        let fixture = PairFixture::of(kind);
        let threshold = floats(&fixture.edges["threshold"]).unwrap()[0];
        for pair in 0..2 {
            let options = SparseFeatureOptions::default();
            fixture.with_search(pair, (NodeAblation::Patch, options), |search, found| {
                let units = search.units;
                let task = Task::default();
                // Everything upstream of what the fixture has as downstream nodes.
                let strong: Vec<bool> = found.effects.iter().map(|effect| effect.abs() > threshold).collect();
                let edges = search.edges(found, &vec![true; units.count()], &task).unwrap();
                let kept = search.edges(found, &strong, &task).unwrap();
                let mut compared = 0;
                for (name, expected) in &fixture.edges {
                    let Some((up, down)) = name.split_once("->") else { continue };
                    let from = PairFixture::level(search, up);
                    let to = PairFixture::level(search, down);
                    let targets = &fixture.edges[&format!("down.{down}")];
                    let own = ints(targets).unwrap();
                    let numbers = own.chunks(3).zip(
                        floats(expected)
                            .unwrap()
                            .chunks(expected.dim(1).unwrap() * expected.dim(2).unwrap())
                            .map(<[f64]>::to_vec)
                            .collect::<Vec<_>>(),
                    );
                    let mut here = (Vec::new(), Vec::new());
                    for (target, expected) in numbers.filter(|(target, _)| target[0] as usize == pair) {
                        let feature = Some(target[2] as usize).filter(|feature| *feature < units.features(to));
                        let unit = Unit { level: to, position: Some(target[1] as usize), feature };
                        let target = units.number(unit).unwrap();
                        assert!(strong[target], "{name}");
                        for (number, expected) in units.numbers(from).zip(expected) {
                            here.0.push(edges.effects.get(&(number, target)).copied().unwrap_or(0.0));
                            here.1.push(expected);
                            if let Some(effect) = kept.effects.get(&(number, target)) {
                                assert!((effect - here.0[here.0.len() - 1]).abs() < 1e-5 * (1.0 + effect.abs()));
                            }
                        }
                        compared += 1;
                    }
                    near(&here.0, &here.1, name);
                }
                assert!(compared > 20, "{compared}");
                // All of a pair's downstream nodes are the fixture's.
                let down = |site: &String| {
                    let all = fixture.edges.get(&format!("down.{site}")).map(|own| ints(own).unwrap());
                    all.map(|own| own.chunks(3).filter(|target| target[0] as usize == pair).count())
                };
                for site in &fixture.sites {
                    let level = PairFixture::level(search, site);
                    let count = units.numbers(level).filter(|number| strong[*number]).count();
                    assert!(down(site).is_none_or(|expected| expected == count), "{site}");
                }
            });
        }
    }
}

#[test]
fn what_a_circuit_keeps_is_the_references() {
    for kind in ["gpt2", "llama"] {
        let fixture = PairFixture::of(kind);
        let task = Task::default();
        let measure = Measure::LogitDiff;
        let mean = NodeAblation::Mean;
        let each = NodePositions::Each;
        let ablations =
            FeatureAblations::of_pairs(&fixture.model, &fixture.saes, &fixture.pairs, measure, mean, each, &task)
                .unwrap();
        let effects: Vec<Vec<f64>> = (0..2)
            .map(|pair| {
                let of = (NodeAblation::Patch, SparseFeatureOptions::default());
                fixture.with_search(pair, of, |_, found| found.effects.clone())
            })
            .collect();
        // The circuits of the fixture keep other nodes in each pair.
        let mean = |kept: &dyn Fn(f64) -> bool| -> f64 {
            let of_pair = |pair: usize| {
                let kept: Vec<bool> = effects[pair].iter().map(|effect| kept(*effect)).collect();
                ablations.values(&kept, &task).unwrap()[pair]
            };
            (of_pair(0) + of_pair(1)) / 2.0
        };
        let empty = mean(&|_| false);
        let full = mean(&|_| true);
        near(&[empty, full], &floats(&fixture.effects["m_empty_full"]).unwrap(), "empty and full");
        let rows = floats(&fixture.effects["faithfulness"]).unwrap();
        for row in rows.chunks(4) {
            let count: usize = effects.iter().flatten().filter(|effect| effect.abs() > row[0]).count();
            assert_eq!(count, row[1] as usize);
            let share = |value: f64| (value - empty) / (full - empty);
            let found = [share(mean(&|effect| effect.abs() > row[0])), share(mean(&|effect| effect.abs() <= row[0]))];
            near(&found, &row[2..], "faithfulness and completeness");
        }
        assert_eq!(ablations.alike().len(), ablations.units());
        assert_eq!(fixture.model.decoder.dtype(), DType::F32);
    }
}
