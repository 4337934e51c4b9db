//! Messages on standard input and output: a header with the length, and JSON.

use std::io::{BufRead, Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};

use lsp_server::{ErrorCode, Message, Notification, RequestId};
use serde::Deserialize;
use serde_json::Value;

use crate::base::json;
use crate::base::locked;
use crate::base::memory::human;
use crate::common::*;

/// Largest number of bytes of a message, and of a line of its header.
const MOST: u64 = 64 << 20;
const MOST_HEADER: u64 = 4 << 10;

/// Number of messages that are read ahead.
const AHEAD: usize = 256;

/// The version of JSON-RPC that the protocol is of.
const VERSION: &str = "2.0";

/// The notification that nobody waits for the answer of a request any more.
pub const CANCEL: &str = "$/cancelRequest";

/// Content of a frame: a message, or something else, after which the next message can be read all the same.
pub type Received = std::result::Result<Message, Misfit>;

/// Content that is no message of the protocol, and what is said about it.
#[derive(Debug)]
pub struct Misfit {
    /// The id for the answer, null where none can be read; none where nobody waits for an answer.
    id: Option<Value>,
    code: ErrorCode,
    pub message: String,
}

impl Misfit {
    /// Sends the answer, if somebody waits for one; returns whether somebody reads it. The messages of `lsp-server`
    /// have no id that is null.
    pub fn answer(&self) -> Option<bool> {
        let error = serde_json::json!({ "code": self.code as i32, "message": self.message });
        let reply = serde_json::json!({ "jsonrpc": VERSION, "id": self.id.as_ref()?, "error": error }).to_string();
        let mut output = std::io::stdout().lock();
        let written = write!(output, "Content-Length: {}\r\n\r\n{reply}", reply.len());
        Some(written.and_then(|()| output.flush()).is_ok())
    }
}

/// Requests that nobody waits for any more. They are heard when they are read, before their turn comes, so that work
/// that has begun ends.
#[derive(Clone, Default)]
pub struct Cancelled(Arc<Mutex<BTreeSet<RequestId>>>);

/// Parameters of a notification that a request is cancelled.
#[derive(Deserialize)]
struct Cancel {
    id: RequestId,
}

impl Cancelled {
    /// Hears a notification, if it is about a request.
    pub fn hear(&self, note: &Notification) {
        if let Some(id) = cancelled(note) {
            locked(&self.0).insert(id);
        }
    }

    /// Forgets the request that a notification is about: when its turn comes, the request was answered.
    pub fn forget(&self, note: &Notification) {
        if let Some(id) = cancelled(note) {
            locked(&self.0).remove(&id);
        }
    }

    pub fn has(&self, id: &RequestId) -> bool {
        locked(&self.0).contains(id)
    }
}

fn cancelled(note: &Notification) -> Option<RequestId> {
    let params = (note.method == CANCEL).then(|| note.params.clone())?;
    serde_json::from_value(params).ok().map(|cancel: Cancel| cancel.id)
}

/// Reads standard input on a thread of its own. The channel ends when the client has gone, and with the first header
/// that is none, behind which nobody knows where a message begins.
pub fn messages(cancelled: Cancelled) -> Result<Receiver<Result<Received>>> {
    let (sender, receiver) = sync_channel(AHEAD);
    let read = move || {
        let mut input = std::io::stdin().lock();
        while let Some(received) = next(&mut input).transpose() {
            if let Ok(Ok(Message::Notification(note))) = &received {
                cancelled.hear(note);
            }
            let is_last = received.is_err();
            if sender.send(received).is_err() || is_last {
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

/// Reads the content of the next frame; none where the client has gone.
fn next(input: &mut impl BufRead) -> Result<Option<Received>> {
    let Some(length) = header(input)? else { return Ok(None) };
    let mut content = Vec::new();
    let read = input.by_ref().take(length).read_to_end(&mut content).map_err(unread)?;
    if (read as u64) < length {
        return Err(err!(Format, "expected a message of {length} bytes, found the end of the input after {read}"));
    }
    Ok(Some(message(&content)))
}

/// Reads a message.
fn message(content: &[u8]) -> Received {
    let wrong = |e: serde_json::Error| err!(Format, "expected a message of the protocol as JSON: {e}");
    let value: Value = json::read_content(content, wrong).map_err(|error| Misfit {
        id: Some(Value::Null),
        code: ErrorCode::ParseError,
        message: error.message,
    })?;
    let id = id_of_answer(&value);
    let message = match misfit(&value) {
        Some(message) => message,
        None => match serde_json::from_value(value) {
            Ok(message) => return Ok(message),
            Err(_) => "expected a `method` with its name, or an `id` with `result` or `error`, found neither".into(),
        },
    };
    Err(Misfit { id, code: ErrorCode::InvalidRequest, message })
}

/// Says what JSON has of another protocol, or of another version of this one.
fn misfit(value: &Value) -> Option<String> {
    if value.is_array() {
        return Some("expected one message of the protocol, found a batch; send each in a frame of its own".into());
    }
    if !value.is_object() {
        return Some(format!("expected a message of the protocol, found {}", beginning(value)));
    }
    let version = value.get("jsonrpc");
    if version.is_none_or(|version| version != VERSION) {
        let found = version.map_or("none".into(), beginning);
        return Some(format!("expected a message of JSON-RPC {VERSION}, found {found}"));
    }
    // A reader that passes over ids that are none would take a request for a notification, and not answer it.
    let id = value.get("id").filter(|id| !is_id(id))?;
    Some(format!("expected an integer of 32 bits or a string as `id`, found {}", beginning(id)))
}

/// Returns the beginning of JSON, for a message.
fn beginning(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}

fn is_id(value: &Value) -> bool {
    RequestId::deserialize(value).is_ok()
}

/// Returns the id of the answer to what is no message, null where it has none; no id where it would have been a
/// notification or an answer itself, which have none.
fn id_of_answer(value: &Value) -> Option<Value> {
    let method = value.get("method");
    let is_note = method.is_some_and(Value::is_string) && value.get("id").is_none();
    let is_answer = method.is_none() && (value.get("result").is_some() || value.get("error").is_some());
    let id = || value.get("id").filter(|id| is_id(id)).cloned().unwrap_or_default();
    (!is_note && !is_answer).then(id)
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

    /// Returns the methods of the messages in an input, what is said of other content, and the error at which it ends.
    fn read(input: &[u8]) -> (Vec<String>, Option<String>) {
        let mut input = input;
        let mut methods = Vec::new();
        loop {
            let told = match next(&mut input) {
                Ok(Some(Ok(Message::Request(request)))) => request.method,
                Ok(Some(Ok(Message::Notification(note)))) => note.method,
                Ok(Some(Ok(Message::Response(_)))) => "response".into(),
                Ok(Some(Err(Misfit { id, code, message }))) => {
                    format!("{} {}: {message}", id.map_or("-".into(), |id| id.to_string()), code as i32)
                }
                Ok(None) => return (methods, None),
                Err(error) => return (methods, Some(error.message)),
            };
            methods.push(told);
        }
    }

    fn frame(text: &str) -> String {
        format!("Content-Type: x\r\ncontent-length: {}\r\n\r\n{text}", text.len())
    }

    #[test]
    fn messages_are_read_by_their_lengths() {
        let one = r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"é":"🙂"}}"#;
        let two = r#"{"jsonrpc":"2.0","method":"b"}"#;
        let input = [frame(one), frame(two)].concat();
        assert_eq!(read(input.as_bytes()), (vec!["a".into(), "b".into()], None));
    }

    #[test]
    fn content_that_is_no_message_is_told_and_the_next_is_read() {
        let version = "expected a message of JSON-RPC 2.0, found";
        let id = "expected an integer of 32 bits or a string as `id`, found";
        let cases = [
            (r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#, format!("1 -32600: {version} \"1.0\"")),
            (r#"{"id":"x","method":"b"}"#, format!("\"x\" -32600: {version} none")),
            (r#"{"jsonrpc":[2],"method":"c"}"#, format!("- -32600: {version} [2]")),
            (r#"{"jsonrpc":"2.0","id":1,"result":null}"#, "response".into()),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"d"}"#, format!("null -32600: {id} 1.5")),
            (r#"{"jsonrpc":"2.0","id":null,"method":"e"}"#, format!("null -32600: {id} null")),
            (r#"{"jsonrpc":"2.0","id":4294967296,"method":"f"}"#, format!("null -32600: {id} 4294967296")),
            (r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"g"}}"#, format!("- -32600: {id} null")),
            ("{}", format!("null -32600: {version} none")),
            ("7", "null -32600: expected a message of the protocol, found 7".into()),
        ];
        let input = cases.iter().map(|(text, _)| frame(text)).collect::<String>();
        let wanted: Vec<String> = cases.into_iter().map(|(_, told)| told).collect();
        assert_eq!(read(input.as_bytes()), (wanted, None));
        let deep = "[".repeat(100_000);
        for (text, told) in [
            ("{]", "null -32700: expected a message of the protocol as JSON: "),
            ("\u{0}", "null -32700: "),
            (deep.as_str(), "null -32700: "),
            ("[]", "null -32600: expected one message of the protocol, found a batch"),
            (r#"{"jsonrpc":"2.0"}"#, "null -32600: expected a `method`"),
            (r#"{"jsonrpc":"2.0","id":3,"method":4}"#, "3 -32600: expected a `method`"),
            (r#"{"jsonrpc":"2.0","id":3,"error":"x"}"#, "- -32600: expected a `method`"),
        ] {
            let (found, error) = read(frame(text).as_bytes());
            assert!(error.is_none() && found.len() == 1 && found[0].starts_with(told), "{told}: {found:?} {error:?}");
        }
    }

    #[test]
    fn a_cancelled_request_is_known_until_its_turn_is_over() {
        let cancelled = Cancelled::default();
        let note = |id: Value| Notification::new(CANCEL.into(), serde_json::json!({ "id": id }));
        let ids = [RequestId::from(7), RequestId::from("seven".to_string())];
        for (id, said) in ids.iter().zip([Value::from(7), Value::from("seven")]) {
            cancelled.hear(&note(said.clone()));
            assert!(cancelled.has(id) && !cancelled.has(&RequestId::from(8)));
            cancelled.forget(&note(said));
            assert!(!cancelled.has(id));
        }
        cancelled.hear(&note(Value::Null));
        cancelled.hear(&Notification::new("other".into(), serde_json::json!({ "id": 7 })));
        assert!(!cancelled.has(&ids[0]));
    }

    #[test]
    fn a_header_that_is_none_is_said() {
        for (input, wanted) in [
            ("", None),
            ("Content-Length: 10\r\n\r\n{}", Some("expected a message of 10 bytes")),
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
