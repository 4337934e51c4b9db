//! The factors of a product, and the product of two on one thread.

use gemm::Parallelism;

/// One factor of a product: numbers, and the strides of rows and columns.
#[derive(Clone, Copy)]
pub(crate) struct Factor<'a> {
    pub numbers: &'a [f32],
    pub row: isize,
    pub column: isize,
}

impl Factor<'_> {
    /// Returns the part from a row and a column on.
    pub fn from(self, row: usize, column: usize) -> Self {
        let begin = row * self.row.unsigned_abs() + column * self.column.unsigned_abs();
        Self { numbers: self.numbers.get(begin..).unwrap_or_default(), ..self }
    }

    /// Returns the transposed factor.
    pub fn turned(self) -> Self {
        Self { numbers: self.numbers, row: self.column, column: self.row }
    }
}

/// The target of a product: memory that it is written to, or numbers that it is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Onto {
    Nothing,
    WhatIsThere,
}

/// Writes scale * a b, for a `[m, k]` and b `[k, n]`, on this thread.
///
/// # Safety
/// The target has m rows of n numbers, `step` apart, which nobody else uses; it need not be initialised unless the
/// product is added to it. The factors hold the numbers that the sizes and their strides say.
pub(crate) unsafe fn multiply(
    target: *mut f32,
    step: usize,
    [m, n, k]: [usize; 3],
    scale: f32,
    a: Factor,
    b: Factor,
    onto: Onto,
) {
    let step = step as isize;
    let read = onto == Onto::WhatIsThere;
    let old = if read { 1.0 } else { 0.0 };
    let left = a.numbers.as_ptr();
    let right = b.numbers.as_ptr();
    let none = Parallelism::None;
    // SAFETY: as above; the target is read only where it is added to.
    unsafe {
        gemm::gemm(
            m, n, k, target, 1, step, read, left, a.column, a.row, right, b.column, b.row, old, scale, false, false,
            false, none,
        );
    }
}
