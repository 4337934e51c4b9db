//! Names of functions that values point to: those of closures are made up, and say nothing to a reader.

use rhai::FnPtr;

/// Beginning of the names of closures, and of functions of a text that it names without calling them.
pub const ANONYMOUS: &str = "anon$";

/// Returns the name of a function as scripts know it; None for a closure.
pub fn named(function: &str) -> Option<&str> {
    let Some(rest) = function.strip_prefix(ANONYMOUS) else { return Some(function) };
    // A function that is pointed to keeps its name in front of the number of its text, a closure has a number there.
    let (name, _) = rest.split_once('$')?;
    (!name.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
}

/// Writes a value that points to a function.
pub fn written(pointer: &FnPtr) -> String {
    named(pointer.fn_name()).map_or("closure".into(), |name| format!("Fn({name:?})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_names_and_closures_have_none() {
        for (function, name) in [("f", Some("f")), ("anon$f$3", Some("f")), ("anon$0$3", None), ("anon$9e2c", None)] {
            assert_eq!(named(function), name, "{function}");
        }
    }
}
