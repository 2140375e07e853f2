"""Models through their adapter: the same numbers as Keras gives, in whatever batches, threads and memory."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import vizkit as vk
from tests import nets
from vizkit.models import BATCH, FIRST, ModelPool, table_text
from vizkit.types import Activations


def pictures(n: int, side: int = 8, seed: int = 0) -> vk.ImageBatch:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)
    return vk.ImageBatch.from_pixels(pixels, [vk.ImageRef("made", str(i)) for i in range(n)])


def scale(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(pixels / 127.5 - 1, np.float32)


def given(model: Any, **more: Any) -> vk.GivenModel:
    return vk.GivenModel(model, preprocess=scale, **more)


def keras_value(model: Any, path: str, x: Any) -> NDArray[np.float32]:
    """A tensor of a flat model by Keras's own means: a second model that ends there."""
    import keras

    return np.asarray(keras.Model(model.input, model.get_layer(path).output)(x, training=False))


def chain(*, last: str = "softmax") -> Any:
    """A plain model of three convolutions and a head; (8, 8, 3) -> (4,)."""
    import keras

    layers = keras.layers
    x = image = keras.Input((8, 8, 3), name="image")
    for i in range(3):
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"conv{i}")(x)
    x = layers.GlobalAveragePooling2D(name="gap")(x)
    return nets.seeded(keras.Model(image, layers.Dense(4, activation=last, name="scores")(x), name="chain"), 11)


class Counted(vk.KerasModel):
    """A model that says how often it was built."""

    image_size = (8, 8)

    def __init__(self, name: str, seed: int) -> None:
        super().__init__()
        self.name, self.seed, self.built = name, seed, 0

    def build(self) -> Any:
        self.built += 1
        return nets.seeded(chain(), self.seed)

    def preprocess(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return scale(pixels)


class TestPredict:
    @pytest.mark.parametrize("net", [nets.nested_net, chain])
    def test_gives_logits_under_a_fused_softmax(self, net: Callable[[], Any]) -> None:
        model, images = net(), pictures(5)
        adapter = given(model)
        logits = adapter.predict(images)
        e = np.exp(logits - logits.max(1, keepdims=True))
        np.testing.assert_allclose(e / e.sum(1, keepdims=True), model(scale(images.pixels)), atol=1e-6)
        assert not np.allclose(logits.sum(1), 1)

    def test_of_the_default_model_orders_as_its_own_call(self, lite0: Any, photos: vk.Dataset) -> None:
        images = photos.images(photos.ids()[:3], lite0.image_size)
        own = np.asarray(lite0.keras_model()(lite0.preprocess(images.pixels), training=False))
        np.testing.assert_allclose(lite0.predict(images), own, atol=1e-4)

    def test_a_ragged_last_batch(self) -> None:
        model, images = chain(), pictures(2 * BATCH + 3)
        alone = np.concatenate([given(model).predict(images[[i]]) for i in (0, 31, 32, 63, 64, 66)])
        np.testing.assert_allclose(given(model).predict(images)[[0, 31, 32, 63, 64, 66]], alone, atol=1e-5)


class TestActivations:
    def test_several_layers_in_one_pass_are_those_of_single_passes_and_of_keras(self) -> None:
        model, images, paths = chain(), pictures(5), ["conv2", "conv0", "gap", "scores"]
        adapter = given(model)
        together = adapter.activations(images, paths)
        assert list(together) == paths
        for path in paths:
            alone = adapter.activations(images, [path])[path]
            np.testing.assert_array_equal(together[path].values, alone.values)
            np.testing.assert_allclose(alone.values, keras_value(model, path, scale(images.pixels)), atol=1e-6)
            assert alone.values.dtype == np.float32
            assert alone.refs == images.refs
            assert alone.layer.path == path

    def test_pooled_is_the_raw_pooled(self, lite0: Any, photos: vk.Dataset) -> None:
        images = photos.images(photos.ids()[:3], lite0.image_size)
        paths = ["block2_add", "head_relu", "logits"]
        raw = {p: a.values for p, a in lite0.activations(images, paths).items()}
        mean = {p: a.values for p, a in lite0.activations(images, paths, pool="mean").items()}
        most = {p: a.values for p, a in lite0.activations(images, paths, pool="max").items()}
        for path in paths[:2]:
            np.testing.assert_allclose(mean[path], raw[path].mean((1, 2)), atol=1e-4)
            np.testing.assert_array_equal(most[path], raw[path].max((1, 2)))
        np.testing.assert_array_equal(mean["logits"], raw["logits"])  # no rows and columns: nothing to pool

    @pytest.mark.parametrize("n", [1, BATCH, BATCH + 1, 2 * BATCH + 3])
    def test_each_sees_growing_true_prefixes(self, n: int) -> None:
        adapter, images = given(chain()), pictures(n)
        seen: list[dict[str, Activations]] = []
        whole = adapter.activations(images, ["conv1", "gap"], each=lambda done: seen.append(dict(done)))
        lengths = [len(done["gap"].refs) for done in seen]
        assert lengths[0] == (FIRST if n > BATCH else n)
        assert lengths == sorted(set(lengths))
        assert lengths[-1] == n
        for done in seen:
            for path, part in done.items():
                assert part.refs == images.refs[: len(part.refs)]
                np.testing.assert_array_equal(part.values, whole[path].values[: len(part.refs)])

    def test_an_unknown_layer_has_a_suggestion(self) -> None:
        with pytest.raises(vk.NotFound, match=r"chain has no layer 'conv0x'\. Did you mean 'conv0'\?"):
            given(chain()).activations(pictures(1), ["conv0x"])


class TestBackward:
    @pytest.mark.parametrize(
        "target",
        [
            vk.Target("conv2"),
            vk.Target("conv2", channel=1),
            vk.Target("conv2", position=(2, 5)),
            vk.Target("conv2", channel=3, position=(7, 0)),
            vk.Target("conv2", direction=(0.5, -1.0, 2.0, 0.0)),
            vk.Target("conv2", direction=(0.5, -1.0, 2.0, 0.0), position=(4, 4)),
            vk.Target("gap", channel=2),
            vk.Target(class_index=3),
        ],
        ids=str,
    )
    def test_is_keras_s_gradient(self, target: vk.Target) -> None:
        import keras
        import tensorflow as tf

        model, images = chain(last="linear"), pictures(BATCH + 2)
        x = tf.constant(scale(images.pixels))
        part = keras.Model(model.input, model.get_layer(target.layer or "scores").output)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = part(x, training=False)
            if target.class_index is not None:
                value = value[:, target.class_index]
            if target.position is not None:
                value = value[:, target.position[0], target.position[1]]
            if target.channel is not None:
                value = value[..., target.channel]
            if target.direction is not None:
                value = tf.linalg.matvec(value, tf.constant(target.direction))
        expected = np.asarray(tape.gradient(value, x))
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(given(model).backward(images, target), expected, atol=1e-6)

    def test_a_class_is_taken_before_the_softmax(self) -> None:
        images, target = pictures(3), vk.Target(class_index=1)
        soft, plain = given(chain()), given(chain(last="linear"))
        np.testing.assert_allclose(soft.backward(images, target), plain.backward(images, target), atol=1e-6)

    def test_with_respect_to_a_layer(self) -> None:
        adapter = given(chain(last="linear"))
        found = adapter.backward(pictures(2), vk.Target("gap", channel=1), wrt="conv2")
        expected = np.zeros((2, 8, 8, 4))
        expected[..., 1] = 1 / 64
        np.testing.assert_allclose(found, expected, atol=1e-8)

    @pytest.mark.parametrize(
        ("target", "sentence"),
        [
            (vk.Target("conv9"), r"chain has no layer 'conv9'\. Did you mean 'conv"),
            (vk.Target("conv2", channel=4), r"conv2 has 4 channels, from 0; there is no 4\."),
            (vk.Target("conv2", direction=(1.0,)), r"conv2 has 4 channels; the direction has 1 numbers\."),
            (vk.Target("conv2", position=(0, 8)), r"conv2 has 8 rows and 8 columns, from 0; there is no 0,8\."),
            (vk.Target("gap", position=(0, 0)), r"gap has no rows and columns, so it has no position 0,0\."),
        ],
    )
    def test_a_target_that_is_not_there_is_a_sentence(self, target: vk.Target, sentence: str) -> None:
        with pytest.raises(vk.VizkitError, match=sentence):
            given(chain()).backward(pictures(1), target)


class TestGivenModel:
    @pytest.mark.parametrize(
        ("net", "side", "path"),
        [
            (nets.nested_net, 8, "middle/features/backbone/depthwise_relu"),
            (lambda: nets.nested_net("fused"), 8, "middle/features/backbone/depthwise"),
            (nets.sequential_net, 6, "re_lu"),
            (nets.unnamed_net, 6, "conv2d_1"),
        ],
    )
    def test_is_reached_at_any_depth_and_left_as_it_was(self, net: Callable[[], Any], side: int, path: str) -> None:
        model, images = net(), pictures(3, side)
        before = model.get_weights()
        config = json.dumps(model.get_config(), default=str)
        output = np.asarray(model(scale(images.pixels), training=False))
        adapter = given(model)
        assert path in [layer.path for layer in adapter.layers()]
        assert adapter.activations(images, [path])[path].values.shape[0] == 3
        adapter.predict(images)
        adapter.backward(images, vk.Target(class_index=0), rule="guided")
        np.testing.assert_array_equal(model(scale(images.pixels), training=False), output)
        for w, old in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(w, old)
        assert json.dumps(model.get_config(), default=str) == config

    def test_sees_pixels_from_0_to_255_and_says_so_once(self, caplog: pytest.LogCaptureFixture) -> None:
        import keras

        image = keras.Input((8, 8, 3), name="image")
        bare = keras.Model(image, keras.layers.GlobalMaxPooling2D(name="most")(image), name="bare-net")
        images = pictures(3)
        with caplog.at_level(logging.WARNING, "vizkit"):
            model = vk.GivenModel(bare)
            values = model.activations(images, ["most"])["most"].values
            model.release()
            model.predict(images)
        np.testing.assert_array_equal(values, images.pixels.max((1, 2)))
        assert [r.getMessage() for r in caplog.records] == [
            "bare-net has no Rescaling or Normalization layer, so it sees pixels from 0 to 255. If it was trained on others,"
            " say how to make them: vizkit.GivenModel(model, preprocess=lambda x: x / 127.5 - 1)."
        ]

    def test_one_that_scales_pixels_itself_is_not_warned_about(self, caplog: pytest.LogCaptureFixture) -> None:
        import keras

        image, inner = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
        front = keras.Model(inner, keras.layers.Rescaling(1 / 255, name="scaled")(inner), name="front")
        scaled = keras.Model(image, keras.layers.GlobalMaxPooling2D(name="most")(front(image)), name="scaling-net")
        with caplog.at_level(logging.WARNING, "vizkit"):
            found = vk.GivenModel(scaled).activations(pictures(2), ["most"])["most"].values
            given(chain()).predict(pictures(1))
        np.testing.assert_allclose(found, pictures(2).pixels.max((1, 2)) / 255, rtol=1e-6)
        assert not caplog.records

    def test_one_channel_gets_luminance_and_other_numbers_a_sentence(self) -> None:
        import keras

        grey, six = keras.Input((8, 8, 1), name="image"), keras.Input((8, 8, 6), name="image")
        mean = keras.layers.GlobalAveragePooling2D(name="mean")
        model = keras.Model(grey, mean(grey), name="grey-net")
        images = pictures(2)
        found = vk.GivenModel(model).activations(images, ["mean"])["mean"].values[:, 0]
        np.testing.assert_allclose(found, (images.pixels @ [0.299, 0.587, 0.114]).mean((1, 2)), rtol=1e-5)
        with pytest.raises(vk.NotSupported, match=r"six-net takes images of 6 channels\. Say how to make them from RGB"):
            vk.GivenModel(keras.Model(six, keras.layers.ReLU()(six), name="six-net"))

    def test_what_preprocess_gives_may_be_of_any_precision(self) -> None:
        adapter = vk.GivenModel(chain(), preprocess=lambda pixels: pixels / 127.5 - 1)
        np.testing.assert_array_equal(adapter.predict(pictures(2)), given(chain()).predict(pictures(2)))


class TestFingerprint:
    def test_is_that_of_weights_and_layers_not_of_keras_s_numbering(self) -> None:
        for net in (nets.sequential_net, nets.unnamed_net, nets.nested_net):
            one, two = given(net()), given(net())
            assert one.fingerprint() == two.fingerprint() == one.fingerprint()
            assert [layer.path for layer in one.layers()] == [layer.path for layer in two.layers()]
        assert given(nets.sequential_net(5)).fingerprint() != given(nets.sequential_net(6)).fingerprint()
        assert given(chain()).fingerprint() != given(chain(last="linear")).fingerprint()  # the same weights

    def test_changes_with_training_and_back(self) -> None:
        model = chain()
        adapter = given(model)
        first, weights = adapter.fingerprint(), model.get_weights()
        model.set_weights([w * 1.001 for w in weights])
        assert adapter.fingerprint() != first
        model.set_weights(weights)
        assert adapter.fingerprint() == first

    def test_covers_preprocessing_and_labels(self) -> None:
        model = chain()
        prints = {
            given(model).fingerprint(),
            vk.GivenModel(model).fingerprint(),
            vk.GivenModel(model, preprocess=lambda x: x[..., ::-1] / 127.5 - 1).fingerprint(),
            given(model, labels=["a", "b", "c", "d"]).fingerprint(),
        }
        assert len(prints) == 4

    def test_survives_letting_go(self) -> None:
        one = Counted("one", 1)
        first = one.fingerprint()
        one.release()
        assert one.fingerprint() == first == Counted("one", 1).fingerprint()
        assert Counted("one", 2).fingerprint() != first

    def test_is_asked_by_many_threads_at_once(self) -> None:
        adapter = given(chain())
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: adapter.fingerprint(), range(200))) == {adapter.fingerprint()}


class TestKnownModels:
    def test_layers_and_fingerprint_load_no_tensorflow(self, clean_env: Mapping[str, str]) -> None:
        code = (
            "import sys, vizkit as vk\n"
            "models = vk.Registry().models\n"
            "assert 'efficientnet-lite0' in models\n"
            "for m in models.values(): assert len(m.layers()) > 100 and len(m.fingerprint()) == 40\n"
            "print({'tensorflow', 'keras'} & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], env=dict(clean_env), capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"

    @pytest.mark.parametrize(
        "name",
        [
            "efficientnet-lite0",
            pytest.param("efficientnet-lite1", marks=pytest.mark.slow),
            pytest.param("efficientnet-lite2", marks=pytest.mark.slow),
        ],
    )
    def test_the_shipped_table_is_what_the_built_model_gives(self, name: str, registry: vk.Registry) -> None:
        model: Any = registry.model(name)
        assert model.layer_table() is not None
        assert model.layer_table().read_text("utf-8") == table_text(model._measure())
        assert set(model.curated) <= {layer.path for layer in model.layers()}

    def test_a_table_measured_once_is_remembered_without_building(self) -> None:
        first = Counted("remembered", 3)
        layers, print_ = first.layers(), first.fingerprint()
        later = Counted("remembered", 3)
        later._print = print_  # as weight files would give it
        assert later.layers() == layers
        assert (first.built, later.built) == (1, 0)


class TestMemory:
    def test_the_one_used_longest_ago_is_let_go_and_comes_back_right(self) -> None:
        a, b, c = (Counted(name, seed) for seed, name in enumerate("abc"))
        images = pictures(2)
        expected = {m: m.predict(images) for m in (a, b, c)}
        size = a.memory()
        assert size == 4 * sum(int(np.prod(w.shape)) for w in a.keras_model().weights) > 0
        for m in (a, b, c):
            m.release()
        pool = ModelPool(limit=2 * size)
        for m in (a, b, a, c):
            pool.use(m)
            m.predict(images)
        pool.use(c)
        assert pool.loaded() == ["a", "c"]
        assert b.memory() == 0
        assert [m.built for m in (a, b, c)] == [2, 2, 2]
        for m in (b, a):
            pool.use(m)
            np.testing.assert_array_equal(m.predict(images), expected[m])
        assert b.built == 3

    def test_release_while_another_thread_computes(self) -> None:
        model, images = Counted("busy", 5), pictures(3 * BATCH)
        expected = model.activations(images, ["conv2"])["conv2"].values
        released = threading.Event()

        def let_go(done: Mapping[str, Activations]) -> None:
            model.release()
            released.set()

        found = model.activations(images, ["conv2"], each=let_go)["conv2"].values
        assert released.is_set()
        assert model.memory() == 0
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(model.activations(images, ["conv2"])["conv2"].values, expected)

    def test_two_threads_build_once_and_agree(self) -> None:
        model, images = Counted("shared", 7), pictures(BATCH + 5)
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda _: (model.predict(images), model.activations(images, ["conv1"])), range(6)))
        assert model.built == 1
        expected = Counted("shared", 7).predict(images)
        for logits, values in found:
            np.testing.assert_array_equal(logits, expected)
            np.testing.assert_array_equal(values["conv1"].values, found[0][1]["conv1"].values)
