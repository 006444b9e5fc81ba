"""Pages of runs: their structure, their numbers, and that nothing in a run gets out of its quotes."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from html.parser import HTMLParser

import pytest

from chainkit.cli import main
from chainkit.errors import DataError
from chainkit.run_record import read_record
from chainkit_report.html import Html, element, joined, page
from chainkit_report.pictures import MOST, gallery, on_the_way, read_picture
from chainkit_report.run_page import run_page

HOSTILE = "</title><script>alert(1)</script><img src=http://evil.example/x onerror='x'>\" &amp;"


class Page(HTMLParser):
    """Elements in their order, each with its attributes and all text inside; closing tags must match."""

    def __init__(self, text):
        super().__init__()
        self.found, self._open = [], []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        item = (tag, dict(attrs), [])
        self.found.append(item)
        if tag not in ("img", "link", "meta"):
            self._open.append(item)

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, texts in self._open:
            texts.append(data)

    def all(self, *tags):
        return [(tag, attributes, "".join(texts)) for tag, attributes, texts in self.found if tag in tags]

    def texts(self, tag):
        return [text for *_, text in self.all(tag)]


def png(path, *chunks, width=20, height=10):
    """A white picture with these chunks of text."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\xff" * width) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *[chunk(kind, data) for kind, data in chunks], chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


@pytest.fixture
def full(kept, estimate):
    """A run with everything that a page can show."""
    figures = [
        estimate(-12.3456789, 0.25, error_walks=0.0625, baseline=-20.5, warnings=("few examples",)),
        estimate(-11.25, 0.5, name="importance sampling", effective=3.25, effective_min=1.5, walks=30),
        estimate(0.75, 0.0078125, name="confidence", unit="of 1", likelihood=False, examples=1000, walks=0, beside={"held-out data": 0.96}),
    ]
    environment = {
        "chainkit": "0.1.0",
        "torch": "2.10.0+cpu",
        "packages": {"numpy": "2.0"},
        "plugins": {"figures": "chainkit 0.1.0", "laplace": "chainkit-laplace 0.3"},
        "git": {"commit": "abc", "dirty": True},
        "overrides": ['device="cpu"', "train.epochs=2"],
        "command": ["chainkit", "run", "digits.toml"],
        "continued": [{"update": 50, "torch": "2.11.0"}],
    }
    watched = '"valid bound": -7.5, "valid bound (standard error)": 0.5'
    lines = f'{{"update": 50, "epoch": 1, "loss": 2.5}}\n{{"update": 60, "epoch": 2, "loss": 0.125, {watched}}}\n'
    folder = kept("full", *figures, environment=environment, **{"metrics.jsonl": lines})
    png(folder / "pictures" / "training.png")
    png(folder / "pictures" / "samples.png", (b"tEXt", b"Title\0Samples"), (b"tEXt", b"Description\0A grid of 64 digits"))
    png(folder / "pictures" / "samples-epoch-0001.png")
    return folder


def test_a_page_is_a_whole_document_with_headings_in_order(full):
    found = Page(run_page(read_record(full)))
    assert found.texts("title") == ["Kept"]
    assert found.texts("h1") == ["Kept"]
    assert found.texts("h2") == ["Pictures", "Evaluation", "Training", "Settings", "Versions", "Reproduce"]
    assert found.all("html")[0][1]["lang"] == "en"
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in [attributes for _, attributes, _ in found.all("meta")]


def test_links_lead_to_sections_and_past_the_head(full):
    found = Page(run_page(read_record(full)))
    links = [(text, attributes["href"]) for _, attributes, text in found.all("a")]
    assert links[0] == ("Skip to the content", "#content")
    places = {attributes["id"] for _, attributes, _ in found.found if "id" in attributes}
    assert {href.removeprefix("#") for _, href in links} <= places


def test_the_evaluation_holds_every_number_of_its_file(full):
    found = Page(run_page(read_record(full)))
    numbers = {attributes["value"] for _, attributes, _ in found.all("data")}
    for record in json.loads((full / "evaluation.json").read_text()):
        wanted = [record[key] for key in ("value", "error_examples", "error_walks", "bits_per_dim", "effective", "baseline")]
        assert {repr(value) for value in [*wanted, *record["beside"].values()] if value is not None} <= numbers
    rows = [text for text in found.texts("tr") if text.startswith("lower bound")]
    assert rows == ["lower boundlower bound on log p(x)-12.35 nats0.250.0624.366–10factorial model -20.50few examples"]
    captions = found.texts("caption")[:2]
    assert captions == [
        f"On {n} test examples, weights of update 60, seed 0. Data: scaled by 1/17, uniform noise of width 1/17." for n in (100, 1000)
    ]
    assert "3.2 of 30, at least 1.5" in "".join(found.texts("td"))


def test_the_versions_are_those_of_the_beginning_and_what_changed_on_the_way(full):
    rows = Page(run_page(read_record(full))).texts("tr")
    assert "torch2.10.0+cpu" in rows
    assert "torch from update 50 on2.11.0" in rows


def test_cells_say_what_they_head_and_wide_tables_can_be_scrolled_by_keyboard(full):
    found = Page(run_page(read_record(full)))
    assert {attributes["scope"] for _, attributes, _ in found.all("th")} == {"col", "row"}
    assert len(found.texts("caption")) == len(found.texts("table")) == 4
    regions = [attributes for _, attributes, _ in found.all("div", "pre") if attributes.get("role") == "region"]
    assert len(regions) == 4 + len(found.texts("pre"))
    assert all(attributes["tabindex"] == "0" and attributes["aria-label"] for attributes in regions)


def test_pictures_lie_in_the_page_with_the_words_of_their_files(full):
    images = [attributes for _, attributes, _ in Page(run_page(read_record(full))).all("img")]
    assert [attributes["alt"] for attributes in images] == [
        "A grid of 64 digits",
        "Picture training of this run",
        "Picture samples epoch 0001 of this run",
    ]
    assert Page(run_page(read_record(full))).texts("figcaption")[0] == "SamplesA grid of 64 digits"
    assert all(attributes["src"].startswith("data:image/png;base64,iVBOR") for attributes in images)
    assert {(attributes["width"], attributes["height"]) for attributes in images} == {("20", "10")}


def test_a_page_says_how_the_run_is_made_again(full):
    shown = Page(run_page(read_record(full))).texts("code")
    commands = next(text for text in shown if text.startswith("pip"))
    assert commands.splitlines() == [
        "pip install chainkit==0.1.0 torch==2.10.0 numpy==2.0 chainkit-laplace==0.3",
        f"""chainkit run recipe.toml --set 'device="cpu"' --set train.epochs=2 --out {full}""",
        f"chainkit evaluate {full} --split test --examples 100 --seed 0",
        f"chainkit evaluate {full} --split test --examples 1000 --seed 0",
    ]
    assert "chainkit run digits.toml" in shown
    assert (full / "resolved.toml").read_text() in shown


def test_training_is_told_by_its_first_and_last_lines(full):
    rows = Page(run_page(read_record(full))).texts("tr")
    assert "loss2.50 (update 50)0.12 (update 60)" in rows
    assert "valid bound-7.50 ± 0.50 (update 60)-7.50 ± 0.50 (update 60)" in rows


def test_a_run_that_has_just_begun_has_a_page(kept):
    folder = kept("young")
    (folder / "evaluation.json").unlink()
    found = Page(run_page(read_record(folder)))
    assert found.texts("h2") == ["Evaluation", "Settings", "Versions", "Reproduce"]
    assert "No figures yet." in found.texts("p")


def hostile_run(kept, estimate):
    recipe = (kept("plain") / "resolved.toml").read_text().replace('"Kept"', json.dumps(HOSTILE)).replace('"digits"', json.dumps(HOSTILE))
    figure = estimate(1.0, name=HOSTILE, unit=HOSTILE, preparation=HOSTILE, meaning=HOSTILE, beside={HOSTILE: 1.0}, warnings=(HOSTILE,))
    environment = {
        "torch": HOSTILE,
        "plugins": {HOSTILE: HOSTILE},
        "overrides": [HOSTILE],
        "command": [HOSTILE],
        "git": {"commit": HOSTILE},
        "continued": [{"update": HOSTILE, HOSTILE: HOSTILE}],
    }
    lines = json.dumps({"update": 1, HOSTILE: 2.0}) + "\n"
    folder = kept("hostile", figure, recipe=recipe, environment=environment, **{"metrics.jsonl": lines})
    png(folder / "pictures" / "a'\"><script>.png", (b"tEXt", b"Title\0" + HOSTILE.encode()), (b"tEXt", b"Description\0" + HOSTILE.encode()))
    return folder


def test_nothing_in_a_run_becomes_markup(kept, estimate, tmp_path):
    folder = hostile_run(kept, estimate)
    assert main(["report", str(folder)]) == 0
    assert main(["compare", str(folder), str(tmp_path / "plain"), "--page", str(tmp_path / "page.html")]) == 0
    for text in ((folder / "report.html").read_text(), (tmp_path / "page.html").read_text()):
        found = Page(text)
        assert found.all("script", "iframe", "object", "base") == []
        assert {name for _, attributes, _ in found.found for name in attributes if name.startswith("on")} == set()
        assert found.texts("h1")[0] in (HOSTILE, "Comparison of hostile, plain")
        sources = [attributes[name] for _, attributes, _ in found.found for name in ("src", "href", "action") if name in attributes]
        assert all(source.startswith(("data:", "#")) for source in sources)


@pytest.mark.parametrize("command", ["report", "compare"])
def test_commands_import_no_torch(command, kept, estimate):
    runs = [kept(name, estimate(1.0)) for name in ("a", "b")]
    program = (
        "import sys; from chainkit.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print(code, sorted({'torch', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    words = [command, *map(str, runs[: 1 if command == "report" else 2])]
    result = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "0 []"


def test_a_report_is_written_anew_and_no_other_file_is(full, tmp_path, capsys):
    assert [main(["report", str(full)]) for _ in range(2)] == [0, 0]
    assert capsys.readouterr().err.splitlines() == [f"the page is in {full / 'report.html'}"] * 2
    assert main(["report", str(full), "--out", str(full / "recipe.toml")]) == 2
    assert main(["report", str(full), "--out", str(tmp_path / "new.html")]) == 0
    assert (tmp_path / "new.html").read_bytes() == (full / "report.html").read_bytes()


@pytest.mark.parametrize("words", [["report"], ["compare"]])
def test_what_is_no_run_is_one_line_and_leaves_with_4(words, tmp_path, kept, capsys):
    assert main([*words, str(tmp_path / "nowhere"), *([str(kept("a"))] if words == ["compare"] else [])]) == 4
    assert capsys.readouterr().err == f"chainkit: error: {tmp_path / 'nowhere'}: not a run directory (it has no resolved.toml)\n"


def test_compare_prints_settings_marks_and_reasons(kept, estimate, capsys):
    text = (kept("plain") / "resolved.toml").read_text().replace("steps = 3", "steps = 9")
    runs = [kept("a", estimate(1.0, 0.5)), kept("b", estimate(9.0, 0.5), recipe=text), kept("c", estimate(99.0, preparation="bits"))]
    assert main(["compare", *map(str, runs)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == ["settings that differ", "  key          a  b  c", "  chain.steps  3  9  3"]
    assert [line.split()[:4] for line in printed if line.startswith("  lower bound")] == [
        ["lower", "bound", "a", "1.00"],
        ["lower", "bound", "b", "best"],
        ["lower", "bound", "c", "99.00"],
    ]
    assert printed[-1].startswith("lower bound: a, b not ranked against c: figures of data that was prepared differently")


def test_compare_tells_figures_of_other_settings_apart(kept, estimate, tmp_path, capsys):
    runs = [kept("a", estimate(1.0, likelihood=False)), kept("b", estimate(2.0, likelihood=False))]
    for run, samples in zip(runs, (50, 200), strict=True):
        [figure] = json.loads((run / "evaluation.json").read_text())
        (run / "evaluation.json").write_text(json.dumps([{**figure, "asked": {"type": "mmd", "samples": samples}}]))
    assert main(["compare", *map(str, runs), "--page", str(tmp_path / "page.html")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition("walks, ")[2][:13] for line in printed if line.startswith("  lower bound")] == ["samples = 50,", "samples = 200"]
    assert "samples = 200, seed 0" in (tmp_path / "page.html").read_text()


def test_compare_gives_json_and_a_page(kept, estimate, tmp_path, capsys):
    runs = [kept("a", estimate(1.0, 0.5)), kept("b", estimate(9.0, 0.5))]
    assert main(["compare", *map(str, runs), "--json", "--page", str(tmp_path / "page.html")]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [(figure["run"], figure["mark"], figure["value"]) for figure in answer["figures"]] == [("a", "", 1.0), ("b", "best", 9.0)]
    assert (answer["settings"], answer["refusals"]) == ({}, [])
    found = Page((tmp_path / "page.html").read_text())
    assert found.texts("h2") == ["Runs", "Figures", "Settings that differ", "Versions that differ"]
    assert [text for text in found.texts("tr") if text.startswith("b")] == [
        "bbest9.00 nats0.50–3.885–100 test examples, 10 walks, seed 0; " + estimate(1.0).preparation
    ]


def test_pictures_of_training_are_folded_and_at_most_a_few(tmp_path):
    paths = [png(tmp_path / f"samples-epoch-{epoch:04d}.png") for epoch in range(1, 31)]
    found = Page(on_the_way(paths))
    assert found.texts("summary") == [f"Pictures drawn while training ({MOST} of 30)"]
    captions = found.texts("figcaption")
    assert (captions[0], captions[-1], len(captions)) == ("samples epoch 0001", "samples epoch 0030", MOST)


def test_pictures_that_are_looked_for_come_first(tmp_path):
    paths = [png(tmp_path / f"{name}.png") for name in ("chain", "inpaint-left", "means", "samples", "walks")]
    assert Page(gallery(paths)).texts("figcaption") == ["samples", "means", "chain", "inpaint left", "walks"]


def test_texts_of_a_picture_are_read_in_both_of_their_forms(tmp_path):
    utf8 = b"Description\0\0\0en\0\0" + "Größe".encode()
    compressed = b"Comment\0\1\0\0\0" + zlib.compress(b"x")
    path = png(tmp_path / "a.png", (b"tEXt", b"Title\0caf\xe9"), (b"iTXt", utf8), (b"iTXt", compressed))
    assert read_picture(path).texts == {"Title": "café", "Description": "Größe", "Comment": ""}


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\0\0"])
def test_a_picture_that_is_none_is_named(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: not a PNG picture"):
        read_picture(tmp_path / "a.png")


def test_text_is_escaped_and_markup_is_not():
    assert element("p", "a < b", element("b", "&"), title='"') == '<p title="&quot;">a &lt; b<b>&amp;</b></p>'
    assert joined("<", Html("<br>")) == "&lt;<br>"


def test_empty_sections_are_left_out():
    found = Page(page("title", "words", {"One": Html(), "Two words": element("p", "x")}))
    assert found.texts("h2") == ["Two words"]
    assert [attributes["href"] for _, attributes, _ in found.all("a")] == ["#content", "#two-words"]
