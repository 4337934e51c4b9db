//! Dictionaries in the formats of other libraries: the same codes, lossless round trips, and what is refused.

mod checked;
mod fetched;
mod own;
mod refused;
mod released;
pub mod samples;
mod scope;

use std::path::Path;

use kit::{far, fixture};
use microtome::sae::load::{FloatType, LoadOptions};
use microtome::sae::{Activation, Format, Parts, Sae, Scaling};
use microtome::tensor::DType;
use proptest::prelude::*;
use samples::{D, F, files, folders, load, load_as, spelled, tensors};

/// Codes and reconstructions equal those that the format's own library computed.
fn same_as_expected(sae: &Sae, folder: &Path) {
    let expected = tensors(&folder.join("expected.safetensors"));
    let x = &expected["x"];
    let shown = folder.display();
    let codes = sae.encode(x).unwrap();
    assert!(samples::numbers(&codes).iter().any(|x| *x != 0.0), "{shown}");
    assert!(far(&codes, &expected["codes"]) <= 1e-5, "{shown}: {}", far(&codes, &expected["codes"]));
    let found = sae.reconstruct(x).unwrap();
    assert!(far(&found, &expected["recon"]) <= 1e-5, "{shown}: {}", far(&found, &expected["recon"]));
}

#[test]
fn dictionaries_of_other_libraries_compute_what_they_compute_there() {
    let all = folders(&fixture("saes"));
    assert_eq!(all.len(), 28);
    for folder in all {
        same_as_expected(&load(&folder).unwrap(), &folder);
    }
}

#[test]
fn what_their_makers_say_of_them_is_kept() {
    let about = |name: &str| load(&fixture("saes").join(name)).unwrap().parts().about.clone();
    let lens = about("saelens-topk");
    assert_eq!((lens.kind.as_str(), lens.model().as_deref()), ("topk", Some("pythia-70m-deduped")));
    assert_eq!(lens.site(), "resid_post.3");
    assert_eq!(lens.more["sae_lens_version"], "6.54.12");
    let learned = about("dictionary_learning-MatryoshkaBatchTopKSAE");
    assert_eq!(
        (learned.kind.as_str(), learned.model().as_deref()),
        ("matryoshka", Some("EleutherAI/pythia-70m-deduped"))
    );
    assert_eq!((learned.site().as_str(), learned.prefixes), ("resid_post.3", vec![32, 96]));
    assert_eq!((&learned.more["k"], &learned.more["buffer"]["n_ctxs"]), (&8.into(), &100.into()));
    assert_eq!(about("sparsify-transcoder-skip").kind.as_str(), "skip_transcoder");
    assert_eq!(about("gemma-scope-jumprelu").kind.as_str(), "jumprelu");
    assert_eq!(about("cunningham-tied").kind.as_str(), "tied");
}

#[test]
fn a_file_is_as_good_as_its_folder() {
    let root = fixture("saes");
    for (folder, file) in [
        ("saelens-gated", "sae_weights.safetensors"),
        ("dictionary_learning-BatchTopKSAE", "ae.pt"),
        ("sparsify-topk", "sae.safetensors"),
        ("gemma-scope-jumprelu", "params.npz"),
        ("cunningham-tied", "dict.safetensors"),
    ] {
        let whole = load(&root.join(folder)).unwrap();
        let one = load(&root.join(folder).join(file)).unwrap();
        assert_eq!(spelled(whole.parts()), spelled(one.parts()), "{folder}");
    }
}

#[test]
fn a_name_that_says_nothing_is_known_by_its_tensors_or_by_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let put = |from: &str, to: &str| {
        std::fs::copy(fixture("saes").join(from), folder.path().join(to)).unwrap();
        folder.path().join(to)
    };
    let tied = put("cunningham-tied/dict.safetensors", "mine.safetensors");
    assert_eq!(load(&tied).unwrap().parts().about.kind.as_str(), "tied");
    let new = put("dictionary_learning-AutoEncoderNew/ae.pt", "mine.pt");
    assert_eq!(load(&new).unwrap().parts().about.kind.as_str(), "relu");
    // Top-k and batch top-k have the same tensors and different codes.
    let error = load(&put("dictionary_learning-BatchTopKSAE/ae.pt", "other.pt")).unwrap_err();
    assert!(error.hint.unwrap().contains("AutoEncoderTopK or BatchTopKSAE"), "{}", error.message);
    let lens = put("saelens-jumprelu/sae_weights.safetensors", "lens.safetensors");
    let error = load(&lens).unwrap_err();
    assert!(error.hint.unwrap().starts_with("say the format: one of saelens, "), "{}", error.message);
    put("saelens-jumprelu/cfg.json", "cfg.json");
    let options = LoadOptions { format: Some(Format::SaeLens), ..LoadOptions::default() };
    assert_eq!(load_as(&lens, &options).unwrap().parts().about.kind.as_str(), "jumprelu");
}

/// The authors' files of SoftSAE (tests/saes/soft_files.py).
#[test]
fn a_soft_sae_is_written_as_its_authors_read_it() {
    let root = fixture("saes");
    let soft = load(&root.join("dictionary_learning-SoftSAE")).unwrap();
    let about = &soft.parts().about;
    assert_eq!((about.kind.as_str(), about.site().as_str()), ("soft_topk", "resid_post.3"));
    assert_eq!(about.more["k"], 4);
    let folder = tempfile::tempdir().unwrap();
    soft.save(&files(folder.path()), folder.path(), Format::DictionaryLearning).unwrap();
    let written = tensors(&folder.path().join("ae.safetensors"));
    let of_images = load(&root.join("dictionary_learning-SoftTopKSAE")).unwrap();
    assert_eq!(of_images.parts().about.kind.as_str(), "soft_topk");
    let names: Vec<&str> = written.keys().map(String::as_str).collect();
    let expected_names = [
        "alpha",
        "b_dec",
        "decoder.weight",
        "encoder.bias",
        "encoder.weight",
        "k",
        "k_estimator.0.bias",
        "k_estimator.0.weight",
        "k_estimator.2.bias",
        "k_estimator.2.weight",
        "k_max",
        "norm_factor",
    ];
    assert_eq!(names, expected_names);
    assert_eq!(samples::json_of(&folder.path().join("config.json"))["trainer"]["dict_class"], "SoftSAE");
    let again = load(folder.path()).unwrap();
    assert_eq!(spelled(again.parts()), spelled(soft.parts()));
    let expected = tensors(&root.join("dictionary_learning-SoftSAE/expected.safetensors"));
    let x = &expected["x"];
    assert_eq!(samples::numbers(&again.encode(x).unwrap()), samples::numbers(&soft.encode(x).unwrap()));
    assert_eq!(samples::numbers(&again.ks(x).unwrap()), samples::numbers(&soft.ks(x).unwrap()));
}

#[test]
fn another_dtype_is_computed_in_and_saved() {
    let options = LoadOptions { dtype: FloatType(DType::BF16), ..LoadOptions::default() };
    let sae = load_as(&fixture("saes").join("saelens-topk"), &options).unwrap();
    assert_eq!(sae.directions().dtype(), DType::BF16);
    let folder = tempfile::tempdir().unwrap();
    sae.save(&files(folder.path()), folder.path(), Format::SaeLens).unwrap();
    assert_eq!(samples::json_of(&folder.path().join("cfg.json"))["dtype"], "bfloat16");
    assert_eq!(spelled(load_as(folder.path(), &options).unwrap().parts()), spelled(sae.parts()));
}

#[test]
fn a_dictionary_that_fits_no_site_says_both() {
    let sae = load(&fixture("saes").join("saelens-topk")).unwrap();
    sae.check_fits(32, &"pythia", "resid_post.3").unwrap();
    let wide = sae.check_fits(64, &"pythia-160m", "resid_post.3").unwrap_err().message;
    assert_eq!(
        wide,
        "expected a dictionary for resid_post.3 of pythia-160m, of width 64, found one of width 32 at \
         resid_post.3 of pythia-70m-deduped"
    );
    let site = sae.check_fits(32, &"pythia", "mlp_out.3").unwrap_err().message;
    assert!(site.contains("for mlp_out.3 of pythia, found one that reads resid_post.3"), "{site}");
    let unknown = load(&fixture("saes").join("cunningham-tied")).unwrap();
    unknown.check_fits(32, &"pythia", "mlp_out.3").unwrap();
}

/// The script `tests/saes/with_libraries.py` has loaded these folders with the libraries of their formats.
#[test]
fn what_is_written_is_what_the_other_libraries_have_read() {
    for (name, format, parts) in samples::written() {
        let kept = fixture("written_saes").join(&name);
        let folder = tempfile::tempdir().unwrap();
        let places = Sae::new(parts.clone()).unwrap().save(&files(folder.path()), folder.path(), format).unwrap();
        for place in places {
            let known = kept.join(place.file_name().unwrap());
            assert!(std::fs::read(&known).unwrap() == std::fs::read(place).unwrap(), "{}", known.display());
        }
        let again = load(&kept).unwrap();
        assert_eq!(spelled(again.parts()), spelled(&parts), "{name}");
        same_as_expected(&again, &kept);
    }
    assert_eq!(folders(&fixture("written_saes")).len(), samples::written().len());
}

/// Rewrites the folders that the other libraries read; run the script after it.
#[test]
#[ignore = "changes the fixtures"]
fn write_for_the_other_libraries() {
    for (name, format, parts) in samples::written() {
        let folder = fixture("written_saes").join(name);
        Sae::new(parts).unwrap().save(&files(&folder), &folder, format).unwrap();
    }
}

fn any_parts() -> impl Strategy<Value = Parts> {
    let flags = proptest::collection::vec(any::<bool>(), 8);
    let about =
        (prop::sample::select(vec!["relu", "topk", "transcoder", "matryoshka", "pca", ""]), 0..4_usize, any::<f64>());
    (any::<u64>(), 0..6_usize, 0..3_usize, flags, about).prop_map(
        |(seed, activation, scaling, flags, (kind, site, number))| {
            let wide = flags[0];
            let d_out = if wide { D + 3 } else { D };
            let mut parts = samples::plain(seed, d_out);
            parts.activation = match activation {
                0 => Activation::Relu,
                1 => Activation::TopK(3),
                2 => Activation::Threshold(samples::vector(seed, -0.1, 0.5)),
                3 => Activation::Threshold(samples::vector(seed, 0.25, 0.25)),
                4 => samples::gated(seed),
                _ => Activation::Linear(flags[1].then_some(3)),
            };
            if flags[2] {
                parts.encoder_bias = None;
            }
            if flags[3] {
                parts.decoder_bias = None;
            }
            parts.centred = flags[4] && !flags[3] && !wide;
            parts.rescaled = flags[5];
            parts.skip = flags[6].then(|| samples::matrix(seed, d_out, D));
            parts.scaling = [Scaling::None, Scaling::ConstantNorm, Scaling::LayerNorm][scaling];
            parts.about.kind = kind.into();
            parts.about.models = flags[7].then(|| "a \"model\"".into()).into_iter().collect();
            parts.about.sites = ["resid_post.1", "z.0", "z.0.2", "somewhere else"][..site.min(1)]
                .iter()
                .map(|site| (*site).into())
                .collect();
            if kind == "matryoshka" {
                parts.about.prefixes = vec![1, F];
                parts.about.more.insert("k".into(), 2.into());
            }
            parts.about.more.insert("model_name".into(), number.into());
            parts
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_format_can_hold_comes_back_as_it_was(parts in any_parts()) {
        let sae = Sae::new(parts.clone()).unwrap();
        for format in [Format::Microtome, Format::SaeLens, Format::DictionaryLearning, Format::Sparsify] {
            let folder = tempfile::tempdir().unwrap();
            let place = folder.path().join("one");
            match sae.save(&files(folder.path()), &place, format) {
                Ok(_) => prop_assert_eq!(spelled(load(&place).unwrap().parts()), spelled(&parts)),
                Err(error) => {
                    let said = format!("{} has no architecture for this ", format.word());
                    prop_assert!(error.message.starts_with(&said), "{}", error.message);
                    prop_assert!(!place.exists());
                }
            }
        }
    }
}
