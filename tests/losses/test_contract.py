"""What every loss keeps in one process: its paper's formula, its gradient, its invariances, precision, state, refusals.

Oracles: the plain formulas in float64 of ``cases/``, torch.autograd.gradcheck, eager mode for the compiler.
"""

import inspect
import re

import pytest
import torch
from contract import (
    WIDTH,
    is_stateless,
    leaf_arguments,
    load,
    module,
    names_with_a_case,
    plain_value,
    rows,
    state_of,
)  # fmt: skip
from torch import Tensor
from torch.func import functional_call
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

import ssl_losses
from ssl_losses import LOSSES
from ssl_losses.checks import LOWEST_TEMPERATURE

every_loss = pytest.mark.parametrize("name", LOSSES)


def tensors_in(arguments):
    """Return the positions of tensors among the flattened arguments."""
    return [position for position, leaf in enumerate(tree_flatten(arguments)[0]) if isinstance(leaf, Tensor)]


def each(applies):
    """Return a decorator that runs a test for the losses it applies to; a loss without a case fails a test of its own."""
    return pytest.mark.parametrize("name", [name for name in LOSSES if name in names_with_a_case() and applies(name)])


def with_invariance(kind):
    return each(lambda name: kind in load(name).invariances)


def temperatures(name):
    """Return the options of a loss that are temperatures."""
    return [option for option in inspect.signature(LOSSES[name]).parameters if "temperature" in option]


stateless_loss = each(lambda name: is_stateless(module(name)))
loss_with_state = each(lambda name: not is_stateless(module(name)))
loss_with_buffers = each(lambda name: any(True for _ in module(name).buffers()))
loss_with_targets = each(lambda name: load(name).targets)
loss_with_temperature = each(temperatures)
loss_of_several_tensors = each(lambda name: len(tensors_in(leaf_arguments(name)[0])) > 1)


def detached(arguments):
    return tree_map(lambda value: value.detach() if isinstance(value, Tensor) else value, arguments)


def test_no_loss_escapes():
    assert names_with_a_case() == set(LOSSES)


@every_loss
def test_names_follow_the_pattern(name):
    """Function ``nt_xent``, module ``NTXentLoss``, the options of both with the same defaults, all in ``__all__``."""
    function, loss = getattr(ssl_losses, name), LOSSES[name]
    assert loss.__name__.removesuffix("Loss").lower() == name.replace("_", "")
    assert {name, loss.__name__} <= set(ssl_losses.__all__)
    theirs = inspect.signature(function).parameters
    for option, parameter in inspect.signature(loss).parameters.items():
        if option in theirs and theirs[option].default is not inspect.Parameter.empty:
            assert theirs[option].default == parameter.default, option


# ---- values and gradients ----


@every_loss
def test_value_is_that_of_the_papers_formula(name):
    """In two steps: the second meets the state that the first one has left, and the state before it was updated."""
    loss = module(name)
    for batch in range(2):
        arguments, _ = leaf_arguments(name, batch=batch)
        expected = plain_value(name, state_of(loss), detached(arguments))
        value = loss(*arguments)
        assert value.shape == ()
        assert value.dtype == torch.float64
        assert value.item() == pytest.approx(float(expected), rel=1e-10, abs=1e-13)


@stateless_loss  # else the function takes the state as an argument
def test_function_and_module_are_the_same(name):
    loss, (arguments, _) = module(name), leaf_arguments(name)
    assert torch.equal(getattr(ssl_losses, name)(*arguments, **load(name).options), loss(*arguments))


@every_loss
def test_gradient_is_that_of_finite_differences(name):
    """Oracle: gradcheck; for a loss that holds a part constant inside, autograd through the plain formula."""
    loss, (arguments, leaves) = module(name), leaf_arguments(name, slice(8))
    loss(*leaf_arguments(name, slice(8), batch=1)[0])  # a state that a step has left
    loss.eval()
    views = {number: leaf for number, leaf in leaves.items() if leaf.requires_grad}
    parameters = dict(loss.named_parameters())
    inputs = [*views.values(), *parameters.values()]
    if load(name).detaches:
        found = torch.autograd.grad(loss(*arguments), inputs, allow_unused=True)
        expected = torch.autograd.grad(
            plain_value(name, dict(loss.state_dict(keep_vars=True)), arguments), inputs, allow_unused=True
        )
        for ours, theirs in zip(found, expected):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
        return

    def value(*tensors):
        changed = leaves | dict(zip(views, tensors))
        remade = load(name).arguments(changed.__getitem__, slice(8))
        return functional_call(loss, dict(zip(parameters, tensors[len(views) :])), remade)

    assert torch.autograd.gradcheck(value, tuple(inputs))


@loss_with_targets
def test_no_gradient_flows_into_a_target(name):
    targets = load(name).targets
    _, leaves = leaf_arguments(name)
    for view in targets:
        leaves[view].requires_grad_()
    module(name)(*load(name).arguments(leaves.__getitem__, slice(12))).backward()
    for view in targets:
        assert leaves[view].grad is None or not leaves[view].grad.any()


# ---- invariances ----


def assert_unchanged(name, arguments):
    unchanged, _ = leaf_arguments(name)
    assert module(name)(*arguments).item() == pytest.approx(module(name)(*unchanged).item(), rel=1e-9, abs=1e-12)


@with_invariance("order")
def test_order_of_the_samples_changes_nothing(name):
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    assert_unchanged(name, leaf_arguments(name, order)[0])


@with_invariance("swap")
def test_swapping_the_views_changes_nothing(name):
    assert_unchanged(name, leaf_arguments(name)[0][::-1])


@with_invariance("scale")
def test_scale_of_each_view_changes_nothing(name):
    assert_unchanged(name, leaf_arguments(name, change=lambda view, z: z * [7, 0.1, 3][view % 3])[0])


@with_invariance("rotation")
def test_rotation_of_all_views_changes_nothing(name):
    rotation = torch.linalg.qr(rows(0, WIDTH)[:WIDTH])[0]
    assert_unchanged(name, leaf_arguments(name, change=lambda view, z: z @ rotation)[0])


# ---- precision ----


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_loss
def test_half_precision_is_finite_and_near(name, dtype):
    """Oracle: the loss of the same, rounded embeddings in float32. Under autocast, gradients included."""
    arguments, leaves = leaf_arguments(name, change=lambda view, z: z.to(dtype))
    with torch.autocast("cpu", dtype=dtype):
        value = module(name).float()(*arguments)
    value.backward()
    assert value.dtype == torch.float32
    for leaf in leaves.values():
        assert leaf.grad is None or leaf.grad.isfinite().all()
    wide, _ = leaf_arguments(name, change=lambda view, z: z.to(dtype).float())
    assert value.item() == pytest.approx(module(name).float()(*wide).item(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("temperature", [LOWEST_TEMPERATURE, 1e-3, 100.0])
@loss_with_temperature
def test_any_legal_temperature_is_finite(name, temperature):
    """Every option that is a temperature, all at once; forward and backward under autocast."""
    arguments, leaves = leaf_arguments(name, change=lambda view, z: z.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = module(name, **dict.fromkeys(temperatures(name), temperature)).float()(*arguments)
    value.backward()
    assert value.isfinite()
    for leaf in leaves.values():
        assert leaf.grad is None or leaf.grad.isfinite().all()


# ---- degenerate batches and bad input ----

DEGENERATE = {
    "zero": (slice(8), lambda view, z: 0 * z),
    "constant": (slice(8), lambda view, z: torch.ones_like(z)),
    "wide": (slice(3), lambda view, z: z),
    "one": (slice(1), lambda view, z: z),
}


def refusal_of(name, batch):
    """Return the message of the ValueError for a degenerate batch, or None where value and gradients are finite."""
    part, change = DEGENERATE[batch]
    arguments, leaves = leaf_arguments(name, part, lambda view, z: change(view, z.float()))
    try:
        value = module(name).float()(*arguments)
    except ValueError as error:
        return str(error)
    value.backward()
    assert value.isfinite(), batch
    for leaf in leaves.values():
        assert leaf.grad is None or leaf.grad.isfinite().all(), batch
    return None


@every_loss
def test_degenerate_batch_is_finite_or_raises(name):
    messages = [refusal_of(name, batch) for batch in DEGENERATE]
    messages = [message for message in messages if message is not None]
    needs = load(name).needs
    assert bool(messages) == (needs is not None), messages
    for message in messages:
        assert re.search(needs, message)


@every_loss
def test_integers_raise(name):
    arguments, _ = leaf_arguments(name)
    leaves, spec = tree_flatten(arguments)
    for position, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            changed = [*leaves[:position], leaf.long(), *leaves[position + 1 :]]
            with pytest.raises(ValueError, match=r"got torch\.int64"):
                module(name)(*tree_unflatten(changed, spec))


@loss_of_several_tensors
def test_lengths_that_differ_raise_with_both(name):
    arguments, _ = leaf_arguments(name)
    leaves, spec = tree_flatten(arguments)
    for position in tensors_in(arguments):
        changed = [*leaves[:position], leaves[position][:-1], *leaves[position + 1 :]]
        with pytest.raises(ValueError, match=r"12.*11|11.*12"):
            module(name)(*tree_unflatten(changed, spec))


@loss_with_temperature
def test_illegal_temperature_raises_with_its_name(name):
    for option in temperatures(name):
        for value in (0.0, -1.0, float("nan")):
            with pytest.raises(ValueError, match=f"{option} must be .* got {value}"):
                module(name, **{option: value})


# ---- compiler ----


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler asks all for it
@stateless_loss
def test_compiles_without_a_graph_break(name):
    """Oracle: the eager loss. ``fullgraph`` makes a graph break an error; the backward pass runs as well."""
    loss = module(name)
    arguments, leaves = leaf_arguments(name)
    value = torch.compile(loss, fullgraph=True, backend="aot_eager")(*arguments)
    torch.testing.assert_close(value, loss(*arguments))
    inputs = [leaf for leaf in leaves.values() if leaf.requires_grad]
    torch.testing.assert_close(
        torch.autograd.grad(value, inputs, retain_graph=True),  # both share what made the arguments
        torch.autograd.grad(loss(*arguments), inputs),
    )


# ---- state ----


@loss_with_buffers
def test_training_updates_the_state_by_its_rule(name):
    """Oracle: the case's plain rule, in two steps."""
    loss = module(name)
    for batch in range(2):
        arguments, _ = leaf_arguments(name, batch=batch)
        expected = load(name).next_state(state_of(loss), *detached(arguments), **load(name).options)
        loss(*arguments).backward()  # an update in place of what autograd has kept would fail here
        buffers = dict(loss.named_buffers())
        assert expected.keys() == buffers.keys()
        for key, value in expected.items():
            torch.testing.assert_close(buffers[key], value, rtol=1e-10, atol=1e-12)


@loss_with_buffers
def test_evaluation_leaves_the_state_alone(name):
    loss = module(name).eval()
    before = state_of(loss)
    loss(*leaf_arguments(name)[0])
    assert all(torch.equal(before[key], value) for key, value in loss.state_dict().items())


@loss_with_state
def test_loaded_state_continues_as_uninterrupted(name):
    loss, other = module(name), module(name)
    for _ in range(2):
        loss(*leaf_arguments(name)[0])
    other.load_state_dict(state_of(loss))
    arguments, _ = leaf_arguments(name, batch=1)
    assert torch.equal(other(*arguments), loss(*arguments))
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in loss.state_dict().items())
