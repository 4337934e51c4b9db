//! Messages of Jupyter's protocol: header, parent, metadata and content as JSON, signed with the key of the connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::zmtp::Frames;
use crate::base::files::hex;
use crate::base::{Result, json as reading};
use crate::err;

/// The version of the protocol that is spoken. Others of the same major version differ in what they add.
pub const VERSION: &str = "5.3";

/// The frame between the names of peers and the message.
const DELIMITER: &[u8] = b"<IDS|MSG>";

/// A message that came.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Frames before the message, which an answer begins with, too.
    pub route: Frames,
    pub header: Map<String, Value>,
    pub content: Map<String, Value>,
}

impl Message {
    /// Returns the kind of the message, such as `execute_request`.
    pub fn kind(&self) -> &str {
        self.header.get("msg_type").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the kind of the answer to a request; None for what is no request.
    pub fn reply_kind(&self) -> Option<String> {
        self.kind().strip_suffix("_request").map(|name| format!("{name}_reply"))
    }

    /// Refuses a message of a version of the protocol that is not known.
    pub fn check_version(&self) -> Result<()> {
        let version = self.header.get("version").and_then(Value::as_str).unwrap_or("none");
        match version.split('.').next() {
            Some("5") => Ok(()),
            _ => Err(err!(Format, "expected version 5 of Jupyter's protocol, found {version}")
                .hint(format!("this is a kernel of version {VERSION}: connect with a client of version 5"))),
        }
    }

    /// Returns a text of the content.
    pub fn text(&self, name: &str) -> Result<&str> {
        let found = self.content.get(name);
        found.and_then(Value::as_str).ok_or_else(|| err!(Argument, "expected a text for `{name}` of {}", self.kind()))
    }

    /// Returns a setting of the content, or what it usually is.
    pub fn setting(&self, name: &str, usually: bool) -> bool {
        self.content.get(name).and_then(Value::as_bool).unwrap_or(usually)
    }

    /// Returns a whole number of the content.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.content.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok())
    }
}

/// A writer and reader of messages, with the key of the connection.
pub struct Signer {
    /// None where messages are not signed.
    mac: Option<Hmac<Sha256>>,
    /// The name of this kernel in headers.
    session: String,
    sent: AtomicU64,
}

impl Signer {
    pub fn new(key: &str) -> Result<Self> {
        let wrong = |e| err!(Argument, "the key of the connection cannot be used: {e}");
        let mac = match key {
            "" => None,
            key => Some(Hmac::new_from_slice(key.as_bytes()).map_err(wrong)?),
        };
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|e| err!(Bug, "the system gives no random numbers: {e}"))?;
        Ok(Self { mac, session: hex(&random), sent: AtomicU64::new(0) })
    }

    fn mac(&self, parts: &[Vec<u8>]) -> Option<Hmac<Sha256>> {
        let mut mac = self.mac.clone()?;
        parts.iter().for_each(|part| mac.update(part));
        Some(mac)
    }

    /// Writes a message with this parent: the frames of the route, the delimiter, the signature, and four parts.
    pub fn written(&self, route: &[Vec<u8>], kind: &str, parent: &Map<String, Value>, content: &Value) -> Frames {
        self.written_with(route, kind, parent, &json!({}), content)
    }

    /// Writes a message as [`Signer::written`] does, with metadata.
    pub fn written_with(
        &self,
        route: &[Vec<u8>],
        kind: &str,
        parent: &Map<String, Value>,
        metadata: &Value,
        content: &Value,
    ) -> Frames {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let header = json!({
            "msg_id": format!("{}_{number}", self.session),
            "msg_type": kind,
            "session": self.session,
            "username": "kernel",
            "date": date(SystemTime::now()),
            "version": VERSION,
        });
        let parent = Value::Object(parent.clone());
        let parts = [&header, &parent, metadata, content].map(|part| part.to_string().into_bytes());
        let signature = self.mac(&parts).map_or_else(String::new, |mac| hex(&mac.finalize().into_bytes()));
        let mut frames: Frames = route.to_vec();
        frames.push(DELIMITER.to_vec());
        frames.push(signature.into_bytes());
        frames.extend(parts);
        frames
    }

    /// Reads a message, and refuses one that is not signed with the key. Buffers behind it are left out: no request has
    /// any.
    pub fn read(&self, mut frames: Frames) -> Result<Message> {
        let Some(at) = frames.iter().position(|frame| frame == DELIMITER) else {
            return Err(err!(Format, "expected a message of Jupyter's protocol, found frames without its delimiter"));
        };
        let rest = frames.split_off(at);
        let [_, signature, header, _parent, _metadata, content, ..] = rest.as_slice() else {
            return Err(err!(Format, "expected a signature and four parts, found {} frames", rest.len() - 1));
        };
        if let Some(mac) = self.mac(&rest[2..6]) {
            let signature = unhex(signature).unwrap_or_default();
            mac.verify_slice(&signature)
                .map_err(|_| err!(Access, "refused a message whose signature is not that of the connection's key"))?;
        }
        let part = |name: &str, bytes: &[u8]| -> Result<Map<String, Value>> {
            reading::read_content(bytes, |e| err!(Format, "expected JSON for the {name} of a message: {e}"))
        };
        Ok(Message { route: frames, header: part("header", header)?, content: part("content", content)? })
    }
}

/// Reads bytes that are written in hexadecimal digits.
fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Writes a moment as ISO 8601 has it, in UTC.
fn date(moment: SystemTime) -> String {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
    let date = DateTime::from_timestamp(seconds, since.subsec_nanos()).unwrap_or_default();
    date.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parent() -> Map<String, Value> {
        Map::from_iter([("msg_id".to_string(), json!("1"))])
    }

    #[test]
    fn what_is_written_is_read_and_signed_as_others_sign_it() {
        let signer = Signer::new("secret").unwrap();
        let frames = signer.written(&[b"peer".to_vec()], "kernel_info_request", &parent(), &json!({ "a": "ü" }));
        let message = signer.read(frames.clone()).unwrap();
        assert_eq!((message.route.clone(), message.kind()), (vec![b"peer".to_vec()], "kernel_info_request"));
        assert_eq!(message.reply_kind().as_deref(), Some("kernel_info_reply"));
        assert_eq!((message.text("a").unwrap(), message.setting("b", true), message.number("a")), ("ü", true, None));
        message.check_version().unwrap();
        // RFC 4231, test case 2.
        let mac = Signer::new("Jefe").unwrap().mac(&[b"what do ya want ".to_vec(), b"for nothing?".to_vec()]).unwrap();
        assert_eq!(
            hex(&mac.finalize().into_bytes()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_changed_message_and_another_key_are_refused() {
        let signer = Signer::new("secret").unwrap();
        let frames = signer.written(&[], "execute_request", &parent(), &json!({ "code": "1" }));
        let refused = |frames: Frames| signer.read(frames).unwrap_err().message;
        for frame in 1..6 {
            let mut changed = frames.clone();
            changed[frame].push(b' ');
            assert!(refused(changed).contains("signature"), "{frame}");
        }
        let mut empty = frames.clone();
        empty[1].clear();
        assert!(refused(empty).contains("signature"));
        assert!(Signer::new("other").unwrap().read(frames.clone()).is_err());
        // Without a key nothing is checked, as the protocol has it.
        assert!(Signer::new("").unwrap().read(frames).is_ok());
    }

    #[test]
    fn what_is_no_message_is_refused_with_words() {
        let signer = Signer::new("").unwrap();
        let refused =
            |frames: &[&[u8]]| signer.read(frames.iter().map(|frame| frame.to_vec()).collect()).unwrap_err().message;
        assert!(refused(&[]).contains("delimiter"));
        assert!(refused(&[b"a", b"b"]).contains("delimiter"));
        assert!(refused(&[DELIMITER, b"", b"{}", b"{}"]).contains("found 3 frames"));
        assert!(refused(&[DELIMITER, b"", b"{", b"{}", b"{}", b"{}"]).contains("header"));
        assert!(refused(&[DELIMITER, b"", b"{}", b"{}", b"{}", b"[]"]).contains("content"));
        assert!(refused(&[DELIMITER, b"", b"{}", b"{}", b"{}", b"\xff"]).contains("content"));
    }

    #[test]
    fn other_versions_are_told() {
        let of = |version: &str| {
            let header = Map::from_iter([("version".to_string(), json!(version))]);
            Message { route: Vec::new(), header, content: Map::new() }.check_version()
        };
        for known in ["5", "5.0", "5.9"] {
            assert!(of(known).is_ok());
        }
        for other in ["4.1", "6.0", "", "55"] {
            assert!(of(other).unwrap_err().message.ends_with(&format!("found {other}")));
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds: u64| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59.000000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000Z");
        assert_eq!(at(4_107_542_399), "2100-02-28T23:59:59.000000Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000000Z");
        assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59.000000Z");
    }
}
