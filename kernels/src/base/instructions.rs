//! The vector instructions that the loops use: the best that the CPU has, or fewer for tests and benchmarks.

use std::cell::Cell;

use pulp::Arch;

/// The most advanced instructions that may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionSet {
    /// One number at a time.
    Scalar,
    /// 256 bits, with fused multiplication and addition. CPUs of other kinds than x86-64 use their best.
    Avx2,
    /// All instructions that the CPU has.
    Best,
}

thread_local! {
    static LIMIT: Cell<InstructionSet> = const { Cell::new(InstructionSet::Best) };
}

impl InstructionSet {
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Best];

    /// Runs `work` with at most these instructions in the kernels that it calls from this thread. `gemm`'s matrix products
    /// choose for themselves.
    pub fn limit<T>(self, work: impl FnOnce() -> T) -> T {
        struct LimitGuard(InstructionSet);
        impl Drop for LimitGuard {
            fn drop(&mut self) {
                LIMIT.set(self.0);
            }
        }
        let _before = LimitGuard(LIMIT.replace(self));
        work()
    }

    fn arch(self) -> Arch {
        match self {
            Self::Scalar => Arch::Scalar,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().map_or(Arch::Scalar, Arch::V3),
            _ => Arch::new(),
        }
    }
}

/// Returns the instructions for a kernel that is called from this thread.
pub fn arch() -> Arch {
    LIMIT.get().arch()
}
