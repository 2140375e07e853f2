"""The one path of a run: keys, cache, single flight, inner runs, progress, checkpoints, cancel, image references."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import Field

import vizkit as vk
from tests.inline import Blocks, Squares, plugin
from vizkit.jobs import Jobs
from vizkit.runs import prepare

Make = Callable[..., vk.Workspace]
CALLS: list[str] = []


@vk.technique("means", title="Means", question="How bright is each channel?")
def means(
    model: vk.ModelAdapter,
    images: vk.ImageBatch,
    *,
    layer: Annotated[str, vk.Layer()],
    scale: Annotated[float, Field(ge=0, le=10)] = 1.0,
) -> vk.Result:
    """Channel means."""
    CALLS.append("means")
    values = model.activations(images, [layer], pool="mean")[layer].values.mean(0) * scale
    return vk.Result(vk.Bars("Means", values, ("r", "g", "b")[: len(values)]))


@vk.technique("double", title="Doubled means", question="And doubled?", uses={"means"})
def double(model: vk.ModelAdapter, images: vk.ImageBatch, run: vk.Runner, *, scale: float = 1.0) -> vk.Result:
    """Twice the inner result."""
    CALLS.append("double")
    inner = run("means", scale=scale, layer="bright")
    (bars,) = inner.views
    assert isinstance(bars, vk.Bars)
    return vk.Result(vk.Bars("Doubled", 2 * np.asarray(bars.values), bars.labels))


@vk.technique("climb", title="Climb", question="How high?")
def climb(
    progress: vk.Progress,
    *,
    steps: Annotated[int, Field(ge=1, le=10_000), vk.Extends()] = 10,
    slope: float = 1.0,
    pause: float = 0.0,
) -> vk.Result:
    """Adds `slope` at every step; goes on from its checkpoint."""
    state = progress.restore() or {"height": np.zeros(1), "step": np.zeros(1, int)}
    height, start = float(state["height"][0]), int(state["step"][0])
    CALLS.append(f"climb from {start}")
    for step in range(start, steps):
        height += slope
        time.sleep(pause)
        progress.checkpoint(step + 1, {"height": np.array([height]), "step": np.array([step + 1])})
        preview = np.full((4, 4, 3), step % 256, np.uint8)
        progress.report(step + 1, steps, preview=preview, metrics={"height": height})
        if step == start:
            progress.partial(vk.Result(vk.Note(f"at {height:g}")))
    return vk.Result(vk.Note(f"{height:g}"))


@pytest.fixture(autouse=True)
def _forget() -> None:
    CALLS.clear()


@pytest.fixture
def blocks() -> Blocks:
    return Blocks()


@pytest.fixture
def ws(make_workspace: Make, blocks: Blocks) -> vk.Workspace:
    return make_workspace(plugin("inline", models=[blocks], datasets=[Squares()], techniques=[means, double, climb]))


def bars(result: vk.Result) -> list[float]:
    (view,) = result.views
    assert isinstance(view, vk.Bars)
    return [round(float(v), 6) for v in np.asarray(view.values)]


def red_mean(count: int = 10) -> float:
    """The mean of `cells` for red over Squares, by hand."""
    return float(np.mean([i * 7 / 255 for i in range(count)]) - 0.5)


# 1. Results and keys


def test_a_result_is_what_the_function_gives(ws: vk.Workspace) -> None:
    assert bars(ws.run("means", layer="cells", scale=2)) == [
        round(2 * red_mean(), 6),
        round(2 * (100 / 255 - 0.5), 6),
        -1.0,
    ]


def test_the_second_run_comes_from_the_cache(ws: vk.Workspace, blocks: Blocks) -> None:
    first = ws.run("means", layer="cells")
    again = ws.run("means", layer="cells")
    assert CALLS == ["means"]
    assert bars(first) == bars(again)
    assert first.key == again.key


def test_activations_are_computed_once_for_several_results(ws: vk.Workspace, blocks: Blocks) -> None:
    ws.run("means", layer="cells", scale=1)
    ws.run("means", layer="cells", scale=2)
    assert CALLS == ["means", "means"]
    assert blocks.passes == 1


def key(ws: vk.Workspace, **arguments: Any) -> str:
    inputs = {k: arguments.pop(k, None) for k in ("model", "dataset", "images")}
    return prepare(ws, arguments.pop("technique", "means"), **inputs, params=arguments).key


def test_the_key_changes_when_and_only_when_the_picture_could(make_workspace: Make, tmp_path: Path) -> None:
    here = make_workspace(
        plugin(
            "inline",
            models=[Blocks(), Blocks("gained", 2.0)],
            datasets=[Squares(), Squares(11, "eleven"), Squares(10, "shifted", 1)],
            techniques=[means, double],
        )
    )
    same = [
        key(here),
        key(here, scale=1),
        key(here, scale="1.0"),
        key(here, layer="bright"),
        key(here, model="blocks"),
        key(here, dataset="squares"),
    ]
    assert len(set(same)) == 2, "defaults said aloud are the same run; the first dataset by name is `eleven`"
    different = [
        key(here, dataset="squares"),
        key(here, dataset="squares", scale=2),
        key(here, dataset="squares", layer="cells"),
        key(here, dataset="squares", model="gained"),
        key(here, dataset="eleven"),
        key(here, dataset="shifted"),
        key(here, dataset="squares", technique="double"),
        key(here, images=["squares/0001"]),
        key(here, images=["squares/0002"]),
    ]
    assert len(set(different)) == len(different)


def test_the_key_covers_the_source_of_the_technique_and_of_those_it_uses(make_workspace: Make) -> None:
    def version(value: int) -> Any:
        class Host:
            @vk.hookimpl
            def register_techniques(self) -> list[Any]:
                return [means]

        host = Host()
        Host.__doc__ = str(value)
        return host

    import vizkit.registry as registry

    original = registry.source_hash
    keys = []
    for source in ("a", "b"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(registry, "source_hash", lambda p, s=source: s if type(p).__name__ == "Host" else original(p))
            ws = make_workspace(
                plugin("base", models=[Blocks()], datasets=[Squares()], techniques=[double]), version(1), cache=None
            )
            keys += [key(ws), key(ws, technique="double")]
    assert keys[0] != keys[2], "the technique's own plugin changed"
    assert keys[1] != keys[3], "a technique that it uses changed"


def test_the_key_covers_the_numeric_core_and_the_versions(ws: vk.Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(ws)
    module = sys.modules[prepare.__module__]
    monkeypatch.setattr(module, "core_hash", lambda: "another")
    changed = key(ws)
    monkeypatch.undo()
    monkeypatch.setattr(module, "versions", lambda more=(): {"tensorflow": "0"})
    assert len({before, changed, key(ws)}) == 3


def test_a_model_given_in_python_twice_is_traced_once(ws: vk.Workspace) -> None:
    import keras

    net = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(2, 3, name="conv")], name="mine")
    assert ws.model(net) is ws.model(net)
    others = [keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten()]) for _ in range(9)]
    for other in others:
        ws.model(other)
    assert len(ws._given) < len(others), "only a few are remembered"


def test_a_model_given_in_python_is_hashed_by_its_weights(ws: vk.Workspace, toy_net: Callable[..., Any]) -> None:
    import keras

    net = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(2, 3, name="conv")], name="mine")
    first = key(ws, model=net)
    assert key(ws, model=net) == first
    net.set_weights([w + 1 for w in net.get_weights()])
    assert key(ws, model=net) != first


def test_a_model_built_twice_has_the_same_paths_and_the_same_keys(ws: vk.Workspace) -> None:
    """Keras counts unnamed layers through the process: the second build's are called otherwise."""
    from tests.nets import unnamed_net

    first, second = unnamed_net(), unnamed_net()
    assert [layer.name for layer in first.layers] != [layer.name for layer in second.layers]
    a, b = vk.GivenModel(first), vk.GivenModel(second)
    assert [layer.path for layer in a.layers()] == [layer.path for layer in b.layers()]
    a.name = b.name = "mine"
    assert a.fingerprint() == b.fingerprint()
    path = a.layers()[-1].path
    assert key(ws, model=a, layer=path) == key(ws, model=b, layer=path)


def test_provenance_says_how_it_was_made(ws: vk.Workspace) -> None:
    made = ws.run("double", model="blocks", dataset="squares", scale=3).provenance
    assert made is not None
    assert made.technique == "double"
    assert made.params == {"scale": 3.0}
    assert [m["name"] for m in made.models] == ["blocks"]
    assert made.dataset is not None
    assert made.dataset["name"] == "squares"
    inner = ws.run("means", model="blocks", dataset="squares", layer="bright", scale=3)
    assert made.inner == (inner.key,)
    assert set(made.versions) >= {"tensorflow", "keras", "numpy"}


# 3. Techniques that use techniques


def test_an_inner_run_goes_through_the_cache(ws: vk.Workspace) -> None:
    outer = ws.run("double", scale=2)
    inner = ws.run("means", layer="bright", scale=2)
    assert CALLS == ["double", "means"], "the inner result was there already"
    assert bars(outer) == [2 * v for v in bars(inner)]


def test_an_inner_run_is_validated(make_workspace: Make) -> None:
    @vk.technique("wrong", title="Wrong", question="?", uses={"means"})
    def wrong(model: vk.ModelAdapter, images: vk.ImageBatch, run: vk.Runner) -> vk.Result:
        return run("means", scale=99)

    ws = make_workspace(plugin("inline", models=[Blocks()], datasets=[Squares()], techniques=[means, wrong]))
    with pytest.raises(vk.InvalidParameter, match=r"scale is 99; it must be a number from 0 to 10"):
        ws.run("wrong")


def test_a_missing_technique_is_one_sentence(make_workspace: Make) -> None:
    ws = make_workspace(plugin("inline", models=[Blocks()], datasets=[Squares()], techniques=[double]))
    with pytest.raises(vk.NotSupported, match=r"^Doubled means uses the technique 'means', which is not installed\."):
        ws.run("double")


def test_only_what_is_declared_may_be_used(make_workspace: Make) -> None:
    @vk.technique("sly", title="Sly", question="?", uses={"double"})
    def sly(model: vk.ModelAdapter, images: vk.ImageBatch, run: vk.Runner) -> vk.Result:
        return run("means")

    ws = make_workspace(plugin("inline", models=[Blocks()], datasets=[Squares()], techniques=[means, double, sly]))
    with pytest.raises(vk.VizkitError, match="does not declare it"):
        ws.run("sly")


def test_techniques_that_use_each_other_are_refused(make_workspace: Make) -> None:
    @vk.technique("hen", title="Hen", question="?", uses={"egg"})
    def hen(run: vk.Runner) -> vk.Result:
        return run("egg")

    @vk.technique("egg", title="Egg", question="?", uses={"hen"})
    def egg(run: vk.Runner) -> vk.Result:
        return run("hen")

    ws = make_workspace(plugin("inline", techniques=[hen, egg]))
    with pytest.raises(vk.VizkitError, match="cannot use each other"):
        ws.run("hen")


def test_a_run_inside_a_job_does_not_deadlock_on_the_lane(make_workspace: Make) -> None:
    """The outer technique holds the lane (it computes) while the inner one computes, from another thread of the job."""

    @vk.technique("holder", title="Holder", question="?", uses={"means"})
    def holder(model: vk.ModelAdapter, images: vk.ImageBatch, run: vk.Runner) -> vk.Result:
        made: list[vk.Result] = []

        def each(_: Any) -> None:  # called while the lane is held
            if not made:
                thread = threading.Thread(target=lambda: made.append(run("means", layer="cells")), daemon=True)
                thread.start()
                thread.join(20)

        model.activations(images, ["bright"], each=each)
        return vk.Result(vk.Note(str(len(made))))

    ws = make_workspace(plugin("inline", models=[Blocks()], datasets=[Squares()], techniques=[means, holder]))
    (note,) = ws.run("holder").views
    assert isinstance(note, vk.Note)
    assert note.text == "1"


def test_two_jobs_take_turns_on_the_lane(make_workspace: Make) -> None:
    inside: list[str] = []

    class Slow(Blocks):
        def activations(self, *arguments: Any, **more: Any) -> dict[str, vk.Activations]:
            inside.append("in")
            time.sleep(0.05)
            found = super().activations(*arguments, **more)
            inside.append("out")
            return found

    ws = make_workspace(plugin("inline", models=[Slow()], datasets=[Squares()], techniques=[means]))
    threads = [threading.Thread(target=ws.run, args=("means",), kwargs={"layer": n}) for n in ("cells", "bright", "mean")]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert inside == ["in", "out"] * 3


# 4. Progress, partial results, checkpoints, cancel


class Log(vk.Progress):
    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.steps: list[tuple[int, int]] = []
        self.partials: list[vk.Result] = []
        self.stop_at = stop_at

    def report(self, step: int, total: int, **more: Any) -> None:
        self.steps.append((step, total))
        self.more = more
        if step == self.stop_at:
            self.cancel()
        self.check()

    def partial(self, result: vk.Result) -> None:
        self.partials.append(result)


def test_reports_previews_and_partial_results_arrive_before_the_end(ws: vk.Workspace) -> None:
    log = Log()
    result = ws.run("climb", steps=3, progress=log)
    assert log.steps == [(1, 3), (2, 3), (3, 3)]
    assert log.more["metrics"] == {"height": 3.0}
    assert log.more["preview"].shape == (4, 4, 3)
    (partial,) = log.partials
    assert partial.partial
    assert not result.partial
    assert partial.key == result.key
    assert [v.text for v in partial.views if isinstance(v, vk.Note)] == ["at 1"]


def test_cancel_is_honoured_within_one_step_and_leaves_nothing_in_the_cache(ws: vk.Workspace) -> None:
    log = Log(stop_at=4)
    with pytest.raises(vk.Cancelled):
        ws.run("climb", steps=100, progress=log)
    assert log.steps[-1] == (4, 100)
    assert ws.store.keys("results") == []


def test_a_cancelled_run_goes_on_from_its_checkpoint(ws: vk.Workspace) -> None:
    with pytest.raises(vk.Cancelled):
        ws.run("climb", steps=10, progress=Log(stop_at=4))
    (note,) = ws.run("climb", steps=10).views
    assert isinstance(note, vk.Note)
    assert note.text == "10"
    assert CALLS == ["climb from 0", "climb from 4"]


def test_a_total_can_be_extended_later(ws: vk.Workspace) -> None:
    ws.run("climb", steps=5)
    (note,) = ws.run("climb", steps=8).views
    assert isinstance(note, vk.Note)
    assert note.text == "8"
    assert CALLS == ["climb from 0", "climb from 5"]
    ws.run("climb", steps=8, slope=2)
    assert CALLS[-1] == "climb from 0", "another slope is another run"


def test_a_checkpoint_beyond_the_total_is_not_used(ws: vk.Workspace) -> None:
    ws.run("climb", steps=8)
    (note,) = ws.run("climb", steps=5).views
    assert isinstance(note, vk.Note)
    assert note.text == "5"
    assert CALLS == ["climb from 0", "climb from 0"]


def test_a_damaged_checkpoint_is_no_checkpoint(ws: vk.Workspace) -> None:
    request = prepare(ws, "climb", params={"steps": 3})
    ws.store.write_blob("checkpoints", request.checkpoint_key, b"half a zip")
    ws.run("climb", steps=3)
    assert CALLS == ["climb from 0"]


def test_a_killed_run_goes_on(tmp_path: Path, clean_env: dict[str, str]) -> None:
    code = """
import sys
from tests.core.test_run import climb
from tests.inline import plugin
import vizkit as vk
ws = vk.Workspace(vk.Registry([plugin("inline", techniques=[climb])]))
class Say(vk.Progress):
    def report(self, step, total, **more):
        print(step, flush=True)
print(ws.run("climb", steps=200, pause=float(sys.argv[1]), progress=Say()).views[0].text)
"""
    root = str(Path(__file__).parents[2])
    env = clean_env | {"PYTHONPATH": root}
    process = subprocess.Popen(
        [sys.executable, "-c", code, "0.05"], env=env, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "5":
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    out = subprocess.run(
        [sys.executable, "-c", code.replace("pause=float(sys.argv[1])", "pause=0.05").replace("steps=200", "steps=12")],
        env=env,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    ).stdout.split()
    assert int(out[0]) >= 6, "it did not begin again"
    assert out[-1] == "12"


def test_inner_runs_are_cancelled_too(make_workspace: Make) -> None:
    @vk.technique("outer", title="Outer", question="?", uses={"climb"})
    def outer(run: vk.Runner) -> vk.Result:
        return run("climb", steps=100)

    ws = make_workspace(plugin("inline", techniques=[climb, outer]))
    with pytest.raises(vk.Cancelled):
        ws.run("outer", progress=Log(stop_at=3))


def test_an_inner_partial_result_is_not_shown_as_the_outer_one(make_workspace: Make) -> None:
    @vk.technique("outer", title="Outer", question="?", uses={"climb"})
    def outer(run: vk.Runner) -> vk.Result:
        return run("climb", steps=3)

    log = Log()
    make_workspace(plugin("inline", techniques=[climb, outer])).run("outer", progress=log)
    assert log.partials == []
    assert log.steps[-1] == (3, 3)


def test_four_equal_calls_at_once_compute_once(make_workspace: Make) -> None:
    class Slow(Blocks):
        def activations(self, *arguments: Any, **more: Any) -> dict[str, vk.Activations]:
            time.sleep(0.2)
            return super().activations(*arguments, **more)

    model = Slow()
    ws = make_workspace(plugin("inline", models=[model], datasets=[Squares()], techniques=[means]))
    results: list[list[float]] = []
    threads = [threading.Thread(target=lambda: results.append(bars(ws.run("means")))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert CALLS == ["means"]
    assert model.passes == 1
    assert len(results) == 4
    assert all(r == results[0] for r in results)


def test_a_failed_flight_does_not_hold_the_next(make_workspace: Make) -> None:
    fails = [True]

    @vk.technique("moody", title="Moody", question="?")
    def moody() -> vk.Result:
        if fails.pop() if fails else False:
            raise vk.VizkitError("Not today.")
        return vk.Result(vk.Note("fine"))

    ws = make_workspace(plugin("inline", techniques=[moody]))
    with pytest.raises(vk.VizkitError, match="Not today"):
        ws.run("moody")
    assert ws.run("moody").views[0].kind == "note"
    assert ws.flights._flying == {}


# Jobs


def test_equal_requests_share_a_job_and_one_viewer_cannot_cancel_for_another(ws: vk.Workspace) -> None:
    jobs = Jobs(ws)
    try:
        request = prepare(ws, "climb", params={"steps": 40, "pause": 0.02})
        first, second = jobs.submit(request, "ann"), jobs.submit(request, "bob")
        assert first is second
        assert first.id == request.key
        jobs.leave(first.id, "ann")
        assert first.finished.wait(20)
        assert first.status.state == "done"
        assert first.status.result is not None
        assert not first.status.result.partial
        assert CALLS == ["climb from 0"]
    finally:
        jobs.close()


def test_a_job_stops_within_a_second_when_its_last_viewer_leaves(ws: vk.Workspace) -> None:
    jobs = Jobs(ws)
    try:
        job = jobs.submit(prepare(ws, "climb", params={"steps": 10_000, "pause": 0.02}), "ann")
        while job.status.step < 3:
            time.sleep(0.01)
        assert job.status.seconds_left is not None
        assert job.status.seconds_left > 10
        assert len(job.status.metrics["height"]) >= 3
        assert job.status.preview is not None
        jobs.leave(job.id, "ann")
        assert job.finished.wait(1)
        assert job.status.state == "cancelled"
        again = jobs.submit(prepare(ws, "climb", params={"steps": 5, "pause": 0.0}), "ann")
        assert again.finished.wait(5)
        assert again.status.state == "done"
    finally:
        jobs.close()


def test_a_fault_in_a_technique_is_a_sentence(make_workspace: Make) -> None:
    @vk.technique("broken", title="Broken", question="?")
    def broken() -> vk.Result:
        return 1 / 0  # type: ignore[return-value]

    ws = make_workspace(plugin("inline", techniques=[broken]))
    jobs = Jobs(ws)
    try:
        job = jobs.submit(prepare(ws, "broken", params={}))
        assert job.finished.wait(5)
        assert job.status.state == "error"
        assert job.status.error.startswith("broken failed: ZeroDivisionError: division by zero.")
    finally:
        jobs.close()


# 5. One image reference everywhere


def test_a_dataset_image_an_upload_a_result_and_a_file_are_named_alike(make_workspace: Make, tmp_path: Path) -> None:
    from PIL import Image

    @vk.technique("show", title="Show", question="?")
    def show(model: vk.ModelAdapter, *, image: Annotated[vk.ImageBatch, vk.Image()]) -> vk.Result:
        return vk.Result(vk.ImageGrid("it", (vk.GridItem("x"),), 255 - image.pixels))

    ws = make_workspace(plugin("inline", models=[Blocks()], datasets=[Squares()], techniques=[show]))
    by_dataset = ws.run("show", image="squares/0003")
    assert by_dataset.pictures[0][0, 0].tolist() == [255 - 21, 155, 255]
    by_result = ws.run("show", image=f"result/{by_dataset.key}/0")
    assert by_result.pictures[0][0, 0].tolist() == [21, 100, 0]

    file = tmp_path / "mine.png"
    Image.fromarray(np.full((32, 32, 3), 40, np.uint8)).save(file)
    by_file = ws.run("show", image=str(file))
    assert by_file.pictures[0][5, 5].tolist() == [215, 215, 215]
    assert by_file.provenance is not None
    ref = by_file.provenance.params["image"]
    assert ref.startswith("upload/")
    file.unlink()
    assert ws.run("show", image=ref).key == by_file.key, "an upload is kept"


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        ("squares/77", "squares has no image '77'"),
        ("nowhere/1", "There is no dataset 'nowhere'"),
        ("upload/0000", "There is no upload '0000'"),
        ("result/abc/0", "There is no picture result/abc/0"),
        ("result/../../etc/0", "There is no picture"),
        ("upload/../sources.json", "There is no upload"),
        ("cat.jpg", "'cat.jpg' is not an image reference"),
        ("/etc/hostname", "'/etc/hostname' is not an image reference"),
        ("./cat.jpg", "There is no dataset '.'"),
    ],
)
def test_a_wrong_reference_is_a_sentence(ws: vk.Workspace, ref: str, text: str) -> None:
    with pytest.raises(vk.VizkitError, match=text):
        ws.image(ref, (16, 16))


def test_no_reference_and_no_name_in_a_url_opens_a_file(ws: vk.Workspace, tmp_path: Path) -> None:
    """What the app prepares comes from a URL; only `run`, from Python or a command line, opens what a person names."""
    from PIL import Image

    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    with pytest.raises(vk.NotFound, match="There is no dataset 'folder:"):
        key(ws, dataset=f"folder:{tmp_path}")
    for images in ([str(tmp_path / "a.png")], str(tmp_path / "a.png")):
        with pytest.raises(vk.VizkitError, match="is not an image reference"):
            key(ws, images=images)
    assert not (ws.home.root / "uploads").exists()
    assert len(bars(ws.run("means", images=[tmp_path / "a.png"]))) == 3


# 9. Memory


def test_a_request_above_the_bound_is_refused_beforehand_with_its_size(
    make_workspace: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vizkit.cached.LITTLE", 10)
    model = Blocks()
    ws = make_workspace(plugin("inline", models=[model], datasets=[Squares()], techniques=[means]), limit=100)
    with pytest.raises(vk.TooLarge, match=r"bright for 10 images take 0\.0 MB, more than the 0\.0 MB"):
        ws.run("means")
    assert model.passes == 0


def test_large_activations_are_streamed_to_a_file_batch_by_batch(
    make_workspace: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vizkit.cached.MEMORY", 1000)
    model = Blocks()
    seen: list[int] = []

    @vk.technique("raw", title="Raw", question="?")
    def raw(model: vk.ModelAdapter, images: vk.ImageBatch) -> vk.Result:
        found = model.activations(images, ["cells"], each=lambda a: seen.append(len(a["cells"].refs)))["cells"].values
        assert isinstance(found, np.memmap)
        return vk.Result(vk.Table("sum", ("total",), ((float(found.sum()),),)))

    squares = Squares(70)
    ws = make_workspace(plugin("inline", models=[model], datasets=[squares], techniques=[raw]))
    (table,) = ws.run("raw").views
    assert isinstance(table, vk.Table)
    expected = model.compute(squares.images(squares.ids(), (16, 16)).pixels, "cells").sum()
    assert table.rows[0][0] == pytest.approx(float(expected), abs=1e-3)
    assert model.seen == 70


# Disks


def test_a_full_disk_costs_the_cache_and_not_the_result(
    ws: vk.Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with caplog.at_level("WARNING", "vizkit"):
        assert bars(ws.run("means", layer="cells"))[2] == -0.5
    assert "No space left on device" in caplog.text
    assert list((ws.store.root / "tmp").iterdir()) == []


# 12. Keys that need no weights


def test_a_cached_result_of_a_known_model_loads_no_tensorflow(warm_cache: Path, tmp_path: Path) -> None:
    code = """
import sys
import vizkit as vk
r = vk.run("search", model="efficientnet-lite0", dataset="photo-crops")
m = vk.Registry().model("efficientnet-lite0")
print(len(m.layers()), len(m.fingerprint()), len(r.views[0].items))
print([x for x in ("tensorflow", "keras", "dash", "sklearn", "umap") if x in sys.modules])
"""
    env = {**os.environ, "VIZKIT_CACHE": str(warm_cache), "VIZKIT_HOME": str(tmp_path)}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert out.stdout.splitlines() == ["142 40 15", "[]"]


# Several models


@vk.technique("both", title="Both", question="?", uses={"means"})
def both(models: Sequence[vk.ModelAdapter], images: vk.ImageBatch, run: vk.Runner) -> vk.Result:
    """The sizes that each model gets to see, itself and through an inner run."""
    own = [m.activations(images, ["cells"])["cells"].values.shape[1] * 8 for m in models]
    for m in models:
        run("means", model=m, layer="cells")
    pinned = models[1].activations(images.at((16, 16)), ["cells"])["cells"].values.shape[1] * 8
    return vk.Result(vk.Table("sizes", ("a", "b", "pinned"), ((*own, pinned),)))


@pytest.mark.parametrize("given", [{"dataset": "squares"}, {"images": ["squares/0001", "squares/0002"]}])
def test_each_model_sees_the_images_at_its_own_size(make_workspace: Make, given: dict[str, Any]) -> None:
    class Large(Blocks):
        image_size = (32, 32)

    seen: list[tuple[int, int]] = []

    class Watching(Large):
        def activations(self, images: vk.ImageBatch, *arguments: Any, **more: Any) -> dict[str, vk.Activations]:
            seen.append(images.size)
            return super().activations(images, *arguments, **more)

    models = [Blocks("small"), Watching("large", gain=2.0)]
    ws = make_workspace(plugin("inline", models=models, datasets=[Squares()], techniques=[means, both]))
    (table,) = ws.run("both", model=["small", "large"], **given).views
    assert isinstance(table, vk.Table)
    assert table.rows == ((16, 32, 16),)
    assert set(seen) == {(32, 32), (16, 16)}
    assert seen.count((16, 16)) == 1, "only where the technique said so"


def test_activations_survive_a_run_that_is_stopped(make_workspace: Make) -> None:
    model = Blocks()
    squares = Squares(300)
    ws = make_workspace(plugin("inline", models=[model], datasets=[squares], techniques=[means]))

    class Stop(vk.Progress):
        def report(self, step: int, total: int, **more: Any) -> None:
            if step > 200:
                self.cancel()
            self.check()

    with pytest.raises(vk.Cancelled):
        ws.run("means", layer="cells", progress=Stop())
    assert model.seen == 204, "it stopped within a batch of four"
    result = ws.run("means", layer="cells", scale=2)
    assert model.seen == 204 + (300 - 128), "the first block was kept"
    expected = model.compute(squares.images(squares.ids(), (16, 16)).pixels, "cells").mean((0, 1, 2)) * 2
    assert bars(result) == pytest.approx(expected.tolist(), abs=1e-5)
    assert ws.store.info()["kinds"]["activations"]["entries"] == 1, "the blocks made room for the whole"


def test_an_adapter_that_shows_nothing_meanwhile_is_right_all_the_same(make_workspace: Make) -> None:
    class Silent(Blocks):
        def activations(self, images: vk.ImageBatch, layers: Any, *, pool: Any = "none", each: Any = None) -> Any:
            return super().activations(images, layers, pool=pool)

    squares = Squares(150)
    ws = make_workspace(plugin("inline", models=[Silent()], datasets=[squares], techniques=[means]))
    expected = Blocks().compute(squares.images(squares.ids(), (16, 16)).pixels, "cells").mean((0, 1, 2))
    assert bars(ws.run("means", layer="cells")) == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_job_on_the_lane_does_not_wait_for_anothers_flight(make_workspace: Make) -> None:
    """One job computes and asks for `means` meanwhile; the other is at `means` already and waits for the lane."""
    waiting = threading.Event()

    @vk.technique("asker", title="Asker", question="?", uses={"means"})
    def asker(model: vk.ModelAdapter, images: vk.ImageBatch, run: vk.Runner) -> vk.Result:
        made: list[vk.Result] = []

        def each(_: Any) -> None:
            if not made:
                waiting.set()
                time.sleep(0.3)
                made.append(run("means", layer="cells"))

        model.activations(images, ["bright"], each=each)
        return made[0]

    ws = make_workspace(plugin("inline", models=[Blocks()], datasets=[Squares()], techniques=[means, asker]))
    results: list[list[float]] = []
    threads = [threading.Thread(target=lambda: results.append(bars(ws.run("asker"))), daemon=True)]
    threads.append(
        threading.Thread(target=lambda: waiting.wait(10) and results.append(bars(ws.run("means", layer="cells"))))
    )
    threads[1].daemon = True
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    assert len(results) == 2
    assert results[0] == results[1]


# What a cache may hold


def test_each_gets_all_the_layers_that_were_asked_for(make_workspace: Make) -> None:
    seen: list[tuple[int, int]] = []

    @vk.technique("pair", title="Pair", question="?")
    def pair(model: vk.ModelAdapter, images: vk.ImageBatch) -> vk.Result:
        def each(done: Any) -> None:
            seen.append((len(done["cells"].refs), len(done["bright"].refs)))

        model.activations(images, ["cells", "bright"], each=each)
        return vk.Result(vk.Note("done"))

    @vk.technique("one", title="One", question="?")
    def one(model: vk.ModelAdapter, images: vk.ImageBatch) -> vk.Result:
        model.activations(images, ["cells"])
        return vk.Result(vk.Note("done"))

    ws = make_workspace(plugin("inline", models=[Blocks()], datasets=[Squares()], techniques=[one, pair]))
    ws.run("one")
    ws.run("pair")
    assert seen[-1] == (10, 10)
    assert all(a == b for a, b in seen)


def test_a_layer_that_the_second_model_lacks_is_a_sentence(make_workspace: Make) -> None:
    @vk.technique("other", title="Other", question="?")
    def other(models: Sequence[vk.ModelAdapter], images: vk.ImageBatch) -> vk.Result:
        models[0].activations(images, ["nowhere"])
        return vk.Result()

    ws = make_workspace(plugin("inline", models=[Blocks()], datasets=[Squares()], techniques=[other]))
    with pytest.raises(vk.NotFound, match="blocks has no layer 'nowhere'"):
        ws.run("other")


def test_a_query_from_elsewhere_is_seen_by_each_model_at_its_own_size(make_workspace: Make) -> None:
    class Large(Blocks):
        image_size = (32, 32)

    sizes: list[tuple[int, ...]] = []

    @vk.technique("ask", title="Ask", question="?")
    def ask(
        models: Sequence[vk.ModelAdapter], images: vk.ImageBatch, *, query: Annotated[vk.ImageBatch, vk.Image()]
    ) -> vk.Result:
        sizes.extend(m.activations(query, ["cells"])["cells"].values.shape for m in models)
        return vk.Result()

    models = [Blocks("small"), Large("large", 2.0)]
    ws = make_workspace(plugin("i", models=models, datasets=[Squares(), Squares(3, "others")], techniques=[ask]))
    ws.run("ask", model=["small", "large"], dataset="squares", query="others/0001")
    assert sizes == [(1, 2, 2, 3), (1, 4, 4, 3)]


def test_a_stored_result_that_cannot_be_read_is_made_again(ws: vk.Workspace) -> None:
    first = ws.run("means", layer="cells")
    folder = ws.store.root / "results" / first.key[:2] / first.key
    text = (folder / "entry.json").read_text()
    (folder / "entry.json").write_text(text.replace('"labels"', '"renamed"'))
    assert bars(ws.run("means", layer="cells")) == bars(first)
    assert CALLS == ["means", "means"]


def test_a_fresh_result_is_what_the_cache_will_give(make_workspace: Make) -> None:
    @vk.technique("odd", title="Odd", question="?")
    def odd() -> vk.Result:
        picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        return vk.Result(vk.Heatmap("h", np.array([[np.inf, 1], [np.nan, -np.inf]]), image=picture), vk.Media("m", picture))

    ws = make_workspace(plugin("inline", techniques=[odd]))
    for result in (ws.run("odd"), ws.run("odd")):
        heat, media = result.views
        assert isinstance(heat, vk.Heatmap)
        assert isinstance(media, vk.Media)
        np.testing.assert_array_equal(heat.values, [[np.inf, 1], [np.nan, -np.inf]])
        assert np.asarray(media.image).dtype == np.uint8
        assert result.pictures[0].tolist() == np.arange(12).reshape(2, 2, 3).tolist()


def test_an_inner_run_on_what_the_outer_key_does_not_know_is_refused(make_workspace: Make) -> None:
    @vk.technique("stray", title="Stray", question="?", uses={"means"})
    def stray(model: vk.ModelAdapter, images: vk.ImageBatch, run: vk.Runner) -> vk.Result:
        return run("means", dataset="others")

    ws = make_workspace(
        plugin("i", models=[Blocks()], datasets=[Squares(), Squares(3, "others")], techniques=[means, stray])
    )
    with pytest.raises(vk.VizkitError, match="inputs that are not its own"):
        ws.run("stray", dataset="squares")


def test_a_picture_given_twice_stays_two(ws: vk.Workspace) -> None:
    same = np.zeros((5, 20, 20, 3), np.uint8)
    assert len(ws.images(same, (16, 16))) == 5
    assert len(ws.images(list(same), (16, 16))) == 5


def test_a_changed_layer_of_a_given_model_changes_the_result(ws: vk.Workspace) -> None:
    import keras

    net = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Conv2D(2, 3, activation="relu", name="conv")], name="mine"
    )
    net.set_weights([w * 0 - 1 for w in net.get_weights()])
    rectified = bars(ws.run("means", model=net, layer="conv"))
    net.layers[-1].activation = keras.activations.linear
    plain = bars(ws.run("means", model=net, layer="conv"))
    assert rectified == [0.0, 0.0]
    assert max(plain) < -1


def test_a_remembered_folder_is_looked_into_only_when_it_is_used(registry: vk.Registry, tmp_path: Path) -> None:
    from vizkit.store import Home, Store

    home = Home(tmp_path / "home")
    home.add_source("gone", f"folder:{tmp_path / 'nowhere'}")
    ws = vk.Workspace(vk.Registry(), Store(tmp_path / "cache"), home)
    assert "gone" in ws.registry.datasets
    with pytest.raises(vk.VizkitError, match="does not exist"):
        ws.run("search", dataset="gone")
