"""Order, augmentation and weights are functions of counters and labels, never of what came before."""

import numpy as np
import torch

from training import batches
from training.tasks.multilabel import Multilabel

torch.set_num_threads(1)
GROUPS = Multilabel(("a",)).groups


def test_the_order_of_an_epoch_needs_no_memory_and_holds_everybody_once() -> None:
    indices = np.arange(50)
    first = batches.epoch_order(indices, seed=7, epoch=3)
    batches.epoch_order(indices, seed=7, epoch=0)
    assert (first == batches.epoch_order(indices, seed=7, epoch=3)).all()
    assert (np.sort(first) == indices).all()
    assert (first != batches.epoch_order(indices, seed=7, epoch=4)).any()
    assert (first != batches.epoch_order(indices, seed=8, epoch=3)).any()


def test_an_example_is_augmented_the_same_in_any_batch_and_differently_in_each_epoch() -> None:
    tiles = torch.randint(0, 256, (4, 2, 28, 28), dtype=torch.uint8)
    together = batches.augment(tiles, np.array([5, 6, 7, 8]), seed=1, epoch=2)
    alone = batches.augment(tiles[2:3], np.array([7]), seed=1, epoch=2)
    assert torch.allclose(together[2:3], alone, atol=1e-3)
    assert not torch.allclose(
        together[2:3], batches.augment(tiles[2:3], np.array([7]), seed=1, epoch=3), atol=1
    )


def test_augmentation_is_light_and_never_mirrors() -> None:
    tiles = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
    tiles[:, :, :, :14] = 200
    moved = batches.augment(tiles, np.arange(64), seed=1, epoch=1)
    assert (moved[..., :12].mean((1, 2, 3)) > moved[..., 16:].mean((1, 2, 3)) + 100).all()
    assert moved.min() >= 0
    assert moved.max() <= 255


def test_site_x_label_weights_give_every_cell_the_same_say() -> None:
    site = np.array(["a"] * 90 + ["b"] * 10)
    targets = np.array([1.0] * 80 + [0.0] * 10 + [1.0] * 4 + [0.0] * 6)[:, None]
    weights = batches.loss_weights(targets, site, "site_x_label", GROUPS)[:, 0]
    cells = [weights[:80].sum(), weights[80:90].sum(), weights[90:94].sum(), weights[94:].sum()]
    assert np.allclose(cells, cells[0])
    assert np.isclose(weights.mean(), 1)
    by_label = batches.loss_weights(targets, site, "label", GROUPS)[:, 0]
    assert np.isclose(by_label[targets[:, 0] == 1].sum(), by_label[targets[:, 0] == 0].sum())


def test_unknown_labels_weigh_nothing_and_one_odd_study_does_not_rule() -> None:
    site = np.array(["a"] * 1000)
    targets = np.array([1.0] + [0.0] * 899 + [np.nan] * 100)[:, None]
    weights = batches.loss_weights(targets, site, "site_x_label", GROUPS)[:, 0]
    assert (weights[900:] == 0).all()
    assert 30 < weights[0] / weights[1] < 50, "899 without the cap"
