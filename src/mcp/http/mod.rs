//! The server over streamable HTTP on loopback, and beside it a page on which a person sees what agents do.
//!
//! Both stand behind the gate of the explorer: `/TOKEN/` is the page, `/TOKEN/mcp` the address for clients. Its sessions
//! are those of the agents, so a person who types into one has its variables.

mod page;
mod view;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use rmcp::transport::streamable_http_server::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;

use super::Server;
use crate::common::*;
use crate::explorer::{Gate, serve_connections, watch};
use crate::net;

/// The addresses of a server that runs.
pub struct Addresses {
    /// The page for people.
    pub page: String,
    /// The address for clients of the protocol.
    pub server: String,
}

/// Answers clients and the page on a port of loopback (0: any) until the task is interrupted. `ready` hears the addresses.
pub fn serve_http(server: Server, port: u16, ready: impl FnOnce(&Addresses), task: &Task) -> Result<()> {
    let served = net::wait_for(async {
        let listener = net::listen(port).await?;
        let gate = Gate::new(listener.port()?)?;
        let page = gate.address();
        ready(&Addresses { server: format!("{page}mcp"), page });
        net::patiently(task, serve_connections(&listener, router(gate, server.clone()))).await?
    });
    server.finish();
    served
}

fn router(gate: Gate, server: Server) -> Router {
    let own = server.clone();
    let clients = Arc::new(LocalSessionManager::default());
    let protocol = StreamableHttpService::new(move || Ok(own.clone()), clients, Default::default());
    Router::new()
        .route("/{token}/", get(async || ([(CONTENT_TYPE, "text/html; charset=utf-8")], page::INDEX)))
        .route("/{token}/page/{name}", get(page::answer))
        .route("/{token}/calls/{after}", get(view::calls))
        .route("/{token}/picture/{session}/{number}/{index}", get(view::picture))
        .route("/{token}/run", post(view::run))
        .route("/{token}/stop", post(view::stop))
        .with_state(server)
        .route_service("/{token}/mcp", protocol)
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(from_fn_with_state(gate, watch))
}
