//! Sockets that listen: on loopback, for a browser on this machine, and where the program that starts a kernel says.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};

use crate::common::*;

/// Time in which no connection is taken where the system has no descriptor for one.
const PAUSE: Duration = Duration::from_millis(100);

/// A port of this machine on which others may ask.
pub struct Listener(TcpListener);

impl Listener {
    pub fn port(&self) -> Result<u16> {
        let address = self.0.local_addr().map_err(|e| err!(Network, "the system does not tell its own port: {e}"))?;
        Ok(address.port())
    }

    /// Returns the next connection, whose small answers leave at once; where the system refuses that, they leave a
    /// little later.
    pub async fn next(&self) -> TcpStream {
        loop {
            if let Ok((connection, _)) = self.0.accept().await {
                let _later = connection.set_nodelay(true);
                return connection;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Listens at an address that the user's own program has named.
pub async fn listen_at(address: SocketAddr) -> Result<Listener> {
    let found = TcpListener::bind(address).await;
    found.map(Listener).map_err(|e| err!(Network, "cannot listen at {address}: {e}"))
}

/// A socket in the file system on which programs of this machine may ask.
#[cfg(unix)]
pub struct LocalListener(tokio::net::UnixListener);

#[cfg(unix)]
impl LocalListener {
    /// Listens at a path where nothing is yet.
    pub fn at(path: &std::path::Path) -> Result<Self> {
        let found = tokio::net::UnixListener::bind(path);
        found.map(Self).map_err(|e| err!(Network, "cannot listen at {}: {e}", path.display()))
    }

    /// Returns the next connection.
    pub async fn next(&self) -> tokio::net::UnixStream {
        loop {
            if let Ok((connection, _)) = self.0.accept().await {
                return connection;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Listens on loopback alone. Port 0 is any that is free.
pub async fn listen(port: u16) -> Result<Listener> {
    let found = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    found.map(Listener).map_err(|e| {
        err!(Network, "cannot listen on port {port} of 127.0.0.1: {e}")
            .hint("leave out --port to take any port that is free")
    })
}
