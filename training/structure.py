"""What a model is made of, found by structure and by one pass through it, never by its name.

What belongs here: which modules are its blocks, in which order a pass enters them, what comes after them, what a low-rank
update can be laid on, and how hidden states are taken out before a block or put in there. What does not: where weights come
from (backbones), what learns (method).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curation.records import ConfigurationError

if TYPE_CHECKING:
    import torch
    from torch import nn

Embed = Callable[[], "tuple[torch.Tensor, torch.Tensor]"]
"""One pass of one small batch: class vectors and patch tokens."""


@dataclass(frozen=True)
class Flow:
    """What passes through a model showed. Names, so that it holds for every copy of the model."""

    blocks: tuple[str, ...]
    """In the order in which a pass enters them; empty where the model has no blocks."""
    shapes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    """Of the hidden states that enter and that leave each block, without the batch."""
    n_outputs: tuple[int, ...]
    """How many things each block returns in a tuple; 0: the hidden states themselves."""
    left: Mapping[str, int]
    """Module with parameters of its own, outside of the blocks -> how many blocks a pass has left when it enters it."""
    after: tuple[str, ...]
    """Parameters that stand behind the last block and have a part in the outcome: the last norm, mostly."""


def follow(model: nn.Module, embed: Embed) -> Flow:
    """What two passes of `embed` through the model show.

    Raises ConfigurationError where the second differs from the first: caches and resume rest on that they do not.
    """
    import torch

    names = {id(module): name for name, module in model.named_modules()}
    try:
        candidates = find_blocks(model)
    except ConfigurationError:
        candidates = []
    watch = _Watch(candidates)
    with torch.no_grad(), watch.over(model):
        first = embed()
    blocks = watch.entered
    inside = {id(m) for block in candidates for m in block.modules()}
    left = {
        names[number]: n
        for number, n in watch.left.items()
        if number not in inside and model.get_submodule(names[number])._parameters
    }
    tail = {
        f"{name}.{key}".lstrip("."): parameter
        for name, n in left.items()
        if blocks and n == len(blocks)
        for key, parameter in model.get_submodule(name)._parameters.items()
        if parameter is not None
    }
    second, used = _used(model, embed, list(tail.values()))
    if not all(torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        raise ConfigurationError(
            "Two passes of this backbone over the same image differ: it draws random numbers (a masked autoencoder?). "
            "Nothing could be cached or resumed. Give another backbone as model.id."
        )
    return Flow(
        tuple(names[id(block)] for block in blocks),
        tuple(watch.shapes[id(block)] for block in blocks),
        tuple(watch.n_outputs[id(block)] for block in blocks),
        left,
        tuple(name for name, is_used in zip(tail, used, strict=True) if is_used),
    )


class _Watch:
    """Notes what a pass enters and leaves, and when."""

    def __init__(self, blocks: list[nn.Module]) -> None:
        self.blocks = {id(block) for block in blocks}
        self.entered: list[nn.Module] = []
        self.left: dict[int, int] = {}
        self.shapes: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self.n_outputs: dict[int, int] = {}

    @contextmanager
    def over(self, model: nn.Module) -> Iterator[None]:
        with ExitStack() as stack:
            for module in model.modules():
                stack.callback(module.register_forward_pre_hook(self._enter).remove)
                if id(module) in self.blocks:
                    stack.callback(module.register_forward_hook(self._leave, with_kwargs=True).remove)
            yield

    def _enter(self, module: nn.Module, _: tuple[Any, ...]) -> None:
        self.left.setdefault(id(module), len(self.shapes))
        if id(module) in self.blocks and module not in self.entered:
            self.entered.append(module)

    def _leave(
        self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any
    ) -> None:
        self.n_outputs[id(module)] = len(output) if isinstance(output, tuple) else 0
        hidden = output[0] if isinstance(output, tuple) else output
        entering = first_tensor(arguments, named)
        self.shapes[id(module)] = (tuple(entering.shape[1:]), tuple(hidden.shape[1:]))


def _used(
    model: nn.Module, embed: Embed, parameters: list[nn.Parameter]
) -> tuple[tuple[torch.Tensor, torch.Tensor], list[bool]]:
    """A pass, and which of those parameters had a part in it: a pooler that nobody reads has none."""
    import torch

    before = [(p, p.requires_grad) for p in model.parameters()]
    try:
        model.requires_grad_(False)
        for parameter in parameters:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            cls, tokens = embed()
            outcome = cls.sum() + tokens.sum()
        if not outcome.requires_grad:
            return (cls, tokens), [False] * len(parameters)
        gradients = torch.autograd.grad(outcome, parameters, allow_unused=True)
        return (cls.detach(), tokens.detach()), [g is not None for g in gradients]
    finally:
        for parameter, asked in before:
            parameter.requires_grad_(asked)


def first_tensor(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> torch.Tensor:
    """The hidden states among a block's arguments: the first tensor of floats."""
    import torch

    for value in (*arguments, *named.values()):
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return value
    raise ConfigurationError("A block of this backbone takes no tensor: use method.kind probe or full.")


@contextmanager
def taken_before(block: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Inside, the list fills with the hidden states that enter the block."""
    seen: list[torch.Tensor] = []

    def take(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append(first_tensor(arguments, named))

    handle = block.register_forward_pre_hook(take, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def put_before(block: nn.Module, hidden: torch.Tensor) -> Iterator[None]:
    """Inside, those hidden states enter the block, whatever came before it."""

    def put(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        theirs = first_tensor(arguments, named)
        return (
            tuple(hidden if value is theirs else value for value in arguments),
            {name: hidden if value is theirs else value for name, value in named.items()},
        )

    handle = block.register_forward_pre_hook(put, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def find_blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks that the model is built of, in the order of its modules, through all of its stages.

    Found by structure: of the modules that stand in lists with others of their class, those that hold most parameters;
    where these are stages, the blocks inside. Raises ConfigurationError where there are none.
    """
    from torch import nn

    families: dict[type, dict[int, nn.Module]] = {}
    for module in model.modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential) or len({type(m) for m in module}) != 1:
            continue
        if any(True for _ in module[0].children()):
            families.setdefault(type(module[0]), {}).update({id(m): m for m in module})
    if not families:
        raise ConfigurationError("This backbone has no blocks in lists: use method.kind probe or full.")
    found = max(families.values(), key=_weight)
    inside = {id(m) for block in found.values() for m in block.modules()} - found.keys()
    # the nearest below: what a block itself is made of in turn is no block
    nested = [
        family
        for family in families.values()
        if len(family) > len(found) and family.keys() <= inside and _weight(family) >= _MOST * _weight(found)
    ]
    found = min(nested, key=len, default=found)
    return list(found.values())


_MOST = 0.6
"""Share of a stage's parameters that its blocks hold; the rest is what lies between stages."""


def _weight(family: Mapping[int, nn.Module]) -> int:
    return sum(p.numel() for module in family.values() for p in module.parameters())


def matrix_names(model: nn.Module) -> list[str]:
    """Names of every layer inside the blocks that multiplies by one matrix: where low-rank updates go.

    Linear layers and convolutions, 1 x 1 or wider; not those in groups, whose matrices are small already. Raises
    ConfigurationError where there are none.
    """
    inside = {id(m) for block in find_blocks(model) for m in block.modules() if is_matrix(m)}
    if not inside:
        raise ConfigurationError(
            "This backbone has no linear layers or convolutions in its blocks: use method.kind last_n or full."
        )
    return [name for name, module in model.named_modules() if id(module) in inside]


def is_matrix(module: nn.Module) -> bool:
    """Whether a layer is a linear layer, a transposed one (transformers' Conv1D), or a convolution without groups.

    A subclass that computes in its own way (standardised weights, padding of its own) is none of them.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    for kind in (nn.Linear, Conv1D, nn.Conv2d, nn.Conv3d):
        if isinstance(module, kind) and type(module).forward is kind.forward:
            return getattr(module, "groups", 1) == 1 and getattr(module, "padding_mode", "zeros") == "zeros"
    return False
