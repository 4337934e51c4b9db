//! Pairs of texts as arguments: arrays of maps, such as `data::pairs` makes.

use crate::script::model::prelude::*;
use crate::tokenizer::tokens::TokenName;

/// Reads the maps of an argument, each with its number.
pub fn maps(pairs: &Dynamic) -> Result<Vec<(usize, Map)>> {
    let list = given("pairs", pairs).list()?;
    if list.is_empty() {
        return Err(err!(Argument, "expected at least one pair, found none").about("pairs"));
    }
    let map = |(number, pair): (usize, Dynamic)| {
        let found = pair.try_cast::<Map>();
        let wrong =
            || err!(Argument, "expected a map for pair {number}").hint("`data::pairs` makes such pairs").about("pairs");
        Ok((number, found.ok_or_else(wrong)?))
    };
    list.into_iter().enumerate().map(map).collect()
}

fn field<'a>(map: &'a Map, name: &str, number: usize) -> Result<&'a Dynamic> {
    map.get(name).ok_or_else(|| err!(Argument, "expected `{name}` in pair {number}, found none").about("pairs"))
}

/// Reads a text of a pair, as text, tokens or ids.
pub fn text(ctx: &NativeCallContext, m: &Model, map: &Map, name: &'static str, number: usize) -> Result<Vec<u32>> {
    let ids = one_text(ctx, m, name, field(map, name, number)?);
    ids.map_err(|error| crate::base::Error { about: Some("pairs".into()), ..error.within(format!("pair {number}")) })
}

/// Reads a token of a pair, as text or id.
pub fn token(ctx: &NativeCallContext, m: &Model, map: &Map, name: &'static str, number: usize) -> Result<u32> {
    let value = field(map, name, number)?;
    let wanted = || given(name, value).refuse(&TokenName::wanted());
    let found =
        TokenName::of(&plain(value)).ok_or_else(wanted).and_then(|token| m.core().token(&token, &env(ctx)?.task));
    found.map_err(|error| crate::base::Error { about: Some("pairs".into()), ..error.within(format!("pair {number}")) })
}
