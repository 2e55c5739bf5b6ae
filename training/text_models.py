"""Torch side of text: the two encoders as modules, and what the loop asks of a reader.

What belongs here: ids to features, features to logits. What does not: texts and tokenizers (text), the run (reading).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from training.method import LinearHead
from training.spec import Method

Ints = NDArray[np.int64]

EMBEDDING = 64
"""Numbers of the space that images and reports share."""


class Means(nn.Module):
    """The mean of embeddings, times the root of their number: a random sum keeps its spread whatever the length."""

    def __init__(self, n: int, width: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(torch.empty(n, width).normal_(generator=generator))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """[B, L], 0 is padding -> [B, D]."""
        is_there = (ids > 0).to(self.table.dtype)[..., None]
        held = self.table[ids] * is_there  # [B, L, D]
        return torch.as_tensor(held.sum(1) / is_there.sum(1).clamp_min(1).sqrt())


class Hidden(nn.Module):
    """Mean of a transformers model's last hidden states over the tokens that are there."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        longest = getattr(getattr(model, "config", None), "max_position_embeddings", None)
        self.max_tokens = int(longest) if longest else 512

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """[B, L], one up and 0 padding -> [B, D]."""
        is_there = ids > 0
        found = self.model(input_ids=(ids - 1).clamp_min(0), attention_mask=is_there.long())
        mask = is_there[..., None].to(found.last_hidden_state.dtype)
        return torch.as_tensor((found.last_hidden_state * mask).sum(1) / mask.sum(1).clamp_min(1))


@dataclass(frozen=True)
class AtHand:
    """All is in memory."""

    layout: None = None


class TextLearner(nn.Module):
    """Encoder and head over token ids; what the loop asks of a learner. lr: peak of the encoder, which `full` alone moves."""

    def __init__(
        self, method: Method, encoder: nn.Module, ids: Ints, head: LinearHead, lr: float, device: torch.device
    ) -> None:
        super().__init__()
        self.method, self.encoder, self.head, self.ids, self.lr = method, encoder, head, ids, lr
        self.tiles: AtHand = AtHand()
        self.draws: Sequence[nn.Dropout] = ()
        self.encoder.requires_grad_(method.kind == "full")
        self.to(device).eval()
        self.device = device

    def forward(self, indices: Ints, epoch: int | None) -> torch.Tensor:
        """Logits [B, C] of those members; they read the same in every epoch."""
        ids = self.ids[indices]
        longest = max(1, int((ids > 0).sum(1).max()))
        features = self.encoder(torch.from_numpy(ids[:, :longest]).to(self.device))
        with torch.autocast(self.device.type, enabled=False):
            return self.head.judge(features.float(), None)

    def expect(self, coming: list[Ints]) -> None:
        """Nothing is read ahead."""

    def moving(self) -> dict[str, nn.Parameter]:
        """What learns, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def groups(self) -> list[dict[str, Any]]:
        """AdamW groups: the head, and the encoder; vectors and tables of embeddings are not decayed."""
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, p in self.moving().items():
            is_head = name.startswith("head.")
            decays = p.ndim > 1 and "embed" not in name and "table" not in name
            groups.setdefault((self.method.head_lr if is_head else self.lr, decays), []).append(p)
        decay = self.method.weight_decay
        return [
            {"params": p, "peak_lr": lr, "weight_decay": decay if decays else 0.0}
            for (lr, decays), p in groups.items()
        ]


class PairLearner(nn.Module):
    """Projections of image features and of texts into one space; the loop sees both side by side.

    A text encoder with a learning rate of 0 is frozen. scale: mean and deviation that image features are standardised by.
    """

    def __init__(
        self,
        method: Method,
        encoder: nn.Module,
        features: NDArray[np.float32],
        ids: Ints,
        lr: float,
        device: torch.device,
        seed: int,
    ) -> None:
        super().__init__()
        self.method, self.encoder, self.features, self.ids, self.lr = method, encoder, features, ids, lr
        self.tiles: AtHand = AtHand()
        self.draws: Sequence[nn.Dropout] = ()
        self.scale = (np.zeros(features.shape[1]), np.ones(features.shape[1]))
        self.encoder.requires_grad_(lr > 0)
        self.to(device)
        width = self._encode(np.zeros((1, 1), np.int64)).shape[1]
        generator = torch.Generator().manual_seed(seed)
        self.of_image, self.of_text = (nn.Linear(n, EMBEDDING) for n in (features.shape[1], width))
        with torch.no_grad():
            for layer in (self.of_image, self.of_text):
                layer.weight.copy_(
                    torch.randn(layer.weight.shape, generator=generator) * layer.in_features**-0.5
                )
                layer.bias.zero_()
        self.to(device).eval()
        self.device = device

    def _encode(self, ids: Ints) -> torch.Tensor:
        longest = max(1, int((ids > 0).sum(1).max(initial=0)))
        device = next(self.encoder.parameters()).device
        return torch.as_tensor(self.encoder(torch.from_numpy(ids[:, :longest]).to(device))).float()

    def forward(self, indices: Ints, epoch: int | None) -> torch.Tensor:
        """[B, 2E]: the image's embedding and its report's, each of length 1."""
        with torch.autocast(self.device.type, enabled=False):
            image = self.of_image(torch.from_numpy(self.features[indices]).to(self.device))
            text = self.of_text(self._encode(self.ids[indices]))
            return torch.cat([functional.normalize(image, dim=1), functional.normalize(text, dim=1)], dim=1)

    def expect(self, coming: list[Ints]) -> None:
        """Nothing is read ahead."""

    def moving(self) -> dict[str, nn.Parameter]:
        """What learns, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def groups(self) -> list[dict[str, Any]]:
        """AdamW groups: the projections, and the text encoder where it learns."""
        decay = self.method.weight_decay
        own = [{"params": list(layer.parameters()), "peak_lr": self.method.head_lr, "weight_decay": decay}
               for layer in (self.of_image, self.of_text)]  # fmt: skip
        if self.lr > 0:
            own.append({"params": list(self.encoder.parameters()), "peak_lr": self.lr, "weight_decay": 0.0})
        return own

    def image(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """[N, E] of raw features [N, F]."""
        mean, std = self.scale
        shown = torch.from_numpy(((features - mean) / std).astype(np.float32)).to(self.device)
        with torch.inference_mode():
            return functional.normalize(self.of_image(shown), dim=1).double().cpu().numpy()

    def text(self, ids: Ints) -> NDArray[np.float64]:
        """[N, E] of token ids [N, L]."""
        with torch.inference_mode():
            parts = [
                functional.normalize(self.of_text(self._encode(ids[n : n + 64])), dim=1)
                .double()
                .cpu()
                .numpy()
                for n in range(0, len(ids), 64)
            ]
        return np.concatenate(parts)

    def embeddings(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of all images, and of all texts, prompts included."""
        with torch.inference_mode():
            shown = self.of_image(torch.from_numpy(self.features).to(self.device))
            image = functional.normalize(shown, dim=1).double().cpu().numpy()
        return image, self.text(self.ids)

    def released(self) -> dict[str, torch.Tensor]:
        """Everything a reader of it needs, by name."""
        mean, std = (torch.from_numpy(np.asarray(part, dtype=np.float32)) for part in self.scale)
        own = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        return {**own, "mean": mean, "std": std}

    def fill(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """The way back. Raises RuntimeError where a tensor is missing or of another shape."""
        self.scale = (tensors["mean"].double().numpy(), tensors["std"].double().numpy())
        self.load_state_dict({k: v for k, v in tensors.items() if k not in ("mean", "std")})
