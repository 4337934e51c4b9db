//! The printable letters that byte-level tokenizers write bytes with (Radford et al. 2019, the encoder of GPT-2).

use std::collections::HashMap;
use std::sync::LazyLock;

/// The letter of each byte: itself where it is printable in Latin-1, and else one from U+0100 on, in order.
static LETTERS: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut next = 0x100;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) {
            return char::from(byte);
        }
        let letter = char::from_u32(next).unwrap_or_default();
        next += 1;
        letter
    })
});

static BYTES: LazyLock<HashMap<char, u8>> = LazyLock::new(|| (0..=255).map(|byte: u8| (letter(byte), byte)).collect());

pub fn letter(byte: u8) -> char {
    LETTERS[usize::from(byte)]
}

/// Returns the bytes that a token stands for; a token with other letters, such as an added one, stands for its own
/// text.
pub fn bytes(token: &str) -> Vec<u8> {
    let spelled: Option<Vec<u8>> = token.chars().map(|letter| BYTES.get(&letter).copied()).collect();
    spelled.unwrap_or_else(|| token.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_letter_of_its_own() {
        assert_eq!((letter(b'A'), letter(b' '), letter(b'\n'), letter(0xad)), ('A', 'Ġ', 'Ċ', 'Ń'));
        for byte in 0..=255 {
            assert_eq!(bytes(&letter(byte).to_string()), [byte]);
        }
        assert_eq!(bytes("Ġthe"), b" the");
        assert_eq!(bytes("a b"), b"a b");
    }
}
