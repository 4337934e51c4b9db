//! The files of the page, which are in the binary.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::bundle;

/// The page itself.
pub static INDEX: &str = include_str!("page/index.html");

/// Kinds of files, as a server says them.
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The page's other files: the name, the kind and the content of each.
static FILES: LazyLock<Vec<(&str, &str, String)>> = LazyLock::new(|| {
    let modules = BTreeMap::from(MODULES);
    vec![
        ("dashboard.css", CSS, include_str!("../report/dashboard/style.css").to_string()),
        ("lens_maps.css", CSS, include_str!("../report/html/lenses.css").to_string()),
        ("style.css", CSS, include_str!("page/style.css").to_string()),
        ("card.js", JS, include_str!("../report/dashboard/card.js").to_string()),
        ("head_map.js", JS, include_str!("../report/dashboard/head_map.js").to_string()),
        ("lens_maps.js", JS, include_str!("../report/html/lenses.js").to_string()),
        ("explorer.js", JS, bundle::joined(&modules, "main.js")),
    ]
});

/// The modules of the page's own script.
const MODULES: [(&str, &str); 19] = [
    ("ask.js", include_str!("page/ask.js")),
    ("bars.js", include_str!("page/bars.js")),
    ("cards.js", include_str!("page/cards.js")),
    ("change.js", include_str!("page/change.js")),
    ("compare.js", include_str!("page/compare.js")),
    ("heads.js", include_str!("page/heads.js")),
    ("keys.js", include_str!("page/keys.js")),
    ("lenses.js", include_str!("page/lenses.js")),
    ("list.js", include_str!("page/list.js")),
    ("main.js", include_str!("page/main.js")),
    ("server.js", include_str!("page/server.js")),
    ("state.js", include_str!("page/state.js")),
    ("steps.js", include_str!("page/steps.js")),
    ("tabs.js", include_str!("page/tabs.js")),
    ("text.js", include_str!("page/text.js")),
    ("tokens.js", include_str!("page/tokens.js")),
    ("tree.js", include_str!("page/tree.js")),
    ("words.js", include_str!("page/words.js")),
    ("workers.js", include_str!("page/workers.js")),
];

/// Returns all files beside the page: their names, kinds and contents.
pub fn files() -> &'static [(&'static str, &'static str, String)] {
    &FILES
}

/// Policy of an exported page: scripts and styles beside it, the engine in workers of its own, and no request. A page that
/// is opened from a folder has no address that its files could have in common with it.
const POLICY: &str = "default-src 'none'; script-src 'self' file: 'wasm-unsafe-eval'; worker-src blob:; \
                      style-src 'self' file:; img-src data:; connect-src 'none'; base-uri 'none'; form-action 'none'";

/// Returns the page for an export: the same one, with its policy inside, and with the scripts that it has before its own.
pub fn exported(scripts: &[String]) -> String {
    let policy = format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n<meta name=\"viewport\"");
    let loaded = scripts.iter().map(|name| format!("<script src=\"{name}\" defer></script>\n"));
    let loaded = loaded.collect::<String>() + FIRST_SCRIPT;
    INDEX.replacen("<meta name=\"viewport\"", &policy, 1).replacen(FIRST_SCRIPT, &loaded, 1)
}

/// The first script of the page.
const FIRST_SCRIPT: &str = "<script src=\"page/card.js\" defer></script>";

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text of a module.
    fn module(name: &str) -> &'static str {
        MODULES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text).unwrap()
    }

    /// Returns the page's own script.
    fn script() -> &'static str {
        files().iter().find(|(name, ..)| *name == "explorer.js").map(|(.., content)| content.as_str()).unwrap()
    }

    #[test]
    fn the_script_has_every_module_once_and_no_line_of_modules_is_left() {
        let script = script();
        for (name, _) in MODULES {
            assert_eq!(script.matches(&format!("modules[\"{name}\"] = await ")).count(), 1, "{name}");
        }
        let left = |line: &&str| line.starts_with("import ") || line.starts_with("export ");
        assert_eq!(script.lines().find(left), None);
    }

    #[test]
    fn modules_that_need_each_other_have_functions_of_each_other() {
        let script = script();
        let later = script.lines().filter_map(|line| line.split_once(" = (...given) => modules[\""));
        let mut count = 0;
        for (_, called) in later.filter(|(name, _)| name.starts_with("const ")) {
            let (from, rest) = called.split_once("\"].").unwrap();
            let name = rest.split('(').next().unwrap();
            let [plain, waiting] =
                ["(", "async ("].map(|begin| module(from).contains(&format!("export const {name} = {begin}")));
            assert!(plain || waiting, "{name} of {from}");
            count += 1;
        }
        assert!(count > 0);
    }

    #[test]
    fn an_exported_page_has_its_policy_and_its_scripts_before_those_of_all_pages() {
        let page = exported(&["engine-data.js".into(), "page/microtome.js".into()]);
        let at = |part: &str| page.find(part).unwrap_or_else(|| panic!("{part}"));
        assert!(at("connect-src 'none'") < at("<script"));
        assert!(at("src=\"engine-data.js\"") < at("src=\"page/microtome.js\""));
        assert!(at("src=\"page/microtome.js\"") < at("src=\"page/card.js\""));
        for (name, ..) in files() {
            assert!(page.contains(&format!("\"page/{name}\"")), "{name}");
        }
    }
}
