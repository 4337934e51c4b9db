//! Messages on standard input and output: a header with the length, and JSON.

use std::io::{BufRead, Read};
use std::sync::mpsc::{Receiver, sync_channel};

use lsp_server::Message;

use crate::base::json;
use crate::base::memory::human;
use crate::base::{Error, Result};
use crate::err;

/// Largest number of bytes of a message, and of a line of its header.
const MOST: u64 = 64 << 20;
const MOST_HEADER: u64 = 4 << 10;

/// Number of messages that are read ahead.
const AHEAD: usize = 256;

/// Reads standard input on a thread of its own. The channel ends when the client has gone, and with the first message
/// that is none.
pub fn messages() -> Result<Receiver<Result<Message>>> {
    let (sender, receiver) = sync_channel(AHEAD);
    let read = move || {
        let mut input = std::io::stdin().lock();
        while let Some(message) = next(&mut input).transpose() {
            let is_last = message.is_err();
            if sender.send(message).is_err() || is_last {
                return;
            }
        }
    };
    let named = std::thread::Builder::new().name("messages".into());
    let _runs_on = named.spawn(read).map_err(|e| err!(Memory, "cannot start the thread that reads messages: {e}"))?;
    Ok(receiver)
}

/// Writes a message to standard output; returns whether somebody reads it.
pub fn send(message: &Message) -> bool {
    message.write(&mut std::io::stdout().lock()).is_ok()
}

/// Reads the next message; none where the client has gone.
fn next(input: &mut impl BufRead) -> Result<Option<Message>> {
    let Some(length) = header(input)? else { return Ok(None) };
    let mut content = Vec::new();
    let read = input.by_ref().take(length).read_to_end(&mut content).map_err(unread)?;
    if (read as u64) < length {
        return Err(err!(Format, "expected a message of {length} bytes, found the end of the input after {read}"));
    }
    json::read_content(&content, |e| err!(Format, "expected a message of the protocol as JSON: {e}")).map(Some)
}

/// Reads the header of a message, and returns its length; none at the end of the input.
fn header(input: &mut impl BufRead) -> Result<Option<u64>> {
    let mut length = None;
    let mut is_begun = false;
    loop {
        let mut line = Vec::new();
        let read = input.by_ref().take(MOST_HEADER).read_until(b'\n', &mut line).map_err(unread)?;
        if read == 0 && !is_begun {
            return Ok(None);
        }
        is_begun = true;
        let text = std::str::from_utf8(&line).ok().and_then(|line| line.strip_suffix('\n'));
        let text = text.map(|line| line.trim_end_matches('\r'));
        let wrong = || err!(Format, "expected a header such as Content-Length: 20, found {:?}", shown(&line));
        let text = text.ok_or_else(wrong)?;
        if text.is_empty() {
            return length.map(Some).ok_or_else(|| err!(Format, "expected a header with Content-Length, found none"));
        }
        let (name, value) = text.split_once(':').ok_or_else(wrong)?;
        if !name.eq_ignore_ascii_case("content-length") {
            continue;
        }
        let number: u64 = value.trim().parse().map_err(|_| wrong())?;
        if number > MOST {
            let most = human(u128::from(MOST));
            return Err(err!(Format, "expected a message of at most {most}, found one of {number} bytes"));
        }
        length = Some(number);
    }
}

/// Returns the beginning of a line that is no header.
fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().take(40).collect()
}

fn unread(error: std::io::Error) -> Error {
    err!(File, "cannot read the messages of the client: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the methods of the messages in an input, and the error at which it ends.
    fn read(input: &[u8]) -> (Vec<String>, Option<String>) {
        let mut input = input;
        let mut methods = Vec::new();
        loop {
            match next(&mut input) {
                Ok(Some(Message::Request(request))) => methods.push(request.method),
                Ok(Some(Message::Notification(note))) => methods.push(note.method),
                Ok(Some(Message::Response(_))) => methods.push("response".into()),
                Ok(None) => return (methods, None),
                Err(error) => return (methods, Some(error.message)),
            }
        }
    }

    #[test]
    fn messages_are_read_by_their_lengths() {
        let one = r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"é":"🙂"}}"#;
        let two = r#"{"jsonrpc":"2.0","method":"b"}"#;
        let frame = |text: &str| format!("Content-Type: x\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        let input = [frame(one), frame(two)].concat();
        assert_eq!(read(input.as_bytes()), (vec!["a".into(), "b".into()], None));
    }

    #[test]
    fn what_is_no_message_is_said() {
        for (input, wanted) in [
            ("", None),
            ("Content-Length: 10\r\n\r\n{}", Some("expected a message of 10 bytes")),
            ("Content-Length: 2\r\n\r\n{]", Some("expected a message of the protocol as JSON")),
            ("Content-Length: 2\r\n\r\n[]", Some("expected a message of the protocol as JSON")),
            ("Content-Length: 99999999999\r\n\r\n", Some("expected a message of at most 64.0 MiB")),
            ("Content-Length: -1\r\n\r\n", Some("expected a header such as")),
            ("GET / HTTP/1.1", Some("expected a header such as")),
            ("\r\n", Some("expected a header with Content-Length")),
            ("Content-Length: 5\r\n", Some("expected a header such as")),
        ] {
            let (methods, error) = read(input.as_bytes());
            assert!(methods.is_empty(), "{input}");
            let fits = match (&error, wanted) {
                (Some(error), Some(wanted)) => error.starts_with(wanted),
                (error, wanted) => error.is_none() && wanted.is_none(),
            };
            assert!(fits, "{input}: {error:?}");
        }
        let endless = [b'x'; 10_000];
        assert!(read(&endless).1.is_some_and(|error| error.len() < 200));
    }
}
