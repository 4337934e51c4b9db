//! Walks over values of any size, which hear Ctrl-C: copies of them and comparisons, which the engine makes in one piece.

use rhai::{Array, Dynamic, Map, NativeCallContext, OP_EQUALS};

use crate::base::Result;
use crate::script::engine::interrupt_checks::InterruptChecks;
use crate::script::engine::value::Fallible;

/// Copies a value as the engine does.
pub fn copied(value: &Dynamic, steps: &InterruptChecks) -> Result<Dynamic> {
    // What is shared stays shared.
    if value.is_shared() {
        return Ok(value.clone());
    }
    if let Some(list) = value.read_lock::<Array>() {
        return Ok(tagged(copies(list.iter(), steps)?.into(), value));
    }
    if let Some(map) = value.read_lock::<Map>().filter(|map| map.values().any(is_nested)) {
        let mut copy = Map::new();
        for (key, value) in map.iter() {
            copy.insert(key.clone(), copied(value, steps)?);
        }
        return Ok(tagged(copy.into(), value));
    }
    steps.take(1 + value.read_lock::<Map>().map_or(0, |map| map.len()))?;
    Ok(value.clone())
}

/// Copies values.
pub fn copies<'a>(values: impl IntoIterator<Item = &'a Dynamic>, steps: &InterruptChecks) -> Result<Array> {
    let values = values.into_iter();
    let mut list = Array::with_capacity(values.size_hint().0);
    for value in values {
        list.push(copied(value, steps)?);
    }
    Ok(list)
}

fn is_nested(value: &Dynamic) -> bool {
    value.is_array() || value.is_map()
}

fn tagged(mut copy: Dynamic, of: &Dynamic) -> Dynamic {
    copy.set_tag(of.tag());
    copy
}

/// Returns whether two values are equal, as `==` says of them.
pub fn is_same(context: &NativeCallContext, one: &Dynamic, other: &Dynamic, steps: &InterruptChecks) -> Fallible<bool> {
    steps.take(1)?;
    if let (Some(one), Some(other)) = (one.read_lock::<Array>(), other.read_lock::<Array>()) {
        return are_same_lists(context, &one, &other, steps);
    }
    if let (Some(one), Some(other)) = (one.read_lock::<Map>(), other.read_lock::<Map>()) {
        return are_same_maps(context, &one, &other, steps);
    }
    if let Some(answer) = at_once(one, other) {
        return Ok(answer);
    }
    let operands = &mut [&mut one.flatten_clone(), &mut other.flatten_clone()];
    match context.call_native_fn_raw(OP_EQUALS, true, operands) {
        Ok(answer) => Ok(answer.as_bool().unwrap_or(false)),
        Err(error) => match *error {
            // Values of two types are not equal, where nothing else is said of them.
            rhai::EvalAltResult::ErrorFunctionNotFound(ref name, ..)
                if name.starts_with(OP_EQUALS) && one.type_id() != other.type_id() =>
            {
                Ok(false)
            }
            error => Err(error.into()),
        },
    }
}

pub fn are_same_lists(
    context: &NativeCallContext,
    one: &Array,
    other: &Array,
    steps: &InterruptChecks,
) -> Fallible<bool> {
    if one.len() != other.len() {
        return Ok(false);
    }
    for (one, other) in one.iter().zip(other) {
        if !is_same(context, one, other, steps)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub fn are_same_maps(context: &NativeCallContext, one: &Map, other: &Map, steps: &InterruptChecks) -> Fallible<bool> {
    if one.len() != other.len() {
        return Ok(false);
    }
    for (key, one) in one {
        let Some(other) = other.get(key) else { return Ok(false) };
        if !is_same(context, one, other, steps)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Compares two simple values as the engine would, where that is plain.
fn at_once(one: &Dynamic, other: &Dynamic) -> Option<bool> {
    if let (Ok(one), Ok(other)) = (one.as_int(), other.as_int()) {
        return Some(one == other);
    }
    if let (Ok(one), Ok(other)) = (one.as_float(), other.as_float()) {
        // Others may be as good as equal.
        return (one == other && one.is_finite()).then_some(true);
    }
    if let (Ok(one), Ok(other)) = (one.as_bool(), other.as_bool()) {
        return Some(one == other);
    }
    if let (Ok(one), Ok(other)) = (one.as_immutable_string_ref(), other.as_immutable_string_ref()) {
        return Some(*one == *other);
    }
    let is_number = |value: &Dynamic| value.is_int() || value.is_float();
    let is_text = |value: &Dynamic| value.is_string() || value.is_char();
    let is_plain = !one.is_variant() && !other.is_variant() && one.type_id() != other.type_id();
    let is_apart = is_plain && !(is_number(one) && is_number(other)) && !(is_text(one) && is_text(other));
    is_apart.then_some(false)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use rhai::Engine;

    use super::*;
    use crate::base::{Error, Task};
    use crate::script::engine::value::repr;
    use crate::script::session::Session;

    fn interrupted() -> Task {
        let task = Task::default();
        task.flag().store(true, Ordering::Relaxed);
        task
    }

    fn said(code: &str) -> String {
        let mut session = Session::for_tests();
        repr(&session.eval("<1>", code).unwrap())
    }

    #[test]
    fn copies_and_comparisons_are_interrupted() {
        let row: Dynamic = Map::from([("a".into(), 1_i64.into())]).into();
        let rows: Dynamic = vec![row; 1 << 13].into();
        let nested: Dynamic = Map::from([("rows".into(), rows.clone())]).into();
        let free = Task::default();
        let task = interrupted();
        for value in [&rows, &nested] {
            assert_eq!(repr(&copied(value, &InterruptChecks::new(&free)).unwrap()), repr(value));
            assert_eq!(copied(value, &InterruptChecks::new(&task)).unwrap_err(), Error::interrupted());
        }
        let mut engine = Engine::new();
        for (name, task) in [("free", free), ("late", task)] {
            engine.register_fn(name, move |context: NativeCallContext, one: Dynamic, other: Dynamic| {
                is_same(&context, &one, &other, &InterruptChecks::new(&task))
            });
        }
        let mut scope = rhai::Scope::new();
        scope.push_dynamic("x", nested);
        assert!(engine.eval_with_scope::<bool>(&mut scope, "free(x, x)").unwrap());
        let late = engine.eval_with_scope::<bool>(&mut scope, "late(x, x)").unwrap_err();
        assert!(late.to_string().contains("terminated"), "{late}");
    }

    #[test]
    fn long_values_are_compared_as_short_ones() {
        let pairs = "[1, 1], [1, 1.0], [1, 2], [0.1 + 0.2, 0.3], [0.0 / 0.0, 0.0 / 0.0], [1.0 / 0.0, 1.0 / 0.0],
            ['a', \"a\"], [\"a\", \"b\"], [(), ()], [(), 1], [true, true], [1, [1]], [[1], [1]], [#{ a: 1 }, #{ a: 1.0 }],
            [#{ a: 1 }, #{ b: 1 }], [0..2, 0..2], [blob(2), blob(2)], [tensor([1]), tensor([1])], [1, tensor([1])]";
        // As the engine compares them by itself.
        let expected = "[1, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 1, 0, 0]";
        let compared = |prepare: &str| {
            let verdict = "if a == b { if a != b { -1 } else { 1 } } else { if a != b { 0 } else { -1 } }";
            said(&format!("[{pairs}].map(|pair| {{ let a = [pair[0]]; let b = [pair[1]]; {prepare} {verdict} }})"))
        };
        assert_eq!(compared(""), expected);
        assert_eq!(compared("a.pad(5000, 0); b.pad(5000, 0);"), expected);
        assert_eq!(compared("a.pad(5000, 0); b.pad(5000, 0); a = #{ list: a }; b = #{ list: b };"), expected);
        let lengths = "let a = []; a.pad(5000, 1); let b = a; b.push(1);
            [a == b, a != b, a == a, b == [], [1, a].contains(a), a in [b]]";
        assert_eq!(said(lengths), "[false, true, true, false, true, false]");
        let mut session = Session::for_tests();
        let why = "let f = |x| x; let a = [f]; a.pad(5000, 1); let b = a; a == b";
        let message = session.eval("<1>", why).unwrap_err().message;
        assert_eq!(message, "`==` is not defined between a function and a function");
    }
}
