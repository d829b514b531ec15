"""What goes into a Bento is computed from import statements; here they are made up, or the service's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from ferops.errors import FeropsError
from ferops.packaging import contents
from ferops.packaging.contents import SOURCE, imported_modules, pinned_requirements, required_contents

ROOT = Path(__file__).parents[2]


def test_imports_are_those_of_run_time_at_any_depth(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        "from typing import TYPE_CHECKING\nimport a.b, c\n"
        "if TYPE_CHECKING:\n    import never\nelse:\n    import instead\n"
        "def late():\n    from d.e import f, g as h\n"
    )
    found = imported_modules(source)
    assert found == {"typing", "typing.TYPE_CHECKING", "a.b", "c", "instead", "d.e", "d.e.f", "d.e.g"}


def service(folder: Path, text: str) -> Path:
    (folder / "service").mkdir()
    (folder / "service" / "service.py").write_text(text)
    return folder / "service"


def test_modules_come_with_their_packages_their_data_and_what_they_import(tmp_path: Path) -> None:
    contents = required_contents(
        service(tmp_path, "import os\nimport service.guard\nimport ferops.faces.crop"), detector="mtcnn"
    )
    files = {path.relative_to(SOURCE).as_posix() for path in contents.files}
    assert {"__init__.py", "faces/__init__.py", "faces/crop.py", "faces/align.py", "config.py", "errors.py"} <= files
    assert {"faces/detectors/mtcnn.py", "faces/detectors/weights/mtcnn.safetensors"} <= files
    assert {"faces/detectors/yunet.py", "faces/detectors/weights/yunet.safetensors"} <= files  # which answers for it
    assert "faces/detectors/centerface.py" not in files  # another detector
    assert "faces/stage.py" not in files
    assert {"cv2", "numpy", "openvino"} <= contents.imported
    assert not {"os", "service.guard", "service"} & contents.imported


def test_serving_needs_no_training_and_every_package_is_pinned() -> None:
    contents = required_contents(ROOT / "service", detector="centerface")
    assert SOURCE / "faces" / "detectors" / "centerface.py" in contents.files
    lines = pinned_requirements(contents.imported, ROOT / "requirements.lock")
    locked = (ROOT / "requirements.lock").read_text().replace(" \\\n   ", "").splitlines()
    assert set(lines) <= set(locked)
    assert all("--hash=sha256:" in line for line in lines)
    names = {canonicalize_name(line.partition("==")[0]) for line in lines}
    assert {"bentoml", "opencv-python-headless", "openvino", "pillow", "ruamel-yaml", "safetensors"} <= names
    assert {"uvicorn", "pydantic-core"} <= names  # needed by bentoml and by pydantic
    assert {"scipy", "websockets"} <= names  # streams: the tracker, and the protocol
    heavy = {"torch", "torchvision", "timm", "scikit-learn", "pandas", "pyarrow", "mlflow", "prefect", "dvc"}
    assert not heavy & names


def test_a_requirement_without_a_pin_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text(
        "# by make lock\nnumpy==1 \\\n    --hash=sha256:ab\npip==2 \\\n    --hash=sha256:cd\n"
    )
    assert pinned_requirements(["numpy.typing"], tmp_path / "requirements.lock") == ["numpy==1 --hash=sha256:ab"]
    with pytest.raises(FeropsError, match="does not pin pillow"):
        pinned_requirements(["PIL.Image"], tmp_path / "requirements.lock")
    with pytest.raises(FeropsError, match="no_such_module, which is not installed"):
        pinned_requirements(["no_such_module"], tmp_path / "requirements.lock")


def test_an_extra_that_serving_does_without_may_be_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install 'ferops[serve]'` brings no decoder of HEIC."""
    monkeypatch.setattr(contents, "_installed_modules", lambda: {"numpy": ["numpy"]})
    (tmp_path / "requirements.lock").write_text("numpy==1 \\\n    --hash=sha256:ab\n")
    found = pinned_requirements(["numpy", "pillow_heif"], tmp_path / "requirements.lock")
    assert found == ["numpy==1 --hash=sha256:ab"]
