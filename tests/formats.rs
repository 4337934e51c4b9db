//! Files of other programs: a published text comes out again, and no damaged file panics or asks for much memory.

mod hostile;
mod stories;
