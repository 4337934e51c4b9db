//! Tests of splicing: results in real families, and gradients.

use kit::far;

use super::*;
use crate::base::Task;
use crate::base::access::{Access, Rules};
use crate::base::files::Files;
use crate::base::random::stream;
use crate::checkpoint::load::LoadSettings;
use crate::fixtures;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::decoder::{Decoder, Logits};
use crate::model::site::select;
use crate::sae::{About, Activation, Parts, Scaling, baselines};
use crate::tensor::{DType, create};

const SITE: &str = "resid_pre.1";

fn spliced(model: &Decoder, batch: &Batch, splice: Splice, site: &str) -> Result<Tensor> {
    let hook = splice.at(model.config(), site, None)?;
    model.logits(batch, vec![hook], &Task::default())
}

fn small() -> (Decoder, Batch) {
    let batch = Batch::new(vec![vec![3, 1, 4, 1, 5], vec![9, 2, 6]]).unwrap();
    (fixtures::decoder(fixtures::config(), DType::F32), batch)
}

/// Makes a dictionary that reconstructs half of everything.
fn half(width: usize) -> Sae {
    let eye = baselines::identity(width).unwrap().parts().clone();
    Sae::new(Parts { decoder: eye.decoder.affine(0.5, 0.0).unwrap(), ..eye }).unwrap()
}

#[test]
fn logits_are_those_of_the_reference_on_every_family() {
    for family in ["gpt2", "gpt_neox", "llama", "gemma2"] {
        let folder = kit::fixture("models").join(family);
        let reads = Files::new(Access::new(&folder, &Rules::default()).unwrap(), false);
        let name = folder.display().to_string();
        let model = Model::load(&reads, &name, &LoadSettings::default(), &Task::default()).unwrap();
        let truth = kit::tensors(folder.join("interventions.safetensors"));
        let of = |name: &str| truth[name].clone();
        let parts = Parts {
            encoder: of("sae1.W_enc").t().unwrap().contiguous().unwrap(),
            encoder_bias: Some(of("sae1.b_enc")),
            activation: Activation::Relu,
            decoder: of("sae1.W_dec"),
            decoder_bias: Some(of("sae1.b_dec")),
            centred: true,
            rescaled: false,
            skip: None,
            scaling: Scaling::None,
            about: About::default(),
        };
        let sae = Sae::new(parts).unwrap();
        let ids = of("clean_ids").to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
        let batch = Batch::new(ids).unwrap();
        let found = spliced(&model.decoder, &batch, Splice::new(sae.clone(), ErrorTreatment::Dropped), SITE).unwrap();
        let gap = far(found.squeeze(0).unwrap(), of("splice_logits"));
        assert!(gap < 1e-4, "{family}: {gap}");
        let clean = model.decoder.logits(&batch, Vec::new(), &Task::default()).unwrap();
        let kept = spliced(&model.decoder, &batch, Splice::new(sae, ErrorTreatment::Kept), SITE).unwrap();
        assert!(far(&kept, &clean) < 1e-4 && far(&found, &clean) > 1e-2, "{family}");
    }
}

#[test]
fn gradients_pass_through_the_dictionary_and_not_through_the_error() {
    let (model, batch) = small();
    let place = select(model.config(), "embed").unwrap();
    let gradient = |splice: Option<Splice>| {
        let hooks = splice.into_iter().map(|splice| splice.at(model.config(), "resid_post.0", None).unwrap()).collect();
        let metric = &mut |logits: &Tensor| Ok(logits.get(0)?.get(4)?.get(7)?);
        let found = model.grads(&batch, hooks, &place, Logits::All, metric, &Task::default()).unwrap();
        found.cache.get("embed").unwrap()
    };
    let clean = gradient(None);
    let whole = baselines::identity(16).unwrap();
    assert!(far(gradient(Some(Splice::new(whole, ErrorTreatment::Dropped))), &clean) < 1e-5);
    // The value is the clean one, and half of the gradient came through the dictionary.
    let kept = gradient(Some(Splice::new(half(16), ErrorTreatment::Kept)));
    assert!(far(&kept, clean.affine(0.5, 0.0).unwrap()) < 1e-5);
    assert!(far(&kept, &clean) > 1e-3);
}

#[test]
fn what_is_not_meant_stays_as_it_is() {
    let (model, batch) = small();
    // Negative values are lost, which no norm makes up for.
    let splice = || Splice::new(baselines::neurons_relu(16, None).unwrap(), ErrorTreatment::Dropped);
    let clean = model.logits(&batch, Vec::new(), &Task::default()).unwrap();
    let all = spliced(&model, &batch, splice(), "resid_post.1").unwrap();
    let gap = |a: &Tensor, b: &Tensor, row, column| {
        let at = |t: &Tensor| t.get(row).unwrap().get(column).unwrap();
        far(at(a), at(b))
    };
    assert!(gap(&all, &clean, 0, 2) > 1e-2 && gap(&all, &clean, 0, 4) > 1e-2 && gap(&all, &clean, 1, 2) > 1e-2);
    let mask = Tensor::new(&[[0_u8, 1, 1, 1, 1], [0, 1, 0, 0, 0]], model.device()).unwrap();
    let masked = spliced(&model, &batch, splice().only(mask), "resid_post.1").unwrap();
    assert_eq!((gap(&masked, &clean, 0, 0), gap(&masked, &all, 0, 2), gap(&masked, &clean, 1, 2)), (0.0, 0.0, 0.0));
    let short = Tensor::new(&[[1_u8]], model.device()).unwrap();
    let error = spliced(&model, &batch, splice().only(short), "resid_post.1").unwrap_err();
    assert!(error.message.contains("expected a mask for the texts and positions of [2, 5, 16], found [1, 1]"));
    let last = splice().at(model.config(), "resid_post.1", Some(vec![-1])).unwrap();
    let last = model.logits(&batch, vec![last], &Task::default()).unwrap();
    assert_eq!((gap(&last, &clean, 0, 3), gap(&last, &all, 0, 4), gap(&last, &all, 1, 2)), (0.0, 0.0, 0.0));
}

#[test]
fn heads_are_read_together_and_widths_that_do_not_fit_are_refused() {
    let (model, batch) = small();
    let clean = model.logits(&batch, Vec::new(), &Task::default()).unwrap();
    let joined =
        spliced(&model, &batch, Splice::new(baselines::identity(16).unwrap(), ErrorTreatment::Dropped), "z.0").unwrap();
    assert!(far(&joined, &clean) < 1e-6);
    let head = spliced(&model, &batch, Splice::new(baselines::identity(4).unwrap(), ErrorTreatment::Dropped), "z.0.2")
        .unwrap();
    assert!(far(&head, &clean) < 1e-6);
    let wide = Splice::new(baselines::identity(20).unwrap(), ErrorTreatment::Dropped);
    let error = spliced(&model, &batch, wide, "resid_post.0").unwrap_err();
    assert_eq!(error.message, "at `resid_post.0`: expected activations of width 20, found the shape [2, 5, 16]");
}

#[test]
fn a_transcoder_reads_one_site_and_writes_another() {
    let (model, batch) = small();
    let map = create::randn(&[16, 16], DType::F32, &mut stream(1, "map", 0)).unwrap();
    let eye = baselines::identity(16).unwrap().parts().clone();
    let transcoder = Sae::new(Parts { decoder: map.clone(), ..eye }).unwrap();
    let ask = |hooks| crate::model::run::Ask {
        hooks,
        places: ["mlp_in.0", "mlp_out.0"].map(|name| select(model.config(), name).unwrap()[0]).to_vec(),
        positions: None,
    };
    let splice = Splice::new(transcoder, ErrorTreatment::Dropped);
    let hooks = splice.clone().between(model.config(), "mlp_in.0", "mlp_out.0", None).unwrap();
    let cache = model.cache(&batch, ask(hooks), &Task::default()).unwrap();
    let read = cache.get("mlp_in.0").unwrap();
    let expected = read.reshape(((), 16)).unwrap().matmul(&map).unwrap().reshape(read.shape()).unwrap();
    assert!(far(cache.get("mlp_out.0").unwrap(), &expected) < 1e-5);
    let error = splice.between(model.config(), "mlp_out.0", "mlp_in.0", None).err().unwrap();
    assert_eq!(
        error.message,
        "expected a site to write after the one that is read, found `mlp_in.0` before `mlp_out.0`"
    );
}
