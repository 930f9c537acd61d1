# RRN as a filter of CPS, for a small network and small crops.
_base_ = './rrn_filter.py'
rrn = dict(discriminator=dict(channels=16, grid=3))
