"""One HTML page that compares methods: it works offline and on a phone."""

import io
import math
import statistics
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import cycle
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib
import mmcv
import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from PIL import Image

from ..functional import IGNORE
from ..inference.checkpoint import load_model
from ..inference.writing import overlay
from ..version import __version__
from .comparison import DRAWS, Member, Members, check_paired, compare, read_members
from .report import markdown_table, mean_std, newest_metrics, signed
from .run_folder import ONE_NETWORK

TESTS = {'test': 'last checkpoint', 'test_best': 'best on val'}
COLORS = ('#3b82c4', '#e07b20', '#3a9a5b', '#b65fc0', '#c94f4f', '#8c8c3a')  # on light and dark
LISTS = {'protocol': 'Trained on', 'scored_on': 'Scored on'}
VAL = 'mIoU on val, %'
NOT_QUALITY = ('ema_momentum', 'unsup_weight')  # settings over time
PICTURES = 3
"""Of the largest gains, and of the largest losses."""
WIDTH = 320
"""Of pictures, pixels."""
MOST_INSIDE = 8
"""Lines of a chart whose names stand inside it."""
MADE_BY = 'Made by tools/report.py of mmseg_u2pl'
"""What each page says; a file without it is not replaced."""


def write_page(
    runs: Mapping[str, Sequence[str | Path]],
    path: str | Path,
    predictors: Sequence[str] = (),
    gap: tuple[str, str] | None = None,
) -> Path:
    """Write the page, and the Markdown table beside it.

    Args:
        runs: Work dirs of the trainings of each method, with their tests in ``test`` and
            ``test_best``. The others are compared with the first method.
        path: The ``.html`` file.
        predictors: As in ``read_run``.
        gap: As in ``markdown_table``.

    Raises:
        FileNotFoundError: A folder has no test.
        ValueError: A file of another origin is there; there is one method alone; without ``gap``,
            methods were trained on different lists; as ``markdown_table`` and ``read_members``.
    """
    table = markdown_table(runs, predictors, gap)
    if len(runs) < 2:
        raise ValueError(f'a page compares two methods or more, but the runs are all {list(runs)}')
    methods = read_members(runs, predictors)
    if gap is None:
        check_paired(methods)
    path = Path(path)
    beside = path.with_suffix('.md')
    if beside.exists() and not path.exists():
        raise ValueError(f'{beside} would be overwritten: give the page another name')
    if path.exists() and MADE_BY not in path.read_text(encoding='utf-8', errors='replace'):
        raise ValueError(f'{path} is not a page of this tool: give another name')
    path.parent.mkdir(parents=True, exist_ok=True)
    beside.write_text(table + '\n', encoding='utf-8')
    path.write_text(render(methods), encoding='utf-8')
    return path


def render(methods: Mapping[str, Members]) -> str:
    """The page of methods, the first of which is the baseline."""
    baseline, *others = methods
    base = methods[baseline]
    differences = {n: {test: compare(base, methods[n], test) for test in TESTS} for n in others}
    found = [each['test'] for each in differences.values() if each['test']]
    ends = [np.nanmax(np.abs(list(each.mean.values())), initial=0) for each in found]
    ends += [np.nanmax(np.abs(list(each.interval.values())), initial=0) for each in found]
    facts = [member.results for members in methods.values() for member in members.values()]
    context: dict[str, Any] = dict(
        methods=methods,
        baseline=baseline,
        tests=TESTS,
        differences=differences,
        lengths=sorted({each['iterations'] for each in facts}),
        classes=[name for name in base[min(base)].scores('test') or () if name != 'mIoU'],
        draws=DRAWS,
        charts=[chart(title, lines) for title, lines in curves(methods).items() if lines],
        costs={name: cost(list(members.values())) for name, members in methods.items()},
        lists={LISTS[key]: sorted({f[key]['name'] for f in facts if f[key]}) for key in LISTS},
        pictures={name: pictures(base, methods[name]) for name in others},
        made_by=f'{MADE_BY} {__version__}',
        today=date.today(),
    )
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=loader)
    environment.filters.update(signed=signed, mean_of=mean_of)
    environment.globals.update(zip=zip, scale=max(ends, default=0) or 1, span=span)
    return environment.get_template('page.html').render(context)


def mean_of(members: Members, test: str, name: str = 'mIoU') -> str:
    """Mean ± std of a score over the seeds; a dash if a run was not tested."""
    scores = [member.scores(test) for member in members.values()]
    return mean_std([score[name] for score in scores if score]) if all(scores) else '–'


def span(ends: Sequence[float], scale: float) -> str:
    """Left and right edge of a bar between two differences, on an axis from -scale to scale."""
    left, right = (50 + 50 * end / scale for end in (min(ends), max(ends)))
    return f'left:{left:.1f}%;right:{100 - right:.1f}%'


def cost(members: Sequence[Member]) -> dict[str, str]:
    """Minutes and memory of training, mean ± std; a dash for what was not logged."""
    logs = [member.folder.logged for member in members]
    memory = [max((line.get('memory', 0) for line in log), default=0) / 1024 for log in logs]
    return {
        'minutes': mean_std([member.results['minutes'] for member in members]),
        'GPU memory, GiB': mean_std(memory) if all(memory) else '–',
    }


# -------------------------------------------------------------------- curves
Lines = dict[str, tuple[list[dict[int, float]], str | None, str]]
"""By label: values by iteration of each seed, color and style."""


def curves(methods: Mapping[str, Members]) -> dict[str, Lines]:
    """Charts by title: mIoU on val of every network, and what the runs logged of pseudo-labels.

    These are ``semi/X``, or ``semi/X/CLASS`` by class.
    """
    charts: dict[str, Lines] = {VAL: {}}
    for (name, by_seed), color in zip(methods.items(), cycle(COLORS), strict=False):
        members = list(by_seed.values())
        for network in members[0].results['val'] and members[0].results['test']:
            points = [
                {v['iteration']: v['scores'][network]['mIoU'] for v in member.results['val']}
                for member in members
            ]
            label = name if network == ONE_NETWORK else f'{name}, {network}'
            charts[VAL][label] = points, color, '-' if network == members[0].predictor else '--'
        logs = [member.folder.logged for member in members]
        for key in dict.fromkeys(key for log in logs for line in log for key in line):
            scope, what, *label_of = key.split('/', 2) if '/' in key else (key, '')
            if scope == 'semi' and what not in NOT_QUALITY:
                points = [{line['step']: line[key] for line in log if key in line} for log in logs]
                title = ', '.join([what.replace('_', ' '), *(name for _ in label_of)])
                style = (None if label_of else color), '-'
                charts.setdefault(title, {})[label_of[0] if label_of else name] = points, *style
    return charts


def chart(title: str, lines: Lines) -> Markup:
    """Lines over iterations, the mean of the seeds and thin ones of each, as inline SVG.

    It has the colors of the text around it.
    """
    below = math.ceil(len(lines) / 3) if len(lines) > MOST_INSIDE else 0  # lines of the legend
    size = 4.6, 3.1 + 0.17 * below  # inches
    figure, file = Figure(figsize=size, layout='constrained'), io.StringIO()
    axes = figure.add_subplot(xlabel='iteration', title='\n'.join(wrap(title, 44)))
    shown = []
    for label, (points, color, style) in lines.items():
        seeds = [seed for seed in points if seed]
        common = sorted(set(seeds[0]).intersection(*seeds))
        means = [statistics.mean(seed[step] for seed in seeds) for step in common]
        (line,) = axes.plot(common, means, style, color=color, marker='.')
        shown.append((line, label.replace('$', r'\$')))
        for seed in seeds if len(seeds) > 1 else ():
            steps = sorted(seed)
            values = [seed[step] for step in steps]
            axes.plot(steps, values, style, color=line.get_color(), alpha=0.35, linewidth=0.8)
    low, high = axes.get_ylim()
    if high - low < (least := 0.1 * abs(high)):  # noise of what is constant looks like a curve
        axes.set_ylim((low + high - least) / 2, (low + high + least) / 2)
    axes.ticklabel_format(useOffset=False)
    axes.grid(alpha=0.25)
    entries = tuple(zip(*shown, strict=True))  # names may begin with _
    if below:
        figure.legend(*entries, loc='outside lower center', ncols=3, frameon=False, fontsize=7)
    else:
        axes.legend(*entries, frameon=False, fontsize=8)
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': title}):
        figure.savefig(file, format='svg', transparent=True, metadata={'Date': None})
    text = file.getvalue().replace('#000000', 'currentColor')
    return Markup(text[text.index('<svg') :])


# -------------------------------------------------------------------- pictures
def pictures(base: Members, other: Members) -> dict[str, Any]:
    """The test images on which the last checkpoints of the first common seed differ most.

    Returns:
        ``rows`` with ``name``, ``scores`` and ``images`` (image, truth, both predictions, as data URLs),
        ``colors`` of the classes and ``seed``; or ``missing``, why there are none.
    """
    seed = min(base.keys() & other.keys(), default=None)
    pair = [] if seed is None else [base[seed], other[seed]]
    counts = [each for member in pair if (each := member.counts('test'))]
    if len(counts) < 2 or counts[0][0] != counts[1][0]:
        return dict(missing='there is no seed, or no counts of each test image, that both have')
    scores = np.stack([np.nanmean(100 * a[:, 0] / a[:, 1], axis=1) for _, a in counts])
    gains = scores[1] - scores[0]
    order = [index for index in np.argsort(-gains) if abs(gains[index]) > 0]  # no NaN
    best, worst = order[:PICTURES], order[PICTURES:][-PICTURES:]
    shown = [*(i for i in best if gains[i] > 0), *(i for i in (*best, *worst) if gains[i] < 0)]
    try:
        (colors, first), (_, second) = [predicted(member, shown) for member in pair]
    except Exception as error:  # of whatever data and network: the numbers stand
        return dict(missing=f'{type(error).__name__}: {error}')
    rows = []
    for index, (image, truth, before), (*_, after) in zip(shown, first, second, strict=True):
        views = [data_url(image, mask, colors) for mask in (None, truth, before, after)]
        rows.append(dict(name=counts[0][0][index], scores=scores[:, index], images=views))
    return dict(rows=rows, colors=colors, seed=seed)


@torch.no_grad()
def predicted(member: Member, indices: Sequence[int]) -> tuple[dict, list[tuple]]:
    """Colors of the classes, then RGB image, truth and prediction of some of a run's test images."""
    network = None if member.predictor == ONE_NETWORK else member.predictor
    checkpoint = member.folder.checkpoint_of('test')
    assert checkpoint is not None  # it was tested
    model = load_model(checkpoint, predictor=network).model
    config = newest_metrics(member.folder.path / 'test').parent / 'vis_data/config.py'
    dataset: Any = DATASETS.build(Config.fromfile(config).test_dataloader.dataset)
    found = []
    for index in indices:
        (sample,) = model.test_step(pseudo_collate([dataset[index]]))
        truth, mask = (part.data[0].numpy() for part in (sample.gt_sem_seg, sample.pred_sem_seg))
        found.append((mmcv.imread(sample.img_path, channel_order='rgb'), truth, mask))
    meta = dataset.metainfo
    return dict(zip(meta['classes'], map(tuple, meta['palette']), strict=True)), found


def data_url(
    image: np.ndarray, mask: np.ndarray | None, classes: Mapping[str, tuple[int, ...]]
) -> str:
    """A small JPEG of an image, under a mask if there is one; ignored pixels are clear."""
    if mask is not None:
        palette = [*classes.values(), (0, 0, 0)]  # overlay leaves black clear
        image = overlay(image, np.where(mask == IGNORE, len(classes), mask), palette)
    picture, file = Image.fromarray(image), io.BytesIO()
    picture.thumbnail((WIDTH, 2 * WIDTH))
    picture.save(file, 'JPEG', quality=85)
    return f'data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}'
