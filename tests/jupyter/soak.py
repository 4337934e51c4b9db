"""Clients that come and go: each asks on its own connections, hears the answer on two of them, and leaves, every third in
the middle. The kernel must hold no more sockets than before, and next to no more memory."""

import json
import os
import sys
import time

import zmq
from jupyter_client import KernelManager
from jupyter_client.session import Session

manager = KernelManager(kernel_name="microtome")
manager.start_kernel()
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=60)
# A client that is there and does not read would let messages wait for it.
client.stop_channels()
process = f"/proc/{manager.provisioner.pid}"


def state():
    sockets = len(os.listdir(f"{process}/fd"))
    memory = int(open(f"{process}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return sockets, memory


def answered(socket, session, number):
    while True:
        assert socket.poll(30_000), "no answer"
        _, frames = session.feed_identities(socket.recv_multipart())
        if session.deserialize(frames)["parent_header"].get("msg_id") == number:
            return


context = zmq.Context()
latencies = []


def come_and_go(number):
    session = Session(key=manager.session.key)
    shell, iopub, heartbeat = (context.socket(kind) for kind in (zmq.DEALER, zmq.SUB, zmq.REQ))
    for socket, port in [(shell, manager.shell_port), (iopub, manager.iopub_port), (heartbeat, manager.hb_port)]:
        socket.linger = 0
        socket.connect(f"tcp://127.0.0.1:{port}")
    iopub.subscribe(b"")
    heartbeat.send(b"ping")
    assert heartbeat.poll(30_000) and heartbeat.recv() == b"ping"
    begun = time.monotonic()
    asked = session.send(shell, "kernel_info_request", {})["header"]["msg_id"]
    if number % 3:
        answered(shell, session, asked)
        latencies.append(time.monotonic() - begun)
    for socket in (shell, iopub, heartbeat):
        socket.close()


count = int(sys.argv[1])
for number in range(count // 10):
    come_and_go(number)
before = state()
begun = time.monotonic()
for number in range(count):
    come_and_go(number)
took = time.monotonic() - begun
for _ in range(100):
    after = state()
    if after[0] <= before[0]:
        break
    time.sleep(0.1)
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=60)
assert client.execute("6 * 7", reply=True, timeout=30)["content"]["status"] == "ok"
latencies.sort()
middle, late = latencies[len(latencies) // 2], latencies[len(latencies) * 95 // 100]
print(json.dumps({
    "clients": count, "connections": 3 * count, "seconds": round(took, 1), "sockets": [before[0], after[0]],
    "MiB": [round(before[1], 1), round(after[1], 1)], "kernel_info ms": [round(1e3 * middle, 2), round(1e3 * late, 2)],
}))
assert after[0] <= before[0], (before, after)
assert after[1] < before[1] + 32, (before, after)
manager.shutdown_kernel()
print("soaked")
