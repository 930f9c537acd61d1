"""Masks of any images from a checkpoint: what ``mmseg_u2pl.predict`` and ``tools/predict.py`` do."""

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import Compose
from mmengine.device import get_device
from torch import Tensor

from ..datasets.prediction import check_whole, prediction_pipeline
from ..functional import entropy_of_logits
from .checkpoint import load_model
from .rows import Logits, Windows, by_rows, whole, without_padding
from .sources import Item, find_sources, items

_AHEAD = 4  # batches that are loaded at a time, among which those of equal size are found


class Prediction(NamedTuple):
    """What is predicted for an image, at its own size."""

    item: Item
    mask: np.ndarray
    """The class of each pixel, uint8 (H, W); uint16 with more than 256 classes."""
    probabilities: np.ndarray | None = None
    """Float16 (C, H, W), if asked for."""
    entropy: np.ndarray | None = None
    """Uint8 (H, W), if asked for: 0 is sure, 255 is ln C nats, all classes alike."""
    feature: np.ndarray | None = None
    """The backbone's last map, averaged over the pixels, (D,), if asked for."""
    error: str = ''
    """Why there is no prediction; the mask is empty then."""

    @property
    def name(self) -> str:
        """Path in the folder that was given, with ``/`` and without suffix."""
        return self.item.name


def predict(
    checkpoint: str | Path,
    images: str | Path | Sequence[str | Path],
    *,
    config: str | Path | None = None,
    predictor: str | None = None,
    trust_checkpoint: bool = False,
    **settings: Any,
) -> Iterator[Prediction]:
    """Predict images with the network of a checkpoint, one after the other, in order.

    Args:
        checkpoint: Of a training with this package or with mmseg.
        images: One or several files, folders, patterns, lists or videos, see ``find_sources``.
        config: As in ``load_model``.
        predictor: As in ``load_model``.
        trust_checkpoint: As in ``load_model``.
        **settings: Of :class:`Inference`.

    Returns:
        An iterator; an image that cannot be predicted has an ``error``.

    Raises:
        FileNotFoundError: A file is missing; as in ``load_model`` and ``find_sources``.
        ValueError: As in ``load_model``, ``find_sources`` and :class:`Inference`.
    """
    sources = find_sources([images] if isinstance(images, (str, Path)) else images)
    loaded = load_model(checkpoint, config, predictor=predictor, trust_checkpoint=trust_checkpoint)
    return Inference(loaded.model, loaded.config, **settings)(items(sources))


class Inference:
    """Predict a stream of images through a config's test pipeline.

    Args:
        model: A segmentor in evaluation mode.
        cfg: Its config, with ``test_pipeline`` or ``test_dataloader``.
        batch_size: Images of equal size, once they are padded, go through the network together;
            with ``slide`` windows of an image.
        scale: Short side of the network's input, instead of the config's.
        slide: Side of square windows and their distance, pixels of the input.
        tta: Average over the views of the config's ``tta_pipeline``; over the image and its mirror
            image if there is none, or with ``scale``.
        probabilities: Return them, too.
        entropy: Return it, too.
        features: Return a representation of the image, too.
        device: Default: an accelerator if there is one.

    Raises:
        ValueError: No pipeline; sizes below 1, or windows that leave gaps or do not fit the network.
    """

    def __init__(
        self,
        model: Any,
        cfg: Any,
        *,
        batch_size: int = 1,
        scale: int | None = None,
        slide: Sequence[int] | None = None,
        tta: bool = False,
        probabilities: bool = False,
        entropy: bool = False,
        features: bool = False,
        device: str | None = None,
    ) -> None:
        if min(batch_size, 1 if scale is None else scale) < 1:
            raise ValueError(f'batch_size={batch_size}, scale={scale}: 1 or more')
        if model.out_channels < 2:
            raise ValueError('a head with one output channel is not supported')
        self.model = model.to(device or get_device()).eval()
        self.batch_size, self.probabilities, self.entropy = batch_size, probabilities, entropy
        self._maps: list[Tensor] = []  # of each pass, (B, D)
        if features:
            networks = model.predicting() if hasattr(model, 'predicting') else (model,)
            for part in networks:
                part.backbone.register_forward_hook(self._remember)
        if slide is not None:
            self._slide(*slide)
        pipeline = prediction_pipeline(cfg, scale, tta)
        from_array = [dict(pipeline[0], type='LoadImageFromNDArray'), *pipeline[1:]]
        self.of_file, self.of_array = Compose(pipeline), Compose(from_array)

    def _remember(self, module: Any, inputs: Any, maps: Sequence[Tensor]) -> None:
        self._maps.append(maps[-1].mean((2, 3)))

    def _slide(self, crop: int, stride: int) -> None:
        if not 1 <= stride <= crop:
            raise ValueError(f'slide={crop} {stride}: windows further apart than wide leave gaps')
        if grid := getattr(self.model.data_preprocessor, 'grid', None):
            grid.check((crop, crop), 'slide')
        test_cfg = dict(mode='slide', crop_size=(crop, crop), stride=(stride, stride))
        self.model.test_cfg = ConfigDict(self.model.test_cfg or {}, **test_cfg)

    @property
    def _slides(self) -> bool:
        return self.model.test_cfg.get('mode') == 'slide'

    def __call__(self, images: Iterable[Item]) -> Iterator[Prediction]:
        """Predictions in the order of the images, which are loaded ahead in threads."""
        together = 1 if self._slides else self.batch_size
        loaded = self._loaded(images, _AHEAD * together)
        while window := list(islice(loaded, 1 if together == 1 else _AHEAD * together)):
            found: dict[int, Prediction] = {}
            groups: dict[tuple, list] = {}
            for index, (item, views) in enumerate(window):
                if isinstance(views, str):
                    found[index] = _failed(item, views)
                    continue
                try:
                    inputs = [self.model.data_preprocessor(view, False) for view in views]
                except RuntimeError as error:  # such as a fourth channel
                    found[index] = _failed(item, f'cannot be predicted: {error}')
                    continue
                sizes = tuple(tuple(view['inputs'].shape) for view in inputs)  # padded
                groups.setdefault(sizes, []).append((index, inputs))
            for group in groups.values():
                for start in range(0, len(group), together):
                    part = group[start : start + together]
                    members = [window[index][0] for index, _ in part]
                    results = self._predict(members, [inputs for _, inputs in part])
                    found.update(zip([index for index, _ in part], results, strict=True))
            yield from (found[index] for index in range(len(window)))

    def _loaded(
        self, images: Iterable[Item], count: int
    ) -> Iterator[tuple[Item, list[dict] | str]]:
        """Each image with its views or why there are none; ``count`` are loaded ahead."""
        ahead: deque = deque()
        with ThreadPoolExecutor() as pool:
            for item in images:
                ahead.append((item, pool.submit(self._load, item)))
                if len(ahead) > count:
                    first, views = ahead.popleft()
                    yield first, views.result()
            for item, views in ahead:
                yield item, views.result()

    def _load(self, item: Item) -> list[dict] | str:
        """The views of an image as batches of one, or why it cannot be read."""
        try:
            if isinstance(item.image, str):
                check_whole(item.image)
                data = self.of_file(dict(img_path=item.image))
            else:
                data = self.of_array(dict(img=item.image))
        except Exception as error:  # of whatever decoder and transforms
            return f'cannot be read: {error or type(error).__name__}'
        inputs, samples = data['inputs'], data['data_samples']
        if not isinstance(inputs, list):
            inputs, samples = [inputs], [samples]
        return [dict(inputs=[i], data_samples=[s]) for i, s in zip(inputs, samples, strict=True)]

    @torch.inference_mode()
    def _predict(self, members: list[Item], inputs: list[list[dict]]) -> list[Prediction]:
        """Predict images whose views have equal sizes; ``inputs`` are those of each image."""
        model = self.model
        found: list[list[Logits]] = [[] for _ in members]
        try:
            for views in zip(*inputs, strict=True):
                batch = torch.cat([view['inputs'] for view in views])
                metas = [view['data_samples'][0].metainfo for view in views]
                if self._slides:
                    logits = [Windows(model, batch, metas[0], self.batch_size).logits]
                else:
                    logits = list(map(whole, model.whole_inference(batch, copy.deepcopy(metas))))
                for views_of, part, meta in zip(found, logits, metas, strict=True):
                    views_of.append(without_padding(part, meta))
            sizes = [views[0]['data_samples'][0].ori_shape for views in inputs]
            results = list(map(self._finish, members, found, sizes))
            if self._maps:
                # the windows of one image may be several batches
                maps = torch.cat(self._maps)[None] if self._slides else torch.stack(self._maps, 1)
                pooled = maps.mean(1).float().cpu().numpy()
                results = [r._replace(feature=f) for r, f in zip(results, pooled, strict=True)]
            return results
        except (RuntimeError, MemoryError) as error:  # too large, or too small for the network
            return [_failed(item, f'cannot be predicted: {error}') for item in members]
        finally:
            self._maps.clear()

    def _finish(self, item: Item, views: list[Logits], size: tuple[int, int]) -> Prediction:
        """Logits (C, h, w) of each view → what is asked for, at image size (H, W)."""
        count = views[0].shape[0]
        mask = np.empty(size, np.uint8 if count <= 256 else np.uint16)
        probabilities = np.empty((count, *size), np.float16) if self.probabilities else None
        entropy = np.empty(size, np.uint8) if self.entropy else None
        parts = [by_rows(logits, size, self.model.align_corners) for logits in views]
        for same_rows in zip(*parts, strict=True):
            rows, logits = same_rows[0]
            if len(views) > 1:  # the logarithm of probabilities are logits of them
                mean = sum(part.softmax(0) for _, part in same_rows).div(len(views))
                logits = mean.clamp(min=torch.finfo(mean.dtype).tiny).log()
            mask[rows] = logits.argmax(0).cpu().numpy()
            if probabilities is not None:
                probabilities[:, rows] = logits.softmax(0).half().cpu().numpy()
            if entropy is not None:
                share = entropy_of_logits(logits[None])[0] / np.log(count)
                entropy[rows] = (share * 255).round().clamp(0, 255).byte().cpu().numpy()
        return Prediction(item, mask, probabilities, entropy)


def _failed(item: Item, why: str) -> Prediction:
    return Prediction(item, np.zeros((0, 0), np.uint8), error=' '.join(why.split()))
