"""Reading safetensors files: values and metadata, and every damage as the one error."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from srgan.networks.tensors import TensorFileError, read_safetensors

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b.weight": torch.ones(1)}


def test_tensors_and_metadata_come_back_in_both_frameworks(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file(TENSORS, path, {"key": "value"})
    arrays, metadata = read_safetensors(path, "numpy")
    tensors, _ = read_safetensors(path, "pt")
    assert metadata == {"key": "value"}
    assert sorted(arrays) == sorted(tensors) == sorted(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)
        assert np.array_equal(arrays[name], tensor.numpy())


def test_prefix_leaves_the_other_tensors_out_and_no_metadata_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file(TENSORS, path)
    tensors, metadata = read_safetensors(path, "pt", prefix="a.")
    assert list(tensors) == ["a.weight"]
    assert metadata == {}


@pytest.mark.parametrize("content", [None, b"", b"not tensors at all" * 10], ids=repr)
@pytest.mark.parametrize("framework", ["numpy", "pt"])
def test_missing_or_damaged_file_is_one_line(
    tmp_path: Path, framework: Literal["numpy", "pt"], content: bytes | None
) -> None:
    path = tmp_path / "file.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TensorFileError) as caught:
        read_safetensors(path, framework)
    assert str(caught.value).startswith(f"{path}: not a readable safetensors file (")
    assert "\n" not in str(caught.value)


def test_data_type_that_numpy_lacks(tmp_path: Path) -> None:
    dtype = torch.float8_e4m3fn  # not bfloat16: NumPy has it once ml_dtypes is imported
    path = tmp_path / "file.safetensors"
    save_file({"a": torch.zeros(3).to(dtype)}, path)
    with pytest.raises(TensorFileError, match="not a readable safetensors file"):
        read_safetensors(path, "numpy")
    assert read_safetensors(path, "pt")[0]["a"].dtype == dtype
