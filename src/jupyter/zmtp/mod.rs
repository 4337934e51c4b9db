//! ZMTP 3.1 without encryption: as much of ZeroMQ as a kernel needs.
//!
//! A connection begins with a greeting and a command in which each side names its kind of socket; messages of several
//! frames follow. A peer is not trusted with anything: lengths are checked before memory is taken for them, and one that
//! is silent during the handshake, sends nonsense or does not read what it gets is left.

mod frames;
mod handshake;
mod socket;

pub use frames::Frames;
pub use handshake::SocketKind;
pub use socket::{Peer, Receiver, Socket, Stream};
