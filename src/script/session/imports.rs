//! Libraries that a text imports, read without running them: for those who look at a script that is being written.

use crate::script::docs::{Docs, ReferenceEntry};
use crate::script::prelude::*;
use crate::script::session::Session;

/// A library as a text imports it.
pub struct ImportedLibrary {
    /// Name of its source, as errors have it: the path of a file, `std/name`, or name, version and module of an
    /// archive.
    pub source: String,
    pub text: Rc<str>,
}

impl Session {
    /// Reads the library that the text called `from` imports by this path; none where there is no such library, or a
    /// mistake in it.
    pub fn imported(&self, from: &str, path: &str) -> Option<ImportedLibrary> {
        let resolver = self.engine().module_resolver();
        let read = resolver.resolve_ast(self.engine(), Some(from), path, Position::NONE)?.ok()?;
        let source = read.source()?.to_string();
        let text = self.sources().text(&source)?;
        Some(ImportedLibrary { source, text })
    }

    /// Lists the functions of a library with their documentation, as those of a module of this name.
    pub fn functions_of(&self, library: &ImportedLibrary, name: &str) -> Vec<ReferenceEntry> {
        let modules = [(name.to_string(), library.text.to_string())];
        Docs::of_library(self.engine(), &modules).entries().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_read_and_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let text = "/// Returns 2.\nfn two() { 2 }\nprivate fn none() {}\nprint(\"run\"); throw \"run\";";
        std::fs::write(folder.path().join("own.rhai"), text).unwrap();
        std::fs::write(folder.path().join("broken.rhai"), "fn f( {").unwrap();
        std::fs::write(folder.path().join("circle.rhai"), "import \"circle\" as again;").unwrap();
        let session = Session::new(Env::in_memory(&folder.path().join("out")).unwrap());
        let main = folder.path().join("main.rhai").display().to_string();
        let library = session.imported(&main, "own").unwrap();
        assert!(library.source.ends_with("own.rhai") && &*library.text == text);
        let functions = session.functions_of(&library, "o");
        let paths: Vec<String> = functions.iter().map(ReferenceEntry::path).collect();
        assert_eq!((paths, functions[0].doc.summary.as_str()), (vec!["o::two".to_string()], "Returns 2."));
        assert_eq!(session.imported(&main, "std/stats").unwrap().source, "std/stats");
        for none in ["broken", "circle", "missing"] {
            assert!(session.imported(&main, none).is_none(), "{none}");
        }
        let found = session.check(&main, "import \"own\" as o; o::two(); o::three();");
        let messages: Vec<&str> = found.iter().map(|failure| failure.message.as_str()).collect();
        assert_eq!(messages, ["unknown function `o::three`"]);
        let found = session.check(&main, "import \"circle\" as c;");
        assert!(found[0].message.starts_with("libraries import each other in a circle"), "{found:?}");
    }
}
