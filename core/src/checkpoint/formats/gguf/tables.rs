//! Blocks whose numbers are chosen from a table by four bits each, which candle does not have: by the operations of ggml's
//! reference implementation in their order.

use half::f16;

use crate::base::{Result, Task, parallel};

/// The table of IQ4_NL and IQ4_XS.
const UNEVEN: [f32; 16] = [-127., -104., -83., -65., -49., -35., -22., -10., 1., 13., 25., 38., 53., 69., 89., 113.];

/// The table of MXFP4: the numbers of four bits of the format E2M1, doubled.
const DOUBLED: [f32; 16] = [0., 1., 2., 3., 4., 6., 8., 12., 0., -1., -2., -3., -4., -6., -8., -12.];

/// Blocks that one thread converts at a time, between two checks for an interruption.
const PIECE: usize = 1 << 12;

/// A kind of blocks with a table.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(non_camel_case_types)]
pub(super) enum TableKind {
    IQ4_NL,
    IQ4_XS,
    MXFP4,
}

impl TableKind {
    /// Returns the numbers in a block, and its bytes.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::IQ4_NL => (32, 18),
            Self::IQ4_XS => (256, 136),
            Self::MXFP4 => (32, 17),
        }
    }

    /// Converts whole blocks to f32.
    pub fn floats(self, data: &[u8], count: usize, task: &Task) -> Result<Vec<f32>> {
        let (of_block, size) = self.block();
        let mut floats = vec![0_f32; count];
        let made = parallel::blocks(&mut floats, PIECE * of_block, &|first, floats| {
            task.check()?;
            let blocks = data[first / of_block * size..].chunks_exact(size);
            for (numbers, block) in floats.chunks_exact_mut(of_block).zip(blocks) {
                self.decode(block, numbers);
            }
            Ok(())
        });
        made.into_iter().collect::<Result<()>>()?;
        Ok(floats)
    }

    fn decode(self, block: &[u8], numbers: &mut [f32]) {
        match self {
            Self::IQ4_NL => chosen(&block[2..], &UNEVEN, half(block), numbers),
            Self::MXFP4 => chosen(&block[1..], &DOUBLED, power(block[0]), numbers),
            Self::IQ4_XS => {
                let upper = u16::from_le_bytes([block[2], block[3]]);
                let groups = numbers.chunks_exact_mut(32).zip(block[8..].chunks_exact(16));
                for (group, (numbers, bytes)) in groups.enumerate() {
                    let low = block[4 + group / 2] >> (4 * (group % 2)) & 15;
                    let high = (upper >> (2 * group) & 3) as u8;
                    let scale = half(block) * (f32::from(low | high << 4) - 32.0);
                    chosen(bytes, &UNEVEN, scale, numbers);
                }
            }
        }
    }
}

/// Writes 32 numbers: those of the lower halves of 16 bytes, and then of the upper ones.
fn chosen(bytes: &[u8], table: &[f32; 16], scale: f32, numbers: &mut [f32]) {
    let (first, second) = numbers.split_at_mut(16);
    for ((low, high), both) in first.iter_mut().zip(second).zip(bytes) {
        *low = scale * table[usize::from(both & 15)];
        *high = scale * table[usize::from(both >> 4)];
    }
}

/// Returns the half-precision number at the beginning of a block.
fn half(block: &[u8]) -> f32 {
    f16::from_le_bytes([block[0], block[1]]).to_f32()
}

/// Returns half of the power of two that an exponent of the format E8M0 stands for.
fn power(exponent: u8) -> f32 {
    match exponent {
        0 | 1 => f32::from_bits(0x0020_0000 << exponent),
        _ => f32::from_bits(u32::from(exponent - 1) << 23),
    }
}
