"""Rows out of people's files, and truth that makes no sense: it always raises, and says where."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from firsthand.errors import NotFoundError
from firsthand.training.visual_rft.answers import parse_detections
from firsthand.training.visual_rft.data import (
    DataError,
    open_image,
    rows_from_coco,
    rows_from_folder,
    rows_from_json,
)
from firsthand.vision import BoxFormat


@pytest.fixture
def pictures(tmp_path):
    for name, size in (("a.png", (40, 20)), ("b.jpg", (100, 100))):
        Image.new("RGB", size, (10, 200, 30)).save(tmp_path / name)
    return tmp_path


def coco(**changes):
    return {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 40, "height": 20},
            {"id": 2, "file_name": "b.jpg", "width": 100, "height": 100},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 5, 20, 10]},
            {"id": 2, "image_id": 1, "category_id": 7, "bbox": [0, 0, 40, 20], "iscrowd": 1},
            {"id": 3, "image_id": 2, "category_id": 8, "bbox": [0, 0, 50, 100]},
        ],
        "categories": [{"id": 7, "name": "dog"}, {"id": 8, "name": "bus"}],
        **changes,
    }


def written(folder, name, value):
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_coco(pictures):
    rows = rows_from_coco(written(pictures, "coco.json", coco()), pictures)
    assert [(r["image"].rsplit("/", 1)[1], r["label"]) for r in rows] == [("a.png", "dog"), ("b.jpg", "bus")]
    assert parse_detections(rows[0]["solution"])[0].box == (250, 250, 750, 750)
    assert "every dog" in rows[0]["problem"]
    with_absent = rows_from_coco(pictures / "coco.json", pictures, negatives=1)
    assert [r["solution"] for r in with_absent if "No Objects" in r["solution"]] == [
        "<answer>No Objects</answer>"
    ] * 2
    assert len(rows_from_coco(pictures / "coco.json", pictures, categories=["bus"])) == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "no COCO file"),
        ("{", "no JSON"),
        (
            coco(annotations=[{"image_id": 9, "category_id": 7, "bbox": [0, 0, 1, 1]}]),
            "annotation 0 names a picture",
        ),
        (
            coco(annotations=[{"image_id": 1, "category_id": 7, "bbox": [30, 5, 20, 10]}]),
            "annotation 0: .*reaches outside",
        ),
        (
            coco(annotations=[{"image_id": 1, "category_id": 7, "bbox": [3, 5, 0, 10]}]),
            "annotation 0: .*no area",
        ),
        (
            coco(images=[{"id": 1, "file_name": "a.png", "width": 41, "height": 20}], annotations=[]),
            "40 by 20, .* 41",
        ),
        (
            coco(images=[{"id": 1, "file_name": "c.png", "width": 41, "height": 20}], annotations=[]),
            "no picture",
        ),
    ],
)
def test_coco_that_makes_no_sense(pictures, value, message):
    with pytest.raises(DataError, match=message):
        rows_from_coco(written(pictures, "coco.json", value), pictures)


def test_an_unknown_category_is_named(pictures):
    with pytest.raises(DataError, match="no category 'cow'; it has bus, dog"):
        rows_from_coco(written(pictures, "coco.json", coco()), pictures, categories=["cow"])


def test_a_folder_of_classes(pictures):
    for name in ("cat", "dog"):
        (pictures / name).mkdir()
        (pictures / "a.png").copy(pictures / name / "1.png") if hasattr(pictures, "copy") else (
            pictures / name / "1.png"
        ).write_bytes((pictures / "a.png").read_bytes())
    rows = rows_from_folder(pictures, domain="an animal")
    assert [(row["label"], row["solution"]) for row in rows] == [
        ("cat", "<answer>cat</answer>"),
        ("dog", "<answer>dog</answer>"),
    ]
    assert "an animal" in rows[0]["problem"]
    with pytest.raises(NotFoundError):
        rows_from_folder(pictures / "none")
    with pytest.raises(DataError, match="no subfolder"):
        rows_from_folder(pictures / "cat")


def test_json_of_every_task(pictures):
    file = written(
        pictures,
        "rows.jsonl",
        "\n".join(
            json.dumps(row)
            for row in (
                {"image": "a.png", "boxes": [[10, 5, 30, 15]], "label": "dog"},
                {
                    "image": "a.png",
                    "boxes": [{"box": [0, 0, 40, 20], "label": "cat"}, {"box": [0, 0, 20, 20], "label": "dog"}],
                },
                {"image": "a.png", "boxes": [], "label": "cow"},
                {"image": "b.jpg", "sentence": "the green part", "box": [0, 0, 50, 100]},
                {"image": "b.jpg", "label": "bus"},
            )
        ),
    )  # fmt: skip
    rows = rows_from_json(file)
    assert [row.get("label") for row in rows] == ["dog", "cat", "dog", "cow", None, "bus"]
    assert parse_detections(rows[0]["solution"])[0].box == (250, 250, 750, 750)
    assert rows[3]["solution"] == "<answer>No Objects</answer>"
    assert rows[4]["solution"] == "<answer>(0,0),(500,1000)</answer>"
    as_list = written(
        pictures, "rows.json", [{"image": "a.png", "boxes": [[250, 250, 500, 500]], "label": "dog"}]
    )
    thousandths = rows_from_json(as_list, form=BoxFormat("xywh", 1000))
    assert parse_detections(thousandths[0]["solution"])[0].box == (250, 250, 750, 750)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([3], "row 0: a mapping"),
        ([{"image": "a.png"}], "row 0 has no boxes"),
        ([{"image": "none.png", "label": "x"}], "row 0: there is no picture"),
        ([{"image": "a.png", "boxes": [[0, 0, 500, 500]], "label": "x"}], "row 0: .*reaches outside"),
        ([{"image": "a.png", "boxes": [[0, 0, 5]], "label": "x"}], "four numbers"),
        ([{"image": "a.png", "boxes": [[0, 0, 5, "x"]], "label": "x"}], "row 0"),
        ([{"image": "a.png", "boxes": [[0, 0, 5, 5]]}], "a box has no label"),
        ([{"image": "a.png", "boxes": []}], "needs a label"),
        ([{"image": "a.png", "boxes": 3, "label": "x"}], "boxes are a list"),
        ([{"image": "a.png", "sentence": "x"}], "needs a box"),
        ([], "no rows"),
        ({"a": 1}, "no list of rows"),
    ],
)
def test_rows_that_make_no_sense(pictures, value, message):
    with pytest.raises(DataError, match=message):
        rows_from_json(written(pictures, "rows.json", value))


def test_files_that_are_not_there_or_broken(pictures):
    with pytest.raises(NotFoundError):
        rows_from_json(pictures / "none.json")
    with pytest.raises(NotFoundError):
        rows_from_json(pictures / "none.jsonl")
    with pytest.raises(DataError, match="line 2 is no JSON"):
        rows_from_json(written(pictures, "x.jsonl", '{"image": "a.png", "label": "x"}\n{'))


def test_pictures_as_they_are_seen(pictures):
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert np.asarray(open_image(clear)).tolist() == np.full((4, 4, 3), 255).tolist()
    turned = Image.new("RGB", (40, 20))
    exif = turned.getexif()
    exif[0x0112] = 6  # the camera was turned
    turned.save(pictures / "turned.jpg", exif=exif)
    assert open_image(pictures / "turned.jpg").size == (20, 40)
    rows = rows_from_json(
        written(pictures, "t.json", [{"image": "turned.jpg", "boxes": [[0, 20, 20, 40]], "label": "x"}])
    )
    assert parse_detections(rows[0]["solution"])[0].box == (0, 500, 1000, 1000)
    (pictures / "text.png").write_text("no picture")
    for wrong, message in (
        (pictures / "text.png", "no picture that"),
        (pictures / "none.png", "no picture"),
        (None, "no picture"),
    ):
        with pytest.raises(DataError, match=message):
            open_image(wrong, "row 3")
