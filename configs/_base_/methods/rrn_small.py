# RRN for a small network and small crops: narrow discriminators, as many regions as at 512 pixels.
_base_ = './rrn.py'
rrn = dict(discriminator=dict(channels=16, grid=3))
