# Part for a leaf that enlarges the network of dpt_dinov2-s.py: model = dict(_base_.dinov2_b)
dinov2_b = dict(
    backbone=dict(
        name='facebook/dinov2-base',
        config=dict(hidden_size=768, num_attention_heads=12),
        frozen=False,
    ),
    decode_head=dict(
        embed_dims=768,
        in_channels=[768] * 4,
        post_process_channels=[96, 192, 384, 768],
        channels=128,
    ),
)
