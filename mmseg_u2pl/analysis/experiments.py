"""A list of runs, and the file of their results.

A run is identified by its config, data set, split, seed and overrides.
"""

import argparse
import difflib
import fcntl
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import mmengine
from mmengine.config import Config

from ..cli import add_config_arguments, load_scoped_config

KEYS = ('name', 'config', 'data', 'split', 'seeds', 'options', 'env')
SETTINGS = ('config', 'data', 'split', 'seed', 'overrides')
WORKERS = {'num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory', 'timeout'}
"""Settings of a data loader that change its speed alone."""


class Experiment(NamedTuple):
    """One training and its tests.

    Args:
        name: Of the settings in tables.
        config: Path of the config, relative to the repository.
        data: ``--data`` of the tools, a small data set; '' leaves it out.
        split: ``--split``; '' leaves it out.
        seed: ``randomness.seed``.
        overrides: ``--cfg-options`` by dotted key; ``max_iters`` is ``--iters``.
        env: Environment variables, such as where data lies. They do not identify the run.
    """

    name: str
    config: str
    data: str
    split: str
    seed: int
    overrides: dict[str, Any]
    env: dict[str, str]

    @property
    def folder(self) -> str:
        """Name of its work dir."""
        parts = (self.name, self.data, self.split, f's{self.seed}')
        return '_'.join(filter(None, parts)).replace('/', '-')

    @property
    def settings(self) -> dict[str, Any]:
        """What identifies it, as a results file gives it back: tuples are lists."""
        values = self._asdict()
        return json.loads(json.dumps({key: values[key] for key in SETTINGS}))

    @property
    def flags(self) -> list[str]:
        """What ``tools/train.py`` and ``tools/test.py`` take beside the config."""
        values = {**self.overrides, 'randomness.seed': self.seed}
        iters = ['--iters', str(values.pop('max_iters'))] if 'max_iters' in values else []
        words = [f'{key}={_text(value)}' for key, value in values.items()]
        data = ['--data', self.data] if self.data else []
        split = ['--split', self.split] if self.split else []
        return [*data, *split, *iters, '--cfg-options', *words]

    def load(self, root: str | Path) -> Config:
        """Its resolved config.

        Raises:
            SystemExit: The config does not exist, or does not take the data set or split.
        """
        parser = argparse.ArgumentParser()
        parser.add_argument('config')
        add_config_arguments(parser)
        args = parser.parse_args([str(Path(root, self.config)), *self.flags])
        before = dict(os.environ)
        os.environ.update(self.env)  # configs read it
        try:
            return load_scoped_config(args)
        finally:
            os.environ.clear()
            os.environ.update(before)


def _text(value: Any) -> str:
    """A value as ``--cfg-options`` takes it."""
    return f'[{",".join(map(_text, value))}]' if isinstance(value, list) else str(value)


def digest(config: Config) -> str:
    """Short hash of what a resolved config sets, without workers and the places of data and results."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            skipped = WORKERS | {'data_root', 'work_dir'}
            return {str(key): kept(item) for key, item in value.items() if key not in skipped}
        return [kept(item) for item in value] if isinstance(value, list | tuple) else repr(value)

    text = json.dumps(kept(config.to_dict()), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def flat(options: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Nested settings by dotted key."""
    found: dict[str, Any] = {}
    for key, value in options.items():
        found |= flat(value, f'{prefix}{key}.') if value and isinstance(value, dict) else {
            prefix + key: value
        }  # fmt: skip
    return found


def read_list(path: str | Path) -> list[Experiment]:
    """The runs of a YAML file: ``runs``, a list of mappings, and ``defaults`` for all of them.

    A run has ``name``, ``config``, ``data``, ``split``, ``seeds``, ``options`` and ``env``; the last
    two are added to those of the defaults, the others replace them. Seeds go outside: all runs with
    their first seed, then all with their second.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A key is unknown or missing; two runs are the same or have the same name; YAML
            took a text for a number, as it does with 1_16.
    """
    whole = mmengine.load(path)
    if not isinstance(whole, dict) or not isinstance(whole.get('runs'), list):
        raise ValueError(f'{path}: expected runs, a list of mappings, and perhaps defaults')
    defaults, rounds = whole.get('defaults') or {}, []
    for run in whole['runs']:
        entry = {'data': '', 'split': '', 'seeds': [0], **defaults, **run}
        for key in ('options', 'env'):
            entry[key] = flat({**flat(defaults.get(key, {})), **flat(run.get(key, {}))})
        if wrong := set(KEYS) ^ set(entry):
            raise ValueError(f'{path}: {", ".join(sorted(wrong))} is unknown or missing in {run}')
        for key in KEYS[:4]:
            if not isinstance(entry[key], str):
                raise ValueError(f"{path}: {key}={entry[key]} is no text: quote it, like '1_16'")
        if not isinstance(entry['seeds'], list):
            raise ValueError(f'{path}: seeds={entry["seeds"]} is no list: give [{entry["seeds"]}]')
        env = {key: str(value) for key, value in entry['env'].items()}
        name, config, data, split = (entry[key] for key in KEYS[:4])
        rounds.append(
            [
                Experiment(name, config, data, split, seed, entry['options'], env)
                for seed in entry['seeds']
            ]
        )
    runs = [run for group in itertools.zip_longest(*rounds) for run in group if run]
    for one, other in itertools.combinations(runs, 2):
        if one.folder == other.folder or one.settings == other.settings:
            raise ValueError(
                f'{path}: the runs {one.folder} and {other.folder} have the same name, or are the same'
            )
    return runs


def chosen(experiments: Sequence[Experiment], patterns: Sequence[str]) -> list[Experiment]:
    """Those whose folder matches one of the patterns of a shell; all if there is no pattern.

    Raises:
        ValueError: A pattern matches none.
    """
    folders = [experiment.folder for experiment in experiments]
    for pattern in patterns:
        if not any(fnmatchcase(folder, pattern) for folder in folders):
            near = difflib.get_close_matches(pattern, folders, 3, 0.0)
            raise ValueError(f'no run of the list matches {pattern!r}; like it: {", ".join(near)}')
    return [
        experiment
        for experiment, folder in zip(experiments, folders, strict=True)
        if not patterns or any(fnmatchcase(folder, pattern) for pattern in patterns)
    ]


def supervised_baseline(config: str | Path) -> Path:
    """The config of a method's supervised baseline, found by its name.

    ``street.py`` has ``street_supervised.py`` beside it, ``u2pl/u2pl_NETWORK.py`` has
    ``supervised/supervised_NETWORK.py``, ``*-balanced_NETWORK.py`` its ``supervised-balanced_*``.

    Raises:
        FileNotFoundError: There is none.
    """
    path = Path(config).resolve()
    method, _, network = path.stem.partition('_')
    kind = 'supervised-balanced' if method.endswith('-balanced') else 'supervised'
    beside = path.with_name(f'{path.stem}_supervised.py')
    shipped = path.parents[1] / 'supervised' / f'{kind}_{network}.py'
    for found in (beside, shipped):
        if found.is_file():
            return found
    if 'supervised' in path.stem:
        raise FileNotFoundError(f'{config} is a supervised baseline: give the config of the method')
    raise FileNotFoundError(
        f'{config}: its supervised baseline is neither {beside} nor {shipped}: give it by --baseline'
    )


def pair(method: Experiment, baseline: str | Path, seeds: int, root: Path) -> list[Experiment]:
    """Runs of a method and, before each, of its supervised baseline with equal iterations.

    Args:
        method: Its ``seed`` does not count. Overrides of ``model.X`` are the method's alone if the
            baseline's model has no ``X``.
        baseline: Its config.
        seeds: Number of runs of each.
        root: Of the repository.

    Raises:
        ValueError: The two train for different numbers of iterations.
        SystemExit: As :meth:`Experiment.load`.
    """
    name, config = Path(baseline).stem, os.path.relpath(baseline, root)
    model = method._replace(config=config, overrides={}).load(root).model
    shared = {
        key: value
        for key, value in method.overrides.items()
        if not key.startswith('model.') or key.split('.')[1] in model
    }
    network = method.name.partition('_')[2]
    if network and name.endswith(f'_{network}'):
        name, short = (each.removesuffix(f'_{network}') for each in (name, method.name))
        method = method._replace(name=short)
    both = method._replace(name=name, config=config, overrides=shared), method
    lengths = [each.load(root).train_cfg.max_iters for each in both]
    if lengths[0] != lengths[1]:
        raise ValueError(
            f'{baseline} trains for {lengths[0]} iterations, {method.config} for {lengths[1]}: set '
            '--iters N, or --cfg-options train_cfg.max_iters=N, for both'
        )
    return [each._replace(seed=seed) for seed in range(seeds) for each in both]


# -------------------------------------------------------------------- the results file
def read_results(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a results file; of one run the last line counts. Empty if there is no file."""
    text = Path(path).read_text('utf-8', 'replace') if Path(path).exists() else ''
    *lines, last = text.split('\n')
    parsed = [(number, _parsed(line)) for number, line in enumerate(lines, 1) if line.strip()]
    if (of_last := _parsed(last)) is not None:
        parsed.append((len(lines) + 1, of_last))
    for number, record in parsed:
        if not isinstance(record, dict) or not {*SETTINGS} <= record.keys():
            raise ValueError(f'{path}, line {number}: is no result of a run')
    records = [record for _, record in parsed]
    return list({json.dumps([r[key] for key in SETTINGS]): r for r in records}.values())


def _parsed(line: str | bytes) -> Any:
    """What a line of a results file says; None if it was cut off, as the last may be."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def append_result(path: str | Path, record: Mapping[str, Any]) -> bool:
    """Add a line, unless its run has one without ``error``; whether it was added.

    Several processes may do so at once. A line that was cut off is removed.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open('a+b') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        content = file.read()
        start = content.rfind(b'\n') + 1
        if _parsed(content[start:]) is not None:  # of an editor, or a script
            file.write(b'\n')
            file.flush()
        else:
            file.truncate(start)
        if is_done(record, read_results(path)):
            return False
        file.write((json.dumps(record, ensure_ascii=False) + '\n').encode())
        file.flush()
        os.fsync(file.fileno())
    return True


def is_done(settings: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a run of these settings has a result."""
    same = (r for r in records if all(r[key] == settings[key] for key in SETTINGS))
    return any('error' not in record for record in same)
