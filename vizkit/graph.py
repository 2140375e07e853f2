"""A Keras model as one flat, immutable plan of its operations, and the execution of any part of that plan.

`plan` walks a functional model once and goes into nested models. `execute` computes any of its tensors, running only what
they need, and can start from any others. Nothing here changes the model, so one plan serves all threads. Backward rules
and logits are rewritten plans: see `vizkit.rules`.

Paths. A tensor is addressed by the names of the models around it and of its operation: `backbone/block_3_expand_relu`.
The second call of a shared layer or model is `name@1`; an operation with several outputs has `name:0`, `name:1`, and
`name` is the first. Keras numbers unnamed operations by what the process built before, so a name that Keras could have
given itself (class name in snake case, perhaps with a number) is numbered anew inside its own model, in order of
creation: `conv2d`, `conv2d_1`, … as a fresh process would. Keras does not tell a given name from such a one, so a
`Conv2D` that a person called `conv2d_7` is renumbered too. All other names are kept, and numbers they occupy left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from vizkit.errors import NotFound, NotSupported, VizkitError, suggestion
from vizkit.nonlinear import Nonlinearity, keeps_nonnegative, nature
from vizkit.types import LayerInfo

Tensor: TypeAlias = Any
"""A TensorFlow tensor, eager or symbolic; batch first, channels last."""
Shape: TypeAlias = tuple[int | None, ...]
"""Without the batch axis; None where the model takes any size."""
Call: TypeAlias = Callable[["Step", tuple[Any, ...], dict[str, Any]], Any]
"""A hook around one operation: gets the step and its arguments, returns its outputs. `infer` is the plain one."""


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """One call of one operation: from the tensors at `ins` to those at `outs` (paths), in execution order."""

    path: str
    kind: str
    op: Callable[..., Any]
    node: Any
    ins: tuple[str, ...]
    outs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    params: int
    signed: bool
    nonlinearity: Nonlinearity | None


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """A model as steps in execution order. `inputs` and `outputs` are paths, in the order of the flattened structure.

    `by_path` maps every name of a tensor to the one path under which steps know it; a nested model's name, for one,
    stands for the output of its last operation.
    """

    name: str
    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    by_path: Mapping[str, str]
    graph: Any

    def resolve(self, path: str) -> str:
        """The path under which steps know the tensor at `path`; NotFound with the nearest name when there is none."""
        if path in self.by_path:
            return self.by_path[path]
        renumbered = [s.path for s in self.steps if getattr(s.op, "name", None) == path.rpartition("/")[2]]
        hint = f" Keras's {path!r} is {renumbered[0]!r} here." if renumbered else suggestion(path, self.by_path)
        raise NotFound(f"{self.name} has no layer {path!r}.{hint} See: vizkit list layers {self.name}")

    def with_ops(self, ops: Mapping[str, Callable[..., Any]]) -> Plan:
        """The same plan with other operations at the given step paths; this plan and the model stay as they are."""
        return replace(self, steps=tuple(replace(s, op=ops[s.path]) if s.path in ops else s for s in self.steps))

    def needed(self, want: Iterable[str], have: Iterable[str]) -> tuple[tuple[Step, ...], frozenset[str]]:
        """What it takes to get from the tensors at `have` to those at `want`: the steps, and which of `have` they use.

        An error names the inputs of the model that are missing.
        """
        given, need, todo = set(have), set(want), list[Step]()
        for step in reversed(self.steps):
            if any(out in need and out not in given for out in step.outs):
                todo.append(step)
                need.update(step.ins)
        missing = [path for path in self.inputs if path in need and path not in given]
        if missing:
            names = ", ".join(map(repr, missing))
            raise VizkitError(f"{self.name} has no value for its input {names}. Give it in x, or inject what follows.")
        return tuple(reversed(todo)), frozenset(given & need)


def plan(model: Any, name: str | None = None) -> Plan:
    """The plan of a functional or Sequential Keras model, whatever is nested in it; `name` is for messages.

    A nested model whose class overrides `call`, or any other layer made of layers, is one step. An error says in a
    sentence why a model as a whole has no plan: it overrides `call`, or it is a Sequential that was never built.
    """
    graph = _functional(model)
    if graph is None:
        raise NotSupported(_opaque_reason(model))
    steps: list[Step] = []
    by_path: dict[str, str] = {}

    def address(path: str, outs: Sequence[str]) -> None:
        names = {path: outs[0]} | ({f"{path}:{i}": out for i, out in enumerate(outs)} if len(outs) > 1 else {})
        if not by_path.keys().isdisjoint(names):
            raise NotSupported(f"Two operations of {model.name} would both be called {path!r}. Rename one of them.")
        by_path.update(names)

    def add(path: str, op: Any, node: Any, ins: tuple[str, ...], outputs: Sequence[Any]) -> tuple[str, ...]:
        outs = (path,) if len(outputs) == 1 else tuple(f"{path}:{i}" for i in range(len(outputs)))
        kind, nonnegative = nature(op, _unary(op, node), len(outputs[0].shape), _sublayers(op))
        signed = not (nonnegative or keeps_nonnegative(op, [signs[key] for key in ins]))
        signs.update(dict.fromkeys(outs, signed))
        shapes = tuple(tuple(t.shape[1:]) for t in outputs)
        params = int(op.count_params()) if hasattr(op, "count_params") else 0
        steps.append(Step(path, type(op).__name__, op, node, ins, outs, shapes, params, signed, kind))
        address(path, outs)
        return outs

    def walk(graph: Any, prefix: str, fed: Sequence[str], tensors: Sequence[Any]) -> list[str]:
        """Append the steps of one (nested) model that is fed with the given paths; the paths of its outputs."""
        names = _stable_names(graph)
        keys: dict[int, str] = {}
        for inner, outer, key in zip(graph.inputs, tensors, fed, strict=True):
            conform = Conform(inner.dtype, len(inner.shape))
            path = prefix + names[_source(inner)]
            keys[id(inner)] = key if conform.suits(outer) else add(path, conform, None, (key,), [inner])[0]
        for node, call in _calls(graph):
            path = prefix + names[node.operation] + (f"@{call}" if call else "")
            ins = tuple(keys[id(t)] for t in node.input_tensors)
            nested = _functional(node.operation)
            if nested is None:
                outs: Sequence[str] = add(path, node.operation, node, ins, node.outputs)
            else:
                given = _call_inputs(nested, node)
                outs = walk(nested, path + "/", [keys[id(t)] for t in given], given)
                address(path, outs)
            keys.update(zip(map(id, node.outputs), outs, strict=True))
        return [keys[id(t)] for t in graph.outputs]

    names = _stable_names(graph)
    inputs = tuple(names[_source(t)] for t in graph.inputs)
    by_path.update(zip(inputs, inputs, strict=True))
    signs = dict.fromkeys(inputs, True)
    outputs = tuple(walk(graph, "", inputs, graph.inputs))
    return Plan(name or model.name, tuple(steps), inputs, outputs, MappingProxyType(by_path), graph)


def infer(op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call one operation as at inference: dropout off, batch norm with its stored statistics."""
    import keras

    return op(*args, **kwargs | {"training": False}) if isinstance(op, keras.Layer) else op(*args, **kwargs)


def feed(plan: Plan, x: Any = None, inject: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """Tensors by path to begin with: the model's input, in any form that the model takes, and what `inject` adds."""
    import keras

    def tensor(value: Any) -> Any:
        return keras.ops.convert_to_tensor(value) if isinstance(value, np.ndarray) else value

    values: dict[str, Tensor] = {}
    if x is not None:
        values.update(zip(plan.inputs, _standardized(plan.graph, keras.tree.map_structure(tensor, x)), strict=True))
    for path, value in (inject or {}).items():
        values[plan.resolve(path)] = tensor(value)
    return values


def execute(
    plan: Plan,
    x: Any,
    want: Iterable[str],
    *,
    call: Call | None = None,
    inject: Mapping[str, Any] | None = None,
) -> dict[str, Tensor]:
    """The tensors at the paths in `want`, bit for bit those of `model(x, training=False)`; only what they need runs.

    `inject` puts tensors in place of those at its paths; what lies before them does not run, and with `x=None` a model
    starts in its middle, without an image. `call` goes around every operation, in place of `infer`. Works under a
    `GradientTape` and in a `tf.function`. Values are let go as soon as nothing needs them.
    """
    import keras

    asked = {path: plan.resolve(path) for path in want}
    values = feed(plan, x, inject)
    steps, _ = plan.needed(asked.values(), values)
    uses = Counter(asked.values())
    uses.update(key for step in steps for key in step.ins)
    for step in steps:
        args, kwargs = _arguments(step.node, [values[key] for key in step.ins])
        outputs = call(step, args, kwargs) if call else infer(step.op, args, kwargs)
        for key, value in zip(step.outs, keras.tree.flatten(outputs), strict=True):
            values.setdefault(key, value)
        for key in step.ins:
            uses[key] -= 1
            if not uses[key]:
                del values[key]
    return {path: values[key] for path, key in asked.items()}


def layer_table(plan: Plan, input_shapes: Sequence[Shape] | None = None) -> tuple[LayerInfo, ...]:
    """One row per tensor that an operation makes, in execution order; a layer called twice has two rows.

    `signed` is False where values cannot be negative: after a rectifier, sigmoid or softmax, and after pooling, padding,
    reshaping or joining such tensors. `input_shapes`, one per input without the batch axis, fills in what the model
    leaves open. A nested model that was built for any size shows the size that it is used with.
    """
    shapes = _shapes(plan, input_shapes)
    cells = ((step, path) for step in plan.steps for path in step.outs)
    return tuple(
        LayerInfo(path, step.kind, shapes[path], step.params, (shapes[path] or (0,))[-1] or 0, index, step.signed)
        for index, (step, path) in enumerate(cells)
    )


def description(plan: Plan) -> list[Any]:
    """What the plan computes, apart from its weights, as JSON values: equal for two builds of one model, whatever numbers
    Keras gave their layers."""
    rows: list[Any] = [plan.inputs, plan.outputs]
    for step in plan.steps:
        constants = () if step.node is None else _constants(step.node)
        rows.append([step.path, step.kind, step.ins, _config(step.op), constants])
    return rows


def _shapes(plan: Plan, input_shapes: Sequence[Shape] | None) -> dict[str, Shape]:
    """The shape at every path: as planned, or inferred by running the plan on shapes alone where something was open."""
    import keras

    planned = {out: shape for step in plan.steps for out, shape in zip(step.outs, step.shapes, strict=True)}
    if input_shapes is None and not any(None in shape for shape in planned.values()):
        return planned
    given = input_shapes or [t.shape[1:] for t in plan.graph.inputs]
    specs = {
        path: keras.KerasTensor((None, *shape), dtype=t.dtype)
        for path, shape, t in zip(plan.inputs, given, plan.graph.inputs, strict=True)
    }

    def infer_shape(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        op: Any = step.node.operation if step.node else step.op
        return op.compute_output_spec(*args, **kwargs)

    specs = execute(plan, None, planned, call=infer_shape, inject=specs)
    return {path: tuple(spec.shape[1:]) for path, spec in specs.items()}


class Conform:
    """What Keras does to a tensor that enters a nested model: it takes on the dtype and rank of the model's input."""

    def __init__(self, dtype: str, rank: int) -> None:
        self.dtype, self.rank = dtype, rank

    def suits(self, tensor: Any) -> bool:
        """Whether the tensor can enter as it is."""
        return bool(tensor.dtype == self.dtype and len(tensor.shape) == self.rank)

    def __call__(self, x: Tensor) -> Tensor:
        import keras

        x = keras.ops.cast(x, self.dtype)
        if len(x.shape) == self.rank:
            return x
        return keras.ops.squeeze(x, axis=-1) if len(x.shape) > self.rank else keras.ops.expand_dims(x, axis=-1)

    def compute_output_spec(self, x: Any) -> Any:
        import keras

        shape = (*x.shape, 1) if len(x.shape) < self.rank else x.shape[: self.rank]
        return keras.KerasTensor(shape, dtype=self.dtype)


def _stable_names(graph: Any) -> dict[Any, str]:
    """A name for each operation of one model that does not depend on what the process built before (see above)."""
    names: dict[Any, str] = {}
    unnamed: dict[str, list[tuple[int, Any]]] = {}
    for op in graph.operations:
        base = _automatic_name(op)
        match = re.fullmatch(rf"{re.escape(base)}(?:_(\d+))?", op.name)
        if match:
            unnamed.setdefault(base, []).append((int(match[1] or 0), op))
        else:
            names[op] = op.name
    taken = set(names.values())
    for base, numbered in unnamed.items():
        free = (name for i in count() if (name := f"{base}_{i}" if i else base) not in taken)
        for _, op in sorted(numbered, key=lambda item: item[0]):
            names[op] = next(free)
        taken.update(names.values())
    return names


# All that Keras keeps private and a plan has to know; nothing else in vizkit may. As of Keras 3.15.


def _functional(model: Any) -> Any:
    """The Functional inside a model whose forward pass is its graph; None for anything else."""
    import keras
    from keras.src.models.functional import Functional

    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call:
        return model._functional
    return model if isinstance(model, Functional) and type(model).call is Functional.call else None


def _opaque_reason(model: Any) -> str:
    import keras

    if not isinstance(model, keras.Model):
        return f"A plan needs a keras.Model, not {type(model).__name__}."
    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call:
        return f"{model.name} is a Sequential that is not built yet. Call it once on an image, or begin it with keras.Input."
    return (
        f"{model.name} computes in {type(model).__name__}.call, not in a graph of layers, so it predicts but its layers "
        "cannot be reached. Build it with keras.Model(inputs, outputs) instead."
    )


def _calls(graph: Any) -> Iterator[tuple[Any, int]]:
    """Each node (a call of an operation) in execution order, and which call of its operation in this model it is."""
    nodes = [n for depth in sorted(graph._nodes_by_depth, reverse=True) for n in graph._nodes_by_depth[depth]]
    here = set(nodes)
    for node in nodes:
        if not node.is_input:
            calls = [n for n in node.operation._inbound_nodes if n in here]
            yield node, calls.index(node)


def _source(tensor: Any) -> Any:
    """The InputLayer that a model's symbolic input comes from."""
    return tensor._keras_history.operation


def _call_inputs(model: Any, node: Any) -> list[Any]:
    """The symbolic tensors that a nested model was called with, in the order of its own inputs."""
    import keras

    given = node.arguments.args[0] if node.arguments.args else next(iter(node.arguments.kwargs.values()))
    if isinstance(given, dict) and not isinstance(model._inputs_struct, dict):
        return [given[_source(t).name] for t in model.inputs]
    return list(keras.tree.flatten(given))


def _arguments(node: Any, tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a recorded call with tensors in place of symbols; without a node, the tensors in order."""
    if node is None:
        return tuple(tensors), {}
    filled: tuple[tuple[Any, ...], dict[str, Any]] = node.arguments.fill_in(
        {id(t): x for t, x in zip(node.input_tensors, tensors, strict=True)}
    )
    return filled


def _unary(op: Any, node: Any) -> Callable[[Any], Any] | None:
    """An operation of one tensor as a plain function, with the other arguments of its call; None if it takes several."""
    if node is None or len(node.input_tensors) != 1:
        return None

    def function(x: Any) -> Any:
        args, kwargs = _arguments(node, [x])
        return op.call(*args, **kwargs)

    return function


def _config(op: Any) -> Any:
    """An operation's settings, less the names that Keras gives and what only training asks."""
    idle = re.compile(r"name|registered_name|build_config|trainable|seed|.*_(initializer|regularizer|constraint)")

    def settings(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(k): settings(v) for k, v in value.items() if not idle.fullmatch(str(k))}
        return [settings(v) for v in value] if isinstance(value, list | tuple) else value

    try:
        return settings(op.get_config())
    except (AttributeError, NotImplementedError, TypeError):  # an operation that does not say
        return None


def _constants(node: Any) -> list[str]:
    """What a recorded call was given besides tensors."""
    import keras

    given = keras.tree.flatten([node.arguments.args, dict(sorted(node.arguments.kwargs.items()))])
    return [repr(value) for value in given if not keras.ops.is_tensor(value) and not isinstance(value, keras.KerasTensor)]


def _standardized(graph: Any, x: Any) -> list[Any]:
    """A model's own reading of its input: structure, dtype and rank put right, then flattened."""
    return list(graph._standardize_inputs(x))


def _sublayers(op: Any) -> list[Any]:
    """The layers inside a layer, at any depth."""
    return list(op._flatten_layers(include_self=False)) if hasattr(op, "_flatten_layers") else []


def _automatic_name(op: Any) -> str:
    """What Keras calls an operation of this class when nobody names it, without the number."""
    from keras.src.utils.naming import to_snake_case

    return str(to_snake_case(type(op).__name__))
