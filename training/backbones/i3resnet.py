"""The adapter `i3resnet`: a ResNet of bottlenecks inflated to three dimensions, for chest CT; the worked example.

Published layout: the first kernel 3 x 7 x 7, every stage but the first halves depth, height and width, no classifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from training.backbones.preprocess import VolumePreprocess

_EXPANSION = 4


class Bottleneck(nn.Module):
    """1, 3 and 1 wide convolutions around a shortcut."""

    def __init__(self, n_in: int, width: int, stride: int, is_first: bool) -> None:
        super().__init__()
        n_out = width * _EXPANSION
        self.conv1 = nn.Conv3d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(n_out)
        shortcut = nn.Sequential(nn.Conv3d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm3d(n_out))
        self.downsample = shortcut if is_first else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, D, H, W] -> [N, 4 * width, D / stride, H / stride, W / stride]."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        kept = x if self.downsample is None else self.downsample(x)
        return functional.relu(self.bn3(self.conv3(y)) + kept)


class I3ResNet(nn.Module):
    """Four stages of bottlenecks."""

    def __init__(self, depths: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, width, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.maxpool = nn.MaxPool3d(3, 2, 1)
        n_in = width
        for number, depth in enumerate(depths):
            inner = width * 2**number
            blocks = [Bottleneck(n_in, inner, 1 if number == 0 else 2, True)]
            n_in = inner * _EXPANSION
            blocks += [Bottleneck(n_in, inner, 1, False) for _ in range(depth - 1)]
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
        self.n_stages = len(depths)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """[N, 1, D, H, W] in 0..1, slices from feet to head, rows to the back, columns to the patient's left -> maps
        [N, C, D', W', H'].
        """
        # the released weights saw axes that grow to the right, to the front and to the head, in that order in plane
        x = pixel_values.flip(-1, -2).transpose(-1, -2).expand(-1, 3, -1, -1, -1)
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x))))
        for number in range(self.n_stages):
            x = self.get_submodule(f"layer{number + 1}")(x)
        return cast(torch.Tensor, x)


class I3ResNetAdapter:
    """config.json: depths, width, input_depth, low_hu, high_hu."""

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        """The model, weights at random."""
        return I3ResNet(tuple(config["depths"]), int(config["width"]))

    def preprocess(self, config: Mapping[str, Any], size: int) -> VolumePreprocess:
        """Volumes in HU."""
        return VolumePreprocess(
            size, int(config["input_depth"]), float(config["low_hu"]), float(config["high_hu"])
        )
