"""Peak memory of blocks, by hand."""

import pytest
import torch

from mmseg_u2pl.analysis.benchmark import MIB, peak_memory

CPU = torch.device('cpu')


def test_peak_is_what_was_held_at_once():
    block = torch.zeros(MIB // 4)  # 1 MiB of float32
    with peak_memory(CPU) as peak:
        for _ in range(3):
            block + 1
    assert peak.bytes == pytest.approx(MIB, rel=0.05)
    with peak_memory(CPU) as peak:
        held = block + 1, block + 2, block + 3
    assert peak.bytes == pytest.approx(3 * MIB, rel=0.05)
    del held
    with peak_memory(CPU) as peak:
        pass
    assert peak.bytes == 0
