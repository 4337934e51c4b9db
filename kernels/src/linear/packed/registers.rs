//! The work of registers of both sizes with the numbers of blocks: they store them, or multiply them with those of a row.

/// Functions of a module that decodes blocks to registers of one size. The module has `is_there`, and for each format a function
/// of a block that calls `take(part, numbers)` with the block's registers in order.
macro_rules! by_registers {
    (
        $features:literal, $level:ident, $lanes:literal of $register:ident:
        $nothing:ident $load:ident $plus_product:ident $plus:ident $store:ident
    ) => {
        /// Numbers in a register.
        const LANES: usize = $lanes;
        /// Bytes that are prefetched ahead: some rows.
        const AHEAD: usize = 4096;
        /// Sums of a row that are added up side by side, as many as [`crate::linear::dots`] has and in its order.
        const SUMS: usize = 8;

        /// Writes the numbers of whole blocks; returns false if the CPU cannot, or if they are no whole registers.
        pub(super) fn decode(_: $level, packing: Packing, blocks: &[u8], numbers: &mut [f32]) -> bool {
            let can = is_there() && numbers.len().is_multiple_of(LANES);
            if can {
                // SAFETY: the CPU has these instructions.
                unsafe { decoded(packing, blocks, numbers) };
            }
            can
        }

        /// Calls `put(row, dot product of x with it)` for whole rows; false if the CPU cannot, or if rows are no whole registers.
        /// The products have the bits of [`crate::linear::dots`] with the rows in f32, which are never in memory.
        pub(super) fn dot(
            simd: $level,
            packing: Packing,
            blocks: &[u8],
            x: &[f32],
            mut put: impl FnMut(usize, f32),
        ) -> bool {
            let can = is_there() && x.len().is_multiple_of(LANES);
            let Some(row) = packing.row(x.len()).filter(|_| can) else { return false };
            for (at, blocks) in blocks.chunks_exact(row).enumerate() {
                // SAFETY: the CPU has these instructions.
                put(at, unsafe { product(simd, packing, blocks, x) });
            }
            true
        }

        #[target_feature(enable = $features)]
        fn decoded(packing: Packing, blocks: &[u8], numbers: &mut [f32]) {
            let (of_block, bytes) = packing.block();
            let blocks = &blocks[..blocks.len().min(numbers.len() / of_block * bytes)];
            let numbers = numbers.as_mut_ptr();
            each(packing, blocks, |at, found| {
                // SAFETY: there is room for the numbers of all blocks.
                unsafe { $store(numbers.add(LANES * at), found) }
            });
        }

        #[target_feature(enable = $features)]
        fn product(simd: $level, packing: Packing, blocks: &[u8], x: &[f32]) -> f32 {
            let (of_block, bytes) = packing.block();
            let ahead = blocks.as_ptr().wrapping_add(AHEAD);
            let blocks = &blocks[..blocks.len().min(x.len() / of_block * bytes)];
            for line in (0..blocks.len()).step_by(64) {
                _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(line).cast());
            }
            let x = x.as_ptr();
            let mut sums = [$nothing(); SUMS];
            each(packing, blocks, |at, found| {
                // SAFETY: x has as many numbers as the blocks.
                let x = unsafe { $load(x.add(LANES * at)) };
                sums[at % SUMS] = $plus_product(x, found, sums[at % SUMS]);
            });
            let mut total = sums[0];
            for more in &sums[1..] {
                total = $plus(total, *more);
            }
            simd.reduce_sum_f32s(pulp::cast(total))
        }

        /// Calls `take(at, the register of that number)` for all numbers of whole blocks. Small blocks come as many at a time as
        /// have [`SUMS`] registers, so that the compiler knows what `at` leaves when it is divided by these.
        #[target_feature(enable = $features)]
        fn each(packing: Packing, blocks: &[u8], mut take: impl FnMut(usize, $register)) {
            macro_rules! small {
                ($numbers:expr, $bytes:expr, $decode:path) => {{
                    const PARTS: usize = $numbers / LANES;
                    let (rounds, rest) = blocks.as_chunks::<{ SUMS / PARTS * ($bytes) }>();
                    for (round, blocks) in rounds.iter().enumerate() {
                        for (at, block) in blocks.as_chunks::<{ $bytes }>().0.iter().enumerate() {
                            $decode(block, |part, found| take(SUMS * round + PARTS * at + part, found));
                        }
                    }
                    for (at, block) in rest.as_chunks::<{ $bytes }>().0.iter().enumerate() {
                        $decode(block, |part, found| take(SUMS * rounds.len() + PARTS * at + part, found));
                    }
                }};
            }
            macro_rules! large {
                ($bytes:literal, $decode:path) => {{
                    for (at, block) in blocks.as_chunks::<$bytes>().0.iter().enumerate() {
                        $decode(block, |part, found| take(256 / LANES * at + part, found));
                    }
                }};
            }
            match packing {
                Packing::Q4_0 => small!(32, 18, q4_0),
                Packing::Q4_1 => small!(32, 20, q4_1),
                Packing::Q5_0 => small!(32, 22, q5_0),
                Packing::Q5_1 => small!(32, 24, q5_1),
                Packing::Q8_0 => small!(32, 34, q8_0),
                Packing::Q4K => large!(144, q4_k),
                Packing::Q5K => large!(176, q5_k),
                Packing::Q6K => large!(210, q6_k),
                Packing::Bf16 => small!(LANES, 2 * LANES, bf16),
            }
        }
    };
}

pub(super) use by_registers;
