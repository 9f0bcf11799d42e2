"""Machines compute parts of the features; put together they are the whole."""

import shutil

import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.cli import main as command_line


@pytest.fixture(scope="module")
def splits():
    return kt.load_dataset("sample_cats_vs_dogs", image_size=32, max_images=36)


@pytest.fixture(scope="module")
def backbone():
    return kt.build_backbone("efficientnet_lite0", image_size=32)


@pytest.fixture
def parts(splits, backbone, tmp_path):
    return [
        kt.extract_features(backbone, splits, tmp_path, shard=(index, 3))
        for index in range(3)
    ]


def test_parts_make_the_whole(splits, backbone, parts, tmp_path, capsys):
    assert [len(part.test.labels) for part in parts] == [1, 2, 2]
    capsys.readouterr()
    joined = kt.extract_features(backbone, splits, tmp_path)
    assert "put together from 3 parts" in capsys.readouterr().out
    alone = kt.extract_features(backbone, splits, tmp_path / "alone")
    for name in splits.counts:
        for one, other in zip(getattr(joined, name), getattr(alone, name), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    # Once they are together, the parts may go.
    shutil.rmtree(parts[1].path)
    again = kt.extract_features(backbone, splits, tmp_path)
    assert np.array_equal(again.train.features, joined.train.features)


def test_a_part_is_read_back(splits, backbone, parts, tmp_path, capsys):
    capsys.readouterr()
    again = kt.extract_features(backbone, splits, tmp_path, shard=(1, 3))
    assert "read back" in capsys.readouterr().out
    assert np.array_equal(again.train.features, parts[1].train.features)


def test_a_missing_or_double_part_is_named(splits, backbone, parts, tmp_path):
    def join():
        return kt.extract_features(backbone, splits, tmp_path)

    (tmp_path / f"{parts[0].path.name.split('-part-')[0]}-part-notes").mkdir()
    aside = parts[1].path.rename(tmp_path / "aside")
    with pytest.raises(ValueError, match=r"Part 1 of 3 is missing.*shard=\(1, 3\)"):
        join()
    aside.rename(parts[1].path)
    twice = tmp_path / f"{parts[2].path.name} (copy)"
    shutil.copytree(parts[2].path, twice)
    with pytest.raises(ValueError, match=r"Part 2 of 3 is there twice"):
        join()
    shutil.rmtree(twice)
    kt.extract_features(backbone, splits, tmp_path, shard=(0, 2))
    with pytest.raises(ValueError, match=r"of 2 and of 3.*Received: parts in"):
        join()


@pytest.mark.parametrize("shard", [(3, 3), (-1, 3), (0, 6), (0, 0), (0.5, 2), (1,)])
def test_wrong_shards(splits, backbone, tmp_path, shard):
    with pytest.raises(ValueError, match="Received: shard="):
        kt.extract_features(backbone, splits, tmp_path, shard=shard)


def test_the_command_line_computes_a_part(tmp_path, capsys):
    def run(*words):
        return command_line.main(["features", *words, "--cache-dir", str(tmp_path)])

    image = ("efficientnet_lite0@32", "sample_cats_vs_dogs")
    assert run(*image, "--shard", "0/60") == 0
    (part,) = tmp_path.iterdir()
    assert part.name.endswith("-part-0-of-60")
    assert run("efficientnet_lite0", "sample_cats_vs_dogs") == 2
    assert "Expected NAME@SIZE" in capsys.readouterr().err
