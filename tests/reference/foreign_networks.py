"""Other projects' networks as plain functions of a state dict with their names, written from their definitions.

Facts, with where they were read:
- PySlowFast: slowfast/models/{stem,resnet,nonlocal,head}_helper.py, video_model_builder.py; Caffe2's names:
  slowfast/utils/c2_model_loading.py and video-nonlocal-net's lib/models.
- mmaction2: mmaction/models/backbones/{resnet3d,resnet3d_slowonly,resnet}.py, heads/i3d_head.py, configs/_base_/models;
  mmcv/cnn/bricks/{non_local,conv_module}.py.
- GluonCV: gluoncv/torch/model_zoo/action_recognition/{i3d_resnet,i3d_slow,non_local}.py.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCKS = (3, 4, 6, 3)
C2D = (1, [[1] * 3, [1] * 4, [1] * 6, [1] * 3])  # temporal kernel sizes of conv1 and of the first 1×1 of each block
I3D = (5, [[3, 3, 3], [3, 1, 3, 1], [3, 1, 3, 1, 3, 1], [1, 3, 1]])
HEAVY = (5, [[3] * 3, [3] * 4, [3] * 6, [3] * 3])
SLOW = (1, [[1] * 3, [1] * 4, [3] * 6, [3] * 3])
PLAIN: list[list[int]] = [[], [], [], []]
AFTER_ODD = [[], [1, 3], [1, 3, 5], []]  # blocks, from 0, that a Non-local block follows
AFTER_EVEN = [[], [0, 2], [0, 2, 4], []]
AFTER_ALL = [[], [0, 1, 2, 3], [0, 1, 2, 3, 4, 5], []]


@dataclass(frozen=True)
class Names:
    """Keys, without the tensor's own; {s} is the stage from 0, {s1} from 1, {s2} from 2, {l} a, b or c."""

    stem: str
    stem_norm: str
    conv: str
    norm: str
    shortcut: str
    shortcut_norm: str
    head: str
    projection: str = ""
    pooled_projection: str = ""  # of φ and g, where pooling follows them
    out: str = ""
    out_norm: str = ""
    pair: str = ""
    shifted: str = ""  # after the key of a first convolution that a temporal shift goes before
    with_non_local: str = ""  # after the block's number, where a Non-local block follows it
    tensors: dict[str, str] = field(default_factory=dict)
    norm_tensors: dict[str, str] = field(default_factory=dict)

    def key(self, part: str, tensor: str, *, s: int = 0, b: int = 0, n: int = 1, p: str = "") -> str:
        tails = self.norm_tensors if "norm" in part else self.tensors
        layer = getattr(self, part).format(s=s, s1=s + 1, s2=s + 2, b=b, n=n, l="abc"[n - 1], p=p)
        return layer + tails.get(tensor, f".{tensor}")


PYSLOWFAST = Names(
    stem="s1.pathway0_stem.conv",
    stem_norm="s1.pathway0_stem.bn",
    conv="s{s2}.pathway0_res{b}.branch2.{l}",
    norm="s{s2}.pathway0_res{b}.branch2.{l}_bn",
    shortcut="s{s2}.pathway0_res{b}.branch1",
    shortcut_norm="s{s2}.pathway0_res{b}.branch1_bn",
    head="head.projection",
    projection="s{s2}.pathway0_nonlocal{b}.conv_{p}",
    out="s{s2}.pathway0_nonlocal{b}.conv_out",
    out_norm="s{s2}.pathway0_nonlocal{b}.bn",
)
CAFFE2 = Names(
    stem="conv1",
    stem_norm="res_conv1_bn",
    conv="res{s2}_{b}_branch2{l}",
    norm="res{s2}_{b}_branch2{l}_bn",
    shortcut="res{s2}_{b}_branch1",
    shortcut_norm="res{s2}_{b}_branch1_bn",
    head="pred",
    projection="nonlocal_conv{s2}_{b}_{p}",
    out="nonlocal_conv{s2}_{b}_out",
    out_norm="nonlocal_conv{s2}_{b}_bn",
    tensors={"weight": "_w", "bias": "_b"},
    norm_tensors={"weight": "_s", "bias": "_b", "running_mean": "_rm", "running_var": "_riv"},
)
MMACTION2 = Names(
    stem="backbone.conv1.conv",
    stem_norm="backbone.conv1.bn",
    conv="backbone.layer{s1}.{b}.conv{n}.conv",
    norm="backbone.layer{s1}.{b}.conv{n}.bn",
    shortcut="backbone.layer{s1}.{b}.downsample.conv",
    shortcut_norm="backbone.layer{s1}.{b}.downsample.bn",
    head="cls_head.fc_cls",
    projection="backbone.layer{s1}.{b}.non_local_block.{p}.conv",
    pooled_projection="backbone.layer{s1}.{b}.non_local_block.{p}.0.conv",
    out="backbone.layer{s1}.{b}.non_local_block.conv_out.conv",
    out_norm="backbone.layer{s1}.{b}.non_local_block.conv_out.bn",
    pair="backbone.layer{s1}.{b}.non_local_block.concat_project.conv",
)
MMACTION2_TSM = replace(MMACTION2, shifted=".net", with_non_local=".block")
TSM = Names(
    stem="module.base_model.conv1",
    stem_norm="module.base_model.bn1",
    conv="module.base_model.layer{s1}.{b}.conv{n}",
    norm="module.base_model.layer{s1}.{b}.bn{n}",
    shortcut="module.base_model.layer{s1}.{b}.downsample.0",
    shortcut_norm="module.base_model.layer{s1}.{b}.downsample.1",
    head="module.new_fc",
    projection="module.base_model.layer{s1}.{b}.nl.{p}",
    pooled_projection="module.base_model.layer{s1}.{b}.nl.{p}.0",
    out="module.base_model.layer{s1}.{b}.nl.W.0",
    out_norm="module.base_model.layer{s1}.{b}.nl.W.1",
    shifted=".net",
    with_non_local=".block",
)
GLUONCV_I3D = Names(
    stem="first_stage.0",
    stem_norm="first_stage.1",
    conv="res_layers.{s}.{b}.conv{n}",
    norm="res_layers.{s}.{b}.bn{n}",
    shortcut="res_layers.{s}.{b}.downsample.0",
    shortcut_norm="res_layers.{s}.{b}.downsample.1",
    head="fc",
    projection="res_layers.{s}.{b}.nonlocal_block.{p}",
    out="res_layers.{s}.{b}.nonlocal_block.W",
    out_norm="res_layers.{s}.{b}.nonlocal_block.bn",
)
GLUONCV_SLOW = Names(
    stem="conv1",
    stem_norm="bn1",
    conv="layer{s1}.{b}.conv{n}",
    norm="layer{s1}.{b}.bn{n}",
    shortcut="layer{s1}.{b}.downsample.0",
    shortcut_norm="layer{s1}.{b}.downsample.1",
    head="fc",
)


@dataclass(frozen=True)
class ForeignNetwork:
    """A ResNet-50 as a project defines it. Strides of space are in the 3×3 convolutions of all of them."""

    names: Names
    temporal_kernel_sizes: tuple[int, list[list[int]]]
    conv1_stride_t: int = 1
    pool1_stride_t: int = 1
    pool2_t: int = 1  # kernel and stride
    stage_stride_t: tuple[int, ...] = (1, 1, 1, 1)
    of_images: bool = False  # 2D weights; applied to every frame
    non_local: list[list[int]] = field(default_factory=lambda: PLAIN)
    affinity: str = "embedded_gaussian"
    scale: bool = True
    pool: str = "input"  # of φ and g: their input, their output, or none
    out_bias: bool = True
    pool1_padding: int = 1
    shift_every: int = 0  # every which block has a temporal shift of eighths before its first convolution

    def key(self, part: str, tensor: str, *, s: int = 0, b: int = 0, n: int = 1, p: str = "") -> str:
        """The name of a tensor, with those of the modules around its layer."""
        key = self.names.key(part, tensor, s=s, b=b, n=n, p=p)
        if part in ("conv", "norm", "shortcut", "shortcut_norm") and b in self.non_local[s]:
            key = key.replace(f".{b}.", f".{b}{self.names.with_non_local}.", 1)
        if part == "conv" and n == 1 and self.shift_every and b % self.shift_every == 0:
            key = key.replace(f".{tensor}", f"{self.names.shifted}.{tensor}")
        return key

    def weights(self, *, width: int = 8, num_classes: int = 5, seed: int = 0) -> dict[str, Tensor]:
        """A state dict with this network's names and shapes, and random values."""
        generator = torch.Generator().manual_seed(seed)
        found: dict[str, Tensor] = {}

        def layer(part, *shape, bias=False, **where):
            fan_in = torch.Size(shape[1:]).numel()
            # so that affinities neither vanish nor saturate; dot products grow with the cube of the features
            of_projection = 0.03 if self.affinity == "dot_product" else 0.3
            scale = of_projection if part.endswith("projection") else 1
            weight = torch.randn(shape, generator=generator) * scale * (2 / fan_in) ** 0.5
            in_2d = self.of_images and not part.endswith(("projection", "out"))  # those of Non-local blocks are not
            found[self.key(part, "weight", **where)] = weight.squeeze(2) if in_2d else weight
            if bias:
                found[self.key(part, "bias", **where)] = torch.randn(shape[0], generator=generator) * 0.1

        def norm(part, channels, **where):
            for tensor, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
                values = torch.rand(channels, generator=generator) + low
                found[self.key(part, tensor, **where)] = values * (0.5 if part == "norm" else 1)

        layer("stem", width, 3, self.temporal_kernel_sizes[0], 7, 7)
        norm("stem_norm", width)
        channels = width
        for s, (kernel_sizes, blocks) in enumerate(zip(self.temporal_kernel_sizes[1], self.non_local, strict=True)):
            inner, outer = width * 2**s, 4 * width * 2**s
            for b, kernel_t in enumerate(kernel_sizes):
                layer("conv", inner, channels, kernel_t, 1, 1, s=s, b=b, n=1)
                layer("conv", inner, inner, 1, 3, 3, s=s, b=b, n=2)
                layer("conv", outer, inner, 1, 1, 1, s=s, b=b, n=3)
                for n, size in ((1, inner), (2, inner), (3, outer)):
                    norm("norm", size, s=s, b=b, n=n)
                if b == 0:
                    layer("shortcut", outer, channels, 1, 1, 1, s=s, b=b)
                    norm("shortcut_norm", outer, s=s, b=b)
                channels = outer
                if b in blocks:
                    half = outer // 2
                    for p in ("g",) if self.affinity == "gaussian" else ("theta", "phi", "g"):
                        layer(self._projection(p), half, outer, 1, 1, 1, bias=True, s=s, b=b, p=p)
                    if self.affinity == "concatenation":
                        key = self.key("pair", "weight", s=s, b=b)
                        found[key] = torch.randn(1, 2 * half, 1, 1, generator=generator) * 0.1
                    layer("out", outer, half, 1, 1, 1, bias=self.out_bias, s=s, b=b)
                    norm("out_norm", outer, s=s, b=b)
        key = self.key("head", "weight")
        found[key] = torch.randn(num_classes, channels, generator=generator) * 0.1
        found[self.key("head", "bias")] = torch.randn(num_classes, generator=generator)
        return found

    def _projection(self, p: str) -> str:
        return "pooled_projection" if self.pool == "output" and p != "theta" else "projection"

    def logits(self, weights: dict[str, Tensor], clip: Tensor) -> Tensor:
        """(B, 3, T, H, W) → (B, K), in float64."""
        weights = {name: tensor.double() for name, tensor in weights.items()}

        def conv(x, part, stride=(1, 1, 1), **where):
            weight = weights[self.key(part, "weight", **where)]
            weight = weight.unsqueeze(2) if weight.ndim == 4 else weight
            bias = weights.get(self.key(part, "bias", **where))
            return F.conv3d(x, weight, bias, stride, [size // 2 for size in weight.shape[2:]])

        def norm(x, part, **where):
            tensors = ("running_mean", "running_var", "weight", "bias")
            return F.batch_norm(x, *(weights[self.key(part, tensor, **where)] for tensor in tensors), eps=1e-5)

        def non_local(x, s, b):
            pooled = F.max_pool3d(x, (1, 2, 2)) if self.pool == "input" else x
            theta, phi, g = x, pooled, conv(pooled, self._projection("g"), s=s, b=b, p="g")
            if self.affinity != "gaussian":
                theta = conv(x, "projection", s=s, b=b, p="theta")
                phi = conv(pooled, self._projection("phi"), s=s, b=b, p="phi")
            if self.pool == "output":
                phi, g = F.max_pool3d(phi, (1, 2, 2)), F.max_pool3d(g, (1, 2, 2))
            theta, phi, values = theta.flatten(2), phi.flatten(2), g.flatten(2)  # (B, d, N), (B, d, M) twice
            if self.affinity == "concatenation":
                at_theta, at_phi = weights[self.key("pair", "weight", s=s, b=b)].flatten().chunk(2)
                pairs = (at_theta @ theta).unsqueeze(2) + (at_phi @ phi).unsqueeze(1)
                affinity = pairs.relu() / phi.shape[2]
            else:
                affinity = theta.transpose(1, 2) @ phi  # (B, N, M)
                if self.affinity == "dot_product":
                    affinity = affinity / phi.shape[2]
                else:
                    affinity = (affinity * (theta.shape[1] ** -0.5 if self.scale else 1)).softmax(dim=2)
            y = (values @ affinity.transpose(1, 2)).reshape(x.shape[0], -1, *x.shape[2:])
            return x + norm(conv(y, "out", s=s, b=b), "out_norm", s=s, b=b)

        x = norm(conv(clip.double(), "stem", (self.conv1_stride_t, 2, 2)), "stem_norm").relu()
        x = F.max_pool3d(x, (1, 3, 3), (self.pool1_stride_t, 2, 2), (0, self.pool1_padding, self.pool1_padding))
        for s, num_blocks in enumerate(BLOCKS):
            for b in range(num_blocks):
                in_space = 2 if s > 0 else 1
                stride = (self.stage_stride_t[s], in_space, in_space) if b == 0 else (1, 1, 1)
                y = shifted(x) if self.shift_every and b % self.shift_every == 0 else x
                y = norm(conv(y, "conv", s=s, b=b, n=1), "norm", s=s, b=b, n=1).relu()
                y = norm(conv(y, "conv", stride, s=s, b=b, n=2), "norm", s=s, b=b, n=2).relu()
                y = norm(conv(y, "conv", s=s, b=b, n=3), "norm", s=s, b=b, n=3)
                if b == 0:
                    x = norm(conv(x, "shortcut", stride, s=s, b=b), "shortcut_norm", s=s, b=b)
                x = (x + y).relu()
                if b in self.non_local[s]:
                    x = non_local(x, s, b)
            if s == 0:
                x = F.max_pool3d(x, (self.pool2_t, 1, 1))
        key = self.key
        return F.linear(x.mean(dim=(2, 3, 4)), weights[key("head", "weight")], weights[key("head", "bias")])


def shifted(x: Tensor) -> Tensor:
    """TSM's shift: an eighth of the channels from the next frame, an eighth from the last."""
    fold = x.shape[1] // 8
    y = torch.zeros_like(x)
    y[:, :fold, :-1] = x[:, :fold, 1:]
    y[:, fold : 2 * fold, 1:] = x[:, fold : 2 * fold, :-1]
    y[:, 2 * fold :] = x[:, 2 * fold :]
    return y
