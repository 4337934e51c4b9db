//! The clocks: those of the standard library, and in a page, where it has none, those of the page.

pub use web_time::{Instant, SystemTime, UNIX_EPOCH};
