"""mmseg's registries under the scope ``mmseg_u2pl``, for configs based on ``'mmseg_u2pl::...'``.

Everything of this package registers with mmseg. mmengine looks up what such a base config builds
under the package's own scope, so each of mmseg's registries gets an empty child of that name,
which finds its parent's modules.
"""

from mmengine.registry import Registry
from mmseg import registry as mmseg_registry

for parent in [r for r in vars(mmseg_registry).values() if isinstance(r, Registry)]:
    locations = parent._locations or ['mmseg_u2pl']
    Registry(parent.name, parent=parent, scope='mmseg_u2pl', locations=locations)
