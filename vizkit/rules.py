"""Gradients of a plan under a chosen rule, and its logits: rewritten plans, never a changed model.

What acts otherwise is a new callable or a view of a layer that shares its weights, so that other threads may use the
model meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from vizkit.errors import NotFound, NotSupported, VizkitError
from vizkit.graph import Plan, Step, Tensor, execute, feed, infer
from vizkit.nonlinear import Nonlinearity
from vizkit.types import Rule

Function: TypeAlias = Callable[..., Any]

_REFUSED: dict[Nonlinearity | None, str] = {
    "leaky": "lets negative values through, so it has no off state to gate",
    "hidden": "holds a rectifier that a rule cannot reach",
}


def with_rule(plan: Plan, rule: Rule) -> Plan:
    """The same plan, whose rectifiers hand a gradient g back by another rule; all values stay the same, bit for bit.

    - "normal": as it is, g·[x>0] for input x, and 0 on the plateau of a ceiling such as ReLU6's.
    - "deconv": g·[g>0], whatever the input was (Zeiler and Fergus 2014, arXiv:1311.2901). A ceiling does not stop it.
    - "guided": g·[g>0]·[x>0] (Springenberg et al. 2015, arXiv:1412.6806); [x>threshold] where there is one. A ceiling does
      not stop it either.

    It holds for separate rectifiers and for those fused into a layer, at any depth, and for the rectifiers alone: other
    nonlinearities keep their own gradient. A model without any rectifier is an error, for its deconvnet or guided
    gradient would be the plain one under another name. Running a rectifier that lets negative values through, or a custom
    layer that holds one, is an error in one sentence.
    """
    if rule == "normal":
        return plan
    if rule not in ("deconv", "guided"):
        raise NotFound(f"There is no backward rule {rule!r}. There are: normal, deconv, guided.")
    if not any(step.nonlinearity in ("relu", "leaky", "hidden") for step in plan.steps):
        raise NotSupported(f"{plan.name} has no rectifiers, so the {rule} rule is its plain gradient. Use normal.")
    return plan.with_ops({s.path: _ruled(s, rule) for s in plan.steps if s.nonlinearity})


def logits(plan: Plan) -> Plan:
    """The same plan without the softmax or sigmoid that its outputs end in, so that each output gives logits.

    The function may be fused into a dense layer, a layer of its own or an operation, at any depth; reshaping after it is
    looked through. Outputs that end in neither are left as they are.
    """
    maker = {out: step for step in plan.steps for out in step.outs}
    found = {}
    for key in plan.outputs:
        step = maker.get(key)
        while step and step.nonlinearity is None and step.kind in ("Reshape", "Flatten", "Identity", "Conform"):
            step = maker.get(step.ins[0])
        if step and step.nonlinearity in ("softmax", "sigmoid"):
            found[step.path] = _linear(step.op)
    return plan.with_ops(found)


@dataclass(frozen=True, eq=False, slots=True)
class Gradients:
    """What `backward` found: `gradients` by the paths asked for, and the `values` there and at the targets' paths."""

    gradients: Mapping[str, Tensor]
    values: Mapping[str, Tensor]


def backward(
    plan: Plan,
    x: Any,
    target: Mapping[str, Any],
    rule: Rule = "normal",
    wrt: Sequence[str] | None = None,
    *,
    inject: Mapping[str, Any] | None = None,
) -> Gradients:
    """The gradient of a target with respect to the tensors at the paths in `wrt`; each has the shape of its tensor.

    `target` maps paths to what is asked of the tensor there: a function from the tensor (n, …) to one number per image
    (n,), or a seed, an array that the gradient starts from there, broadcast to the tensor. Several are added up.
    `wrt` is by default all that was given (the inputs and what `inject` replaces) and that the target depends on.

    Zeiler and Fergus 2014 and Springenberg et al. 2015 begin at the output of a rectifier: that rectifier's own rule
    applies too. An error says which path in `wrt` the target does not depend on.
    """
    import keras
    import tensorflow as tf

    given = feed(plan, x, inject)
    goals = {path: plan.resolve(path) for path in target}
    _, used = plan.needed(goals.values(), given)
    sources = (
        {p: plan.resolve(p) for p in wrt} if wrt is not None else {k: k for k in given if k in used and given[k] is not None}
    )

    with tf.GradientTape(watch_accessed_variables=False) as tape:

        def call(step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            outputs = infer(step.op, args, kwargs)
            for key, value in zip(step.outs, keras.tree.flatten(outputs), strict=True):
                if key in sources.values() and key not in given:
                    tape.watch(value)
            return outputs

        for key in set(sources.values()) & given.keys():
            if given[key].dtype.is_floating:
                tape.watch(given[key])
        values = execute(with_rule(plan, rule), None, [*goals, *sources], call=call, inject=given)
        total = sum(_score(path, values[path], asked) for path, asked in target.items())
    gradients = tape.gradient(total, {path: values[path] for path in sources if values[path].dtype.is_floating})
    for path in sources:
        if gradients.get(path) is None:
            raise NotSupported(f"No gradient reaches {path!r} from {', '.join(map(repr, target))} in {plan.name}.")
    return Gradients(gradients, values)


def _score(path: str, value: Tensor, asked: Any) -> Tensor:
    """The scalar whose gradient is what `target` asks of the tensor at `path`."""
    import tensorflow as tf

    if not callable(asked):
        return tf.reduce_sum(value * tf.broadcast_to(tf.cast(asked, value.dtype), tf.shape(value)))
    score = asked(value)
    if len(score.shape) != 1:
        raise VizkitError(f"The target at {path!r} gives shape {tuple(score.shape)}, not one number per image, (n,).")
    return tf.reduce_sum(score)


def _ruled(step: Step, rule: Rule) -> Function:
    """The step's operation with the rule; a call raises NotSupported where the rule has no meaning or cannot act."""
    if step.nonlinearity in _REFUSED:

        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise NotSupported(f"The {rule} rule does not fit {step.path!r}: it {_REFUSED[step.nonlinearity]}. Use normal.")

        return refuse
    if step.nonlinearity != "relu":
        return step.op
    fused = vars(step.op).get("activation")
    return with_activation(step.op, _gated(fused, rule)) if callable(fused) else _gated(step.op, rule)


def _gated(function: Function, rule: Rule) -> Function:
    """A rectifying function whose gradient is gated as `rule` says."""
    import keras
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def gate(x: Any, y: Any) -> Any:
        def pull(g: Any) -> tuple[Any, Any]:
            passes = (g > 0) & (y > 0) if rule == "guided" else g > 0
            return tf.where(passes, g, tf.zeros_like(g)), tf.zeros_like(g)

        return tf.identity(y), pull

    def gated(*args: Any, **kwargs: Any) -> Any:
        x = next(a for a in keras.tree.flatten((args, kwargs)) if keras.ops.is_tensor(a))
        return gate(x, tf.stop_gradient(function(*args, **kwargs)))

    return gated


def _linear(op: Any) -> Any:
    """The operation without its activation: a dense layer's logits in place of its softmax, a softmax as the identity."""
    if callable(vars(op).get("activation")):
        return with_activation(op, lambda x: x)
    return lambda x, *args, **kwargs: x


def with_activation(layer: Any, activation: Function) -> Any:
    """A view of a layer: the same weights, another activation. The layer itself is never touched."""
    view: Any = object.__new__(type(layer))
    vars(view).update(vars(layer), activation=activation)
    return view
