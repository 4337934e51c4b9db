//! Frames: a byte of flags, a length, and so many bytes. A message is one or more of them; a command is one.

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::common::*;

/// A message, frame by frame.
pub type Frames = Vec<Vec<u8>>;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Largest number of bytes of a message, all frames together.
const LARGEST: u64 = 64 << 20;

/// Largest number of frames of a message.
const MOST_FRAMES: usize = 256;

/// Largest number of bytes of a command.
const LARGEST_COMMAND: u64 = 1 << 16;

/// A unit of what a peer sends.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    Message(Frames),
    /// The name of a command, and its data.
    Command(String, Vec<u8>),
}

/// Reads the next message or command; None where the peer ends the connection between two of them.
pub async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Received>> {
    let mut frames = Frames::new();
    let mut room = LARGEST;
    loop {
        let flags = match stream.read_u8().await {
            Ok(flags) => flags,
            Err(_) if frames.is_empty() => return Ok(None),
            Err(_) => return Err(err!(Network, "the connection ended in the middle of a message")),
        };
        if flags & !(MORE | LONG | COMMAND) != 0 || flags & COMMAND != 0 && (flags & MORE != 0 || !frames.is_empty()) {
            return Err(err!(Network, "expected a frame of ZMTP, found one with the flags {flags:#04x}"));
        }
        let length = match flags & LONG {
            0 => stream.read_u8().await.map(u64::from),
            _ => stream.read_u64().await,
        };
        let length = length.map_err(|_| cut_off())?;
        let limit = if flags & COMMAND == 0 { room } else { LARGEST_COMMAND };
        if length > limit {
            return Err(err!(Network, "expected a message of at most {LARGEST} bytes, found a frame of {length}"));
        }
        let body = read_body(stream, length).await?;
        if flags & COMMAND != 0 {
            return command(&body).map(Some);
        }
        room -= length;
        frames.push(body);
        if flags & MORE == 0 {
            return Ok(Some(Received::Message(frames)));
        }
        if frames.len() == MOST_FRAMES {
            return Err(err!(Network, "expected a message of at most {MOST_FRAMES} frames, found one of more"));
        }
    }
}

/// Reads the bytes of a frame. Memory is taken as they come, and not for what was announced.
async fn read_body(stream: &mut (impl AsyncRead + Unpin), length: u64) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    let read = stream.take(length).read_to_end(&mut body).await;
    match read {
        Ok(_) if body.len() as u64 == length => Ok(body),
        _ => Err(cut_off()),
    }
}

fn cut_off() -> crate::base::Error {
    err!(Network, "the connection ended in the middle of a frame")
}

/// Splits a command into its name and its data.
fn command(body: &[u8]) -> Result<Received> {
    let name = body.split_first().and_then(|(length, rest)| rest.split_at_checked(usize::from(*length)));
    let Some((name, data)) = name else {
        return Err(err!(Network, "expected a command of ZMTP, found {} bytes that are none", body.len()));
    };
    Ok(Received::Command(String::from_utf8_lossy(name).into_owned(), data.to_vec()))
}

/// Writes a message as it travels.
pub fn message(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(frames.iter().map(|frame| frame.len() + 9).sum());
    for (index, frame) in frames.iter().enumerate() {
        let more = if index + 1 < frames.len() { MORE } else { 0 };
        append(&mut out, more, frame);
    }
    out
}

/// Writes a command as it travels. The names of commands are shorter than 256 bytes.
pub fn command_frame(name: &str, data: &[u8]) -> Vec<u8> {
    let mut body = vec![name.len() as u8];
    body.extend(name.as_bytes());
    body.extend(data);
    let mut out = Vec::new();
    append(&mut out, COMMAND, &body);
    out
}

fn append(out: &mut Vec<u8>, flags: u8, body: &[u8]) {
    match u8::try_from(body.len()) {
        Ok(length) => out.extend([flags, length]),
        Err(_) => {
            out.push(flags | LONG);
            out.extend((body.len() as u64).to_be_bytes());
        }
    }
    out.extend(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(bytes: &[u8]) -> Result<Option<Received>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut bytes = bytes;
        runtime.block_on(receive(&mut bytes))
    }

    #[test]
    fn what_is_written_is_read() {
        let frames: Frames = vec![b"id".to_vec(), Vec::new(), vec![7; 255], vec![8; 256], vec![9; 70_000]];
        assert_eq!(received(&message(&frames)).unwrap(), Some(Received::Message(frames)));
        let ready = command_frame("READY", b"data");
        assert_eq!(ready, b"\x04\x0a\x05READYdata");
        assert_eq!(received(&ready).unwrap(), Some(Received::Command("READY".into(), b"data".to_vec())));
        assert_eq!(received(b"").unwrap(), None);
    }

    #[test]
    fn what_ends_in_the_middle_is_an_error_at_every_byte() {
        let whole = message(&[vec![1; 3], vec![2; 300]]);
        for end in 1..whole.len() {
            let message = received(&whole[..end]).unwrap_err().message;
            assert!(message.starts_with("the connection ended in the middle of a "), "{end}: {message}");
        }
    }

    #[test]
    fn lengths_are_refused_before_memory_is_taken() {
        for length in [LARGEST + 1, u64::MAX] {
            let frame = [&[LONG], &length.to_be_bytes()[..]].concat();
            assert!(received(&frame).unwrap_err().message.contains(&length.to_string()));
        }
        // Two frames that are too large together.
        let first = message(&[vec![0; 10], Vec::new()]);
        let second = [&[LONG], &(LARGEST - 9).to_be_bytes()[..]].concat();
        let both = [&first[..first.len() - 2], &second].concat();
        assert!(received(&both).unwrap_err().message.contains("expected a message of at most"));
        // An announced gigabyte that never comes takes no gigabyte; it ends as what it is.
        let frame = [&[LONG], &LARGEST.to_be_bytes()[..], b"abc"].concat();
        assert!(received(&frame).unwrap_err().message.contains("in the middle of a frame"));
        let many: Vec<u8> = [MORE, 0].repeat(MOST_FRAMES);
        assert!(received(&many).unwrap_err().message.contains("frames"));
    }

    #[test]
    fn other_flags_and_commands_without_a_name_are_refused() {
        for bytes in [&b"\x08\x00"[..], b"\xff\x00\x00", b"\x05\x00", b"\x01\x00\x04\x01\x00"] {
            assert!(received(bytes).unwrap_err().message.contains("flags"), "{bytes:?}");
        }
        for bytes in [&b"\x04\x00"[..], b"\x04\x02\x05a"] {
            assert!(received(bytes).unwrap_err().message.contains("expected a command"), "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_end_the_program(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            drop(received(&bytes));
        }
    }
}
