//! The beginning of a connection: a greeting with version and security, and a command with the kinds of the sockets.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::frames::{self, Received};
use crate::bail;
use crate::common::*;

/// The version that is spoken, and the oldest that is understood.
const MAJOR: u8 = 3;
const MINOR: u8 = 1;

/// Largest number of bytes of the name that a peer gives itself.
const LONGEST_IDENTITY: usize = 255;

/// Kinds of sockets of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketKind {
    /// Answers requests of any number of peers in any order.
    Router,
    /// Tells all peers, each what it has subscribed to.
    Pub,
    /// Answers each request of a peer before the next.
    Rep,
}

impl SocketKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Router => "ROUTER",
            Self::Pub => "PUB",
            Self::Rep => "REP",
        }
    }

    /// Returns the kinds of sockets that connect to this one.
    pub fn partners(self) -> &'static [&'static str] {
        match self {
            Self::Router => &["DEALER", "REQ", "ROUTER"],
            Self::Pub => &["SUB", "XSUB"],
            Self::Rep => &["REQ", "DEALER"],
        }
    }
}

/// The 64 bytes that begin a connection.
pub struct Greeting;

impl Greeting {
    /// Returns our greeting: no encryption, and either side of a connection.
    pub fn bytes() -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[0] = 0xff;
        bytes[9] = 0x7f;
        bytes[10] = MAJOR;
        bytes[11] = MINOR;
        bytes[12..16].copy_from_slice(b"NULL");
        bytes
    }

    /// Reads that of a peer. Versions are told before the rest is waited for, which older ones do not send.
    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<()> {
        let cut = |_| err!(Network, "the connection ended in the middle of its greeting");
        let mut signature = [0; 10];
        stream.read_exact(&mut signature).await.map_err(cut)?;
        if signature[0] != 0xff || signature[9] & 1 == 0 {
            bail!(Network, "expected the greeting of ZMTP, found something else");
        }
        let major = stream.read_u8().await.map_err(cut)?;
        if major < MAJOR {
            bail!(Network, "expected version 3 of ZMTP or a later one, found version {major}");
        }
        let mut rest = [0; 53];
        stream.read_exact(&mut rest).await.map_err(cut)?;
        let mechanism: Vec<u8> = rest[1..21].iter().copied().take_while(|byte| *byte != 0).collect();
        if mechanism != b"NULL" {
            let found = String::from_utf8_lossy(&mechanism).into_owned();
            bail!(Network, "expected a connection without encryption (NULL), found {found:?}");
        }
        Ok(())
    }
}

/// Greets a peer; returns the name that it gives itself, which may be empty.
pub async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), kind: SocketKind) -> Result<Vec<u8>> {
    let sent = |e| err!(Network, "the connection ended before its greeting: {e}");
    stream.write_all(&Greeting::bytes()).await.map_err(sent)?;
    Greeting::read(stream).await?;
    stream.write_all(&frames::command_frame("READY", &property("Socket-Type", kind.name()))).await.map_err(sent)?;
    let ready = match frames::receive(stream).await? {
        Some(Received::Command(name, data)) if name == "READY" => data,
        Some(Received::Command(name, data)) if name == "ERROR" => {
            let reason = String::from_utf8_lossy(data.get(1..).unwrap_or_default()).into_owned();
            bail!(Network, "the peer ends the connection: {reason:?}");
        }
        _ => bail!(Network, "expected the command READY of ZMTP, found something else"),
    };
    let refusal = match judged(&ready, kind) {
        Ok(identity) => return Ok(identity),
        Err(refusal) => refusal,
    };
    let reason = refusal.message.as_bytes();
    let reason = &reason[..reason.len().min(255)];
    let told = [&[reason.len() as u8], reason].concat();
    // Whoever does not hear it is refused all the same.
    let _unheard = stream.write_all(&frames::command_frame("ERROR", &told)).await;
    Err(refusal)
}

/// Reads the properties of a peer, and refuses a kind of socket that does not go with ours.
fn judged(ready: &[u8], kind: SocketKind) -> Result<Vec<u8>> {
    let mut identity = Vec::new();
    let mut found = String::new();
    for (name, value) in properties(ready).ok_or_else(|| err!(Network, "the properties of READY are cut off"))? {
        match name.to_ascii_lowercase().as_str() {
            "identity" => identity = value,
            "socket-type" => found = String::from_utf8_lossy(&value).into_owned(),
            _ => {}
        }
    }
    if !kind.partners().contains(&found.as_str()) {
        bail!(Network, "expected a socket of the kind {} here, found {found:?}", kind.partners().join(" or "));
    }
    if identity.len() > LONGEST_IDENTITY {
        bail!(Network, "expected an identity of at most {LONGEST_IDENTITY} bytes, found {}", identity.len());
    }
    Ok(identity)
}

/// Writes a property: the length of its name, its name, the length of its value, and its value.
pub fn property(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![name.len() as u8];
    out.extend(name.as_bytes());
    out.extend((value.len() as u32).to_be_bytes());
    out.extend(value.as_bytes());
    out
}

fn properties(mut data: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (length, rest) = rest.split_at_checked(4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        found.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        data = rest;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Greets a peer that sends these bytes and then ends.
    fn greeted(bytes: &[u8]) -> (Result<Vec<u8>>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut ours, mut theirs) = tokio::io::duplex(1 << 16);
            theirs.write_all(bytes).await.unwrap();
            theirs.shutdown().await.unwrap();
            let outcome = greet(&mut ours, SocketKind::Router).await;
            drop(ours);
            let mut sent = Vec::new();
            theirs.read_to_end(&mut sent).await.unwrap();
            (outcome, sent)
        })
    }

    fn ready(kind: &str) -> Vec<u8> {
        let properties = [property("Socket-Type", kind), property("Identity", "me"), property("X-Other", "")].concat();
        frames::command_frame("READY", &properties)
    }

    #[test]
    fn a_dealer_is_greeted_and_known_by_its_name() {
        let (outcome, sent) = greeted(&[&Greeting::bytes()[..], &ready("DEALER")].concat());
        assert_eq!(outcome.unwrap(), b"me");
        assert_eq!(sent[..64], Greeting::bytes());
        assert_eq!(sent[64..], frames::command_frame("READY", &property("Socket-Type", "ROUTER")));
        // Version 3.0, which older programs speak, and a later minor one.
        for minor in [0, 9] {
            let mut greeting = Greeting::bytes();
            greeting[11] = minor;
            assert!(greeted(&[&greeting[..], &ready("REQ")].concat()).0.is_ok());
        }
    }

    #[test]
    fn a_socket_of_another_kind_is_told_why_it_is_refused() {
        let (outcome, sent) = greeted(&[&Greeting::bytes()[..], &ready("SUB")].concat());
        let message = outcome.unwrap_err().message;
        assert_eq!(message, "expected a socket of the kind DEALER or REQ or ROUTER here, found \"SUB\"");
        assert!(sent.ends_with(message.as_bytes()) && sent.windows(6).any(|part| part == b"\x05ERROR"));
    }

    #[test]
    fn other_versions_mechanisms_and_protocols_are_refused() {
        let with = |at: usize, bytes: &[u8]| {
            let mut greeting = Greeting::bytes();
            greeting[at..at + bytes.len()].copy_from_slice(bytes);
            greeted(&greeting).0.unwrap_err().message
        };
        assert_eq!(with(10, &[2]), "expected version 3 of ZMTP or a later one, found version 2");
        assert!(with(12, b"CURVE").contains("\"CURVE\""));
        assert!(with(0, b"GET / HTTP/1.1").contains("found something else"));
        let no_ready = [&Greeting::bytes()[..], b"\x00\x01a"].concat();
        assert!(greeted(&no_ready).0.unwrap_err().message.contains("READY"));
        let broken = [&Greeting::bytes()[..], &frames::command_frame("READY", b"\x05Sock")].concat();
        assert!(greeted(&broken).0.unwrap_err().message.contains("cut off"));
        let refused = [&Greeting::bytes()[..], &frames::command_frame("ERROR", b"\x02no")].concat();
        assert!(greeted(&refused).0.unwrap_err().message.contains("\"no\""));
    }

    #[test]
    fn a_peer_that_leaves_in_the_middle_is_an_error_at_every_byte() {
        let whole = [&Greeting::bytes()[..], &ready("DEALER")].concat();
        for end in 0..whole.len() {
            assert!(greeted(&whole[..end]).0.is_err(), "{end}");
        }
    }
}
