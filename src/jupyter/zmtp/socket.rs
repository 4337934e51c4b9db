//! Sockets with any number of peers: requests that are answered (ROUTER, REP), and what is told to all (PUB).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Notify, Semaphore, mpsc};

use super::frames::{self, Frames, Received};
use super::handshake::{SocketKind, greet};
use crate::bail;
use crate::base::locked;
use crate::common::*;

/// Number of connections of a socket at a time; each takes a descriptor of the system.
const CONNECTIONS: usize = 128;

/// Time that a peer may take for its greeting.
const GREETING: Duration = Duration::from_secs(10);

/// Largest number of bytes that wait for a peer which does not read.
const WAITING: usize = 256 << 20;

/// Largest number of subscriptions of a peer.
const MOST_SUBSCRIPTIONS: usize = 1024;

/// Largest number of bytes of a subscription. One that comes as a message could be as long as any message, and each is kept.
const LONGEST_SUBSCRIPTION: usize = 4096;

/// A connection of any kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

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
        locked(&self.peers)
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
            (_, true) if topic.len() > LONGEST_SUBSCRIPTION => {
                bail!(Network, "expected a subscription of at most {LONGEST_SUBSCRIPTION} bytes, found {}", topic.len())
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

    /// Sends a message to the newest peer that gives itself a name, or to the only one where the name or that peer's is
    /// empty; returns whether there is one. What is meant for a peer that is gone is not another one's to answer.
    pub fn send_to(&self, identity: &[u8], frames: &[Vec<u8>]) -> bool {
        let peers = self.peers();
        let named = peers.connected.values().rfind(|peer| !identity.is_empty() && peer.identity == identity);
        let only = || {
            let first = peers.connected.values().next().filter(|_| peers.connected.len() == 1);
            first.filter(|peer| identity.is_empty() || peer.identity.is_empty())
        };
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::super::handshake::{Greeting, property};
    use super::*;

    /// A message with the peer that sent it and the name that this gives itself.
    type ReceivedFrom = (Peer, Vec<u8>, Frames);

    /// What a socket received and what it complained of.
    #[derive(Clone, Default)]
    struct Heard {
        messages: Arc<Mutex<Vec<ReceivedFrom>>>,
        complaints: Arc<Mutex<Vec<String>>>,
    }

    impl Heard {
        /// Connects a peer, which has sent its greeting and then these bytes.
        async fn connect(&self, socket: &Socket, kind: &str, identity: &str, bytes: &[u8]) -> DuplexStream {
            let (ours, mut theirs) = tokio::io::duplex(1 << 12);
            let messages = self.messages.clone();
            let complaints = self.complaints.clone();
            let receiver: Receiver = Arc::new(move |peer, identity, frames| {
                messages.lock().unwrap().push((peer, identity.to_vec(), frames));
            });
            let complain: Complaint = Arc::new(move |words| complaints.lock().unwrap().push(words.into()));
            let own = socket.clone();
            drop(tokio::spawn(async move { own.serve(Box::new(ours), receiver, complain).await }));
            let ready = [property("Socket-Type", kind), property("Identity", identity)].concat();
            theirs.write_all(&Greeting::bytes()).await.unwrap();
            theirs.write_all(&frames::command_frame("READY", &ready)).await.unwrap();
            let mut greeting = [0; 64];
            theirs.read_exact(&mut greeting).await.unwrap();
            assert!(matches!(frames::receive(&mut theirs).await.unwrap(), Some(Received::Command(..))));
            theirs.write_all(bytes).await.unwrap();
            settled().await;
            theirs
        }

        fn complaints(&self) -> Vec<String> {
            self.complaints.lock().unwrap().clone()
        }
    }

    /// Waits until nothing more happens.
    async fn settled() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
    }

    fn message(texts: &[&str]) -> Frames {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    async fn next(peer: &mut DuplexStream) -> Frames {
        match frames::receive(peer).await.unwrap() {
            Some(Received::Message(frames)) => frames,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_peer_is_answered_by_itself_and_forgotten_when_it_leaves() {
        run(async {
            let socket = Socket::new(SocketKind::Router);
            let heard = Heard::default();
            let asked = frames::message(&message(&["a", ""]));
            let mut one = heard.connect(&socket, "DEALER", "one", &asked).await;
            let two = heard.connect(&socket, "DEALER", "two", &asked).await;
            let expected = [(0, b"one".to_vec(), message(&["a", ""])), (1, b"two".to_vec(), message(&["a", ""]))];
            assert_eq!(*heard.messages.lock().unwrap(), expected);
            socket.send(0, &message(&["b"]));
            assert_eq!(next(&mut one).await, message(&["b"]));
            assert!(socket.send_to(b"one", &message(&["c"])) && !socket.send_to(b"none", &message(&["c"])));
            assert_eq!(next(&mut one).await, message(&["c"]));
            drop(two);
            settled().await;
            assert_eq!((socket.connections(), heard.complaints().len()), (1, 0));
            // One that is gone is not written to, and the only one that is left needs no name.
            socket.send(1, &message(&["d"]));
            assert!(socket.send_to(b"", &message(&["e"])));
            assert_eq!(next(&mut one).await, message(&["e"]));
            // What the other one would be asked is not asked of it.
            assert!(!socket.send_to(b"two", &message(&["f"])));
        });
    }

    #[test]
    fn all_are_told_what_they_have_subscribed_to() {
        run(async {
            let socket = Socket::new(SocketKind::Pub);
            let heard = Heard::default();
            // In both ways in which peers subscribe; an empty subscription is one to everything.
            let mut all = heard.connect(&socket, "SUB", "", &frames::command_frame("SUBSCRIBE", b"")).await;
            let mut some = heard.connect(&socket, "SUB", "", &frames::message(&[b"\x01ab".to_vec()])).await;
            let cancelled = [frames::message(&[b"\x01".to_vec()]), frames::command_frame("CANCEL", b"")].concat();
            let none = heard.connect(&socket, "SUB", "", &cancelled).await;
            socket.publish(&message(&["x", "1"]));
            socket.publish(&message(&["abc", "2"]));
            assert_eq!(next(&mut all).await, message(&["x", "1"]));
            assert_eq!(next(&mut all).await, message(&["abc", "2"]));
            assert_eq!(next(&mut some).await, message(&["abc", "2"]));
            drop(socket);
            drop(none);
        });
    }

    #[test]
    fn a_subscription_has_a_largest_length() {
        run(async {
            let socket = Socket::new(SocketKind::Pub);
            let heard = Heard::default();
            let long = [&[1_u8][..], &[b'a'; LONGEST_SUBSCRIPTION + 1]].concat();
            let _by_message = heard.connect(&socket, "SUB", "", &frames::message(std::slice::from_ref(&long))).await;
            let _by_command = heard.connect(&socket, "SUB", "", &frames::command_frame("SUBSCRIBE", &long[1..])).await;
            let expected = "PUB socket: expected a subscription of at most 4096 bytes, found 4097";
            assert_eq!((socket.connections(), heard.complaints()), (0, vec![expected.into(), expected.into()]));
        });
    }

    #[test]
    fn a_ping_is_answered_and_nonsense_ends_one_connection_alone() {
        run(async {
            let socket = Socket::new(SocketKind::Rep);
            let heard = Heard::default();
            let mut good = heard.connect(&socket, "REQ", "", &frames::command_frame("PING", b"\0\x0acontext")).await;
            let Some(Received::Command(name, data)) = frames::receive(&mut good).await.unwrap() else { panic!() };
            assert_eq!((name.as_str(), data.as_slice()), ("PONG", &b"context"[..]));
            for bytes in [&b"\xff\x00"[..], b"\x02\xff\xff\xff\xff\xff\xff\xff\xff", b"\x04\x00"] {
                drop(heard.connect(&socket, "REQ", "", bytes).await);
            }
            // In the middle of a frame, and of a message.
            for bytes in [&b"\x00\x05ab"[..], b"\x01\x01a"] {
                drop(heard.connect(&socket, "REQ", "", bytes).await);
            }
            settled().await;
            assert_eq!((socket.connections(), heard.complaints().len()), (1, 5), "{:?}", heard.complaints());
            good.write_all(&frames::message(&message(&["", "still there"]))).await.unwrap();
            settled().await;
            assert_eq!(heard.messages.lock().unwrap().len(), 1);
        });
    }

    #[test]
    fn a_peer_that_does_not_read_is_left() {
        run(async {
            let socket = Socket::new(SocketKind::Router);
            let heard = Heard::default();
            let _deaf = heard.connect(&socket, "DEALER", "deaf", b"").await;
            let bytes = Arc::new(vec![0; WAITING / 4 + 1]);
            for _ in 0..4 {
                socket.send_bytes(0, bytes.clone());
            }
            settled().await;
            assert_eq!(heard.complaints(), ["ROUTER socket: a peer did not read 256 MiB, and is left"]);
            assert_eq!(socket.connections(), 0);
        });
    }
}
