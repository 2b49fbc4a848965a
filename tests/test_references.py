import re

import pytest

from dynlab.cells import registry
from dynlab.references import BIBTEX, cite

KEYS = (
    "rusch2021unicornn kag2020rnns chang2019antisymmetricrnn elman1990finding hochreiter1997lstm cho2014gru "
    "kusupati2018fastgrnn rusch2021cornn lezcano2019exprnn li2018indrnn erichson2021lipschitz collins2017capacity "
    "pascanu2013difficulty benettin1980lyapunov tallec2018warp"
).split()


def fields(entry):
    """The fields of a BibTeX entry, by a reader that knows nothing of how the entries were made."""
    body = entry[entry.index(",") + 1 : entry.rindex("}")]
    found, position = {}, 0
    while match := re.compile(r"\s*(\w+)\s*=\s*\{").match(body, position):
        depth, end = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(body[end], 0)
            end += 1
        found[match[1]] = body[match.end() : end - 1]
        separator = re.compile(r"\s*,?").match(body, end)
        position = separator.end()
    assert not body[position:].strip(), f"not read: {body[position:]!r}"
    return found


def test_keys():
    assert list(BIBTEX) == KEYS


@pytest.mark.parametrize("key", KEYS)
def test_entry_is_complete(key):
    entry = BIBTEX[key]
    kind, name = re.match(r"@(\w+)\{(\w+),\n", entry).groups()
    assert name == key
    assert entry.count("{") == entry.count("}")
    found = fields(entry)
    required = {"article": {"journal", "volume", "pages"}, "inproceedings": {"booktitle"}}[kind]
    assert required | {"author", "title", "year"} <= set(found)
    assert all(value.strip() for value in found.values())
    assert found["year"] == re.search(r"\d{4}", key)[0]
    surname = found["author"].split(",")[0].lower()
    assert surname.startswith(re.match(r"[a-z]+", key)[0])
    assert all(", " in author for author in re.split(r"\s+and\s+", found["author"]))
    assert re.fullmatch(r"(\d+--\d+)?", found.get("pages", ""))
    assert re.fullmatch(r"(https://\S+)?", found.get("url", ""))
    assert re.fullmatch(r"(10\.\d{4,}/\S+)?", found.get("doi", ""))


@pytest.mark.parametrize("key", list(registry))
def test_cite_a_cell(key):
    papers = registry[key].cls.bibtex
    assert papers, "every registered cell names its paper"
    assert cite(key).split("\n\n") == [BIBTEX[paper] for paper in papers]


def test_cite_a_paper():
    assert cite("pascanu2013difficulty").startswith("@inproceedings{pascanu2013difficulty,")
    assert "Siddhartha" in cite("unicornn")
    assert "Saligrama" in cite("irnn")


def test_unknown_name_lists_what_there_is():
    with pytest.raises(ValueError, match=r"expected a cell .*unicornn.* or a paper .*kag2020rnns.*got 'nothing'"):
        cite("nothing")
