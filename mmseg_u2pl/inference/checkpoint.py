"""A model from its checkpoint alone: the config inside it is read as data, never run."""

import ast
import contextlib
import io
import math
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import CheckpointLoader
from mmseg.registry import MODELS

from ..compat import config_path
from ..datasets.files import IMAGE_SUFFIXES
from ..engine.checkpoints import check_fits, weights_of
from ..engine.trust import trust

_REMEDY = 'give the config file that it was trained with: --config'
_CALLS: dict[str, Any] = {'dict': dict, 'list': list, 'tuple': tuple, 'set': set}
_NUMBERS = {'inf': math.inf, 'nan': math.nan}


def parse_config(text: str) -> dict[str, Any]:
    """The settings of a config as mmengine writes it into checkpoints; nothing of it is executed.

    Args:
        text: Lines of ``name = value`` of literals and calls of dict, list, tuple and set.

    Raises:
        ValueError: Anything else, such as a call of another function, or a ``type`` that is an
            import path, from which mmengine could build any object of any module.
    """
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ValueError(f"the checkpoint's config cannot be parsed ({error}): {_REMEDY}") from None
    settings = {}
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                settings[name] = _value(value)
            case _:
                raise ValueError(_refused(statement))
    return settings


def _value(node: ast.AST) -> Any:
    """A node of literals as the value it means."""
    match node:
        case ast.Dict(keys=keys, values=values) if None not in keys:
            found = {_value(k): _value(v) for k, v in zip(keys, values, strict=True) if k}
        case ast.Call(func=ast.Name(id=name), args=args, keywords=words) if name in _CALLS and all(
            word.arg for word in words
        ):
            found = _CALLS[name](*map(_value, args), **{str(w.arg): _value(w.value) for w in words})
        case ast.List(elts=elements):
            return [_value(element) for element in elements]
        case ast.Tuple(elts=elements):
            return tuple(_value(element) for element in elements)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id=name)) if name in _NUMBERS:
            return -_NUMBERS[name]
        case ast.Name(id=name) if name in _NUMBERS:
            return _NUMBERS[name]
        case _:
            try:
                return ast.literal_eval(node)  # type: ignore[arg-type]
            except ValueError:
                raise ValueError(_refused(node)) from None
    if isinstance(found, dict) and '.' in str(found.get('type', '')):
        raise ValueError(_refused(node))
    return found


def _refused(node: ast.AST) -> str:
    text = ast.unparse(node)
    return (
        f"the checkpoint's config has, in line {getattr(node, 'lineno', '?')}, more than plain "
        f'values, and is not executed ({text[:60]}): {_REMEDY}'
    )


class Loaded(NamedTuple):
    """A segmentor, and what came with it."""

    model: Any
    """With the weights, in evaluation mode on the CPU."""
    config: Config
    dataset_meta: dict[str, Any]
    """``classes`` and ``palette``, RGB triples."""
    checkpoint: dict[str, Any]
    """All that the file holds."""


def build_segmentor(cfg: Config) -> Any:
    """The segmentor of a config, with random weights, in evaluation mode; nothing is downloaded."""
    if cfg.model.get('backbone', {}).get('pretrained') is True:
        cfg.model.backbone.pretrained = False  # some load such weights when they are built
    return MODELS.build(cfg.model).eval()


def fill_segmentor(model: Any, checkpoint: dict[str, Any], name: str | Path) -> None:
    """Load the weights of a checkpoint; it may lack banks and auxiliary heads.

    Raises:
        ValueError: As in ``check_fits``, with the ``name``.
    """
    check_fits(model, checkpoint, starts=False, name=name)
    model.load_state_dict(weights_of(checkpoint), strict=False)


def load_model(
    checkpoint: str | Path,
    config: str | Path | None = None,
    *,
    predictor: str | None = None,
    trust_checkpoint: bool = False,
) -> Loaded:
    """A segmentor with the weights of a checkpoint.

    Args:
        checkpoint: A ``.pth`` file of a training or, with ``config``, any weights.
        config: Config file, or ``PACKAGE::PATH``; it is code and is executed. None: the one inside the checkpoint.
        predictor: Which network predicts, one of ``model.predictors``; None: as the config says.
        trust_checkpoint: Load a checkpoint that holds more than data: it can run any code.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No checkpoint, or one without config or of another network; an unknown predictor.
        UnpicklingError: The checkpoint, which is named, is damaged or holds more than data.
    """
    config = config and config_path(config)
    for path in (checkpoint, config):
        if path is not None and not Path(path).is_file():
            raise FileNotFoundError(f'{path} does not exist (from {Path.cwd()})')
    if (suffix := Path(checkpoint).suffix.lower()) in ('.py', *IMAGE_SUFFIXES):
        raise ValueError(f'{checkpoint} is no checkpoint: a file *{suffix} holds no weights')
    # mmengine prints what fails and is tried again
    with trust(trust_checkpoint), contextlib.redirect_stdout(io.StringIO()):
        try:
            content = CheckpointLoader.load_checkpoint(str(checkpoint), 'cpu', 'silent')
        except UnpicklingError as error:
            raise UnpicklingError(str(checkpoint)) from error
        except ImportError:
            raise
        except Exception as error:
            why = 'it is empty' if not Path(checkpoint).stat().st_size else repr(error)[:200]
            raise ValueError(f'{checkpoint} cannot be read as a checkpoint: {why}') from error
    if not isinstance(content, dict):
        raise ValueError(f'{checkpoint} holds a {type(content).__name__}, not a checkpoint')
    meta = content.get('meta') or {}
    if config is not None:
        cfg = Config.fromfile(config)
    elif isinstance(text := meta.get('cfg'), str):
        cfg = Config(parse_config(text))
    else:
        raise ValueError(f'{checkpoint} has no config inside: {_REMEDY}')
    if 'model' not in cfg:
        raise ValueError(f'the config of {checkpoint} has no model: {_REMEDY}')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    try:
        model = build_segmentor(cfg)
    except KeyError as error:  # custom_imports run code, too
        raise ValueError(
            f'the config of {checkpoint} has a part that is not registered ({error}): import its '
            f'module first, or {_REMEDY}'
        ) from error
    fill_segmentor(model, content, checkpoint)
    if predictor is not None:
        names = getattr(model, 'predictors', ())
        if predictor not in names:
            raise ValueError(
                f'predictor {predictor!r}: {type(model).__name__} has '
                f'{", ".join(names) or "one network, nothing to choose"}'
            )
        model.predictor = predictor
    return Loaded(model, cfg, _dataset_meta(meta, model.decode_head), content)


def _dataset_meta(meta: dict[str, Any], head: Any) -> dict[str, Any]:
    """Names and colors of the classes; those that the checkpoint lacks are made up."""
    count = (head[-1] if hasattr(head, '__getitem__') else head).num_classes
    known = meta.get('dataset_meta') or {}
    classes = known.get('classes') or [f'class {index}' for index in range(count)]
    palette = known.get('palette')
    if palette is None or len(palette) != len(classes):
        palette = np.random.default_rng(42).integers(0, 256, (len(classes), 3))
    return dict(classes=list(classes), palette=[[int(part) for part in c] for c in palette])
