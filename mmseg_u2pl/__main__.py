"""``mmseg-u2pl NAME ...``: the scripts of ``tools/`` as one command."""

import ast
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from .cli import COMMAND

TOOLS = Path(__file__).parent / '.mim' / 'tools'


def main() -> None:
    """Run a tool by name, or list all; exit code 2 for a name that is none."""
    tools = {path.stem.replace('_', '-'): path for path in sorted(TOOLS.glob('*.py'))}
    name = sys.argv[1].replace('_', '-') if len(sys.argv) > 1 else '--help'
    if name in tools:
        sys.argv = [f'{COMMAND} {name}', *sys.argv[2:]]
        # runpy would put the script's path into argv, and so into the help
        spec = spec_from_file_location('__main__', tools[name])
        assert spec
        assert spec.loader
        spec.loader.exec_module(module_from_spec(spec))
    elif name in ('-h', '--help'):
        print(f'usage: {COMMAND} NAME ...   ({COMMAND} NAME --help says more)\n')
        for tool, path in tools.items():
            text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
            print(f'  {tool:{max(map(len, tools))}}  {text.splitlines()[0]}')
    else:
        print(f'error: there is no tool {name!r}: {", ".join(tools)}', file=sys.stderr)
        raise SystemExit(2)


if __name__ == '__main__':
    main()
