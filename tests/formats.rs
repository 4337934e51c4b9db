//! Files of other programs: a published text is reproduced, and no damaged file panics or allocates much memory.

mod hostile;
mod stories;
