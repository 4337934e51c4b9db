//! The server over standard input and output, a message a line.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rmcp::ServiceExt;
use rmcp::service::{QuitReason, ServerInitializeError};
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::io::{AsyncRead, ReadBuf};

use super::Server;
use crate::base::memory::human;
use crate::common::*;
use crate::net;
use crate::script::engine::console::to_stderr;

/// Largest number of bytes of a message.
const MOST: usize = 16 << 20;

/// Time that calls have to end by themselves when the client has gone, and time between two interruptions after that.
const GRACE: Duration = Duration::from_millis(300);
const AGAIN: Duration = Duration::from_millis(50);

/// Answers a client on standard input and output until it is gone.
pub fn serve(server: Server) -> Result<()> {
    let served = net::wait_for(async {
        let input = Input { inner: tokio::io::stdin(), server: server.clone(), line: 0 };
        let transport = AsyncRwTransport::new_server(input, tokio::io::stdout()).with_max_line_length(MOST);
        let running = match server.clone().serve(transport).await {
            Ok(running) => running,
            // Who leaves before the first message wanted nothing.
            Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
            Err(error) => return Err(err!(Network, "the client did not begin as the protocol has it: {error}")),
        };
        match running.waiting().await {
            Ok(QuitReason::JoinError(error)) => Err(err!(Bug, "the server ended: {error}")),
            Ok(_) => Ok(()),
            Err(error) => Err(err!(Bug, "the server ended: {error}")),
        }
    });
    server.finish();
    served
}

/// Standard input, which says when a message is refused for its length, and when the client has gone.
struct Input<R> {
    inner: R,
    server: Server,
    /// Number of bytes of the message so far.
    line: usize,
}

impl<R: AsyncRead + Unpin> AsyncRead for Input<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, into);
        if let Poll::Ready(outcome) = &read {
            let bytes = into.filled().get(before..).unwrap_or_default();
            if bytes.is_empty() || outcome.is_err() {
                drop(tokio::spawn(stopped(self.server.clone())));
            }
            self.count(bytes);
        }
        read
    }
}

/// Stops what runs for a client that has gone. What takes a moment comes to its end before, for clients that are a pipe;
/// a training that ends early is stopped in what the script does behind it, too.
async fn stopped(server: Server) {
    tokio::time::sleep(GRACE).await;
    loop {
        server.stop_all();
        tokio::time::sleep(AGAIN).await;
    }
}

impl<R> Input<R> {
    fn count(&mut self, bytes: &[u8]) {
        if !bytes.contains(&b'\n') {
            return self.grow(bytes.len());
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.grow(line.len());
            if line.ends_with(b"\n") {
                self.line = 0;
            }
        }
    }

    fn grow(&mut self, by: usize) {
        let was_short = self.line <= MOST;
        self.line += by;
        if was_short && self.line > MOST {
            to_stderr(&format!("microtome mcp: a message of more than {} is not read\n", human(MOST as u128)));
        }
    }
}
