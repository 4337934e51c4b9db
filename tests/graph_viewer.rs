//! The folder of `g.save_viewer` in circuit-tracer's own viewer, in headless Chromium: the viewer's page, and the
//! libraries that it loads from other hosts, all from one server on loopback.
//!
//! `MICROTOME_VIEWER` names a folder with circuit-tracer's unpacked wheel, `MICROTOME_NODE` one whose `node_modules` has
//! what `tests/mcp/package.json` names; without them the test says that it is skipped.

use std::path::{Path, PathBuf};

use kit::http::answer;
use serde_json::{Value, json};

use crate::library_index::StaticServer;
use crate::page::chromium;
use crate::support::browser::Browser;
use crate::support::{client, microtome, printed};

/// A graph with all of its nodes; the first of its features has a card, with contexts.
const SCRIPT: &str = r#"
let m = model::load("tiny");
let text = data::texts(["The boy saw a dog."]);
let transcoder = |layer| {
    sae::transcoder(m, `mlp_in.${layer}`, `mlp_out.${layer}`, text, #{ k: 2, ratio: 1, steps: 1, seed: 1 })
};
let transcoders = range(0, m.config.layers).map(transcoder);
let graph = circuit::attribution_graph(m, transcoders, "The boy saw a dog", #{ logits: 2 });
let all = graph.prune(#{ nodes: 1, edges: 1 });
let first = all.nodes.find(|node| "feature" in node);
let card = features::card(m, transcoders[first.level - 1].feature(first.feature), text);
graph.save_viewer(all, [card], "viewer");
"#;

/// Where the page and its scripts are in the wheel.
const ASSETS: &str = "circuit_tracer/frontend/assets";

/// Adds jetpack to d3 as the page expects it: a page has no `require`, and the published version draws axes by a
/// function of d3, the page's own by one of the conventions.
const JETPACK: &str = "{
const [exports, module, require] = [{}, {}, () => ({ ...d3, ...exports })];
PACKAGES
Object.assign(d3, { ...exports, ...d3 });
const { conventions } = d3;
d3.conventions = (options) => {
  const made = conventions(options);
  made.drawAxis = (svg) => d3.drawAxis({ ...made, svg });
  return made;
};
}";

/// The marks of nodes, in the drawing of the whole graph.
const NODES: &str = "d3.selectAll('.link-graph text.node')";
/// On how many layers of the drawing links are drawn.
const DRAWN: &str = "[...document.querySelectorAll('.link-graph canvas')].filter(canvas => { \
                     const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height); \
                     return data.some(number => number !== 0); }).length";

/// What the page is made of.
#[derive(Clone)]
struct Viewer {
    assets: PathBuf,
    libraries: PathBuf,
    graph: PathBuf,
}

impl Viewer {
    /// Returns the page, with the libraries of other hosts in a folder of this one.
    fn page(&self) -> String {
        let page = std::fs::read_to_string(self.assets.join("index.html")).unwrap();
        let mut parts = page.split("src='https://");
        let mut here = parts.next().unwrap().to_string();
        for part in parts {
            let (address, rest) = part.split_once('\'').unwrap();
            let (_, name) = address.rsplit_once('/').unwrap();
            here += &format!("src='./libraries/{name}'{rest}");
        }
        here
    }

    /// Returns a library by the name that the page has for it. Two have no package, and nothing on the page uses them.
    fn library(&self, name: &str) -> Option<String> {
        let script = |path: &str| std::fs::read_to_string(self.libraries.join(path)).ok();
        match name {
            "d3.js" => script("d3/dist/d3.min.js"),
            "jetpack_2024-07-20.js" => {
                let nests = script("d3-collection/dist/d3-collection.min.js")?;
                let packages = [nests, script("d3-jetpack/build/d3-jetpack.cjs")?];
                Some(JETPACK.replace("PACKAGES", &packages.join("\n")))
            }
            "dagre.min.js" => script("dagre/dist/dagre.min.js"),
            "pako.min.js" => script("pako/dist/pako.min.js"),
            "hotserver-client-ws.js" | "npy_v0.js" => Some(String::new()),
            _ => None,
        }
    }

    /// Returns what is at a path, as circuit-tracer's server has it.
    fn file(&self, path: &str) -> Option<Vec<u8>> {
        match path.split_once('/') {
            Some(("data" | "graph_data", path)) => std::fs::read(self.graph.join(path)).ok(),
            Some(("libraries", name)) => Some(self.library(name)?.into_bytes()),
            None if path == "index.html" => Some(self.page().into_bytes()),
            // Chromium asks for it, not the page.
            None if path == "favicon.ico" => Some(Vec::new()),
            _ => std::fs::read(self.assets.join(path)).ok(),
        }
    }

    fn answer(&self, path: &str) -> Vec<u8> {
        let kind = match path.rsplit_once('.') {
            Some((_, "html")) => "text/html",
            Some((_, "css")) => "text/css",
            Some((_, "json")) => "application/json",
            _ => "text/javascript",
        };
        match self.file(path) {
            Some(bytes) => answer("200 OK", &[("Content-Type", kind)], &bytes),
            None => answer("404 Not Found", &[], b""),
        }
    }
}

/// A feature of the graph, and its file.
struct Feature {
    id: String,
    /// How its card begins.
    title: String,
    file: Value,
}

impl Feature {
    /// Reads the features of a graph in the order of its nodes.
    fn all(graph: &Value, folder: &Path) -> Vec<Self> {
        let nodes = list(&graph["nodes"]).iter().filter(|node| node["feature_type"] == "cross layer transcoder");
        let read = |node: &Value| {
            let id = node["node_id"].as_str().unwrap();
            let (layer, rest) = id.split_once('_').unwrap();
            let (number, _) = rest.split_once('_').unwrap();
            let value = node["activation"].as_f64().unwrap();
            let title = format!("Feature\u{a0}L{layer}/{number} Act: {value:.2}");
            Self { id: id.into(), title, file: json_of(&folder.join(format!("features/{}.json", node["feature"]))) }
        };
        nodes.map(read).collect()
    }

    /// Returns its contexts as texts.
    fn contexts(&self) -> Vec<String> {
        let examples = list(&self.file["examples_quantiles"]).iter().flat_map(|group| list(&group["examples"]));
        examples.map(|example| words(&example["tokens"]).concat()).collect()
    }

    /// Returns the tokens that it raises and lowers.
    fn tokens(&self) -> Vec<&str> {
        [words(&self.file["top_logits"]), words(&self.file["bottom_logits"])].concat()
    }

    /// Clicks on the feature's node, whose card then has its contexts and tokens, and no others, and its links.
    fn open(&self, page: &mut Browser, graph: &Value) {
        let id = &self.id;
        page.js(&format!("{NODES}.attr('id', node => node.node_id === '{id}' ? 'chosen' : null).size()"));
        page.click("#chosen");
        page.until(&format!("d3.select('.link-graph text.node.clicked').datum().node_id === '{id}'"));
        let contexts = texts_of(".feature-example-list .text-wrapper");
        page.until(&format!("JSON.stringify({contexts}) === {:?}", json!(self.contexts()).to_string()));
        assert_eq!(page.js(&texts_of(".feature-example-logits .token")), json!(self.tokens()), "{id}");
        let title = page.text("document.querySelector('.feature-detail .feature-title').textContent");
        assert!(title.starts_with(&self.title), "{title}, not {}", self.title);
        assert!(page.js(DRAWN) != 0, "no link of {id} is drawn");
        for (side, end) in [("input", "target"), ("output", "source")] {
            let links = list(&graph["links"]).iter().filter(|link| link[end] == id.as_str() && link["weight"] != 0.0);
            let rows = page.js(&format!("document.querySelectorAll('.node-connections .{side} .feature-row').length"));
            assert_eq!(rows, links.count(), "{side} of {id}");
        }
    }
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn words(value: &Value) -> Vec<&str> {
    list(value).iter().map(|word| word.as_str().unwrap()).collect()
}

/// Returns what asks the page for the texts of elements.
fn texts_of(selector: &str) -> String {
    format!("[...document.querySelectorAll('{selector}')].map(one => one.textContent)")
}

/// Saves the graph; returns the folder.
fn saved(folder: &Path) -> PathBuf {
    printed(microtome(folder).args(["-e", SCRIPT]));
    folder.join("out/viewer")
}

#[test]
fn circuit_tracers_viewer_shows_a_saved_graph_and_its_cards() {
    let Some(chromium) = chromium() else { return };
    let has_assets = |folder: &PathBuf| folder.join(ASSETS).is_dir();
    let wheel = "a folder with circuit-tracer's unpacked wheel";
    let Some(wheel) = client("MICROTOME_VIEWER", wheel, has_assets) else { return };
    let has_libraries = |folder: &PathBuf| folder.join("node_modules/d3-jetpack").is_dir();
    let Some(node) = client("MICROTOME_NODE", "a folder with d3-jetpack", has_libraries) else { return };
    let folder = tempfile::tempdir().unwrap();
    let saved = saved(folder.path());
    let graph = json_of(&saved.join("graph.json"));
    let features = Feature::all(&graph, &saved);
    let viewer = Viewer { assets: wheel.join(ASSETS), libraries: node.join("node_modules"), graph: saved };

    // Where the page says which version it loads, that is the one.
    let published = std::fs::read_to_string(viewer.assets.join("index.html")).unwrap();
    let packages: Value = serde_json::from_str(include_str!("mcp/package.json")).unwrap();
    for name in ["dagre", "pako"] {
        let package = format!("/{name}@{}/", packages["dependencies"][name].as_str().unwrap());
        assert!(published.contains(&package), "the page does not load {package}");
    }

    let server = StaticServer::answering(move |path| viewer.answer(path));
    let mut page = Browser::start(chromium, &folder.path().join("profile"));
    // The page is laid out once, for the size that it finds.
    page.open("about:blank");
    page.size(1400, 1000);
    page.go(&format!("{}/index.html", server.address));
    page.until(&format!("{NODES}.size() > 0"));
    let list_of_graphs = "[...document.querySelectorAll('.graph-prompt-select option')].map(one => one.value)";
    assert_eq!(page.js(list_of_graphs), json!([graph["metadata"]["slug"]]));
    assert_eq!(page.text("document.title"), "Attribution Graph: The boy saw a dog");
    let mut ids: Vec<&str> = list(&graph["nodes"]).iter().map(|node| node["node_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(page.js(&format!("{NODES}.data().map(node => node.node_id).sort()")), json!(ids));
    assert_eq!(page.js("document.querySelectorAll('.link-graph circle').length"), ids.len());
    assert_eq!(page.js(&texts_of(".link-graph .prompt-token")), graph["metadata"]["prompt_tokens"]);
    assert_eq!(page.js(DRAWN), 0, "links are drawn before a node is clicked on");

    let known = features.iter().find(|feature| !feature.contexts().is_empty()).unwrap();
    let unknown = features.iter().rfind(|feature| feature.contexts().is_empty()).unwrap();
    assert!(known.tokens().len() > 2);
    assert_eq!(unknown.tokens(), ["unknown"]);
    // The card of one stays until there is another.
    for feature in [known, unknown, known] {
        feature.open(&mut page, &graph);
    }
    assert!(page.picture().len() > 10_000, "the page is blank");
    let own = "performance.getEntriesByType('resource').every(one => one.name.startsWith(location.origin))";
    assert!(page.is(own), "the page loads something from elsewhere");
    assert!(page.problems.is_empty(), "{:#?}", page.problems);
}
