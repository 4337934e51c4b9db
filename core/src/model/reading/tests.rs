//! Tests of reading a run, on small models of every kind.

use kit::{far, largest};

use super::attribution::{Attribution, By, ResidualWriter, Target, attribute, places};
use super::{attention, compare, lens};
use crate::base::{Cell, Kind as ErrorKind, Task};
use crate::model::batch::Batch;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::fixtures::{config, configs, decoder};
use crate::model::hooks::{Action, BoundHook};
use crate::model::run::{Ask, Run};
use crate::model::site::{Place, select};
use crate::tensor::{DType, floats};

const TEXT: [u32; 9] = [3, 1, 4, 1, 5, 9, 2, 6, 19];

fn texts() -> Batch {
    Batch::new(vec![TEXT.to_vec(), TEXT[3..].to_vec()]).unwrap()
}

fn named(model: &Decoder, names: &[&str]) -> Vec<Place> {
    names.iter().flat_map(|name| select(model.config(), name).unwrap()).collect()
}

fn run(model: &Decoder, places: Vec<Place>, hooks: Vec<BoundHook>) -> Run {
    model.run(&texts(), Ask { hooks, places, positions: None }, &Task::default()).unwrap()
}

fn with_every_bias() -> Config {
    // No family has all of these at once.
    Config { post_norm: true, unembed_bias: true, logit_cap: Some(2.0), ..config() }
}

fn split(model: &Decoder, by: By, position: i64, targets: &[Target]) -> Vec<Attribution> {
    let ask = Ask { places: places(model.config(), by), positions: Some(vec![position]), ..Ask::default() };
    let cache = model.cache(&texts(), ask, &Task::default()).unwrap();
    attribute(model, &cache, by, position, targets).unwrap()
}

#[test]
fn the_parts_sum_to_the_logit_in_every_kind_of_model() {
    let sums = configs().into_iter().filter(|config| config.beyond_reading().is_none());
    for config in sums.chain([with_every_bias()]) {
        let model = decoder(config.clone(), DType::F64);
        let uncapped = decoder(Config { logit_cap: None, ..config.clone() }, DType::F64);
        let logits = uncapped.logits(&texts(), Vec::new(), &Task::default()).unwrap();
        let logit = |row: usize, column: usize, token: u32| -> f64 {
            logits.get(row).unwrap().get(column).unwrap().get(token as usize).unwrap().to_scalar().unwrap()
        };
        for by in [By::Layer, By::Part, By::Head] {
            let last = split(&model, by, -1, &[Target { token: 7, against: None }]);
            let apart = [Target { token: 2, against: Some(11) }, Target { token: 3, against: Some(0) }];
            let middle = split(&model, by, 4, &apart);
            let expected = [
                (&last[0], logit(0, 8, 7)),
                (&last[1], logit(1, 5, 7)),
                (&middle[0], logit(0, 4, 2) - logit(0, 4, 11)),
                (&middle[1], logit(1, 4, 3) - logit(1, 4, 0)),
            ];
            for (found, expected) in expected {
                let scale = expected.abs().max(1.0);
                assert!((found.logit - expected).abs() < 1e-9 * scale, "{by:?} {config:?}");
                assert!(found.rest().abs() < 1e-9 * scale, "{} {by:?} {config:?}", found.rest());
            }
        }
    }
}

#[test]
fn a_finer_split_is_the_coarser_one_taken_apart() {
    let model = decoder(with_every_bias(), DType::F64);
    let target = [Target { token: 7, against: None }];
    let parts = |by| split(&model, by, -1, &target).remove(0).parts;
    let total = |parts: &[(ResidualWriter, f64)], keep: fn(&ResidualWriter) -> bool| -> f64 {
        parts.iter().filter(|(writer, _)| keep(writer)).map(|(_, value)| value).sum()
    };
    let layers = parts(By::Layer);
    let sites = parts(By::Part);
    let heads = parts(By::Head);
    let names: Vec<String> = heads.iter().map(|(writer, _)| writer.to_string()).collect();
    let of_layer = |layer: usize| {
        let heads = (0..4).map(move |head| format!("head_out.{layer}.{head}"));
        heads.chain([format!("attention bias {layer}"), format!("mlp_out.{layer}")])
    };
    assert_eq!(names, std::iter::once("embed".to_string()).chain(of_layer(0)).chain(of_layer(1)).collect::<Vec<_>>());
    let attention = total(&heads, |w| matches!(w, ResidualWriter::Head(1, _) | ResidualWriter::AttentionBias(1)));
    assert!((attention - total(&sites, |w| *w == ResidualWriter::Attention(1))).abs() < 1e-9);
    let layer = total(&sites, |w| matches!(w, ResidualWriter::Attention(0) | ResidualWriter::Mlp(0)));
    assert!((layer - total(&layers, |w| *w == ResidualWriter::Layer(0))).abs() < 1e-9);
}

#[test]
fn what_a_hook_puts_into_the_stream_is_no_parts_doing() {
    let model = decoder(Config { norm: None, ..config() }, DType::F64);
    let direction = model.weights().unembed.weight.row(7).unwrap();
    let added = Action::Add { vector: direction.clone(), scale: 0.5 };
    let hook = BoundHook::new(model.config(), "resid_post.1", None, None, Box::new(added.begin())).unwrap();
    let ask = Ask { hooks: vec![hook], places: places(model.config(), By::Part), positions: None };
    let cache = model.cache(&texts(), ask, &Task::default()).unwrap();
    let found = attribute(&model, &cache, By::Part, -1, &[Target { token: 7, against: None }]).unwrap();
    let expected = 0.5 * floats(&direction).unwrap().iter().map(|x| x * x).sum::<f64>();
    assert!((found[0].rest() - expected).abs() < 1e-9);
}

#[test]
fn an_attribution_as_a_table_and_by_head() {
    let model = decoder(config(), DType::F64);
    let found = split(&model, By::Head, -1, &[Target { token: 7, against: Some(2) }]).remove(0);
    let table = found.table(|token| format!("t{token}"));
    assert_eq!(table.title, "direct attribution of the logit of `t7` less that of `t2`");
    assert_eq!(table.rows.last().unwrap()[1], Cell::Float(found.logit));
    let heads = found.heads().unwrap();
    assert_eq!((heads.rows.len(), heads.columns.len(), heads.values.len()), (2, 4, 8));
    assert_eq!(heads.values[5], found.parts.iter().find(|(w, _)| *w == ResidualWriter::Head(1, 1)).unwrap().1);
    assert!(split(&model, By::Part, -1, &[found.target])[0].heads().is_none());
}

#[test]
fn what_cannot_be_attributed_is_refused() {
    let model = decoder(config(), DType::F32);
    let run = run(&model, places(model.config(), By::Part), vec![]);
    let refused = |by, position, targets: &[Target]| attribute(&model, &run.cache, by, position, targets).unwrap_err();
    let target = Target { token: 7, against: None };
    assert!(refused(By::Head, 0, &[target]).message.contains("`head_out.0` was not recorded"));
    assert!(refused(By::Part, 6, &[target]).message.contains("within the 6 tokens of text 1, found 6"));
    assert!(refused(By::Part, 0, &[Target { token: 20, against: None }]).message.contains("below 20, found 20"));
    assert!(refused(By::Part, 0, &[target; 3]).message.contains("one for each of 2 texts, found 3"));
}

#[test]
fn a_logit_that_is_no_sum_is_refused_by_what_stands_before_it() {
    let found: Vec<String> = configs()
        .into_iter()
        .filter(|config| config.beyond_reading().is_some())
        .map(|config| {
            let model = decoder(config, DType::F64);
            let ask = Ask { places: places(model.config(), By::Part), positions: None, ..Ask::default() };
            let cache = model.cache(&texts(), ask, &Task::default()).unwrap();
            attribute(&model, &cache, By::Part, 0, &[Target { token: 7, against: None }]).unwrap_err().message
        })
        .collect();
    assert_eq!(found.len(), 2);
    assert!(found[0].ends_with("in a model with norms of the residual stream"), "{found:?}");
    assert!(found[1].ends_with("in a model with a layer between the residual stream and the last norm"), "{found:?}");
}

#[test]
fn the_lens_at_the_end_is_the_model() {
    for config in configs().into_iter().chain([with_every_bias()]) {
        let model = decoder(config, DType::F64);
        let run = run(&model, named(&model, &["resid_post.1", "final_norm"]), vec![]);
        let places = named(&model, &["resid_post.1", "final_norm"]);
        for reading in lens::lens(&model, &run.cache, &places, None, 3, &Task::default()).unwrap() {
            let logits = reading.logits(&model, &Task::default()).unwrap();
            assert!(far(&logits, &run.logits) < 1e-9, "{}", reading.place);
        }
    }
}

#[test]
fn the_lens_guesses_the_likeliest_and_knows_where_texts_end() {
    let model = decoder(config(), DType::F32);
    let run = run(&model, named(&model, &["resid_post.*", "head_out.1.2"]), vec![]);
    let places = named(&model, &["resid_post.*", "head_out.1.2"]);
    let all = lens::lens(&model, &run.cache, &places, None, 2, &Task::default()).unwrap();
    assert_eq!(all[0].guesses.iter().map(Vec::len).collect::<Vec<_>>(), [9, 6]);
    let logits = all[2].logits(&model, &Task::default()).unwrap();
    let logits: Vec<f64> = floats(&logits.get(1).unwrap().get(5).unwrap()).unwrap();
    let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
    let best = (0..20).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
    let guess = all[2].guesses[1][5][0];
    assert_eq!(guess.token, best as u32);
    assert!((guess.probability - logits[best].exp() / total).abs() < 1e-5);
    assert!(all[2].guesses[1][5][1].probability <= guess.probability);

    let chosen = lens::lens(&model, &run.cache, &places, Some(&[-1, 2]), 1, &Task::default()).unwrap();
    for (found, same) in [(chosen[2].guesses[1][0][0], guess), (chosen[0].guesses[0][1][0], all[0].guesses[0][2][0])] {
        assert_eq!(found.token, same.token);
        assert!((found.probability - same.probability).abs() < 1e-5);
    }

    let labels: Vec<String> = (0..6).map(|i| i.to_string()).collect();
    let table = lens::table(lens::LOGIT_LENS, &all, 1, &labels, |token| format!("t{token}")).unwrap();
    assert_eq!(table.rows[2][6], Cell::Text(format!("t{best}")));
    assert_eq!(lens::grid(lens::LOGIT_LENS, &all, 1, &labels).unwrap().values[17], guess.probability);
    assert_eq!(lens::grid(lens::LOGIT_LENS, &all, 0, &labels).unwrap_err().kind, ErrorKind::Shape);
}

#[test]
fn the_lens_reads_the_stream_only() {
    let model = decoder(config(), DType::F32);
    let run = run(&model, named(&model, &["mlp_hidden.0", "head_out.0"]), vec![]);
    for name in ["mlp_hidden.0", "head_out.0"] {
        let error = lens::lens(&model, &run.cache, &named(&model, &[name]), None, 1, &Task::default()).unwrap_err();
        assert!(error.message.ends_with(&format!("found `{name}`")), "{}", error.message);
    }
}

#[test]
fn two_runs_differ_from_where_the_hook_is() {
    let model = decoder(config(), DType::F64);
    let places = || named(&model, &["resid_pre.*", "attn_out.*", "pattern.*", "z.1.0", "resid_post.*"]);
    let plain = run(&model, places(), vec![]);
    let same = compare::compare(&plain, &plain, &Task::default()).unwrap();
    assert_eq!(same.first(), None);
    assert!(same.kl.iter().flatten().all(|kl| kl.abs() < 1e-12));
    assert!(same.sites.iter().all(|site| (site.cosine - 1.0).abs() < 1e-12 && site.relative == 0.0));

    let hook = BoundHook::new(model.config(), "attn_out.1", None, None, Box::new(Action::Scale(3.0).begin())).unwrap();
    let changed = run(&model, places(), vec![hook]);
    let found = compare::compare(&plain, &changed, &Task::default()).unwrap();
    assert_eq!(found.first().unwrap().to_string(), "attn_out.1");
    let site = found.sites.iter().find(|site| site.place.to_string() == "attn_out.1").unwrap();
    // Three times itself: the difference is twice its norm, in the same direction.
    assert!((site.relative - 2.0).abs() < 1e-12 && (site.cosine - 1.0).abs() < 1e-12);
    let own = floats(&plain.cache.get("attn_out.1").unwrap().get(1).unwrap()).unwrap();
    let real = largest(plain.cache.get("attn_out.1").unwrap().get(0).unwrap());
    let padded = own[..6 * 16].iter().fold(real, |most, value| most.max(value.abs()));
    assert!((site.largest - 2.0 * padded).abs() < 1e-9, "what fills up texts does not count");
    assert!(found.kl.iter().flatten().all(|kl| *kl > 0.0));
    assert_eq!(found.kl.iter().map(Vec::len).collect::<Vec<_>>(), [9, 6]);
    let grid = found.grid();
    assert_eq!((grid.values.len(), grid.values[17].is_nan(), grid.values[14]), (18, true, found.kl[1][5]));
    assert_eq!(found.card().fields[0].1, Cell::Text("attn_out.1".into()));
    assert_eq!(found.table().rows.len(), found.sites.len());
}

#[test]
fn the_divergence_is_that_of_a_from_b() {
    // p = (3/4, 1/4), q = (1/2, 1/2).
    let p = [3.0_f64.ln(), 0.0];
    let q = [5.0, 5.0];
    assert!((compare::kl(&p, &q) - (0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln())).abs() < 1e-12);
    assert!((compare::kl(&q, &p) - (0.5 * (2.0 / 3.0_f64).ln() + 0.5 * 2.0_f64.ln())).abs() < 1e-12);
    let never = [f64::NEG_INFINITY, 0.0];
    assert_eq!(compare::kl(&never, &never), 0.0);
    assert!((compare::kl(&never, &q) - 2.0_f64.ln()).abs() < 1e-12);
    assert_eq!(compare::kl(&q, &never), f64::INFINITY);
    assert!(compare::kl(&[f64::NAN, 0.0], &q).is_nan());
}

#[test]
fn runs_over_other_texts_are_not_compared() {
    let model = decoder(config(), DType::F32);
    let a = run(&model, vec![], vec![]);
    let mut b = run(&model, vec![], vec![]);
    b.batch = Batch::new(vec![vec![1], vec![2]]).unwrap();
    assert_eq!(compare::compare(&a, &b, &Task::default()).unwrap_err().kind, ErrorKind::Shape);
}

#[test]
fn attention_as_text_and_as_a_map() {
    let model = decoder(config(), DType::F64);
    let run = run(&model, named(&model, &["pattern.1"]), vec![]);
    let place = named(&model, &["pattern.1.2"])[0];
    let tokens: Vec<String> = TEXT[3..].iter().map(|id| format!("t{id}")).collect();
    let text = attention::text(&run.cache, place, 1, -2, &tokens).unwrap();
    assert_eq!((text.title.as_str(), text.tokens.len()), ("pattern.1.2 from position 4", 6));
    assert!((text.values.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert_eq!(text.values[5], 0.0, "nothing is seen of what comes later");
    let grid = attention::grid(&run.cache, place, 1, &tokens).unwrap();
    assert_eq!((grid.rows.len(), grid.columns[2].as_str()), (6, "2 t9"));
    assert_eq!(grid.values[24..30], text.values[..]);

    // Recorded at one position only, it is the same.
    let ask = Ask { places: vec![place], positions: Some(vec![-2]), ..Ask::default() };
    let cache = model.cache(&texts(), ask, &Task::default()).unwrap();
    assert_eq!(
        attention::text(&cache, place, 1, 4, &tokens).unwrap(),
        attention::text(&run.cache, place, 1, 4, &tokens).unwrap()
    );
    assert_eq!(attention::grid(&cache, place, 1, &tokens).unwrap().rows, ["4 t6"]);
    assert!(
        attention::text(&cache, place, 1, 3, &tokens)
            .unwrap_err()
            .message
            .contains("position 3 of text 1 was not recorded")
    );
    assert!(attention::text(&run.cache, place, 0, 0, &tokens).is_err());
    assert!(attention::grid(&run.cache, Place { head: None, ..place }, 1, &tokens).is_err());
}
