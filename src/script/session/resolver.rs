//! Finding what `import` names: the embedded stdlib, beside the importing file, the user's library, `MICROTOME_PATH`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rhai::{Engine, EvalAltResult, FnNamespace, Module, ModuleResolver, Position, Scope, Shared};

use crate::base::{Kind, Result, names};
use crate::err;
use crate::script::docs::stdlib::{PREFIX, STDLIB, stdlib};
use crate::script::engine::env::Env;
use crate::script::engine::marks::Marks;
use crate::script::engine::sources::Sources;

pub struct Resolver {
    env: Rc<Env>,
    sources: Sources,
    marks: Marks,
    /// Modules by the name of their source, so that each is run once.
    loaded: RefCell<BTreeMap<String, Shared<Module>>>,
    /// What is being loaded just now, to tell a circle of imports.
    loading: RefCell<Vec<String>>,
}

impl Resolver {
    pub fn new(env: Rc<Env>, sources: Sources, marks: Marks) -> Self {
        Self { env, sources, marks, loaded: RefCell::default(), loading: RefCell::default() }
    }

    /// The name and the text of the source that `path` means for the script called `from`.
    fn find(&self, path: &str, from: Option<&str>) -> Result<(String, String)> {
        if let Some(name) = path.strip_prefix(PREFIX) {
            if let Some(text) = self.env.recorded.get(path) {
                return Ok((path.to_string(), text.clone()));
            }
            return match STDLIB.iter().find(|(known, _)| *known == name) {
                Some((_, text)) => Ok((path.to_string(), text.to_string())),
                None => Err(err!(Name, "there is no `{path}` in the stdlib")
                    .maybe_hint(names::suggestion(path, stdlib().iter().map(String::as_str)))),
            };
        }
        let mut file = PathBuf::from(path);
        if file.extension().is_none_or(|e| e != "rhai") {
            file = PathBuf::from(format!("{path}.rhai"));
        }
        let places: Vec<PathBuf> = folders(from).into_iter().map(|folder| folder.join(&file)).collect();
        // A place that may not be read is passed over, whether a library is there or not; that it was is said in both cases.
        let mut refused = Vec::new();
        for place in &places {
            if let Some(text) = self.env.recorded.get(&shown(place)) {
                return Ok((shown(place), text.clone()));
            }
            // Absolute, since a library is looked for nowhere else than here.
            let exact = std::path::absolute(place).unwrap_or_else(|_| place.clone());
            match self.env.files.has(&exact) {
                Ok(true) if exact.is_file() => return Ok((shown(place), self.env.files.script(place)?)),
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
            (None, true) => format!("looked for {looked}"),
        };
        Err(err!(File, "cannot find the library `{path}`").hint(hint))
    }

    /// The library nearest in name, among those that the script may read.
    fn nearest_file(&self, file: &Path, places: &[PathBuf]) -> Option<String> {
        let wanted = file.file_stem()?.to_str()?;
        let here = Path::new(".");
        let folders = places.iter().filter_map(|place| place.parent());
        let names: Vec<String> = folders
            .flat_map(|folder| self.env.files.names(if folder.as_os_str().is_empty() { here } else { folder }))
            .collect();
        names::nearest(wanted, names.iter().filter_map(|name| name.strip_suffix(".rhai"))).map(str::to_string)
    }

    fn load(&self, engine: &Engine, name: &str, text: &str) -> std::result::Result<Shared<Module>, Box<EvalAltResult>> {
        if let Some(module) = self.loaded.borrow().get(name) {
            return Ok(module.clone());
        }
        if self.loading.borrow().iter().any(|other| other == name) {
            let circle = self.loading.borrow().join(" -> ");
            return Err(err!(File, "libraries import each other in a circle: {circle} -> {name}").into());
        }
        self.sources.add(name, text);
        self.loading.borrow_mut().push(name.to_string());
        let module = compile(engine, name, text, &self.marks);
        self.loading.borrow_mut().pop();
        let module = Shared::new(module?);
        self.loaded.borrow_mut().insert(name.to_string(), module.clone());
        Ok(module)
    }
}

impl ModuleResolver for Resolver {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        position: Position,
    ) -> std::result::Result<Shared<Module>, Box<EvalAltResult>> {
        let (name, text) = self.find(path, source).map_err(|e| {
            let mut error: Box<EvalAltResult> = e.into();
            error.set_position(position);
            error
        })?;
        self.load(engine, &name, &text).map_err(|error| Box::new(EvalAltResult::ErrorInModule(name, error, position)))
    }
}

/// Compiles and runs a library; what it defines becomes the module's.
fn compile(engine: &Engine, name: &str, text: &str, marks: &Marks) -> std::result::Result<Module, Box<EvalAltResult>> {
    let mut ast = engine.compile(text)?;
    ast.set_source(name);
    marks.add(&ast);
    let mut module = Module::eval_ast_as_new(Scope::new(), &ast, engine)?;
    set_closures_free(&mut module, &ast);
    Ok(module)
}

/// Makes the closures that are written in a module callable wherever they are carried to.
///
/// To the engine a closure is the name of a function `anon$..`, looked up where it is called; written in a module that
/// name is hidden behind the module's. In the global namespace it is found from everywhere, and still runs in the
/// environment of its own module.
pub fn set_closures_free(module: &mut Module, ast: &rhai::AST) {
    let mut hashes = Module::new();
    for function in ast.iter_fn_def().filter(|function| function.name.starts_with("anon$")) {
        let hash = hashes.set_script_fn(function.clone());
        // Deprecated in favour of an interface that cannot reach functions that are there already.
        #[allow(deprecated)]
        module.update_fn_namespace(hash, FnNamespace::Global);
    }
    module.build_index();
}

/// Where libraries are looked for, in order.
fn folders(from: Option<&str>) -> Vec<PathBuf> {
    let beside = from.map(Path::new).filter(|from| from.extension().is_some_and(|e| e == "rhai"));
    let mut folders = vec![beside.and_then(Path::parent).unwrap_or(Path::new("")).to_path_buf()];
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

/// The folder of libraries that are the user's own, such as `~/.config/microtome/lib`.
pub fn user_library() -> Option<PathBuf> {
    config_folder().map(|folder| folder.join("lib"))
}

/// The folder for what the user sets once: libraries, the REPL's rc file, its history.
pub fn config_folder() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    etcetera::choose_base_strategy().ok().map(|strategy| strategy.config_dir().join("microtome"))
}

fn shown(place: &Path) -> String {
    place.display().to_string()
}
