//! The live site: pages whose examples a reader runs, changes and goes on from. What they run in, the engine and the model `tiny`,
//! lies once beside all pages, as scripts that a page loads when something is first run, since a page in a folder may load nothing
//! else.

use std::cell::Cell;

use rhai::Engine;
use serde_json::{Map, Value, json};

use super::REFERENCE;
use super::code::looks_like_rhai;
use crate::base::Result;
use crate::checkpoint::load;
use crate::data::sample;
use crate::report::html::{escape, page};
use crate::report::page_engine::{self, PageEngine};
use crate::script::docs::stdlib::stdlib_path;
use crate::script::engine::unfinished_text::is_of_names;

/// The way in which an example is written, and run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExampleForm {
    /// A script of its own.
    Script,
    /// A part of the script that such examples of a page are together.
    Part,
    /// Lines of the prompt with which a session begins.
    Session,
    /// Lines of the prompt.
    Typed,
}

impl ExampleForm {
    const ALL: [(Self, &str); 4] =
        [(Self::Script, "script"), (Self::Part, "part"), (Self::Session, "session"), (Self::Typed, "typed")];

    /// Returns the form that a page calls by this word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(form, _)| *form)
    }

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(form, _)| *form == self).map_or("", |(_, word)| word)
    }
}

/// The word for code that no test runs, since names of it stand for something of the reader's: it is changed before it is run.
const FRAGMENT: &str = "fragment";

/// Languages of files that the reader of a page writes.
const FILES: &[&str] = &["rhai", "text", "toml"];

/// Contents of a live site besides its pages.
pub struct LiveSite<'a> {
    pub page_engine: &'a PageEngine,
    /// The engine of scripts, which tells code from what only looks like it.
    pub engine: &'a Engine,
    /// Modules of the library that the site is of, by their names.
    pub modules: Vec<(String, String)>,
}

impl LiveSite<'_> {
    /// Writes the files that all pages share.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let script = [page_engine::GLUE, include_str!("prompt.js"), include_str!("guide.js")].concat();
        let parts = load::parts_inside()?.into_iter().chain([("sample.bin", sample::bytes_inside()?)]);
        let parts: Vec<(&str, Vec<u8>)> =
            parts.map(|(name, bytes)| Ok((name, page_engine::packed(bytes)?))).collect::<Result<_>>()?;
        Ok(vec![
            ("live.css".into(), include_bytes!("prompt.css").to_vec()),
            ("live.js".into(), script.into_bytes()),
            ("live-engine.js".into(), self.page_engine.script().into_bytes()),
            ("live-model.js".into(), self.model(&parts).into_bytes()),
        ])
    }

    /// Writes the script that puts packed files of the model into the page that loads it, and the modules of the library.
    fn model(&self, parts: &[(&str, Vec<u8>)]) -> String {
        let elements: String = parts.iter().map(|(name, packed)| page_engine::element(name, packed)).collect();
        let modules: Map<String, Value> =
            self.modules.iter().map(|(name, text)| (format!("/{name}.rhai"), json!(text))).collect();
        format!(
            "\"use strict\";\ndocument.head.insertAdjacentHTML(\"beforeend\", {});\nwindow.microtomeFiles = {};\n",
            json!(elements),
            json!(modules)
        )
    }

    /// Returns the examples of a page.
    pub fn examples(&self, path: &str) -> PageExamples<'_> {
        let described = path.strip_prefix(REFERENCE).and_then(|name| name.strip_suffix(".md"));
        let own = |module: &&str| self.modules.iter().any(|(name, _)| name == module);
        let from =
            described.and_then(|module| stdlib_path(module).or_else(|| Some(module).filter(own).map(String::from)));
        let import = described.zip(from).map(|(module, path)| format!("import \"{path}\" as {module};"));
        PageExamples { engine: self.engine, is_reference: described.is_some(), is_first: Cell::new(false), import }
    }
}

/// The examples of a page, told from its other code.
pub struct PageExamples<'a> {
    engine: &'a Engine,
    is_reference: bool,
    /// Whether no code has come since the last heading.
    is_first: Cell<bool>,
    /// The line that imports what the page describes.
    import: Option<String>,
}

impl PageExamples<'_> {
    /// Notes a heading.
    pub fn begin_section(&self) {
        self.is_first.set(true);
    }

    /// Marks a block of code, as HTML, with how it is run and with the file that it is.
    pub fn marked(&self, block: String, code: &str, info: &str) -> String {
        // In the reference a heading is followed by what a function takes and gives.
        let is_signature = self.is_first.replace(false) && self.is_reference;
        if is_signature {
            return block;
        }
        let (language, name) = info.split_once(' ').unwrap_or((info, ""));
        let mut marks = String::new();
        if let Some(word) = self.form(code, language, name) {
            marks.push_str(&format!(" data-run=\"{word}\""));
            if let Some(import) = &self.import {
                marks.push_str(&format!(" data-first=\"{}\"", escape::text(import)));
            }
        }
        if FILES.contains(&language) && name.contains('.') {
            marks.push_str(&format!(" data-file=\"{}\"", escape::text(name)));
        }
        block.replacen("<pre", &format!("<pre{marks}"), 1)
    }

    fn form(&self, code: &str, language: &str, name: &str) -> Option<&'static str> {
        match language {
            "rhai" if name == "here" => Some(ExampleForm::Part.word()),
            "rhai" => Some(ExampleForm::Script.word()),
            "console" | "" if code.lines().any(|line| line.starts_with("> ")) => {
                let begins = code.starts_with("$ microtome");
                Some(if begins { ExampleForm::Session.word() } else { ExampleForm::Typed.word() })
            }
            "" if looks_like_rhai(code) && self.is_readable(code) => Some(FRAGMENT),
            _ => None,
        }
    }

    /// Returns whether code can be read, whatever its names mean.
    fn is_readable(&self, code: &str) -> bool {
        self.engine.compile(code).err().is_none_or(|problem| is_of_names(&problem))
    }
}

/// Returns whether a page has something to run: only what is marked has this attribute, since all text is escaped.
pub fn is_live(inside: &str) -> bool {
    inside.contains(" data-run=\"")
}

/// Writes the policy of a page that computes: a worker and WebAssembly, the scripts beside the page and those of what it shows; no
/// connection.
pub fn policy() -> String {
    format!(
        "default-src 'none'; style-src 'self' file: 'unsafe-inline'; script-src 'self' file: 'wasm-unsafe-eval'{}; worker-src blob:; \
         img-src 'self' file: data:; frame-src 'self' file:; base-uri about:; form-action 'none'",
        page::script_hashes()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engines() -> (PageEngine, Engine) {
        (PageEngine { module: vec![1], worker: vec![2] }, Engine::new())
    }

    #[test]
    fn examples_are_told_from_other_code() {
        let (page_engine, engine) = engines();
        let site = LiveSite { page_engine: &page_engine, engine: &engine, modules: Vec::new() };
        let examples = site.examples("docs/guide.md");
        let marks = |code: &str, info: &str| {
            let marked = examples.marked("<pre><code>x</code></pre>".into(), code, info);
            marked.trim_start_matches("<pre").trim_end_matches("><code>x</code></pre>").trim().to_string()
        };
        assert_eq!(marks("let x = 1;", "rhai"), "data-run=\"script\"");
        assert_eq!(marks("x", "rhai here"), "data-run=\"part\"");
        assert_eq!(marks("x", "rhai a.rhai"), "data-run=\"script\" data-file=\"a.rhai\"");
        assert_eq!(marks("$ microtome\n> x\n1\n", "console"), "data-run=\"session\"");
        assert_eq!(marks("> let x = f(1);\n", ""), "data-run=\"typed\"");
        assert_eq!(marks("let y = x::f(1);\n", ""), "data-run=\"fragment\"");
        assert_eq!(marks("notes", "text no\"tes.txt"), "data-file=\"no&quot;tes.txt\"");
        for (code, info) in [("$ ls\n", "console"), ("let x = f(;", ""), ("cargo test", ""), ("x = 1", "python a.py")] {
            assert_eq!(marks(code, info), "", "{code}");
        }
    }

    #[test]
    fn in_the_reference_signatures_are_no_examples_and_modules_are_imported() {
        let (page_engine, engine) = engines();
        let modules = vec![("own".into(), "fn f() { 1 }".into())];
        let site = LiveSite { page_engine: &page_engine, engine: &engine, modules };
        for (path, import) in [
            ("docs/reference/sae.md", None),
            ("docs/reference/stats.md", Some("import \"std/stats\" as stats;")),
            ("docs/reference/own.md", Some("import \"own\" as own;")),
        ] {
            let examples = site.examples(path);
            examples.begin_section();
            assert_eq!(examples.marked("<pre>".into(), "sae::f()", "rhai"), "<pre>");
            let marked = examples.marked("<pre>".into(), "sae::f()", "rhai");
            assert!(marked.starts_with("<pre data-run=\"script\""), "{marked}");
            assert_eq!(examples.import.as_deref(), import);
            assert_eq!(marked.contains("data-first=\"import &quot;"), import.is_some());
        }
    }

    #[test]
    fn the_model_and_the_modules_are_put_into_the_page_that_loads_them() {
        let (page_engine, engine) = engines();
        let modules = vec![("own".into(), "fn f() { \"a\" }".into())];
        let site = LiveSite { page_engine: &page_engine, engine: &engine, modules };
        let model = site.model(&[("config.json", vec![1, 2, 3])]);
        assert_eq!(
            model,
            "\"use strict\";\ndocument.head.insertAdjacentHTML(\"beforeend\", \"<script type=\\\"text/plain\\\" \
             id=\\\"config.json\\\">AQID</script>\\n\");\nwindow.microtomeFiles = {\"/own.rhai\":\"fn f() { \\\"a\\\" }\"};\n"
        );
    }

    #[test]
    fn forms_are_called_by_their_words() {
        for (form, word) in ExampleForm::ALL {
            assert_eq!((ExampleForm::named(word), form.word()), (Some(form), word));
        }
        assert_eq!(ExampleForm::named(FRAGMENT), None);
    }
}
