"""Networks from (B, 3, T, H, W) to logits (B, num_classes)."""

from videoctx.models.resnet3d import ResNet3D

__all__ = ["ResNet3D"]
