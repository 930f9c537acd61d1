"""What stands for the tasks in another process; light, so that it starts quickly."""

import os
import time


def sleeps(groups, settings, connection):
    for group in groups:
        connection.send((group, 'first', {'groups': groups}))
        if group == 'a':
            time.sleep(60)
        connection.send((group, '', {}))


def dies(groups, settings, connection):
    for group in groups:
        connection.send((group, 'first', {'groups': groups}))
        if group == 'a':
            os._exit(3)
        connection.send((group, '', {}))
