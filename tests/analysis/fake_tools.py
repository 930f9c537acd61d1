"""A repository with ``tools/train.py`` and ``tools/test.py`` that take milliseconds.

They write what mmengine writes. ``die`` files in the work dir name the moments at which training
kills itself, once each: ``saving 4`` (with half a checkpoint), ``saved 4``, ``validated 4``.
"""

from pathlib import Path

CONFIG = """
data = '{{$SMALL_DATA:none}}'
split = '{{$SPLIT:none}}'
train_cfg = dict(max_iters=6, val_interval=2)
val_cfg = dict(type='ValLoop')
train_dataloader = dict(num_workers=0)
model = dict(type='A')
randomness = dict(seed=0)
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
"""
SCORES = {2: 30.0, 4: 50.0, 6: 40.0}
"""mIoU of the teacher at each validation; on test it is 1 less, the student is 10 below."""

SHARED = """
import json, os, signal, sys, time, zipfile
from pathlib import Path
work = Path(sys.argv[sys.argv.index('--work-dir') + 1])
options = dict(word.split('=') for word in sys.argv[sys.argv.index('--cfg-options') + 1:])
if 'fail' in options:
    sys.exit('a line of the log\\n/some/where/file.py: it fails')
now = time.time_ns()
log = work / str(now)
(log / 'vis_data').mkdir(parents=True)
iters = int(options.get('train_cfg.max_iters', 6))

def flag(name, default):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default
def dump(load_from):
    text = Path(sys.argv[1]).read_text().replace('{{$SPLIT:none}}', flag('--split', 'none'))
    text = text.replace('{{$SMALL_DATA:none}}', flag('--data', 'none'))
    text = text.replace('seed=0', 'seed=' + options['randomness.seed'])
    for path in (log / 'vis_data/config.py', work / Path(sys.argv[1]).name):
        path.write_text(text + f'load_from = {load_from!r}\\nresume = {"--resume" in sys.argv}\\n')
def metrics(score):
    return {'teacher/mIoU': score, 'teacher/IoU.cat': score, 'student/mIoU': score - 10}
def note(text):
    with (work if work.name[:4] != 'test' else work.parent).joinpath('starts').open('a') as file:
        file.write(text + '\\n')
"""
TRAIN = (
    SHARED
    + """
scores = {2: 30.0, 4: 50.0, 6: 40.0}
dump(None)
def die(moment):
    path = work / moment
    if path.exists():
        path.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
def write(line):
    with (log / 'vis_data/scalars.json').open('a') as file:
        file.write(json.dumps(line) + '\\n')
def save(name):
    with zipfile.ZipFile(work / name, 'w') as file:
        file.writestr('weights', 'w' * 100)
start = 0
if '--resume' in sys.argv:
    start = max(int(path.stem[5:]) for path in work.glob('iter_*.pth'))  # as the real one
note(f'train from {start}')
for step in range(start + 1, iters + 1):
    time.sleep(float(os.environ.get('PAUSE', 0)))
    write({'loss': 1.0, 'time': 60.0, 'step': step})
    if step % 2 == 0:
        save(f'iter_{step}.pth')
        if (work / f'saving {step}').exists():
            (work / f'iter_{step}.pth').write_bytes(b'PK cut off')
        die(f'saving {step}')
        (work / f'iter_{step - 4}.pth').unlink(missing_ok=True)
        die(f'saved {step}')
        write({**metrics(scores[step]), 'time': 1.0, 'step': step})
        die(f'validated {step}')
        if step in (2, 4):
            for path in work.glob('best*'):
                path.unlink()
            save(f'best_teacher_mIoU_iter_{step}.pth')
"""
)
TEST = (
    SHARED
    + """
dump(sys.argv[2])
step = int(Path(sys.argv[2]).stem.split('_')[-1])
note(f'{work.name} {step}')
lists = dict(name='all', family='', list_name='all', digest='1')
text = json.dumps({**metrics({4: 49.0, 6: 39.0}[step]), 'protocol': lists})
(log / f'{now}.json').write_text(text)
"""
)


def write(root: Path) -> Path:
    """The folder of such a repository, with ``config.py``."""
    (root / 'tools').mkdir(parents=True)
    (root / 'tools/train.py').write_text(TRAIN)
    (root / 'tools/test.py').write_text(TEST)
    (root / 'config.py').write_text(CONFIG)
    return root
