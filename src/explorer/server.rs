//! The explorer behind a socket.

use std::sync::Arc;

use axum::serve::ListenerExt;

use super::gate::Gate;
use super::routes::{Service, router};
use super::state::Explorer;
use crate::base::{Result, Task, net};
use crate::err;

/// Serves the page on a port of loopback (0: any) until the task is interrupted. `ready` hears its address.
pub fn serve(explorer: Explorer, port: u16, ready: impl FnOnce(&str), task: &Task) -> Result<()> {
    serve_with(Arc::new(Service::new(explorer)), port, ready, task)
}

/// The same, for those who look into it.
pub(super) fn serve_with(service: Arc<Service>, port: u16, ready: impl FnOnce(&str), task: &Task) -> Result<()> {
    let served = net::wait_for(async {
        let listener = net::listen(port).await?;
        let failed = |e: std::io::Error| err!(Network, "cannot serve the explorer: {e}");
        let gate = Gate::new(listener.local_addr().map_err(failed)?.port())?;
        ready(&gate.address());
        // Small answers leave at once. Where the system refuses that, they leave a little later.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let serving = axum::serve(listener, router(gate, service.clone()));
        net::patiently(task, serving.into_future()).await?.map_err(failed)
    });
    service.stop();
    served
}
