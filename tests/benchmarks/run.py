"""How fast vizkit is, beside the plainest other way to do the same, both measured in one run.

`python -m tests.benchmarks [NAME ...]` or `python tests/benchmarks/run.py [NAME ...]`; without names, all but those marked
`(on request)`. Figures are medians; what is compared runs in turns, so that a busy machine slows both sides alike. Only the
ratios mean something elsewhere.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

LAYERS_MOBILENET = (
    "Conv1_relu",
    "block_2_add",
    "block_4_add",
    "block_6_expand_relu",
    "block_9_add",
    "block_12_add",
    "block_14_add",
    "out_relu",
)
LAYERS_VGG = ("block1_conv2", *(f"block{b}_{part}" for b in (2, 3, 4) for part in ("conv2", "pool")), "block5_conv3")

VIZKIT = ("-c", "from vizkit.cli import entry; entry()")
COLD = """
import sys, time
began = time.perf_counter()
import vizkit as vk
class Watch(vk.Progress):
    first = None
    def partial(self, result):
        self.first = self.first or time.perf_counter() - began
watch = Watch()
vk.run("search", dataset="photo-crops", progress=watch)
print(watch.first, time.perf_counter() - began)
"""


def medians(runs: int, **ways: Callable[[], Any]) -> dict[str, float]:
    """Seconds that each way takes: medians, run in turns, after one turn that does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(runs + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if turn:
                times[name].append(time.perf_counter() - began)
    return {name: float(np.median(t)) for name, t in times.items()}


def told(seconds: float) -> str:
    """A time as a person reads it."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.1f} ms"


def process(*command: str) -> Callable[[], Any]:
    """A command in a process of its own, from the interpreter that runs this."""
    return lambda: subprocess.run([sys.executable, *command], check=True, capture_output=True)


@contextmanager
def empty_places() -> Iterator[None]:
    """An empty cache and home, for this process and its children."""
    with tempfile.TemporaryDirectory() as folder:
        before = dict(os.environ)
        os.environ.update(VIZKIT_CACHE=f"{folder}/cache", VIZKIT_HOME=f"{folder}/home")
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def start() -> None:
    """`vizkit --help`, and how much of it is Python's own start."""
    t = medians(7, help=process(*VIZKIT, "--help"), python=process("-c", "pass"))
    print(f"vizkit --help: {told(t['help'])}, of which Python's own start {told(t['python'])}  (target: < 0.3 s)")


def listing() -> None:
    """`vizkit list` of all four kinds."""
    ways = {n: process(*VIZKIT, "list", n, "--json") for n in ("models", "datasets", "techniques", "layers")}
    t = medians(5, **ways)
    print("vizkit list, a process each: " + ", ".join(f"{n} {told(s)}" for n, s in t.items()))


def warm() -> None:
    """A search on features that are in the cache, inside a process."""
    import vizkit as vk

    names = list(vk.Workspace().dataset("photo-crops").ids())
    vk.run("search", dataset="photo-crops")
    queries = iter(names[1:])
    t = medians(
        15,
        same=lambda: vk.run("search", dataset="photo-crops"),
        query=lambda: vk.run("search", dataset="photo-crops", query=f"photo-crops/{next(queries)}"),
        manhattan=lambda: vk.run("search", dataset="photo-crops", query=f"photo-crops/{next(queries)}", metric="manhattan"),
    )
    print(
        f"cached search, 202 images: the same again {told(t['same'])}, another query {told(t['query'])},"
        f" by manhattan {told(t['manhattan'])}  (target: < 50 ms)"
    )


def search() -> None:
    """Exact search against one matrix product and argpartition."""
    from vizkit_search.distance import Index, distances

    for count in (10_000, 100_000):
        rng = np.random.default_rng(0)
        features = np.maximum(rng.normal(size=(count, 512)), 0).astype(np.float32)
        query = features[0].copy()
        index = Index(features, "cosine")
        t = medians(
            21,
            plain=lambda: np.argpartition(-(features @ query), 15)[:15],  # noqa: B023
            exact=lambda: index.ends(query, 16),  # noqa: B023
            first=lambda: Index(features, "cosine").ends(query, 16),  # noqa: B023
        )
        full = medians(3, full=lambda: distances(features, query, "cosine"))["full"]  # noqa: B023
        print(
            f"exact search, {count:,} x 512: {t['exact'] / t['plain']:.2f}x the product and argpartition"
            f" ({told(t['exact'])} / {told(t['plain'])}; target <= 1.3x), with the norms computed anew"
            f" {t['first'] / t['plain']:.2f}x ({told(t['first'])}), all in float64 {told(full)}"
        )


def _extraction(adapter: Any, layers: tuple[str, ...], count: int, runs: int, target: str) -> None:
    """Eight layers in one pass, mean over positions, against `predict` of eight models that end in them."""
    import keras

    import vizkit as vk

    size = (*adapter.image_size, 3)
    images = vk.ImageBatch.from_pixels(np.random.default_rng(0).integers(0, 256, (count, *size), np.uint8))
    x, model = adapter.preprocess(images.pixels), adapter.keras_model()
    parts = [keras.Model(model.input, model.get_layer(name).output) for name in layers]

    def eight() -> None:
        for part in parts:
            part.predict(x, verbose=0)

    t = medians(runs, ours=lambda: adapter.activations(images, layers, pool="mean"), eight=eight)
    print(
        f"eight layers of {adapter.name}, {count} images: one pass is {t['eight'] / t['ours']:.1f}x as fast as 8 x predict"
        f" ({count / t['ours']:.1f} / {count / t['eight']:.1f} images/s{target})"
    )


def extraction() -> None:
    """Eight layers in one pass: efficientnet-lite0 and MobileNetV2."""
    import vizkit as vk

    _hush()

    lite0: Any = vk.Registry().model("efficientnet-lite0")
    _extraction(lite0, lite0.curated, 32, 5, "")
    import keras

    net = keras.applications.MobileNetV2(weights=None)
    _extraction(vk.GivenModel(net, preprocess=_scale), LAYERS_MOBILENET, 32, 5, "; target >= 10x")


def vgg() -> None:
    """(on request) Eight layers in one pass: VGG16."""
    _hush()
    import keras

    import vizkit as vk

    net = keras.applications.VGG16(weights=None)
    _extraction(vk.GivenModel(net, preprocess=_scale), LAYERS_VGG, 16, 3, "; target >= 6x")


def cold() -> None:
    """From a new process and an empty cache to the first ranked photographs, and to all of them."""
    found = []
    for _ in range(3):
        with empty_places():
            done = subprocess.run([sys.executable, "-c", COLD], check=True, capture_output=True, text=True)
        found.append([float(n) for n in done.stdout.split()])
    first, whole = np.median(found, axis=0)
    tensorflow = medians(2, alone=process("-c", "import tensorflow"))["alone"]
    print(
        f"cold start: first photographs ranked after {told(first)}, all 202 after {told(whole)};"
        f" `import tensorflow` alone {told(tensorflow)}  (target: < 8 s)"
    )


def _hush() -> None:
    """Import TensorFlow without its chatter."""
    from vizkit.quiet import quiet_tensorflow

    with quiet_tensorflow():
        logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _scale(pixels: Any) -> Any:
    return pixels / np.float32(127.5) - np.float32(1)


def machine() -> str:
    """Processor, cores, threads and versions."""
    names = ("numpy", "tensorflow", "keras")
    versions = ", ".join(f"{n} {importlib.metadata.version(n)}" for n in names)
    cpu = next(
        (s.split(":")[1].strip() for s in _lines("/proc/cpuinfo") if s.startswith("model name")), platform.processor()
    )
    flags = next((s.split(":")[1].split() for s in _lines("/proc/cpuinfo") if s.startswith("flags")), [])
    vector = next((f for f in ("avx512f", "avx2", "avx") if f in flags), "")
    threads = {k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS") or k == "OPENBLAS_CORETYPE"}
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    return (
        f"{cpu} {vector}, {os.cpu_count()} cores, threads {threads or 'as the libraries choose'}, load {load};"
        f" Python {platform.python_version()}, {versions}"
    )


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text("utf-8").splitlines()
    except OSError:
        return []


BENCHMARKS = {b.__name__: b for b in (start, listing, warm, search, extraction, vgg, cold)}


def main() -> None:
    """Run the named benchmarks, or all."""
    asked = sys.argv[1:] or [n for n, b in BENCHMARKS.items() if "(on request)" not in (b.__doc__ or "")]
    if unknown := [n for n in asked if n not in BENCHMARKS]:
        sys.exit(f"There is no benchmark {unknown[0]!r}. There are: {', '.join(BENCHMARKS)}.")
    print(machine())
    with empty_places():
        for name in asked:
            BENCHMARKS[name]()
            sys.stdout.flush()


if __name__ == "__main__":
    main()
