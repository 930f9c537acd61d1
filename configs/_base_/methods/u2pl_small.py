# U²PL for a small network: a narrow representation head and a small memory bank.
_base_ = './u2pl.py'
u2pl = dict(
    contrastive=dict(bank_size=5000),
    representation_head=dict(channels=64, out_channels=64),
)
