//! Functions of a script as edits of hooks.

use std::cell::Cell;

use crate::model::hooks::{At, Edit, checks};
use crate::model::padding::TextPart;
use crate::model::site::Place;
use crate::script::prelude::*;

/// A function of the script, and whether it takes the activation only, which its first call finds out.
#[derive(Clone)]
pub struct ScriptFunction {
    function: FnPtr,
    takes_one: Rc<Cell<bool>>,
}

impl From<FnPtr> for ScriptFunction {
    fn from(function: FnPtr) -> Self {
        Self { function, takes_one: Rc::default() }
    }
}

/// A function of the script as the edit of a hook.
pub struct FunctionEdit<'a> {
    calls: &'a Callbacks<'a>,
    function: ScriptFunction,
}

impl<'a> FunctionEdit<'a> {
    pub fn new(calls: &'a Callbacks<'a>, function: ScriptFunction) -> Self {
        Self { calls, function }
    }

    fn called(&self, at: &At, place: Place, texts: Range<usize>, x: &Tensor) -> Result<Dynamic> {
        let x = Dynamic::from(x.clone());
        let ScriptFunction { function, takes_one } = &self.function;
        if takes_one.get() {
            return self.calls.call(function, [x]);
        }
        let outcome = function.call_raw(self.calls.ctx, None, [x.clone(), where_and_when(at, place, texts).into()]);
        match outcome {
            Err(error) if is_unknown(function, &error) => {
                takes_one.set(true);
                self.calls.call(function, [x])
            }
            outcome => self.calls.keep(outcome),
        }
    }
}

/// Returns whether there is no function of this name with two arguments. An error within the function has a frame
/// around it.
fn is_unknown(function: &FnPtr, error: &EvalAltResult) -> bool {
    matches!(error, EvalAltResult::ErrorFunctionNotFound(signature, _) if signature.starts_with(function.fn_name()))
}

impl Edit for FunctionEdit<'_> {
    /// Edits an activation. Where texts have different lengths, each is edited by itself, so that a function never sees
    /// padding.
    fn edit(&mut self, at: &At, place: Place, positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let Some(texts) = TextPart::each(at, place, positions.is_none()) else {
            return self.edited(at, place, 0..at.batch.rows().len(), x);
        };
        let mut rows = Vec::new();
        let mut is_changed = false;
        for (row, text) in texts.iter().enumerate() {
            let part = text.taken(x)?;
            rows.push(match self.edited(at, place, row..row + 1, &part)? {
                Some(edited) => {
                    checks::same_form(&place, &part, &edited)
                        .map_err(|e| e.hint("texts of different lengths are edited one by one"))?;
                    is_changed = true;
                    text.put(x, &edited)?
                }
                None => x.narrow(0, row, 1)?,
            });
        }
        Ok(if is_changed { Some(Tensor::cat(&rows, 0)?) } else { None })
    }
}

impl FunctionEdit<'_> {
    fn edited(&self, at: &At, place: Place, texts: Range<usize>, x: &Tensor) -> Result<Option<Tensor>> {
        let returned = self.called(at, place, texts, x)?;
        if returned.is_unit() {
            return Ok(None);
        }
        if let Some(tensor) = returned.read_lock::<Tensor>() {
            return Ok(Some(tensor.clone()));
        }
        let found = described(&returned);
        Err(err!(Argument, "expected a tensor or nothing from the hook at `{place}`, found {found}")
            .hint("a function returns the value of its last statement; end it with `()` to return nothing"))
    }
}

/// Makes the second argument of a hook's function.
fn where_and_when(at: &At, place: Place, texts: Range<usize>) -> Map {
    let number = |number: usize| Dynamic::from(number as i64);
    let numbers = |numbers: &[usize]| -> Dynamic { numbers.iter().map(|n| number(*n)).collect::<Array>().into() };
    let optional = |number: Option<usize>| number.map_or(Dynamic::UNIT, |n| Dynamic::from(n as i64));
    let lengths: Vec<usize> = texts.clone().map(|row| at.read(row)).collect();
    let (first, last) = match lengths[..] {
        // Of one text its own positions, whatever is padded beside it.
        [length] => {
            let read = at.columns.clone().filter(|column| at.is_text(texts.start, *column)).count();
            (length - read, length - 1)
        }
        _ => (at.columns.start, at.columns.end - 1),
    };
    let layer = place.site.kind.in_blocks().then_some(place.site.layer);
    Map::from([
        ("site".into(), place.site.to_string().into()),
        ("layer".into(), optional(layer)),
        ("head".into(), optional(place.head)),
        ("pos".into(), numbers(&[first, last])),
        ("step".into(), number(at.step)),
        ("texts".into(), numbers(&texts.collect::<Vec<_>>())),
        ("lengths".into(), numbers(&lengths)),
    ])
}

#[cfg(test)]
mod tests {
    use crate::script::Session;
    use crate::script::engine::thread::with_large_stack;

    fn session() -> Session {
        let mut session = Session::for_tests();
        let model = "let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10 });";
        let _nothing = session.eval("model", model).unwrap();
        session
    }

    #[test]
    fn what_a_function_throws_is_placed_in_the_function() {
        with_large_stack(|| {
            let mut session = session();
            for (first, second, line) in [
                ("let hook = hooks::edit(\"embed\", |x| {\n    x + oops()\n});", "m.logits([1], #{ hooks: hook })", 2),
                ("let metric = |logits| {\n    logits.sum();\n    throw 5\n};", "m.grads([1], metric, \"embed\")", 3),
            ] {
                let _nothing = session.eval("first", first).unwrap();
                let failure = session.eval("second", second).unwrap_err();
                let place = failure.place.unwrap();
                assert_eq!((place.source.as_str(), place.line), ("first", line), "{}", failure.message);
            }
        })
        .unwrap();
    }

    #[test]
    fn an_error_of_the_core_is_placed_at_the_call() {
        with_large_stack(|| {
            let mut session = session();
            let code = "let hook = hooks::edit(\"embed\", |x| x[0]);\nm.logits([1], #{ hooks: hook })";
            let failure = session.eval("line", code).unwrap_err();
            assert_eq!(failure.place.unwrap().line, 2);
            assert!(failure.message.contains("from the hook at `embed`"));
        })
        .unwrap();
    }

    #[test]
    fn an_interruption_is_heeded_within_a_hook() {
        with_large_stack(|| {
            let mut session = session();
            let interrupter = kit::raise_after(session.env().task.flag(), 50);
            let code = "try { m.logits([1], #{ hooks: hooks::edit(\"embed\", |x| loop { }) }) } catch { 1 }";
            assert!(session.eval("line", code).unwrap_err().is_interrupted());
            interrupter.join().unwrap();
        })
        .unwrap();
    }
}
