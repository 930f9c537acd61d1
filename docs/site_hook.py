"""What MkDocs needs beyond mkdocs.yml: files of the repository that the documentation links to."""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
LINK = re.compile(r'(\]\()([^)#\s]+)((?:#[^)\s]*)?\))')
PREFIX = 'repository'
"""Folder of the site with files from outside docs."""


def of_repository(uri):
    """A page's or file's path in the repository."""
    inside = uri.removeprefix(f'{PREFIX}/')
    return inside if inside != uri else f'docs/{uri}'


def in_site(path):
    """The reverse of :func:`of_repository`."""
    return path.removeprefix('docs/') if path.startswith('docs/') else f'{PREFIX}/{path}'


def targets(path):
    """Files of the repository to which a Markdown file links."""
    folder = posixpath.dirname(path)
    for _, link, _ in LINK.findall((ROOT / path).read_text(encoding='utf-8')):
        target = posixpath.normpath(posixpath.join(folder, link))
        if '://' not in link and (ROOT / target).is_file():
            yield target


def on_files(files, config):
    """Add what the pages link to, and what that links to."""
    waiting = [of_repository(file.src_uri) for file in files if file.src_uri.endswith('.md')]
    while waiting:
        for target in targets(waiting.pop()):
            if files.get_file_from_path(in_site(target)) is None:
                path = str(ROOT / target)
                files.append(File.generated(config, in_site(target), abs_src_path=path))
                if target.endswith('.md'):
                    waiting.append(target)


def on_page_markdown(markdown, page, config, files):
    """Point links at where the files are in the site."""
    here = of_repository(page.file.src_uri)

    def moved(match):
        start, link, end = match.groups()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link))
        if '://' in link or files.get_file_from_path(in_site(target)) is None:
            return match[0]
        folder = posixpath.dirname(page.file.src_uri)
        return start + posixpath.relpath(in_site(target), folder or '.') + end

    return LINK.sub(moved, markdown)


def on_page_content(html, **_):
    """References of docstrings, as in :func:`name`, are names."""
    return re.sub(r':(?:func|class|meth|data|attr|mod):(?=<code>)', '', html)
