//! Floor 22: the kernel of Jupyter, the session of the prompt behind five sockets.
//!
//! `zmtp` is the transport: frames, handshakes and sockets of ZeroMQ. `message` signs and reads what travels there, and
//! `connection` is the file that names the sockets. `transport` runs them on a thread of its own, where it answers what
//! must be answered while a cell runs; `kernel` answers everything else on the thread of the session. `cell` is what a
//! cell prints, shows and asks, and `progress` a bar that is updated in place.
//! `kernelspec` tells Jupyter that there is this kernel.

mod cell;
mod connection;
mod kernel;
mod kernelspec;
mod message;
mod progress;
mod requests;
mod transport;
mod zmtp;

pub use connection::Connection;
pub use kernel::Kernel;
pub use kernelspec::{KernelPlace, install};
