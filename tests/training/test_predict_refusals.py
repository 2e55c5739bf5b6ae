"""What is asked wrongly of `predict` is told before a model is loaded."""

from pathlib import Path

import pytest

from curation.records import ConfigurationError
from curation.settings import load_settings
from training.predict import predict


@pytest.mark.parametrize(
    ("src", "told"), [("nowhere", "Nothing lies at"), ("here", "There is no run 0123456789abcdef")]
)
def test_a_folder_or_run_that_is_not_there_is_named(tmp_path: Path, src: str, told: str) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(ConfigurationError, match=told):
        predict(load_settings(tmp_path / "home"), "0123456789abcdef", tmp_path / src, tmp_path / "out")
