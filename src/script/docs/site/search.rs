//! The index of the search: every heading with the beginning of what stands below it, as a script beside the pages.

use serde_json::{Value, json};

use super::markdown::Section;

/// Characters of a section's text that are searched.
const SEARCHED: usize = 1200;

/// Adds the sections of a page.
pub fn add(index: &mut Vec<Value>, title: &str, file: &str, sections: &[Section]) {
    for section in sections {
        let text: String =
            section.text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SEARCHED).collect();
        if section.heading.is_empty() && text.is_empty() {
            continue;
        }
        let heading = if section.heading.is_empty() { title } else { &section.heading };
        let place = if section.anchor.is_empty() { file.to_string() } else { format!("{file}#{}", section.anchor) };
        index.push(json!([heading, title, place, text]));
    }
}

/// Writes the script. A `<` could end it, if it were ever within a page.
pub fn script(index: &[Value]) -> String {
    let lines: Vec<String> = index.iter().map(|entry| entry.to_string().replace('<', "\\u003c")).collect();
    format!("window.searched=[\n{}\n];\n", lines.join(",\n"))
}
