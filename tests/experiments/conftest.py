from collections.abc import Iterator
from pathlib import Path

import pytest

from .studies import study


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pictures would cost the most. A storage that is not closed is closed by the collector, which warns."""
    monkeypatch.setattr("hypernetworks.experiments.experiment.draw_run", lambda run: None)
    return


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study."""
    folder = tmp_path_factory.mktemp("studies") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hypernetworks.experiments.experiment.draw_run", lambda run: None)
        study(folder).work()
    return folder
