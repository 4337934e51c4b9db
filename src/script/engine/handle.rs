//! Handles: the values that scripts hold of types of ours, and what all of them can do.
//!
//! A new type is an `impl Handle`, or one line of `handle!` for what is an item of reports already, and its name in
//! `HANDLES` of its folder's `mod.rs`.

use std::any::Any;
use std::rc::Rc;
use std::sync::OnceLock;

use rhai::{Dynamic, Engine};

use crate::base::{Result, Task};
use crate::report::Item;
use crate::report::terminal::Screen;

/// Columns of preformatted text that a page of a report has room for.
pub const PAGE: usize = 100;

/// A result that scripts hold: what all of them can do.
pub trait Handle: Clone + 'static {
    /// The name of the type, as in the reference.
    const NAME: &'static str;
    /// Returns one line, as the value stands in a list.
    fn short(&self) -> String;
    /// Returns all of the value, as `show` prints it.
    fn shown(&self, _screen: &Screen) -> Result<String> {
        Ok(self.short())
    }
    /// Returns the data of the value.
    fn json(&self) -> Result<serde_json::Value>;
    /// Returns the item that stands for the value in a report, if that is not the text of `shown` with its data.
    fn item(&self) -> Result<Option<Rc<dyn Item>>> {
        Ok(None)
    }
}

/// The item that stands for a value in a report, where it has one.
type ReportItem = Result<Option<Rc<dyn Item>>>;

/// One type of handle, for values whose type is known only at run time.
pub struct HandleType {
    short: fn(&Dynamic) -> Option<String>,
    shown: fn(&Dynamic, &Screen, &Task) -> Option<Result<String>>,
    json: fn(&Dynamic, &Task) -> Option<Result<serde_json::Value>>,
    item: fn(&Dynamic) -> Option<ReportItem>,
    inside: fn(&Dynamic) -> Option<Rc<dyn Any>>,
    register: fn(&mut Engine),
}

pub const fn handle_type<T: Handle>() -> HandleType {
    HandleType {
        short: |value| value.read_lock::<T>().map(|handle| handle.short()),
        shown: |value, screen, _| value.read_lock::<T>().map(|handle| handle.shown(screen)),
        json: |value, _| value.read_lock::<T>().map(|handle| handle.json()),
        item: |value| value.read_lock::<T>().map(|handle| handle.item()),
        inside: |value| value.read_lock::<T>().map(|handle| Rc::new(handle.clone()) as Rc<dyn Any>),
        register: |engine| {
            engine.register_type_with_name::<T>(T::NAME);
            // What `print`, `+` with a string, and `${..}` in a string write.
            engine.register_fn("to_string", |handle: &mut T| handle.short());
            engine.register_fn("to_debug", |handle: &mut T| handle.short());
        },
    }
}

/// Describes a type whose values may be so large that showing them takes long: that is done apart, and Ctrl-C is heard.
pub const fn large<T: Handle + Send>() -> HandleType {
    HandleType {
        shown: |value, screen, task| {
            let handle = value.read_lock::<T>()?.clone();
            let screen = *screen;
            Some(task.apart(move || handle.shown(&screen)))
        },
        json: |value, task| {
            let handle = value.read_lock::<T>()?.clone();
            Some(task.apart(move || handle.json()))
        },
        ..handle_type::<T>()
    }
}

/// The types of all parts of the language, from the first engine on.
static TYPES: OnceLock<Vec<&'static HandleType>> = OnceLock::new();

fn types() -> impl Iterator<Item = &'static HandleType> {
    TYPES.get().into_iter().flatten().copied()
}

/// Makes the types known, to the engine and to the functions here.
pub fn register_types(engine: &mut Engine, all: impl IntoIterator<Item = &'static HandleType>) {
    TYPES.get_or_init(|| all.into_iter().collect());
    types().for_each(|kind| (kind.register)(engine));
}

pub fn short(value: &Dynamic) -> Option<String> {
    types().find_map(|kind| (kind.short)(value))
}

pub fn handle_json(value: &Dynamic, task: &Task) -> Option<Result<serde_json::Value>> {
    types().find_map(|kind| (kind.json)(value, task))
}

pub fn shown_handle(value: &Dynamic, screen: &Screen, task: &Task) -> Option<Result<String>> {
    types().find_map(|kind| (kind.shown)(value, screen, task))
}

/// Returns the item that stands for a handle in a report.
pub fn item(value: &Dynamic) -> Result<Option<Rc<dyn Item>>> {
    types().find_map(|kind| (kind.item)(value)).unwrap_or(Ok(None))
}

/// Returns the handle that a value holds, as itself.
pub fn inside(value: &Dynamic) -> Option<Rc<dyn Any>> {
    types().find_map(|kind| (kind.inside)(value))
}

/// A handle of what is an item, by its name and itself in one line: `handle!(Lens, "Lens", |lens| ..)`.
macro_rules! handle {
    ($type:ty, $name:literal, $short:expr) => {
        impl $crate::script::engine::handle::Handle for $type {
            const NAME: &'static str = $name;

            fn short(&self) -> String {
                let short: fn(&$type) -> String = $short;
                short(self)
            }

            fn shown(&self, screen: &$crate::report::Screen) -> $crate::base::Result<String> {
                $crate::report::Item::terminal(self, screen)
            }

            fn json(&self) -> $crate::base::Result<serde_json::Value> {
                $crate::report::Item::data(self)
            }

            fn item(&self) -> $crate::base::Result<Option<std::rc::Rc<dyn $crate::report::Item>>> {
                Ok(Some(std::rc::Rc::new(self.clone())))
            }
        }
    };
}

pub(in crate::script) use handle;
