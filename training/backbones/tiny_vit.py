"""builtin:tiny-vit: a RANDOM two-block vision transformer, for tests and rehearsals. It has learned nothing."""

from __future__ import annotations

from pathlib import Path

from training.backbones.folder import install

SEED = 1


def prepare(cache: Path) -> Path:
    """The folder of the model, written on first use; the same weights everywhere."""
    return install(cache / f"tiny-vit-random-{SEED}", _write)


def _write(folder: Path) -> None:
    import torch
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=28,
        patch_size=7,
        attention_probs_dropout_prob=0.0,
        hidden_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = ViTModel(config, add_pooling_layer=False)
        with torch.no_grad():  # small random weights see almost nothing: scale them so that patches matter
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(5.0)
    model.save_pretrained(folder)
