# U²PL+ (IJCV 2024): reverse cross-entropy in L_u, and prototypes over time as positives.
_base_ = './u2pl_effnet-lite0_small.py'
model = dict(reverse_weight=0.1, contrastive=dict(momentum_prototypes=True))
