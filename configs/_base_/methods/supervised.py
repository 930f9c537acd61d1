# The supervised baseline: a plain EncoderDecoder on the labeled images of the same data loader.
supervised = dict(sampler=dict(ratio=(1, 0)), dataset=dict(unlabeled=None))
