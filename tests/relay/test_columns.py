from __future__ import annotations

import numpy as np

from live777py.relay import columns


def test_no_column_has_the_name_of_an_attribute_of_numpys_scalars() -> None:
    # In plain Python such a column would be hidden by the attribute.
    reserved = set(dir(np.record))
    for name, value in vars(columns).items():
        if isinstance(value, np.dtype) and value.names is not None:
            assert not reserved & set(value.names), name
