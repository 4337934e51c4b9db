//! Memory limits for third-party files: a small file can claim a great deal of memory, in many small pieces. Therefore
//! all pieces of a file are counted together, before anything is allocated for them.

use super::memory::{self, human};
use super::{Error, Kind, Result};

/// The limit for a file's header, and for everything else that is neither tensor nor text: metadata, a vocabulary,
/// JSON. The largest known vocabularies take a third of it.
pub const MOST: u64 = 1 << 30;

/// The memory that is left for one file.
#[derive(Debug)]
pub struct Budget {
    /// The limit for this kind of file.
    most: u128,
    /// Bytes that were free when the file was opened.
    free: u64,
    asked: u128,
}

impl Budget {
    /// Returns the budget of a header and what goes with it: [`MOST`], and no more than is free.
    pub fn of_header() -> Self {
        Self::within(MOST, memory::available())
    }

    /// Returns the budget of content that may be as large as memory, such as tensors from an archive.
    pub fn of_content(free: u64) -> Self {
        Self { most: u128::MAX, free, asked: 0 }
    }

    /// Returns a budget of at most this many bytes, if they are free.
    pub fn within(most: u64, free: u64) -> Self {
        Self { most: most.into(), free, asked: 0 }
    }

    /// Counts further bytes, or refuses them; `what` names the content.
    pub fn take(&mut self, bytes: u128, what: impl FnOnce() -> String) -> Result<()> {
        self.asked = self.asked.saturating_add(bytes);
        if self.asked > self.most {
            let most = human(self.most);
            let asked = human(self.asked);
            let found = format!("expected {} to take at most {most} of memory, found more: {asked} so far", what());
            return Err(Error::new(Kind::Format, found).hint("the file is damaged, or was made to exhaust the memory"));
        }
        memory::check_within(self.asked, self.free, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_counted_together() {
        let mut budget = Budget::within(100, 1000);
        budget.take(60, || "a header".into()).unwrap();
        budget.take(40, || "a header".into()).unwrap();
        let error = budget.take(1, || "a header".into()).unwrap_err();
        assert_eq!(error.kind, Kind::Format);
        assert_eq!(
            error.message,
            "expected a header to take at most 100 bytes of memory, found more: 101 bytes so far"
        );
    }

    #[test]
    fn no_file_takes_more_than_is_free() {
        let mut budget = Budget::of_content(100);
        budget.take(100, || "an archive".into()).unwrap();
        assert_eq!(budget.take(1, || "an archive".into()).unwrap_err().kind, Kind::Memory);
        assert_eq!(Budget::of_content(0).take(u128::MAX, String::new).unwrap_err().kind, Kind::Memory);
    }
}
