//! Dictionaries from a hub, which is played by a small server on loopback.

use std::collections::BTreeMap;
use std::path::Path;

use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::base::{Result, Task};
use microtome::checkpoint::hub::{HubSettings, Name};
use microtome::sae::Sae;
use microtome::sae::load::{LoadOptions, Loader};

use super::samples::{load, spelled};
use crate::support::hub::{COMMIT, Hub, Repo};

/// Fixtures as the files of one repository, each below a folder of its own.
fn repo(folders: &[(&str, &str)]) -> Repo {
    let mut files = BTreeMap::from([("README.md".to_string(), b"me".to_vec())]);
    for (inside, fixture) in folders {
        for entry in std::fs::read_dir(kit::fixture("saes").join(fixture)).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            files.insert(path, std::fs::read(entry.path()).unwrap());
        }
    }
    Repo { files, ..Repo::default() }
}

fn hub() -> Hub {
    let several = [
        ("blocks.3.hook_resid_post", "saelens-topk"),
        ("layers.3", "sparsify-topk"),
        ("layer_3/width_16k/average_l0_20", "gemma-scope-jumprelu"),
    ];
    let repos = [
        ("org/one", repo(&[("", "saelens-gated")])),
        ("org/several", repo(&several)),
        ("google/gemma-scope-2b-pt-res", repo(&several[2..])),
    ];
    Hub::new(repos.into_iter().map(|(name, repo)| (name.to_string(), repo)).collect())
}

fn fetch(hub: &Hub, folder: &Path, offline: bool, name: &str) -> Result<Sae> {
    let settings = HubSettings { offline, ..hub.settings(folder) };
    let rules = Rules { allow_net: vec!["127.0.0.1".into(), "localhost".into()], ..Rules::default() };
    let files = Files::new(Access::new(&folder.join("out"), &rules).unwrap(), false);
    let options = LoadOptions::default();
    let task = Task::default();
    Loader { files: &files, options: &options, model: None, task: &task }.hub(&settings, &Name::parse(name).unwrap())
}

#[test]
fn a_repository_may_be_a_dictionary_or_hold_several() {
    let hub = hub();
    let folder = tempfile::tempdir().unwrap();
    let fetched = |name: &str| fetch(&hub, folder.path(), false, name);
    let local = |name: &str| load(&kit::fixture("saes").join(name)).unwrap();
    assert_eq!(spelled(fetched("org/one").unwrap().parts()), spelled(local("saelens-gated").parts()));
    let inside = fetched("org/several/blocks.3.hook_resid_post").unwrap();
    assert_eq!(spelled(inside.parts()), spelled(local("saelens-topk").parts()));
    assert_eq!(fetched("org/several/layers.3").unwrap().parts().about.site_names(), ["resid_post.3"]);
    let error = fetched("org/several").unwrap_err();
    assert_eq!(error.message, "expected one dictionary, found 3 in org/several");
    assert_eq!(
        error.hint.unwrap(),
        "choose one as `org/several/PATH`: blocks.3.hook_resid_post, layer_3/width_16k/average_l0_20, layers.3"
    );
    let error = fetched("org/several/layers.4").unwrap_err();
    assert_eq!(error.hint.unwrap(), "did you mean `org/several/layers.3`?");
}

#[test]
fn the_place_on_the_hub_says_model_and_site() {
    let hub = hub();
    let folder = tempfile::tempdir().unwrap();
    let sae = fetch(&hub, folder.path(), false, "google/gemma-scope-2b-pt-res/layer_3").unwrap();
    assert_eq!(sae.parts().about.model().as_deref(), Some("google/gemma-2-2b"));
    assert_eq!(sae.parts().about.site_names(), ["resid_post.3"]);
}

#[test]
fn what_was_fetched_is_found_without_a_network() {
    let hub = hub();
    let folder = tempfile::tempdir().unwrap();
    let name = "org/several/layers.3";
    assert!(fetch(&hub, folder.path(), true, name).unwrap_err().message.contains("is not in the cache"));
    let first = fetch(&hub, folder.path(), false, name).unwrap();
    let asked = hub.asked().len();
    assert!(asked > 0);
    assert_eq!(spelled(fetch(&hub, folder.path(), true, name).unwrap().parts()), spelled(first.parts()));
    // The files of a commit never change.
    fetch(&hub, folder.path(), false, &format!("{name}@{COMMIT}")).unwrap();
    assert!(hub.asked().is_empty());
    // Only its own files were downloaded.
    let root = folder.path().join("hub/models--org--several/snapshots").join(COMMIT);
    let kept: Vec<_> = std::fs::read_dir(root).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(kept, ["layers.3"]);
}
