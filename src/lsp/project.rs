//! Texts of the project around an open one: those that are open, as they are in the editor, and the scripts below its
//! root. These are read within limits, and only where the rules of access let them be read.

use std::rc::Rc;

use lsp_types::Uri;

use super::diagnostics::MOST_BYTES;
use super::documents::{Document, Documents};
use super::scopes::Scopes;
use super::{uris, view};
use crate::base::Kind;
use crate::base::access::resolve;
use crate::base::memory::human;
use crate::common::*;
use crate::script::Session;
use crate::script::library::project;

/// Largest number of scripts that are read for one answer, of folders that are looked into, and of bytes in all.
const MOST_SCRIPTS: usize = 1000;
const MOST_FOLDERS: usize = 4000;
const MOST_IN_ALL: u64 = 16 << 20;

/// Number of folders within each other that are looked into where no project says how far it goes.
const DEEPEST: usize = 3;

/// The folder of packages of Node, and the file by which programs mark folders that hold what can be made again.
const PACKAGES: &str = "node_modules";
const CACHE_TAG: &str = "CACHEDIR.TAG";

/// A project, as an answer looks at it.
pub struct Project<'a> {
    pub session: &'a Session,
    pub documents: &'a Documents,
    /// The folders that the client works in.
    pub folders: &'a [PathBuf],
    /// A check that fails when nobody waits for the answer any more.
    pub check: &'a dyn Fn() -> Result<()>,
}

/// A text of a project.
pub struct ProjectText {
    pub uri: Uri,
    /// The version of an open text.
    pub version: Option<i32>,
    /// The name by which errors call it, and from whose folder it imports.
    pub name: String,
    /// The place of its file; none for one that was never saved.
    pub place: Option<PathBuf>,
    pub scopes: Rc<Scopes>,
}

/// The texts that have one of some words, and in words what was not looked at.
#[derive(Default)]
pub struct FoundTexts {
    pub texts: Vec<ProjectText>,
    pub left_out: Vec<String>,
}

/// The folder of a project.
#[derive(PartialEq, Eq)]
struct Root {
    folder: PathBuf,
    /// Number of folders within each other that are looked into.
    deepest: usize,
}

/// Returns the place of a file: one file has one, whatever links lead to it.
pub fn place_of(path: &Path) -> PathBuf {
    resolve(path).unwrap_or_else(|_| path.to_path_buf())
}

impl Project<'_> {
    /// Lists the texts that have one of these words: open ones, these files, and the scripts of the projects that they
    /// belong to.
    pub fn texts(&self, words: &[&str], files: &[&Path]) -> Result<FoundTexts> {
        let mut reader = Reader {
            project: self,
            words,
            seen: BTreeSet::new(),
            found: FoundTexts::default(),
            scripts: 0,
            folders: 0,
            bytes: 0,
        };
        for document in self.documents.all() {
            reader.open(document);
        }
        for path in files {
            reader.script(path)?;
        }
        let mut roots: Vec<Root> = files.iter().filter_map(|path| self.root(path)).collect();
        roots.dedup();
        for root in roots {
            reader.below(root)?;
        }
        Ok(reader.found)
    }

    /// Returns the outermost of the project's folder and the client's; where there is none, the folder of the file.
    fn root(&self, path: &Path) -> Option<Root> {
        let folder = path.parent()?;
        let read = |path: &Path| self.session.env().files.script_if_there(path);
        let project = project::found(folder, &read).ok().flatten().map(|(root, _)| root);
        let clients = self.folders.iter().filter(|one| folder.starts_with(one)).cloned();
        let outermost = project.into_iter().chain(clients).min_by_key(|root| root.components().count());
        Some(match outermost {
            Some(folder) => Root { folder, deepest: usize::MAX },
            None => Root { folder: folder.to_path_buf(), deepest: DEEPEST },
        })
    }
}

/// A reader of the texts that have one of some words.
struct Reader<'a> {
    project: &'a Project<'a>,
    words: &'a [&'a str],
    /// The places that were looked at.
    seen: BTreeSet<PathBuf>,
    found: FoundTexts,
    scripts: usize,
    folders: usize,
    bytes: u64,
}

impl Reader<'_> {
    fn is_meant(&self, text: &str) -> bool {
        self.words.iter().any(|word| text.contains(word))
    }

    fn leave_out(&mut self, why: String) {
        if !self.found.left_out.contains(&why) {
            self.found.left_out.push(why);
        }
    }

    fn leave_out_long(&mut self, name: &str) {
        self.leave_out(format!("{name} has more than {}", human(MOST_BYTES as u128)));
    }

    fn open(&mut self, document: &Document) {
        let place = document.path.as_deref().map(place_of);
        if let Some(place) = &place {
            self.seen.insert(place.clone());
        }
        // Changes to copies of what is inside the program change nothing.
        if !self.is_meant(&document.text) || view::is_copy(self.project.session, document) {
            return;
        }
        if document.text.len() > MOST_BYTES {
            return self.leave_out_long(&document.name);
        }
        self.found.texts.push(ProjectText {
            uri: document.uri.clone(),
            version: Some(document.version),
            name: document.name.clone(),
            place,
            scopes: document.scopes(),
        });
    }

    /// Looks at the scripts below a folder, but for those that are hidden, or in folders that are hidden, linked or made
    /// by programs.
    fn below(&mut self, root: Root) -> Result<()> {
        let env = self.project.session.env();
        let cache = env.settings.cache.as_deref().map(place_of);
        let mut waiting = vec![(root.folder.clone(), 0)];
        while let Some((folder, depth)) = waiting.pop() {
            (self.project.check)()?;
            self.folders += 1;
            if self.folders > MOST_FOLDERS {
                self.leave_out(format!("{} has more than {MOST_FOLDERS} folders", root.folder.display()));
                return Ok(());
            }
            let mut names = env.files.names_while(&folder, self.project.check)?;
            names.sort();
            let is_made = names.iter().any(|name| name == CACHE_TAG) || cache.as_ref() == Some(&place_of(&folder));
            if is_made && depth > 0 {
                continue;
            }
            // Hidden files are made by programs, such as the link `.#a.rhai` of an editor that has changed `a.rhai`.
            for name in names.into_iter().filter(|name| !name.starts_with('.')) {
                let path = folder.join(name.trim_end_matches('/'));
                if name.ends_with(".rhai") {
                    self.script(&path)?;
                    if self.scripts > MOST_SCRIPTS || self.bytes > MOST_IN_ALL {
                        let most = human(u128::from(MOST_IN_ALL));
                        let root = root.folder.display();
                        self.leave_out(format!("{root} has more than {MOST_SCRIPTS} scripts, or {most} of them"));
                        return Ok(());
                    }
                } else if name.ends_with('/') && depth < root.deepest && !is_passed_over(&name, &path) {
                    waiting.push((path, depth + 1));
                }
            }
        }
        Ok(())
    }

    /// Looks at a script that is not open.
    fn script(&mut self, path: &Path) -> Result<()> {
        let place = place_of(path);
        if !self.seen.insert(place.clone()) {
            return Ok(());
        }
        (self.project.check)()?;
        let name = path.display().to_string();
        let files = &self.project.session.env().files;
        let length = match files.open(path) {
            Ok((file, _)) => file.metadata().map_or(0, |about| about.len()),
            Err(error) => return self.unread(&name, error),
        };
        if length > MOST_BYTES as u64 {
            self.leave_out_long(&name);
            return Ok(());
        }
        self.scripts += 1;
        self.bytes += length;
        let text = match files.script(path) {
            Ok(text) if self.is_meant(&text) => text,
            Ok(_) => return Ok(()),
            Err(error) => return self.unread(&name, error),
        };
        let Some(uri) = uris::uri(path) else { return Ok(()) };
        let scopes = Scopes::new(text).into();
        self.found.texts.push(ProjectText { uri, version: None, name, place: Some(place), scopes });
        Ok(())
    }

    /// Notes a script that cannot be read. One that may not be read is as if it were not there, and bytes that are no
    /// text are no script.
    fn unread(&mut self, name: &str, error: Error) -> Result<()> {
        match error.kind {
            Kind::Interrupted => return Err(error),
            Kind::Access | Kind::Format => {}
            _ => self.leave_out(format!("{name} cannot be read")),
        }
        Ok(())
    }
}

/// Returns whether scripts in a folder are none that people write, or are elsewhere, too.
fn is_passed_over(name: &str, path: &Path) -> bool {
    name.trim_end_matches('/') == PACKAGES || path.is_symlink()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::str::FromStr;

    use lsp_types::TextDocumentItem;

    use super::*;
    use crate::base::access::{Access, Rules};
    use crate::base::settings::Settings;
    use crate::report::terminal::Screen;
    use crate::script::engine::console::Console;
    use crate::script::engine::env::Env;
    use crate::tensor::Device;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        kit::write(&path, text);
        path
    }

    fn session(folder: &Path, rules: &Rules) -> Session {
        let settings = Settings { cache: Some(folder.join("cache")), ..Settings::default() };
        let files = Files::new(Access::new(&folder.join("out"), rules).unwrap(), false);
        Session::new(Env::new(settings, Task::default(), files, Console::memory(Screen::default()), Device::Cpu))
    }

    /// Lists the names of the texts with a word, from a folder, and what was left out.
    fn found(folder: &Path, rules: &Rules, documents: &Documents, from: &Path) -> (Vec<String>, Vec<String>) {
        let session = session(folder, rules);
        let project = Project { session: &session, documents, folders: &[], check: &|| Ok(()) };
        let found = project.texts(&["word"], &[from]).unwrap();
        let name = |text: &ProjectText| text.name.strip_prefix(&format!("{}/", folder.display())).unwrap().to_string();
        let mut names: Vec<String> = found.texts.iter().map(name).collect();
        names.sort();
        (names, found.left_out)
    }

    #[test]
    fn scripts_of_a_project_are_read_that_people_write() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let from = write(folder, "a/b/from.rhai", "word");
        for name in ["top.rhai", "a/b/c/d/e/deep.rhai", "a/other.rhai"] {
            write(folder, name, "let word = 1;");
        }
        for name in [".git/x.rhai", "node_modules/x.rhai", "target/x.rhai", "cache/x.rhai", "a/.#x.rhai", "a/x.txt"] {
            write(folder, name, "word");
        }
        write(folder, "target/CACHEDIR.TAG", "");
        write(folder, "a/none.rhai", "let other = 1;");
        std::fs::write(folder.join("a/bytes.rhai"), b"word \xff").unwrap();
        let of = |rules: &Rules| found(folder, rules, &Documents::default(), &from);
        let usual = Rules::default();
        // Without a project it is the folder of the script, and not all below it.
        assert_eq!(of(&usual).0, ["a/b/c/d/e/deep.rhai", "a/b/from.rhai"]);
        let far = write(folder, "a/b/1/2/3/4/far.rhai", "word");
        assert_eq!(of(&usual).0.len(), 2);
        std::fs::remove_file(far).unwrap();
        write(folder, "microtome.toml", "");
        let all = ["a/b/c/d/e/deep.rhai", "a/b/from.rhai", "a/other.rhai", "top.rhai"];
        assert_eq!(of(&usual), (all.map(String::from).to_vec(), Vec::new()));
        let denied = Rules { deny_read: vec![folder.join("a/b/c")], ..Rules::default() };
        assert_eq!(of(&denied).0, ["a/b/from.rhai", "a/other.rhai", "top.rhai"]);
    }

    #[test]
    fn an_open_text_is_as_it_is_in_the_editor() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let from = write(folder, "from.rhai", "word");
        write(folder, "open.rhai", "word");
        let mut documents = Documents::default();
        let open = Uri::from_str(&format!("file://{}/open.rhai", folder.display())).unwrap();
        documents.open(TextDocumentItem::new(open, "rhai".into(), 7, "other".into()));
        assert_eq!(found(folder, &Rules::default(), &documents, &from).0, ["from.rhai"]);
    }

    #[test]
    fn what_is_left_out_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let from = write(folder, "from.rhai", "word");
        write(folder, "long.rhai", &" ".repeat(MOST_BYTES + 1));
        let of = || found(folder, &Rules::default(), &Documents::default(), &from).1;
        assert_eq!(of(), [format!("{}/long.rhai has more than 256.0 KiB", folder.display())]);
        for number in 0..MOST_SCRIPTS {
            write(folder, &format!("many/{number}.rhai"), "");
        }
        let left_out = of();
        assert!(left_out.iter().any(|why| why.contains("more than 1000 scripts")), "{left_out:?}");
    }

    #[test]
    fn whoever_waits_no_more_ends_the_reading() {
        let folder = tempfile::tempdir().unwrap();
        let from = write(folder.path(), "from.rhai", "word");
        let session = session(folder.path(), &Rules::default());
        let documents = Documents::default();
        let check = || -> Result<()> { Err(Error::interrupted()) };
        let project = Project { session: &session, documents: &documents, folders: &[], check: &check };
        assert_eq!(project.texts(&["word"], &[from.as_path()]).err(), Some(Error::interrupted()));
    }

    #[test]
    fn whoever_waits_no_more_ends_the_list_of_a_large_folder() {
        let folder = tempfile::tempdir().unwrap();
        let from = write(folder.path(), "from.rhai", "word");
        for number in 0..50 {
            write(folder.path(), &format!("{number}.txt"), "");
        }
        let session = session(folder.path(), &Rules::default());
        let documents = Documents::default();
        let looks = Cell::new(0);
        let check = || -> Result<()> {
            looks.set(looks.get() + 1);
            if looks.get() == 20 { Err(Error::interrupted()) } else { Ok(()) }
        };
        let project = Project { session: &session, documents: &documents, folders: &[], check: &check };
        assert_eq!(project.texts(&["word"], &[from.as_path()]).err(), Some(Error::interrupted()));
        assert_eq!(looks.get(), 20);
    }
}
