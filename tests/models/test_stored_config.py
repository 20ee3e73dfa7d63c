"""Every key of a stored config that bears on the network is read, with logits as of the reference, or refused."""

import pytest
import torch

from tests.models.test_checkpoints import (
    AFTER_ODD,
    C2D,
    I3D,
    MMACTION2_I3D,
    MMACTION2_SLOW,
    a_clip,
    logits,
    rebuilt,
    saved,
    write_foreign,
)
from tests.reference.foreign_networks import GLUONCV_SLOW, PYSLOWFAST, ForeignNetwork
from tests.reference.foreign_networks import MMACTION2 as MMACTION2_NAMES
from videoctx.inference.conversion import convert_checkpoint
from videoctx.models import ResNet3D
from videoctx.models.checkpoints import read_checkpoint
from videoctx.models.stored_config import MMACTION2
from videoctx.models.stored_config import PYSLOWFAST as PYSLOWFAST_KEYS

# The keys of slowfast/config/defaults.py, and the arguments of mmaction2's ResNet3d, ResNet3dPathway and ResNet.
SLOWFAST_DEFAULTS = {
    "RESNET": "TRANS_FUNC NUM_GROUPS WIDTH_PER_GROUP INPLACE_RELU STRIDE_1X1 ZERO_INIT_FINAL_BN ZERO_INIT_FINAL_CONV"
    " DEPTH NUM_BLOCK_TEMP_KERNEL SPATIAL_STRIDES SPATIAL_DILATIONS",
    "NONLOCAL": "LOCATION GROUP INSTANTIATION POOL",
    "MODEL": "ARCH MODEL_NAME NUM_CLASSES LOSS_FUNC SINGLE_PATHWAY_ARCH MULTI_PATHWAY_ARCH DROPOUT_RATE"
    " DROPCONNECT_RATE FC_INIT_STD HEAD_ACT ACT_CHECKPOINT DETACH_FINAL_FC FROZEN_BN FP16_ALLREDUCE",
}
RESNET3D = (
    "depth pretrained stage_blocks pretrained2d in_channels num_stages base_channels out_indices"
    " spatial_strides temporal_strides"
    " dilations conv1_kernel conv1_stride_t pool1_stride_t with_pool2 style frozen_stages inflate inflate_style"
    " conv_cfg norm_cfg act_cfg"
    " norm_eval with_cp non_local non_local_cfg zero_init_residual init_cfg conv1_stride_s pool1_stride_s with_pool1"
)
PATHWAY = "lateral lateral_inv lateral_norm speed_ratio channel_ratio fusion_kernel lateral_infl lateral_activate"
RESNET2D = (
    "depth pretrained torchvision_pretrain in_channels num_stages out_indices strides dilations style frozen_stages"
    " conv_cfg norm_cfg act_cfg norm_eval partial_bn with_cp init_cfg"
)
NLN = """
MODEL: {ARCH: i3d, MODEL_NAME: ResNet, HEAD_ACT: softmax}
NONLOCAL:
  GROUP: [[1], [1], [1], [1]]
  INSTANTIATION: softmax
  LOCATION: [[[]], [[1, 3]], [[1, 3, 5]], [[]]]
  POOL: [[[1, 2, 2], [1, 2, 2]], [[1, 2, 2], [1, 2, 2]], [[1, 2, 2], [1, 2, 2]], [[1, 2, 2], [1, 2, 2]]]
RESNET:
  SPATIAL_STRIDES: [[1], [2], [2], [2]]
  SPATIAL_DILATIONS: [[1], [1], [1], [1]]
  TRANS_FUNC: bottleneck_transform
DATA: {MEAN: [0.45, 0.45, 0.45], STD: [0.225, 0.225, 0.225]}
"""
BACKBONE = """
model = dict(type='Recognizer3D', backbone=dict(type='ResNet3d', depth=50, conv1_stride_t=2, pool1_stride_t=2,
    spatial_strides=(1, 2, 2, 2), temporal_strides=(1, 1, 1, 1), dilations=(1, 1, 1, 1), norm_eval=False,
    norm_cfg=dict(type='BN3d', requires_grad=True), act_cfg=dict(type='ReLU', inplace=True), style='pytorch',
    non_local_cfg=dict(sub_sample=True, use_scale=False, norm_cfg=dict(type='BN3d'), mode='embedded_gaussian')))
"""
SLOW_ONLY = "backbone=dict(type='ResNet3dSlowOnly', depth=50, lateral=False, speed_ratio=8"
HEAD = "cls_head = dict(type='I3DHead', in_channels=2048, spatial_type='avg', dropout_ratio=0.5)"
COLORS = "data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=False)"
I3D_NLN = ForeignNetwork(PYSLOWFAST, I3D, pool2_t=2, non_local=AFTER_ODD)
MMACTION2_NLN = MMACTION2_I3D(non_local=AFTER_ODD)


def test_every_key_of_the_projects_is_in_the_table():
    for section, keys in SLOWFAST_DEFAULTS.items():
        assert {f"{section}.{key}" for key in keys.split()} <= PYSLOWFAST_KEYS.keys()
    for arguments in (RESNET3D, PATHWAY, RESNET2D):
        assert set(arguments.split()) <= MMACTION2.keys()


@pytest.mark.parametrize(
    ("network", "config"),
    [
        (I3D_NLN, NLN),
        (
            ForeignNetwork(PYSLOWFAST, I3D, pool2_t=2, non_local=AFTER_ODD, pool="none"),
            NLN.replace("1, 2, 2", "1, 1, 1"),
        ),
        (MMACTION2_NLN, BACKBONE),
        (
            MMACTION2_I3D(non_local=AFTER_ODD, stage_stride_t=(1, 2, 1, 2)),
            BACKBONE.replace("temporal_strides=(1, 1, 1, 1)", "temporal_strides=(1, 2, 1, 2)"),
        ),
        (MMACTION2_I3D(non_local=AFTER_ODD, scale=True), BACKBONE.replace("use_scale=False, ", "")),
        (MMACTION2_I3D(conv1_stride_t=1, pool1_stride_t=1), "backbone=dict(type='ResNet3d', depth=50)"),
        (MMACTION2_SLOW(), f"model = dict({SLOW_ONLY}), {HEAD})"),
        (MMACTION2_SLOW(conv1_stride_t=2, pool2_t=2), f"{SLOW_ONLY}, conv1_stride_t=2, with_pool2=True)"),
        (ForeignNetwork(MMACTION2_NAMES, C2D, of_images=True), "dict(backbone=dict(type='ResNet'))"),
    ],
    ids=[
        "PySlowFast",
        "POOL",
        "mmaction2",
        "temporal_strides",
        "use_scale by default",
        "strides by default",
        "SlowOnly by default",
        "SlowOnly with pooling",
        "frames",
    ],
)
def test_what_is_read_gives_the_logits(tmp_path, network, config):
    weights = network.weights()
    net, _ = rebuilt(write_foreign(network, weights, config, tmp_path))
    clip = a_clip(num_frames=32, size=48)
    torch.testing.assert_close(logits(net.double(), clip.double()), network.logits(weights, clip), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("network", "config", "old", "new", "words"),
    [
        (
            I3D_NLN,
            NLN,
            "DILATIONS: [[1], [1], [1], [1]]",
            "DILATIONS: [[1], [1], [1], [2]]",
            "RESNET.SPATIAL_DILATIONS",
        ),
        (
            I3D_NLN,
            NLN,
            "[[1], [2], [2], [2]]",
            "[[1], [2], [2], [1]]",
            "has RESNET.SPATIAL_STRIDES [[1], [2], [2], [1]]",
        ),
        (I3D_NLN, NLN, "bottleneck_transform", "x3d_transform", "RESNET.TRANS_FUNC x3d_transform"),
        (I3D_NLN, NLN, "GROUP: [[1], [1]", "GROUP: [[1], [2]", "NONLOCAL.GROUP"),
        (I3D_NLN, NLN, "[1, 2, 2]", "[2, 2, 2]", "NONLOCAL.POOL [2, 2, 2]"),
        (I3D_NLN, NLN, "[[[1, 2, 2], [1, 2, 2]], [[1, 2, 2]", "[[[1, 2, 2], [1, 2, 2]], [[1, 1, 1]", "NONLOCAL.POOL"),
        (I3D_NLN, NLN, "ARCH: i3d", "ARCH: slowfast", "MODEL.ARCH slowfast"),
        (I3D_NLN, NLN, "HEAD_ACT: softmax", "HEAD_ACT: tanh", "MODEL.HEAD_ACT tanh"),
        (I3D_NLN, NLN, "RESNET:", "RESNET:\n  NEW_KEY: 3", "RESNET.NEW_KEY 3"),
        (MMACTION2_NLN, BACKBONE, "spatial_strides=(1, 2, 2, 2)", "spatial_strides=(1, 2, 2, 1)", "spatial_strides"),
        (MMACTION2_NLN, BACKBONE, "dilations=(1, 1, 1, 1)", "dilations=(1, 1, 1, 2)", "dilations [1, 1, 1, 2]"),
        (MMACTION2_NLN, BACKBONE, "type='ReLU'", "type='SiLU'", "act_cfg"),
        (MMACTION2_NLN, BACKBONE, "type='BN3d', requires_grad=True", "type='BN3d', eps=1e-2", "norm_cfg"),
        (MMACTION2_NLN, BACKBONE, "type='ResNet3d'", "type='ResNet3dCSN'", "type ResNet3dCSN"),
        (MMACTION2_NLN, BACKBONE, "depth=50", "depth=50, with_pool1=False", "with_pool1 False"),
        (MMACTION2_NLN, BACKBONE, "depth=50", "depth=50, new_argument=1", "new_argument 1"),
        (MMACTION2_NLN, BACKBONE + HEAD, "spatial_type='avg'", "spatial_type='max'", "cls_head.spatial_type max"),
        (MMACTION2_NLN, BACKBONE + HEAD, "'I3DHead'", "'TPNHead'", "cls_head.type TPNHead"),
        (MMACTION2_NLN, BACKBONE + COLORS, "to_rgb=False", "to_rgb=True", "data_preprocessor.to_rgb True"),
    ],
)
def test_what_no_network_here_has_is_refused(tmp_path, network, config, old, new, words):
    assert old in config
    checkpoint = read_checkpoint(write_foreign(network, network.weights(), config.replace(old, new), tmp_path))
    assert checkpoint.net is None
    assert words in checkpoint.unknown_net
    assert "the stored config has " in checkpoint.unknown_net
    assert "; expected " in checkpoint.unknown_net


def test_colors_and_kind_of_labels_are_read(tmp_path):
    config = NLN.replace("0.45, 0.45, 0.45", "0.5, 0.4, 0.3").replace("HEAD_ACT: softmax", "HEAD_ACT: sigmoid")
    checkpoint = read_checkpoint(write_foreign(I3D_NLN, I3D_NLN.weights(), config, tmp_path))
    assert checkpoint.input.mean == (0.5, 0.4, 0.3)
    assert checkpoint.multi_label
    network = ForeignNetwork(PYSLOWFAST, C2D, pool2_t=2)
    assert not read_checkpoint(write_foreign(network, network.weights(), "", tmp_path)).multi_label
    text = BACKBONE + "img_norm_cfg = dict(mean=[128.0, 100.0, 90.0], std=[50.0, 50.0, 50.0], to_bgr=False)\n"
    checkpoint = read_checkpoint(write_foreign(MMACTION2_NLN, MMACTION2_NLN.weights(), text, tmp_path))
    assert checkpoint.input.mean == pytest.approx((128 / 255, 100 / 255, 90 / 255))


def test_a_given_network_is_reported_as_it_is_written(tmp_path):
    network = ForeignNetwork(PYSLOWFAST, C2D, pool2_t=2)
    path = write_foreign(network, network.weights(), "", tmp_path)
    published = convert_checkpoint(path, tmp_path / "published.pt")
    assert "pool2_t [2, 2]" in str(published)
    for pool2_t, words in (
        ((1, 1), "differs from the published one in pool2_t [1, 1] instead of [2, 2]"),
        ((2, 2), ""),
    ):
        report = convert_checkpoint(
            path,
            tmp_path / "given.pt",
            net=lambda num_classes, pool=pool2_t: ResNet3D(num_classes, width=8, temporal_kernels="c2d", pool2_t=pool),
        )
        assert words in str(report)
        assert "as in the published networks" not in str(report)
        assert ("differs from" in str(report)) == bool(words)


def test_a_network_of_frames_is_no_image_network(tmp_path):
    """resnet50_v1b_kinetics400 of GluonCV: torchvision's names, 2D convolutions, 400 classes."""
    network = ForeignNetwork(GLUONCV_SLOW, C2D, of_images=True)
    for num_classes, name in ((400, "GluonCV, of frames"), (1000, "torchvision, for images")):
        weights = network.weights(num_classes=num_classes)
        net, checkpoint = rebuilt(saved(weights, tmp_path))
        assert checkpoint.format.name == name
        if num_classes == 400:
            clip = a_clip(num_frames=7, size=48)
            by_frame = [network.logits(weights, clip[:, :, [frame]]) for frame in range(7)]
            expected = torch.stack(by_frame).mean(dim=0)
            torch.testing.assert_close(logits(net.double(), clip.double()), expected, rtol=1e-6, atol=1e-6)
