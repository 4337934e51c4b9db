//! The thread of the sockets: it reads requests, answers what cannot wait for a running cell, and sends what others say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, mpsc as std_mpsc};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::connection::{Connection, OpenPort};
use super::message::{Message, Signer};
use super::requests;
use super::zmtp::{Frames, Peer, Receiver, Socket, SocketKind};
use crate::base::{files, locked};
use crate::common::*;
use crate::net;
use crate::script::engine::console::to_stderr;

/// Time that printed text may wait for more of it.
const LINGER: Duration = Duration::from_millis(20);

/// Number of bytes of printed text that wait for nothing.
const MUCH: usize = 1 << 20;

/// Time that a cell has to end when the kernel is shut down.
const ENDING: Duration = Duration::from_secs(2);

/// Time that clients have to read the last messages.
const LAST: Duration = Duration::from_secs(1);

/// Time between two looks whether all is sent.
const GLANCE: Duration = Duration::from_millis(5);

/// The sockets on which requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Shell,
    Control,
}

/// A request, and whom to answer.
pub struct Request {
    pub message: Message,
    pub channel: Channel,
    pub peer: Peer,
    /// The name that the client gives itself, by which it is asked on another socket.
    pub identity: Vec<u8>,
}

/// What the thread of the session has to do.
pub enum Work {
    Answer(Box<Request>),
    /// The kernel is shut down.
    End,
}

/// A message that waits to be sent.
enum Outgoing {
    Reply(Channel, Peer, Frames),
    Ask(Vec<u8>, Frames),
    Publish(Frames),
    /// Text was printed, and is sent in a moment.
    Printed,
    /// Nothing more comes.
    Finish,
}

/// Text that was printed and is not sent yet.
#[derive(Default)]
struct Printed {
    stream: &'static str,
    parent: Map<String, Value>,
    text: String,
}

/// The way out to all clients; what goes through it arrives in its order.
pub struct Outlet {
    signer: Signer,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    printed: Mutex<Printed>,
}

impl Outlet {
    fn printed(&self) -> MutexGuard<'_, Printed> {
        locked(&self.printed)
    }

    /// Hands on a message. The sockets outlive whoever speaks; at the very end nobody listens.
    fn send(&self, outgoing: Outgoing) {
        let _nobody_listens = self.outgoing.send(outgoing);
    }

    /// Sends what was printed.
    fn flush(&self) -> MutexGuard<'_, Printed> {
        let mut printed = self.printed();
        if !printed.text.is_empty() {
            let content = json!({ "name": printed.stream, "text": std::mem::take(&mut printed.text) });
            self.send(Outgoing::Publish(self.signer.written(
                &[b"stream".to_vec()],
                "stream",
                &printed.parent,
                &content,
            )));
        }
        printed
    }

    /// Tells all clients.
    pub fn publish(&self, kind: &str, parent: &Map<String, Value>, content: &Value) {
        let _in_order = self.flush();
        self.send(Outgoing::Publish(self.signer.written(&[kind.as_bytes().to_vec()], kind, parent, content)));
    }

    /// Tells all clients whether the kernel works on a request.
    pub fn status(&self, state: &str, parent: &Map<String, Value>) {
        self.publish("status", parent, &json!({ "execution_state": state }));
    }

    /// Prints text to a stream. It is sent at once where something else follows, and soon where more text does.
    pub fn print(&self, stream: &'static str, parent: &Map<String, Value>, text: &str) {
        let mut printed = self.printed();
        if printed.stream != stream || printed.parent != *parent {
            drop(printed);
            printed = self.flush();
            (printed.stream, printed.parent) = (stream, parent.clone());
        }
        if printed.text.is_empty() {
            self.send(Outgoing::Printed);
        }
        printed.text.push_str(text);
        let is_much = printed.text.len() > MUCH;
        drop(printed);
        if is_much {
            drop(self.flush());
        }
    }

    /// Answers a request.
    pub fn reply(&self, request: &Request, kind: &str, content: &Value) {
        let _in_order = self.flush();
        let frames = self.signer.written(&request.message.route, kind, &request.message.header, content);
        self.send(Outgoing::Reply(request.channel, request.peer, frames));
    }

    /// Asks the client of this name for a line.
    pub fn ask(&self, identity: &[u8], parent: &Map<String, Value>, content: &Value) {
        let _in_order = self.flush();
        self.send(Outgoing::Ask(identity.to_vec(), self.signer.written(&[], "input_request", parent, content)));
    }
}

/// The ends of the transport that the thread of the session holds.
pub struct Transport {
    pub outlet: Arc<Outlet>,
    pub work: std_mpsc::Receiver<Work>,
    queue: mpsc::UnboundedReceiver<Outgoing>,
    requests: std_mpsc::Sender<Work>,
    typed: std_mpsc::Sender<Option<String>>,
}

impl Transport {
    /// Makes a transport that does not run yet, and the receiver of what is typed, of which None is the end.
    pub fn new(key: &str) -> Result<(Self, std_mpsc::Receiver<Option<String>>)> {
        let (outgoing, queue) = mpsc::unbounded_channel();
        let (requests, work) = std_mpsc::channel();
        let (typed, lines) = std_mpsc::channel();
        let outlet = Arc::new(Outlet { signer: Signer::new(key)?, outgoing, printed: Mutex::default() });
        Ok((Self { outlet, work, queue, requests, typed }, lines))
    }

    /// Opens the sockets and runs them on a thread of their own; `interrupted` is the flag that an interruption raises.
    /// Returned is what there is to do, and the running thread.
    pub fn start(
        self,
        connection: Connection,
        interrupted: Arc<AtomicBool>,
    ) -> Result<(std_mpsc::Receiver<Work>, RunningTransport)> {
        let Self { outlet, work, queue, requests, typed } = self;
        let (opened, is_open) = std_mpsc::channel();
        let sockets = Sockets::new(outlet.clone(), interrupted, requests, typed);
        let thread = std::thread::Builder::new()
            .name("sockets".into())
            .spawn(move || {
                let told = opened.clone();
                let outcome = net::wait_for(sockets.run(connection, queue, opened));
                // Where the sockets were open before, nobody waits for this.
                let _unheard = told.send(outcome);
            })
            .map_err(|e| err!(Memory, "cannot start the thread of the sockets: {e}"))?;
        is_open.recv().map_err(|e| err!(Bug, "the thread of the sockets ended: {e}"))??;
        Ok((work, RunningTransport { outlet, thread }))
    }
}

/// The thread of the sockets.
pub struct RunningTransport {
    outlet: Arc<Outlet>,
    thread: std::thread::JoinHandle<()>,
}

impl RunningTransport {
    /// Sends what waits, and ends.
    pub fn finish(self) -> Result<()> {
        drop(self.outlet.flush());
        self.outlet.send(Outgoing::Finish);
        self.thread.join().map_err(|panic| std::panic::resume_unwind(panic))
    }
}

/// The five sockets, and where to what comes through them goes.
#[derive(Clone)]
struct Sockets {
    shell: Socket,
    control: Socket,
    stdin: Socket,
    iopub: Socket,
    heartbeat: Socket,
    outlet: Arc<Outlet>,
    interrupted: Arc<AtomicBool>,
    requests: std_mpsc::Sender<Work>,
    typed: std_mpsc::Sender<Option<String>>,
}

impl Sockets {
    fn new(
        outlet: Arc<Outlet>,
        interrupted: Arc<AtomicBool>,
        requests: std_mpsc::Sender<Work>,
        typed: std_mpsc::Sender<Option<String>>,
    ) -> Self {
        Self {
            shell: Socket::new(SocketKind::Router),
            control: Socket::new(SocketKind::Router),
            stdin: Socket::new(SocketKind::Router),
            iopub: Socket::new(SocketKind::Pub),
            heartbeat: Socket::new(SocketKind::Rep),
            outlet,
            interrupted,
            requests,
            typed,
        }
    }

    /// Opens all sockets, tells so, and sends what waits until nothing more comes.
    async fn run(
        self,
        connection: Connection,
        mut queue: mpsc::UnboundedReceiver<Outgoing>,
        opened: std_mpsc::Sender<Result<()>>,
    ) -> Result<()> {
        let c = &connection;
        let ports = [
            (c.open(c.shell_port).await?, &self.shell),
            (c.open(c.control_port).await?, &self.control),
            (c.open(c.stdin_port).await?, &self.stdin),
            (c.open(c.iopub_port).await?, &self.iopub),
            (c.open(c.hb_port).await?, &self.heartbeat),
        ];
        for (number, (port, socket)) in ports.into_iter().enumerate() {
            let own = self.clone();
            let receiver: Receiver = match number {
                0 => Arc::new(move |peer, identity, frames| own.request(Channel::Shell, peer, identity, frames)),
                1 => Arc::new(move |peer, identity, frames| own.request(Channel::Control, peer, identity, frames)),
                2 => Arc::new(move |_, _, frames| own.line_typed(frames)),
                3 => Arc::new(|_, _, _| {}),
                _ => Arc::new(move |peer, _, frames| own.heartbeat.send(peer, &frames)),
            };
            drop(tokio::spawn(connections(port, socket.clone(), receiver)));
        }
        // Whoever started this has gone only if the program ends.
        let _ends = opened.send(Ok(()));
        self.outlet.status("starting", &Map::new());
        while let Some(outgoing) = queue.recv().await {
            match outgoing {
                Outgoing::Reply(Channel::Shell, peer, frames) => self.shell.send(peer, &frames),
                Outgoing::Reply(Channel::Control, peer, frames) => self.control.send(peer, &frames),
                Outgoing::Publish(frames) => self.iopub.publish(&frames),
                Outgoing::Ask(identity, frames) => {
                    if !self.stdin.send_to(&identity, &frames) {
                        // Nobody is there to type: that is the end of what is typed.
                        let _not_waiting = self.typed.send(None);
                    }
                }
                Outgoing::Printed => {
                    let outlet = self.outlet.clone();
                    drop(tokio::spawn(async move {
                        tokio::time::sleep(LINGER).await;
                        drop(outlet.flush());
                    }));
                }
                Outgoing::Finish => break,
            }
        }
        let all_sent = async {
            while [&self.shell, &self.control, &self.iopub].iter().any(|socket| socket.waiting() > 0) {
                tokio::time::sleep(GLANCE).await;
            }
        };
        // A client that does not read is not waited for.
        let _unread = tokio::time::timeout(LAST, all_sent).await;
        Ok(())
    }

    /// Takes a message of the shell or of the control socket.
    fn request(&self, channel: Channel, peer: Peer, identity: &[u8], frames: Frames) {
        let message = match self.outlet.signer.read(frames) {
            Ok(message) => message,
            Err(error) => return complain(&error.message),
        };
        let request = Request { message, channel, peer, identity: identity.to_vec() };
        let is_urgent = channel == Channel::Control
            && matches!(request.message.kind(), "interrupt_request" | "shutdown_request" | "kernel_info_request");
        if !is_urgent {
            // The thread of the session has ended: so does the kernel.
            let _ended = self.requests.send(Work::Answer(request.into()));
            return;
        }
        let parent = &request.message.header;
        self.outlet.status("busy", parent);
        let kind = request.message.reply_kind().unwrap_or_default();
        let content = match request.message.check_version() {
            Err(error) if request.message.kind() != "kernel_info_request" => requests::refusal(&error),
            _ => self.urgent(&request),
        };
        self.outlet.reply(&request, &kind, &content);
        self.outlet.status("idle", parent);
    }

    /// Does at once what a request on the control socket asks for, and returns the answer.
    fn urgent(&self, request: &Request) -> Value {
        match request.message.kind() {
            "interrupt_request" => {
                self.interrupted.store(true, Ordering::Relaxed);
                json!({ "status": "ok" })
            }
            "shutdown_request" => {
                self.interrupted.store(true, Ordering::Relaxed);
                let _ended = self.requests.send(Work::End);
                drop(tokio::spawn(async {
                    tokio::time::sleep(ENDING).await;
                    files::abandon();
                    std::process::exit(0);
                }));
                json!({ "status": "ok", "restart": request.message.setting("restart", false) })
            }
            _ => requests::kernel_info(),
        }
    }

    /// Takes a line that somebody typed.
    fn line_typed(&self, frames: Frames) {
        let line = self.outlet.signer.read(frames).and_then(|message| {
            if message.kind() != "input_reply" {
                return Err(err!(Format, "expected an input_reply, found {:?}", message.kind()));
            }
            Ok(message.text("value")?.to_string())
        });
        match line {
            Ok(line) => {
                let _not_waiting = self.typed.send(Some(line));
            }
            Err(error) => complain(&error.message),
        }
    }
}

/// Takes the connections of a socket as they come.
async fn connections(port: OpenPort, socket: Socket, receiver: Receiver) {
    while let Ok(place) = socket.place().await {
        let stream = port.next().await;
        let socket = socket.clone();
        let receiver = receiver.clone();
        drop(tokio::spawn(async move {
            socket.serve(stream, receiver, Arc::new(complain)).await;
            drop(place);
        }));
    }
}

/// Says on standard error what is wrong with a peer, which nobody else would hear.
fn complain(words: &str) {
    to_stderr(&format!("microtome kernel: {words}\n"));
}
