"""Whether loading a checkpoint may run code of it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_SWITCHES = ('TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD')
_SWITCHING = threading.Lock()


@contextmanager
def trust(trusted: bool) -> Iterator[None]:
    """:func:`set_trust` for a while, in one thread at a time; then as before."""
    with _SWITCHING:
        before = {name: os.environ.pop(name, None) for name in _SWITCHES}
        set_trust(trusted)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def set_trust(trusted: bool) -> None:
    """Whether, from now on in this process, loading a checkpoint may run code of it.

    Pickle can call functions. torch refuses that with ``weights_only=True``, but mmengine falls back
    to the unsafe way, or (upstream's) leaves it to torch. torch reads one of two variables where
    nothing else was asked for, and takes only one of them. numpy's arrays and scalars, which
    checkpoints of others hold, stay allowed.
    """
    os.environ.pop(_SWITCHES[not trusted], None)
    os.environ[_SWITCHES[trusted]] = '1'
    multiarray = (np._core if hasattr(np, '_core') else np.core).multiarray  # numpy 2 and 1
    dtypes = {type(np.dtype(kind)) for kind in ('f8', 'f4', 'i8', 'i4', 'u4', 'u1', 'b1')}
    torch.serialization.add_safe_globals(
        [np.ndarray, np.dtype, multiarray._reconstruct, multiarray.scalar, *dtypes]
    )
