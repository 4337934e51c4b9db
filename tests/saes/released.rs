//! Releases of every layout that is read, by the names that people know, from a hub on loopback: SAELens' releases and ids,
//! Neuronpedia's names, and circuit-tracer's words for sets of transcoders. The files are small ones with the names and keys of the
//! published ones.

use std::collections::BTreeMap;
use std::path::Path;

use microtome::base::{Result, Task};
use microtome::sae::releases;
use microtome::sae::transcoders::{Reads, Transcoders, TranscodersOptions, Writes};
use serde_json::json;

use super::samples::{load, spelled, tensors};
use super::scope::{SaeFolder, put};
use crate::support::hub::{Hub, Repo};

/// A config as SAELens wrote it in 2024, when hooks were points.
fn old_config() -> Vec<u8> {
    let config = json!({
        "model_name": "gpt2-small", "hook_point": "blocks.8.hook_resid_pre", "hook_point_layer": 8,
        "hook_point_head_index": null, "dataset_path": "Skylion007/openwebtext", "context_size": 128, "d_in": 32,
        "d_sae": 96, "dtype": "torch.float32", "device": "cuda", "l1_coefficient": 8e-5, "lr": 4e-4, "seed": 42,
    });
    serde_json::to_vec(&config).unwrap()
}

/// The config of circuit-tracer's set "gemma": its files are another repository's.
const LISTS: &str = "model_name: \"google/gemma-2-2b\"\nmodel_kind: \"transcoder_set\"\n\
    feature_input_hook: \"ln2.hook_normalized\"\nfeature_output_hook: \"hook_mlp_out\"\nscan: \"gemma-2-2b\"\n\
    transcoders:\n- \"hf://google/gemma-scope-2b-pt-transcoders/layer_0/width_16k/average_l0_76/params.npz\"\n\
    - \"hf://google/gemma-scope-2b-pt-transcoders/layer_1/width_16k/average_l0_65/params.npz\"\n";

fn hub(lists: &str) -> Hub {
    let saes = |name: &str| kit::fixture("saes").join(name);
    let set = |name: &str| kit::fixture("graphs").join(name).join("transcoder");
    let mut repos: BTreeMap<&str, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    let mut place = |repo, inside: &str, folder: &Path| put(repos.entry(repo).or_default(), inside, folder);
    place("jbloom/GPT2-Small-SAEs-Reformatted", "blocks.8.hook_resid_pre", &saes("saelens-standard"));
    place("jbloom/GPT2-Small-OAI-v5-32k-resid-post-SAEs", "v5_32k_layer_11.pt", &saes("saelens-topk"));
    let batch_top_k = saes("dictionary_learning-BatchTopKSAE");
    place("andyrdt/saes-llama-3.1-8b-instruct", "resid_post_layer_3/trainer_1", &batch_top_k);
    place("google/gemma-scope-2b-pt-res", "layer_20/width_16k/average_l0_71", &saes("gemma-scope-jumprelu"));
    for layer in ["layer_0/width_16k/average_l0_76", "layer_1/width_16k/average_l0_65"] {
        place("google/gemma-scope-2b-pt-transcoders", layer, &saes("gemma-scope-jumprelu"));
    }
    place("mwhanna/qwen3-4b-transcoders", "", &set("gpt2-relu"));
    place("mntss/clt-gemma-2-2b-2.5M", "", &set("gpt2-clt-relu"));
    place("mntss/transcoder-Llama-3.2-1B", "", &set("llama-relu-skip"));
    let old = ("blocks.8.hook_resid_pre/cfg.json".to_string(), old_config());
    repos.get_mut("jbloom/GPT2-Small-SAEs-Reformatted").unwrap().extend([old]);
    let listed = ("config.yaml".to_string(), lists.as_bytes().to_vec());
    repos.insert("mwhanna/gemma-scope-transcoders", [listed].into());
    let repo = |files| Repo { files, ..Repo::default() };
    Hub::new(repos.into_iter().map(|(name, files)| (name.to_string(), repo(files))).collect())
}

#[test]
fn a_release_of_each_layout_is_read() {
    let hub = hub(LISTS);
    let place = SaeFolder::new(&hub);
    let learned = "dictionary_learning-BatchTopKSAE";
    let scope = "gemma-scope-jumprelu";
    // The release and the id, or Neuronpedia's name; the fixture; its site and what it writes.
    let cases = [
        ("gpt2-small-res-jb/blocks.8.hook_resid_pre", "saelens-standard", "resid_pre.8", None),
        ("gpt2-small/8-res-jb", "saelens-standard", "resid_pre.8", None),
        ("gpt2-small-resid-post-v5-32k/blocks.11.hook_resid_post", "saelens-topk", "resid_post.3", None),
        ("llama-3.1-8b-instruct-andyrdt/resid_post_layer_3_trainer_1", learned, "resid_post.3", None),
        ("llama3.1-8b-it/3-resid-post-aa", learned, "resid_post.3", None),
        ("gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71", scope, "resid_post.20", None),
        ("gemma-2-2b/20-gemmascope-res-16k", scope, "resid_post.20", None),
        (
            "gemma-scope-2b-pt-transcoders/layer_1/width_16k/average_l0_65",
            scope,
            "blocks.1.ln2.hook_normalized",
            Some("mlp_out.1"),
        ),
        ("gemma-2-2b/0-gemmascope-transcoder-16k", scope, "blocks.0.ln2.hook_normalized", Some("mlp_out.0")),
    ];
    for (name, fixture, site, writes) in cases {
        let sae = place.load(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let about = &sae.parts().about;
        assert_eq!((about.site().as_str(), about.writes.as_deref()), (site, writes), "{name}");
        let folder = kit::fixture("saes").join(fixture);
        let expected = tensors(&folder.join("expected.safetensors"));
        let codes = sae.encode(&expected["x"]).unwrap();
        assert!(kit::far(&codes, &expected["codes"]) < 1e-5, "{name}");
    }
    let layer = place.load("mwhanna-qwen3-4b-transcoders/layer_1").unwrap();
    let here = load(&kit::fixture("graphs").join("gpt2-relu/transcoder/layer_1.safetensors")).unwrap();
    assert_eq!(spelled(layer.parts()), spelled(here.parts()));
}

#[test]
fn sets_of_transcoders_are_read_by_their_words_and_releases() {
    let hub = hub(LISTS);
    let place = SaeFolder::new(&hub);
    for (name, fixture) in [
        ("llama", "llama-relu-skip"),
        ("mwhanna-qwen3-4b-transcoders", "gpt2-relu"),
        ("mntss-gemma-2-2b-2.5m-clt-as-per-layer", "gpt2-clt-relu"),
    ] {
        let found = place.set(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let here = kit::fixture("graphs").join(fixture).join("transcoder");
        let options = TranscodersOptions::default();
        let wanted = Transcoders::load(&place.files(), here.to_str().unwrap(), &options, &Task::default()).unwrap();
        assert_eq!((found.kind(), found.layers().len()), (wanted.kind(), wanted.layers().len()), "{name}");
        for (found, wanted) in found.layers().iter().zip(wanted.layers()) {
            assert_eq!(kit::far(&found.encoder, &wanted.encoder), 0.0, "{name}");
        }
    }
    let error = releases::on_hub("mntss-gemma-2-2b-2.5m-clt-as-per-layer/layer_1").unwrap_err();
    assert!(error.hint.unwrap().contains("sae::transcoders(\"mntss/clt-gemma-2-2b-2.5M\")"));
}

#[test]
fn a_set_whose_config_lists_files_of_another_repository_is_those() {
    let hub = hub(LISTS);
    let place = SaeFolder::new(&hub);
    let found = place.set("gemma").unwrap();
    assert_eq!((found.layers().len(), found.reads, found.writes), (2, Reads::Normed, Writes::MlpOut));
    assert_eq!(found.model.as_ref().map(ToString::to_string).as_deref(), Some("google/gemma-2-2b"));
    let expected = tensors(&kit::fixture("saes").join("gemma-scope-jumprelu/expected.safetensors"));
    for layer in found.layers() {
        let codes = layer.fired(&layer.pre(&expected["x"]).unwrap()).unwrap();
        assert!(kit::far(&codes, &expected["codes"]) < 1e-5);
    }
    // Nothing but the listed files of the other repository was fetched.
    let folder = place.folder.path().join("hub/models--google--gemma-scope-2b-pt-transcoders/snapshots");
    let kept = walkdir::WalkDir::new(folder).into_iter().flatten().filter(|entry| entry.path().extension().is_some());
    let names: Vec<_> = kept.map(|entry| entry.file_name().to_owned()).collect();
    assert_eq!(names, ["params.npz", "params.npz"]);
}

fn listed(from: &str, to: &str) -> Result<Transcoders> {
    assert!(LISTS.contains(from));
    let hub = hub(&LISTS.replace(from, to));
    SaeFolder::new(&hub).set("gemma")
}

#[test]
fn a_list_that_is_none_of_layers_in_order_is_refused() {
    let message = |from: &str, to: &str| listed(from, to).unwrap_err().message;
    let twice = message("layer_1/width_16k/average_l0_65", "layer_0/width_16k/average_l0_76");
    assert!(twice.contains("expected a transcoder of layer 1 in the list, found one of layer 0"), "{twice}");
    let gone = message("average_l0_65", "average_l0_66");
    assert!(gone.contains("layer_1/width_16k/average_l0_66"), "{gone}");
    let local = message("hf://google/gemma-scope-2b-pt-transcoders/layer_0", "/home/layer_0");
    assert!(local.contains("expected `hf://org/name/path` in the list of transcoders"), "{local}");
    let crosses = listed("transcoder_set", "cross_layer_transcoder").unwrap_err();
    assert!(crosses.message.contains("lists the files of a cross-layer transcoder"), "{}", crosses.message);
}
