"""Networks from (B, 3, T, H, W) to logits (B, num_classes)."""

from videoctx.models.create_model import create_model, list_models
from videoctx.models.insertion import insert_context
from videoctx.models.res2net import Res2NetBottleneck3d
from videoctx.models.resnet3d import ResNet3D
from videoctx.models.single_pathway import CSN, X3D, R2Plus1D
from videoctx.models.slowfast import SlowFast

__all__ = [
    "CSN",
    "X3D",
    "R2Plus1D",
    "Res2NetBottleneck3d",
    "ResNet3D",
    "SlowFast",
    "create_model",
    "insert_context",
    "list_models",
]
