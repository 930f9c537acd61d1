# The same two lines enlarge the network of the other data sets.
_base_ = ['./unimatch-v2_dinov2-s_voc12-518x518.py', '../_base_/models/dpt_dinov2-b.py']
model = dict(_base_.dinov2_b)
