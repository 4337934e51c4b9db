//! The files of the page, which are in the binary.

/// The page itself.
pub static INDEX: &str = include_str!("page/index.html");

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The page's other files: the name, the kind and the content of each.
static FILES: &[(&str, &str, &str)] = &[
    ("dashboard.css", CSS, include_str!("../report/dashboard/style.css")),
    ("lens_maps.css", CSS, include_str!("../report/html/lenses.css")),
    ("style.css", CSS, include_str!("page/style.css")),
    ("ask.js", JS, include_str!("page/ask.js")),
    ("bars.js", JS, include_str!("page/bars.js")),
    ("cards.js", JS, include_str!("page/cards.js")),
    ("change.js", JS, include_str!("page/change.js")),
    ("compare.js", JS, include_str!("page/compare.js")),
    ("heads.js", JS, include_str!("page/heads.js")),
    ("keys.js", JS, include_str!("page/keys.js")),
    ("lenses.js", JS, include_str!("page/lenses.js")),
    ("list.js", JS, include_str!("page/list.js")),
    ("main.js", JS, include_str!("page/main.js")),
    ("state.js", JS, include_str!("page/state.js")),
    ("steps.js", JS, include_str!("page/steps.js")),
    ("tabs.js", JS, include_str!("page/tabs.js")),
    ("text.js", JS, include_str!("page/text.js")),
    ("tokens.js", JS, include_str!("page/tokens.js")),
    ("tree.js", JS, include_str!("page/tree.js")),
    ("words.js", JS, include_str!("page/words.js")),
    ("card.js", JS, include_str!("../report/dashboard/card.js")),
    ("head_map.js", JS, include_str!("../report/dashboard/head_map.js")),
    ("lens_maps.js", JS, include_str!("../report/html/lenses.js")),
];

/// Returns the kind and the content of a file.
pub fn file(name: &str) -> Option<(&'static str, &'static str)> {
    FILES.iter().find(|(known, ..)| *known == name).map(|(_, kind, content)| (*kind, *content))
}
