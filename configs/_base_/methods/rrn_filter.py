# RRN as a filter of CPS: regions that a discriminator accepts gate the labels for the other network.
_base_ = './rrn.py'
rrn = dict(
    target='cross',
    cps_weight=0.0,  # L_cps is off
    selection_weight=0.5,  # for each of two scores: their sum has the weight of L_cps
    accepted_share=0.5,
)
