//! Functions of the language that stand in for its own of the same name and meaning, where those take many times what
//! they are given without a look at the memory or at Ctrl-C: `replace`, `split`, and how lists and maps are printed;
//! where those swallow what a closure fails with: `sort`, `order` and `dedup` by a comparison; and where those are said to
//! change what they only read: `extract`, `get`, `order`, `order_desc` and `contains`; where those take a text for the name of a
//! function, of whatever text has one: `map`, `index_of` and others; where those call a function for each pair of values: `==`
//! and `!=` of lists and maps, `contains` and `dedup`. And floats are printed as the prompt writes them, and
//! no value is printed as `()`. A text that a library prints does not look like a check of the script.
//! `to_json`, `repr` and `show`, which are ours, are given lists and maps here without a copy of them, which of millions of maps
//! takes a second that hears no Ctrl-C.
//!
//! They are documented where they stand in.

use std::cmp::Ordering;
use std::ops::RangeInclusive;

use rhai::{Blob, FuncRegistration, Variant};

use crate::script::engine::env::signed;
use crate::script::engine::function_names;
use crate::script::engine::interrupt_checks::InterruptChecks;
use crate::script::engine::room::check_room;
use crate::script::engine::show::tell_of;
use crate::script::engine::text_buffer::TextBuffer;
use crate::script::engine::value::{NumberLayout, json_text, number_text, written};
use crate::script::engine::value_memory;
use crate::script::engine::value_walks;
use crate::script::prelude::*;

/// The names of the functions, so that the reference has them once.
pub const NAMES: [&str; 33] = [
    "==",
    "!=",
    "all",
    "drain",
    "filter",
    "index_of",
    "map",
    "reduce",
    "reduce_rev",
    "retain",
    "some",
    "contains",
    "extract",
    "get",
    "order_desc",
    "replace",
    "split",
    "split_rev",
    "to_chars",
    "to_array",
    "print",
    "debug",
    "to_string",
    "to_debug",
    "sort",
    "sort_by",
    "sort_desc",
    "order",
    "order_by",
    "dedup",
    "to_json",
    "repr",
    "show",
];

/// `extract` of several kinds of lists.
macro_rules! extracts {
    ($module:ident: $($list:ty => $copies:ident),*) => { $(
        let reading = || FuncRegistration::new("extract").with_purity(true);
        reading().set_into_module(
            &mut $module,
            |ctx: NativeCallContext, list: &mut $list, start: i64, length: i64| $copies(&ctx, part(list, start, length)),
        );
        reading().set_into_module(&mut $module, |ctx: NativeCallContext, list: &mut $list, start: i64| {
            $copies(&ctx, part(list, start, i64::MAX))
        });
        reading().set_into_module(&mut $module, |ctx: NativeCallContext, list: &mut $list, range: Range<i64>| {
            $copies(&ctx, part_of_range(list, range))
        });
        reading().set_into_module(&mut $module, |ctx: NativeCallContext, list: &mut $list, range: RangeInclusive<i64>| {
            $copies(&ctx, part_of_inclusive(list, range))
        });
    )* };
}

pub fn module() -> Module {
    let mut module = Module::new();
    let method = |name| FuncRegistration::new(name).with_purity(false);
    method("replace").set_into_module(&mut module, replace);
    method("replace").set_into_module(&mut module, replace_by_letter);
    method("replace").set_into_module(&mut module, replace_letter);
    method("replace").set_into_module(&mut module, replace_letter_by_letter);
    module.set_native_fn("split", split_words);
    module.set_native_fn("split", split);
    module.set_native_fn("split", split_at_letter);
    module.set_native_fn("split", split_some);
    module.set_native_fn("split", split_some_at_letter);
    module.set_native_fn("split_rev", split_back);
    module.set_native_fn("split_rev", split_back_at_letter);
    module.set_native_fn("split_rev", split_some_back);
    module.set_native_fn("split_rev", split_some_back_at_letter);
    module.set_native_fn("to_chars", letters);
    module.set_native_fn("to_array", bytes);
    for name in ["sort", "sort_by"] {
        method(name).set_into_module(&mut module, sort);
    }
    method("sort").set_into_module(&mut module, sort_ascending);
    method("sort_desc").set_into_module(&mut module, sort_descending);
    method("dedup").set_into_module(&mut module, dedup);
    method("dedup").set_into_module(&mut module, dedup_equal);
    let reading = |name| FuncRegistration::new(name).with_purity(true);
    for name in ["order", "order_by"] {
        reading(name).set_into_module(&mut module, order);
    }
    reading("order").set_into_module(&mut module, ascending);
    reading("order_desc").set_into_module(&mut module, descending);
    reading("get").set_into_module(&mut module, element);
    extracts!(module: Array => copies, Blob => copied_bytes);
    for name in ["all", "dedup", "drain", "filter", "map", "reduce", "reduce_rev", "retain", "some", "sort"] {
        reading(name).set_into_module(&mut module, refuse_a_name);
    }
    for name in ["reduce", "reduce_rev"] {
        reading(name).set_into_module(&mut module, refuse_a_name_before);
    }
    reading("index_of").set_into_module(&mut module, index_of_text);
    reading("index_of").set_into_module(&mut module, index_of_text_from);
    reading("==").set_into_module(&mut module, are_same_lists);
    reading("==").set_into_module(&mut module, are_same_maps);
    reading("!=").set_into_module(&mut module, |ctx: NativeCallContext, one: &mut Array, other: Array| {
        are_same_lists(ctx, one, other).map(|same| !same)
    });
    reading("!=").set_into_module(&mut module, |ctx: NativeCallContext, one: &mut Map, other: Map| {
        are_same_maps(ctx, one, other).map(|same| !same)
    });
    reading("contains").set_into_module(&mut module, holds);
    reading("contains").set_into_module(&mut module, |range: &mut Range<i64>, value: i64| range.contains(&value));
    reading("contains")
        .set_into_module(&mut module, |range: &mut RangeInclusive<i64>, value: i64| range.contains(&value));
    reading("to_json").set_into_module(&mut module, json_of::<Array>);
    reading("to_json").set_into_module(&mut module, json_of::<Map>);
    reading("repr").set_into_module(&mut module, repr_of::<Array>);
    reading("repr").set_into_module(&mut module, repr_of::<Map>);
    reading("show").set_into_module(&mut module, show::<Array>);
    reading("show").set_into_module(&mut module, show::<Map>);
    for name in ["print", "debug"] {
        module.set_native_fn(name, print_list);
        module.set_native_fn(name, print_map);
        module.set_native_fn(name, float_text);
    }
    module.set_native_fn("print", no_value);
    module.set_native_fn("print", print_text);
    for name in ["to_string", "to_debug"] {
        module.set_native_fn(name, list_text);
        module.set_native_fn(name, map_text);
        module.set_native_fn(name, float_text);
    }
    module
}

/// Returns the element at an index, a negative one counted from the end; nothing before the first and after the last.
fn element(list: &mut Array, at: i64) -> Dynamic {
    let at = if at < 0 { at.saturating_add_unsigned(list.len() as u64) } else { at };
    usize::try_from(at).ok().and_then(|at| list.get(at)).cloned().unwrap_or_default()
}

/// Refuses a text in place of a function: the language would look for a function of this name, and some of its methods
/// ignore that there is none.
fn refuse_a_name(_: &mut Array, name: ImmutableString) -> Fallible<Dynamic> {
    Err(err!(Argument, "expected a function, found the text \"{name}\"")
        .hint("name the function itself, without quotes, or write a closure: |x| x > 0")
        .into())
}

fn refuse_a_name_before(list: &mut Array, name: ImmutableString, _initial: Dynamic) -> Fallible<Dynamic> {
    refuse_a_name(list, name)
}

/// Returns the index of a text, or -1. The language would first call a function of that name, if there is one.
fn index_of_text(list: &mut Array, text: ImmutableString) -> i64 {
    index_of_text_from(list, text, 0)
}

fn index_of_text_from(list: &mut Array, text: ImmutableString, start: i64) -> i64 {
    let start = if start < 0 { start.saturating_add_unsigned(list.len() as u64).max(0) } else { start };
    let is_text = |value: &Dynamic| value.read_lock::<ImmutableString>().is_some_and(|found| *found == text);
    let mut from = list.iter().enumerate().skip(usize::try_from(start).unwrap_or(usize::MAX));
    from.find(|(_, value)| is_text(value)).map_or(-1, |(at, _)| at as i64)
}

/// Returns a part of a list; a negative start counts from the end.
fn part<T>(list: &[T], start: i64, length: i64) -> &[T] {
    let at = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
    let start = if start < 0 { list.len().saturating_sub(at) } else { at.min(list.len()) };
    let behind = &list[start..];
    &behind[..usize::try_from(length).unwrap_or(0).min(behind.len())]
}

fn copies(ctx: &NativeCallContext, part: &[Dynamic]) -> Fallible<Array> {
    let env = env(ctx)?;
    Ok(value_walks::copies(part, &InterruptChecks::new(&env.task))?)
}

fn copied_bytes(_ctx: &NativeCallContext, part: &[u8]) -> Fallible<Blob> {
    Ok(part.to_vec())
}

fn part_of_range<T>(list: &[T], range: Range<i64>) -> &[T] {
    let start = range.start.max(0);
    part(list, start, range.end.max(start) - start)
}

fn part_of_inclusive<T>(list: &[T], range: RangeInclusive<i64>) -> &[T] {
    let start = (*range.start()).max(0);
    part(list, start, ((*range.end()).max(start) - start).saturating_add(1))
}

fn replace(text: &mut ImmutableString, find: ImmutableString, by: ImmutableString) -> Fallible<()> {
    replaced(text, &find, &by)
}

fn replace_by_letter(text: &mut ImmutableString, find: ImmutableString, by: char) -> Fallible<()> {
    replaced(text, &find, by.encode_utf8(&mut [0; 4]))
}

fn replace_letter(text: &mut ImmutableString, find: char, by: ImmutableString) -> Fallible<()> {
    replaced(text, find.encode_utf8(&mut [0; 4]), &by)
}

fn replace_letter_by_letter(text: &mut ImmutableString, find: char, by: char) -> Fallible<()> {
    replaced(text, find.encode_utf8(&mut [0; 4]), by.encode_utf8(&mut [0; 4]))
}

fn replaced(text: &mut ImmutableString, find: &str, by: &str) -> Fallible<()> {
    if by.len() <= find.len() {
        if find.is_empty() || text.contains(find) {
            *text = text.replace(find, by).into();
        }
        return Ok(());
    }
    let longer = text.matches(find).count() as u128 * (by.len() - find.len()) as u128;
    let size = text.len() as u128 + longer;
    if size > SMALL {
        check_room(2 * size, || "the text with all that is replaced".into())?;
    }
    // Of its full length from the beginning: a text that grows is there twice.
    let mut made = String::with_capacity(size as usize);
    let mut end = 0;
    for (at, found) in text.match_indices(find) {
        made.push_str(&text[end..at]);
        made.push_str(by);
        end = at + found.len();
    }
    made.push_str(&text[end..]);
    *text = made.into();
    Ok(())
}

/// Results of this size are not worth a look.
const SMALL: u128 = 1 << 20;

/// Bytes that a part of a text takes beside its letters: a value, and a text that is shared.
const PART: u128 = 80;

/// Number of parts that are made between two looks at the flag.
const PIECE: usize = 1 << 12;

fn parts<'a>(ctx: &NativeCallContext, text: &str, parts: impl Iterator<Item = &'a str>) -> Fallible<Array> {
    let env = env(ctx)?;
    check_room(text.len() as u128, || "the parts of a text".into())?;
    let mut found = Array::new();
    for part in parts {
        if found.len().is_multiple_of(PIECE) {
            env.task.check()?;
        }
        if found.len() == found.capacity() {
            check_room(2 * found.len() as u128 * PART, || format!("more than {} parts of a text", found.len()))?;
        }
        found.push(part.into());
    }
    Ok(found)
}

fn split_words(ctx: NativeCallContext, text: &mut ImmutableString) -> Fallible<Array> {
    if text.is_empty() {
        return Ok(vec![text.clone().into()]);
    }
    parts(&ctx, text, text.split_whitespace())
}

macro_rules! splits {
    ($($name:ident($at:ty) $part:ident, $some:ident $partn:ident;)*) => { $(
        fn $name(ctx: NativeCallContext, text: &mut ImmutableString, at: $at) -> Fallible<Array> {
            let at = at.to_string();
            if text.is_empty() {
                return Ok(vec![text.clone().into()]);
            }
            parts(&ctx, text, text.$part(at.as_str()))
        }

        fn $some(ctx: NativeCallContext, text: &mut ImmutableString, at: $at, segments: i64) -> Fallible<Array> {
            let at = at.to_string();
            if text.is_empty() || segments <= 1 {
                return Ok(vec![text.clone().into()]);
            }
            parts(&ctx, text, text.$partn(usize::try_from(segments).unwrap_or(usize::MAX), at.as_str()))
        }
    )* };
}

splits! {
    split(ImmutableString) split, split_some splitn;
    split_at_letter(char) split, split_some_at_letter splitn;
    split_back(ImmutableString) rsplit, split_some_back rsplitn;
    split_back_at_letter(char) rsplit, split_some_back_at_letter rsplitn;
}

fn letters(ctx: NativeCallContext, text: ImmutableString) -> Fallible<Array> {
    let count = text.chars().count();
    check_room(count as u128 * size_of::<Dynamic>() as u128, || format!("{count} letters"))?;
    listed(&env(&ctx)?.task, count, text.chars())
}

fn bytes(ctx: NativeCallContext, blob: &mut Blob) -> Fallible<Array> {
    check_room(blob.len() as u128 * size_of::<Dynamic>() as u128, || format!("{} bytes as numbers", blob.len()))?;
    listed(&env(&ctx)?.task, blob.len(), blob.iter().map(|byte| i64::from(*byte)))
}

fn listed<T: Into<Dynamic>>(task: &Task, count: usize, items: impl Iterator<Item = T>) -> Fallible<Array> {
    let mut list = Array::with_capacity(count);
    for item in items {
        if list.len().is_multiple_of(PIECE) {
            task.check()?;
        }
        list.push(item.into());
    }
    Ok(list)
}

fn sort(ctx: NativeCallContext, list: &mut Array, compare: FnPtr) -> Fallible<()> {
    let order = ordered(&ctx, list, &compare)?;
    *list = order.into_iter().map(|at| std::mem::take(&mut list[at])).collect();
    Ok(())
}

fn order(ctx: NativeCallContext, list: &mut Array, compare: FnPtr) -> Fallible<Array> {
    let order = ordered(&ctx, list, &compare)?;
    let env = env(&ctx)?;
    Ok(value_walks::copies(order.into_iter().map(|at| &list[at]), &InterruptChecks::new(&env.task))?)
}

/// An order tells which of two elements of one type stands first. NaN stands behind all numbers.
type ElementOrder = fn(&Dynamic, &Dynamic) -> Ordering;

/// Returns the order of a list's elements, which are all of one type.
fn order_of(list: &Array) -> Result<ElementOrder> {
    let [first, _, ..] = list.as_slice() else { return Ok(|_, _| Ordering::Equal) };
    if list.iter().any(|element| element.type_id() != first.type_id()) {
        return Err(err!(Argument, "elements of different types cannot be sorted")
            .hint("give a comparison: `list.sort(|a, b| a.to_float() - b.to_float())`"));
    }
    let order: ElementOrder = match first {
        element if element.is_int() => |a, b| a.as_int().ok().cmp(&b.as_int().ok()),
        element if element.is_float() => |a, b| {
            let a = a.as_float().unwrap_or(f64::NAN);
            let b = b.as_float().unwrap_or(f64::NAN);
            a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        },
        element if element.is_string() => {
            |a, b| a.as_immutable_string_ref().ok().as_deref().cmp(&b.as_immutable_string_ref().ok().as_deref())
        }
        element if element.is_char() => |a, b| a.as_char().ok().cmp(&b.as_char().ok()),
        element if element.is_bool() => |a, b| a.as_bool().ok().cmp(&b.as_bool().ok()),
        element if element.is_unit() => |_, _| Ordering::Equal,
        other => {
            return Err(err!(Argument, "elements such as {} cannot be sorted", described(other))
                .hint("give a comparison: `list.sort(|a, b| a.loss - b.loss)`"));
        }
    };
    Ok(order)
}

/// Number of elements that are sorted between two looks at the flag.
const SORTED: usize = 1 << 15;

/// Sorts elements in their own order, equal ones as they stood: pieces that are sorted, and then merged.
fn sorted(list: &Array, is_descending: bool, task: &Task) -> Result<Array> {
    let order = order_of(list)?;
    let order = |a: &Dynamic, b: &Dynamic| if is_descending { order(b, a) } else { order(a, b) };
    check_room(2 * (list.len() * size_of::<Dynamic>()) as u128, || "a list in order".into())?;
    let mut sorted = Array::with_capacity(list.len());
    for piece in list.chunks(SORTED) {
        task.check()?;
        let start = sorted.len();
        sorted.extend_from_slice(piece);
        sorted[start..].sort_by(order);
    }
    let mut run = SORTED;
    while run < sorted.len() {
        let mut merged = Array::with_capacity(sorted.len());
        for pair in sorted.chunks_mut(2 * run) {
            let (left, right) = pair.split_at_mut(run.min(pair.len()));
            let mut left = left.iter_mut().peekable();
            let mut right = right.iter_mut().peekable();
            while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
                if merged.len().is_multiple_of(PIECE) {
                    task.check()?;
                }
                let next = if order(b, a) == Ordering::Less { right.next() } else { left.next() };
                merged.extend(next.map(std::mem::take));
            }
            merged.extend(left.chain(right).map(std::mem::take));
        }
        sorted = merged;
        run *= 2;
    }
    Ok(sorted)
}

fn sort_ascending(ctx: NativeCallContext, list: &mut Array) -> Fallible<()> {
    *list = sorted(list, false, &env(&ctx)?.task)?;
    Ok(())
}

fn sort_descending(ctx: NativeCallContext, list: &mut Array) -> Fallible<()> {
    *list = sorted(list, true, &env(&ctx)?.task)?;
    Ok(())
}

fn ascending(ctx: NativeCallContext, list: &mut Array) -> Fallible<Array> {
    Ok(sorted(list, false, &env(&ctx)?.task)?)
}

fn descending(ctx: NativeCallContext, list: &mut Array) -> Fallible<Array> {
    Ok(sorted(list, true, &env(&ctx)?.task)?)
}

/// Sorts the places of the elements by a comparison, equal ones as they stood. Merged by hand, since the sorting of the
/// standard library cannot be left when the comparison fails.
fn ordered(ctx: &NativeCallContext, list: &Array, compare: &FnPtr) -> Fallible<Vec<usize>> {
    let mut order: Vec<usize> = (0..list.len()).collect();
    let mut merged = Vec::with_capacity(order.len());
    let mut run = 1;
    while run < order.len() {
        for pair in order.chunks(2 * run) {
            let (mut left, mut right) = pair.split_at(run.min(pair.len()));
            while let ([a, rest_of_left @ ..], [b, rest_of_right @ ..]) = (left, right) {
                if is_behind(compare.call_raw(ctx, None, [list[*a].clone(), list[*b].clone()])?)? {
                    merged.push(*b);
                    right = rest_of_right;
                } else {
                    merged.push(*a);
                    left = rest_of_left;
                }
            }
            merged.extend(left.iter().chain(right));
        }
        std::mem::swap(&mut order, &mut merged);
        merged.clear();
        run *= 2;
    }
    Ok(order)
}

/// Returns whether a comparison says that its first element belongs after its second.
fn is_behind(answer: Dynamic) -> Fallible<bool> {
    if let Ok(number) = answer.as_int() {
        return Ok(number > 0);
    }
    if let Ok(number) = answer.as_float() {
        return Ok(number > 0.0);
    }
    answer.as_bool().map(|is_first| !is_first).map_err(|_| {
        err!(Argument, "expected a number or a bool from the comparison, found {}", described(&answer))
            .hint("below 0 or true: the first element stands before the second")
            .into()
    })
}

fn dedup(ctx: NativeCallContext, list: &mut Array, compare: FnPtr) -> Fallible<()> {
    deduped(list, |last, value| {
        let answer = compare.call_raw(&ctx, None, [last.clone(), value.clone()])?;
        let wrong = |_| err!(Argument, "expected a bool from the comparison, found {}", described(&answer));
        Ok(answer.as_bool().map_err(wrong)?)
    })
}

fn dedup_equal(ctx: NativeCallContext, list: &mut Array) -> Fallible<()> {
    let env = env(&ctx)?;
    let steps = InterruptChecks::new(&env.task);
    deduped(list, |last, value| match value_walks::is_same(&ctx, value, last, &steps) {
        // Values that cannot be compared are kept.
        Err(error) if !matches!(*error, EvalAltResult::ErrorTerminated(..)) => Ok(false),
        answer => answer,
    })
}

/// Leaves out what is the same as the last before it that stays.
fn deduped(list: &mut Array, mut is_same: impl FnMut(&Dynamic, &Dynamic) -> Fallible<bool>) -> Fallible<()> {
    let mut stays = Vec::with_capacity(list.len());
    let mut last = None;
    for value in list.iter() {
        let is_new = match last {
            Some(last) => !is_same(last, value)?,
            None => true,
        };
        if is_new {
            last = Some(value);
        }
        stays.push(is_new);
    }
    let mut stays = stays.into_iter();
    list.retain(|_| stays.next().unwrap_or(true));
    Ok(())
}

fn are_same_lists(ctx: NativeCallContext, one: &mut Array, other: Array) -> Fallible<bool> {
    let env = env(&ctx)?;
    value_walks::are_same_lists(&ctx, one, &other, &InterruptChecks::new(&env.task))
}

fn are_same_maps(ctx: NativeCallContext, one: &mut Map, other: Map) -> Fallible<bool> {
    let env = env(&ctx)?;
    value_walks::are_same_maps(&ctx, one, &other, &InterruptChecks::new(&env.task))
}

/// Returns whether a list has an element like this.
fn holds(ctx: NativeCallContext, list: &mut Array, value: Dynamic) -> Fallible<bool> {
    let env = env(&ctx)?;
    let steps = InterruptChecks::new(&env.task);
    for element in list.iter() {
        if value_walks::is_same(&ctx, element, &value, &steps)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn float_text(x: f64) -> Fallible<ImmutableString> {
    Ok(number_text(x).into())
}

/// Writes no value as `()`: the language prints an empty line, which says nothing of what went wrong in
/// `print(text.trim())`.
fn no_value(_: ()) -> Fallible<ImmutableString> {
    Ok("()".into())
}

/// Makes something of a list or a map that is lent and not copied.
fn lent<T: Variant + Clone + Default, R>(
    ctx: &NativeCallContext,
    value: &mut T,
    make: impl FnOnce(&Dynamic, &Env) -> Result<R>,
) -> Fallible<R> {
    let _ours = value_memory::NativeCall::begin();
    let env = env(ctx)?;
    let whole = Dynamic::from(std::mem::take(value));
    let made = make(&whole, &env);
    *value = whole.try_cast().unwrap_or_default();
    Ok(made?)
}

fn json_of<T: Variant + Clone + Default>(ctx: NativeCallContext, value: &mut T) -> Fallible<String> {
    lent(&ctx, value, |whole, env| json_text(whole, NumberLayout::Line, &env.task))
}

fn repr_of<T: Variant + Clone + Default>(ctx: NativeCallContext, value: &mut T) -> Fallible<String> {
    lent(&ctx, value, |whole, env| written(whole, &env.task))
}

fn show<T: Variant + Clone + Default>(ctx: NativeCallContext, value: &mut T) -> Fallible<()> {
    lent(&ctx, value, |whole, env| tell_of(&ctx, whole, env))
}

fn print_text(ctx: NativeCallContext, text: ImmutableString) -> Fallible<ImmutableString> {
    Ok(signed(&ctx, text))
}

fn print_list(ctx: NativeCallContext, list: &mut Array) -> Fallible<ImmutableString> {
    Ok(printed(&ctx, |paper| write_list(list, 0, paper))?)
}

fn print_map(ctx: NativeCallContext, map: &mut Map) -> Fallible<ImmutableString> {
    Ok(printed(&ctx, |paper| write_map(map, 0, paper))?)
}

fn list_text(ctx: NativeCallContext, list: &mut Array) -> Fallible<ImmutableString> {
    or_stop(printed(&ctx, |paper| write_list(list, 0, paper)))
}

fn map_text(ctx: NativeCallContext, map: &mut Map) -> Fallible<ImmutableString> {
    or_stop(printed(&ctx, |paper| write_map(map, 0, paper)))
}

fn printed(ctx: &NativeCallContext, write: impl FnOnce(&mut TextBuffer) -> Result<()>) -> Result<ImmutableString> {
    let env = env(ctx)?;
    let mut paper = TextBuffer::new(&env.task);
    write(&mut paper)?;
    Ok(paper.done().into())
}

/// Returns a text or stops the script. Where the engine asks for the text of a value it takes an error for a function
/// that is missing, and writes the value itself.
fn or_stop(text: Result<ImmutableString>) -> Fallible<ImmutableString> {
    match text {
        Err(error) if matches!(error.kind, Kind::Memory | Kind::Interrupted) => {
            value_memory::stop();
            Ok(ImmutableString::new())
        }
        text => Ok(text?),
    }
}

/// Lists and maps in each other are written down so deep.
const DEEPEST: usize = 120;

/// Writes a value as it stands in a list that is printed.
pub fn write(value: &Dynamic, depth: usize, paper: &mut TextBuffer) -> Result<()> {
    if let Some(list) = value.read_lock::<Array>() {
        return if depth < DEEPEST { write_list(&list, depth, paper) } else { paper.put("[..]") };
    }
    if let Some(map) = value.read_lock::<Map>() {
        return if depth < DEEPEST { write_map(&map, depth, paper) } else { paper.put("#{..}") };
    }
    if let Ok(x) = value.as_float() {
        return paper.put(&number_text(x));
    }
    if let Ok(letter) = value.as_char() {
        return paper.put(letter.encode_utf8(&mut [0; 4]));
    }
    if let Some(function) = value.read_lock::<FnPtr>() {
        return paper.put(&function_names::written(&function));
    }
    match crate::script::engine::handle::short(value) {
        Some(text) => paper.put(&text),
        None => paper.put(&format!("{value:?}")),
    }
}

fn write_list(list: &Array, depth: usize, paper: &mut TextBuffer) -> Result<()> {
    paper.put("[")?;
    paper.list(list, ", ", |paper, value| write(value, depth + 1, paper))?;
    paper.put("]")
}

fn write_map(map: &Map, depth: usize, paper: &mut TextBuffer) -> Result<()> {
    paper.put("#{")?;
    paper.list(map, ", ", |paper, (key, value)| {
        paper.put(&format!("{key:?}: "))?;
        write(value, depth + 1, paper)
    })?;
    paper.put("}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Error;
    use crate::script::engine::value::repr;
    use crate::script::session::Session;

    #[test]
    fn long_lists_are_sorted_in_pieces() {
        let number = |place: usize| Dynamic::from((place * 7919 % 1009) as i64);
        let list: Array = (0..3 * SORTED + 17).map(number).collect();
        let numbers = |list: &Array| list.iter().map(|number| number.as_int().unwrap()).collect::<Vec<i64>>();
        let mut expected = numbers(&list);
        let task = Task::default();
        expected.sort_unstable();
        assert_eq!(numbers(&sorted(&list, false, &task).unwrap()), expected);
        expected.reverse();
        assert_eq!(numbers(&sorted(&list, true, &task).unwrap()), expected);
        task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(sorted(&list, false, &task).unwrap_err(), Error::interrupted());
    }

    #[test]
    fn lists_have_the_order_of_their_elements() {
        let mut session = Session::for_tests();
        let mut said = |code: &str| session.eval("<1>", &format!("repr({code})")).unwrap().to_string();
        assert_eq!(said("[2.5, 0.0 / 0.0, -1.0].order()"), "[-1.0, 2.5, NaN]");
        assert_eq!(said("[\"b\", \"ab\", \"\"].order_desc()"), "[\"b\", \"ab\", \"\"]");
        assert_eq!(said("{ let a = [true, false, true]; a.sort(); a }"), "[false, true, true]");
        assert_eq!(said("{ let a = ['b', 'c', 'a']; a.sort_desc(); a }"), "['c', 'b', 'a']");
        let mut why = |code: &str| session.eval("<1>", code).unwrap_err().message;
        assert_eq!(why("[1, 2.5].sort()"), "elements of different types cannot be sorted");
        assert!(why("[#{ a: 1 }, #{ a: 2 }].order()").starts_with("elements such as "));
    }

    /// Checks that a map of a million lists is not copied to be written, and is there after an error.
    #[test]
    fn what_is_written_is_lent() {
        let mut session = Session::for_tests();
        let setup = "let a = [1, #{ b: 2 }]; let m = #{ a: a, f: || 1 }; const C = [3];
            try { to_json(m) } catch (e) { print(e.message); } show(m); show(a);";
        assert!(session.eval("<1>", setup).is_ok());
        let text = session.eval("<1>", "[to_json(a), a.to_json(), repr(C), C.to_json(), repr(m.a), `${m.len()}`]");
        let text = repr(&text.unwrap());
        let quoted = "\"[1,{\\\"b\\\":2}]\"";
        assert_eq!(text, format!("[{quoted}, {quoted}, \"[3]\", \"[3]\", \"[1, #{{ b: 2 }}]\", \"2\"]"));
    }
}
