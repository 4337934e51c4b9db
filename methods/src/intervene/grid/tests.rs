//! Tests that fast grids equal plain ones, that estimates are first orders, and that all match PyTorch on the fixtures.

use kit::{close, far};

use super::*;
use crate::fixtures::{config, configs, decoder, loaded};
use crate::intervene::fixtures::{model, pair, pairs};
use crate::intervene::metric::values;
use crate::model::config::Activation;
use crate::model::gradient_rules::GradientRules;
use crate::model::hooks::{Action, BoundHook, KeptHook};
use crate::sae::baselines::random;
use crate::tensor::ints;

fn found(model: &Model, measure: Measure, options: &GridOptions) -> Grid {
    grid(model, &pairs(), measure, false, &[], options, &Task::default()).unwrap()
}

fn near(a: &Grid, b: &Grid, far: f64) {
    assert_eq!((&a.rows, &a.columns), (&b.rows, &b.columns));
    assert!(close(&a.values, &b.values, far), "{:?}\n{:?}", a.values, b.values);
}

/// Returns the model with a kept hook that does nothing, so that it runs as a whole.
fn as_a_whole(model: &Model) -> Model {
    model.keeping(vec![KeptHook::new("nothing".into(), vec![], || Ok(vec![]))])
}

#[test]
fn what_lies_behind_a_change_is_as_whole_runs_have_it_in_every_shape_of_model() {
    for config in configs() {
        let has_mlp = config.has_mlp();
        let has_experts = config.experts.is_some();
        let model = model(decoder(config, DType::F32));
        let plain = as_a_whole(&model);
        let cases = [
            (GridBy::Position, "resid_pre"),
            (GridBy::Position, "attn_out"),
            (GridBy::Head, "z"),
            (GridBy::Head, "k"),
            (GridBy::Head, "pattern"),
            (GridBy::Layer, "resid_post"),
            (GridBy::Neuron, "mlp_hidden"),
            (GridBy::Position, "mlp_out"),
        ];
        let has = |site: &str| match site {
            "mlp_hidden" => has_mlp && !has_experts,
            site => has_mlp || !site.starts_with("mlp"),
        };
        for (by, site) in cases.into_iter().filter(|(_, site)| has(site)) {
            for direction in [PatchDirection::Denoise, PatchDirection::Noise] {
                let options = GridOptions { by, direction, sites: Some(vec![site.into()]), ..GridOptions::default() };
                for measure in [Measure::LogitDiff, Measure::Loss, Measure::Kl(Prompt::Clean)] {
                    near(&found(&model, measure, &options), &found(&plain, measure, &options), 1e-4);
                }
            }
        }
    }
}

#[test]
fn ablations_are_as_runs_with_hooks_have_them_in_every_shape_of_model() {
    let measure = Measure::MeanKl(Prompt::Clean);
    let task = Task::default();
    let texts: Vec<TokenPair> =
        pairs().into_iter().map(|pair| TokenPair { corrupt: Vec::new(), ..pair }).chain([short(), short()]).collect();
    for config in configs() {
        let model = model(decoder(config, DType::F32));
        let plain = as_a_whole(&model);
        for (by, site) in [(GridBy::Layer, "attn_out"), (GridBy::Head, "z"), (GridBy::Position, "resid_post")] {
            for ablation in [GridAblation::Zero, GridAblation::Mean] {
                let ablate = Some(ablation);
                let options = GridOptions { by, ablate, sites: Some(vec![site.into()]), ..GridOptions::default() };
                let of = |model: &Model| grid(model, &texts, measure, false, &[], &options, &task).unwrap();
                near(&of(&model), &of(&plain), 1e-4);
            }
        }
        let sites = Some(vec!["attn_out".into()]);
        let ablate = Some(GridAblation::Zero);
        let options = GridOptions { by: GridBy::Layer, ablate, sites, ..GridOptions::default() };
        let found = grid(&model, &texts, measure, false, &[], &options, &task).unwrap();
        for (layer, found) in found.values.iter().enumerate() {
            let zero = Box::new(Action::Zero.begin());
            let decoder = &model.decoder;
            let hook = BoundHook::new(decoder.config(), &format!("attn_out.{layer}"), None, None, zero).unwrap();
            let each = values(measure, decoder, decoder, &texts, Prompt::Clean, vec![hook], &task).unwrap();
            let each = floats(&each).unwrap();
            let mean = each.iter().sum::<f64>() / each.len() as f64;
            assert!((mean - found).abs() < 1e-4 * (1.0 + mean), "layer {layer}: {found}, by a hook {mean}");
        }
        // The mean over one position is what is there.
        let one = [TokenPair { clean: vec![2], ..TokenPair::default() }];
        let options = GridOptions { ablate: Some(GridAblation::Mean), ..options };
        let nothing = grid(&model, &one, measure, false, &[], &options, &task).unwrap();
        assert!(nothing.values.iter().all(|kl| kl.abs() < 1e-6), "{:?}", nothing.values);
    }
}

/// Returns a text of another length.
fn short() -> TokenPair {
    TokenPair { clean: vec![3, 1], ..TokenPair::default() }
}

#[test]
fn features_are_ablated_to_0_and_no_other_way() {
    let model = model(decoder(crate::fixtures::config(), DType::F32));
    let saes = [random(16, 24, None, &mut stream(3, "features", 0)).unwrap()];
    let of = |model: &Model, ablation, method| {
        let sites = Some(vec!["attn_out.0".into()]);
        let options =
            GridOptions { by: GridBy::Feature, ablate: Some(ablation), method, sites, ..GridOptions::default() };
        grid(model, &[short()], Measure::MeanKl(Prompt::Clean), false, &saes, &options, &Task::default())
    };
    let found = of(&model, GridAblation::Zero, GridMethod::Exact).unwrap();
    near(&found, &of(&as_a_whole(&model), GridAblation::Zero, GridMethod::Exact).unwrap(), 1e-4);
    assert!(found.values.iter().any(|kl| *kl > 0.0));
    assert_eq!(of(&model, GridAblation::Mean, GridMethod::Exact).unwrap_err().about.as_deref(), Some("ablate"));
    assert_eq!(of(&model, GridAblation::Zero, GridMethod::Attribution).unwrap_err().about.as_deref(), Some("method"));
}

#[test]
fn patching_all_of_the_stream_brings_the_other_run_back() {
    for config in configs() {
        let model = model(decoder(config, DType::F32));
        let options = GridOptions { by: GridBy::Layer, ..GridOptions::default() };
        let same: Vec<TokenPair> = pairs();
        let normalised = grid(&model, &same, Measure::LogitDiff, true, &[], &options, &Task::default()).unwrap();
        assert!((normalised.values[0] - 1.0).abs() < 1e-3, "{:?}", normalised.values);
    }
}

#[test]
fn an_estimate_is_the_slope_of_what_is_exact() {
    let model = model(decoder(crate::fixtures::config(), DType::F32));
    // Log probabilities are nearly linear after the last block, and nothing saturates there in a small model.
    for by in [GridBy::Position, GridBy::Layer] {
        let of = |method| {
            let options = GridOptions {
                by,
                method,
                sites: Some(vec!["resid_post".into()]),
                steps: 100,
                ..GridOptions::default()
            };
            found(&model, Measure::LogProb, &options)
        };
        let exact = of(GridMethod::Exact);
        let integrated = of(GridMethod::Integrated);
        if by == GridBy::Layer {
            // Along the whole way the integral is the difference itself (completeness).
            near(&integrated, &exact, 0.02);
        }
        let once = found(
            &model,
            Measure::LogProb,
            &GridOptions {
                by,
                method: GridMethod::Integrated,
                sites: Some(vec!["resid_post".into()]),
                steps: 1,
                ..GridOptions::default()
            },
        );
        near(&once, &of(GridMethod::Attribution), 1e-5);
    }
}

#[test]
fn features_behind_a_change_are_as_whole_runs_have_them_in_every_shape_of_model() {
    for config in configs() {
        let model = model(decoder(config, DType::F32));
        let saes = [random(16, 24, None, &mut stream(3, "features", 0)).unwrap()];
        for method in [GridMethod::Exact, GridMethod::Attribution] {
            let options = GridOptions {
                by: GridBy::Feature,
                method,
                sites: Some(vec!["attn_out.0".into()]),
                ..GridOptions::default()
            };
            let of = |model: &Model| {
                grid(model, &pairs(), Measure::LogitDiff, false, &saes, &options, &Task::default()).unwrap()
            };
            near(&of(&model), &of(&as_a_whole(&model)), 1e-4);
        }
    }
}

#[test]
fn where_attention_saturates_atp_star_is_nearer_than_attribution() {
    // Sharp attention: the slope of a softmax that is nearly one-hot is nearly 0, whatever a patched query does.
    let config = Config { score_scale: 6.0, ..crate::fixtures::config() };
    let model = model(decoder(config, DType::F32));
    for site in ["q", "k"] {
        let sizes = |method| -> Vec<f64> {
            let options =
                GridOptions { by: GridBy::Head, method, sites: Some(vec![site.into()]), ..GridOptions::default() };
            let each = pairs().into_iter().map(|pair| {
                grid(&model, &[pair], Measure::LogProb, false, &[], &options, &Task::default()).unwrap().values
            });
            each.flatten().map(f64::abs).collect()
        };
        let exact = sizes(GridMethod::Exact);
        let far = |method| -> f64 { sizes(method).iter().zip(&exact).map(|(a, b)| (a - b).abs()).sum() };
        let star = far(GridMethod::AtpStar);
        let attribution = far(GridMethod::Attribution);
        println!("{site}: {star} {attribution} {}", exact.iter().sum::<f64>());
        assert!(star < 0.8 * attribution, "{site}: {star} and {attribution}");
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let model = model(decoder(crate::fixtures::config(), DType::F32));
    let refused = |pairs: &[TokenPair], measure: Measure, options: GridOptions| {
        grid(&model, pairs, measure, false, &[], &options, &Task::default()).unwrap_err().message
    };
    let mut longer = pairs();
    longer[1].corrupt.push(1);
    assert!(refused(&longer, Measure::LogitDiff, GridOptions::default()).ends_with("found 5 and 6 tokens in pair 1"));
    let attribution = GridOptions { method: GridMethod::Attribution, ..GridOptions::default() };
    assert_eq!(refused(&pairs(), Measure::Rank, attribution), "`rank` has no gradient, which `attribution` needs");
    let of = |site: &str, by| GridOptions { sites: Some(vec![site.into()]), by, ..GridOptions::default() };
    let logits = refused(&pairs(), Measure::LogitDiff, of("logits", GridBy::Position));
    assert_eq!(logits, "expected sites within the model's blocks, found `logits`");
    assert!(refused(&pairs(), Measure::LogitDiff, of("mlp_out", GridBy::Head)).contains("sites with heads"));
    assert!(refused(&[], Measure::LogitDiff, GridOptions::default()).contains("at least one pair"));
}

#[test]
fn grids_are_those_of_pytorch_on_every_family() {
    let task = Task::default();
    for family in ["gpt2", "gpt_neox", "llama", "gemma2"] {
        let truth = kit::tensors(format!("models/{family}/interventions.safetensors"));
        let model = loaded(format!("models/{family}"));
        let ids = |name: &str| ints(&truth[name]).unwrap().into_iter().map(|id| id as u32).collect::<Vec<_>>();
        let answers = ids("answers");
        let pair = pair(ids("clean_ids"), ids("corrupt_ids"), [answers[0], answers[1]]);
        let corrupt = floats(&truth["m_corrupt"]).unwrap()[0];
        let check = |name: &str, before: f64, measure: Measure, options: GridOptions| {
            let found = grid(&model, std::slice::from_ref(&pair), measure, false, &[], &options, &task).unwrap();
            let found: Vec<f64> = found.values.iter().map(|value| before + value).collect();
            let off = far(found, floats(&truth[name] as &Tensor).unwrap());
            assert!(off < 1e-4, "{family}, {name}: off by {off}");
        };
        let of = |by, method| GridOptions { by, method, ..GridOptions::default() };
        check("patch_resid", corrupt, Measure::LogitDiff, of(GridBy::Position, GridMethod::Exact));
        check("patch_head", corrupt, Measure::LogitDiff, of(GridBy::Head, GridMethod::Exact));
        check("attrib_resid", 0.0, Measure::LogitDiff, of(GridBy::Position, GridMethod::Attribution));
        check("ig_resid", 0.0, Measure::LogitDiff, of(GridBy::Position, GridMethod::Integrated));
    }
}

#[test]
fn relevance_is_the_first_order_where_a_model_is_piecewise_linear_and_goes_with_single_gradients() {
    let linear = Config { norm: None, act: Activation::Relu, ..config() };
    let linear = model(decoder(linear, DType::F64));
    let curved = model(decoder(config(), DType::F64));
    let rules = GradientOptions { gradients: GradientRules::Relp };
    for method in [GridMethod::Attribution, GridMethod::AtpStar] {
        let derivatives = GridOptions { method, sites: Some(vec!["mlp_out".into()]), ..GridOptions::default() };
        let relp = GridOptions { rules, ..derivatives.clone() };
        let of = |model: &Model, options: &GridOptions| found(model, Measure::LogitDiff, options);
        near(&of(&linear, &relp), &of(&linear, &derivatives), 1e-12);
        assert!(!close(&of(&curved, &relp).values, &of(&curved, &derivatives).values, 1e-3));
    }
    for method in [GridMethod::Exact, GridMethod::Integrated] {
        let options = GridOptions { method, rules, ..GridOptions::default() };
        let error = grid(&curved, &pairs(), Measure::LogitDiff, false, &[], &options, &Task::default()).unwrap_err();
        let expected = format!("expected no `gradients` beside `method: {:?}`, where it has no effect", method.word());
        assert_eq!(error.message, expected);
    }
}
