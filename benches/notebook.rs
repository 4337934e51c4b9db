//! What a notebook waits for: the start of the kernel, a question, and a cell, beside ipykernel. Writes
//! `docs/benchmarks-notebook.md`.
//!
//! `cargo bench --bench notebook`; `MICROTOME_PEER_PYTHON` names a Python that has jupyter_client, which is the client of
//! both, and ipykernel.

mod common;

use std::process::Command;

use common::peers::Peers;
use common::{BenchPage, Rows, milliseconds};

const REQUESTS: usize = 500;

const WHAT: [(&str, &str); 5] = [
    ("start", "from the start of the program to its first answer"),
    ("info_median", "`kernel_info`: median"),
    ("info_late", "`kernel_info`: 95th percentile"),
    ("cell_median", "a cell with `1 + 1`: median"),
    ("cell_late", "a cell with `1 + 1`: 95th percentile"),
];

fn main() {
    BenchPage::new("Benchmarks of the kernel", "notebook", SENTENCES).run(|folder| {
        let install = ["kernel", "install", "--prefix", &folder.display().to_string()];
        let installed = Command::new(env!("CARGO_BIN_EXE_microtome")).args(install).status().unwrap();
        assert!(installed.success());
        let peers = Peers::run_with(
            "notebook.py",
            &[REQUESTS.to_string()],
            &[("JUPYTER_PATH", folder.join("share/jupyter")), ("MICROTOME_HISTORY", folder.join("history"))],
        );
        let mut rows = Rows::new();
        for (name, what) in WHAT {
            match peers.measured(&format!("ours_{name}")) {
                Ok(ours) => {
                    rows.push((what.into(), milliseconds(ours)));
                    rows.push(("ipykernel".into(), peers.against(&format!("theirs_{name}"), ours, milliseconds)));
                }
                Err(why) => rows.push((what.into(), why)),
            }
        }
        rows
    });
}

const SENTENCES: &str = "jupyter_client starts both kernels and asks each 500 times, one after the other; times are those of the \
    client, until the reply is there and, for a cell, the kernel is idle.";
