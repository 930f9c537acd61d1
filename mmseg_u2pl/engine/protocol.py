"""Say which lists a run trains on, refuse overlapping or edited ones, and remember them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from mmseg.registry import HOOKS
from prettytable import PrettyTable

from ..datasets.checks import label_counts, leaves
from ..datasets.provenance import (
    Images,
    check_disjoint,
    check_provenance,
    protocol_of_parts,
)
from ..datasets.scan import infos


@HOOKS.register_module()
class ProtocolHook(Hook):
    """Check and name the lists of a run; any mmseg segmentor and data set will do.

    Before training it refuses images that are in two of the labeled, unlabeled and validation
    sets, lists that were edited after they were made, and resuming on other labeled lists. The
    labeled list's :class:`Protocol` goes, as a dict, into the log, every checkpoint's ``meta``
    and, as ``protocol``, the metrics file of a test, which also says what was ``scored_on``.

    Every rank checks, so that none waits for one that stopped.
    """

    # before hooks that learn from masks, and before LoggerHook writes a test's metrics
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.protocol: dict[str, str] | None = None
        self.scored_on: dict[str, str] = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember what the weights were trained on; older checkpoints do not say."""
        self.protocol = checkpoint.get('meta', {}).get('protocol')

    def before_train(self, runner: Runner) -> None:
        """Check the lists and print them.

        Raises:
            ValueError: Names the image, list and line, or both protocols, and the remedy.
        """
        streams = {name: _images(dataset) for name, dataset in _datasets(runner).items()}
        for part in chain.from_iterable(streams.values()):
            if part.ann_file:
                check_provenance(part.ann_file)
        check_disjoint(streams)
        protocol = protocol_of_parts(streams['labeled'])
        if runner.iter and self.protocol and self.protocol['digest'] != protocol.digest:
            raise ValueError(
                f'the checkpoint was trained on {self.protocol["name"]!r}, but the config has '
                f'{protocol.name!r}: resume with the lists that it began with, or start anew'
            )
        self.protocol = protocol._asdict()
        runner.message_hub.update_info('protocol', self.protocol)
        if is_main_process():
            classes = runner.train_dataloader.dataset.metainfo.get('classes')
            shares = _class_shares(_labeled(runner), classes)
            runner.logger.info(f'protocol: {protocol.name}\n{_table(streams)}\n{shares}')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write the protocol into the checkpoint."""
        if self.protocol:
            checkpoint['meta']['protocol'] = self.protocol

    def before_test(self, runner: Runner) -> None:
        """Name the images that will be scored.

        Raises:
            ValueError: Their list was edited after it was made.
        """
        self.scored_on = protocol_of_parts(_images(runner.test_dataloader.dataset))._asdict()

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Hand both to LoggerHook, which writes what is known under ``test/``."""
        runner.message_hub.update_info('test/scored_on', self.scored_on)
        if self.protocol:
            runner.message_hub.update_info('test/protocol', self.protocol)


def _labeled(runner: Runner) -> Any:
    """The data set with masks: a part of the training data set, or all of it."""
    train = runner.train_dataloader.dataset
    return getattr(train, 'labeled', train)


def _datasets(runner: Runner) -> dict[str, Any]:
    """The data set of each stream. Loops that are not built yet are left so."""
    found = dict(labeled=_labeled(runner))
    if hasattr(runner.train_dataloader.dataset, 'unlabeled'):
        found['unlabeled'] = runner.train_dataloader.dataset.unlabeled
    for name, loop in (('val', runner._val_loop), ('test', runner._test_loop)):
        if isinstance(loop, BaseLoop):
            found[name] = loop.dataloader.dataset
    return found


def _images(dataset: Any) -> list[Images]:
    """Those of each data set inside wrappers."""
    return [
        Images(
            [info['img_path'] for info in infos(leaf)],
            leaf.ann_file if os.path.isfile(leaf.ann_file or '') else '',
            leaf.data_prefix['img_path'],
        )
        for leaf in leaves(dataset)
    ]


def _table(streams: Mapping[str, Sequence[Images]]) -> str:
    """Images and list of each stream."""
    table = PrettyTable(['stream', 'images', 'list or folder'], align='l')
    table.align['images'] = 'r'
    for stream, parts in streams.items():
        for part in parts:
            table.add_row([stream, len(part.paths), part.ann_file or part.folder])
    return str(table)


def _class_shares(labeled: Any, classes: Sequence[str] | None) -> str:
    """How the labeled pixels fall on the classes."""
    counts = label_counts(labeled)[: len(classes or ()) or 255]
    names = classes or [str(label) for label in range(len(counts))]
    shares = 100 * counts / max(1, counts.sum())
    cells = (f'{name} {share:.2f}' for name, share in zip(names, shares, strict=True))
    return f'labeled pixels, %: {", ".join(cells)}'
