# RRN (ICME 2023): what it adds to CPS. The discriminators have an optimizer with a constant rate.
rrn = dict(type='RRN')
rrn_optimizers = dict(
    discriminator_optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.99)),
)
