"""Other projects' names for the weights of their networks, and this package's names for the same weights.

`key_map` describes the placeholders. The projects are those of `checkpoint_formats`.
"""

PYTORCHVIDEO = {
    "blocks.0.conv.{t}": "stem.conv.{t}",
    "blocks.0.norm.{t}": "stem.norm.{t}",
    "blocks.{s}.res_blocks.{b}.branch2.conv_{n}.{t}": "{s}.{b}.conv{n}.{t}",
    "blocks.{s}.res_blocks.{b}.branch2.norm_{n}.{t}": "{s}.{b}.norm{n}.{t}",
    "blocks.{s}.res_blocks.{b}.branch1_conv.{t}": "{s}.{b}.shortcut.0.{t}",
    "blocks.{s}.res_blocks.{b}.branch1_norm.{t}": "{s}.{b}.shortcut.1.{t}",
}
PYSLOWFAST = {
    "s1.pathway0_stem.conv.{t}": "stem.conv.{t}",
    "s1.pathway0_stem.bn.{t}": "stem.norm.{t}",
    "s{s}.pathway0_res{b}.branch2.{n}.{t}": "{s}.{b}.conv{n}.{t}",
    "s{s}.pathway0_res{b}.branch2.{n}_bn.{t}": "{s}.{b}.norm{n}.{t}",
    "s{s}.pathway0_res{b}.branch1.{t}": "{s}.{b}.shortcut.0.{t}",
    "s{s}.pathway0_res{b}.branch1_bn.{t}": "{s}.{b}.shortcut.1.{t}",
    "s{s}.pathway0_nonlocal{b}.conv_{p}.{t}": "{s}.{b}.after_add.context.{p}.{t}",
    "s{s}.pathway0_nonlocal{b}.conv_out.{t}": "{s}.{b}.after_add.transform.0.{t}",
    "s{s}.pathway0_nonlocal{b}.bn.{t}": "{s}.{b}.after_add.transform.1.{t}",
    "head.projection.{t}": "head.{t}",
}
CAFFE2 = {
    "conv1_{t}": "stem.conv.{t}",
    "res_conv1_bn_{t}": "stem.norm.{t}",
    "res{s}_{b}_branch2{n}_{t}": "{s}.{b}.conv{n}.{t}",
    "res{s}_{b}_branch2{n}_bn_{t}": "{s}.{b}.norm{n}.{t}",
    "res{s}_{b}_branch1_{t}": "{s}.{b}.shortcut.0.{t}",
    "res{s}_{b}_branch1_bn_{t}": "{s}.{b}.shortcut.1.{t}",
    "nonlocal_conv{s}_{b}_{p}_{t}": "{s}.{b}.after_add.context.{p}.{t}",
    "nonlocal_conv{s}_{b}_out_{t}": "{s}.{b}.after_add.transform.0.{t}",
    "nonlocal_conv{s}_{b}_bn_{t}": "{s}.{b}.after_add.transform.1.{t}",
    "pred_{t}": "head.{t}",
    "{x}_momentum": "",
    "lr": "",
    "model_iter": "",
}
MMACTION2 = {
    "backbone.conv1.conv.{t}": "stem.conv.{t}",
    "backbone.conv1.bn.{t}": "stem.norm.{t}",
    "backbone.layer{s}.{b}.conv{n}.conv.{t}": "{s}.{b}.conv{n}.{t}",
    "backbone.layer{s}.{b}.conv{n}.bn.{t}": "{s}.{b}.norm{n}.{t}",
    "backbone.layer{s}.{b}.downsample.conv.{t}": "{s}.{b}.shortcut.0.{t}",
    "backbone.layer{s}.{b}.downsample.bn.{t}": "{s}.{b}.shortcut.1.{t}",
    "backbone.layer{s}.{b}.non_local_block.theta.conv.{t}": "{s}.{b}.after_add.context.theta.{t}",
    "backbone.layer{s}.{b}.non_local_block.concat_project.conv.{t}": "{s}.{b}.after_add.context.affinity.pair.{t}",
    "backbone.layer{s}.{b}.non_local_block.conv_out.conv.{t}": "{s}.{b}.after_add.transform.0.{t}",
    "backbone.layer{s}.{b}.non_local_block.conv_out.bn.{t}": "{s}.{b}.after_add.transform.1.{t}",
    "cls_head.fc_cls.{t}": "head.{t}",
    "data_preprocessor.{x}": "",
}
MMACTION2_PHI_G = "backbone.layer{s}.{b}.non_local_block.{p}.conv.{t}"
MMACTION2_POOLED_PHI_G = "backbone.layer{s}.{b}.non_local_block.{p}.0.conv.{t}"  # 1 is the pooling
# TSM: the first convolution of a block is the `net` of its shift, and a block is the `block` of a Non-local one.
MMACTION2_TSM = MMACTION2 | {
    "backbone.layer{s}.{b}.conv1.conv.net.{t}": "{s}.{b}.conv1.{t}",
    "backbone.layer{s}.{b}.block.conv1.conv.net.{t}": "{s}.{b}.conv1.{t}",
    "backbone.layer{s}.{b}.block.conv{n}.conv.{t}": "{s}.{b}.conv{n}.{t}",
    "backbone.layer{s}.{b}.block.conv{n}.bn.{t}": "{s}.{b}.norm{n}.{t}",
    "backbone.layer{s}.{b}.block.downsample.conv.{t}": "{s}.{b}.shortcut.0.{t}",
    "backbone.layer{s}.{b}.block.downsample.bn.{t}": "{s}.{b}.shortcut.1.{t}",
}
# ir-CSN's depthwise convolution is the only one in `conv2`; ip-CSN's follows a 1×1×1 convolution there.
MMACTION2_IR_CSN = {name: ours for name, ours in MMACTION2.items() if "non_local" not in name} | {
    "backbone.layer{s}.{b}.conv2.0.conv.{t}": "{s}.{b}.conv2.{t}",
    "backbone.layer{s}.{b}.conv2.0.bn.{t}": "{s}.{b}.norm2.{t}",
}
MMACTION2_IP_CSN = MMACTION2_IR_CSN | {
    "backbone.layer{s}.{b}.conv2.0.conv.{t}": "{s}.{b}.conv2.pointwise.{t}",
    "backbone.layer{s}.{b}.conv2.0.bn.{t}": "{s}.{b}.conv2.norm.{t}",
    "backbone.layer{s}.{b}.conv2.1.conv.{t}": "{s}.{b}.conv2.depthwise.{t}",
    "backbone.layer{s}.{b}.conv2.1.bn.{t}": "{s}.{b}.norm2.{t}",
}
MMACTION2_R2PLUS1D = {
    f"{theirs}.{their_part}.{{t}}": f"{ours}.{our_part}.{{t}}"
    for theirs, ours in (
        ("backbone.conv1.conv", "stem.conv"),
        ("backbone.layer{s}.{b}.conv{n}.conv", "{s}.{b}.conv{n}"),
        ("backbone.layer{s}.{b}.downsample.conv", "{s}.{b}.shortcut.0"),
    )
    for their_part, our_part in (("conv_s", "spatial"), ("bn_s", "norm"), ("conv_t", "temporal"))
} | {name: ours for name, ours in MMACTION2.items() if ".conv." not in name}
TSN = {
    "base_model.conv1.{t}": "stem.conv.{t}",
    "base_model.bn1.{t}": "stem.norm.{t}",
    "base_model.layer{s}.{b}.conv{n}.{t}": "{s}.{b}.conv{n}.{t}",
    "base_model.layer{s}.{b}.bn{n}.{t}": "{s}.{b}.norm{n}.{t}",
    "base_model.layer{s}.{b}.downsample.0.{t}": "{s}.{b}.shortcut.0.{t}",
    "base_model.layer{s}.{b}.downsample.1.{t}": "{s}.{b}.shortcut.1.{t}",
    "base_model.fc.{t}": "head.{t}",
    "new_fc.{t}": "head.{t}",
}
TSM = TSN | {
    "base_model.layer{s}.{b}.conv1.net.{t}": "{s}.{b}.conv1.{t}",
    "base_model.layer{s}.{b}.block.conv1.net.{t}": "{s}.{b}.conv1.{t}",
    "base_model.layer{s}.{b}.block.conv{n}.{t}": "{s}.{b}.conv{n}.{t}",
    "base_model.layer{s}.{b}.block.bn{n}.{t}": "{s}.{b}.norm{n}.{t}",
    "base_model.layer{s}.{b}.block.downsample.0.{t}": "{s}.{b}.shortcut.0.{t}",
    "base_model.layer{s}.{b}.block.downsample.1.{t}": "{s}.{b}.shortcut.1.{t}",
    "base_model.layer{s}.{b}.nl.{p}.{t}": "{s}.{b}.after_add.context.{p}.{t}",
    "base_model.layer{s}.{b}.nl.{p}.0.{t}": "{s}.{b}.after_add.context.{p}.{t}",  # 1 is the pooling
    "base_model.layer{s}.{b}.nl.W.0.{t}": "{s}.{b}.after_add.transform.0.{t}",
    "base_model.layer{s}.{b}.nl.W.1.{t}": "{s}.{b}.after_add.transform.1.{t}",
}
GLUONCV_I3D = {
    "first_stage.0.{t}": "stem.conv.{t}",
    "first_stage.1.{t}": "stem.norm.{t}",
    "res_layers.{s}.{b}.conv{n}.{t}": "{s}.{b}.conv{n}.{t}",
    "res_layers.{s}.{b}.bn{n}.{t}": "{s}.{b}.norm{n}.{t}",
    "res_layers.{s}.{b}.downsample.0.{t}": "{s}.{b}.shortcut.0.{t}",
    "res_layers.{s}.{b}.downsample.1.{t}": "{s}.{b}.shortcut.1.{t}",
    "res_layers.{s}.{b}.nonlocal_block.{p}.{t}": "{s}.{b}.after_add.context.{p}.{t}",
    "res_layers.{s}.{b}.nonlocal_block.W.{t}": "{s}.{b}.after_add.transform.0.{t}",
    "res_layers.{s}.{b}.nonlocal_block.bn.{t}": "{s}.{b}.after_add.transform.1.{t}",
    "res_layers.{s}.{b}.nonlocal_block.W_bn.{x}": "",  # W and bn by a second name
    "fc.{t}": "head.{t}",
    "head.1.{t}": "",  # fc by a second name
}
TORCHVISION = {
    "conv1.{t}": "stem.conv.{t}",
    "bn1.{t}": "stem.norm.{t}",
    "layer{s}.{b}.conv{n}.{t}": "{s}.{b}.conv{n}.{t}",
    "layer{s}.{b}.bn{n}.{t}": "{s}.{b}.norm{n}.{t}",
    "layer{s}.{b}.downsample.0.{t}": "{s}.{b}.shortcut.0.{t}",
    "layer{s}.{b}.downsample.1.{t}": "{s}.{b}.shortcut.1.{t}",
    "fc.{t}": "head.{t}",
}
# Of images, by timm, SCNet and Res2Net: a number after a slash is a part of the channels.
IMAGES_WITH_BLOCKS = TORCHVISION | {
    "layer{s}.{b}.se.fc1.{t}": "{s}.{b}.after_1x1.transform.reduce.{t}",
    "layer{s}.{b}.se.fc2.{t}": "{s}.{b}.after_1x1.transform.expand.{t}",
    "layer{s}.{b}.conv1_a.{t}": "{s}.{b}.conv1.{t}/0",
    "layer{s}.{b}.conv1_b.{t}": "{s}.{b}.conv1.{t}/1",
    "layer{s}.{b}.bn1_a.{t}": "{s}.{b}.norm1.{t}/0",
    "layer{s}.{b}.bn1_b.{t}": "{s}.{b}.norm1.{t}/1",
    "layer{s}.{b}.k1.0.{t}": "{s}.{b}.conv2.k1.{t}",
    "layer{s}.{b}.k1.1.{t}": "{s}.{b}.norm2.{t}/0",
    "layer{s}.{b}.scconv.k2.1.{t}": "{s}.{b}.conv2.k2.0.{t}",  # 0 is the pooling
    "layer{s}.{b}.scconv.k2.2.{t}": "{s}.{b}.conv2.k2.1.{t}",
    "layer{s}.{b}.scconv.k3.0.{t}": "{s}.{b}.conv2.k3.0.{t}",
    "layer{s}.{b}.scconv.k3.1.{t}": "{s}.{b}.conv2.k3.1.{t}",
    "layer{s}.{b}.scconv.k4.0.{t}": "{s}.{b}.conv2.k4.{t}",
    "layer{s}.{b}.scconv.k4.1.{t}": "{s}.{b}.norm2.{t}/1",
    "layer{s}.{b}.convs.{i}.{t}": "{s}.{b}.convs.{i}.{t}",
    "layer{s}.{b}.bns.{i}.{t}": "{s}.{b}.norms.{i}.{t}",
}
TORCHVISION_VIDEO_NAMES = {
    "stem.0.{t}": "stem.conv.{t}",
    "stem.1.{t}": "stem.norm.{t}",
    "layer{s}.{b}.conv{n}.0.{t}": "{s}.{b}.conv{n}.{t}",
    "layer{s}.{b}.conv{n}.1.{t}": "{s}.{b}.norm{n}.{t}",
    "layer{s}.{b}.downsample.0.{t}": "{s}.{b}.shortcut.0.{t}",
    "layer{s}.{b}.downsample.1.{t}": "{s}.{b}.shortcut.1.{t}",
    "fc.{t}": "head.{t}",
}
TORCHVISION_R2PLUS1D = {
    "stem.0.{t}": "stem.conv.spatial.{t}",
    "stem.1.{t}": "stem.conv.norm.{t}",
    "stem.3.{t}": "stem.conv.temporal.{t}",
    "stem.4.{t}": "stem.norm.{t}",
    "layer{s}.{b}.conv{n}.0.0.{t}": "{s}.{b}.conv{n}.spatial.{t}",
    "layer{s}.{b}.conv{n}.0.1.{t}": "{s}.{b}.conv{n}.norm.{t}",
    "layer{s}.{b}.conv{n}.0.3.{t}": "{s}.{b}.conv{n}.temporal.{t}",
    "layer{s}.{b}.conv{n}.1.{t}": "{s}.{b}.norm{n}.{t}",
    "layer{s}.{b}.downsample.0.{t}": "{s}.{b}.shortcut.0.{t}",
    "layer{s}.{b}.downsample.1.{t}": "{s}.{b}.shortcut.1.{t}",
    "fc.{t}": "head.{t}",
}
VIDEOCTX = {"stem.{x}": "stem.{x}", "{s}.{b}.{x}": "{s}.{b}.{x}", "neck.{x}": "neck.{x}", "head.{t}": "head.{t}"}
