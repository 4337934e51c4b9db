"""Tests of the package with the program: what each writes the other reads, and what is damaged is refused.

    python package.py FIXTURES

runs in an empty folder, with the program on PATH.
"""

import concurrent.futures
import json
import pathlib
import shutil
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

import microtome
from microtome._files import Tensors

FIXTURES = pathlib.Path(sys.argv[1])
HERE = pathlib.Path()


def script(name, text):
    (HERE / f"{name}.rhai").write_text(text, encoding="utf-8")
    return f"{name}.rhai"


def refused(kind, call, words=""):
    try:
        call()
    except kind as error:
        assert words in str(error), f"expected {words!r}, found {str(error)!r}"
    else:
        raise AssertionError(f"expected {kind.__name__} {words!r}, found no error")


def tables():
    run = microtome.run(
        script(
            "tables",
            """
            let n = arg("n", 3);
            let t = table([["a, \\"b\\"\\nc", 1, 0.5, true], ["ü 🦀", (), (), ()], ["", -2, 0.0 / 0.0, false]].extract(0..n),
                #{ columns: ["name", "n", "loss", "alive"] });
            let none = table([], #{ columns: ["x"] });
            for ending in ["arrow", "arrows", "feather", "parquet", "csv"] { t.save(`t.${ending}`); }
            table([["a", 1]], #{ columns: ["s", "n"] }).save("t.json");
            print("printed");
            """,
        ),
        {"n": 3},
        table="t",
    )
    assert run.ok and run.printed == "printed\n" and run.arguments == {"n": "3"}, run
    wanted = {"name": ['a, "b"\nc', "ü 🦀", ""], "n": [1, None, -2], "alive": [True, None, False]}
    assert len(run.tables()) == 5, run.tables()
    for name, table in {"--table": run.table, **run.tables()}.items():
        assert table.column_names == ["name", "n", "loss", "alive"], (name, table.schema)
        loss = table.column("loss").to_pylist()
        assert loss[:2] == [0.5, None] and np.isnan(loss[2]), (name, loss)
        assert {key: table.column(key).to_pylist() for key in wanted} == wanted, (name, table)
    assert microtome.read_table("out/t.json").to_pylist() == [{"s": "a", "n": 1}]
    assert microtome.run("tables.rhai", table="none").table.num_rows == 0

    made = {"text": ["x", None, "z"], "n": [1, 2, None], "x": [0.5, 1.5, None], "b": [True, False, None]}
    for library in (pa.table(made), pl.DataFrame(made), pd.DataFrame({k: pd.array(v) for k, v in made.items()}), made):
        for ending in ("arrow", "arrows", "feather", "parquet", "csv", "json", "jsonl"):
            path = microtome.write_table(library, f"made.{ending}")
            assert microtome.read_table(path).to_pydict() == made, (type(library), ending)
            seen = microtome.run(script("seen", f'let t = data::table("{path}"); print(t.rows);'), table="t")
            assert seen.table.to_pydict() == made, (type(library), ending, seen.table)
    refused(ValueError, lambda: microtome.write_table(made, "made.xls"), "whose name ends in .arrow")
    refused(FileNotFoundError, lambda: microtome.read_table("nowhere.arrow"))
    refused(TypeError, lambda: microtome.write_table([1], "made.arrow"), "found list")
    whole = (HERE / "made.arrow").read_bytes()
    for cut in (0, 4, 8, 100, len(whole) - 1):
        (HERE / "cut.arrow").write_bytes(whole[:cut])
        refused(microtome.FormatError, lambda: microtome.read_table("cut.arrow"), "cut.arrow")
        refused(
            microtome.MicrotomeError,
            lambda: microtome.run(script("cut", 'data::table("cut.arrow")')),
            "cannot be read as Arrow",
        )


def dictionaries():
    names = sorted(path.parent.name for path in (FIXTURES / "saes").glob("*/expected.safetensors"))
    calls = "".join(
        f"""
        one.call("{name}", sae::load("{FIXTURES / "saes" / name}{"/dict.safetensors" if name.startswith("cunningham") else ""}"));
        """
        for name in names
    )
    run = microtome.run(
        script(
            "dictionaries",
            f"""
            let one = |name, s| {{
                let x = tensor::load(`{FIXTURES}/saes/${{name}}/expected.safetensors`).x;
                s.save(`saes/${{name}}`);
                tensor::save(`codes/${{name}}.safetensors`, #{{ x: x, codes: s.encode(x), recon: s.reconstruct(x) }});
            }};
            {calls}
            let x = tensor::randn([50, 16], #{{ seed: 1 }});
            for kind in ["matching_pursuit", "soft_topk", "gated", "topk"] {{
                let s = sae::fit(x, #{{ kind: kind, d_sae: 24, steps: 3 }} + if kind == "gated" {{ #{{ target: 4 }} }} else {{ #{{ k: 4 }} }});
                s.save(`saes/fit-${{kind}}`);
                tensor::save(`codes/fit-${{kind}}.safetensors`, #{{ x: x, codes: s.encode(x), recon: s.reconstruct(x) }});
            }}
            """,
        )
    )
    assert run.ok
    kinds = set()
    for path in sorted(pathlib.Path("out/codes").iterdir()):
        ours = Tensors(path)
        s = microtome.Dictionary(pathlib.Path("out/saes") / path.stem)
        x = ours.floats("x")
        for name, found in {"codes": s.encode(x), "recon": s.reconstruct(x)}.items():
            wanted = ours.floats(name)
            assert np.allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max()), (
                path.stem,
                name,
                np.abs(found - wanted).max(),
            )
        table = s.code_table(x)
        assert table.num_rows == np.count_nonzero(ours.floats("codes")), path.stem
        kinds.add(s.activation)
    assert kinds == {"relu", "topk", "jumprelu", "gated", "matching_pursuit", "soft_topk"}, kinds
    refused(ValueError, lambda: s.encode(np.zeros((2, 3))), "expected activations of width")
    file = next(pathlib.Path("out/saes").rglob("dictionary.safetensors"))
    whole = file.read_bytes()
    for cut in (0, 7, 20, len(whole) // 2, len(whole) - 1):
        (HERE / "cut.safetensors").write_bytes(whole[:cut])
        refused(microtome.FormatError, lambda: microtome.Dictionary("cut.safetensors"), "cut.safetensors")
    (HERE / "huge.safetensors").write_bytes(b"\xff" * 8 + whole[8:])
    refused(microtome.FormatError, lambda: microtome.Dictionary("huge.safetensors"), "a header of")
    (HERE / "later.safetensors").write_bytes(whole.replace(b"microtome dictionary, 1", b"microtome dictionary, 2"))
    refused(microtome.FormatError, lambda: microtome.Dictionary("later.safetensors"), "expected the version")


def stores():
    run = microtome.run(
        script(
            "stores",
            """
            let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
            let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
            let text = data::texts((0..600).map(|i| "a b c d d c b a d a b b c a d d"));
            for dtype in ["f32", "f16", "bf16"] {
                let s = data::harvest(m, "resid_post.*", text, #{ dir: `store-${dtype}`, dtype: dtype, shard_rows: 50, context: 8 });
                tensor::save(`rows-${dtype}.safetensors`, #{ x: s.activations("resid_post.1", 0, s.rows) });
            }
            data::harvest(m, "resid_post.0", text, #{ dir: "skipped", without_tokens: ["a"], context: 8 });
            """,
        )
    )
    assert run.ok
    for dtype in ("f32", "f16", "bf16"):
        store = microtome.Store(f"out/store-{dtype}")
        assert store.sites == ["resid_post.0", "resid_post.1"] and store.dtype == dtype and len(store._shards) > 2
        rows = store["resid_post.1"]
        wanted = Tensors(f"out/rows-{dtype}.safetensors").floats("x")
        assert np.array_equal(rows[:], wanted) and np.array_equal(rows[45:107:3], wanted[45:107:3])
        assert np.array_equal(rows[-1], wanted[-1]) and np.asarray(rows).shape == rows.shape == wanted.shape
        assert np.allclose(store.statistics("resid_post.1")["mean"], wanted.mean(0), atol=1e-2)
        plain = np.concatenate(list(store.batches("resid_post.1", 7)))
        assert np.array_equal(plain, wanted[: len(plain)]) and len(wanted) - len(plain) < 7
        drawn = np.concatenate(list(store.batches("resid_post.1", len(wanted), seed=3)))
        assert not np.array_equal(drawn, wanted) and np.array_equal(np.sort(drawn, 0), np.sort(wanted, 0))
        for site in store.sites:
            cached = store.to_saelens(f"cached-{dtype}-{site}", site)
            theirs = microtome.Store.from_saelens(cached, f"theirs-{dtype}-{site}", model="a model")
            assert theirs.sites == [site] and np.array_equal(theirs[site][:], store[site][:])
            assert all(np.array_equal(theirs.origins(name), store.origins(name)) for name in ("tokens", "positions"))
    seen = microtome.run(
        script(
            "theirs",
            """
            let s = data::store("theirs-f32-resid_post.1");
            s.verify();
            show(s);
            run::check(s.sites == ["resid_post.1"] && s.rows == arg("rows", 0), "it has all rows of the site");
            run::check(sae::fit(s, #{ k: 2, d_sae: 16, steps: 3 }).d_in == 8, "a dictionary is fitted to it");
            """,
        ),
        {"rows": len(store)},
    )
    assert seen.ok, seen.checks
    refused(
        microtome.MicrotomeError,
        lambda: microtome.run(script("wrong", 'sae::fit(data::store("theirs-f32-resid_post.1"), #{ site: "z.0", k: 2 })')),
        "does not hold `z.0`",
    )
    refused(
        ValueError,
        lambda: microtome.Store("out/skipped").to_saelens("never", "resid_post.0"),
        "without skipping tokens",
    )
    refused(KeyError, lambda: store["z.0"], "it holds resid_post.0, resid_post.1")
    refused(FileExistsError, lambda: store.to_saelens("cached-f32-resid_post.0", "resid_post.0"))
    refused(FileExistsError, lambda: microtome.Store.from_saelens(cached, "theirs-f32-resid_post.0"))
    tokens = store.contexts()
    assert tokens.shape == (len(store) // 8, 8)
    assert np.array_equal(np.fromfile(store.to_sparsify("tokens.bin"), "<u2").reshape(-1, 8), tokens)
    # Damaged ones.
    for name, change, words in [
        ("kind", lambda m: m.update(kind="microtome activations, 2"), "found 'microtome activations, 2'"),
        ("complete", lambda m: m.update(complete=False), "is not complete"),
        ("rows", lambda m: m["shards"][1].update(rows=7), "as the manifest says"),
    ]:
        shutil.copytree("out/store-f32", f"damaged-{name}")
        path = pathlib.Path(f"damaged-{name}/manifest.json")
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))
        refused(microtome.FormatError, lambda folder=f"damaged-{name}": microtome.Store(folder), words)
    file = pathlib.Path(cached) / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:-300])
    refused(microtome.FormatError, lambda: microtome.Store.from_saelens(cached, "never"), str(file))
    assert not pathlib.Path("never/manifest.json").exists()


def circuits():
    path = FIXTURES / "circuits" / "tree.json"
    tree = microtome.Tree.read(path)
    assert tree.target["feature"] == 7 and [edge["effect"] for edge in tree.children()] == [0.5, -0.125]
    assert tree.node_table().column("name").to_pylist() == ["resid_post.1/7", "resid_post.0/3", "resid_post.0/5"]
    assert tree.edge_table().column("cosine").to_pylist() == [0.25, 0.0]
    tree.nodes[1]["meaning"] = "an opening bracket"
    tree.write("tree.json")
    run = microtome.run(
        script(
            "tree",
            'let c = circuit::load("tree.json"); c.save("again.json"); run::check(c.nodes[1].meaning == "an opening bracket", "it is there");',
        )
    )
    assert run.ok, run.checks
    again = microtome.Graph.read("out/again.json")
    assert again.edges == tree.edges and all(dict(new, **old) == new for new, old in zip(again.nodes, tree.nodes))
    for text, words in [
        ("[]", "found other JSON"),
        ("{", "expected the file of a circuit"),
        ('{"title": "x"}', "a circuit with `model`"),
    ]:
        (HERE / "bad.json").write_text(text)
        refused(microtome.FormatError, lambda: microtome.Graph.read("bad.json"), words)
    data = json.loads(path.read_text())
    data["edges"][0]["to"] = 9
    refused(microtome.FormatError, lambda: microtome.Graph(data), "between 3 nodes")


def runs():
    source = 'report("page", ["<b>Words</b>", plot::line([1, 3, 2]), table([#{ a: 1 }])]).save(); run::check(1 > 2, "one is more than two");'
    run = microtome.run(script("page", source), options=["--seed", 7])
    assert not run.ok and run.checks == [("one is more than two", False)] and run.data["seed"] == 7
    report = run.report()
    assert (report.name, [item["type"] for item in report.items]) == ("page", ["text", "chart", "table"])
    assert report.tables()[0].to_pydict() == {"a": [1]} and [p.name for p in report.pictures] == ["figure-1.svg"]
    shown = report._repr_html_()
    assert (
        shown.startswith('<iframe sandbox="allow-scripts"') and "<b>Words" not in shown and shown == run._repr_html_()
    )
    assert microtome.Report("out/page/index.html").name == microtome.Run("out/page/run.json").report().name == "page"
    (HERE / "odd").mkdir()
    (HERE / "odd" / "run.json").write_text("{}")
    refused(microtome.FormatError, lambda: microtome.Run("odd"), "found no `version`")
    refused(microtome.MicrotomeError, lambda: microtome.run(script("fails", 'throw "no";')), "no")
    refused(microtome.MicrotomeError, lambda: microtome.run("page.rhai", table="nothing"), "no variable `nothing`")
    refused(microtome.MicrotomeError, lambda: microtome.run("page.rhai", {"x": 1}), "never asks for `--x`")
    # Two at once: each in a folder of its own, and in one folder the second is refused while the first goes on.
    long = script("long", 'let x = 0; for i in 0..arg("n", 2_000_000) { x += i; } let t = table([#{ x: x }]);')
    with concurrent.futures.ThreadPoolExecutor() as pool:
        apart = [pool.submit(microtome.run, long, {"n": 10}, table="t", out=f"out-{i}") for i in range(2)]
        assert [one.result().table.to_pydict() for one in apart] == [{"x": [45]}] * 2
        together = [pool.submit(microtome.run, long, table="t") for _ in range(2)]
        errors = [one.exception() for one in together]
    assert sum(error is None for error in errors) >= 1, errors
    assert all(error is None or "another run" in str(error) for error in errors), errors


tables()
dictionaries()
stores()
circuits()
runs()
print("right")
