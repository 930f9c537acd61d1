"""What stands for the tasks in another process; light, so that it starts quickly."""

import os
import time


def _send(keys, connection, within_a):
    for key in keys:
        if key == 'a':
            within_a()
        connection.send({'keys': keys})


def works(keys, settings, connection):
    _send(keys, connection, lambda: None)


def sleeps(keys, settings, connection):
    _send(keys, connection, lambda: time.sleep(60))


def dies(keys, settings, connection):
    _send(keys, connection, lambda: os._exit(3))


def ends(keys, settings, connection):
    """Says that ``a`` failed, and leaves the rest to another process."""
    if keys[0] == 'a':
        connection.send({'error': 'CUDA'})
        os._exit(0)
    works(keys, settings, connection)
