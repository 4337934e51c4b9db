"""What a notebook needs of a kernel, by jupyter_client: order, interruption, restart, questions, progress, two clients."""

import json
import os
import signal
import socket
import sys
import time

from jupyter_client import KernelManager

manager = KernelManager(kernel_name="microtome")
manager.start_kernel(stderr=open("kernel.log", "w"))


def connected():
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    return client


client = connected()


def run(code, client=client, **options):
    """The reply to a cell and what all clients are told meanwhile, in its order."""
    number = client.execute(code, **options)
    told = told_of(number, client)
    while True:
        reply = client.get_shell_msg(timeout=60)
        if reply["parent_header"]["msg_id"] == number:
            return reply["content"], told


def told_of(number, client):
    told = []
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != number:
            continue
        told.append((message["msg_type"], message["content"]))
        if told[-1] == ("status", {"execution_state": "idle"}):
            return told


def kinds(told):
    return [kind for kind, _ in told]


# What a cell prints, shows and answers comes in its order.
reply, told = run('print("a"); print("b"); show([1, 2]); print("c"); 3')
assert reply["status"] == "ok" and reply["execution_count"] == 1, reply
assert kinds(told) == ["status", "execute_input", "stream", "display_data", "stream", "execute_result", "status"], told
assert told[2][1] == {"name": "stdout", "text": "a\nb\n"}, told
assert told[5][1]["data"] == {"text/plain": "3"} and told[5][1]["execution_count"] == 1, told

# An error is drawn as at the prompt, in colour, and the cells behind it are not run.
first = client.execute("let kept = 1;\nnope + 1")
second = client.execute("2 + 2")
replies = {}
while len(replies) < 2:
    message = client.get_shell_msg(timeout=60)
    replies[message["parent_header"]["msg_id"]] = message["content"]
error = replies[first]
assert error["status"] == "error" and error["ename"] == "syntax" and "nope" in error["evalue"], error
drawn = "\n".join(error["traceback"])
assert "\x1b[" in drawn and "<2>:2:1" in drawn and "here" in drawn, drawn
assert replies[second]["status"] == "aborted", replies[second]

# Questions and commands of the prompt work in a cell.
assert "tensor::zeros" in run("?tensor::zeros")[1][2][1]["text"]
assert "took" in str(run(":time 1 + 1")[1])
assert run(":quit")[0]["status"] == "error"
run("let saved = 7;")
run(':save session.ipynb')
assert "let saved = 7;" in open("out/session.ipynb").read()

# What a client wants to know beside a cell leaves the session as it is.
reply, _ = run("1", user_expressions={"good": "saved + 1", "bad": "nope"})
assert reply["user_expressions"]["good"]["data"]["text/plain"] == "8", reply
assert reply["user_expressions"]["bad"]["status"] == "error", reply

# An interruption, by a message or by a signal, keeps the session.
for interrupt in [manager.interrupt_kernel, lambda: os.kill(manager.provisioner.pid, signal.SIGINT)]:
    number = client.execute("let z = 0; loop { z += 1; }")
    time.sleep(0.5)
    begun = time.monotonic()
    interrupt()
    while True:
        reply = client.get_shell_msg(timeout=30)
        if reply["parent_header"]["msg_id"] == number:
            break
    assert reply["content"]["ename"] == "interrupted", reply
    assert time.monotonic() - begun < 5
    assert run("saved")[1][2][1]["data"]["text/plain"] == "7"

# Progress is one output that is updated in place. The fit lasts some seconds on a fast machine: what is short is not shown.
_, told = run('let m = model::load("tiny"); let s = sae::fit(m, "resid_post.0", data::text("sample", #{ tokens: 4000 }), #{ d_sae: 256, k: 8, steps: 800, batch: 512 });')
shown = [content["transient"]["display_id"] for kind, content in told if kind == "display_data"]
updated = [content["transient"]["display_id"] for kind, content in told if kind == "update_display_data"]
assert len(shown) == 1 and set(updated) == set(shown), (shown, updated)

# Who explains a feature is asked on the socket for that.
explained = """let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
let texts = []; texts.pad(40, "to be or not to be");
let s = sae::fit(m, "resid_post.0", data::texts(texts), #{ d_sae: 4, k: 1, steps: 2, seed: 1 });
features::explain(m, s.feature(0), data::texts(texts), #{ explainer: "person" })"""
number = client.execute(explained, allow_stdin=True)
question = client.get_stdin_msg(timeout=60)
assert question["msg_type"] == "input_request", question
client.input("[EXPLANATION]: it is a test")
answer = dict(told_of(number, client))["execute_result"]["data"]["text/plain"]
assert "it is a test" in answer, answer
client.get_shell_msg(timeout=60)
reply, _ = run(explained, allow_stdin=False)
assert "takes no questions" in reply["evalue"], reply

# Two clients at once see each other's cells, and each gets its own answers.
other = connected()
mine, his = client.execute("saved + 1"), other.execute("saved + 2")
for who, number, value in [(client, mine, "8"), (other, his, "9")]:
    while True:
        reply = who.get_shell_msg(timeout=60)
        if reply["parent_header"]["msg_id"] == number:
            break
    assert reply["content"]["status"] == "ok", reply
other.stop_channels()

# Wrong signatures and other versions of the protocol get a clear answer, and the session lives on.
key = client.session.key
client.session.key = b"another"
client.kernel_info()
client.session.key = key
message = client.session.msg("execute_request", {"code": "1", "silent": False})
message["header"]["version"] = "6.0"
client.shell_channel.send(message)
while True:
    reply = client.get_shell_msg(timeout=60)
    if reply["parent_header"]["msg_id"] == message["header"]["msg_id"]:
        break
assert "found 6.0" in reply["content"]["evalue"], reply
message = client.session.msg("nonsense_request", {})
client.shell_channel.send(message)
while True:
    reply = client.get_shell_msg(timeout=60)
    if reply["parent_header"]["msg_id"] == message["header"]["msg_id"]:
        break
assert reply["msg_type"] == "nonsense_reply" and reply["content"]["status"] == "error", reply

# Peers that hang up in the middle, at every byte of a handshake, and others that speak another language.
port = manager.shell_port
greeting = b"\xff" + b"\x00" * 8 + b"\x7f\x03\x01NULL" + b"\x00" * 48
ready = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
for end in list(range(0, len(greeting + ready), 7)) + [len(greeting + ready)]:
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall((greeting + ready)[:end])
for bytes in [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, greeting + ready + b"\x02" + b"\xff" * 8]:
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(bytes)
        peer.settimeout(20)
        try:
            while peer.recv(4096):
                pass
        except ConnectionResetError:
            pass
for _ in range(int(sys.argv[1])):
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(greeting + ready)
        peer.recv(64)
assert run("saved")[0]["status"] == "ok"
log = open("kernel.log").read()
assert "signature" in log and "expected the greeting of ZMTP" in log, log

# A restart forgets the session and nothing else.
manager.restart_kernel(now=False)
client.wait_for_ready(timeout=60)
reply, _ = run("saved")
assert reply["ename"] == "syntax" and reply["execution_count"] == 1, reply
manager.shutdown_kernel()
assert not manager.is_alive()
print("answered")
