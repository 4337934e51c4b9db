//! The forms of a value in a notebook: text for all clients, HTML and pictures where it has them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rhai::Dynamic;
use serde_json::{Map, Value};

use crate::base::{Result, Task};
use crate::report::html::page;
use crate::report::items::made;
use crate::report::{Item, Report, picture};
use crate::script::engine::handle;
use crate::script::report::collect::shown_items;

/// Height of a page within a cell, in CSS pixels.
const HEIGHT: usize = 640;

/// Colours of the notebook around a cell, in JupyterLab and in VS Code; elsewhere those of a light page.
const COLOURS: &str = "--ground: var(--jp-layout-color0, var(--vscode-editor-background, #fffffe));\n\
    --raised: var(--jp-layout-color2, var(--vscode-textCodeBlock-background, #f5f6f8));\n\
    --ink: var(--jp-content-font-color1, var(--vscode-editor-foreground, #1f2329));\n\
    --muted: var(--jp-content-font-color2, var(--vscode-descriptionForeground, #5b636e));\n\
    --rule: var(--jp-border-color2, var(--vscode-widget-border, #e2e5e9));\n\
    --link: var(--jp-content-link-color, var(--vscode-textLink-foreground, #0072b2));\n\
    font-size: 14px;";

/// Returns the forms of a value, of which `text` is one already, by their MIME types.
pub fn bundle(value: &Dynamic, text: String, task: &Task) -> Result<Value> {
    let mut forms = Map::from_iter([("text/plain".to_string(), Value::from(text))]);
    if let Some(html) = html(value, task)? {
        forms.insert("text/html".into(), html.into());
    }
    if let Some(item) = handle::item(value)?
        && let Some((svg, png)) = made(item.as_ref(), task, pictures)?
    {
        forms.insert("image/svg+xml".into(), svg.into());
        forms.insert("image/png".into(), STANDARD.encode(png).into());
    }
    Ok(Value::Object(forms))
}

/// Returns a value as HTML within a page, if it is more than text.
pub fn html(value: &Dynamic, task: &Task) -> Result<Option<String>> {
    if let Some(report) = value.read_lock::<Report>() {
        return Ok(Some(frame(report.name(), &report.html(task)?)));
    }
    if let Some(item) = handle::item(value)? {
        let html = made(item.as_ref(), task, |item| item.html())?;
        return Ok(Some(cell_html(item.kind(), &html)));
    }
    let items = shown_items(value)?;
    let part = |item: &std::rc::Rc<dyn Item>| made(item.as_ref(), task, |item| item.html());
    let html: String = items.iter().map(part).collect::<Result<_>>()?;
    Ok((!items.is_empty()).then(|| cell_html("values", &html)))
}

/// Draws an item as SVG and as PNG, if it is a picture.
fn pictures(item: &dyn Item) -> Result<Option<(String, Vec<u8>)>> {
    let Some(drawn) = item.picture() else { return Ok(None) };
    Ok(Some((picture::svg(drawn.as_ref())?, picture::png(drawn.as_ref())?)))
}

/// Returns the HTML of a cell for a part of a page: the part itself with its style, or a page of its own if it has a
/// script.
fn cell_html(title: &str, part: &str) -> String {
    if part.contains(page::CIRCUIT) {
        return frame(title, &page::bare(title, part));
    }
    // Rules of a page, within the cell alone.
    let style = page::STYLE.replace(":root", "&").replace("\nbody {", "\n& {");
    // Named twice, the class comes before rules that the client has for what it shows.
    format!(
        "<div class=\"microtome-cell\"><style>.microtome-cell.microtome-cell {{\n{style}& {{ {COLOURS} }}\n}}</style>\n{part}</div>"
    )
}

/// Returns a page within a cell. It stands in a frame without rights, so that neither can reach into the other.
pub fn frame(title: &str, html: &str) -> String {
    let quoted = |text: &str| text.replace('&', "&amp;").replace('"', "&quot;");
    // In a frame links to places of the page itself would lead to the page around it, but for a base that its policy forbids.
    let html = html.replacen("base-uri 'none'; ", "", 1).replacen("<head>", "<head>\n<base href=\"about:srcdoc\">", 1);
    format!(
        "<iframe sandbox=\"allow-scripts\" title=\"{}\" style=\"width: 100%; height: {HEIGHT}px; border: 0; \
         resize: vertical; overflow: auto\" srcdoc=\"{}\"></iframe>",
        quoted(title),
        quoted(&html)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Session;

    fn forms(code: &str) -> Map<String, Value> {
        let mut session = Session::for_tests();
        let value = session.eval("<1>", code).unwrap();
        let Value::Object(forms) = bundle(&value, "text".into(), &Task::default()).unwrap() else { panic!() };
        forms
    }

    fn kinds(code: &str) -> Vec<String> {
        forms(code).into_iter().map(|(kind, _)| kind).collect()
    }

    #[test]
    fn every_value_has_the_forms_that_it_can_have() {
        assert_eq!(kinds("1 + 1"), ["text/plain"]);
        assert_eq!(kinds("[1, \"a\"]"), ["text/plain"]);
        let pictured = ["text/plain", "text/html", "image/svg+xml", "image/png"];
        assert_eq!(kinds("plot::line([1, 2, 4])"), pictured);
        assert_eq!(kinds("table([#{ a: 1 }])"), ["text/plain", "text/html"]);
        assert_eq!(kinds("[table([#{ a: 1 }]), plot::line([1, 2])]"), ["text/plain", "text/html"]);
        assert_eq!(kinds("report(\"r\", [\"# A\", plot::line([1, 2])])"), ["text/plain", "text/html"]);
        let chart = forms("plot::line([1, 2, 4], #{ title: \"</style>\" })");
        assert!(chart["image/svg+xml"].as_str().unwrap().starts_with("<svg"));
        assert!(STANDARD.decode(chart["image/png"].as_str().unwrap()).unwrap().starts_with(b"\x89PNG"));
        let html = chart["text/html"].as_str().unwrap();
        assert_eq!((html.matches("</style>").count(), html.matches(":root").count()), (1, 0));
    }

    #[test]
    fn a_page_within_a_cell_is_whole_and_closed() {
        let page = frame("a \"b\"", "<p class=\"c\">1 &lt; 2</p>");
        assert!(
            page.contains("title=\"a &quot;b&quot;\"")
                && page.contains("1 &amp;lt; 2")
                && !page.contains("class=\"c\"")
        );
        let html = forms("report(\"r\", [\"text\"])")["text/html"].to_string();
        assert!(html.contains("sandbox=\\\"allow-scripts\\\""));
    }
}
