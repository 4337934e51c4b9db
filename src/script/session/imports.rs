//! Libraries that a text imports, read without running them: for those who look at a script that is being written.

use rhai::AST;

use crate::script::docs::{Docs, ReferenceEntry};
use crate::script::engine::sources::Sources;
use crate::script::prelude::*;
use crate::script::session::Session;
use crate::script::session::build::Texts;
use crate::script::session::resolver::Resolver;

/// A library as a text imports it.
pub struct ImportedLibrary {
    /// Name of its source, as errors have it: the path of a file, `std/name`, or name, version and module of an
    /// archive.
    pub source: String,
    pub text: Rc<str>,
    tree: AST,
}

impl Session {
    /// Reads the library that the text called `from` imports by this path; none where there is no such library, or a
    /// mistake in it.
    pub fn imported(&self, from: &str, path: &str) -> Option<ImportedLibrary> {
        let resolver = self.engine().module_resolver();
        let tree = resolver.resolve_ast(self.engine(), Some(from), path, Position::NONE)?.ok()?;
        let source = tree.source()?.to_string();
        let text = self.sources().text(&source)?;
        Some(ImportedLibrary { source, text, tree })
    }

    /// Lists the functions of a library with their documentation, as those of a module of this name.
    pub fn functions_of(&self, library: &ImportedLibrary, name: &str) -> Vec<ReferenceEntry> {
        Docs::of_tree(name, &library.tree).entries().to_vec()
    }

    /// Returns what finds the modules that imports mean, whether they can be parsed or not.
    pub fn modules(&self) -> Resolver {
        let Texts { marks, language, libraries, .. } = self.texts.clone();
        Resolver::new(self.env.clone(), Sources::default(), marks, language, libraries)
    }

    /// Forgets what a text imports that is not looked at any more.
    pub fn forget_imports(&self, text: &str) {
        self.texts.libraries.count_anew(text);
        self.texts.libraries.drop_unwanted();
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

    #[test]
    fn what_is_imported_is_parsed_once_while_it_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).display().to_string();
        let write = |name: &str, text: &str| std::fs::write(place(name), text).unwrap();
        let own = "import \"deep\" as d;\nfn one() { d::two() }";
        write("own.rhai", own);
        write("deep.rhai", "fn two() { 2 }");
        let session = Session::new(Env::in_memory(&folder.path().join("out")).unwrap());
        let [main, other] = ["main.rhai", "other.rhai"].map(place);
        let check = |text: &str| session.check(&main, text).len();
        let libraries = &session.texts.libraries;
        let tree = || libraries.get(&(String::new(), place("own.rhai")), own).unwrap().tree;
        let importing = "import \"own\" as o; o::one();";
        assert_eq!((check(importing), libraries.names().len()), (0, 2));
        let first = tree();
        assert_eq!(check(importing), 0);
        assert!(Rc::ptr_eq(&first, &tree()));
        // A text that cannot be read is being written, and imports what it did.
        assert_eq!((check("import \"own\" as o; o::"), libraries.names().len()), (1, 2));
        write("deep.rhai", "fn two( {");
        assert_eq!((check(importing), libraries.names()), (1, vec![place("own.rhai")]));
        write("own.rhai", "fn one() { 1 }");
        assert_eq!((check("import \"own\" as o; o::two();"), libraries.names().len()), (1, 1));
        assert_eq!((check("1"), libraries.names().len()), (0, 0));
        assert!(session.check(&other, importing).is_empty() && libraries.names().len() == 1);
        session.forget_imports(&other);
        assert_eq!(libraries.names(), [] as [String; 0]);
    }
}
