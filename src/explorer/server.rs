//! The explorer behind a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::gate::Gate;
use super::routes::{Service, router};
use super::state::Explorer;
use crate::base::{Result, Task, net};
use crate::err;

/// Connections at a time. A browser opens six for a page; each takes a descriptor of the system.
pub(super) const CONNECTIONS: usize = 64;

/// How long a client may take for the head of a request, by which the gate judges it.
const HEAD: Duration = Duration::from_secs(5);

/// How long no connection is taken where the system has no descriptor for one.
const PAUSE: Duration = Duration::from_millis(100);

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
        net::patiently(task, taken(listener, router(gate, service.clone()))).await?.map_err(failed)
    });
    service.stop();
    served
}

/// Answers connections as they come. axum's own loop has neither a limit of them nor a time for their heads.
async fn taken(listener: TcpListener, router: Router) -> std::io::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
        let Ok((connection, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Small answers leave at once. Where the system refuses that, they leave a little later.
        drop(connection.set_nodelay(true));
        let service = TowerToHyperService::new(router.clone());
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
        let serving = builder.serve_connection(TokioIo::new(connection), service);
        drop(tokio::spawn(async move {
            // A client that leaves, or is too slow, is not waited for.
            let _left = serving.await;
            drop(place);
        }));
    }
}
