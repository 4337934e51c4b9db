//! The seed as an option.

use super::{Plain, Setting};
use crate::base::random::{OF_CALL, Seed};

impl Setting for Seed {
    fn wanted() -> String {
        i64::wanted()
    }

    fn of(value: &Plain) -> Option<Self> {
        <i64 as Setting>::of(value).map(Self::of)
    }

    fn written(&self) -> String {
        self.stated().map_or_else(|| OF_CALL.into(), |seed| seed.written())
    }
}

crate::options! {
    pub struct SeedOptions {
        /// The seed of this call.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}
