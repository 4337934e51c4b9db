"""Reads what trackers wrote with the programs that it is for, and compares their numbers with each other and with the
histories of the script: `read.py FOLDER [HISTORIES]`, in the order of the trainings."""

import json
import math
import os
import sys
from pathlib import Path

# MLflow 3.13 and later open a file store only where that is asked for.
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"

import mlflow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata as hparams
from wandb.proto.wandb_internal_pb2 import Record
from wandb.sdk.internal.datastore import DataStore


def of_tensorboard(folder):
    """Series of each training, by the names of its run and its own."""
    found = {}
    for path in sorted(folder.glob("tensorboard/*/*")):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
        settings = events.Tensors("settings")[0].tensor_proto.string_val[0].decode()
        assert settings.startswith("| setting | value |\n|---|---|\n"), settings
        assert "| steps | " in settings, settings
        same_settings(events, [line[2:-2].split(" | ") for line in settings.splitlines()[2:]])
        series = {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
        found[path.parent.name, path.name] = series
    return found


def same_settings(events, rows):
    """Compares what the HPARAMS tab knows of a training, as its plugin reads it, with the rows of the settings' table."""
    content = events.PluginTagToContent(hparams.PLUGIN_NAME)
    begun = hparams.parse_session_start_info_plugin_data(content[hparams.SESSION_START_INFO_TAG])
    ended = hparams.parse_session_end_info_plugin_data(content[hparams.SESSION_END_INFO_TAG])
    assert ended.status == api_pb2.STATUS_SUCCESS and ended.end_time_secs >= begun.start_time_secs > 0, (begun, ended)
    assert begun.hparams.keys() == {name for name, _ in rows}, (begun, rows)
    for name, text in rows:
        value = begun.hparams[name]
        kind = value.WhichOneof("kind")
        found = getattr(value, kind)
        shown = {"number_value": lambda: float(text), "bool_value": lambda: text == "true", "string_value": lambda: text}
        assert found == shown[kind](), (name, text, value)


def of_mlflow(folder):
    client = mlflow.MlflowClient(tracking_uri=(folder / "mlruns").as_uri())
    (experiment,) = client.search_experiments()
    runs = {run.info.run_id: run for run in client.search_runs([experiment.experiment_id], max_results=1000)}
    found = {}
    for run in runs.values():
        assert run.info.status == "FINISHED" and run.info.end_time >= run.info.start_time, run.info
        parent = run.data.tags.get("mlflow.parentRunId")
        if parent is None:
            continue
        assert "steps" in run.data.params, run.data.params
        histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        series = {name: {metric.step: metric.value for metric in history} for name, history in histories.items()}
        found[runs[parent].info.run_name, run.info.run_name] = series
    return found


def of_wandb(folder):
    found = {}
    for path in folder.glob("wandb/offline-run-*/run-*.wandb"):
        store = DataStore()
        store.open_for_scan(str(path))
        records = []
        while (data := store.scan_data()) is not None:
            record = Record()
            record.ParseFromString(data)
            records.append(record)
        run = records[0].run
        assert path.name == f"run-{run.run_id}.wandb" and path.parent.name.endswith(run.run_id), path
        assert (path.parent / "files").is_dir()
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        assert "steps" in config, config
        assert [record.num for record in records] == list(range(1, len(records) + 1))
        assert [record.WhichOneof("record_type") for record in records[-2:]] == ["summary", "exit"]
        assert records[-1].exit.exit_code == 0
        series = {}
        values = {}
        for record in records[1:-2]:
            values = {item.key: json.loads(item.value_json) for item in record.history.item}
            assert values["_step"] == record.history.step.num and values["_runtime"] >= 0, values
            for name, value in values.items():
                if not name.startswith("_"):
                    series.setdefault(name, {})[values["_step"]] = value
        assert {item.key: json.loads(item.value_json) for item in records[-2].summary.update} == values
        found[run.run_group, run.display_name] = series
    return found


def of_history(table):
    """Series of the table of a history that has a row for each step."""
    found = {}
    for row in table["rows"]:
        cells = dict(zip(table["columns"], row))
        for name, value in cells.items():
            if name not in ("step", "tokens", "rows") and value is not None:
                found.setdefault(name, {})[cells["step"]] = value
    return found


def compare(what, found, expected, relative):
    assert found.keys() == expected.keys(), (what, found.keys(), expected.keys())
    for name, numbers in expected.items():
        assert found[name].keys() == numbers.keys(), (what, name, found[name], numbers)
        for step, number in numbers.items():
            near = math.isclose(found[name][step], number, rel_tol=relative, abs_tol=1e-30)
            assert near, (what, name, step, found[name][step], number)


def main():
    folder = Path(sys.argv[1])
    [events, store, offline] = [of(folder) for of in (of_tensorboard, of_mlflow, of_wandb)]
    # Names of folders have `-` where the others have blanks.
    plain = lambda found: {(run, name.replace(" ", "-")): series for (run, name), series in found.items()}
    [store, offline] = [plain(store), plain(offline)]
    assert events.keys() == store.keys() == offline.keys(), (events.keys(), store.keys(), offline.keys())
    for name in store:
        compare(("mlflow and wandb", name), store[name], offline[name], 0)
        # Numbers of 32 bits.
        compare(("tensorboard", name), events[name], store[name], 1e-6)
    if len(sys.argv) > 2:
        histories = json.loads(Path(sys.argv[2]).read_text())
        assert len(histories) == len(store), (len(histories), store.keys())
        for name, table in zip(sorted(store), histories):
            # The losses of a descent are a tensor of 32 bits.
            compare(("history", name), store[name], of_history(table), 1e-6)
    print(f"read {len(store)} trainings: {' '.join(name for _, name in sorted(store))}")


main()
