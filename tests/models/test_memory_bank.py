"""The memory bank against a ``collections.deque`` per class."""

from collections import deque

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mmseg_u2pl.models import MemoryBank

CLASSES, CHANNELS = 3, 4


class SlowBank:
    """The reference: a bounded deque a class."""

    def __init__(self, size):
        self.queues: list[deque] = [deque(maxlen=size) for _ in range(CLASSES)]

    def push(self, keys, count):
        for queue, own, num in zip(self.queues, keys, count.tolist(), strict=True):
            for key in own[:num]:
                queue.append(key / key.norm())


def stored(bank, c):
    """What the bank holds of class c, oldest first."""
    count, cursor = int(bank.count[c]), int(bank.cursor[c])
    places = [(cursor - count + i) % bank.size for i in range(count)]
    return bank.features[c, places]


def assert_same(bank, slow, tolerance=0.0):
    for c, queue in enumerate(slow.queues):
        expected = torch.stack(list(queue)) if queue else torch.zeros(0, CHANNELS)
        torch.testing.assert_close(
            stored(bank, c).float(), expected, rtol=0, atol=tolerance or 1e-6
        )


@pytest.mark.parametrize('size', [15, 16, 17])
@pytest.mark.parametrize('keys', [1, 5, 8, 15])
def test_it_is_a_fifo_through_several_wraparounds(size, keys):
    torch.manual_seed(size * keys)
    bank, slow = MemoryBank(CLASSES, size, CHANNELS), SlowBank(size)
    for _ in range(12):
        batch = torch.randn(CLASSES, keys, CHANNELS)
        count = torch.randint(0, keys + 1, (CLASSES,))
        bank.push(batch, count)
        slow.push(batch, count)
        assert_same(bank, slow)
    assert torch.equal(bank.count, torch.tensor([len(queue) for queue in slow.queues]))


@given(
    size=st.integers(1, 9),
    counts=st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), max_size=6),
)
def test_any_sequence_of_pushes(size, counts):
    bank, slow = MemoryBank(CLASSES, size, CHANNELS), SlowBank(size)
    for step, count in enumerate(counts):
        torch.manual_seed(step)
        keys = torch.randn(CLASSES, size, CHANNELS)  # K = size: the most a push may bring
        clamped = torch.tensor(count).clamp(max=size)
        bank.push(keys, clamped)
        slow.push(keys, clamped)
    assert_same(bank, slow)


def test_by_hand():
    bank = MemoryBank(1, 3, 2)
    bank.push(torch.tensor([[[2.0, 0.0], [0.0, 5.0]]]), torch.tensor([2]))
    assert bank.features[0].tolist() == [[1, 0], [0, 1], [0, 0]]  # unit length
    bank.push(torch.tensor([[[-1.0, 0.0], [0.0, -3.0]]]), torch.tensor([2]))
    assert bank.features[0].tolist() == [[0, -1], [0, 1], [-1, 0]]  # the oldest is gone
    assert bank.count.tolist() == [3]
    assert bank.cursor.tolist() == [1]
    torch.testing.assert_close(bank.fill(), torch.tensor(1.0))


def test_filler_keys_are_never_stored():
    bank = MemoryBank(1, 4, 2)
    bank.push(torch.tensor([[[1.0, 0.0], [float('nan')] * 2]]), torch.tensor([1]))
    assert bank.features[0].tolist() == [[1, 0], [0, 0], [0, 0], [0, 0]]
    torch.testing.assert_close(bank.fill(), torch.tensor(0.25))


def test_draws_come_from_what_is_stored_and_reach_all_of_it_evenly():
    torch.manual_seed(0)
    bank = MemoryBank(CLASSES, 5, CHANNELS)
    keys = torch.eye(CHANNELS)[:3].expand(CLASSES, 3, CHANNELS)
    bank.push(keys, torch.tensor([3, 1, 0]))
    drawn = bank.at(bank.draw(6000))
    counts = drawn.sum(1)
    assert counts[1].tolist() == [6000, 0, 0, 0]
    assert not drawn[2].any()  # nothing stored: zeros
    assert counts[0, 3] == 0
    chi_square = ((counts[0, :3] - 2000) ** 2 / 2000).sum()
    assert chi_square < 13.8  # 2 degrees of freedom, p = 0.001


def test_draws_after_a_wraparound_see_only_the_newest():
    bank = MemoryBank(1, 2, 1)
    for value in (1.0, 1.0, -1.0, -1.0):
        bank.push(torch.tensor([[[value]]]), torch.tensor([1]))
    assert (bank.at(bank.draw(50)) == -1).all()


def test_float16_halves_the_memory_and_keeps_unit_length():
    torch.manual_seed(0)
    bank, slow = MemoryBank(CLASSES, 16, CHANNELS, 'float16'), SlowBank(16)
    keys, count = torch.randn(CLASSES, 9, CHANNELS) * 1e5, torch.tensor([9, 4, 0])
    bank.push(keys, count)
    slow.push(keys, count)
    assert_same(bank, slow, tolerance=1e-3)
    assert bank.features.element_size() == 2
    length = stored(bank, 0).float().norm(dim=1)
    torch.testing.assert_close(length, torch.ones(9), rtol=0, atol=2e-3)


def test_keys_keep_no_graph_and_a_checkpoint_holds_the_bank():
    bank, restored = MemoryBank(1, 4, 2), MemoryBank(1, 4, 2)
    bank.push(torch.randn(1, 3, 2, requires_grad=True), torch.tensor([3]))
    assert not bank.features.requires_grad
    restored.load_state_dict(bank.state_dict())
    key = torch.tensor([[[0.0, 1.0]]])
    for one in (bank, restored):
        one.push(key, torch.tensor([1]))
        one.push(key, torch.tensor([1]))
    assert torch.equal(bank.features, restored.features)
    assert restored.features[0, 0].tolist() == [0, 1]
    assert restored.cursor.tolist() == [1]


@pytest.mark.parametrize(('size', 'channels'), [(3, 2), (8, 2), (4, 3)])
def test_a_bank_of_another_size_starts_empty(size, channels):
    bank = MemoryBank(2, size=4, channels=2)
    bank.push(torch.ones(2, 4, 2), torch.tensor([4, 4]))
    other = MemoryBank(2, size=size, channels=channels)
    other.load_state_dict(bank.state_dict(), strict=False)
    assert other.count.tolist() == [0, 0]
    assert other.features.eq(0).all()


def test_keys_of_several_processes_are_packed_in_rank_order(monkeypatch):
    from mmseg_u2pl.models.parts import memory_bank

    one, two = torch.eye(4)[None, :2], torch.eye(4)[None, 2:]

    def all_gather(packed):
        """This process brings e0 (of two); the other e2 and e3."""
        other = torch.cat((two, torch.ones(1, 2, 1)), dim=-1)
        return [packed, other]

    monkeypatch.setattr(memory_bank, 'all_gather', all_gather)
    monkeypatch.setattr(memory_bank, 'get_world_size', lambda: 2)
    bank = MemoryBank(1, 4, 4)
    bank.push(one, torch.tensor([1]))
    assert torch.equal(bank.features[0, :3], torch.eye(4)[[0, 2, 3]])
    assert bank.count.tolist() == [3]


@pytest.mark.parametrize(
    ('settings', 'named'),
    [(dict(size=0), '0'), (dict(size=4, dtype='bfloat16'), 'bfloat16')],
)
def test_wrong_settings(settings, named):
    with pytest.raises(ValueError, match=named):
        MemoryBank(2, channels=3, **settings)


def test_too_many_keys():
    with pytest.raises(ValueError, match=r'5 keys .* bank of 4: lower keys_per_step'):
        MemoryBank(1, 4, 2).push(F.normalize(torch.ones(1, 5, 2)), torch.tensor([5]))
