"""What a client of Jupyter waits for, for benches/notebook.rs: a line with a name and seconds for each.

Arguments: threads, and the number of requests. The kernel `microtome` is one that Jupyter finds; the peer is ipykernel.
"""

import sys
import time

import ipykernel  # noqa: F401, the peer, whose version is told
from jupyter_client.manager import start_new_kernel

REQUESTS = int(sys.argv[2])


def percentiles(name, ask):
    ask()  # The first loads what the client needs.
    waited = []
    for _ in range(REQUESTS):
        begun = time.perf_counter()
        ask()
        waited.append(time.perf_counter() - begun)
    waited.sort()
    print(f"{name}_median", waited[REQUESTS // 2])
    print(f"{name}_late", waited[REQUESTS * 95 // 100])


for name, kernel in [("ours", "microtome"), ("theirs", "python3")]:
    begun = time.perf_counter()
    manager, client = start_new_kernel(kernel_name=kernel)
    print(f"{name}_start", time.perf_counter() - begun)
    percentiles(f"{name}_info", lambda: client.kernel_info(reply=True, timeout=60))
    percentiles(f"{name}_cell", lambda: client.execute_interactive("1 + 1", output_hook=lambda _: None, timeout=60))
    client.stop_channels()
    manager.shutdown_kernel()
