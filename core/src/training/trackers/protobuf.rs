//! Messages of protocol buffers, field by field.

/// A message that is being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message(Vec<u8>);

/// Wire types of fields.
const VARINT: u32 = 0;
const EIGHT_BYTES: u32 = 1;
const LENGTH_FIRST: u32 = 2;
const FOUR_BYTES: u32 = 5;

impl Message {
    /// Adds an integer that is not negative, or a value of an enumeration.
    pub fn integer(mut self, field: u32, value: u64) -> Self {
        self.tag(field, VARINT);
        self.varint(value);
        self
    }

    /// Adds a float of 64 bits.
    pub fn double(mut self, field: u32, value: f64) -> Self {
        self.tag(field, EIGHT_BYTES);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Adds a float of 32 bits.
    pub fn float(mut self, field: u32, value: f32) -> Self {
        self.tag(field, FOUR_BYTES);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Adds a text.
    pub fn text(self, field: u32, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    /// Adds a message within this one.
    pub fn message(self, field: u32, inner: &Message) -> Self {
        self.bytes(field, &inner.0)
    }

    /// Returns the message as it is written.
    pub fn written(&self) -> &[u8] {
        &self.0
    }

    fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        self.tag(field, LENGTH_FIRST);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn tag(&mut self, field: u32, wire: u32) {
        self.varint(u64::from((field << 3) | wire));
    }

    /// Writes seven bits a byte, the lowest first; all but the last byte have their highest bit set.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_tagged_and_integers_take_seven_bits_a_byte() {
        let inner = Message::default().integer(1, 300);
        assert_eq!(inner.written(), [0x08, 0xac, 0x02]);
        let message = Message::default().message(3, &inner).text(16, "ab").double(2, 1.0).float(5, -2.0);
        let expected = [
            [0x1a_u8, 0x03, 0x08, 0xac, 0x02].as_slice(),
            &[0x82, 0x01, 0x02, b'a', b'b'],
            &[0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
            &[0x2d, 0, 0, 0, 0xc0],
        ];
        assert_eq!(message.written(), expected.concat());
        // An empty message is there all the same.
        assert_eq!(Message::default().message(18, &Message::default()).written(), [0x92, 0x01, 0x00]);
    }
}
