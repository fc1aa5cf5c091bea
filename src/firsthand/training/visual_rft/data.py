"""Rows to learn from: pictures with boxes, names or sentences, out of the files in which people have them.

A row is `{"image", "problem", "solution"}` and what its rewards read besides: "label" (the class that is asked for)
and "boxes" (detections in thousandths of width and height). Ground truth that makes no sense always raises, with the
file, the row and what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from firsthand.errors import InputError, NotFoundError
from firsthand.launch.lines import read_json_lines
from firsthand.training.visual_rft.answers import Detection, write_detections
from firsthand.vision import BoxFormat

__all__ = ["DataError", "is_coco", "open_image", "rows_from_coco", "rows_from_folder", "rows_from_json"]

_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
THOUSANDTHS = BoxFormat("xyxy", 1000.0)


class DataError(InputError):
    """A row whose picture or truth cannot be used; the message says which."""


def open_image(path: Path | Any, where: str = "") -> Any:
    """A picture as RGB, turned the way its camera says; transparent parts become white.

    Takes a path or a Pillow image. Raises `DataError` for what is no picture or has no size.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    what = f"{where}: " if where else ""
    if path is None:
        raise DataError(f"{what}there is no picture")
    try:
        picture = Image.open(path) if isinstance(path, str | Path) else path
        picture = ImageOps.exif_transpose(picture)
        if min(picture.size) < 1:
            raise DataError(f"{what}the picture has size {picture.size}")
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
            picture = Image.alpha_composite(white, picture)
        return picture.convert("RGB")
    except FileNotFoundError:
        raise DataError(f"{what}there is no picture {path}") from None
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{what}{path} is no picture that can be read ({error})") from error


def _size(path: Path, where: str) -> tuple[int, int]:
    """Width and height as they are seen, without decoding the picture."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            turned = picture.getexif().get(0x0112) in (5, 6, 7, 8)
    except FileNotFoundError:
        raise DataError(f"{where}: there is no picture {path}") from None
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{where}: {path} is no picture that can be read ({error})") from error
    return (height, width) if turned else (width, height)


def detection_problem(label: str) -> str:
    """What a model is asked for all boxes of one class."""
    return (
        f"Find every {label} in the picture. Give each as a box [x1, y1, x2, y2] in whole numbers from 0 to 1000 "
        "(left, top, right, bottom) with a confidence from 0 to 1 with two decimals; where there is none, answer No "
        "Objects. Think between <think> and </think>, then answer between <answer> and </answer> in exactly this form: "
        "<think>...</think><answer>[{'Position': [x1, y1, x2, y2], 'Confidence': 0.93}, ...]</answer>"
    )


def classification_problem(domain: str) -> str:
    """What a model is asked for the class of a picture; `domain` says what it shows, such as "an aircraft"."""
    return (
        f"The picture shows {domain}. Which one is it? Think between <think> and </think>, then give the name alone: "
        "<think>...</think><answer>name</answer>"
    )


def grounding_problem(sentence: str) -> str:
    """What a model is asked for the one region that a sentence speaks of."""
    return (
        f"Which part of the picture is meant: {sentence.strip()} Give one box in whole numbers from 0 to 1000. Think "
        "between <think> and </think>, then answer: <think>...</think><answer>(x1,y1),(x2,y2)</answer>"
    )


def rows_from_coco(
    annotations: Path,
    images: Path,
    *,
    categories: Sequence[str] | None = None,
    negatives: int = 0,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A row for each picture and class that it shows, out of a COCO file; crowds are left out.

    With `categories` only these. With `negatives`, so many rows more a picture that ask for a class which it does
    not show. Boxes are turned from pixels of the picture into thousandths. Raises `DataError` for a box outside its
    picture, an unknown category, a picture that is not there.
    """
    found = _json(annotations)
    try:
        names = {int(entry["id"]): str(entry["name"]) for entry in found["categories"]}
        pictures = {int(entry["id"]): entry for entry in found["images"]}
        boxes: dict[int, dict[str, list[Detection]]] = {number: {} for number in pictures}
        for place, entry in enumerate(found["annotations"]):
            if entry.get("iscrowd"):
                continue
            where = f"{annotations.name}, annotation {place}"
            picture = pictures.get(int(entry["image_id"]))
            label = names.get(int(entry["category_id"]))
            if picture is None or label is None:
                raise DataError(f"{where} names a picture or a category that the file does not have")
            form = BoxFormat("xywh", (float(picture["width"]), float(picture["height"])))
            detection = _thousandths(entry["bbox"], form, label, where)
            boxes[int(entry["image_id"])].setdefault(label, []).append(detection)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{annotations} is no COCO file: it needs images, annotations and categories ({error!r})"
        ) from error
    unknown = sorted(set(categories or ()) - set(names.values()))
    if unknown:
        raise DataError(
            f"{annotations.name} has no category {unknown[0]!r}; it has {', '.join(sorted(names.values()))}"
        )
    wanted = sorted(categories or set(names.values()))
    rng = np.random.default_rng(seed)
    rows = []
    for number, picture in pictures.items():
        path = images / str(picture["file_name"])
        size = _size(path, f"{annotations.name}, picture {number}")
        if size != (int(picture["width"]), int(picture["height"])):
            raise DataError(
                f"{path} is {size[0]} by {size[1]}, {annotations.name} says {picture['width']} by {picture['height']}"
            )
        shown = [label for label in wanted if label in boxes[number]]
        absent = [label for label in wanted if label not in boxes[number]]
        asked = [*shown, *rng.permutation(absent)[:negatives].tolist()]
        rows += [_detection_row(path, label, boxes[number].get(label, [])) for label in asked]
    return rows


def rows_from_folder(folder: Path, *, domain: str = "one of several classes") -> list[dict[str, Any]]:
    """A row for each picture of a folder whose subfolders are named after classes, in order of their names."""
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}")
    rows = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        for path in sorted(path for path in place.iterdir() if path.suffix.lower() in _PICTURES):
            _size(path, f"class {place.name}")
            rows.append(_class_row(path, place.name, domain))
    if not rows:
        raise DataError(f"{folder} has no subfolder with pictures; each subfolder is a class")
    return rows


def rows_from_json(
    file: Path,
    images: Path | None = None,
    *,
    form: BoxFormat | None = None,
    domain: str = "one of several classes",
) -> list[dict[str, Any]]:
    """Rows out of a JSON list or JSONL of `{"image": file, ...}` with the truth beside the picture's name.

    - detection: `"boxes": [[..4..] or {"box": [..4..], "label": ..}, ...]`, and `"label"` for boxes that name none;
    - classification: `"label"`; - grounding: `"sentence"` and `"box"`.

    `form` says how boxes are written; pixels of each picture (x1, y1, x2, y2) where absent. Pictures lie in `images`,
    beside the file where absent.
    """
    beside = images or file.parent
    rows: list[dict[str, Any]] = []
    for place, entry in enumerate(_entries(file)):
        where = f"{file.name}, row {place}"
        if not isinstance(entry, Mapping) or not entry.get("image"):
            raise DataError(f"{where}: a mapping with an image is wanted, got {str(entry)[:80]}")
        path = beside / str(entry["image"])
        size = _size(path, where)
        here = form or BoxFormat("xyxy", (float(size[0]), float(size[1])))
        if "boxes" in entry:
            rows += _detection_rows(path, entry, here, where)
        elif "sentence" in entry:
            if "box" not in entry:
                raise DataError(f"{where}: a sentence needs a box")
            box = _thousandths(entry["box"], here, None, where).box
            a, b, c, d = (f"{edge:g}" for edge in box)
            rows.append(
                {
                    "image": str(path), "problem": grounding_problem(str(entry["sentence"])),
                    "solution": f"<answer>({a},{b}),({c},{d})</answer>",
                }
            )  # fmt: skip
        elif entry.get("label"):
            rows.append(_class_row(path, str(entry["label"]), domain))
        else:
            raise DataError(f"{where} has no boxes, no label and no sentence; it has {', '.join(entry)}")
    if not rows:
        raise DataError(f"{file} has no rows")
    return rows


def _detection_rows(
    path: Path, entry: Mapping[str, Any], form: BoxFormat, where: str
) -> list[dict[str, Any]]:
    by_label: dict[str, list[Detection]] = {}
    if not isinstance(entry["boxes"], list):
        raise DataError(f"{where}: boxes are a list, got {type(entry['boxes']).__name__}")
    for box in entry["boxes"]:
        label = box.get("label", entry.get("label")) if isinstance(box, Mapping) else entry.get("label")
        if not label:
            raise DataError(f"{where}: a box has no label, and the row has none for it")
        numbers = box.get("box") if isinstance(box, Mapping) else box
        by_label.setdefault(str(label), []).append(_thousandths(numbers, form, str(label), where))
    if not by_label:
        if not entry.get("label"):
            raise DataError(f"{where}: without boxes the row needs a label: what is not there")
        by_label[str(entry["label"])] = []
    return [_detection_row(path, label, boxes) for label, boxes in by_label.items()]


def _detection_row(path: Path, label: str, boxes: Sequence[Detection]) -> dict[str, Any]:
    plain = [Detection(detection.box) for detection in boxes]
    return {
        "image": str(path), "problem": detection_problem(label), "label": label,
        "solution": write_detections(plain) if plain else "<answer>No Objects</answer>",
    }  # fmt: skip


def _class_row(path: Path, label: str, domain: str) -> dict[str, Any]:
    return {
        "image": str(path), "problem": classification_problem(domain), "label": label,
        "solution": f"<answer>{label}</answer>",
    }  # fmt: skip


def _thousandths(numbers: Any, form: BoxFormat, label: str | None, where: str) -> Detection:
    try:
        box = THOUSANDTHS.write(form.read([float(number) for number in numbers], strict=True), digits=0)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {error}") from error
    x1, y1, x2, y2 = (min(1000.0, max(0.0, float(edge))) for edge in box)
    if x2 <= x1 or y2 <= y1:
        raise DataError(f"{where}: the box {list(numbers)} is thinner than a thousandth of its picture")
    return Detection((x1, y1, x2, y2), 1.0, label)


def _entries(file: Path) -> Iterable[Any]:
    if file.suffix.lower() == ".jsonl":
        return [entry for _, entry in read_json_lines(file, fault=DataError)]
    found = _json(file)
    if not isinstance(found, list):
        raise DataError(f"{file} is no list of rows (a COCO file has a reader of its own)")
    return found


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {file}") from None
    except (ValueError, OSError) as error:
        raise DataError(f"{file} is no JSON ({error})") from error


def is_coco(file: Path) -> bool:
    """Whether a file is a COCO file: a JSON mapping with annotations."""
    if file.suffix.lower() == ".jsonl":
        return False
    found = _json(file)
    return isinstance(found, dict) and "annotations" in found
