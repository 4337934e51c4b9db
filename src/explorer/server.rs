//! The explorer behind a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

use super::gate::Gate;
use super::routes::{Service, router};
use super::state::Explorer;
use crate::base::{Result, Task};
use crate::err;
use crate::net::{self, Listener};

/// Connections at a time. A browser opens six for a page; each takes a descriptor of the system.
pub(super) const CONNECTIONS: usize = 64;

/// Time that a client may take for the head of a request, by which the gate judges it.
const HEAD: Duration = Duration::from_secs(5);

/// Serves the page on a port of loopback (0: any) until the task is interrupted. `ready` hears its address.
pub fn serve(explorer: Explorer, port: u16, ready: impl FnOnce(&str), task: &Task) -> Result<()> {
    serve_with(Arc::new(Service::new(explorer)), port, ready, task)
}

/// Serves the page of a service that the caller keeps, for tests that look into it.
pub(super) fn serve_with(service: Arc<Service>, port: u16, ready: impl FnOnce(&str), task: &Task) -> Result<()> {
    let served = net::wait_for(async {
        let listener = net::listen(port).await?;
        let gate = Gate::new(listener.port()?)?;
        ready(&gate.address());
        net::patiently(task, serve_connections(&listener, router(gate, service.clone()))).await?
    });
    service.stop();
    served
}

/// Answers connections as they come. axum's own loop has neither a limit of them nor a time for their heads.
pub async fn serve_connections(listener: &Listener, router: Router) -> Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = room.clone().acquire_owned().await.map_err(|e| err!(Bug, "the explorer has no room: {e}"))?;
        let connection = TokioIo::new(listener.next().await);
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
        let serving = builder.serve_connection(connection, TowerToHyperService::new(router.clone()));
        drop(tokio::spawn(async move {
            // A client that leaves, or is too slow, is not waited for.
            let _left = serving.await;
            drop(place);
        }));
    }
}
