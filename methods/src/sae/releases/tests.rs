//! The table of published dictionaries: every name resolves, or is refused by what its layout is.

use super::table::releases;
use super::*;

fn found(text: &str) -> String {
    on_hub(text).unwrap().unwrap().to_string()
}

fn refused(text: &str) -> String {
    let error = on_hub(text).unwrap_err();
    assert_eq!(error.about.as_deref(), Some("source"), "{text}");
    format!("{}: {}", error.message, error.hint.unwrap_or_default())
}

#[test]
fn every_row_of_the_table_resolves_or_is_refused_by_its_layout() {
    let mut read = 0;
    let mut not_read = 0;
    for release in releases() {
        let ids = release.ids();
        assert!(!ids.is_empty(), "{}", release.name);
        for pair in ids {
            let text = format!("{}/{}", release.name, pair.key);
            match on_hub(&text) {
                Ok(name) => {
                    assert_eq!(name.unwrap().to_string(), format!("{}/{}", release.repo, pair.value));
                    read += 1;
                }
                Err(error) => {
                    let why = ["the layout of the release", "one by one", "normalised", "has a colon"];
                    assert!(why.iter().any(|why| error.message.contains(why)), "{text}: {}", error.message);
                    assert!(!error.message.contains("was not known"), "{text}: {}", error.message);
                    not_read += 1;
                }
            }
        }
        for pair in release.on_neuronpedia() {
            let theirs = on_hub(&pair.key).map_err(|error| error.message);
            let ours = on_hub(&format!("{}/{}", release.name, pair.value)).map_err(|error| error.message);
            assert_eq!(theirs, ours, "{}", pair.key);
        }
    }
    assert!(read > 12 * not_read, "{read} are read, {not_read} are not");
}

#[test]
fn releases_of_gemma_scope_are_repositories_of_the_hub() {
    let pairs = [
        ("2-270m-pt-res/layer_12_width_16k_l0_medium", "2-270m-pt/resid_post/layer_12_width_16k_l0_medium"),
        ("2-270m-it-res-all/layer_0_width_262k_l0_big", "2-270m-it/resid_post_all/layer_0_width_262k_l0_big"),
        ("2-1b-pt-att/layer_13_width_16k_l0_big", "2-1b-pt/attn_out/layer_13_width_16k_l0_big"),
        ("2-4b-it-mlp-all/layer_3_width_16k_l0_small", "2-4b-it/mlp_out_all/layer_3_width_16k_l0_small"),
        (
            "2-270m-pt-transcoders-all/layer_0_width_16k_l0_big_affine",
            "2-270m-pt/transcoder_all/layer_0_width_16k_l0_big_affine",
        ),
        // The ids of these have the folder in them, and this one is not in SAELens' table.
        (
            "2-270m-pt-transcoders/transcoder/layer_9_width_16k_l0_small_affine",
            "2-270m-pt/transcoder/layer_9_width_16k_l0_small_affine",
        ),
        ("2-270m-pt-clt/width_262k_l0_big_affine@abc", "2-270m-pt/clt/width_262k_l0_big_affine@abc"),
        ("2b-pt-res/layer_20/width_16k/average_l0_71", "2b-pt-res/layer_20/width_16k/average_l0_71"),
        ("9b-it-res-canonical/layer_9/width_16k/canonical", "9b-it-res/layer_9/width_16k/average_l0_88"),
        // A release that SAELens does not have.
        ("9b-it-mlp/layer_9/width_16k/average_l0_50", "9b-it-mlp/layer_9/width_16k/average_l0_50"),
    ];
    for (text, wanted) in pairs {
        assert_eq!(found(&format!("gemma-scope-{text}")), format!("google/gemma-scope-{wanted}"));
    }
}

#[test]
fn other_releases_have_ids_of_their_own() {
    let jb = "blocks.8.hook_resid_pre";
    assert_eq!(found(&format!("gpt2-small-res-jb/{jb}")), format!("jbloom/GPT2-Small-SAEs-Reformatted/{jb}"));
    let post = "gpt2-small-resid-post-v5-32k/blocks.11.hook_resid_post";
    assert_eq!(found(post), "jbloom/GPT2-Small-OAI-v5-32k-resid-post-SAEs/v5_32k_layer_11.pt");
    assert_eq!(found("gemma-2b-it-res-jb"), found("gemma-2b-it-res-jb/blocks.12.hook_resid_post"));
    assert_eq!(found("mwhanna-qwen3-4b-transcoders/layer_7@v1"), "mwhanna/qwen3-4b-transcoders/layer_7.safetensors@v1");
}

#[test]
fn dictionaries_have_the_names_of_neuronpedia() {
    assert_eq!(found("gpt2-small/6-res-jb"), "jbloom/GPT2-Small-SAEs-Reformatted/blocks.6.hook_resid_pre");
    let scope = "google/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82";
    assert_eq!(found("gemma-2-2b/12-gemmascope-res-16k"), scope);
    assert_eq!(
        refused("gpt2-small/6-res-jb/123"),
        "expected a dictionary, and `gpt2-small/6-res-jb/123` is a feature of one: \
         `sae::load(\"gpt2-small/6-res-jb\").feature(123)`"
    );
    let near = refused("gpt2-small/6-res-jbb");
    assert!(near.starts_with("Neuronpedia's `gpt2-small/6-res-jbb` is not known: did you mean `gpt2-small/6-res-jb`"));
}

#[test]
fn what_is_unknown_is_refused_with_the_nearest_ones() {
    let release = refused("gemma-scope-2-270m-pt-ress/layer_12");
    assert!(release.starts_with("unknown release of dictionaries `gemma-scope-2-270m-pt-ress`: did you mean `gemma-"));
    assert!(release.contains("`gemma-scope-2-270m-pt-res`"), "{release}");
    assert!(refused("gpt2-small-res-jbb/blocks.8.hook_resid_pre").contains("did you mean `gpt2-small-res-jb`"));
    let id = refused("gpt2-small-res-jb/blocks.12.hook_resid_pre");
    assert!(
        id.starts_with("the release `gpt2-small-res-jb` has no dictionary `blocks.12.hook_resid_pre`: did you mean")
    );
    assert!(id.contains("`gpt2-small-res-jb/blocks.1.hook_resid_pre`"), "{id}");
    let alone = refused("gpt2-small-res-jb");
    assert!(alone.starts_with("expected an id after the release, as `gpt2-small-res-jb/ID`: it has"), "{alone}");
    assert!(alone.ends_with("and 10 more"), "{alone}");
    let misspelt = refused("gemma-scope-2-270m-pt-res/layer_12_width_16k_l0_mediun");
    assert!(misspelt.contains("did you mean `gemma-scope-2-270m-pt-res/layer_12_width_16k_l0_medium`"), "{misspelt}");
    // An organisation may begin as a release does; a name without one is none that the hub has.
    assert_eq!(on_hub("gemma-scope-community/saes"), Ok(None));
    assert_eq!(on_hub("gpt2-small-saes/blocks.8.hook_resid_pre@v1"), Ok(None));
    assert!(refused("gemma-scope-community").starts_with("unknown release of dictionaries"));
    assert!(refused("gpt2_small_res_jb/blocks.8.hook_resid_pre").contains("did you mean `gpt2-small-res-jb`"));
    let missing = || err!(Name, "the hub has no such repository");
    let hint = or_release(missing(), "gemma-scope-2b-pt-resid-mid/layer_0").hint.unwrap();
    assert!(hint.starts_with("of releases, did you mean `gemma-scope-2b-pt-"), "{hint}");
    assert_eq!(or_release(missing(), "org/name").hint, None);
    for text in ["org/name", "google/gemma-scope-2-270m-pt/resid_post", "name", "", "folder/of/mine"] {
        assert_eq!(on_hub(text), Ok(None), "{text}");
    }
}

#[test]
fn layouts_that_are_not_read_are_named() {
    let scope = refused("llama_scope_lxr_8x/l15r_8x");
    assert!(scope.starts_with("the layout of the release `llama_scope_lxr_8x` is not read: that of Llama Scope, "));
    assert!(scope.contains("fnlp/Llama3_1-8B-Base-LXR-8x/Llama3_1-8B-Base-L15R-8x on the hub"), "{scope}");
    assert!(refused("mistral-7b-res-wg/blocks.8.hook_resid_pre").contains("(`constant_norm_rescale`)"));
    let layer = refused("mntss-gemma-2-2b-2.5m-clt-as-per-layer/layer_3");
    assert!(layer.ends_with("`sae::transcoders(\"mntss/clt-gemma-2-2b-2.5M\")` reads it as a whole"), "{layer}");
}

#[test]
fn sets_of_transcoders_have_words_and_releases() {
    let set = |text: &str| set_on_hub(text).unwrap().unwrap().to_string();
    assert_eq!(set("gemma"), "mwhanna/gemma-scope-transcoders");
    assert_eq!(set("llama@v1"), "mntss/transcoder-Llama-3.2-1B@v1");
    assert_eq!(set("mwhanna-qwen3-4b-transcoders"), "mwhanna/qwen3-4b-transcoders");
    assert_eq!(set("mntss-gemma-2-2b-2.5m-clt-as-per-layer"), "mntss/clt-gemma-2-2b-2.5M");
    assert_eq!(
        set("gemma-scope-2-1b-pt-clt/width_262k_l0_big_affine"),
        found("gemma-scope-2-1b-pt-clt/width_262k_l0_big_affine")
    );
    assert_eq!(set_on_hub("mntss/clt-131k"), Ok(None));
    assert!(refused("gemma").contains("`sae::transcoders(\"gemma\")` loads all of them"));
}
