"""Runs of methods paired by seed: differences, and how far the test images decide them.

A class that is nowhere has IoU 0 / 0 = NaN, of which numpy warns.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .experiments import WORKERS, flat
from .report import newest_metrics, read_run, training_starts
from .run_folder import ONE_NETWORK, RunFolder

SAVED = re.compile(r'(?<![^/])(best_.+_)?(iter|epoch)_\d+\.pth$')
"""Names of a training's checkpoints."""
DRAWS = 2000
"""Of the bootstrap."""


def group_runs(folders: Sequence[str | Path]) -> dict[str, list[Path]]:
    """Work dirs of each method: runs of one config with the same settings are its seeds.

    A method has the name of its config; of several METHOD_NETWORK.py with one network, METHOD. If a config was trained on
    several lists or with several settings, these are methods whose names say what differs.
    Supervised baselines come first; otherwise the order is that of the folders.

    Raises:
        FileNotFoundError: A folder is not the work dir of a training or of a test.
        ValueError: A method has two trainings of one seed.
    """
    runs: dict[tuple[str, tuple], list[Path]] = {}
    semi = {}
    for path in map(Path, folders):
        config, files = RunFolder(path).config, list(path.glob('*.py'))
        if config is None or not files:
            raise FileNotFoundError(f'{str(path)!r} is not the work dir of a training or test')
        loader = config.get('train_dataloader', {})
        method = {key: config.get(key) for key in ('split', 'data', 'model', 'optim_wrapper')}
        method |= dict(max_iters=config.get('train_cfg', {}).get('max_iters'))
        method |= {key: value for key, value in loader.items() if key not in WORKERS}
        lists = {key: config.get(key) for key in ('param_scheduler', 'custom_hooks')}
        method |= {key: value for key, value in lists.items() if value}
        flattened = flat(_by_number(method))
        newest = max(files, key=lambda file: file.stat().st_mtime)
        key = newest.stem, tuple((name, str(value)) for name, value in flattened.items())
        runs.setdefault(key, []).append(path)
        semi[key] = bool(loader.get('dataset', {}).get('unlabeled'))
    stems = {stem for stem, _ in runs}
    endings = {stem.partition('_')[2] for stem in stems}
    ending = f'_{endings.pop()}' if len(endings) < min(len(stems), 2) else ''
    named = {}
    for stem, settings in sorted(runs, key=semi.__getitem__):
        name = stem.removesuffix(ending)
        others = [dict(values) for other, values in runs if other == stem]
        for key, value in settings:  # as few as tell it from the others
            if any(other.get(key) != value for other in others):
                name += f', {key.rpartition(".")[2]}={value}'
                others = [other for other in others if other.get(key) == value]
        if name in named:
            name += f' ({runs[stem, settings][0].name})'
        named[name] = runs[stem, settings]
    for name, paths in named.items():
        _check_seeds(name, paths)
    return named


def _by_number(value: Any) -> Any:
    """Settings with their lists of mappings as mappings by number."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = {str(number): item for number, item in enumerate(value)}
    if isinstance(value, dict):
        return {key: _by_number(item) for key, item in value.items()}
    return value


def _check_seeds(method: str, paths: Sequence[Path]) -> None:
    """Raise ValueError if two trainings have one seed, or one training counts twice.

    A test does not tell the seed of its training, but which checkpoint it scored.
    """
    found: dict[int, Path] = {}
    trainings: dict[str, Path] = {}
    for folder in map(RunFolder, paths):
        trained = bool(training_starts(folder.path))
        source = str(folder.path.resolve())
        if not trained and folder.config and (used := folder.config.get('load_from')):
            saved = SAVED.search(used)  # a training's, or a file of its own
            source = os.path.realpath(used[: saved.start()] if saved else used)
        if source in trainings:
            raise ValueError(
                f'{method}: {trainings[source]} and {folder.path} are both of {source}: give one of them'
            )
        trainings[source] = folder.path
        seed = folder.seed if trained else None
        if seed in found:
            raise ValueError(
                f'{method}: {found[seed]} and {folder.path} are both of seed {seed}: give one of them'
            )
        if seed is not None:
            found[seed] = folder.path


class Member(NamedTuple):
    """One run of a method: a work dir of a training, with its tests in ``test`` and ``test_best``."""

    folder: RunFolder
    seed: int
    predictor: str
    results: dict[str, Any]  # of RunFolder.results()

    def scores(self, test: str) -> dict[str, float] | None:
        """IoU by class and ``'mIoU'``, percent, of ``'test'`` or ``'test_best'``; None: not tested."""
        of = self.results['test'] if test == 'test' else (self.results['best'] or {}).get('test')
        return of and of[self.predictor]

    def length(self, test: str) -> int:
        """Iterations of the checkpoint that a test scores."""
        best = self.results['best']
        return best['iteration'] if best and test == 'test_best' else self.results['iterations']

    def counts(self, test: str) -> tuple[list[str], np.ndarray] | None:
        """N names of the test images, and their intersections and unions (N, 2, C), pixels.

        None: the test left no such file, as those of older versions.
        """
        if self.folder.checkpoint_of(test) is None:
            test = 'test'  # the last checkpoint is the best
        path = newest_metrics(self.folder.path / test).parent / 'per_image.npz'
        if not path.is_file():
            return None
        prefix = '' if self.predictor == ONE_NETWORK else f'{self.predictor}/'
        with np.load(path) as file:
            areas = [file[f'{prefix}{key}'] for key in ('intersect', 'union')]
            return [Path(name).name for name in file[f'{prefix}paths']], np.stack(areas, axis=1)


Members = Mapping[int, Member]
"""Of one method, by seed."""


def read_members(
    runs: Mapping[str, Sequence[str | Path]], predictors: Sequence[str] = ()
) -> dict[str, Members]:
    """The runs of each method, from the work dirs of their trainings.

    Raises:
        FileNotFoundError: A folder has no test.
        ValueError: A folder is not that of a finished and tested training, or of one without seed;
            as ``group_runs`` and ``read_run``.
    """
    methods: dict[str, Members] = {}
    for method, paths in runs.items():
        _check_seeds(method, list(map(Path, paths)))
        found: dict[int, Member] = {}
        for folder in map(RunFolder, paths):
            results = folder.results()
            if (seed := folder.seed) is None:
                raise ValueError(
                    f'{folder.path} was trained without randomness.seed, so no run is its pair: train '
                    'it again, with --cfg-options randomness.seed=0'
                )
            predictor = read_run(folder.path / 'test', predictors).predictor or ONE_NETWORK
            found[seed] = Member(folder, seed, predictor, results)
        methods[method] = found
    return methods


def check_paired(methods: Mapping[str, Members]) -> None:
    """Raise ValueError if a method and the first were trained on different lists at the same seed."""
    (baseline, base), *others = methods.items()
    for name, other in others:
        for seed in base.keys() & other.keys():
            lists = [member.results['protocol'] for member in (base[seed], other[seed])]
            if all(lists) and lists[0]['digest'] != lists[1]['digest']:
                raise ValueError(
                    f'{baseline} was trained on {lists[0]["name"]!r}, {name} on {lists[1]["name"]!r}: '
                    'a page compares runs on the same lists. Make one of each, or the table alone'
                )


class Difference(NamedTuple):
    """A method minus another, in points of IoU."""

    by_seed: dict[int, float]  # of mIoU
    mean: dict[str, float]  # over the seeds: of each class, then 'mIoU'
    interval: dict[str, tuple[float, float]]  # 95 %, over test images; empty: not known


def compare(base: Members, other: Members, test: str) -> Difference | None:
    """``other`` minus ``base``, over the seeds that both have.

    Args:
        base: Runs of a method.
        other: Runs of another, on the same classes.
        test: ``'test'``, the last checkpoints, or ``'test_best'``.

    Returns:
        None if there is no such seed, or a run has no such test. There are intervals if all runs left
        counts of the same images.
    """
    seeds = sorted(base.keys() & other.keys())
    members = [method[seed] for method in (base, other) for seed in seeds]
    scores = [found for member in members if (found := member.scores(test))]
    if not seeds or len(scores) < len(members):
        return None
    names, half = list(scores[0]), len(seeds)
    table = np.array([[found[name] for name in names] for found in scores])
    points = table[half:] - table[:half]  # (S, C + 1)
    counts = [each for member in members if (each := member.counts(test))]
    interval = {}
    if len(counts) == len(members) and all(images == counts[0][0] for images, _ in counts):
        areas = np.stack([found for _, found in counts])
        ends = np.nanpercentile(bootstrap(areas[:half], areas[half:]), (2.5, 97.5), axis=0)
        interval = dict(zip(names, map(tuple, ends.T.tolist()), strict=True))
    mean = dict(zip(names, np.nanmean(points, axis=0).tolist(), strict=True))
    return Difference(dict(zip(seeds, points[:, -1].tolist(), strict=True)), mean, interval)


def bootstrap(base: np.ndarray, other: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Differences of IoU on test sets that are drawn, with replacement, from the test images.

    A draw takes the same images for all runs, sums their areas as the metric does, and takes the mean
    of the differences over the seeds.

    Args:
        base: Intersections and unions (S, N, 2, C) of S seeds, N images and C classes, pixels.
        other: The same of the other method, on the same images.
        draws: D, number of test sets.
        seed: Of the draws.

    Returns:
        (D, C + 1): points of IoU of each class, then of mIoU. NaN: the class is not in a draw.
    """
    num_images = base.shape[1]
    share = np.full(num_images, 1 / num_images)
    weights = np.random.default_rng(seed).multinomial(num_images, share, draws).astype(float)
    ious = []
    for counts in (base, other):
        sums = np.einsum('dn,snkc->dskc', weights, counts.astype(float), optimize=True)
        classes = sums[:, :, 0] / sums[:, :, 1]  # (D, S, C)
        ious.append(np.concatenate((classes, np.nanmean(classes, 2, keepdims=True)), 2))
    return 100 * np.nanmean(ious[1] - ious[0], axis=1)
