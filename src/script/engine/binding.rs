//! Registration of native functions: each gets a short form without its options, and errors that know where it was
//! called and which argument is to blame.
//!
//! A binding is one function: `fn fit(ctx, x: Any, options: Options)`. `fit(x)` is made of it here, with no options. An
//! error says by name which argument it is about, `err!(..).about("x")`; which one that is in the call is found here.
//!
//! The engine fills in the place of an error from an unqualified native call, but not from `module::function(..)`; and
//! what `catch (e)` sees of an error that a native threw has no line. Both are mended in one place, here.
//!
//! After a method the engine writes what it was called on back to where it came from, `x[0].mean()` by an assignment to
//! `x[0]`, whether or not the method changes anything. So a method of a handle that changes nothing is called on a copy of
//! the handle, which costs nothing, and is no change to the engine; and what is assigned to a part of a constant without
//! changing it is welcome.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Mutex;

use rhai::plugin::{FnManifestEntry, ModuleManifest, PluginFunc};
use rhai::{Array, Blob, Dynamic, EvalAltResult, FuncRegistration, Map, Module, NativeCallContext, Position, RhaiFunc};

use crate::base::locked;
use crate::tensor::Tensor;
use crate::tensor::compare::same;

/// The parameters of a function, by name, the receiver of a method apart.
struct Parameters {
    names: Vec<String>,
    has_options: bool,
}

impl Parameters {
    fn of(entry: &FnManifestEntry) -> Self {
        // The engine tells a function's parameters only of one that is registered somewhere.
        let mut alone = Module::new();
        (entry.register)(&mut alone);
        let signature = alone.gen_fn_signatures_with_mapper(|kind| kind.into()).next().unwrap_or_default();
        let inside = signature.split_once('(').map_or("", |(_, rest)| rest);
        let inside = inside.split_once(") ->").map_or(inside.trim_end_matches(')'), |(inside, _)| inside);
        let all: Vec<(&str, &str)> = inside.split(", ").filter_map(|parameter| parameter.split_once(": ")).collect();
        let is_method = all.first().is_some_and(|(_, kind)| kind.starts_with("&mut"));
        let own = all.get(usize::from(is_method)..).unwrap_or_default();
        Self {
            names: own.iter().map(|(name, _)| name.trim_start_matches('_').into()).collect(),
            has_options: own.last().is_some_and(|(_, kind)| *kind == "Options"),
        }
    }

    /// Finds the argument of the call that has this name, and whether it is an option in that argument. The arguments
    /// themselves are gone by then: the function has taken them.
    fn place(&self, name: &str) -> Option<(usize, bool)> {
        match self.names.iter().position(|known| known == name) {
            Some(place) => Some((place, false)),
            None => self.has_options.then(|| (self.names.len() - 1, true)),
        }
    }
}

struct BoundFunction {
    entry: &'static FnManifestEntry,
    /// Text in place of its documentation in the engine, `bound_17`.
    mark: String,
    /// Whether it is called on the value itself, which it may change, or whose copy costs something.
    is_method: bool,
}

impl BoundFunction {
    fn new(number: usize, entry: &'static FnManifestEntry) -> Self {
        let copied = [TypeId::of::<Array>(), TypeId::of::<Map>(), TypeId::of::<Blob>()];
        let is_copied = kinds(entry).first().is_some_and(|kind| copied.contains(kind));
        let is_method = entry.func.is_method_call() && (is_copied || !entry.func.is_pure());
        Self { entry, mark: format!("bound_{number}"), is_method }
    }

    /// Returns whether the function is the assignment to a part of something, `x[0] = 1`.
    fn assigns(&self) -> bool {
        self.entry.name == INDEX_SET
    }
}

/// The engine's names of the functions that read and write a part of something.
const INDEX_GET: &str = "index$get$";
const INDEX_SET: &str = "index$set$";

impl PluginFunc for BoundFunction {
    fn call(
        &self,
        context: Option<NativeCallContext>,
        args: &mut [&mut Dynamic],
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let _ours = crate::script::engine::value_memory::NativeCall::begin();
        let Some(outer) = context else {
            return self.entry.func.call(None, args);
        };
        if self.assigns() && args.first().is_some_and(|target| target.is_read_only()) {
            return kept(&outer, args);
        }
        // The function gets a context of the same content, and this one stays to be asked after an error.
        let inner = self.entry.func.has_context().then(|| {
            let global = outer.global_runtime_state();
            let position = outer.call_position();
            NativeCallContext::new_with_all_fields(outer.engine(), outer.fn_name(), outer.fn_source(), global, position)
        });
        self.entry.func.call(inner, args).map_err(|mut error| {
            blame(&mut error, self.entry);
            with_place(error, outer.call_position(), outer.call_source())
        })
    }

    fn is_method_call(&self) -> bool {
        self.is_method
    }

    fn has_context(&self) -> bool {
        true
    }

    fn is_pure(&self) -> bool {
        // Of constants the assignment itself decides.
        self.entry.func.is_pure() || self.assigns()
    }

    fn is_volatile(&self) -> bool {
        self.entry.func.is_volatile()
    }
}

/// Accepts an assignment to a part of a constant if the value is there already, as after a method of the language's
/// that has read `X[0].shape`; else refuses it.
fn kept(context: &NativeCallContext, args: &mut [&mut Dynamic]) -> Result<Dynamic, Box<EvalAltResult>> {
    if let [target, index, value] = args {
        let there = context.call_native_fn_raw(INDEX_GET, true, &mut [&mut **target, &mut index.clone()]);
        let there = there?;
        let value = value.read_lock::<Tensor>();
        if let (Some(there), Some(value)) = (there.read_lock::<Tensor>(), value)
            && same(&there, &value)?
        {
            return Ok(Dynamic::UNIT);
        }
    }
    Err(Box::new(EvalAltResult::ErrorNonPureMethodCallOnConstant(INDEX_SET.into(), context.call_position())))
}

/// Text in place of documentation at a short form, which the whole one documents.
pub const SHORT: &str = "/// without options";

/// A function called without its options.
struct ShortForm {
    whole: &'static (dyn PluginFunc + Send + Sync),
}

impl PluginFunc for ShortForm {
    fn call(
        &self,
        context: Option<NativeCallContext>,
        args: &mut [&mut Dynamic],
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let mut none = Dynamic::from(Map::new());
        let mut all: Vec<&mut Dynamic> = args.iter_mut().map(|arg| &mut **arg).collect();
        all.push(&mut none);
        self.whole.call(context, &mut all)
    }

    fn is_method_call(&self) -> bool {
        self.whole.is_method_call()
    }

    fn has_context(&self) -> bool {
        true
    }

    fn is_pure(&self) -> bool {
        self.whole.is_pure()
    }

    fn is_volatile(&self) -> bool {
        self.whole.is_volatile()
    }
}

/// Gives an error the number of the argument that it is about.
fn blame(error: &mut EvalAltResult, entry: &FnManifestEntry) {
    let EvalAltResult::ErrorRuntime(value, position) = error else { return };
    // What a closure that this function called has failed with is about another call.
    if !position.is_none() {
        return;
    }
    let Some(mut map) = value.write_lock::<Map>() else { return };
    let Some(about) = map.get("about").and_then(|about| about.clone().into_string().ok()) else { return };
    if let Some(also) = map.remove("also").and_then(|also| also.into_typed_array::<String>().ok()) {
        let parameters = Parameters::of(entry);
        let places = also.iter().filter_map(|name| parameters.place(name));
        let places: Vec<Dynamic> = places.map(|(place, _)| Dynamic::from(place as i64)).collect();
        map.insert("args".into(), places.into());
    }
    if let Some((place, is_option)) = Parameters::of(entry).place(&about) {
        map.insert("arg".into(), (place as i64).into());
        if is_option {
            map.insert("option".into(), about.into());
        }
    }
}

/// Gives an error its place. Errors that already know theirs, such as those of closures that a native called, keep it.
fn with_place(mut error: Box<EvalAltResult>, position: Position, source: Option<&str>) -> Box<EvalAltResult> {
    if !error.position().is_none() || position.is_none() {
        return error;
    }
    if let EvalAltResult::ErrorRuntime(value, _) = &mut *error
        && let Some(mut map) = value.write_lock::<Map>()
    {
        map.insert("line".into(), (position.line().unwrap_or(0) as i64).into());
        map.insert("position".into(), (position.position().unwrap_or(0) as i64).into());
        if let Some(source) = source {
            map.insert("source".into(), source.into());
        }
    }
    error.set_position(position);
    error
}

/// Returns the types of a function's parameters.
fn kinds(entry: &FnManifestEntry) -> Vec<TypeId> {
    let mut kinds = Vec::new();
    (entry.param_types)(&mut |all| kinds = all.to_vec());
    kinds
}

/// Makes a module of the functions of these manifests, each with its mark in place of its documentation.
///
/// All are registered: of a manifest the engine would find a function by hashing all in turn, in each call of a library's
/// function anew.
pub fn module(manifests: &[&'static ModuleManifest]) -> Module {
    let mut module = Module::new();
    for manifest in manifests {
        manifest.init_eager(&mut module);
        let functions = bound(manifest);
        for func in functions {
            let entry = func.entry;
            let registration = |comment: &str| {
                FuncRegistration::new(entry.name).with_namespace(entry.namespace).with_comments([comment])
            };
            let mut kinds_of_this = kinds(entry);
            registration(&func.mark).set_into_module_raw(&mut module, &kinds_of_this, RhaiFunc::StaticPlugin { func });
            if kinds_of_this.pop() != Some(TypeId::of::<Map>()) {
                continue;
            }
            // One that is there does something of its own without options.
            if !functions.iter().any(|other| other.entry.name == entry.name && kinds(other.entry) == kinds_of_this) {
                let short = RhaiFunc::Plugin { func: std::rc::Rc::new(ShortForm { whole: func }) };
                registration(SHORT).set_into_module_raw(&mut module, &kinds_of_this, short);
            }
        }
    }
    module
}

/// The functions of each manifest; made once in the life of the program.
static MADE: Mutex<BTreeMap<usize, &'static [BoundFunction]>> = Mutex::new(BTreeMap::new());

fn bound(manifest: &'static ModuleManifest) -> &'static [BoundFunction] {
    let mut made = locked(&MADE);
    let before: usize = made.values().map(|functions| functions.len()).sum();
    made.entry(std::ptr::from_ref(manifest) as usize).or_insert_with(|| {
        let bound = |(number, entry)| BoundFunction::new(before + number, entry);
        manifest.functions.iter().enumerate().map(bound).collect::<Vec<_>>().leak()
    })
}

/// Lists each bound function by its mark, with its parameters and its documentation, in a module of its own.
pub fn documented() -> Vec<(&'static str, Module)> {
    let made = locked(&MADE);
    let alone = |bound: &'static BoundFunction| {
        let mut module = Module::new();
        bound.entry.register_into(&mut module);
        (bound.mark.as_str(), module)
    };
    made.values().flat_map(|functions| functions.iter().map(alone)).collect()
}

#[cfg(test)]
mod tests {
    use crate::script::engine::failure::SourcePlace;
    use crate::script::session::Session;

    /// Returns the argument and the option that an error points at.
    fn blamed(code: &str) -> (Option<usize>, Option<String>) {
        let place = failed(code);
        (place.arg, place.option)
    }

    fn failed(code: &str) -> SourcePlace {
        let mut session = Session::for_tests();
        session.eval("<1>", code).unwrap_err().place.unwrap()
    }

    #[test]
    fn two_wrong_arguments_are_both_marked() {
        let place = failed("sae::mmcs(1, \"a\")");
        assert_eq!((place.arg, &*place.also), (Some(0), &[1][..]));
        let place = failed("sae::mmcs(tensor([[1]]), \"a\")");
        assert_eq!((place.arg, &*place.also), (Some(1), &[][..]));
    }

    #[test]
    fn errors_point_at_the_option_and_at_the_argument_that_they_are_about() {
        let fit = |options: &str| blamed(&format!("sae::fit(tensor::randn([8, 4], #{{ seed: 1 }}), #{{ {options} }})"));
        for (options, option) in [("k: 2, kind: \"tpk\"", "kind"), ("k: 2, lr: 0", "lr"), ("k: 2, steeps: 3", "steeps")]
        {
            assert_eq!(fit(options), (Some(1), Some(option.into())), "{options}");
        }
        assert_eq!(blamed("blob(2, 256)"), (Some(1), None));
    }
}
