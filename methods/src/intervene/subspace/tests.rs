//! Tests of subspaces: interchanges against pyvene, and a planted variable that is found.

use kit::far;

use super::*;
use crate::fixtures::{config, decoder, loaded};
use crate::model::config::Positions;
use crate::model::site::select;

fn truth() -> BTreeMap<String, Tensor> {
    kit::tensors("subspaces/subspaces.safetensors")
}

#[test]
fn interchanges_are_those_of_pyvene() {
    let truth = truth();
    let base = &truth["base"];
    let source = &truth["source"];
    let rotation = &truth["R"];
    let first = rotation.narrow(1, 0, 4).unwrap().contiguous().unwrap();
    let found = interchanged(base, source, &first, None).unwrap();
    assert!(far(&found, &truth["rotated.first_k"]) < 1e-5 && far(&found, &truth["low_rank"]) < 1e-5);
    for (boundary, temperature, name) in
        [(0.3_f32, 1.0, "boundless.b0.3.t1.0"), (0.5, 0.1, "boundless.b0.5.t0.1"), (0.5, 50.0, "boundless.b0.5.t50.0")]
    {
        let boundary = Tensor::new(&[boundary], &Device::Cpu).unwrap();
        let mask = boundless_mask(&boundary, 12, temperature).unwrap();
        let found = interchanged(base, source, rotation, Some(&mask)).unwrap();
        assert!(far(&found, &truth[name]) < 1e-5, "{name}");
    }
}

#[test]
fn an_interchange_in_a_model_is_that_of_pyvene() {
    let truth = truth();
    let model = loaded("subspaces/model").decoder;
    let ids = |name: &str| truth[name].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
    let pairs = ids("model.base_ids").into_iter().zip(ids("model.source_ids"));
    let pairs: Vec<Interchange> = pairs.map(|(base, source)| Interchange { base, source, answer: 0 }).collect();
    let place = select(model.config(), "resid_post.1").unwrap()[0];
    let data = PreparedPairs::new(&model, place, -1, &pairs, &Task::default()).unwrap();
    let basis = truth["model.R"].narrow(1, 0, 5).unwrap().contiguous().unwrap();
    let found =
        data.logits(&[0, 1, 2], Some(InterchangeBasis { basis: &basis, mask: None }), &Task::default()).unwrap();
    assert!(far(&found, &truth["model.logits"]) < 1e-4);
    let whole = create::eye(24, 24, DType::F32).unwrap();
    let found =
        data.logits(&[0, 1, 2], Some(InterchangeBasis { basis: &whole, mask: None }), &Task::default()).unwrap();
    assert!(far(&found, &truth["model.source_logits"]) > 1e-4, "earlier positions differ, too");
    assert!(
        far(
            data.logits(&[2, 0], None, &Task::default()).unwrap().narrow(0, 1, 1).unwrap(),
            truth["model.base_logits"].narrow(0, 0, 1).unwrap()
        ) < 1e-4
    );
}

#[test]
fn a_basis_of_pyvene_is_judged_as_it_is() {
    let truth = truth();
    let model = loaded("subspaces/model").decoder;
    let ids = |name: &str| truth[name].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
    // What the model of pyvene says after the interchange.
    let answers = truth["model.logits"].argmax(1).unwrap().to_vec1::<u32>().unwrap();
    let texts = ids("model.base_ids").into_iter().zip(ids("model.source_ids")).zip(answers);
    let pairs: Vec<Interchange> = texts.map(|((base, source), answer)| Interchange { base, source, answer }).collect();
    let judged = |columns: usize, mask: Option<Vec<f64>>| {
        let basis = truth["model.R"].narrow(1, 0, columns).unwrap().contiguous().unwrap();
        let options = DasOptions {
            site: Some("resid_post.1".into()),
            basis: Some(Values::Tensor(basis.clone())),
            mask: mask.map(|values| Values::Numbers { dims: vec![values.len()], values }),
            steps: 0,
            ..DasOptions::default()
        };
        let found = das(&model, &pairs, &options, &Task::default()).unwrap();
        assert_eq!(far(&found.basis, &basis), 0.0);
        assert!(found.losses.is_empty() && found.by_all && found.accuracies.iter().all(|one| one.pairs == 3));
        assert_eq!(found.accuracy(&model, &pairs, &Task::default()).unwrap().right, found.accuracies[0].right);
        found.accuracies
    };
    assert_eq!(judged(5, None)[0].right, 3);
    // The first five of all columns are the same subspace, and none of them is no interchange.
    let first: Vec<f64> = (0..24).map(|column| f64::from(u8::from(column < 5))).collect();
    assert_eq!(judged(24, Some(first))[0].right, 3);
    let none = judged(24, Some(vec![0.0; 24]));
    assert_eq!(none[0].right, none[3].right);
}

/// The number of tokens: so many that nothing but the variable tells what all odd ones share.
const TOKENS: u32 = 400;

/// Builds a model whose residual stream holds the variable of a token, -1 for even ones and 1 for odd, along one
/// direction, and much else across it. It answers 0 or 1 by the variable.
fn constructed() -> (Decoder, Tensor) {
    let small = Config {
        layers: 2,
        d_model: 8,
        heads: 2,
        kv_heads: 2,
        d_mlp: 0,
        norm: None,
        positions: Positions::None,
        rotary: None,
        vocab: TOKENS as usize,
        vocab_out: Some(2),
        qkv_bias: false,
        out_bias: false,
        ..config()
    };
    let rotation = random_basis(8, 8, 5, "constructed").unwrap();
    let direction = rotation.narrow(1, 0, 1).unwrap();
    let mut turn = 0;
    let given = decoder(small.clone(), DType::F32);
    let mut weights = given.weights().clone();
    for attn in weights.blocks.iter_mut().filter_map(|block| block.attn.as_mut()) {
        attn.o.weight = attn.o.weight.tensor().unwrap().zeros_like().unwrap().into();
    }
    let rows: Vec<Tensor> = (0..small.vocab)
        .map(|token| {
            turn += 1;
            let other = create::randn(&[1, 7], DType::F32, &mut stream(turn, "other", 0)).unwrap();
            let sign = Tensor::new(&[[if token % 2 == 1 { 1.0_f32 } else { -1.0 }]], &Device::Cpu).unwrap();
            Tensor::cat(&[&sign, &other], 1).unwrap().matmul(&rotation.t().unwrap()).unwrap()
        })
        .collect();
    weights.embed = Tensor::cat(&rows, 0).unwrap().into();
    let answer = direction.t().unwrap();
    weights.unembed.weight = Tensor::cat(&[&(&answer * -4.0).unwrap(), &(&answer * 4.0).unwrap()], 0).unwrap().into();
    (Decoder::new(small, weights), direction)
}

fn pairs(count: u32) -> Vec<Interchange> {
    let text = |i: u32| vec![i * 3 % TOKENS, (i * 7 + i / 5) % TOKENS];
    let pair = |i: u32| {
        let base = text(i);
        let source = text(i * 11 + 3);
        let answer = source[1] % 2;
        Interchange { base, source, answer }
    };
    (0..count).map(pair).collect()
}

#[test]
fn the_direction_of_a_constructed_variable_is_found() {
    let (model, direction) = constructed();
    for seed in 0..3 {
        let options =
            DasOptions { site: Some("resid_post.0".into()), lr: 0.05, seed: Seed::of(seed), ..DasOptions::default() };
        let found = das(&model, &pairs(400), &options, &Task::default()).unwrap();
        let cosine = floats(&direction.t().unwrap().matmul(&found.basis).unwrap()).unwrap()[0].abs();
        assert!(cosine > 0.95, "seed {seed}: cosine {cosine}");
        let shares: Vec<f64> = found.accuracies.iter().map(InterchangeAccuracy::share).collect();
        // The subspace, a random one, the whole activation, nothing.
        assert!(shares[0] > 0.95 && shares[2] == 1.0, "seed {seed}: {shares:?}");
        assert!(shares[1] < 0.9 && shares[3] < 0.9, "seed {seed}: {shares:?}");
        assert_eq!(found.accuracy(&model, &pairs(10), &Task::default()).unwrap().pairs, 10);
    }
}

#[test]
fn a_search_begins_with_the_basis_that_is_given() {
    let (model, direction) = constructed();
    let options = DasOptions {
        site: Some("resid_post.0".into()),
        basis: Some(Values::Tensor(direction.clone())),
        steps: 0,
        ..DasOptions::default()
    };
    let truth = das(&model, &pairs(40), &options, &Task::default()).unwrap();
    assert_eq!((truth.accuracies[0].share(), truth.accuracies[0].pairs), (1.0, 40));
    // One small step does not leave it; from a random direction it would not be there.
    let step = DasOptions { steps: 1, lr: 1e-3, ..options };
    let found = das(&model, &pairs(40), &step, &Task::default()).unwrap();
    let cosine = floats(&direction.t().unwrap().matmul(&found.basis).unwrap()).unwrap()[0].abs();
    assert!(cosine > 0.99 && found.losses.len() == 1, "{cosine}");
}

#[test]
fn the_boundary_of_a_constructed_variable_is_small() {
    let (model, direction) = constructed();
    let options = DasOptions {
        site: Some("resid_post.0".into()),
        lr: 0.05,
        boundless: true,
        steps: 300,
        ..DasOptions::default()
    };
    let found = das(&model, &pairs(400), &options, &Task::default()).unwrap();
    let share = floats(&found.basis.t().unwrap().matmul(&direction).unwrap()).unwrap();
    let share: f64 = share.iter().map(|part| part * part).sum();
    assert!(found.accuracies[0].share() > 0.9 && share > 0.9, "{share}, {:?}", found.accuracies);
    assert!(found.dimension() < 8, "{}", found.dimension());
}

#[test]
fn bad_pairs_and_options_are_refused() {
    let (model, _) = constructed();
    let refused = |pairs: &[Interchange], options: &DasOptions| {
        das(&model, pairs, options, &Task::default()).map(drop).unwrap_err().message
    };
    let options = DasOptions { site: Some("resid_post.0".into()), ..DasOptions::default() };
    assert_eq!(refused(&pairs(4), &DasOptions::default()), "expected `site`, found none");
    assert_eq!(refused(&[], &options), "expected at least one text, found none");
    assert_eq!(refused(&pairs(1), &options), "expected pairs to fit and pairs to judge, found 1");
    let wide = DasOptions { k: 9, ..options.clone() };
    assert_eq!(refused(&pairs(4), &wide), "expected at most 8 dimensions, those of `resid_post.0`, found 9");
    let mut wrong = pairs(4);
    wrong[2].answer = 7;
    assert_eq!(refused(&wrong, &options), "expected answers below 2, found 7 in pair 2");
}
