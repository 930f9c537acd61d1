"""Say which lists a run trains on, refuse overlapping or edited ones, and remember them."""

import os
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import DATASETS, HOOKS
from prettytable import PrettyTable

from ..datasets import SemiDataset
from ..datasets.checks import infos, leaves
from ..datasets.provenance import Images, check_disjoint, list_record, protocol_of
from .checks import scored_datasets


@HOOKS.register_module()
class ProtocolHook(Hook):
    """Check and name the lists of a run; any mmseg segmentor and data set will do.

    Before training it raises ValueError for images in two of the labeled, unlabeled, validation and
    test sets, lists that were edited after they were made, and resuming on other labeled lists. The
    labeled list's :class:`Protocol` goes, as a dict, into the log, every checkpoint's ``meta`` and,
    as ``protocol``, the metrics file of a test, which also says what was ``scored_on``.

    Every rank checks, so that none waits for one that stopped, with up to 4 GB for ten million names.
    """

    # after SemiTrainingHook has checked the files, before LoggerHook writes a test's metrics
    priority = 'HIGH'

    def __init__(self) -> None:
        self.protocol: dict[str, str] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember what the weights were trained on; older checkpoints do not say."""
        self.protocol = checkpoint.get('meta', {}).get('protocol')

    def before_train(self, runner: Runner) -> None:
        """Check the lists and print them; ValueError as the class says."""
        train = runner.train_dataloader.dataset
        parts = train.parts if isinstance(train, SemiDataset) else dict(labeled=train)
        datasets = {**parts, **scored_datasets(runner)}
        streams = {name: _images(dataset) for name, dataset in datasets.items()}
        table = PrettyTable(['stream', 'images', 'list or folder'], align='l')
        table.align['images'] = 'r'
        for name, images in streams.items():
            for part in images:
                if list_record(part.ann_file):
                    protocol_of([part])
                table.add_row([name, len(part.paths), part.ann_file or part.folder])
        check_disjoint(streams)
        protocol = protocol_of(streams['labeled'])
        if runner.iter and self.protocol and self.protocol['digest'] != protocol.digest:
            raise ValueError(
                f'the checkpoint was trained on {self.protocol["name"]!r}, but the config has '
                f'{protocol.name!r}: resume with the lists that it began with, or start again'
            )
        self.protocol = protocol._asdict()
        runner.message_hub.update_info('protocol', self.protocol)
        runner.logger.info(f'protocol: {protocol.name}\n{table}')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write the protocol into the checkpoint."""
        if self.protocol:
            checkpoint['meta']['protocol'] = self.protocol

    def before_test(self, runner: Runner) -> None:
        """Name the images that will be scored, for LoggerHook; warn of those in the labeled list.

        Raises:
            ValueError: Their list was edited.
        """
        images = _images(runner.test_dataloader.dataset)
        scored_on = protocol_of(images)
        runner.message_hub.update_info('test/scored_on', scored_on._asdict())
        if self.protocol:
            runner.message_hub.update_info('test/protocol', self.protocol)
        labeled = (runner.cfg.get('train_dataloader') or {}).get('dataset', {}).get('labeled')
        try:
            trained_on = _images(DATASETS.build(labeled)) if labeled else []
            check_disjoint(dict(labeled=trained_on, test=images))
        except (OSError, AssertionError):  # mmseg's of a list: a machine without training data
            pass
        except ValueError as error:
            runner.logger.warning(f'{error}')


def _images(dataset: Any) -> list[Images]:
    """Those of each data set inside wrappers."""
    found = []
    for _, leaf in leaves(dataset):
        ann_file = leaf.ann_file if os.path.isfile(leaf.ann_file or '') else ''
        paths = [info['img_path'] for info in infos(leaf)]
        found.append(Images(paths, ann_file, leaf.data_prefix['img_path']))
    return found
