# DINOv2-S under DPT, the network of UniMatch V2. Needs pip install -e ".[hf]"; training downloads
# the weights, and a folder with them will do as name.
# Ours: mmseg's DPT, whose residual units have no bias.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SemiDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=None,  # the protocol's crop
        pad_val=0,  # after normalization: the mean color
        seg_pad_val=255,
        grid=dict(stride=14),
    ),
    backbone=dict(
        type='HFBackbone',
        name='facebook/dinov2-small',
        pretrained=True,
        # that of the name, written out: a trained network is built without a download
        config=dict(model_type='dinov2', image_size=518, hidden_size=384, num_attention_heads=6),
        out_indices=(3, 6, 9, 12),
    ),
    decode_head=dict(
        type='DPTMapHead',
        embed_dims=384,
        in_channels=[384] * 4,
        in_index=[0, 1, 2, 3],
        input_transform='multiple_select',
        post_process_channels=[48, 96, 192, 384],
        channels=64,
        norm_cfg=None,
        dropout_ratio=0,
        num_classes=0,  # the protocol sets it
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
