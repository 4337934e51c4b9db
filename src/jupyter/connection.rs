//! The connection file, by which the program that starts a kernel says where its sockets are to be.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use super::zmtp::Stream;
use crate::bail;
use crate::base::json;
use crate::common::*;
use crate::net::{self, Listener};

/// The sockets of a kernel, and the key of its messages.
#[derive(Debug, Clone, Deserialize)]
pub struct Connection {
    transport: String,
    ip: String,
    pub shell_port: u16,
    pub iopub_port: u16,
    pub stdin_port: u16,
    pub control_port: u16,
    pub hb_port: u16,
    #[serde(default)]
    pub key: String,
    #[serde(default = "hmac_sha256")]
    signature_scheme: String,
}

fn hmac_sha256() -> String {
    "hmac-sha256".into()
}

impl Connection {
    /// Reads the text of a connection file.
    pub fn parse(text: &str) -> Result<Self> {
        let found: Self = json::read(text.as_bytes(), |e| {
            err!(Format, "expected a connection file of Jupyter, found something else: {e}")
                .hint("Jupyter makes the file when it starts a kernel")
        })?;
        if found.signature_scheme != hmac_sha256() {
            bail!(Format, "expected the signature scheme hmac-sha256, found {:?}", found.signature_scheme);
        }
        match found.transport.as_str() {
            "tcp" => {
                let address = found.address()?;
                if found.key.is_empty() && !address.is_loopback() {
                    return Err(err!(Access, "refused to listen at {address} without a key")
                        .hint("whoever reaches an unsigned kernel can run code: give `key`, or listen at 127.0.0.1"));
                }
            }
            "ipc" if cfg!(unix) => {}
            other => bail!(Format, "expected the transport tcp or ipc, found {other:?}"),
        }
        Ok(found)
    }

    fn address(&self) -> Result<IpAddr> {
        self.ip.parse().map_err(|_| err!(Format, "expected an IP address for `ip`, found {:?}", self.ip))
    }

    /// Opens one of the sockets.
    pub async fn open(&self, port: u16) -> Result<OpenPort> {
        #[cfg(unix)]
        if self.transport == "ipc" {
            let path = PathBuf::from(format!("{}-{port}", self.ip));
            return Ok(OpenPort::Local(net::LocalListener::at(&path)?, path));
        }
        Ok(OpenPort::Tcp(net::listen_at(SocketAddr::new(self.address()?, port)).await?))
    }
}

/// A socket that waits for connections.
pub enum OpenPort {
    Tcp(Listener),
    #[cfg(unix)]
    Local(net::LocalListener, PathBuf),
}

impl OpenPort {
    /// Returns the next connection.
    pub async fn next(&self) -> Box<dyn Stream> {
        match self {
            Self::Tcp(listener) => Box::new(listener.next().await),
            #[cfg(unix)]
            Self::Local(listener, _) => Box::new(listener.next().await),
        }
    }
}

impl Drop for OpenPort {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Self::Local(_, path) = self {
            // One that somebody else has removed is gone as well.
            let _gone = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5,
        "ip": "127.0.0.1", "key": "k", "transport": "tcp", "signature_scheme": "hmac-sha256", "kernel_name": "x"}"#;

    #[test]
    fn a_connection_file_is_read() {
        let found = Connection::parse(FILE).unwrap();
        assert_eq!((found.shell_port, found.hb_port, found.key.as_str()), (1, 5, "k"));
        assert!(Connection::parse(&FILE.replace("\"key\": \"k\"", "\"key\": \"\"")).is_ok());
    }

    #[test]
    fn other_files_are_refused_with_words() {
        let message = |text: &str| Connection::parse(text).unwrap_err().message;
        assert!(message("{").starts_with("expected a connection file of Jupyter"));
        assert!(message(&FILE.replace("\"hb_port\": 5,", "")).contains("hb_port"));
        assert!(message(&FILE.replace("hb_port\": 5", "hb_port\": 70000")).contains("70000"));
        assert!(message(&FILE.replace("hmac-sha256", "hmac-md5")).contains("\"hmac-md5\""));
        assert!(message(&FILE.replace("tcp", "udp")).contains("\"udp\""));
        assert!(message(&FILE.replace("127.0.0.1", "example")).contains("\"example\""));
        let open = FILE.replace("127.0.0.1", "0.0.0.0").replace("\"k\"", "\"\"");
        assert_eq!(message(&open), "refused to listen at 0.0.0.0 without a key");
    }
}
