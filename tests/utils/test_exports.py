"""What `lamina.utils` gives to users."""

from __future__ import annotations

import lamina
from lamina import utils
from lamina.training.pydataset import PyDataset


def test_everything_that_is_listed_is_there():
    assert all(callable(getattr(utils, name)) for name in utils.__all__)


def test_the_names_stand_for_what_the_library_uses_itself():
    assert utils.set_random_seed is lamina.seeds.set_random_seed
    assert utils.PyDataset is PyDataset


def test_a_batch_is_packed_and_unpacked():
    for batch in [(1,), (1, 2), (1, 2, 3), ([1, 2],)]:
        assert utils.pack_x_y_sample_weight(*utils.unpack_x_y_sample_weight(batch)) in (batch, batch[0])
