//! The meaning of the integers of each format of blocks.

use crate::linear::packed::Packing;

/// Meaning of integers from 0 on: the number of each is its group's scale times (integer - zero), less the group's least number.
#[derive(Debug, Clone, Copy)]
pub(in crate::linear) struct Form {
    /// Numbers of a group.
    pub group: usize,
    /// The integer that stands for 0, in formats without least numbers.
    pub zero: i32,
    /// Numbers of a row of x that share a step, as many as a block has.
    pub step: usize,
    pub has_least: bool,
    /// Whether groups stand in [`ORDER`].
    pub is_crossed: bool,
}

/// The groups of 256 numbers in the order in which their integers are read: the lower halves of 64 bytes are groups 0 and 2,
/// the upper ones 1 and 3.
pub(super) const ORDER: [usize; 8] = [0, 2, 1, 3, 4, 6, 5, 7];

impl Form {
    /// Returns the form of a format; None for bf16, whose numbers share no scale.
    pub fn of(packing: Packing) -> Option<Self> {
        let small = |zero: i32| Self { group: 32, zero, step: 32, has_least: false, is_crossed: false };
        Some(match packing {
            Packing::Q4_0 => small(8),
            Packing::Q5_0 => small(16),
            Packing::Q8_0 => small(128),
            Packing::Q4_1 | Packing::Q5_1 => Self { has_least: true, ..small(0) },
            Packing::Q4K | Packing::Q5K => Self { step: 256, has_least: true, is_crossed: true, ..small(0) },
            Packing::Q6K => Self { group: 16, step: 256, ..small(32) },
            Packing::Bf16 => return None,
        })
    }
}
