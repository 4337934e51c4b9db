//! The names of published dictionaries in SAELens: a release and an id, as in
//! `gemma-scope-2-270m-pt-res/layer_12_width_16k_l0_medium`, for which the hub has a repository and a path.
//!
//! SAELens holds them in a table (`pretrained_saes.yaml`) of which the releases here are regular parts.

use crate::base::{Result, names};
use crate::checkpoint::hub::Name;
use crate::err;

/// The releases of the two editions of Gemma Scope, and how their paths begin, are made of these.
const SIZES: [&str; 5] = ["270m", "1b", "4b", "12b", "27b"];
const SIZES_OF_GEMMA_2: [&str; 3] = ["2b", "9b", "27b"];
const TUNED: [&str; 2] = ["pt", "it"];
const FOLDERS: [(&str, &str); 5] =
    [("res", "resid_post"), ("mlp", "mlp_out"), ("att", "attn_out"), ("transcoders", "transcoder"), ("clt", "clt")];
const SITES_OF_GEMMA_2: [&str; 3] = ["res", "mlp", "att"];

/// The L0 that is nearest to this one is canonical.
const CANONICAL_L0: usize = 100;
const CANONICAL: &str = "canonical";
const WITH_L0: &str = "average_l0_";

/// Placeholder of the layer in an id and in a path.
const LAYER: &str = "{}";

/// Other releases: the repository, the ids, and the paths; where an id has no layer, all ids are paths.
const OTHERS: [(&str, &str, &str, &str); 11] = [
    ("gpt2-small-res-jb", "jbloom/GPT2-Small-SAEs-Reformatted", "", ""),
    ("gpt2-small-res-jb-feature-splitting", "jbloom/GPT2-Small-Feature-Splitting-Experiment-Layer-8", "", ""),
    ("gemma-3-1b-res-matryoshka-dc", "chanind/gemma-3-1b-batch-topk-matryoshka-saes-w-32k-l0-40", "", ""),
    (
        "gpt2-small-resid-post-v5-32k",
        "jbloom/GPT2-Small-OAI-v5-32k-resid-post-SAEs",
        "blocks.{}.hook_resid_post",
        "v5_32k_layer_{}.pt",
    ),
    (
        "gpt2-small-resid-post-v5-128k",
        "jbloom/GPT2-Small-OAI-v5-128k-resid-post-SAEs",
        "blocks.{}.hook_resid_post",
        "v5_128k_layer_{}",
    ),
    (
        "gpt2-small-resid-mid-v5-32k",
        "jbloom/GPT2-Small-OAI-v5-32k-resid-mid-SAEs",
        "blocks.{}.hook_resid_mid",
        "v5_32k_layer_{}",
    ),
    (
        "gpt2-small-resid-mid-v5-128k",
        "jbloom/GPT2-Small-OAI-v5-128k-resid-mid-SAEs",
        "blocks.{}.hook_resid_mid",
        "v5_128k_layer_{}",
    ),
    (
        "gpt2-small-attn-out-v5-32k",
        "jbloom/GPT2-Small-OAI-v5-32k-attn-out-SAEs",
        "blocks.{}.hook_attn_out",
        "v5_32k_layer_{}",
    ),
    (
        "gpt2-small-attn-out-v5-128k",
        "jbloom/GPT2-Small-OAI-v5-128k-attn-out-SAEs",
        "blocks.{}.hook_attn_out",
        "v5_128k_layer_{}",
    ),
    (
        "gpt2-small-mlp-out-v5-32k",
        "jbloom/GPT2-Small-OAI-v5-32k-mlp-out-SAEs",
        "blocks.{}.hook_mlp_out",
        "v5_32k_layer_{}",
    ),
    (
        "gpt2-small-mlp-out-v5-128k",
        "jbloom/GPT2-Small-OAI-v5-128k-mlp-out-SAEs",
        "blocks.{}.hook_mlp_out",
        "v5_128k_layer_{}",
    ),
];

/// A release: its repository, and the path of an id in it.
struct Release {
    repo: String,
    paths: ReleasePaths,
}

enum ReleasePaths {
    /// An id is a path.
    Same,
    /// Paths below a folder, which an id may begin with.
    Below(String),
    /// The layer of an id stands in a path.
    Layers { id: &'static str, path: &'static str },
}

/// Returns the name of a dictionary as the hub has it, if the text is a release of SAELens with an id.
pub fn on_hub(text: &str) -> Result<Option<Name>> {
    let (path, revision) = text.split_once('@').map_or((text, None), |(path, revision)| (path, Some(revision)));
    let (release, id) = path.split_once('/').unwrap_or((path, ""));
    let Some((_, found)) = all().find(|(name, _)| name == release) else { return unknown(release) };
    let inside = found.paths.of(id)?;
    let mut name = format!("{}/{inside}", found.repo).trim_end_matches('/').to_string();
    name.extend(revision.map(|revision| format!("@{revision}")));
    Name::parse(&name).map(Some)
}

impl ReleasePaths {
    fn of(&self, id: &str) -> Result<String> {
        match self {
            ReleasePaths::Same => Ok(id.to_string()),
            ReleasePaths::Below(folder) if id.split('/').next() == Some(folder.as_str()) => Ok(id.to_string()),
            ReleasePaths::Below(folder) => Ok(format!("{folder}/{id}")),
            ReleasePaths::Layers { .. } if id.is_empty() => Ok(String::new()),
            ReleasePaths::Layers { id: of, path } => {
                let (before, after) = of.split_once(LAYER).unwrap_or((of, ""));
                let layer = id.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                let layer = layer.filter(|layer| !layer.is_empty() && layer.bytes().all(|b| b.is_ascii_digit()));
                layer.map(|layer| path.replace(LAYER, layer)).ok_or_else(|| {
                    err!(Name, "expected an id such as `{}`, found `{id}`", of.replace(LAYER, "0")).about("source")
                })
            }
        }
    }
}

/// Refuses what is named as the releases of Gemma Scope are, and is none of them; anything else is no release.
fn unknown(release: &str) -> Result<Option<Name>> {
    if !release.starts_with("gemma-scope-") {
        return Ok(None);
    }
    let known: Vec<String> = known().collect();
    let near = names::suggestion(release, known.iter().map(String::as_str));
    let hint = near.unwrap_or_else(|| "as in `gemma-scope-2-270m-pt-res/layer_12_width_16k_l0_medium`".into());
    Err(err!(Name, "unknown release of dictionaries `{release}`").hint(hint).about("source"))
}

/// Lists the names of all releases.
pub fn known() -> impl Iterator<Item = String> {
    all().map(|(name, _)| name)
}

fn all() -> impl Iterator<Item = (String, Release)> {
    let second = SIZES.into_iter().flat_map(|size| TUNED.map(|tuned| (size, tuned))).flat_map(|(size, tuned)| {
        FOLDERS.into_iter().flat_map(move |(kind, folder)| {
            ["", "-all"].map(|every| {
                let paths = ReleasePaths::Below(format!("{folder}{}", every.replace('-', "_")));
                let name = format!("gemma-scope-2-{size}-{tuned}");
                (format!("{name}-{kind}{every}"), Release { repo: format!("google/{name}"), paths })
            })
        })
    });
    let first = SIZES_OF_GEMMA_2.into_iter().flat_map(|size| TUNED.map(|tuned| (size, tuned)));
    let first =
        first.flat_map(|(size, tuned)| SITES_OF_GEMMA_2.map(|kind| format!("gemma-scope-{size}-{tuned}-{kind}")));
    let first = first.flat_map(|name| {
        ["", "-canonical"].map(|ending| {
            (format!("{name}{ending}"), Release { repo: format!("google/{name}"), paths: ReleasePaths::Same })
        })
    });
    let others = OTHERS.into_iter().map(|(name, repo, id, path)| {
        let paths = if id.is_empty() { ReleasePaths::Same } else { ReleasePaths::Layers { id, path } };
        (name.to_string(), Release { repo: repo.to_string(), paths })
    });
    second.chain(first).chain(others)
}

/// Returns whether a path is a canonical one, which stands for another path.
pub fn is_canonical(inside: &str) -> bool {
    inside.rsplit('/').next() == Some(CANONICAL)
}

/// Finds the path that `layer_20/width_16k/canonical` stands for among those of a repository: the one whose L0 is
/// nearest to 100. SAELens' table has these, but for one of two that are as near.
pub fn canonical<'a>(inside: &str, places: impl Iterator<Item = &'a str>) -> Result<Option<String>> {
    let Some(folder) = inside.strip_suffix(CANONICAL).filter(|_| is_canonical(inside)) else { return Ok(None) };
    let away = |place: &str| {
        let l0: usize = place.strip_prefix(folder)?.strip_prefix(WITH_L0)?.parse().ok()?;
        Some(l0.abs_diff(CANONICAL_L0))
    };
    let mut found: Vec<(usize, &str)> = places.filter_map(|place| Some((away(place)?, place))).collect();
    found.sort_unstable();
    match found.as_slice() {
        [(nearest, first), (next, second), ..] if nearest == next => {
            Err(err!(Name, "`{first}` and `{second}` are equally near to an L0 of {CANONICAL_L0}")
                .hint("name the one that you mean in place of `canonical`"))
        }
        [(_, first), ..] => Ok(Some(first.to_string())),
        [] => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> String {
        on_hub(text).unwrap().unwrap().to_string()
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
            // The ids of these have the folder in them.
            (
                "2-270m-pt-transcoders/transcoder/layer_9_width_16k_l0_small_affine",
                "2-270m-pt/transcoder/layer_9_width_16k_l0_small_affine",
            ),
            ("2-270m-pt-clt/width_262k_l0_big_affine@abc", "2-270m-pt/clt/width_262k_l0_big_affine@abc"),
            ("2b-pt-res/layer_20/width_16k/average_l0_71", "2b-pt-res/layer_20/width_16k/average_l0_71"),
            ("9b-it-res-canonical/layer_9/width_16k/canonical", "9b-it-res/layer_9/width_16k/canonical"),
            ("2-270m-pt-res", "2-270m-pt/resid_post"),
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
        let error = on_hub("gpt2-small-mlp-out-v5-128k/layer_3").unwrap_err();
        assert_eq!(error.message, "expected an id such as `blocks.0.hook_mlp_out`, found `layer_3`");
    }

    #[test]
    fn what_is_no_release_is_left_to_the_hub_and_a_misspelt_one_is_refused() {
        for text in ["org/name", "google/gemma-scope-2-270m-pt/resid_post", "name", "", "folder/of/mine"] {
            assert_eq!(on_hub(text), Ok(None), "{text}");
        }
        let error = on_hub("gemma-scope-2-270m-pt-ress/layer_12").unwrap_err();
        assert_eq!(error.message, "unknown release of dictionaries `gemma-scope-2-270m-pt-ress`");
        assert_eq!(error.hint.unwrap(), "did you mean `gemma-scope-2-270m-pt-res`?");
    }

    #[test]
    fn the_canonical_one_is_nearest_to_an_l0_of_100() {
        let all = ["20", "71", "139", "61", "142"].map(|l0| format!("layer_1/width_16k/average_l0_{l0}"));
        let places = || all.iter().map(String::as_str).chain(["layer_2/width_16k/average_l0_100", "layer_1/other"]);
        let found = canonical("layer_1/width_16k/canonical", places()).unwrap();
        assert_eq!(found.as_deref(), Some("layer_1/width_16k/average_l0_71"));
        assert_eq!(canonical("layer_1/width_16k/average_l0_20", places()), Ok(None));
        assert_eq!(canonical("layer_3/width_16k/canonical", places()), Ok(None));
        let tied = ["layer_1/width_16k/average_l0_64", "layer_1/width_16k/average_l0_136"];
        let error = canonical("layer_1/width_16k/canonical", tied.into_iter()).unwrap_err();
        assert!(error.message.ends_with("are equally near to an L0 of 100"), "{}", error.message);
    }
}
