"""Studies as functions: what is given is brought into the form that the command line gives."""

from __future__ import annotations

import pytest

import convscope
from convscope.errors import BadOption


def test_what_is_no_list_where_one_is_wanted_is_refused() -> None:
    with pytest.raises(BadOption, match="units=5: give a text, or a list of texts"):
        convscope.remove_units("zfnet-small", "scenes:val", 5)
