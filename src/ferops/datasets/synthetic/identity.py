"""One synthetic person: the shape, colours and hair that stay the same in all of their images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

MONK_HEX = ("f6ede4", "f3e7db", "f7ead0", "eadaba", "d7bd96", "a07e56", "825c43", "604134", "3a312a", "292420")
"""Monk Skin Tone scale 1-10, sRGB (Ellis Monk, 2019; published at skintone.google)."""

AGES = ("young", "middle", "older")

_HAIR_COLOURS = {
    "black": (0.016, 0.014, 0.013),
    "dark brown": (0.040, 0.024, 0.015),
    "brown": (0.105, 0.058, 0.030),
    "auburn": (0.170, 0.060, 0.024),
    "blond": (0.420, 0.270, 0.120),
    "grey": (0.290, 0.280, 0.270),
    "white": (0.560, 0.550, 0.530),
}
_IRIS_COLOURS = {
    "dark brown": (0.045, 0.022, 0.010),
    "brown": (0.110, 0.050, 0.018),
    "hazel": (0.160, 0.110, 0.040),
    "green": (0.100, 0.160, 0.075),
    "blue": (0.090, 0.180, 0.290),
}


@dataclass(frozen=True)
class Identity:
    """Lengths are in head units (the eyes are about 0.62 apart, crown to chin is about 2.1), colours linear RGB, 0-1.

    Shape fields without a unit are factors around 1 or offsets around 0.
    """

    subject: str
    skin_tone: int  # 1-10, Monk scale
    age: str
    feminine: bool
    glasses: bool
    skin: NDArray[np.float32]
    hair: NDArray[np.float32]
    iris: NDArray[np.float32]
    hair_style: str
    hairline: float
    face_width: float
    face_length: float
    jaw: float
    chin: float
    cheek: float
    eye_spacing: float
    eye_size: float
    eye_tilt: float
    lid_fold: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    nose_length: float
    nose_width: float
    nose_bridge: float
    mouth_width: float
    lip_fullness: float
    beard: float  # 0 shaven, 0.5 stubble, 1 full
    makeup: float
    freckles: float
    asymmetry: tuple[float, float]  # strength of action units on the left and right of the image
    frame_colour: NDArray[np.float32]
    frame_round: float
    texture_seed: int

    @property
    def wrinkles(self) -> float:
        """How deep lines are at rest, 0-1."""
        return {"young": 0.0, "middle": 0.35, "older": 0.9}[self.age]


def linear(srgb_hex: str) -> NDArray[np.float32]:
    """sRGB hex triplet to linear RGB in 0-1, float32 `(3,)` (IEC 61966-2-1)."""
    encoded = np.array([int(srgb_hex[i : i + 2], 16) for i in (0, 2, 4)]) / 255.0
    return np.asarray(np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4), np.float32)


def draw(index: int, *, seed: int) -> Identity:
    """Draw person `index` (from 0). Skin tone, age, sex and glasses are balanced over the index; the rest is random."""
    rng = np.random.default_rng([seed, 11, index])
    tone = index % 10 + 1
    age = AGES[(index * 7 + index // 10) % 3]
    feminine = (index + index // 10) % 2 == 0
    narrow = 0.5 if feminine else -0.5

    def vary(centre: float, spread: float) -> float:
        return float(centre + spread * np.clip(rng.normal(), -2.0, 2.0))

    style = _hair_style(rng, feminine=feminine, age=age)
    dark_skin = tone >= 6
    return Identity(
        subject=f"s{index + 1:02d}",
        skin_tone=tone,
        age=age,
        feminine=feminine,
        glasses=index % 3 == 1,
        skin=_skin(tone, rng),
        hair=_hair_colour(rng, dark_skin=dark_skin, age=age)
        * np.float32(0.6 if tone >= 9 else 1.0),  # the darkest skins are exposed longest
        iris=_iris_colour(rng, tone=tone),
        hair_style=style,
        hairline=vary(0.70 if feminine else 0.73, 0.035) + (0.08 if age == "older" and not feminine else 0.0),
        face_width=vary(1.0 - 0.03 * narrow, 0.04),
        face_length=vary(1.0 - 0.02 * narrow, 0.025),
        jaw=vary(1.0 - 0.11 * narrow, 0.05),
        chin=vary(1.0 - 0.10 * narrow, 0.10),
        cheek=vary(1.0, 0.30),
        eye_spacing=vary(0.315, 0.010),
        eye_size=vary(1.06 + 0.06 * narrow, 0.05),
        eye_tilt=vary(0.018, 0.014),
        lid_fold=float(np.clip(vary(0.5, 0.3), 0.0, 1.0)),
        brow_height=vary(0.0 + 0.02 * narrow, 0.014),
        brow_thickness=vary(1.0 - 0.35 * narrow, 0.12),
        brow_arch=vary(1.0 + 0.5 * narrow, 0.25),
        nose_length=vary(1.0 - 0.04 * narrow, 0.05),
        nose_width=vary(1.12 if dark_skin else 0.98, 0.08) - 0.06 * narrow,
        nose_bridge=vary(0.85 if dark_skin else 1.0, 0.10),
        mouth_width=vary(1.0 - 0.03 * narrow, 0.05),
        lip_fullness=vary(1.15 if dark_skin else 0.95, 0.12) + 0.12 * narrow,
        beard=0.0 if feminine else float(rng.choice([0.0, 0.12, 0.3, 0.5, 1.0], p=[0.3, 0.25, 0.2, 0.1, 0.15])),
        makeup=float(rng.uniform(0.0, 0.8)) if feminine else 0.0,
        freckles=float(rng.uniform(0.3, 1.0)) if tone <= 4 and rng.random() < 0.35 else 0.0,
        asymmetry=(float(rng.uniform(0.82, 1.0)), float(rng.uniform(0.82, 1.0))),
        frame_colour=np.array(
            [(0.01, 0.01, 0.012), (0.09, 0.035, 0.015), (0.11, 0.105, 0.10), (0.02, 0.03, 0.10)][rng.integers(4)],
            np.float32,
        ),
        frame_round=float(rng.uniform(2.0, 4.5)),
        texture_seed=int(rng.integers(2**31)),
    )


def changed(
    who: Identity, *, skin_tone: int | None = None, age: str | None = None, glasses: bool | None = None
) -> Identity:
    """Return the same person, bones, hair and expression, with another skin tone (1-10), age (its lines) or glasses."""
    skin = {} if skin_tone is None else {"skin_tone": skin_tone, "skin": _skin(skin_tone, np.random.default_rng(1))}
    years = {} if age is None else {"age": age}
    return replace(who, **skin, **years, glasses=who.glasses if glasses is None else glasses)  # type: ignore[arg-type]


def _skin(tone: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The swatch as seen on lit skin: the lightest swatches are highlights rather than albedo, so they are darkened."""
    swatch = linear(MONK_HEX[tone - 1])
    light = np.interp(tone, [1, 4, 5, 7, 8, 10], [0.76, 0.76, 0.80, 1.0, 1.08, 1.65])
    blood = np.array([1.06, 0.88, 0.84]) if tone <= 2 else np.array([1.06, 0.90, 0.96])
    if tone >= 6:
        blood = np.array([0.98, 0.98, 1.0])
    if tone >= 9:
        blood = np.array([1.16, 0.97, 0.86])  # the two darkest swatches are nearly grey
    return np.asarray(swatch * light * blood * rng.normal(1.0, 0.012, 3), np.float32)


def _hair_style(rng: np.random.Generator, *, feminine: bool, age: str) -> str:
    if feminine:
        return str(rng.choice(["long", "bob", "tied", "curly", "side"], p=[0.36, 0.22, 0.18, 0.16, 0.08]))
    bald = 0.25 if age == "older" else 0.06
    return str(
        rng.choice(["short", "crop", "side", "curly", "bald"], p=[0.40 - bald / 2, 0.22, 0.24 - bald / 2, 0.14, bald])
    )


def _hair_colour(rng: np.random.Generator, *, dark_skin: bool, age: str) -> NDArray[np.float32]:
    names = list(_HAIR_COLOURS)
    if age == "older" and dark_skin:
        weights = [0.25, 0.05, 0.0, 0.0, 0.0, 0.50, 0.20]
    elif age == "older":
        weights = [0.12, 0.10, 0.05, 0.0, 0.05, 0.45, 0.23]
    elif dark_skin:
        weights = [0.75, 0.22, 0.03, 0.0, 0.0, 0.0, 0.0]
    else:
        weights = [0.15, 0.27, 0.25, 0.10, 0.20, 0.03, 0.0]
    colour = np.array(_HAIR_COLOURS[str(rng.choice(names, p=weights))])
    return (colour * rng.uniform(0.85, 1.2)).astype(np.float32)


def _iris_colour(rng: np.random.Generator, *, tone: int) -> NDArray[np.float32]:
    weights = [0.15, 0.25, 0.18, 0.15, 0.27] if tone <= 4 else [0.70, 0.26, 0.04, 0.0, 0.0]
    return np.array(_IRIS_COLOURS[str(rng.choice(list(_IRIS_COLOURS), p=weights))], np.float32)
