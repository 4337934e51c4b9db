//! The endpoints behind a socket.

use super::routes::{Door, router};
use super::state::Served;
use crate::common::*;
use crate::explorer::{Hosts, serve_connections};
use crate::net;

/// Answers requests on a port of loopback (0: any) until the task is interrupted. A request must have the key, where
/// there is one. `ready` hears the address.
pub fn serve(served: Served, port: u16, key: Option<String>, ready: impl FnOnce(&str), task: &Task) -> Result<()> {
    let served = Arc::new(served);
    net::wait_for(async {
        let listener = net::listen(port).await?;
        let hosts = Hosts::new(listener.port()?);
        ready(&hosts.address());
        net::patiently(task, serve_connections(&listener, router(served, Door { hosts, key }))).await?
    })
}
