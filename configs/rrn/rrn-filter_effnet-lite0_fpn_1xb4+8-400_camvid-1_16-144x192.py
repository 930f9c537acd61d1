_base_ = './rrn_effnet-lite0_fpn_1xb4+8-400_camvid-1_16-144x192.py'
model = dict(
    target='cross',  # accepted regions gate the other network's labels ...
    cps_weight=0.0,  # ... and there is no CPS loss beside
    selection_weight=0.5,  # of two votes: together what L_cps weighs
    accepted_share=0.5,
    selftrain_warmup_iters=0,
)
