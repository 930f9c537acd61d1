"""``mmseg-u2pl NAME ...``: the scripts of ``tools/`` as one command."""

import ast
import runpy
import sys
from pathlib import Path

TOOLS = Path(__file__).parent / '.mim' / 'tools'


def main() -> None:
    """Run a tool by name, or list all; exit code 2 for a name that is none."""
    tools = {path.stem.replace('_', '-'): path for path in sorted(TOOLS.glob('*.py'))}
    name = sys.argv[1].replace('_', '-') if len(sys.argv) > 1 else '--help'
    if name in tools:
        sys.argv = [f'mmseg-u2pl {name}', *sys.argv[2:]]
        runpy.run_path(str(tools[name]), run_name='__main__')
    elif name in ('-h', '--help'):
        print('usage: mmseg-u2pl NAME ...   (mmseg-u2pl NAME --help says more)\n')
        for tool, path in tools.items():
            text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
            print(f'  {tool:{max(map(len, tools))}}  {text.splitlines()[0]}')
    else:
        print(f'error: there is no tool {name!r}: {", ".join(tools)}', file=sys.stderr)
        raise SystemExit(2)


if __name__ == '__main__':
    main()
