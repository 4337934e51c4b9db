//! Cyclic redundancy checks of 32 bits, as the records of event files and logs have them.

/// The table of a polynomial, its lowest bit first.
pub struct Crc32([u32; 256]);

/// The polynomial of CRC32C, for TensorBoard.
pub static CASTAGNOLI: Crc32 = Crc32::new(0x82f6_3b78);

/// The polynomial of gzip and zip, for W&B.
pub static IEEE: Crc32 = Crc32::new(0xedb8_8320);

impl Crc32 {
    const fn new(polynomial: u32) -> Self {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut rest = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                rest = if rest & 1 == 1 { (rest >> 1) ^ polynomial } else { rest >> 1 };
                bit += 1;
            }
            table[byte] = rest;
            byte += 1;
        }
        Self(table)
    }

    /// Computes the check of some bytes, one part after the other.
    pub fn of(&self, parts: &[&[u8]]) -> u32 {
        let bytes = parts.iter().copied().flatten();
        !bytes.fold(u32::MAX, |rest, byte| (rest >> 8) ^ self.0[usize::from(rest as u8 ^ byte)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_those_of_their_catalogues() {
        assert_eq!((CASTAGNOLI.of(&[b"123456789"]), IEEE.of(&[b"123456789"])), (0xe306_9283, 0xcbf4_3926));
        assert_eq!(IEEE.of(&[b"1234", b"", b"56789"]), 0xcbf4_3926);
        assert_eq!(CASTAGNOLI.of(&[&[0; 32]]), 0x8a91_36aa);
    }
}
