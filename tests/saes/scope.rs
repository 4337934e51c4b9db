//! Gemma Scope 2 from a hub, which is played by a small server on loopback: names, layouts, and what is refused before it
//! is fetched. The files are those of the fixtures, of which SAELens' own loader computed what is expected
//! (`tests/saes/gemma_scope_2.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kit::far;
use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::base::random::stream;
use microtome::base::{Error, Result, Task};
use microtome::checkpoint::hub::{HubSettings, Name};
use microtome::model::Model;
use microtome::sae::load::{LoadOptions, Loader};
use microtome::sae::transcoders::{Transcoders, TranscodersOptions};
use microtome::sae::{Format, Sae, releases};
use microtome::tensor::{DType, Device, Tensor};
use serde_json::json;

use super::samples::{numbers, spelled, tensors, write_tensors};
use crate::support::hub::{Hub, Repo};

const REPO: &str = "google/gemma-scope-2-270m-pt";
const CLT: &str = "gemma-scope-2-clt";

/// The files of a folder below a path of a repository, without what is expected of them.
pub fn put(files: &mut BTreeMap<String, Vec<u8>>, inside: &str, folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name != "expected.safetensors" {
            let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            files.insert(path, std::fs::read(entry.path()).unwrap());
        }
    }
}

fn clt() -> PathBuf {
    kit::fixture("transcoders").join(CLT)
}

fn hub() -> Hub {
    let mut files = BTreeMap::new();
    let layer = "layer_12_width_16k_l0_medium";
    for (inside, fixture) in [
        (format!("resid_post/{layer}"), "resid_post"),
        (format!("resid_post/{}", layer.replace("12", "15")), "resid_post"),
        (format!("attn_out/{layer}"), "attn_out"),
        (format!("mlp_out_all/{layer}"), "mlp_out"),
        (format!("transcoder_all/{layer}"), "transcoder"),
        (format!("transcoder_all/{layer}_affine"), "transcoder-affine"),
    ] {
        put(&mut files, &inside, &kit::fixture("saes").join(format!("gemma-scope-2-{fixture}")));
    }
    put(&mut files, "clt/width_262k_l0_medium_affine", &clt());
    let mut first = BTreeMap::new();
    for l0 in ["20", "71", "142"] {
        put(
            &mut first,
            &format!("layer_3/width_16k/average_l0_{l0}"),
            &kit::fixture("saes").join("gemma-scope-jumprelu"),
        );
    }
    let repos = [(REPO, files), ("google/gemma-scope-2b-pt-res", first)];
    let repo = |files| Repo { files, ..Repo::default() };
    Hub::new(repos.into_iter().map(|(name, files)| (name.to_string(), repo(files))).collect())
}

/// A folder of a user of the hub, with its cache.
pub struct SaeFolder<'a> {
    hub: &'a Hub,
    pub folder: tempfile::TempDir,
}

impl<'a> SaeFolder<'a> {
    pub fn new(hub: &'a Hub) -> Self {
        Self { hub, folder: tempfile::tempdir().unwrap() }
    }

    pub fn files(&self) -> Files {
        let rules = Rules { allow_net: vec!["127.0.0.1".into(), "localhost".into()], ..Rules::default() };
        Files::new(Access::new(&self.folder.path().join("out"), &rules).unwrap(), false)
    }

    fn settings(&self) -> HubSettings {
        let cache = self.folder.path().join("hub");
        HubSettings { endpoint: self.hub.address.clone(), cache, token: None, offline: false }
    }

    fn load_for(&self, text: &str, model: Option<&Model>) -> Result<Sae> {
        let files = self.files();
        let options = LoadOptions::default();
        let task = Task::default();
        Loader { files: &files, options: &options, model, task: &task }.hub(&self.settings(), &name(text))
    }

    pub fn load(&self, text: &str) -> Result<Sae> {
        self.load_for(text, None)
    }

    fn transcoders(&self, text: &str) -> Result<Transcoders> {
        self.on_hub(&name(text))
    }

    /// Loads the transcoders of all layers by a word or a release.
    pub fn set(&self, text: &str) -> Result<Transcoders> {
        self.on_hub(&releases::set_on_hub(text).unwrap().unwrap())
    }

    fn on_hub(&self, name: &Name) -> Result<Transcoders> {
        let options = TranscodersOptions::default();
        Transcoders::from_hub(&self.files(), &self.settings(), name, &options, &Task::default())
    }
}

fn name(text: &str) -> Name {
    releases::on_hub(text).unwrap().unwrap_or_else(|| Name::parse(text).unwrap())
}

/// Sums of products, spelled out: what JumpReLU gives of x, and what is decoded of that.
fn by_hand(tensors: &BTreeMap<String, Tensor>, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let [enc, b_enc, threshold, dec, b_dec] =
        ["w_enc", "b_enc", "threshold", "w_dec", "b_dec"].map(|name| numbers(&tensors[name]));
    let skip = tensors.get("affine_skip_connection").map(numbers);
    let d = b_dec.len();
    let features = b_enc.len();
    let codes: Vec<f32> = (0..features)
        .map(|f| (0..d).map(|i| x[i] * enc[i * features + f]).sum::<f32>() + b_enc[f])
        .zip(&threshold)
        .map(|(pre, threshold)| if pre > *threshold { pre.max(0.0) } else { 0.0 })
        .collect();
    let written = (0..d).map(|o| {
        let decoded: f32 = (0..features).map(|f| codes[f] * dec[f * d + o]).sum();
        let skipped: f32 = skip.iter().flat_map(|skip| (0..d).map(|i| x[i] * skip[i * d + o])).sum();
        decoded + b_dec[o] + skipped
    });
    let written = written.collect();
    (codes, written)
}

#[test]
fn dictionaries_are_found_by_their_release_and_by_their_path() {
    let hub = hub();
    let place = SaeFolder::new(&hub);
    let layer = "layer_12_width_16k_l0_medium";
    let cases = [
        ("res", "resid_post", "", vec!["resid_post.12"], None),
        ("att", "attn_out", "", vec!["z.12"], None),
        ("mlp-all", "mlp_out_all", "", vec!["mlp_out.12"], None),
        ("transcoders-all", "transcoder_all", "", vec!["mlp_in.12"], Some("mlp_out.12")),
        ("transcoders-all", "transcoder_all", "_affine", vec!["mlp_in.12"], Some("mlp_out.12")),
    ];
    for (release, path, ending, sites, writes) in cases {
        let by_release = place.load(&format!("gemma-scope-2-270m-pt-{release}/{layer}{ending}")).unwrap();
        let by_path = place.load(&format!("{REPO}/{path}/{layer}{ending}")).unwrap();
        assert_eq!(spelled(by_release.parts()), spelled(by_path.parts()));
        let about = &by_release.parts().about;
        assert_eq!(about.model().as_deref(), Some("google/gemma-3-270m"));
        assert_eq!(
            (about.site_names(), about.writes.as_deref()),
            (sites.iter().map(ToString::to_string).collect(), writes)
        );
        assert_eq!((&about.more["l0"], by_release.parts().centred), (&60.into(), false));
        let fixture = format!("gemma-scope-2-{}{}", path.trim_end_matches("_all"), ending.replace('_', "-"));
        let folder = kit::fixture("saes").join(fixture);
        let all = tensors(&folder.join("params.safetensors"));
        let expected = tensors(&folder.join("expected.safetensors"));
        assert!(far(by_release.reconstruct(&expected["x"]).unwrap(), &expected["recon"]) < 1e-5);
        let x = expected["x"].get(0).unwrap();
        let (codes, written) = by_hand(&all, &numbers(&x));
        assert!(far(&codes, numbers(&by_release.encode(&x).unwrap())) < 1e-5, "{path}");
        assert!(far(&written, numbers(&by_release.reconstruct(&x).unwrap())) < 1e-5, "{path}");
    }
    let error = releases::on_hub("gemma-scope-2-270m-pt-res/layer_12_width_16k_l0_mediun").unwrap_err();
    let hint = error.hint.unwrap();
    assert!(hint.contains("`gemma-scope-2-270m-pt-res/layer_12_width_16k_l0_medium`"), "{hint}");
    let error = place.load(&format!("{REPO}/resid_post/layer_12_width_16k_l0_mediun")).unwrap_err();
    let hint = "did you mean `google/gemma-scope-2-270m-pt/resid_post/layer_12_width_16k_l0_medium`?";
    assert_eq!(error.hint.as_deref(), Some(hint));
}

#[test]
fn a_script_names_it_as_people_do() {
    let hub = hub();
    let folder = tempfile::tempdir().unwrap();
    let code = "let s = sae::load(\"gemma-scope-2-270m-pt-res/layer_12_width_16k_l0_medium\"); \
                let t = sae::transcoders(\"gemma-scope-2-270m-pt-clt/width_262k_l0_medium_affine\"); \
                [s.sites[0], s.more.l0, t.to_string()]";
    let mut command = hub.command(folder.path());
    command.args(["--allow-net", "127.0.0.1", "--allow-net", "localhost", "--json", "-e", code]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    let expected = "[\"resid_post.12\",60,\"cross-layer transcoder of 3 layers, 72 features\"]";
    assert_eq!(said.trim(), expected, "{failed}");
}

#[test]
fn a_canonical_one_is_that_of_the_nearest_l0() {
    let hub = hub();
    let place = SaeFolder::new(&hub);
    let sae = place.load("google/gemma-scope-2b-pt-res/layer_3/width_16k/canonical").unwrap();
    let about = &sae.parts().about;
    assert_eq!((about.sites[0].name.as_str(), &about.more["l0"]), ("resid_post.3", &71.into()));
}

#[test]
fn cross_layer_transcoders_write_to_their_own_and_later_layers() {
    let hub = hub();
    let place = SaeFolder::new(&hub);
    let found = place.transcoders("gemma-scope-2-270m-pt-clt/width_262k_l0_medium_affine").unwrap();
    assert_eq!(
        (found.kind(), found.model.as_ref().map(ToString::to_string).as_deref()),
        ("cross-layer transcoder", Some("google/gemma-3-270m"))
    );
    let expected = tensors(&clt().join("expected.safetensors"));
    let (layers, rows, d) = expected["x"].dims3().unwrap();
    let all: Vec<BTreeMap<String, Tensor>> =
        (0..layers).map(|layer| tensors(&clt().join(format!("params_layer_{layer}.safetensors")))).collect();
    let mut written = vec![vec![0.0_f32; rows * d]; layers];
    for (layer, transcoder) in found.layers().iter().enumerate() {
        let x = expected["x"].get(layer).unwrap();
        let codes = transcoder.fired(&transcoder.pre(&x).unwrap()).unwrap();
        assert!(far(&codes, expected["codes"].get(layer).unwrap()) < 1e-5, "layer {layer}");
        assert_eq!(transcoder.written(), layers - layer);
        let features: Vec<u32> = (0..transcoder.features() as u32).collect();
        let decoder = transcoder.decoder.rows(&features).unwrap();
        let rows_of_file = all[layer]["w_dec"].narrow(1, layer, layers - layer).unwrap();
        assert_eq!(numbers(&decoder), numbers(&rows_of_file));
        let codes = numbers(&codes);
        let decoder = numbers(&decoder);
        let to = layers - layer;
        for (row, out, column) in every(rows, to, d) {
            let sum =
                (0..features.len()).map(|f| codes[row * features.len() + f] * decoder[(f * to + out) * d + column]);
            written[layer + out][row * d + column] += sum.sum::<f32>();
        }
        let skip = numbers(transcoder.skip.as_ref().unwrap());
        let bias = numbers(transcoder.decoder_bias.as_ref().unwrap());
        let x = numbers(&x);
        for (row, _, column) in every(rows, 1, d) {
            let skipped = (0..d).map(|i| x[row * d + i] * skip[column * d + i]);
            written[layer][row * d + column] += bias[column] + skipped.sum::<f32>();
        }
    }
    for (layer, written) in written.iter().enumerate() {
        assert!(far(written, numbers(&expected["recon"].get(layer).unwrap())) < 1e-5, "layer {layer}");
    }
}

/// All triples of numbers below these.
fn every(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

/// A folder with the files of the cross-layer fixture, in which something is changed.
fn changed(change: impl FnOnce(&Path)) -> Result<Transcoders> {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(clt()).unwrap().flatten() {
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    change(folder.path());
    let files = Files::unrecorded(&folder.path().join("out")).unwrap();
    Transcoders::load(&files, &folder.path().display().to_string(), &TranscodersOptions::default(), &Task::default())
}

fn config_with(folder: &Path, from: &str, to: &str) {
    let place = folder.join("config.json");
    let text = std::fs::read_to_string(&place).unwrap();
    assert!(text.contains(from));
    std::fs::write(&place, text.replace(from, to)).unwrap();
}

#[test]
fn what_is_no_cross_layer_transcoder_is_refused_by_name() {
    assert!(changed(|_| {}).is_ok());
    let message = |change: &dyn Fn(&Path)| changed(change).unwrap_err().message;
    let crosscoder = message(&|folder| config_with(folder, "\"clt\"", "\"crosscoder\""));
    assert!(
        crosscoder.contains("expected clt as `type` of a cross-layer transcoder, found crosscoder"),
        "{crosscoder}"
    );
    let stray = message(&|folder| config_with(folder, "\"l0\"", "\"temperature\""));
    assert!(stray.contains("temperature"), "{stray}");
    let without = message(&|folder| std::fs::remove_file(folder.join("config.json")).unwrap());
    assert!(without.contains("expected config.json beside params_layer_0.safetensors, found none"), "{without}");
    let gap = message(&|folder| std::fs::remove_file(folder.join("params_layer_1.safetensors")).unwrap());
    assert!(gap.contains("found no params_layer_1.safetensors"), "{gap}");
    let last = message(&|folder| std::fs::remove_file(folder.join("params_layer_2.safetensors")).unwrap());
    assert!(last.contains("expected a tensor `w_dec` as [24, 2, 16], found [24, 3, 16]"), "{last}");
    let affine = message(&|folder| config_with(folder, "true", "false"));
    assert!(affine.contains("`affine_connection` is false, and the file has a `affine_skip_connection`"), "{affine}");
    // A row that begins with its own layer has zeros at its end.
    let shifted = message(&|folder| {
        let place = folder.join("params_layer_1.safetensors");
        let mut all = tensors(&place);
        let own = all["w_dec"].narrow(1, 1, 2).unwrap().pad_with_zeros(1, 0, 1).unwrap();
        all.insert("w_dec".into(), own.contiguous().unwrap());
        write_tensors(&place, all);
    });
    assert!(shifted.contains("layer 1: expected zeros in `w_dec` for layers before layer 1, found "), "{shifted}");
}

#[test]
fn a_cross_layer_transcoder_is_no_dictionary_of_one_site() {
    let hub = hub();
    let error = SaeFolder::new(&hub).load(&format!("{REPO}/clt/width_262k_l0_medium_affine")).unwrap_err();
    assert!(error.message.contains("found a cross-layer one"), "{}", error.message);
    let hint = "sae::transcoders(\"google/gemma-scope-2-270m-pt/clt/width_262k_l0_medium_affine\") reads";
    assert!(error.hint.unwrap().starts_with(hint));
}

/// A model with random weights, of as many layers and of this width.
fn model(layers: usize, width: usize) -> Model {
    let config = json!({ "layers": layers, "d_model": width, "heads": 2, "vocab": 20, "context": 16 });
    let mut draws = stream(1, "model", 0);
    Model::init(&config, None, DType::F32, &mut draws, &Device::Cpu, &Task::default()).unwrap()
}

#[test]
fn another_width_and_another_site_are_refused_before_the_file_is_fetched() {
    let hub = hub();
    let res = "gemma-scope-2-270m-pt-res/layer_12_width_16k_l0_medium";
    let refused = |model: &Model| -> Error {
        let place = SaeFolder::new(&hub);
        let error = place.load_for(res, Some(model)).unwrap_err();
        // The beginning of the file was asked for, and no more.
        let asked = hub.asked_of_store();
        assert!(asked.iter().all(|request| request.header("range") == Some("bytes=0-65535")), "{asked:?}");
        let blobs = place.folder.path().join("hub/models--google--gemma-scope-2-270m-pt/blobs");
        let kept: Vec<u64> =
            std::fs::read_dir(blobs).unwrap().flatten().map(|one| one.metadata().unwrap().len()).collect();
        assert!(kept.iter().all(|length| *length < 1000), "only the config is kept: {kept:?}");
        error
    };
    let wide = refused(&model(14, 32));
    assert!(
        wide.message.contains("for resid_post.12 of made here, of width 32, found one of width 16 at resid_post.12"),
        "{}",
        wide.message
    );
    let shallow = refused(&model(12, 16));
    assert!(
        shallow.message.contains("of resid_post.12 of google/gemma-3-270m, which made here has not"),
        "{}",
        shallow.message
    );
    let place = SaeFolder::new(&hub);
    let sae = place.load_for(res, Some(&model(14, 16))).unwrap();
    assert_eq!(spelled(sae.parts()), spelled(place.load(res).unwrap().parts()));
}

#[test]
fn a_local_dictionary_is_refused_by_its_header() {
    let folder = kit::fixture("saes").join("gemma-scope-2-transcoder");
    let out = tempfile::tempdir().unwrap();
    let options = LoadOptions::default();
    let task = Task::default();
    let files = Files::unrecorded(out.path()).unwrap();
    let load = |model: &Model| Sae::load_for(&files, folder.to_str().unwrap(), model, &options, &task);
    assert!(load(&model(14, 16)).is_ok());
    assert!(load(&model(14, 8)).unwrap_err().message.contains("of width 8, found one of width 16 at mlp_in.12"));
    // Our own format says it in its metadata.
    let own = Files::unrecorded(&out.path().join("own")).unwrap();
    let place = out.path().join("own");
    load(&model(14, 16)).unwrap().save(&own, &place, Format::Microtome).unwrap();
    let again = Sae::load_for(&files, place.to_str().unwrap(), &model(12, 16), &options, &task);
    assert!(again.unwrap_err().message.contains("the dictionary is of mlp_in.12"));
}
