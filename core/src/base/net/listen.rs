//! The one socket that listens: on loopback, for a browser on this machine.

use std::net::Ipv4Addr;

use tokio::net::TcpListener;

use crate::base::Result;
use crate::err;

/// Listens on loopback alone. Port 0 is any that is free.
pub async fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|e| {
        err!(Network, "cannot listen on port {port} of 127.0.0.1: {e}")
            .hint("leave out --port to take any port that is free")
    })
}
