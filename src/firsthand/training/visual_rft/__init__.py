"""Visual-RFT: rewards that a rule can give for boxes and names, and what they are worth (arXiv 2503.01785).

`trl_reward("iou")` is a reward function for `firsthand.rl` or TRL; `audit_reward` tries the known ways to cheat.
"""

from firsthand.training.visual_rft.answers import (
    Detection,
    ParsedAnswer,
    answer_of,
    answered_boxes,
    parse_box,
    parse_detections,
    read_detections,
    says_nothing,
    write_detections,
)
from firsthand.training.visual_rft.audit import AuditFinding, audit_reward
from firsthand.training.visual_rft.errors import ColumnFormatError, ColumnMissingError, RewardInputError
from firsthand.training.visual_rft.matching import (
    Boxes,
    Match,
    Matched,
    match_boxes,
    match_detections,
    packed,
)
from firsthand.training.visual_rft.rewards import (
    DetectionRewards,
    classification_reward,
    confidence_reward,
    detection_rewards,
    format_reward,
    grounding_reward,
    iou_reward,
    trl_reward,
)

__all__ = [
    "AuditFinding",
    "Boxes",
    "ColumnFormatError",
    "ColumnMissingError",
    "Detection",
    "DetectionRewards",
    "Match",
    "Matched",
    "ParsedAnswer",
    "RewardInputError",
    "answer_of",
    "answered_boxes",
    "audit_reward",
    "classification_reward",
    "confidence_reward",
    "detection_rewards",
    "format_reward",
    "grounding_reward",
    "iou_reward",
    "match_boxes",
    "match_detections",
    "packed",
    "parse_box",
    "parse_detections",
    "read_detections",
    "says_nothing",
    "trl_reward",
    "write_detections",
]
