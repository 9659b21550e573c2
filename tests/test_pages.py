"""The pages of measurements: what stands in their places is what the stored results say."""

import re
import subprocess
import sys
import textwrap

import pytest

from bench import pages, places, rows
from bench.rows import Row

TABLE = "| a | b |\n|---|---|\n| 1 | 2 |"


def text_of(address):
    known = {"s | times": TABLE, "s | row | column": "0.6"}
    if address not in known:
        raise places.UnknownPlaceError(f"no result for {address!r}")
    return known[address]


def test_the_pages_are_what_the_command_writes():
    for path, text in pages.filled().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run python -m bench --write-docs"


def test_the_pages_have_places():
    texts = {path.name: path.read_text(encoding="utf-8") for path in pages.pages()}
    for name in ("performance", "accuracy", "discovery", "experiments", "scaling"):
        assert "<!-- bench: " in texts[f"{name}.md"], name


def test_every_stored_result_stands_in_a_page():
    text = "".join(path.read_text(encoding="utf-8") for path in pages.pages())
    for path in rows.RESULTS.glob("*.json"):
        assert f"<!-- bench: {path.stem} | " in text, path.name
        _, found = rows.load(path.stem)
        whole = re.search(rf"<!-- bench: {path.stem} \| (times|values) -->", text)
        for group in () if whole else rows.groups_of(found):
            assert f"| {group} -->" in text or f"| {found[-1].work} |" in text, group


def test_pictures_of_the_pages_are_there():
    text = "".join(path.read_text(encoding="utf-8") for path in pages.pages())
    names = set(pages.PICTURE.findall(text))
    assert len(names) > 4
    for name in names:
        assert (pages.IMAGES / f"{name}.png").exists(), name


def test_filling_needs_no_package_of_the_bench_extra():
    code = """
        import sys
        for name in ("rich", "cola", "linear_operator", "networkx"):
            sys.modules[name] = None
        from bench import pages
        pages.filled()
        """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, cwd=pages.ROOT)


def test_a_block_and_a_number_are_filled():
    page = textwrap.dedent(
        """\
        # Title

        <!-- bench: s | times -->
        old
        <!-- /bench -->

        It takes <!-- bench: s | row | column --><!-- /bench --> of the time.
        """
    )
    text, problems = pages.fill(page, text_of)
    assert not problems
    assert text == textwrap.dedent(
        """\
        # Title

        <!-- bench: s | times -->

        | a | b |
        |---|---|
        | 1 | 2 |

        <!-- /bench -->

        It takes <!-- bench: s | row | column -->0.6<!-- /bench --> of the time.
        """
    )
    assert pages.fill(text, text_of) == (text, [])


@pytest.mark.parametrize(
    ("page", "line", "message"),
    [
        ("\n<!-- bench: s | other -->\n<!-- /bench -->\n", 2, "no result for 's | other'"),
        ("a <!-- bench: s | row | column --> b\n", 1, "'s | row | column' does not end"),
        (
            "a <!-- bench: s | row | column -->\nb <!-- bench: s | times --><!-- /bench -->\n",
            1,
            "'s | row | column' does not end",
        ),
        ("a\n\nb <!-- /bench -->\n", 3, "a place ends that has not begun"),
        ("a <!-- bench s | times --><!-- /bench -->\n", 1, "expected <!-- bench: ADDRESS -->"),
        ("a <!-- bench: s | times --><!-- /bench -->\n", 1, "a line of its own"),
        ("- <!-- bench: s | row | column --><!-- /bench --> b\n", 1, "begin with a word"),
        ("| a | <!-- bench: s | row | column --><!-- /bench --> |\n", 1, "is in a table"),
    ],
)
def test_a_place_that_cannot_be_filled_is_named(page, line, message):
    _, problems = pages.fill(page, text_of)
    assert (line, message) in [
        (found, text[text.find(message) :][: len(message)]) for found, text in problems
    ]


@pytest.mark.parametrize(
    "address",
    [
        "nonsense | times", "product", "product | tables", "discover | values | Nothing",
        "discover | values | Networks | football", "product | no row | limit",
        "peers | logdet, n = 1000, k = 8 | no column", "covariance | sectors | T = 60",
        "training | momentum 0.5 | goals", "training | momentum 0.9 | nonsense",
        "training | settings | nonsense", "training",
    ],
)  # fmt: skip
def test_an_unknown_address_is_named(address):
    with pytest.raises(places.UnknownPlaceError) as caught:
        places.text_of(address)
    assert repr(address) in str(caught.value)


@pytest.mark.parametrize(
    "name", ["bench-nonsense", "training-nonsense", "training-rates-momentum-1"]
)
def test_an_unknown_picture_is_named(name):
    with pytest.raises(places.UnknownPlaceError, match=name):
        places.picture(name)


def test_a_group_tells_rows_of_one_name_apart():
    likelihood = places.text_of("covariance | Log-likelihood | sectors | T = 60")
    assert likelihood.startswith("-0.3")
    assert float(places.text_of("covariance | Volatility | sectors | T = 60")) > 1


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with two pages, as if it was the repository."""
    (tmp_path / "docs" / "images").mkdir(parents=True)
    (tmp_path / "README.md").write_text(
        "It takes <!-- bench: samples | add_outer, n = 1000000, k = 500, shuffled | bincount -->?"
        "<!-- /bench --> as long.\n"
    )
    (tmp_path / "docs" / "page.md").write_text(
        "<!-- bench: samples | times -->\n<!-- /bench -->\n\n![Times](images/bench-samples.png)\n"
    )
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "IMAGES", tmp_path / "docs" / "images")
    return tmp_path


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_fills_readme_and_docs_and_draws_pictures(folder):
    changed = pages.write()
    assert [path.name for path in changed] == ["README.md", "page.md", "bench-samples.png"]
    assert re.search(r"-->\d+(\.\d)?<!--", (folder / "README.md").read_text())
    assert "| operation | blockmat |" in (folder / "docs" / "page.md").read_text()
    assert (folder / "docs" / "images" / "bench-samples.png").read_bytes().startswith(b"\x89PNG")
    before = content(folder)
    assert pages.write() == []
    assert content(folder) == before


@pytest.mark.parametrize(
    "bad", ["a <!-- bench: nothing -->b<!-- /bench -->", "![x](images/bench-nothing.png)"]
)
def test_no_file_changes_if_a_place_cannot_be_filled(folder, bad):
    (folder / "docs" / "zz.md").write_text(bad)
    before = content(folder)
    with pytest.raises(pages.PagesError, match=r"docs.zz.md:.*nothing"):
        pages.write()
    assert content(folder) == before


def test_goals_in_a_sentence_are_those_of_the_table():
    goals = places.text_of("scaling | A.dot(x, out=y), n = 100000000, k = 100 | goals")
    assert [goal[0] in "✓✗" for goal in goals.split("; ")] == [True, True]
    in_table = places.text_of("fit | times")
    assert places.text_of("fit | fit, n = 12000, k = 128, contiguous | goals") in in_table


def test_numbers_in_sentences_have_two_digits():
    texts = [rows.two_digits(x) for x in (0.6, 0.8725, 1.004, 137, 12_345, -0.0567, 0)]
    assert texts == ["0.6", "0.87", "1", "140", "12,000", "-0.057", "0"]


def test_columns_of_values_have_the_decimals_that_they_need():
    found = [Row("a", notes={"whole": 3, "share": 1.0, "large": 79998.1, "some": 12.34567}),
             Row("b", notes={"whole": 1190281, "share": 0.5, "large": 80.4})]  # fmt: skip
    headings, cells = rows.table_of_values(found)
    assert headings == ["", "whole", "share", "large", "some"]
    assert cells == [
        ["a", "3", "1.000", "79,998", "12.346"],
        ["b", "1,190,281", "0.500", "80", ""],
    ]
