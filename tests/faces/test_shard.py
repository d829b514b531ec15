from __future__ import annotations

from ferops.faces.shard import Encoded, Shard, make_shards


def image(number: int, *, side: int = 100, size: int = 1000) -> Encoded:
    return Encoded(f"{number:03d}", bytes(size), width=side, height=side)


def sizes(shards: list[Shard]) -> list[int]:
    return [len(shard.images) for shard in shards]


def test_the_cut_keeps_order_and_every_image() -> None:
    images = [image(number) for number in range(23)]
    shards = list(make_shards(images, tight=True, search=False, at_most=10))
    assert sizes(shards) == [10, 10, 3]
    assert [one for shard in shards for one in shard.images] == images
    assert all(shard.tight and not shard.search for shard in shards)
    assert list(make_shards([], tight=False, search=True, at_most=10)) == []


def test_large_images_make_small_shards() -> None:
    """Decoded, 32 megapixels in all; encoded, 16 MB; but never less than one image."""
    by_pixels = [image(number, side=3000) for number in range(7)]
    assert sizes(list(make_shards(by_pixels, tight=False, search=True, at_most=64))) == [3, 3, 1]
    by_bytes = [image(number, size=7_000_000) for number in range(5)]
    assert sizes(list(make_shards(by_bytes, tight=False, search=True, at_most=64))) == [2, 2, 1]
    huge = [image(number, side=7000) for number in range(2)]
    assert sizes(list(make_shards(huge, tight=False, search=True, at_most=64))) == [1, 1]
