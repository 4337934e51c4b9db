//! What loaders must refuse and writers must not drop: unknown names, sizes that do not fit, NaN and infinity.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use microtome::base::Error;
use microtome::sae::baselines::nonnegative;
use microtome::sae::load::LoadOptions;
use microtome::sae::{Activation, Format, Parts, Sae, Scaling};
use microtome::tensor::{DType, Device, Tensor, create};
use serde_json::{Value, json};

use super::samples::{D, F, files, json_of, load, load_as, plain, tensors, vector, write_tensors};

/// A fixture that can be changed.
struct Copy {
    folder: tempfile::TempDir,
    weights: PathBuf,
    config: PathBuf,
}

impl Copy {
    fn of(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = kit::fixture("saes").join(name);
        for entry in std::fs::read_dir(&from).unwrap().flatten() {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let first = |names: [&str; 3]| {
            names.map(|name| folder.path().join(name)).into_iter().find(|path| path.exists()).unwrap_or_default()
        };
        let weights = first(["sae_weights.safetensors", "sae.safetensors", "ae.pt"]);
        let config = first(["cfg.json", "config.json", "config.yaml"]);
        Self { folder, weights, config }
    }

    fn tensors(self, change: impl Fn(&mut BTreeMap<String, Tensor>)) -> Self {
        let mut all = tensors(&self.weights);
        change(&mut all);
        write_tensors(&self.weights, all);
        self
    }

    fn config(self, change: impl Fn(&mut Value)) -> Self {
        let mut config = json_of(&self.config);
        change(&mut config);
        std::fs::write(&self.config, config.to_string()).unwrap();
        self
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn error(&self) -> Error {
        load(self.path()).unwrap_err()
    }

    /// The message without the name of the temporary folder.
    fn said(&self) -> String {
        self.error().message.replace(&format!("{}: ", self.path().display()), "")
    }
}

fn zeros(dims: &[usize]) -> Tensor {
    create::zeros(dims, DType::F32).unwrap()
}

#[test]
fn tensors_that_are_unknown_missing_or_of_another_shape() {
    let extra = Copy::of("saelens-standard").tensors(|all| {
        all.insert("W_gate".into(), zeros(&[2]));
    });
    assert_eq!(extra.said(), "found a tensor that saelens `standard` does not have: `W_gate`");
    let missing = Copy::of("saelens-jumprelu").tensors(|all| {
        all.remove("threshold");
    });
    assert_eq!(missing.said(), "expected a tensor `threshold`, found none of that name");
    let named = Copy::of("saelens-jumprelu").tensors(|all| {
        let threshold = all.remove("threshold").unwrap();
        all.insert("log_threshold".into(), threshold);
    });
    assert!(named.error().hint.unwrap().contains("the file has `log_threshold`"));
    let turned = Copy::of("saelens-standard").tensors(|all| {
        all.insert("W_enc".into(), zeros(&[96, 32]));
    });
    assert_eq!(turned.said(), "expected d_in 32, as the config says, found 96 in tensor `W_enc`");
    let short = Copy::of("saelens-standard").tensors(|all| {
        all.insert("b_enc".into(), zeros(&[95]));
    });
    assert_eq!(short.said(), "tensor `b_enc`: expected shape [96], found [95]");
    let flat = Copy::of("sparsify-topk").tensors(|all| {
        all.insert("encoder.weight".into(), zeros(&[96]));
    });
    assert_eq!(flat.said(), "expected a matrix in tensor `encoder.weight`, found the shape [96]");
    let skip = Copy::of("saelens-transcoder").tensors(|all| {
        all.insert("W_skip".into(), zeros(&[32, 32]));
    });
    assert_eq!(skip.said(), "found a tensor that saelens `transcoder` does not have: `W_skip`");
}

#[test]
fn numbers_that_are_none_are_named_with_their_place() {
    for (odd, said) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let broken = Copy::of("saelens-standard").tensors(|all| {
            let mut values = vec![0.5_f32; 96 * 32];
            values[32 * 3 + 5] = odd;
            all.insert("W_dec".into(), Tensor::from_vec(values, (96, 32), &Device::Cpu).unwrap());
        });
        assert_eq!(broken.said(), format!("expected numbers in tensor `W_dec`, found {said} at [3, 5]"));
    }
    let whole = Copy::of("saelens-standard").tensors(|all| {
        all.insert("b_dec".into(), create::zeros(&[32], DType::I64).unwrap());
    });
    assert!(whole.said().contains("expected floats in tensor `b_dec`, found i64"), "{}", whole.said());
}

#[test]
fn architectures_that_are_unknown() {
    let lens = Copy::of("saelens-standard").config(|config| config["architecture"] = json!("spectral"));
    assert_eq!(lens.said(), "the architecture `spectral` of saelens is not known here");
    let temporal = Copy::of("saelens-standard").config(|config| config["architecture"] = json!("temporal"));
    assert_eq!(temporal.said(), "this is a `temporal` dictionary, whose codes depend on the tokens before");
    assert!(temporal.error().hint.unwrap().contains("sae::load_temporal"));
    let near = Copy::of("saelens-jumprelu").config(|config| config["architecture"] = json!("jump_relu"));
    assert_eq!(near.error().hint.unwrap(), "did you mean `jumprelu`?");
    let training = Copy::of("saelens-jumprelu").config(|config| config["architecture"] = json!("batchtopk"));
    assert!(training.said().contains("a `batchtopk` dictionary in training"), "{}", training.said());
    let learned = Copy::of("dictionary_learning-AutoEncoder")
        .config(|config| config["trainer"]["dict_class"] = json!("CrossCoder"));
    assert_eq!(learned.said(), "the architecture `CrossCoder` of dictionary_learning is not known here");
    let sparse = Copy::of("sparsify-topk").config(|config| config["activation"] = json!("groupmax"));
    assert_eq!(sparse.said(), "the architecture `groupmax` of sparsify is not known here");
}

#[test]
fn keys_that_are_unknown_or_change_what_is_computed() {
    let unknown = Copy::of("saelens-topk").config(|config| config["rescale_acts_by_decoder_nrom"] = json!(true));
    assert!(unknown.said().contains("the config key `rescale_acts_by_decoder_nrom` (true) is not known"));
    let ignored = LoadOptions { ignore: vec!["rescale_acts_by_decoder_nrom".into()], ..LoadOptions::default() };
    load_as(unknown.path(), &ignored).unwrap();
    let silent = Copy::of("saelens-standard").config(|config| config["activation_fn"] = json!("topk"));
    assert!(silent.said().contains("the config key `activation_fn`"), "{}", silent.said());
    let scaled = Copy::of("saelens-standard")
        .config(|config| config["normalize_activations"] = json!("expected_average_only_in"));
    let error = scaled.error();
    assert!(error.message.contains("times a factor that its files do not have"), "{}", error.message);
    assert!(error.hint.unwrap().contains("fold_activation_norm_scaling_factor"));
    let folded = LoadOptions { ignore: vec!["normalize_activations".into()], ..LoadOptions::default() };
    load_as(scaled.path(), &folded).unwrap();
    let white =
        Copy::of("saelens-standard").config(|config| config["normalize_activations"] = json!("covariance_whitening"));
    assert!(white.said().contains("`covariance_whitening`, which is not known here"));
    let centred = Copy::of("saelens-transcoder").config(|config| config["apply_b_dec_to_input"] = json!(true));
    assert!(centred.said().contains("does not subtract the decoder bias from its input"));
    let heads = Copy::of("saelens-standard").config(|config| config["reshape_activations"] = json!("hook_z"));
    assert!(heads.said().contains("folds away heads, and `resid_post.3` has none"), "{}", heads.said());
    let d_sae = Copy::of("saelens-standard").config(|config| config["d_sae"] = json!(95));
    assert!(d_sae.said().contains("expected d_sae 95, as the config says, found 96"), "{}", d_sae.said());
    let no_width = Copy::of("saelens-standard").config(|config| {
        config.as_object_mut().unwrap().remove("d_in");
    });
    assert_eq!(no_width.said(), "expected the config key `d_in`, found none");
    let sparse = Copy::of("sparsify-topk").config(|config| config["signed"] = json!(true));
    assert!(sparse.said().contains("the config key `signed` is true, which is not implemented"), "{}", sparse.said());
    let skipped = Copy::of("sparsify-topk").config(|config| config["skip_connection"] = json!(true));
    assert_eq!(skipped.said(), "the config key `skip_connection` is true, and of a tensor `W_skip` there is none");
    let stray = Copy::of("dictionary_learning-AutoEncoder").config(|config| config["trianer"] = json!(1));
    assert!(stray.said().contains("the config key `trianer`"), "{}", stray.said());
    let ours = Copy::of("sparsify-topk").config(|config| config["microtome"] = json!({ "kind": "topk", "odd": 1 }));
    assert!(ours.said().contains("microtome: the config key `odd`"), "{}", ours.said());
}

#[test]
fn a_k_that_cannot_be() {
    for (k, said) in
        [(json!(97), "from 1 to 96"), (json!(0), "from 1 to 96"), (json!(-1), "a size"), (json!(null), "`k`")]
    {
        let found = Copy::of("saelens-topk").config(|config| config["k"] = k.clone()).said();
        assert!(found.contains(said), "{k}: {found}");
    }
    let other = Copy::of("dictionary_learning-AutoEncoderTopK").config(|config| config["trainer"]["k"] = json!(9));
    assert_eq!(other.said(), "the config says that k is 9, and the tensor `k` is 8");
}

#[test]
fn configs_of_saelens_before_version_6() {
    let old = |change: fn(&mut serde_json::Map<String, Value>)| {
        Copy::of("saelens-standard").config(move |config| {
            let mut flat = json!({
                "model_name": "gpt2-small", "hook_point": "blocks.8.hook_resid_pre", "hook_point_layer": 8,
                "hook_point_head_index": null, "dataset_path": "org/text", "context_size": 128, "d_in": 32, "d_sae": 96,
                "dtype": "torch.float32", "device": "mps", "l1_coefficient": 8e-5, "lr": 0.0004,
                "activation_fn_str": "relu", "normalize_activations": false, "finetuning_scaling_factor": false,
            });
            change(flat.as_object_mut().unwrap());
            *config = flat;
        })
    };
    let plain = old(|_| {}).tensors(|all| {
        all.insert("scaling_factor".into(), Tensor::ones(96, DType::F32, &Device::Cpu).unwrap());
    });
    let sae = load(plain.path()).unwrap();
    let about = &sae.parts().about;
    assert_eq!((about.kind.as_str(), about.model().as_deref()), ("relu", Some("gpt2-small")));
    assert_eq!(about.site_names(), ["resid_pre.8"]);
    assert_eq!(about.more["dataset_path"], "org/text");
    assert!(sae.parts().centred);
    let topk = old(|flat| {
        flat.insert("activation_fn_str".into(), json!("topk"));
        flat.insert("activation_fn_kwargs".into(), json!({ "k": 7 }));
    });
    assert!(matches!(load(topk.path()).unwrap().parts().activation, Activation::TopK(7)));
    let head = old(|flat| {
        flat.insert("hook_point".into(), json!("blocks.8.attn.hook_q"));
        flat.insert("hook_point_head_index".into(), json!(3));
    });
    assert_eq!(load(head.path()).unwrap().parts().about.site_names(), ["q.8.3"]);
    let scaled = old(|_| {}).tensors(|all| {
        all.insert("scaling_factor".into(), zeros(&[96]));
    });
    assert_eq!(scaled.said(), "expected ones in tensor `scaling_factor`, found 0");
    let refused = |change: fn(&mut serde_json::Map<String, Value>)| old(change).said();
    assert!(
        refused(|flat| drop(flat.insert("activation_fn_str".into(), json!("topk"))))
            .contains("does not go with `standard`")
    );
    assert!(refused(|flat| drop(flat.insert("activation_fn_str".into(), json!("tanh-relu")))).contains("`tanh-relu`"));
    assert!(refused(|flat| drop(flat.insert("normalize_activations".into(), json!(true)))).contains("times a factor"));
    assert!(refused(|flat| drop(flat.insert("finetuning_scaling_factor".into(), json!(true)))).contains("is true"));
    assert!(refused(|flat| drop(flat.insert("sprasity".into(), json!(1)))).contains("the config key `sprasity`"));
}

#[test]
fn transcoders_of_circuit_tracer_lie_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let parts = plain(1, D);
    let mut all = BTreeMap::from([
        ("W_enc".to_string(), parts.encoder.clone()),
        ("W_dec".to_string(), parts.decoder.clone()),
        ("b_enc".to_string(), parts.encoder_bias.clone().unwrap()),
        ("b_dec".to_string(), parts.decoder_bias.clone().unwrap()),
    ]);
    write_tensors(&folder.path().join("layer_0.safetensors"), all.clone());
    let threshold = vector(1, 0.1, 0.4);
    all.insert("activation_function.threshold".into(), threshold.clone());
    all.insert("W_skip".into(), zeros(&[D, D]));
    write_tensors(&folder.path().join("layer_1.safetensors"), all);
    let yaml = |kind: &str| {
        format!(
            "model_name: \"org/small\"\nmodel_kind: {kind}\nfeature_input_hook: mlp.hook_in\nscan: x\ntranscoders:\n- a\n"
        )
    };
    std::fs::write(folder.path().join("config.yaml"), yaml("transcoder_set")).unwrap();
    let error = load(folder.path()).unwrap_err();
    assert!(error.message.contains("expected one dictionary, found 2"), "{}", error.message);
    assert!(error.hint.unwrap().ends_with("layer_0.safetensors, layer_1.safetensors"));
    let first = load(&folder.path().join("layer_0.safetensors")).unwrap();
    assert_eq!((first.parts().about.kind.as_str(), first.parts().activation.name()), ("transcoder", "relu"));
    assert_eq!(first.parts().about.site_names(), ["mlp_in.0"]);
    let second = load(&folder.path().join("layer_1.safetensors")).unwrap();
    assert_eq!((second.parts().about.kind.as_str(), second.parts().activation.name()), ("skip_transcoder", "jumprelu"));
    std::fs::write(folder.path().join("config.yaml"), yaml("cross_layer_transcoder")).unwrap();
    assert!(load(&folder.path().join("layer_1.safetensors")).unwrap_err().message.contains("cross_layer_transcoder"));
}

#[test]
fn a_second_edition_of_gemma_scope_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("resid_post/layer_3_width_16k_l0_small");
    std::fs::create_dir_all(&place).unwrap();
    let parts = plain(1, D);
    let all = BTreeMap::from([
        ("w_enc".to_string(), parts.encoder.t().unwrap().contiguous().unwrap()),
        ("w_dec".to_string(), parts.decoder.clone()),
        ("b_enc".to_string(), parts.encoder_bias.clone().unwrap()),
        ("b_dec".to_string(), parts.decoder_bias.clone().unwrap()),
        ("threshold".to_string(), vector(1, 0.1, 0.4)),
    ]);
    write_tensors(&place.join("params.safetensors"), all);
    let config = json!({ "architecture": "jump_relu", "model_name": "gemma-3", "hf_hook_point_in": "a", "l0": 20 });
    std::fs::write(place.join("config.json"), config.to_string()).unwrap();
    // The only dictionary below a folder is loaded.
    let sae = load(folder.path()).unwrap();
    let about = &sae.parts().about;
    assert_eq!((about.model().as_deref(), about.site()), (Some("gemma-3"), "resid_post.3".to_string()));
    assert_eq!((sae.d_in(), sae.d_sae()), (D, F));
}

#[test]
fn what_no_architecture_can_hold_is_refused_by_name() {
    let said = |parts: Parts, format: Format| {
        let folder = tempfile::tempdir().unwrap();
        Sae::new(parts).unwrap().save(&files(folder.path()), folder.path(), format).unwrap_err().message
    };
    let parts = || plain(1, D);
    let kind = |kind: &str, mut parts: Parts| {
        parts.about.kind = kind.into();
        parts
    };
    let linear = kind("pca", Parts { activation: Activation::Linear(None), ..parts() });
    assert_eq!(
        said(linear, Format::SaeLens),
        "saelens has no architecture for this `pca` dictionary: its codes are linear in the input"
    );
    let new = kind("topk", Parts { activation: Activation::TopK(3), ..parts() });
    assert!(
        said(new.clone(), Format::Sparsify)
            .contains("`topk` subtracts the decoder bias from the input, and this does not")
    );
    assert!(said(kind("transcoder", new), Format::DictionaryLearning).contains("writes to another site than it reads"));
    let sum = nonnegative(zeros(&[F, D]), None);
    let nmf = kind("nmf", Parts { activation: sum, encoder_bias: None, ..parts() });
    assert!(said(nmf, Format::SaeLens).contains("this `nmf` dictionary: each of its codes depends on all others"));
    let jumps = Parts { activation: Activation::Threshold(vector(1, 0.1, 0.5)), centred: true, ..parts() };
    assert!(said(jumps, Format::DictionaryLearning).contains("and this "));
    let scaled = Parts { scaling: Scaling::LayerNorm, ..parts() };
    assert!(said(scaled, Format::DictionaryLearning).contains("cannot normalise each input"));
    let rescaled = Parts { rescaled: true, ..parts() };
    assert!(said(rescaled, Format::SaeLens).contains("cannot multiply codes by the norms"));
    let skip = Parts { skip: Some(zeros(&[D, D])), ..parts() };
    assert!(said(skip, Format::SaeLens).contains("`standard` has no skip connection"));
    let mut several = parts();
    several.about.sites.push("resid_post.4".into());
    assert!(said(several, Format::SaeLens).contains("no place for several sites"));
    assert!(said(parts(), Format::GemmaScope).contains("can be loaded, but not saved"));
}

#[test]
fn places_without_a_dictionary_say_what_would_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let error = load(folder.path()).unwrap_err();
    assert!(error.message.contains("expected a dictionary in"), "{}", error.message);
    assert!(error.hint.unwrap().contains("sae_weights.safetensors"));
    let error = load(Path::new("./no/such/place")).unwrap_err();
    assert!(error.message.contains("there is no such file or folder"), "{}", error.message);
    let all = load(&kit::fixture("saes")).unwrap_err();
    assert!(all.message.contains("expected one dictionary, found 28"), "{}", all.message);
    let other = LoadOptions { format: Some(Format::Tied), ..LoadOptions::default() };
    assert_eq!(load_as(&kit::fixture("saes"), &other).unwrap().parts().about.kind.as_str(), "tied");
}

/// Whatever a file contains, loading it returns a dictionary or an error.
#[test]
fn broken_files_are_errors() {
    for (name, file) in [
        ("saelens-topk", "sae_weights.safetensors"),
        ("saelens-topk", "cfg.json"),
        ("dictionary_learning-MatryoshkaBatchTopKSAE", "ae.pt"),
        ("dictionary_learning-MatryoshkaBatchTopKSAE", "config.json"),
        ("gemma-scope-jumprelu", "params.npz"),
    ] {
        let copy = Copy::of(name);
        let path = copy.path().join(file);
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 1, 7, 8, 9, 60, 200, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length.min(whole.len() - 1)]).unwrap();
            assert!(load(copy.path()).is_err(), "{name}/{file}: {length}");
        }
        // The first bytes are headers, the last ones belong to an archive.
        let places = (0..400).chain(whole.len().saturating_sub(400)..whole.len()).filter(|place| place % 7 == 0);
        for place in places.filter(|place| *place < whole.len()) {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x5a;
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(sae) = load(copy.path()) {
                assert!(sae.d_sae() > 0);
            }
        }
    }
}

/// Headers that claim more than the file has do not allocate memory.
#[test]
fn sizes_that_lie_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let huge = 1_u64 << 40;
    let header = format!(
        r#"{{"encoder":{{"dtype":"F32","shape":[{huge},{huge}],"data_offsets":[0,4]}},"encoder_bias":{{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}}}"#
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([0; 8]);
    std::fs::write(folder.path().join("dict.safetensors"), bytes).unwrap();
    assert!(load(folder.path()).is_err());
    let pickle = Copy::of("dictionary_learning-BatchTopKSAE");
    std::fs::write(&pickle.weights, b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.").unwrap();
    assert!(pickle.error().hint.is_some() || !pickle.said().is_empty());
}
