"""What stands for a group of tasks in another process; light, so that it starts quickly."""

import os
import time


def sends_one_and_sleeps(group, settings, connection):
    connection.send(('first', {'group': group}))
    time.sleep(60)


def sends_one_and_dies(group, settings, connection):
    connection.send(('first', {'group': group}))
    os._exit(3)
