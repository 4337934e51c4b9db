//! Errors as scripts catch them. The conversion is here since only the crate of a type may convert it into another crate's,
//! and what a binding calls is followed by `?`.

use rhai::{Dynamic, EvalAltResult, Map, Position};

use crate::base::{Error, Kind};

/// Conversion into a map that `catch (e)` can look into: `e.kind`, `e.message`, `e.hint`. An interruption is not
/// catchable, or a script could not be stopped.
impl From<Error> for Box<EvalAltResult> {
    fn from(error: Error) -> Self {
        if error.kind == Kind::Interrupted {
            return Box::new(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE));
        }
        let mut map = Map::new();
        map.insert("kind".into(), error.kind.name().into());
        map.insert("message".into(), error.message.into());
        map.insert("hint".into(), error.hint.map_or(Dynamic::UNIT, Dynamic::from));
        if let Some(about) = error.about {
            map.insert("about".into(), about.into());
        }
        if !error.also.is_empty() {
            map.insert("also".into(), error.also.into_iter().map(Dynamic::from).collect::<Vec<_>>().into());
        }
        Box::new(EvalAltResult::ErrorRuntime(map.into(), Position::NONE))
    }
}
