"""The graph plan and its gradients, against answers that were known before the code ran.

"Captum" is the one-convolution net of Captum's attribution tests, "Xplique" the rectifier of Xplique's: numbers that others
publish for the same methods. The rest are identities: a replay equals the model, Euler's for homogeneous functions.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import nets
from vizkit.errors import NotFound, NotSupported, VizkitError
from vizkit.graph import Plan, execute, infer, layer_table, plan
from vizkit.rules import backward, logits, with_activation, with_rule

RELUS = ["fused", "layer", "activation", "op"]
GRADIENT = [[0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]
GUIDED = [[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1]]
DECONV = [[2, 3, 3, 1], [3, 5, 5, 2], [3, 5, 5, 2], [1, 2, 2, 1]]


def image(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def flat(model: Any, x: Any) -> list[np.ndarray]:
    import keras

    return [np.asarray(t) for t in keras.tree.flatten(model(x, training=False))]


def unbuilt_layers(*layers: Any, shape: tuple[int, ...] = (4,)) -> Any:
    import keras

    x = inputs = keras.Input(shape, name="x")
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x, name="chain")


REPLAYED: dict[str, tuple[Callable[[], Any], Any]] = {
    "plain": (nets.toy_net, nets.TOY_IMAGE),
    "plain, nested once": (lambda: nets.toy_net(depth=1), nets.TOY_IMAGE),
    "plain, nested twice": (lambda: nets.toy_net(depth=2), nets.TOY_IMAGE),
    "nested three deep in a Sequential": (nets.nested_net, image(2, 8, 8, 3)),
    "fused activations": (lambda: nets.nested_net("fused"), image(2, 8, 8, 3)),
    "branching": (nets.branching_net, image(2, 6, 6, 3)),
    "shared layer and shared model": (nets.shared_layer_net, image(2, 6, 6, 3)),
    "sequential": (nets.sequential_net, image(2, 6, 6, 3)),
    "two inputs": (nets.two_input_net, [image(2, 6, 6, 3), image(2, 3, 3, 3)]),
    "two inputs by name": (nets.two_input_net, {"small": image(2, 3, 3, 3), "large": image(2, 6, 6, 3)}),
    "two outputs, one of a split": (nets.two_output_net, image(2, 6, 6, 4)),
    "dict inputs, other order within": (nets.dict_input_net, {"p": image(2, 3), "q": image(2, 3, seed=1)}),
    "nothing named": (nets.unnamed_net, image(2, 6, 6, 3)),
}


class TestReplay:
    @pytest.mark.parametrize("name", REPLAYED)
    def test_equals_the_model_bit_for_bit(self, name: str) -> None:
        build, x = REPLAYED[name]
        model = build()
        p = plan(model)
        replayed = execute(p, x, p.outputs)
        for path, expected in zip(p.outputs, flat(model, x), strict=True):
            np.testing.assert_array_equal(replayed[path], expected)

    def test_captures_at_any_depth(self) -> None:
        p = plan(nets.toy_net(depth=2))
        found = execute(p, nets.TOY_IMAGE, ["wrap0/toy/conv", "wrap0/toy", "wrap0", "image"])
        np.testing.assert_array_equal(found["wrap0/toy/conv"][0, ..., 0], [[0, 4], [31, 40]])
        np.testing.assert_array_equal(found["wrap0/toy/conv"][0, ..., 1], [[0, 0], [6, 15]])
        assert found["wrap0"].numpy().item() == found["wrap0/toy"].numpy().item() == 54
        np.testing.assert_array_equal(found["image"], nets.TOY_IMAGE)

    @pytest.mark.parametrize(("want", "convolutions"), [(["a0"], 1), (["ab"], 3), (["out"], 6), (["c1", "b0"], 3)])
    def test_runs_only_what_is_needed(self, want: list[str], convolutions: int) -> None:
        p, ran = plan(nets.branching_net()), []

        def call(step: Any, args: Any, kwargs: Any) -> Any:
            ran.append(step.kind)
            return infer(step.op, args, kwargs)

        execute(p, image(1, 6, 6, 3), want, call=call)
        assert ran.count("Conv2D") == convolutions

    def test_starts_in_the_middle_without_an_image(self) -> None:
        model = nets.nested_net()
        p, x = plan(model), image(2, 8, 8, 3)
        ran: list[str] = []

        def call(step: Any, args: Any, kwargs: Any) -> Any:
            ran.append(step.path)
            return infer(step.op, args, kwargs)

        middle = "middle/features/backbone/pool"
        value = execute(p, x, [middle])[middle]
        end = execute(p, None, ["scores"], inject={middle: np.asarray(value)}, call=call)["scores"]
        np.testing.assert_array_equal(end, model(x, training=False))
        assert "middle/features/backbone/norm" not in ran

    def test_an_injected_value_is_used_for_what_follows(self) -> None:
        p = plan(nets.toy_net("layer"))
        units = np.zeros((1, 2, 2, 2), np.float32)
        units[0, 1, 0] = 10, 3
        got = execute(p, nets.TOY_IMAGE, ["score_relu", "conv"], inject={"conv_relu": units})
        assert got["score_relu"].numpy().item() == 10 - 3
        assert got["conv"].numpy().max() == 40

    def test_one_of_several_outputs_can_be_replaced(self) -> None:
        model = nets.two_output_net()
        p, x = plan(model), image(1, 6, 6, 4)
        found = execute(p, x, ["conv", "split:0", "head"], inject={"split:1": np.zeros((1, 4, 4, 2), np.float32)})
        np.testing.assert_array_equal(found["split:0"], found["conv"][..., :2])
        np.testing.assert_array_equal(found["head"], np.full((1, 4, 4, 1), model.get_layer("head").bias[0]))

    def test_works_in_a_compiled_function(self) -> None:
        import tensorflow as tf

        model = nets.nested_net("fused")
        p, x = plan(model), image(2, 8, 8, 3)
        compiled = tf.function(lambda x: execute(p, x, ["scores"])["scores"], autograph=False)
        np.testing.assert_allclose(compiled(x), model(x, training=False), rtol=1e-5)
        gradient = tf.function(
            lambda x: backward(p, x, {"scores": lambda s: s[:, 0]}, "guided").gradients["image"], autograph=False
        )
        expected = backward(p, x, {"scores": lambda s: s[:, 0]}, "guided").gradients["image"]
        np.testing.assert_allclose(gradient(x), expected, rtol=1e-4, atol=1e-7)

    def test_dropout_and_batch_norm_are_as_at_inference(self) -> None:
        import keras

        model = unbuilt_layers(keras.layers.Dropout(0.9), shape=(100,))
        symbol = keras.Input((100,), name="y")
        model = keras.Model(symbol, keras.layers.Dropout(0.9)(model(symbol), training=True))
        p, x = plan(model), image(1, 100)
        np.testing.assert_array_equal(execute(p, x, p.outputs)[p.outputs[0]], x)

    def test_what_enters_a_nested_model_takes_its_dtype_and_rank(self) -> None:
        import keras

        inner = keras.Input((4, 4, 1), name="inner", dtype="float16")
        half = keras.Model(inner, keras.layers.Rescaling(2.0, name="twice", dtype="float32")(inner), name="half")
        outer = keras.Input((4, 4), name="outer")
        model = keras.Model(outer, half(outer))
        p, x = plan(model), image(1, 4, 4)
        assert [step.path for step in p.steps] == ["half/inner", "half/twice"]
        np.testing.assert_array_equal(execute(p, x, ["half"])["half"], model(x))
        assert layer_table(p)[1].shape == (4, 4, 1)


class TestPaths:
    def test_do_not_depend_on_what_was_built_before(self) -> None:
        first, second = plan(nets.unnamed_net()), plan(nets.unnamed_net())
        expected = ["conv2d", "conv2d_1", "add", "relu", "functional/conv2d", "functional/re_lu", "functional@1/conv2d"]
        expected += ["functional@1/re_lu", "global_average_pooling2d", "dense"]
        assert [s.path for s in first.steps] == [s.path for s in second.steps] == expected
        assert layer_table(first) == layer_table(second)
        assert list(first.by_path) == list(second.by_path)

    def test_are_those_of_a_fresh_process(self) -> None:
        nets.unnamed_net()
        code = """
import json, keras
from tests import nets
from vizkit.graph import plan
first = nets.sequential_net()
print(json.dumps([[l.name for l in first.layers], [list(plan(m).by_path) for m in (first, nets.unnamed_net())]]))
"""
        root = Path(__file__).parents[2]
        ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
        names, paths = json.loads(ran.stdout.splitlines()[-1])
        sequential = plan(nets.sequential_net())
        assert paths == [list(sequential.by_path), list(plan(nets.unnamed_net()).by_path)]
        assert [step.path for step in sequential.steps] == names

    def test_given_names_are_kept_and_stepped_around(self) -> None:
        import keras

        layers = keras.layers
        model = unbuilt_layers(
            layers.Dense(4), layers.ReLU(name="dense_1"), layers.Dense(4), layers.Dense(4, name="my_dense_7")
        )
        assert [s.path for s in plan(model).steps] == ["dense", "dense_1", "dense_2", "my_dense_7"]

    def test_shared_calls_are_numbered_in_the_order_they_were_made(self) -> None:
        p = plan(nets.shared_layer_net())
        assert [s.path for s in p.steps] == ["shared", "shared@1", "tower/conv", "tower@1/conv", "minus"]
        x = image(1, 6, 6, 3)
        assert p.steps[-1].ins == ("tower@1/conv", "tower/conv")
        found = execute(p, x, ["tower", "tower@1", "minus"])
        np.testing.assert_array_equal(found["minus"], found["tower@1"] - found["tower"])

    def test_every_output_of_an_operation_has_one(self) -> None:
        p, x = plan(nets.two_output_net()), image(1, 6, 6, 4)
        assert p.outputs == ("split:0", "head")
        found = execute(p, x, ["conv", "split", "split:0", "split:1"])
        np.testing.assert_array_equal(found["split"], found["conv"][..., :2])
        np.testing.assert_array_equal(found["split:0"], found["conv"][..., :2])
        np.testing.assert_array_equal(found["split:1"], found["conv"][..., 2:])

    def test_of_a_model_cut_out_of_another(self) -> None:
        import keras

        whole = nets.toy_net("layer")
        tail = keras.Model(whole.get_layer("conv").output, whole.output, name="tail")
        p = plan(tail)
        assert [s.path for s in p.steps] == ["conv_relu", "flat", "score", "score_relu"]
        x = image(2, 2, 2, 2)
        np.testing.assert_array_equal(execute(p, x, p.outputs)["score_relu"], tail(x))

    def test_unknown(self) -> None:
        p = plan(nets.toy_net(depth=1), "toy-1")
        with pytest.raises(NotFound, match=r"toy-1 has no layer 'toy/cnv'\. Did you mean 'toy/conv'\?"):
            execute(p, nets.TOY_IMAGE, ["toy/cnv"])
        import keras

        keras.layers.Dense(1)
        model = unbuilt_layers(keras.layers.Dense(2))
        with pytest.raises(NotFound, match=rf"Keras's '{model.layers[1].name}' is 'dense' here\."):
            plan(model).resolve(model.layers[1].name)


class TestTable:
    def test_of_a_nested_model(self) -> None:
        rows = layer_table(plan(nets.nested_net()))
        by_name = {row.path.rpartition("/")[2]: row for row in rows}
        assert [row.index for row in rows] == list(range(11))
        stem = by_name["stem"]
        assert (stem.path, stem.kind) == ("middle/features/backbone/stem", "Conv2D")
        assert (stem.shape, stem.channels, stem.params) == ((8, 8, 4), 4, 3 * 3 * 3 * 4 + 4)
        assert {name for name, row in by_name.items() if not row.signed} == {
            "stem_relu",
            "depthwise_relu",
            "point_relu",
            "gap",
            "scores",
        }
        assert sum(row.params for row in rows) == nets.nested_net().count_params()

    def test_signs_follow_joins(self) -> None:
        signed = {row.path: row.signed for row in layer_table(plan(nets.branching_net()))}
        assert not signed["ab"]
        assert not signed["out"]
        assert {row.path: row.signed for row in layer_table(plan(nets.shared_layer_net()))}["minus"]

    def test_open_sizes(self) -> None:
        import keras

        inner = keras.Input((None, None, 3), name="pixels")
        body = keras.Model(inner, keras.layers.Conv2D(4, 3, strides=2, name="conv")(inner), name="body")
        outer = keras.Input((9, 9, 3), name="image")
        assert layer_table(plan(body))[0].shape == (None, None, 4)
        assert layer_table(plan(body), [(7, 5, 3)])[0].shape == (3, 2, 4)
        assert layer_table(plan(keras.Model(outer, body(outer))))[0].shape == (4, 4, 4)
        assert len(body.get_layer("conv")._inbound_nodes) == 1


class TestBackward:
    @pytest.mark.parametrize("depth", [0, 1, 2])
    @pytest.mark.parametrize("relu", RELUS)
    @pytest.mark.parametrize(("rule", "expected"), [("normal", GRADIENT), ("guided", GUIDED), ("deconv", DECONV)])
    def test_captum(self, relu: nets.Relu, depth: int, rule: Any, expected: Any) -> None:
        p = plan(nets.toy_net(relu, depth))
        found = backward(p, nets.TOY_IMAGE, {p.outputs[0]: lambda score: score[:, 0]}, rule)
        np.testing.assert_array_equal(found.gradients["image"][0, ..., 0], expected)
        assert found.values[p.outputs[0]].numpy().item() == 54

    @pytest.mark.parametrize("depth", [0, 2])
    def test_grad_cam_by_captum(self, depth: int) -> None:
        prefix = ["", None, "wrap0/toy/"][depth]
        for relu, layer, expected in [
            ("layer", "conv", [[11.25, 13.5], [20.25, 22.5]]),
            ("layer", "conv_relu", [[0, 4], [28, 32.5]]),
            ("fused", "conv", [[0, 4], [28, 32.5]]),
        ]:
            p = plan(nets.toy_net(relu, depth, last_relu=False))  # type: ignore[arg-type]
            path = f"{prefix}{layer}"
            found = backward(p, nets.TOY_IMAGE, {p.outputs[0]: lambda score: score[:, 0]}, wrt=[path])
            weights = found.gradients[path].numpy().mean(axis=(1, 2), keepdims=True)
            cam = np.maximum((weights * found.values[path].numpy()).sum(-1)[0], 0)
            np.testing.assert_allclose(cam, expected, rtol=1e-6)

    def test_xplique(self) -> None:
        import keras

        x = np.array([[5, 0, -5, 10]], np.float32)

        def found(rule: Any, square: Callable[[Any], Any], **options: Any) -> list[float]:
            p = plan(unbuilt_layers(keras.layers.ReLU(**options), square))
            return backward(p, x, {p.outputs[0]: np.ones(4)}, rule).gradients["x"][0].numpy().tolist()  # type: ignore[no-any-return]

        def minus_square(t: Any) -> Any:
            return -keras.ops.square(t)

        assert found("normal", minus_square) == [-10, 0, 0, -20]
        assert found("guided", minus_square) == [0, 0, 0, 0]
        assert found("deconv", keras.ops.square) == [10, 0, 0, 20]
        assert found("deconv", keras.ops.square, max_value=3) == [6, 0, 0, 6]
        assert found("normal", keras.ops.square, max_value=3) == [0, 0, 0, 0]

    @pytest.mark.parametrize("kind", ["ReLU", "relu6", "clip", "lambda", "tf", "fused"])
    def test_a_rectifier_is_known_by_what_it_does(self, kind: str) -> None:
        import keras
        import tensorflow as tf

        layers = keras.layers
        layer: Any = {
            "ReLU": layers.ReLU(max_value=6),
            "relu6": layers.Activation("relu6"),
            "clip": lambda t: keras.ops.clip(t, 0, 6),
            "lambda": layers.Activation(lambda t: keras.activations.relu(t, max_value=6)),
            "tf": layers.Activation(tf.nn.relu6),
            "fused": layers.Dense(4, activation=layers.ReLU(6), kernel_initializer="identity"),
        }[kind]
        p, x = plan(unbuilt_layers(layer)), np.array([[5, -1, -5, 10]], np.float32)
        seed = {p.outputs[0]: np.array([[1, 2, 3, 4]])}
        assert backward(p, x, seed).gradients["x"][0].numpy().tolist() == [1, 0, 0, 0]
        assert backward(p, x, seed, "deconv").gradients["x"][0].numpy().tolist() == [1, 2, 3, 4]
        assert backward(p, x, seed, "guided").gradients["x"][0].numpy().tolist() == [1, 0, 0, 4]
        assert not layer_table(p)[0].signed

    def test_a_maximum_with_zero_is_a_rectifier(self) -> None:
        import keras

        p, x = plan(unbuilt_layers(lambda t: keras.ops.maximum(0.0, t))), np.array([[5, 0, -5, 10]], np.float32)
        seed = {p.outputs[0]: np.array([[1, 2, 3, -4]])}
        assert backward(p, x, seed, "deconv").gradients["x"][0].numpy().tolist() == [1, 2, 3, 0]

    def test_a_threshold_gates_the_guided_rule(self) -> None:
        import keras

        p = plan(unbuilt_layers(keras.layers.ReLU(threshold=2)))
        x = np.array([[5, 1, -5, 3]], np.float32)
        seed = {p.outputs[0]: np.array([[1, 1, 1, -1]])}
        assert backward(p, x, seed, "guided").gradients["x"][0].numpy().tolist() == [1, 0, 0, 0]
        assert backward(p, x, seed).gradients["x"][0].numpy().tolist() == [1, 0, 0, -1]

    @pytest.mark.parametrize("relu", RELUS)
    def test_rules_leave_all_values_as_they_are(self, relu: nets.Relu) -> None:
        model = nets.nested_net(relu)
        x = image(2, 8, 8, 3)
        for rule in ("deconv", "guided"):
            ruled = with_rule(plan(model), rule)  # type: ignore[arg-type]
            np.testing.assert_array_equal(execute(ruled, x, ["scores"])["scores"], model(x, training=False))

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("pool", ["MaxPooling2D", "AveragePooling2D"])
    def test_euler(self, pool: str, seed: int) -> None:
        """Without biases a net of rectifiers and pooling is homogeneous, so that the sum of x·∇f is f(x)."""
        import keras

        layers = keras.layers
        model = unbuilt_layers(
            layers.Conv2D(4, 3, activation="relu"),
            getattr(layers, pool)(2),
            layers.Conv2D(4, 2),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(1),
            shape=(8, 8, 3),
        )
        p, x = plan(nets.seeded(model, seed, bias=False)), image(3, 8, 8, 3, seed=seed)
        found = backward(p, x, {"dense": lambda s: s[:, 0]})
        total = (x * found.gradients["x"].numpy()).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(total, found.values["dense"][:, 0], rtol=1e-4, atol=1e-5)

    def test_a_linear_net_gives_its_weights_and_refuses_other_rules(self) -> None:
        p, x = plan(nets.linear_net()), image(2, 4, 4, 2)
        gradient = backward(p, x, {"score": lambda s: s[:, 1]}).gradients["image"].numpy()
        zero = execute(p, np.zeros_like(x), ["score"])["score"][:, 1]
        np.testing.assert_array_equal(gradient[0], gradient[1])
        np.testing.assert_allclose(
            (x * gradient).sum(axis=(1, 2, 3)) + zero, execute(p, x, ["score"])["score"][:, 1], rtol=1e-4, atol=1e-5
        )
        for rule in ("deconv", "guided"):
            with pytest.raises(NotSupported, match=f"linear has no rectifiers, so the {rule} rule is its plain gradient"):
                backward(p, x, {"score": lambda s: s[:, 1]}, rule)  # type: ignore[arg-type]

    def test_below_the_first_rectifier_all_rules_agree(self) -> None:
        p = plan(nets.toy_net("layer"))
        for rule in ("normal", "deconv", "guided"):
            found = backward(p, nets.TOY_IMAGE, {"conv": lambda t: t[:, 0, 0, 0]}, rule)  # type: ignore[arg-type]
            expected = np.zeros((4, 4))
            expected[:3, :3] = 1
            np.testing.assert_array_equal(found.gradients["image"][0, ..., 0], expected)

    def test_seeds_several_targets_and_injected_starts(self) -> None:
        p = plan(nets.toy_net("layer", 1))
        units = np.array([[[[-1, 2], [3, -4]], [[5, 6], [7, 8]]]], np.float32)
        found = backward(p, None, {"toy": np.ones((1, 1)), "toy/conv_relu": np.ones(2)}, inject={"toy/conv": units})
        signs = np.array([[[[1, 1], [1, -1]], [[1, -1], [1, -1]]]], np.float32)
        np.testing.assert_array_equal(found.gradients["toy/conv"], (units > 0) * (signs + 1))
        assert set(found.gradients) == {"toy/conv"}

    def test_only_the_inputs_that_matter_by_default(self) -> None:
        p = plan(nets.two_input_net())
        x = [image(1, 6, 6, 3), image(1, 3, 3, 3)]
        assert set(backward(p, x, {"mix": lambda t: t[:, 0, 0, 0]}).gradients) == {"large", "small"}
        assert set(backward(p, x, {"embed": lambda t: t[:, 0, 0, 0]}).gradients) == {"small"}
        with pytest.raises(NotSupported, match="No gradient reaches 'large' from 'embed'"):
            backward(p, x, {"embed": lambda t: t[:, 0, 0, 0]}, wrt=["large"])

    def test_refusals(self) -> None:
        import keras

        layers, x = keras.layers, image(1, 4)
        p = plan(unbuilt_layers(layers.LeakyReLU(name="slope"), layers.ReLU(name="relu")))
        for rule in ("deconv", "guided"):
            with pytest.raises(NotSupported, match=f"The {rule} rule does not fit 'slope': it lets negative values through"):
                backward(p, x, {"relu": np.ones(4)}, rule)  # type: ignore[arg-type]
        assert backward(p, x, {"relu": np.ones(4)}).gradients["x"].shape == (1, 4)
        assert backward(p, x, {"relu": np.ones(4)}, "guided", inject={"slope": x}).gradients["slope"].shape == (1, 4)

        hidden = layers.TimeDistributed(layers.Dense(2, activation="relu"), name="each")
        p = plan(unbuilt_layers(hidden, shape=(3, 4)))
        with pytest.raises(NotSupported, match="'each': it holds a rectifier that a rule cannot reach"):
            backward(p, image(1, 3, 4), {"each": np.ones(2)}, "guided")

        pixels = keras.Input((4,), name="pixels", dtype="uint8")
        p = plan(keras.Model(pixels, layers.ReLU(name="relu")(layers.Rescaling(1.0)(pixels)), name="bytes"))
        with pytest.raises(NotSupported, match="No gradient reaches 'pixels' from 'relu' in bytes"):
            backward(p, np.ones((1, 4), np.uint8), {"relu": np.ones(4)})

        p = plan(nets.toy_net())
        with pytest.raises(NotFound, match="There is no backward rule 'guide'"):
            backward(p, nets.TOY_IMAGE, {"score": np.ones(1)}, "guide")  # type: ignore[arg-type]
        with pytest.raises(VizkitError, match=r"gives shape \(1, 1\), not one number per image"):
            backward(p, nets.TOY_IMAGE, {"score": lambda s: s})
        with pytest.raises(VizkitError, match="toy has no value for its input 'image'"):
            execute(p, None, ["score"])


class TestLogits:
    @pytest.mark.parametrize("depth", [0, 1, 2])
    @pytest.mark.parametrize("kind", ["fused", "layer", "activation", "op", "sigmoid"])
    def test_are_what_the_softmax_was_given(self, kind: str, depth: int) -> None:
        import keras

        layers = keras.layers
        tail: list[Any] = {
            "fused": [layers.Dense(3, activation="softmax")],
            "layer": [layers.Dense(3), layers.Softmax(), layers.Reshape((3,))],
            "activation": [layers.Dense(3), layers.Activation("softmax")],
            "op": [layers.Dense(3), keras.ops.softmax],
            "sigmoid": [layers.Dense(3, activation="sigmoid")],
        }[kind]
        model = nets.seeded(unbuilt_layers(*tail), 3)
        kernel, bias = model.get_weights()
        for _ in range(depth):
            model = unbuilt_layers(model)
        p, x = plan(model), image(2, 4)
        looked_through = logits(p)
        found = execute(looked_through, x, looked_through.outputs)[looked_through.outputs[0]]
        np.testing.assert_allclose(found, x @ kernel + bias, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(execute(p, x, p.outputs)[p.outputs[0]], model(x))
        gradient = backward(looked_through, x, {p.outputs[0]: lambda t: t[:, 1]}).gradients["x"]
        np.testing.assert_allclose(gradient, np.tile(kernel[:, 1], (2, 1)), rtol=1e-6)

    def test_an_output_without_one_is_left_alone(self) -> None:
        p = plan(nets.toy_net())
        assert [s.op for s in logits(p).steps] == [s.op for s in p.steps]


class TestModelsWithoutPlan:
    def test_opaque(self) -> None:
        import keras

        class Own(keras.Model):
            def call(self, x: Any) -> Any:
                return x

        class Overridden(keras.Sequential):
            def call(self, x: Any, training: Any = None, mask: Any = None) -> Any:
                return x

        with pytest.raises(NotSupported, match=r"own computes in Own\.call, not in a graph of layers, so it predicts but"):
            plan(Own(name="own"))
        with pytest.raises(NotSupported, match=r"computes in Overridden\.call"):
            plan(Overridden([keras.Input((2,)), keras.layers.Dense(1)]))
        with pytest.raises(NotSupported, match=r"A plan needs a keras\.Model, not str"):
            plan("resnet50")

    def test_unbuilt_sequential(self) -> None:
        import keras

        model = keras.Sequential([keras.layers.Dense(2)], name="late")
        with pytest.raises(NotSupported, match="late is a Sequential that is not built yet"):
            plan(model)
        x = image(1, 3)
        expected = model(x)
        np.testing.assert_array_equal(execute(plan(model), x, ["dense"])["dense"], expected)


class TestTheModelStaysAsItIs:
    @pytest.mark.parametrize("relu", ["fused", "layer"])
    def test_weights_config_and_graph(self, relu: nets.Relu) -> None:
        model = nets.nested_net(relu)
        layers = list(model._flatten_layers())

        def state() -> Any:
            activations = [id(vars(layer).get("activation")) for layer in layers]
            return model.to_json(), activations, [len(layer._inbound_nodes) for layer in layers]

        before, weights = state(), model.get_weights()
        p = plan(model)
        layer_table(p)
        for rule in ("normal", "deconv", "guided"):
            backward(logits(p), image(1, 8, 8, 3), {"scores": lambda s: s[:, 0]}, rule)  # type: ignore[arg-type]
        assert state() == before
        for now, then in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(now, then)

    def test_a_view_shares_the_weights(self) -> None:
        layer = nets.toy_net().get_layer("conv")
        view = with_activation(layer, lambda x: x)
        assert view.kernel is layer.kernel
        assert layer.activation.__name__ == "relu"
        assert view(nets.TOY_IMAGE).numpy().min() < 0 <= layer(nets.TOY_IMAGE).numpy().min()

    def test_predictions_beside_a_backward_pass_are_right(self) -> None:
        model = nets.nested_net("fused")
        p, x = plan(model), image(4, 8, 8, 3)
        expected = model(x, training=False).numpy()
        gradient = gradient_of(p, x)

        with ThreadPoolExecutor(4) as pool:
            gradients = [pool.submit(gradient_of, p, x) for _ in range(15)]
            predictions = [pool.submit(lambda: model(x, training=False).numpy()) for _ in range(60)]
            replays = [pool.submit(lambda: execute(p, x, ["scores"])["scores"].numpy()) for _ in range(30)]
        for future in [*predictions, *replays]:
            np.testing.assert_array_equal(future.result(), expected)
        for future in gradients:
            np.testing.assert_array_equal(future.result(), gradient)


def gradient_of(p: Plan, x: np.ndarray) -> np.ndarray:
    return backward(p, x, {"scores": lambda s: s[:, 0]}, "guided").gradients["image"].numpy()  # type: ignore[no-any-return]
