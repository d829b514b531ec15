from __future__ import annotations

import errno
import gzip
import io
import os
import random
import struct
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferops.datasets import tars, untrusted
from ferops.datasets.release import Release, open_release, wrong_layout
from ferops.datasets.untrusted import KEPT
from ferops.errors import FeropsError
from releases import KINDS, make_folder, make_release, make_tar, make_zip

ARCHIVES = [kind for kind in KINDS if kind != "folder"]
TARS = [kind for kind in ARCHIVES if kind != "zip"]
FILES = {f"set/{folder}/{number}.jpg": random.Random(number).randbytes(500) for number in range(4) for folder in "ab"}
LITTER = "litter of an operating system (__MACOSX, .DS_Store, Thumbs.db ...)"


def opened(path: Path) -> tuple[Release, Counter[str]]:
    skipped: Counter[str] = Counter()
    return open_release(path, wanted="images", skipped=skipped), skipped


def refused(path: Path, said: str) -> None:
    """The whole release, at once: before a reader could take anything out of it."""
    with pytest.raises(FeropsError, match=said):
        opened(path)


def read_all(path: Path) -> dict[str, bytes]:
    release, _ = opened(path)
    return dict(release.stream(release.names))


# --- what an honest release gives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_files(tmp_path: Path, kind: str) -> None:
    files = FILES | {"set/labels.csv": b"a,b\n1,2\n", "set/empty.jpg": b""}
    release, skipped = opened(make_release(tmp_path, kind, files))
    assert release.names == tuple(sorted(files))
    assert dict(release.stream(release.names)) == files
    assert dict(release.stream(["set/b/3.jpg", "set/a/1.jpg"])) == {
        name: files[name] for name in ("set/b/3.jpg", "set/a/1.jpg")
    }
    assert release.read("set/labels.csv") == b"a,b\n1,2\n"
    assert release.read("set/a/0.jpg") == files["set/a/0.jpg"]
    with release.open("set/labels.csv") as file:
        assert file.read(5) + file.read() == b"a,b\n1,2\n"
    assert not skipped


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_files_come_in_the_order_asked_for_but_from_a_compressed_tar(tmp_path: Path, kind: str) -> None:
    release, _ = opened(make_release(tmp_path, kind, FILES))
    backwards = release.names[::-1]
    assert [name for name, _ in release.stream(backwards)] == list(backwards)


def test_a_compressed_tar_keeps_small_lists_when_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {f"label/{number}.txt": str(number).encode() for number in range(50)}
    release, _ = opened(make_tar(tmp_path / "release.tar.gz", FILES | labels))
    monkeypatch.setattr(tars, "_content", None)  # from here on nothing more can be read from the archive
    assert {name: release.read(name) for name in labels} == labels


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_in_a_folder_counts_as_a_folder(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    make_folder(root, {"loose/1.jpg": b"loose"})
    make_release(root, kind, FILES)
    release, skipped = opened(root)
    inside = {f"release/{name}": content for name, content in FILES.items()}
    assert dict(release.stream(release.names)) == inside | {"loose/1.jpg": b"loose"}
    assert release.read("release/set/a/1.jpg") == FILES["set/a/1.jpg"]
    assert not skipped

    make_folder(root, {"release/set/a/1.jpg": b"unpacked already"})
    release, skipped = opened(root)
    assert release.names == ("loose/1.jpg", "release/set/a/1.jpg")
    assert skipped == {"archive beside a folder of its name (taken as unpacked already)": 1}


# --- ordinary trouble ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_that_was_unpacked_where_it_lies_counts_once(tmp_path: Path, kind: str) -> None:
    root = make_folder(tmp_path / "root", FILES)
    make_release(root, kind, {**FILES, ".DS_Store": b"x"})
    release, skipped = opened(root)
    assert release.names == tuple(sorted(FILES))
    assert skipped == {"archive beside all of its files (taken as unpacked already)": 1}
    (root / "set/a/1.jpg").unlink()
    assert len(opened(root)[0].names) == 2 * len(FILES) - 1  # not everything is there: nobody knows what is what


@pytest.mark.parametrize("kind", KINDS)
def test_litter_is_left_out_and_counted(tmp_path: Path, kind: str) -> None:
    litter = ["__MACOSX/set/a/._1.jpg", "set/.DS_Store", "set/a/Thumbs.db", "set/a/._1.jpg", "desktop.ini"]
    release, skipped = opened(make_release(tmp_path, kind, FILES | dict.fromkeys(litter, b"x")))
    assert release.names == tuple(sorted(FILES))
    assert skipped == {LITTER: 5}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_inside_an_archive_is_left_out_and_named(tmp_path: Path, kind: str) -> None:
    release, skipped = opened(
        make_release(tmp_path, kind, {"inner.zip": b"PK", "photos.TAR.GZ": b"x", "more.7z": b"7z"})
    )
    assert release.names == ()
    assert skipped["archive inside an archive (unpack the outer one and import the folder)"] == 2
    assert sum(skipped.values()) == 3
    error = wrong_layout(release, wanted="images", found="no images", skipped=skipped)
    assert "holds 0 files, but no images; wanted images. Left out: 2 x archive inside an archive" in str(error)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_of_equal_names_the_last_one_counts(tmp_path: Path, kind: str) -> None:
    path = make_release(tmp_path, kind, {"a/1.jpg": b"first", "a/2.jpg": b"other", "x/1.jpg": b"last"})
    if kind == "tar.gz":
        path.write_bytes(gzip.compress(renamed_tar(gzip.decompress(path.read_bytes()))))
    else:
        content = path.read_bytes()
        path.write_bytes(renamed_tar(content) if kind == "tar" else content.replace(b"x/1.jpg", b"a/1.jpg"))
    release, skipped = opened(path)
    assert dict(release.stream(release.names)) == {"a/1.jpg": b"last", "a/2.jpg": b"other"}
    assert skipped == {"name twice in one archive (the last one counts)": 1}


def renamed_tar(content: bytes) -> bytes:
    """x/1.jpg -> a/1.jpg in a tar, with the header's sum."""
    at = content.index(b"x/1.jpg")
    header = bytearray(content[at : at + 512])
    header[0:1] = b"a"
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return content[:at] + bytes(header) + content[at + 512 :]


LATIN = b"caf\xe9.jpg"  # é in Latin-1 is no UTF-8


def test_a_name_that_is_no_utf8_is_read_as_latin_1(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with open(os.fsencode(folder) + b"/" + LATIN, "wb") as file:  # noqa: PTH123 - a Path cannot hold these bytes
        file.write(b"x")
    member = tarfile.TarInfo(os.fsdecode(LATIN))
    member.size = 1
    with tarfile.open(
        tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        tar.addfile(member, io.BytesIO(b"x"))
    for path in (folder, tmp_path / "a.tar"):
        release, skipped = opened(path)
        assert dict(release.stream(release.names)) == {"café.jpg": b"x"}
        assert release.names[0].encode()
        assert skipped == {f"name is not printable text{KEPT}": 1}


def test_names_in_a_zip_are_text_whatever_their_encoding(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"aXX.jpg": b"utf-8 without the flag", "bXX.jpg": b"cp437"})
    content = path.read_bytes().replace(b"aXX", b"a\xc3\xa9").replace(b"bXX", b"b\x82\x82")
    path.write_bytes(content)
    release, _ = opened(path)
    assert release.names == ("aé.jpg", "béé.jpg")
    assert [content for _, content in release.stream(release.names)] == [b"utf-8 without the flag", b"cp437"]


@pytest.mark.parametrize("name", ["a\nb.jpg", "a\x1b[2Jb.jpg"])
def test_a_name_with_control_characters_is_taken_and_counted(tmp_path: Path, name: str) -> None:
    release, skipped = opened(make_zip(tmp_path / "a.zip", {name: b"x"}))
    assert release.names == (name,)
    assert skipped == {f"name is not printable text{KEPT}": 1}
    assert name not in str(wrong_layout(release, wanted="w", found="f", skipped=skipped))


def test_windows_separators_are_separators(tmp_path: Path) -> None:
    release, _ = opened(make_zip(tmp_path / "a.zip", {"train\\a\\1.jpg": b"x", "./train//b/2.jpg": b"y"}))
    assert dict(release.stream(release.names)) == {"train/a/1.jpg": b"x", "train/b/2.jpg": b"y"}


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("kept", [0.02, 0.4, 0.75])
def test_an_archive_that_was_cut_short(tmp_path: Path, kind: str, kept: float) -> None:
    path = make_release(tmp_path, kind, FILES)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    refused(path, r"cut short|damaged|neither")


def test_a_tar_with_a_broken_header_in_the_middle_does_not_end_there(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", FILES)
    content = bytearray(path.read_bytes())
    content[content.index(b"set/b/2.jpg")] ^= 0xFF
    path.write_bytes(content)
    refused(path, r"broken header.*Download it again")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_damage_inside_is_found_when_the_member_is_read(tmp_path: Path, kind: str) -> None:
    path = make_release(tmp_path, kind, FILES)
    content = bytearray(path.read_bytes())
    for at in range(len(content) // 2, len(content) // 2 + 8):
        content[at] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FeropsError, match=r"Download it again"):
        read_all(path)


@pytest.mark.parametrize(
    ("start", "said"), [(b"7z\xbc\xaf\x27\x1c", "is a 7z archive"), (b"Rar!\x1a\x07", "is a RAR"), (b"text", "neither")]
)
def test_what_is_no_archive_that_we_read(tmp_path: Path, start: bytes, said: str) -> None:
    (tmp_path / "a.zip").write_bytes(start + bytes(600))
    refused(tmp_path / "a.zip", said)
    with pytest.raises(FeropsError, match=r"none.zip does not exist; wanted images"):
        opened(tmp_path / "none.zip")


# --- attacks ------------------------------------------------------------------------------------------------------

LEAVING = [
    "../1.jpg",
    "a/../../1.jpg",
    "/etc/1.jpg",
    "C:/1.jpg",
    "c:1.jpg",
    "a\\..\\..\\1.jpg",
    "\\\\host\\share\\1.jpg",
]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.xz"])
@pytest.mark.parametrize("name", LEAVING)
def test_a_name_that_leaves_the_archive(tmp_path: Path, kind: str, name: str) -> None:
    refused(make_release(tmp_path, kind, FILES | {name: b"x"}), r"name leaves the archive.*nothing was imported")


@given(st.text(st.sampled_from("./\\aC:"), max_size=8))
def test_a_cleaned_name_stays_below_the_root(name: str) -> None:
    try:
        cleaned = untrusted.clean_name(name, where="here")
    except FeropsError:
        return
    root = Path("/root/of/release")
    assert Path(os.path.normpath(root / cleaned)).is_relative_to(root)
    assert "\\" not in cleaned


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_a_link_or_device_in_a_tar(tmp_path: Path, kind: bytes, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    with tarfile.open(path, "w" if ending == "tar" else "w:gz") as archive:
        member = tarfile.TarInfo("a/1.jpg")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    refused(path, r"is a link, a device or a sparse file")


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o060666, 0o010666, 0o140777])
def test_a_link_or_device_in_a_zip(tmp_path: Path, mode: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        member = zipfile.ZipInfo("a/1.jpg")
        member.external_attr = mode << 16
        archive.writestr(member, "/etc/passwd")
    refused(tmp_path / "a.zip", r"is a link or a device")


def test_links_in_a_folder_may_not_leave_it(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "root", FILES)
    (root / "inside.jpg").symlink_to("set/a/1.jpg")
    (root / "more").symlink_to("set", target_is_directory=True)
    release, skipped = opened(root)
    assert release.read("inside.jpg") == FILES["set/a/1.jpg"]
    assert skipped == {"link to another folder of the release": 1}
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (root / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    refused(root, r"holds a link that leaves it: .*out.jpg")
    (root / "out.jpg").unlink()
    (root / "out").symlink_to(tmp_path, target_is_directory=True)
    refused(root, r"holds a link that leaves it")
    (root / "out").unlink()
    (root / "lost.jpg").symlink_to("nowhere.jpg")
    refused(root, r"leads nowhere")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "root", FILES)
    release, _ = opened(root)
    (root / "set/a/1.jpg").unlink()
    with pytest.raises(FeropsError, match=r"set/a/1.jpg cannot be read \(No such file"):
        dict(release.stream(release.names))


def test_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder(tmp_path / "root", FILES)
    scan = os.scandir

    def refusing(folder: str) -> object:  # by the system; root, as whom tests may run, reads everything
        if os.fspath(folder).endswith("set/b"):
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    refused(root, r"set/b cannot be read \(Permission denied\)")


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(make_folder(tmp_path / "root", FILES) / "pipe.jpg")
    refused(tmp_path / "root", r"is a device or a pipe")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_decompression_bomb(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "_GRACE_BYTES", 2**20)
    refused(make_release(tmp_path, kind, FILES | {"zeros.bin": bytes(2**23)}), r"decompression bomb.*nothing was")


def test_many_small_members_that_are_a_bomb_together(tmp_path: Path) -> None:
    files = {f"{number}.bin": bytes(2**20) for number in range(20)}  # none is above what counts, all of them are
    refused(make_zip(tmp_path / "a.zip", files), r"would unpack .* to 20971520: it is a decompression bomb")


def test_members_that_share_their_bytes(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", FILES, method=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    entries = [at for at in range(len(content)) if content[at : at + 4] == b"PK\x01\x02"]
    content[entries[1] + 42 : entries[1] + 46] = content[entries[0] + 42 : entries[0] + 46]  # both begin at the first
    path.write_bytes(content)
    refused(path, r"overlaps the next one")


@pytest.mark.parametrize("stated", [10, 100_000])
def test_a_zip_that_lies_about_a_size_is_never_read_beyond_it(tmp_path: Path, stated: int) -> None:
    path = make_zip(tmp_path / "a.zip", {"a/1.jpg": random.Random(0).randbytes(1000) * 60})
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", stated)
    path.write_bytes(content)
    release, _ = opened(path)
    with pytest.raises(FeropsError, match=r"cannot be read .*the zip is damaged"):
        release.read("a/1.jpg")


def test_an_encrypted_zip_says_what_to_do(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", FILES)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    refused(path, r"is encrypted .*Unpack it with the password")


def test_a_zip_packed_by_a_method_without_a_bound(tmp_path: Path) -> None:
    refused(make_zip(tmp_path / "a.zip", FILES, method=zipfile.ZIP_LZMA), r"packed by an unusual method \(14\)")


@pytest.mark.parametrize("kind", KINDS)
def test_absurd_sizes_and_numbers(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_release(tmp_path, kind, FILES)
    opened(path)
    for limit, value, said in (
        ("MAX_IMAGE_BYTES", 499, r"has 500 bytes; at most 499 are accepted"),
        ("MAX_TOTAL_BYTES", 3999, r"holds . files with 4000 bytes; at most"),
        ("MAX_FILES", 7, r"holds 8 files"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(untrusted, limit, value)
            refused(path, said)


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_that_would_fill_the_memory_is_not_read_at_once(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, _ = opened(make_release(tmp_path, kind, FILES | {"list.csv": random.Random(0).randbytes(1_500_000)}))
    monkeypatch.setattr(untrusted, "MAX_IMAGE_BYTES", 10_000)
    with pytest.raises(FeropsError, match=r"has 1500000 bytes; at most 10000 are accepted for such a file"):
        release.read("list.csv")
    with release.open("list.csv") as file:
        assert sum(len(part) for part in iter(lambda: file.read(2**16), b"")) == 1_500_000


@pytest.mark.parametrize("kind", ARCHIVES)
def test_broken_bytes_give_the_files_or_an_error_for_people(tmp_path: Path, kind: str) -> None:
    whole = make_release(tmp_path, kind, FILES).read_bytes()
    chance = random.Random(kind)
    broken = tmp_path / "broken"
    refusals = 0
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        broken.write_bytes(content)
        try:
            read_all(broken)
        except FeropsError:
            refusals += 1
    assert refusals > 0


def test_a_tar_whose_header_asks_for_memory(tmp_path: Path) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2**33
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    refused(tmp_path / "a.tar", r"a.tar holds a member of 8589934592 bytes")


def raw_header(kind: bytes, size: int) -> bytes:
    """Return a tar header whose size may be negative, which no packer writes."""
    member = tarfile.TarInfo("x")
    member.type = kind
    header = bytearray(member.tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = (256**12 + size if size < 0 else 0x80 << 88 | size).to_bytes(12, "big")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header)


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_with_a_negative_size(tmp_path: Path, kind: bytes, ending: str) -> None:
    content = raw_header(kind, -512) + bytes(2048)
    path = tmp_path / f"a.{ending}"
    path.write_bytes(gzip.compress(content) if ending == "tar.gz" else content)
    refused(path, r"a\.tar.* holds a member of -512 bytes")


def test_a_tar_with_thousands_of_headers_that_announce_each_other(tmp_path: Path) -> None:
    long_name = raw_header(tarfile.GNUTYPE_LONGNAME, 4) + b"abc".ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(3000 * long_name + raw_header(tarfile.REGTYPE, 0) + bytes(1024))
    refused(tmp_path / "a.tar", r"cannot be read \(maximum recursion depth")


def test_a_tar_with_a_header_that_makes_no_sense(tmp_path: Path) -> None:
    member = tarfile.TarInfo("x")
    member.pax_headers = {"GNU.sparse.size": "many", "GNU.sparse.map": "0,1"}
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    refused(tmp_path / "a.tar", r"cannot be read \(invalid literal")


def test_a_tar_without_its_mark_is_one_by_its_checksum(tmp_path: Path) -> None:
    content = bytearray(make_tar(tmp_path / "new.tar", {"a/1.jpg": b"x"}).read_bytes())
    content[257:265] = bytes(8)
    content[148:156] = b" " * 8
    content[148:156] = f"{sum(content[:512]):06o}\0 ".encode()
    (tmp_path / "old.tar").write_bytes(content)
    assert read_all(tmp_path / "old.tar") == {"a/1.jpg": b"x"}


def test_a_sparse_file_in_a_tar(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a/1.jpg")
    member.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"00000000100\0"  # the size that it would have
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(1024))
    refused(tmp_path / "a.tar", r"sparse file")
