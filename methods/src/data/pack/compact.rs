//! Token ids in little memory.

use sha2::{Digest, Sha256};

use crate::base::files::hex;
use crate::base::{Result, memory};

/// Ids with two bytes each, or with four as soon as one needs them.
#[derive(Debug, Clone, PartialEq)]
pub enum Compact {
    Short(Vec<u16>),
    Long(Vec<u32>),
}

impl Compact {
    pub fn new() -> Self {
        Self::Short(Vec::new())
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Short(ids) => ids.len(),
            Self::Long(ids) => ids.len(),
        }
    }

    pub fn extend(&mut self, ids: &[u32]) -> Result<()> {
        if let Self::Short(short) = self {
            let fitting: Result<Vec<u16>, _> = ids.iter().map(|id| u16::try_from(*id)).collect();
            match fitting {
                Ok(fitting) => {
                    room(short, fitting.len())?;
                    short.extend(fitting);
                    return Ok(());
                }
                Err(_) => {
                    memory::check(4 * short.len() as u128, || "the tokens of a text".into())?;
                    *self = Self::Long(short.iter().map(|id| u32::from(*id)).collect());
                }
            }
        }
        if let Self::Long(long) = self {
            room(long, ids.len())?;
            long.extend(ids);
        }
        Ok(())
    }

    /// Drops all ids but the first `count`.
    pub fn truncate(&mut self, count: usize) {
        match self {
            Self::Short(ids) => ids.truncate(count),
            Self::Long(ids) => ids.truncate(count),
        }
    }

    pub fn last(&self) -> Option<u32> {
        match self {
            Self::Short(ids) => ids.last().map(|id| u32::from(*id)),
            Self::Long(ids) => ids.last().copied(),
        }
    }

    /// Returns the first characters of the ids' SHA-256.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        match self {
            Self::Short(ids) => ids.iter().for_each(|id| hash.update(id.to_le_bytes())),
            Self::Long(ids) => ids.iter().for_each(|id| hash.update(id.to_le_bytes())),
        }
        hex(hash.finalize().get(..8).unwrap_or_default())
    }

    /// Returns `count` ids from `start` on, at most all; the first follows the last.
    pub fn around(&self, start: usize, count: usize) -> Vec<u32> {
        fn taken<T: Copy + Into<u32>>(ids: &[T], start: usize, count: usize) -> Vec<u32> {
            let start = start % ids.len().max(1);
            ids.iter().skip(start).chain(ids).take(count).map(|id| (*id).into()).collect()
        }
        match self {
            Self::Short(ids) => taken(ids, start, count),
            Self::Long(ids) => taken(ids, start, count),
        }
    }
}

/// Checks memory before the list grows: it doubles, and the old list stays until it is copied.
fn room<T>(ids: &Vec<T>, more: usize) -> Result<()> {
    if ids.len() + more <= ids.capacity() {
        return Ok(());
    }
    let bytes = 2 * (ids.len() + more) as u128 * size_of::<T>() as u128;
    memory::check(bytes, || "the tokens of a text".into()).map_err(|e| e.hint("read fewer with `tokens`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_take_two_bytes_until_one_needs_four() {
        let mut ids = Compact::new();
        ids.extend(&[1, 65_535]).unwrap();
        assert_eq!(ids, Compact::Short(vec![1, 65_535]));
        ids.extend(&[65_536, 2]).unwrap();
        assert_eq!(ids, Compact::Long(vec![1, 65_535, 65_536, 2]));
        assert_eq!(ids.around(3, 3), [2, 1, 65_535]);
        assert_eq!(ids.around(5, 1), [65_535]);
        ids.truncate(1);
        assert_eq!((ids.len(), ids.last()), (1, Some(1)));
    }
}
