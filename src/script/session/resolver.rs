//! Finding what `import` names: the embedded stdlib, a library of the project, beside the importing file, the user's library,
//! `MICROTOME_PATH`.

use std::cell::RefCell;

use rhai::{AST, FnNamespace, ModuleResolver, Scope, Shared};

use crate::base::access::permissions::Permissions;
use crate::base::disk;
use crate::base::memory::human;
use crate::checkpoint::hub;
use crate::script::docs::stdlib::{PREFIX, STDLIB, stdlib};
use crate::script::engine::env::Code;
use crate::script::engine::function_names::ANONYMOUS;
use crate::script::engine::lexical::{self, NameReach};
use crate::script::engine::sources::Sources;
use crate::script::engine::variable_reads::VariableReads;
use crate::script::library::graph::{self, Library, LibraryContent};
use crate::script::library::project::{self, Project};
use crate::script::library::{LOCK, MAIN};
use crate::script::prelude::*;
use crate::script::session::inspect;
use crate::script::session::parsed_libraries::{ParsedLibraries, ParsedLibrary};

/// Largest number of bytes of a library that is looked into and not run.
const MOST_READ: usize = 8 << 20;

/// Largest number of names that are looked through for one like that of a library which is not there.
const MOST_NAMES: usize = 10_000;

pub struct Resolver {
    env: Rc<Env>,
    sources: Sources,
    marks: VariableReads,
    /// Names of the modules of the language.
    language: Rc<[&'static str]>,
    /// Modules by who owns their code and by the name of their source, so that each is run once. What a library imports
    /// of the stdlib is its own: it has the permissions of that library.
    loaded: RefCell<BTreeMap<(String, String), Shared<Module>>>,
    /// Sources that are being loaded just now, to tell a circle of imports, and whose code imports.
    loading: RefCell<Vec<ModuleSource>>,
    /// Modules that were read for the import that is followed just now, by their owners and names: each is looked into
    /// once.
    seen: RefCell<BTreeSet<(String, String)>>,
    /// Modules that are looked into, as they were parsed.
    libraries: ParsedLibraries,
    projects: RefCell<BTreeMap<PathBuf, (String, Rc<Project>)>>,
}

/// The owner of a module: the user, or a library.
#[derive(Clone, Default)]
struct ModuleOwner {
    /// Text that decides the permissions of a library; empty for the user's own code.
    key: String,
    /// Permissions that a library was granted.
    permissions: Option<Arc<Permissions>>,
}

/// A source that an import means.
#[derive(Clone)]
struct ModuleSource {
    name: String,
    /// Name by which it is imported, the same wherever the script lies.
    import: String,
    owner: ModuleOwner,
    /// The project, the library and the name of the module, of a library that people share.
    of: Option<(Rc<Project>, Rc<Library>, String)>,
}

/// A module that an import means.
pub struct FoundModule {
    source: ModuleSource,
    pub text: String,
}

impl FoundModule {
    /// Returns the name of the module's source, as errors have it.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// Returns the file that has the module; none where that is inside the program, or in an archive.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.source.of {
            Some((_, library, module)) => match &library.content {
                LibraryContent::Folder(folder) => Some(folder.join(format!("{module}.rhai"))),
                LibraryContent::Archive { .. } => None,
            },
            None => (!self.source.name.starts_with(PREFIX)).then(|| PathBuf::from(&self.source.name)),
        }
    }
}

impl Resolver {
    pub fn new(
        env: Rc<Env>,
        sources: Sources,
        marks: VariableReads,
        language: Rc<[&'static str]>,
        libraries: ParsedLibraries,
    ) -> Self {
        Self {
            env,
            sources,
            marks,
            language,
            loaded: RefCell::default(),
            loading: RefCell::default(),
            seen: RefCell::default(),
            libraries,
            projects: RefCell::default(),
        }
    }

    /// Finds the module that a path means for a text of this name.
    pub fn module(&self, path: &str, from: &str) -> Result<FoundModule> {
        self.find(path, Some(from)).map(|(source, text)| FoundModule { source, text })
    }

    /// Finds the module that a path means for another module.
    pub fn module_within(&self, path: &str, from: &FoundModule) -> Result<FoundModule> {
        self.loading.borrow_mut().push(from.source.clone());
        let found = self.module(path, from.name());
        self.loading.borrow_mut().pop();
        found
    }

    /// Finds the source that `path` means for the script called `from`, and its text.
    ///
    /// What begins with `std/` is of the stdlib, and what begins with the name of a dependency is of that library, also if
    /// a file of that name is beside the script: that one is `./name`.
    fn find(&self, path: &str, from: Option<&str>) -> Result<(ModuleSource, String)> {
        let importing = self.loading.borrow().last().cloned();
        let owner = importing.as_ref().map(|unit| unit.owner.clone()).unwrap_or_default();
        if let Some(name) = path.strip_prefix(PREFIX) {
            let unit = ModuleSource { name: path.to_string(), import: path.to_string(), owner, of: None };
            if let Some(text) = self.env.recorded.get(path) {
                return Ok((unit, text.clone()));
            }
            return match STDLIB.iter().find(|(known, _)| *known == name) {
                Some((_, text)) => Ok((unit, text.to_string())),
                None => Err(err!(Name, "there is no `{path}` in the stdlib")
                    .maybe_hint(names::suggestion(path, stdlib().iter().map(String::as_str)))),
            };
        }
        if let Some(ModuleSource { of: Some((project, library, module)), .. }) = &importing {
            return self.for_library(path, project, library, module);
        }
        if let Some((name, module)) = graph::taken_apart(path)
            && let Some(project) = self.project(&script_folder(from))?
            && let Some(library) = project.wanted(name)
        {
            return self.module_of(&project, &library, module);
        }
        self.file(path, from)
    }

    /// Finds what the code of a library imports: modules of its own and of its dependencies, and nothing else.
    fn for_library(
        &self,
        path: &str,
        project: &Rc<Project>,
        library: &Rc<Library>,
        module: &str,
    ) -> Result<(ModuleSource, String)> {
        if let Some((name, wanted)) = graph::taken_apart(path)
            && let Some(other) = project.wanted_by(library, name)
        {
            return self.module_of(project, &other, wanted);
        }
        if let Some(sibling) = graph::sibling(path, module)
            && let Some(found) = self.module_if_there(project, library, sibling)?
        {
            return Ok(found);
        }
        let name = &library.name;
        Err(err!(File, "the library `{name}` imports `{path}`, which is none of its modules, nor of its dependencies")
            .hint(format!(
                "what `{name}` imports from elsewhere stands in its {} under [dependencies]",
                library.manifest
            )))
    }

    fn module_of(
        &self,
        project: &Rc<Project>,
        library: &Rc<Library>,
        module: String,
    ) -> Result<(ModuleSource, String)> {
        self.module_if_there(project, library, module.clone())?.ok_or_else(|| {
            err!(File, "the library `{}` has no module `{module}`", library.name)
                .hint(format!("`import \"{}\"` is its main module, {MAIN}.rhai", library.name))
        })
    }

    fn module_if_there(
        &self,
        project: &Rc<Project>,
        library: &Rc<Library>,
        module: String,
    ) -> Result<Option<(ModuleSource, String)>> {
        let name = library.source(&module);
        let text = match self.env.recorded.get(&name) {
            Some(text) => Some(text.clone()),
            None => library.text(&module, &self.env.files, self.env.settings.cache.as_deref(), &self.env.task)?,
        };
        let Some(text) = text else { return Ok(None) };
        // The record of a run has what decides which libraries there are, and what they may touch.
        for (name, text) in &project.texts {
            self.sources.add(name, text);
        }
        let owner = self.owner(library)?;
        let import = format!("{}/{module}", library.name);
        Ok(Some((ModuleSource { name, import, owner, of: Some((project.clone(), library.clone(), module)) }, text)))
    }

    /// Returns who owns the code of a library: one owner for each library and its permissions.
    fn owner(&self, library: &Library) -> Result<ModuleOwner> {
        let key = format!("{} {} {:?}", library.name, library.shown, library.touches);
        let access = self.env.files.access();
        let permissions = access.permissions(
            &library.name,
            &library.manifest,
            &library.touches,
            &hub::HubSettings::from_env().cache,
        )?;
        Ok(ModuleOwner { key, permissions: Some(permissions.into()) })
    }

    /// Returns the project that scripts in a folder belong to, read again when its files have changed.
    fn project(&self, folder: &Path) -> Result<Option<Rc<Project>>> {
        let read = |path: &Path| {
            if self.env.recorded.is_empty() {
                self.env.files.script_if_there(path)
            } else {
                // A recorded run is repeated with the files that it saw.
                Ok(self.env.recorded.get(&project::path_text(path)).cloned())
            }
        };
        let Some((root, manifest)) = project::found(folder, &read)? else { return Ok(None) };
        let lock = read(&root.join(LOCK))?.unwrap_or_default();
        let state = format!("{manifest}\0{lock}");
        if let Some((known, project)) = self.projects.borrow().get(&root)
            && *known == state
        {
            return Ok(Some(project.clone()));
        }
        let project = Rc::new(Project::load(root.clone(), manifest, &read).map_err(crate::base::Error::from)?);
        self.projects.borrow_mut().insert(root, (state, project.clone()));
        Ok(Some(project))
    }

    /// Finds a file beside the script, in the user's library, or on `MICROTOME_PATH`.
    fn file(&self, path: &str, from: Option<&str>) -> Result<(ModuleSource, String)> {
        let unit = |number: usize, place: &Path| {
            // What lies beside a module is named from where that one is.
            let beside = from.filter(|_| number == 0).and_then(|from| self.env.imported.borrow().get(from).cloned());
            ModuleSource {
                name: shown(place),
                import: import_name(path, beside.as_deref()),
                owner: ModuleOwner::default(),
                of: None,
            }
        };
        let mut file = PathBuf::from(path);
        if file.extension().is_none_or(|e| e != "rhai") {
            file = PathBuf::from(format!("{path}.rhai"));
        }
        let places: Vec<PathBuf> = folders(from).into_iter().map(|folder| folder.join(&file)).collect();
        // A place that may not be read is passed over, whether a library is there or not; that it was is said in both cases.
        let mut refused = Vec::new();
        for (number, place) in places.iter().enumerate() {
            if let Some(text) = self.env.recorded.get(&shown(place)) {
                return Ok((unit(number, place), text.clone()));
            }
            // Absolute, since a library is looked for nowhere else than here.
            let exact = disk::absolute(place).unwrap_or_else(|_| place.clone());
            match self.env.files.has(&exact) {
                Ok(true) if disk::is_file(&exact) => return Ok((unit(number, place), self.env.files.script(place)?)),
                Err(refusal) if refusal.kind == Kind::Access => refused.push(refusal.message),
                _ => {}
            }
        }
        let near = match STDLIB.iter().find(|(name, _)| *name == path) {
            Some(_) => Some(format!("did you mean `{PREFIX}{path}`?")),
            None => self.nearest_file(&file, &places).map(|near| format!("did you mean `{near}`?")),
        };
        let looked = places.iter().map(|p| shown(p)).collect::<Vec<_>>().join(", ");
        let hint = match (near, refused.is_empty()) {
            (near, false) => [near.unwrap_or(format!("looked for {looked}"))]
                .into_iter()
                .chain(refused)
                .collect::<Vec<_>>()
                .join("; "),
            (Some(near), true) => near,
            (None, true) => format!("looked for {looked}; `microtome add` fetches what others have written"),
        };
        Err(err!(File, "cannot find the library `{path}`").hint(hint))
    }

    /// Finds the library nearest in name, among those that the script may read.
    fn nearest_file(&self, file: &Path, places: &[PathBuf]) -> Option<String> {
        let wanted = file.file_stem()?.to_str()?;
        let here = Path::new(".");
        let folders = places.iter().filter_map(|place| place.parent());
        // A folder may hold millions, and what checks a text as it is written is not interrupted.
        let left = std::cell::Cell::new(MOST_NAMES);
        let check = || -> Result<()> {
            left.set(left.get().checked_sub(1).ok_or_else(Error::interrupted)?);
            Ok(())
        };
        let mut names = Vec::new();
        for folder in folders {
            let folder = if folder.as_os_str().is_empty() { here } else { folder };
            names.extend(self.env.files.names_while(folder, &check).ok()?);
        }
        names::nearest(wanted, names.iter().filter_map(|name| name.strip_suffix(".rhai"))).map(str::to_string)
    }

    fn load(
        &self,
        engine: &Engine,
        unit: ModuleSource,
        text: &str,
    ) -> std::result::Result<Shared<Module>, Box<EvalAltResult>> {
        let key = (unit.owner.key.clone(), unit.name.clone());
        if let Some(module) = self.loaded.borrow().get(&key) {
            return Ok(module.clone());
        }
        self.expect_no_circle(&unit)?;
        self.sources.add(&unit.name, text);
        self.env.imported.borrow_mut().entry(unit.name.clone()).or_insert_with(|| unit.import.clone());
        self.loading.borrow_mut().push(unit.clone());
        let module = self.compile(engine, &unit, text);
        self.loading.borrow_mut().pop();
        let module = Shared::new(module?);
        self.loaded.borrow_mut().insert(key, module.clone());
        Ok(module)
    }

    /// Refuses a source that is being loaded already.
    fn expect_no_circle(&self, unit: &ModuleSource) -> Result<()> {
        let loading = self.loading.borrow();
        if !loading.iter().any(|other| (&other.owner.key, &other.name) == (&unit.owner.key, &unit.name)) {
            return Ok(());
        }
        let circle: Vec<&str> = loading.iter().map(|unit| unit.name.as_str()).collect();
        Err(err!(File, "libraries import each other in a circle: {} -> {}", circle.join(" -> "), unit.name))
    }

    /// Parses a library.
    fn tree(&self, engine: &Engine, unit: &ModuleSource, text: &str) -> Fallible<AST> {
        let mut ast = engine.compile(text)?;
        refuse_shadowing(&ast, &self.language)?;
        ast.set_source(&unit.name);
        if unit.owner.permissions.is_some() {
            refuse_late_code(&ast)?;
        }
        Ok(ast)
    }

    /// Reads a library and what it imports in turn, and runs none of it.
    fn read(&self, engine: &Engine, source: Option<&str>, path: &str, position: Position) -> Fallible<Rc<AST>> {
        let (unit, text) = self.find(path, source).map_err(|error| placed(error, position))?;
        let name = unit.name.clone();
        if self.loading.borrow().is_empty() {
            self.libraries.follow(source.unwrap_or_default());
        }
        self.looked_into(engine, unit, &text)
            .map_err(|error| Box::new(EvalAltResult::ErrorInModule(name, error, position)))
    }

    fn looked_into(&self, engine: &Engine, unit: ModuleSource, text: &str) -> Fallible<Rc<AST>> {
        self.expect_no_circle(&unit)?;
        self.sources.add(&unit.name, text);
        let ParsedLibrary { tree, imports, .. } = self.parsed(engine, &unit, text)?;
        if self.loading.borrow().is_empty() {
            self.seen.borrow_mut().clear();
        }
        if !self.seen.borrow_mut().insert((unit.owner.key.clone(), unit.name.clone())) {
            return Ok(tree);
        }
        let name = unit.name.clone();
        self.loading.borrow_mut().push(unit);
        let mut others = imports.iter().map(|(path, at)| self.read(engine, Some(&name), path, *at).map(drop));
        let followed = others.find(std::result::Result::is_err);
        self.loading.borrow_mut().pop();
        followed.unwrap_or(Ok(())).map(|()| tree)
    }

    /// Parses a library that is looked into, unless it is known with this text.
    fn parsed(&self, engine: &Engine, unit: &ModuleSource, text: &str) -> Fallible<ParsedLibrary> {
        let key = (unit.owner.key.clone(), unit.name.clone());
        if let Some(known) = self.libraries.get(&key, text) {
            return Ok(known);
        }
        if text.len() > MOST_READ {
            let most = human(MOST_READ as u128);
            return Err(err!(File, "expected a library of at most {most}, found {} bytes", text.len()).into());
        }
        let tree = self.tree(engine, unit, text)?;
        lexical::check(&tree)?;
        // What a function imports is loaded when it is called, or never.
        let imports = inspect::imports(&tree).into_iter().filter(|import| import.top);
        let imports = imports.filter_map(|import| Some((import.path?, import.position))).collect();
        let library = ParsedLibrary { text: text.into(), tree: tree.into(), imports };
        self.libraries.keep(&key, &library);
        Ok(library)
    }

    /// Compiles and runs a library; what it defines becomes the module's.
    fn compile(
        &self,
        engine: &Engine,
        unit: &ModuleSource,
        text: &str,
    ) -> std::result::Result<Module, Box<EvalAltResult>> {
        let ast = self.tree(engine, unit, text)?;
        self.marks.add(&ast);
        let code = Code::new(&unit.name, &self.env, unit.owner.permissions.clone());
        let ast = lexical::bind(engine, &ast, &code, NameReach::Own)?;
        let mut global = engine.new_global_runtime_state();
        global.tag = code.tag();
        let mut module = Module::eval_ast_as_new_raw(engine, &mut Scope::new(), &mut global, &ast)?;
        set_closures_free(&mut module, &ast);
        Ok(module)
    }

    /// Lists what a script in a folder may import beside files and the stdlib: names of libraries.
    pub fn importable(env: &Env, folder: &Path) -> Vec<String> {
        let read = |path: &Path| env.files.script_if_there(path);
        let load = |(root, manifest)| Project::load(root, manifest, &read).ok();
        let project = project::found(folder, &read).ok().flatten().and_then(load);
        project.map(|project| project.importable().map(String::from).collect()).unwrap_or_default()
    }
}

/// Refuses an import by the name of a module of the language: code that means that one would run the other.
pub fn refuse_shadowing(ast: &AST, language: &[&str]) -> std::result::Result<(), Box<EvalAltResult>> {
    for import in inspect::imports(ast) {
        if let Some(name) = import.alias.filter(|name| language.contains(&name.as_str())) {
            let error = err!(Name, "`{name}` is a module of the language, and nothing can be imported by its name");
            return Err(placed(error.hint(format!("choose another: `as my_{name}`")), import.position));
        }
    }
    Ok(())
}

/// Refuses code of a library that would be known only when it runs: whose it is must be certain.
fn refuse_late_code(ast: &AST) -> std::result::Result<(), Box<EvalAltResult>> {
    for import in inspect::imports(ast) {
        if !import.top || import.path.is_none() {
            let error =
                err!(Argument, "a library imports at the top of its modules, by names that stand there as strings");
            return Err(placed(error.hint("move the import to the top"), import.position));
        }
    }
    if let Some(position) = inspect::evaluation(ast) {
        let error = err!(Argument, "a library may not use `eval`");
        return Err(placed(error.hint("take a closure in place of a text: `|x| x + 1`"), position));
    }
    if let Some(position) = inspect::foreign_pointer(ast) {
        let error = err!(Argument, "a library points by name to functions of its own only");
        return Err(placed(
            error.hint("write a closure that calls the other function: `|t, path| t.save(path)`"),
            position,
        ));
    }
    Ok(())
}

fn placed(error: crate::base::Error, position: Position) -> Box<EvalAltResult> {
    let mut error: Box<EvalAltResult> = error.into();
    error.set_position(position);
    error
}

impl ModuleResolver for Resolver {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        position: Position,
    ) -> std::result::Result<Shared<Module>, Box<EvalAltResult>> {
        let (unit, text) = self.find(path, source).map_err(|e| {
            let mut error: Box<EvalAltResult> = e.into();
            error.set_position(position);
            error
        })?;
        let name = unit.name.clone();
        self.load(engine, unit, &text).map_err(|error| Box::new(EvalAltResult::ErrorInModule(name, error, position)))
    }

    /// Reads what is imported without running it, for checks of a text that does not run either.
    fn resolve_ast(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Option<Fallible<AST>> {
        Some(self.read(engine, source, path, position).map(|tree| AST::clone(&tree)))
    }
}

/// Makes the closures that are written in a module callable wherever they are carried to.
///
/// To the engine a closure is the name of a function `anon$..`, looked up where it is called; written in a module that
/// name is hidden behind the module's. In the global namespace it is found from everywhere, and still runs in the
/// environment of its own module.
pub fn set_closures_free(module: &mut Module, ast: &rhai::AST) {
    let mut hashes = Module::new();
    for function in ast.iter_fn_def().filter(|function| function.name.starts_with(ANONYMOUS)) {
        let hash = hashes.set_script_fn(function.clone());
        // Deprecated in favour of an interface that cannot reach functions that are there already.
        #[allow(deprecated)]
        module.update_fn_namespace(hash, FnNamespace::Global);
    }
    module.build_index();
}

/// Returns the name of a module that is imported as `path` by the script, or by the module of the name `beside`: the
/// same name by whichever way it is reached, and without the folder of the script.
fn import_name(path: &str, beside: Option<&str>) -> String {
    let path = Path::new(path.strip_suffix(".rhai").unwrap_or(path));
    let whole = match (path.is_absolute(), beside.and_then(|name| Path::new(name).parent())) {
        (true, _) => PathBuf::from(path.file_name().unwrap_or_default()),
        (false, folder) => folder.unwrap_or(Path::new("")).join(path),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.iter().filter_map(|part| part.to_str()) {
        match (part, parts.last()) {
            (".", _) => {}
            ("..", Some(last)) if *last != ".." => drop(parts.pop()),
            (part, _) => parts.push(part),
        }
    }
    parts.join("/")
}

/// Lists where libraries are looked for, in order.
fn folders(from: Option<&str>) -> Vec<PathBuf> {
    let beside = from.map(Path::new).filter(|from| from.extension().is_some_and(|e| e == "rhai"));
    let mut folders = vec![script_folder(from)];
    // A script that is a link to one elsewhere finds the libraries there, too.
    if let Some((link, folder)) = beside.and_then(|from| Some((from.read_link().ok()?, from.parent()?)))
        && let Some(real) = folder.join(link).parent()
    {
        folders.push(real.to_path_buf());
    }
    folders.extend(user_library());
    if let Some(more) = std::env::var_os("MICROTOME_PATH") {
        folders.extend(std::env::split_paths(&more).filter(|folder| !folder.as_os_str().is_empty()));
    }
    folders
}

/// Returns the folder of a script; the current one for a line of the prompt.
fn script_folder(from: Option<&str>) -> PathBuf {
    let file = from.map(Path::new).filter(|from| from.extension().is_some_and(|e| e == "rhai"));
    file.and_then(Path::parent).unwrap_or(Path::new("")).to_path_buf()
}

/// Returns the folder of libraries that are the user's own, such as `~/.config/microtome/lib`.
pub fn user_library() -> Option<PathBuf> {
    config_folder().map(|folder| folder.join("lib"))
}

/// Returns the folder for what the user sets once: libraries, the REPL's rc file, its history.
pub fn config_folder() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    etcetera::choose_base_strategy().ok().map(|strategy| strategy.config_dir().join("microtome"))
}

fn shown(place: &Path) -> String {
    place.display().to_string()
}
