"""What tests share: the default model and the photographs, built once a session, and workspaces of their own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Nothing of the person who runs the tests is read or written. Set before vizkit looks.
_SESSION = Path(tempfile.mkdtemp(prefix="vizkit-tests-"))
os.environ["VIZKIT_HOME"] = str(_SESSION / "home")
os.environ["VIZKIT_CACHE"] = str(_SESSION / "cache")
os.environ.pop("VIZKIT_PLUGINS", None)

import vizkit as vk  # noqa: E402
from vizkit.store import Home, Store  # noqa: E402

ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome")
HOW = "No browser: install one (Debian: apt-get install chromium) or set VIZKIT_CHROMIUM to its path."


def find_chromium() -> str | None:
    """The browser's program, or None."""
    given = os.environ.get("VIZKIT_CHROMIUM")
    found = [shutil.which(given)] if given else [shutil.which(name) for name in NAMES]
    return next((f for f in found if f), None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One Chromium for all tests. Without one they are skipped, or fail where VIZKIT_REQUIRE_BROWSER=1."""
    program = find_chromium()
    if program is None:
        if os.environ.get("VIZKIT_REQUIRE_BROWSER") == "1":
            pytest.fail(HOW)
        pytest.skip(HOW)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGS)
        yield browser
        browser.close()


def pytest_sessionfinish() -> None:
    shutil.rmtree(_SESSION, ignore_errors=True)


@pytest.fixture(scope="session")
def registry() -> vk.Registry:
    """The installed plugins."""
    return vk.Registry()


@pytest.fixture(scope="session")
def lite0(registry: vk.Registry) -> Any:
    """The default model, with its real weights."""
    return registry.model("efficientnet-lite0")


@pytest.fixture(scope="session")
def photos(registry: vk.Registry) -> vk.Dataset:
    """The photographs that scikit-image and scikit-learn carry."""
    return registry.dataset("photos")


@pytest.fixture(scope="session")
def photo_crops(registry: vk.Registry) -> vk.Dataset:
    """About 200 crops of them."""
    return registry.dataset("photo-crops")


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder with `imagenet_samples` and `cifar10`, beside the checkout; CI has it, others may not."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not (folder / "imagenet_samples").is_dir():
        pytest.skip("no sample photographs: ../shared/data/imagenet_samples is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def warm_cache(registry: vk.Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the default search: the features of all crops at the default layer, and its result."""
    root = tmp_path_factory.mktemp("warm") / "cache"
    vk.Workspace(registry, Store(root), Home(root.parent / "home")).run(
        "search", model="efficientnet-lite0", dataset="photo-crops"
    )
    return root


@pytest.fixture
def make_workspace(tmp_path: Path) -> Callable[..., vk.Workspace]:
    """A workspace over inline plugins, with an empty cache and home of its own."""

    def make(*plugins: object, cache: Path | None = None, limit: int | None = None) -> vk.Workspace:
        root = cache or tmp_path / "cache"
        return vk.Workspace(vk.Registry(plugins), Store(root, limit), Home(tmp_path / "home"))

    return make


@pytest.fixture
def workspace(registry: vk.Registry, warm_cache: Path, tmp_path: Path) -> vk.Workspace:
    """Everything that is installed, with a warm cache copied for this test."""
    shutil.copytree(warm_cache, tmp_path / "cache")
    return vk.Workspace(registry, Store(tmp_path / "cache"), Home(tmp_path / "home"))


@pytest.fixture
def clean_env(tmp_path: Path) -> dict[str, str]:
    """An environment for a process of its own: empty home and cache."""
    return {**os.environ, "VIZKIT_HOME": str(tmp_path / "own-home"), "VIZKIT_CACHE": str(tmp_path / "own-cache")}


@pytest.fixture(scope="session")
def toy_net() -> Callable[..., Any]:
    """The net of the seven exact answers, by depth of nesting and by kind of rectifier."""
    from tests import nets

    return nets.toy_net


@pytest.fixture(scope="session")
def branching_net() -> Any:
    from tests import nets

    return nets.branching_net()


@pytest.fixture(scope="session")
def shared_layer_net() -> Any:
    from tests import nets

    return nets.shared_layer_net()


@pytest.fixture(scope="session")
def nested_lite0(lite0: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default network as the backbone of another model, saved as .keras: what transfer learning leaves behind."""
    import keras

    backbone = lite0.keras_model()
    image = keras.Input((224, 224, 3))
    outputs = keras.layers.Dense(3, name="head", kernel_initializer="ones")(backbone(image))
    path = tmp_path_factory.mktemp("models") / "nested_lite0.keras"
    keras.Model(image, outputs, name="nested_lite0").save(path)
    return path
