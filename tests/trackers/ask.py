"""Starts the servers of TensorBoard and MLflow on what trackers wrote, and asks both for every training as their pages do:
`ask.py FOLDER`."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

# Seconds until a server has started and read everything.
PATIENCE = 240


@contextmanager
def server(words, address):
    """Runs a program of this Python until the end of the block; `address` finds where it listens."""
    environment = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "PYTHONUNBUFFERED": "1"}
    with tempfile.NamedTemporaryFile("w") as output:
        log = Path(output.name)
        # MLflow has workers of its own, which end with their group.
        process = subprocess.Popen(
            [sys.executable, "-m", *words], stdout=output, stderr=output, env=environment, start_new_session=True
        )
        try:
            yield until(lambda: address(log.read_text()), process)
        except Exception:
            print(log.read_text(), file=sys.stderr)
            raise
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(find, process=None):
    """Returns what is found as soon as there is something."""
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE:
        assert process is None or process.poll() is None, "the server has ended"
        try:
            if found := find():
                return found
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.1)
    raise TimeoutError("the server did not say what was waited for")


def ask(address, body=None):
    """Returns the JSON of an answer, or its text."""
    request = urllib.request.Request(address, headers={"Content-Type": "application/json"})
    request.data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
        return json.loads(text) if "json" in answer.headers["Content-Type"] else text


def of_tensorboard(folder):
    """Steps of the loss of each training, and its settings in the HPARAMS tab, by the name of its run."""
    trainings = {f"{path.parent.name}/{path.name}" for path in folder.glob("tensorboard/*/*")}
    words = ["tensorboard.main", "--logdir", str(folder / "tensorboard"), "--host", "127.0.0.1", "--port", "0"]
    listens = lambda log: (found := re.search(r"TensorBoard \S+ at (http://\S+)/ ", log)) and found[1]
    with server(words, listens) as page:
        until(lambda: set(ask(f"{page}/data/runs")) == trainings)
        assert "<html" in ask(f"{page}/").lower()
        series = lambda run: ask(f"{page}/data/plugin/scalars/scalars?tag=loss&run={urllib.request.quote(run, safe='')}")
        losses = {run: {step: loss for _, step, loss in series(run)} for run in trainings}
        wanted = {"startIndex": 0, "sliceSize": 1000, "allowedStatuses": ["STATUS_SUCCESS"]}
        groups = ask(f"{page}/data/plugin/hparams/session_groups", wanted)["sessionGroups"]
        settings = {session["name"]: group["hparams"] for group in groups for session in group["sessions"]}
    return losses, settings


def of_mlflow(folder):
    """Steps of the loss of each training, and its parameters, by the names of its run and its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = f"http://127.0.0.1:{port}"
    words = ["mlflow", "ui", "--backend-store-uri", str(folder / "mlruns"), "--host", "127.0.0.1", "--port", str(port)]
    is_well = lambda _: ask(f"{page}/health") == "OK" and page
    with server(words, is_well):
        assert "<html" in ask(f"{page}/").lower()
        (experiment,) = ask(f"{page}/api/2.0/mlflow/experiments/search", {"max_results": 100})["experiments"]
        wanted = {"experiment_ids": [experiment["experiment_id"]], "max_results": 1000}
        runs = {run["info"]["run_id"]: run for run in ask(f"{page}/api/2.0/mlflow/runs/search", wanted)["runs"]}
        losses = {}
        settings = {}
        for number, run in runs.items():
            tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
            if parent := tags.get("mlflow.parentRunId"):
                history = f"{page}/api/2.0/mlflow/metrics/get-history?metric_key=loss&run_id={number}"
                name = f"{runs[parent]['info']['run_name']}/{run['info']['run_name']}".replace(" ", "-")
                losses[name] = {metric["step"]: metric["value"] for metric in ask(history)["metrics"]}
                settings[name] = {param["key"]: param["value"] for param in run["data"]["params"]}
    return losses, settings


def main():
    folder = Path(sys.argv[1]).absolute()
    losses, compared = of_tensorboard(folder)
    stored, settings = of_mlflow(folder)
    assert losses.keys() == stored.keys() == compared.keys(), (losses.keys(), stored.keys(), compared.keys())
    for name, steps in stored.items():
        assert losses[name].keys() == steps.keys(), (name, losses[name], steps)
        for step, loss in steps.items():
            assert abs(losses[name][step] - loss) <= 1e-6 * abs(loss), (name, step, losses[name][step], loss)
        # Settings of the script are those of the run around it there.
        assert compared[name].keys() >= settings[name].keys(), (name, compared[name], settings[name])
    print(f"asked for {len(losses)} trainings")


main()
