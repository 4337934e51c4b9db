//! Output of other programs as text.

/// Shows output that may be no text: such bytes as `\x` and two digits.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for piece in bytes.utf8_chunks() {
        text.push_str(piece.valid());
        for byte in piece.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_seen() {
        assert_eq!(shown("gänse\n".as_bytes()), "gänse\n");
        assert_eq!(shown(b"a\xff\xc3b"), "a\\xff\\xc3b");
    }
}
