//! Every native function, wrapped so that its errors know where they were called.
//!
//! The engine fills in the place of an error from an unqualified native call, but not from `module::function(..)`; and
//! what `catch (e)` sees of an error that a native threw has no line. Both are mended in one place, here.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rhai::plugin::{FnManifestEntry, ModuleManifest, PluginFunc};
use rhai::{Dynamic, EvalAltResult, Map, NativeCallContext, Position};

struct Placed(&'static (dyn PluginFunc + Send + Sync));

impl PluginFunc for Placed {
    fn call(
        &self,
        context: Option<NativeCallContext>,
        args: &mut [&mut Dynamic],
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let _ours = super::room::Ours::begin();
        let Some(outer) = context else {
            return self.0.call(None, args);
        };
        // The function gets a context of the same content, and this one stays to be asked after an error.
        let inner = self.0.has_context().then(|| {
            let (global, position) = (outer.global_runtime_state(), outer.call_position());
            NativeCallContext::new_with_all_fields(outer.engine(), outer.fn_name(), outer.fn_source(), global, position)
        });
        self.0.call(inner, args).map_err(|error| with_place(error, outer.call_position(), outer.call_source()))
    }

    fn is_method_call(&self) -> bool {
        self.0.is_method_call()
    }

    fn has_context(&self) -> bool {
        true
    }

    fn is_pure(&self) -> bool {
        self.0.is_pure()
    }

    fn is_volatile(&self) -> bool {
        self.0.is_volatile()
    }
}

/// Errors that already know their place, such as those of closures that a native called, keep it.
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

/// The manifest with every function wrapped; made once in the life of the program for each manifest.
pub fn placed(manifest: &'static ModuleManifest) -> &'static ModuleManifest {
    static MADE: Mutex<BTreeMap<usize, &'static ModuleManifest>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    made.entry(std::ptr::from_ref(manifest) as usize).or_insert_with(|| {
        let functions: Vec<FnManifestEntry> = manifest
            .functions
            .iter()
            .map(|entry| FnManifestEntry { func: Box::leak(Box::new(Placed(entry.func))), ..*entry })
            .collect();
        Box::leak(Box::new(ModuleManifest { functions: functions.leak(), ..*manifest }))
    })
}
