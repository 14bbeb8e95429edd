"""Wherever a listing stops, it goes on behind that very picture."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from caffe.bulk import tables
from caffe.bulk.fetching import fetched
from caffe.bulk.sources import all_entries, settled
from caffe.errors import CaffeError, MissingFileError, ParseError
from tests.helpers.bulk import archive, encoded, painted

arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


def all_kinds(folder: Path) -> list[str]:
    """Sources of every kind, with names that sort in odd ways."""
    painted(folder / "photos", range(3))
    painted(folder / "photos" / "a", range(3, 5))
    painted(folder / "photos" / "a-b", range(5, 6))
    painted(folder / "photos" / "a" / ".hidden", range(6, 7))
    for place in ("", "a", "a-b"):
        painted(folder / "more" / place, range(30, 33))
    (folder / "photos" / "loop").symlink_to(folder / "photos")
    for number in range(2):
        archive(folder / f"{number}.tar", range(10 * number, 10 * number + 4))
    held = {"image": [encoded(n) for n in range(7)]}
    parquet.write_table(arrow.table(held), folder / "held.parquet", row_group_size=3)
    keyed = {"jpg": [encoded(n) for n in range(3)], "__key__": ["x", None, "z"]}
    parquet.write_table(arrow.table(keyed), folder / "keyed.parquet", row_group_size=2)
    places = ["other/0000.png", "s3://bucket/b.png", "", "/somewhere/c.png"]
    parquet.write_table(arrow.table({"url": places}), folder / "named.parquet")
    sources: tuple[str, ...]
    sources = ("photos", "*.tar", "held.parquet", "more/00*", "keyed.parquet", "named.parquet")
    archive(folder / "packed.tar.gz", range(20, 24))
    archive(folder / "packed.tar.xz", range(24, 26))
    sources += ("more/a/0031.png", "more/a*", "packed.tar.*")
    return [str(folder / name) for name in sources]


def refuse(text: str) -> None:
    raise AssertionError(text)


def test_a_listing_goes_on_behind_any_picture(tmp_path: Path) -> None:
    sources = all_kinds(tmp_path)
    whole = list(all_entries(sources, refuse))
    assert len(whole) == 6 + 8 + 7 + 3 + 3 + 4 + 1 + 5 + 6
    for place, (number, entry) in enumerate(whole):
        rest = list(all_entries(sources, refuse, number, entry))
        assert rest == whole[place + 1 :], entry


def test_pictures_are_called_by_where_they_are(tmp_path: Path) -> None:
    sources = all_kinds(tmp_path)
    keys = [entry.key.removeprefix(f"{tmp_path}/") for _, entry in all_entries(sources, refuse)]
    assert keys[:6] == [
        *(f"photos/000{number}.png" for number in range(3)),
        "photos/a/0003.png",
        "photos/a/0004.png",
        "photos/a-b/0005.png",
    ]
    assert keys[6:8] == ["0.tar#0000.png", "0.tar#0001.png"]
    assert keys[24:31] == [
        *("keyed.parquet#x", "keyed.parquet#1", "keyed.parquet#z"),
        *("other/0000.png", "s3://bucket/b.png", "", "/somewhere/c.png"),
    ]


def test_a_picture_of_several_sources_is_one(tmp_path: Path) -> None:
    folder = painted(tmp_path / "photos", range(3))
    painted(folder / "a", range(3, 5))
    painted(folder / ".hidden", range(5, 6))
    painted(tmp_path / "elsewhere", range(6, 7))
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "raw").write_bytes(encoded(7))
    tar = archive(tmp_path / "x.tar", range(8, 10))
    named = {"path": ["photos/0001.png", "photos/a/0003.png", "elsewhere/0006.png"]}
    parquet.write_table(arrow.table(named), tmp_path / "named.parquet")
    sources = [
        *("photos/0001.png", "photos/a", "photos", "photos/", "photos/a/0004.png", "photos/*.png"),
        # What a look into the folder does not find is still to come.
        *("photos/.hidden/0005.png", "photos/link/0006.png", "photos/raw"),
        *("x.tar", "*.tar", "named.parquet"),
    ]
    sources = [str(tmp_path / name) for name in sources]
    whole = list(all_entries(sources, refuse))
    keys = [entry.key.removeprefix(f"{tmp_path}/") for _, entry in whole]
    assert keys == [
        *("photos/0001.png", "photos/a/0003.png", "photos/a/0004.png"),
        *("photos/0000.png", "photos/0002.png"),
        *("photos/.hidden/0005.png", "photos/link/0006.png", "photos/raw"),
        *("x.tar#0008.png", "x.tar#0009.png", "elsewhere/0006.png"),
    ]
    for place, (number, entry) in enumerate(whole):
        assert list(all_entries(sources, refuse, number, entry)) == whole[place + 1 :], entry
    # What has its rows may be gone when the rest is listed.
    tar.unlink()
    assert list(all_entries(sources, refuse, len(sources) - 1)) == whole[-1:]


@pytest.mark.parametrize("name", ["photos", "photos/", "a.tarr"])
def test_a_source_that_is_not_there_is_no_picture_that_has_gone(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingFileError, match="no such file or folder"):
        list(all_entries([settled(str(tmp_path / name))], refuse))


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted(tmp_path / "photos", range(2))
    painted(tmp_path / "photos" / "closed", range(2))
    import caffe.io.folders as folders

    scan = folders.os.scandir

    def closed(place: str) -> object:
        if place.endswith("closed"):
            raise PermissionError(13, "Permission denied", place)
        return scan(place)

    monkeypatch.setattr(folders.os, "scandir", closed)
    told: list[str] = []
    found = list(all_entries([str(tmp_path / "photos")], told.append))
    assert len(found) == 2
    assert told == [
        f"{tmp_path / 'photos' / 'closed'}: the folder cannot be read: Permission denied"
    ]


@pytest.mark.parametrize("blocks", [1, 2.5, 3, 4.2, 8, 15.9, 16])
def test_an_archive_that_is_cut_off_anywhere_is_said(tmp_path: Path, blocks: float) -> None:
    path = archive(tmp_path / "a.tar", range(4))
    content = path.read_bytes()
    # Four pictures and four labels, of two blocks each.
    assert content[16 * tarfile.BLOCKSIZE :].strip(bytes(1)) == b""
    path.write_bytes(content[: int(blocks * tarfile.BLOCKSIZE)])
    with pytest.raises(ParseError, match=r"a\.tar: a damaged archive"):
        list(all_entries([str(path)], refuse))


@pytest.mark.parametrize("kind", ["tgz", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_packed_archive_that_is_cut_off_or_damaged_is_said(
    tmp_path: Path, kind: str, share: float
) -> None:
    path = archive(tmp_path / f"a.{kind}", range(4))
    assert len(list(all_entries([str(path)], refuse))) == 4
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ParseError, match=r"a damaged archive"):
        list(all_entries([str(path)], refuse))
    middle = bytearray(content)
    middle[len(middle) // 2] ^= 0xFF
    path.write_bytes(middle)
    with pytest.raises(ParseError, match=r"a damaged archive"):
        list(all_entries([str(path)], refuse))


def test_packed_pictures_are_read_on_and_on(tmp_path: Path) -> None:
    paths = [archive(tmp_path / f"{n}.tar.gz", range(10 * n, 10 * n + 9)) for n in range(2)]
    entries = [entry for _, entry in all_entries(map(str, paths), refuse)]
    odd = [*entries[:5], *entries[9:12], *entries[4:6]]
    assert [content for _, content in fetched(odd)] == [
        encoded(int(entry.key[-8:-4])) for entry in odd
    ]
    paths[0].write_bytes(paths[0].read_bytes()[:200])
    errors = [content for _, content in fetched(entries[:9])]
    assert isinstance(errors[8], ParseError)


def test_an_archive_with_a_damaged_header_is_said(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", range(4))
    content = bytearray(path.read_bytes())
    content[8 * tarfile.BLOCKSIZE + 3] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ParseError, match=r"at byte 4096 there is neither a file nor"):
        list(all_entries([str(path)], refuse))


def test_a_table_that_has_changed_is_said(tmp_path: Path) -> None:
    place = str(tmp_path / "a.parquet")
    parquet.write_table(arrow.table({"image": [encoded(1)]}), place)
    tables.open_table.cache_clear()
    assert tables.read_rows(place, [0]) == [encoded(1)]
    with pytest.raises(CaffeError, match="has no row 4 any more"):
        tables.read_rows(place, [4])
