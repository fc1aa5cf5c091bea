"""Images with Pillow and NumPy, and boxes on them. No torch, no torchvision."""

from firsthand.vision.boxes import (
    Box,
    BoxFormat,
    CoordinateScaleError,
    diou,
    giou,
    iou,
    iou_matrix,
)

__all__ = ["Box", "BoxFormat", "CoordinateScaleError", "diou", "giou", "iou", "iou_matrix"]
