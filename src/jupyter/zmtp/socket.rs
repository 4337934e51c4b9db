//! Sockets with any number of peers: requests that are answered (ROUTER, REP), and what is told to all (PUB).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Notify, Semaphore, mpsc};

use super::frames::{self, Frames, Received};
use super::handshake::greet;
use crate::base::Result;
use crate::{bail, err};

/// Number of connections of a socket at a time; each takes a descriptor of the system.
const CONNECTIONS: usize = 128;

/// Time that a peer may take for its greeting.
const GREETING: Duration = Duration::from_secs(10);

/// Largest number of bytes that wait for a peer which does not read.
const WAITING: usize = 256 << 20;

/// Largest number of subscriptions of a peer.
const MOST_SUBSCRIPTIONS: usize = 1024;

/// A connection of any kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

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

/// The number of a connection, which no other one of the socket has had.
pub type Peer = u64;

/// A peer that is connected.
struct Connected {
    identity: Vec<u8>,
    subscriptions: Vec<Vec<u8>>,
    outgoing: mpsc::UnboundedSender<Arc<Vec<u8>>>,
    /// Number of bytes that wait to be sent.
    waiting: Arc<AtomicUsize>,
    /// Signal that ends the connection.
    end: Arc<Notify>,
}

#[derive(Default)]
struct Peers {
    connected: BTreeMap<Peer, Connected>,
    next: Peer,
}

/// A socket; copies of it are the same one.
#[derive(Clone)]
pub struct Socket {
    kind: SocketKind,
    peers: Arc<Mutex<Peers>>,
    room: Arc<Semaphore>,
}

/// A receiver of messages, with the peer that sent each and the name that it gives itself.
pub type Receiver = Arc<dyn Fn(Peer, &[u8], Frames) + Send + Sync>;

/// A receiver of what goes wrong with a peer.
pub type Complaint = Arc<dyn Fn(&str) + Send + Sync>;

impl Socket {
    pub fn new(kind: SocketKind) -> Self {
        Self { kind, peers: Arc::default(), room: Arc::new(Semaphore::new(CONNECTIONS)) }
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for another connection, and returns its place.
    pub async fn place(&self) -> Result<tokio::sync::OwnedSemaphorePermit> {
        self.room.clone().acquire_owned().await.map_err(|e| err!(Bug, "the socket has no room: {e}"))
    }

    /// Serves a connection to its end. What goes wrong is said, and is no concern of other connections.
    pub async fn serve(&self, stream: Box<dyn Stream>, receiver: Receiver, complain: Complaint) {
        if let Err(error) = self.served(stream, receiver).await {
            complain(&format!("{} socket: {}", self.kind.name(), error.message));
        }
    }

    async fn served(&self, mut stream: Box<dyn Stream>, receiver: Receiver) -> Result<()> {
        let greeted = tokio::time::timeout(GREETING, greet(&mut stream, self.kind)).await;
        let identity = match greeted {
            Ok(identity) => identity?,
            Err(_) => bail!(Network, "a peer was silent for {} s in its greeting", GREETING.as_secs()),
        };
        let (reader, writer) = tokio::io::split(stream);
        let (outgoing, queue) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let end = Arc::new(Notify::new());
        let peer = self.enter(Connected {
            identity: identity.clone(),
            subscriptions: Vec::new(),
            outgoing,
            waiting: waiting.clone(),
            end: end.clone(),
        });
        let outcome = tokio::select! {
            read = self.read(peer, &identity, BufReader::new(reader), receiver) => read,
            () = write(writer, queue, &waiting) => Ok(()),
            () = end.notified() => {
                Err(err!(Network, "a peer did not read {} MiB, and is left", WAITING >> 20))
            }
        };
        drop(self.peers().connected.remove(&peer));
        outcome
    }

    fn enter(&self, connected: Connected) -> Peer {
        let mut peers = self.peers();
        let peer = peers.next;
        peers.next += 1;
        peers.connected.insert(peer, connected);
        peer
    }

    /// Reads what a peer sends, until it leaves.
    async fn read(
        &self,
        peer: Peer,
        identity: &[u8],
        mut reader: impl AsyncRead + Unpin,
        receiver: Receiver,
    ) -> Result<()> {
        while let Some(received) = frames::receive(&mut reader).await? {
            match received {
                Received::Message(frames) if self.kind == SocketKind::Pub => {
                    self.subscribe_by_message(peer, &frames)?
                }
                Received::Message(frames) => receiver(peer, identity, frames),
                Received::Command(name, data) => match name.as_str() {
                    "SUBSCRIBE" => self.subscribe(peer, &data, true)?,
                    "CANCEL" => self.subscribe(peer, &data, false)?,
                    // Its data are a time to live, and what the answer repeats.
                    "PING" => {
                        self.send_bytes(peer, Arc::new(frames::command_frame("PONG", data.get(2..).unwrap_or(&[]))));
                    }
                    "ERROR" => bail!(Network, "the peer ends the connection"),
                    _ => {}
                },
            }
        }
        Ok(())
    }

    /// Subscribes as peers before ZMTP 3.1 do: by a message of a 1, or a 0 to cancel, and what is subscribed to.
    fn subscribe_by_message(&self, peer: Peer, frames: &[Vec<u8>]) -> Result<()> {
        match frames.first().and_then(|frame| frame.split_first()) {
            Some((1, topic)) => self.subscribe(peer, topic, true),
            Some((0, topic)) => self.subscribe(peer, topic, false),
            _ => Ok(()),
        }
    }

    fn subscribe(&self, peer: Peer, topic: &[u8], wanted: bool) -> Result<()> {
        let mut peers = self.peers();
        let Some(connected) = peers.connected.get_mut(&peer) else { return Ok(()) };
        let known = connected.subscriptions.iter().position(|known| known == topic);
        match (known, wanted) {
            (_, true) if connected.subscriptions.len() == MOST_SUBSCRIPTIONS => {
                bail!(Network, "expected at most {MOST_SUBSCRIPTIONS} subscriptions, found more")
            }
            (_, true) => connected.subscriptions.push(topic.to_vec()),
            (Some(at), false) => drop(connected.subscriptions.remove(at)),
            (None, false) => {}
        }
        Ok(())
    }

    /// Sends a message to a peer; one that is gone does not get it.
    pub fn send(&self, peer: Peer, frames: &[Vec<u8>]) {
        self.send_bytes(peer, Arc::new(frames::message(frames)));
    }

    fn send_bytes(&self, peer: Peer, bytes: Arc<Vec<u8>>) {
        if let Some(connected) = self.peers().connected.get(&peer) {
            connected.send(bytes);
        }
    }

    /// Sends a message to the newest peer that gives itself a name, or to the only one where it has none; returns
    /// whether there is one.
    pub fn send_to(&self, identity: &[u8], frames: &[Vec<u8>]) -> bool {
        let peers = self.peers();
        let named = peers.connected.values().rfind(|peer| !identity.is_empty() && peer.identity == identity);
        let only = || peers.connected.values().next().filter(|_| peers.connected.len() == 1);
        let Some(found) = named.or_else(only) else { return false };
        found.send(Arc::new(frames::message(frames)));
        true
    }

    /// Sends a message to all peers that have subscribed to the beginning of its first frame.
    pub fn publish(&self, frames: &[Vec<u8>]) {
        let topic = frames.first().map_or(&[][..], Vec::as_slice);
        let bytes = Arc::new(frames::message(frames));
        for connected in self.peers().connected.values() {
            if connected.subscriptions.iter().any(|wanted| topic.starts_with(wanted)) {
                connected.send(bytes.clone());
            }
        }
    }

    /// Returns the number of bytes that wait to be sent.
    pub fn waiting(&self) -> usize {
        self.peers().connected.values().map(|connected| connected.waiting.load(Ordering::Relaxed)).sum()
    }

    /// Returns the number of connections.
    #[cfg(test)]
    pub fn connections(&self) -> usize {
        self.peers().connected.len()
    }
}

impl Connected {
    fn send(&self, bytes: Arc<Vec<u8>>) {
        let length = bytes.len();
        if self.waiting.fetch_add(length, Ordering::Relaxed) + length > WAITING {
            self.end.notify_one();
        } else {
            // One that is leaving gets nothing more.
            let _left = self.outgoing.send(bytes);
        }
    }
}

/// Writes what waits for a peer, until it leaves.
async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::UnboundedReceiver<Arc<Vec<u8>>>,
    waiting: &AtomicUsize,
) {
    while let Some(bytes) = queue.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
        waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
    }
}
