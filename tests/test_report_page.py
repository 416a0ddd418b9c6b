import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

import report_samples as samples
from shrinkwise.experiments.records import Status
from shrinkwise.experiments.report import page, plot
from shrinkwise.experiments.report.words import estimand
from shrinkwise.experiments.stats.uncertainty import AS_GIVEN, CROSSED, OVERLAP_BY_SIZES

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (found := shutil.which(name))), None
)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--virtual-time-budget=8000",
]  # fmt: skip
VOID = {"meta", "link", "img", "br", "input", "hr", "base", "source", "area", "col", "embed", "track", "wbr"}


class Dom(HTMLParser):
    """Elements of a page with their ancestors, its text outside of scripts, and everything that a browser would fetch."""

    def __init__(self, html):
        super().__init__()
        self.stack, self.found, self.text, self.fetched, self.styles = [], [], "", [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.found.append((tag, attributes, tuple(self.stack)))
        names = {"script": "src", "link": "href", "img": "src", "iframe": "src", "image": "href"}
        self.fetched += [attributes[names[tag]]] if attributes.get(names.get(tag)) else []
        self.styles += attributes.get("style") or ""
        if tag not in VOID:
            self.stack.append((tag, attributes))

    def handle_endtag(self, tag):
        while self.stack and self.stack.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self.stack and self.stack[-1][0] == "style":
            self.styles += data
        elif not any(tag == "script" for tag, _ in self.stack):
            self.text += data

    def inside(self, id_, class_):
        """Return how many elements of a class stand inside the element with the given id."""
        return sum(
            class_ in (attributes.get("class") or "").split() and any(above.get("id") == id_ for _, above in stack)
            for _, attributes, stack in self.found
        )


def charts_of(html):
    embedded = re.search(r'<script type="application/json" id="charts">(.*?)</script>', html, re.DOTALL)
    return json.loads(embedded.group(1))


def make_page(name):
    sample = samples.SAMPLES[name]()
    return sample, page(sample.answer, sample.study, sample.records)


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_page_is_whole_and_fetches_nothing(name):
    sample, html = make_page(name)
    dom = Dom(html)

    assert " ".join(dom.text.split()).count(sample.answer.sentence) == 1
    assert not [address for address in dom.fetched if not address.startswith("data:")]
    assert "@import" not in dom.styles
    assert "url(" not in dom.styles
    assert html.count("plotly.js v") == 1
    places = {attributes.get("id") for tag, attributes, _ in dom.found if tag == "div"}
    assert {chart["id"] for chart in charts_of(html)} <= places
    headers = [attributes for tag, attributes, _ in dom.found if tag == "th"]
    assert headers
    assert all(attributes.get("scope") in {"row", "col"} for attributes in headers)
    assert all(attributes["aria-label"] for _, attributes, _ in dom.found if attributes.get("role") == "img")


def test_page_forbids_the_network_and_foreign_scripts():
    _, html = make_page("foreign")
    policy = next(attributes["content"] for tag, attributes, _ in Dom(html).found if attributes.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]


def test_page_is_the_same_bytes_again():
    assert make_page("classic")[1] == make_page("classic")[1]


def test_page_escapes_what_users_named():
    _, html = make_page("foreign")

    assert samples.EVIL not in html
    assert "alert(" in Dom(html).text
    assert [attributes.get("type") for tag, attributes, _ in Dom(html).found if tag == "script"] == ["application/json", None, None]
    labels = [label for chart in charts_of(html) for label in chart["layout"]["yaxis"].get("ticktext", [])]
    assert any("&lt;script&gt;" in label for label in labels)


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("foreign", ["While training", "The network", "What early stopping leaves", "Where it matters", "weight norm"]),
        ("single condition", ["Where it matters"]),
        ("classic", []),
    ],
)
def test_page_leaves_out_sections_without_data(name, absent):
    text = Dom(make_page(name)[1]).text
    sections = [
        "How strong a penalty?",
        "Seed by seed",
        "Where it matters",
        "What early stopping leaves",
        "While training",
        "The network",
    ]
    sections += ["weight norm", "What exactly is estimated", "The command that reproduces it"]
    assert [section for section in sections if section not in text] == [each for each in sections if each in absent]


FINITE, NADEAU, GIVEN = "the finite test set of 181 rows", "Nadeau and Bengio", "taken as given"


@pytest.mark.parametrize(
    ("method", "is_resampled", "said"),
    [
        (CROSSED, True, {FINITE, "Every seed cuts its own", "crossed random effects"}),
        (CROSSED, False, {FINITE, "All seeds are tested on the same rows", "crossed random effects"}),
        (OVERLAP_BY_SIZES, True, {FINITE, "Every seed cuts its own", NADEAU}),
        (AS_GIVEN, False, {"For accuracy and loss", GIVEN}),
        (AS_GIVEN, True, {"For accuracy and loss", GIVEN, "Every seed cuts its own"}),
    ],
)
def test_page_says_of_the_test_rows_what_the_method_did(method, is_resampled, said):
    sample = samples.classic()
    compared = tuple(
        replace(each, difference=replace(each.difference, method=f"t, {method}")) for each in sample.answer.comparisons
    )
    sentences = estimand(replace(sample.answer, comparisons=compared), replace(sample.study, is_resampled=is_resampled))

    text = " ".join(sentence for sentence in sentences if not sentence.startswith("Intervals cover"))
    every = {FINITE, NADEAU, GIVEN, "Every seed cuts its own", "All seeds are tested on the same rows", "crossed random effects"}
    assert {words for words in every | said if words in text} == said


def test_page_names_the_metric_whose_test_set_is_taken_as_given():
    sample = samples.classic()
    methods = {"accuracy": CROSSED, "loss": AS_GIVEN}
    compared = tuple(
        replace(each, difference=replace(each.difference, method=methods[each.metric])) for each in sample.answer.comparisons
    )
    text = " ".join(estimand(replace(sample.answer, comparisons=compared), sample.study))
    assert "For loss, the test set is taken as given" in text
    assert FINITE in text


@pytest.mark.parametrize(("n", "shown", "more"), [(0, 2, ""), (9, 10, "+1 more"), (30, 10, "+22 more")])
def test_page_says_why_runs_failed(n, shown, more):
    sample = samples.classic()
    broken = [
        replace(record, status=Status.FAILED, last=None, best_val=None, message=f"ValueError: <b>{record.key.seed}</b>\nmore")
        for record in sample.records
        if record.status is Status.DONE
    ]
    html = page(sample.answer, sample.study, [*(r for r in sample.records if r.status is Status.DIVERGED), *broken[:n]])
    dom = Dom(html)

    table = dom.text[dom.text.index("Runs that failed or diverged") :].split("How strong a penalty?")[0]
    assert table.count("diverged") + table.count("failed") - 2 == shown
    assert "loss is NaN" in table
    assert ("ValueError: <b>0</b> more" in table) == (n > 0)
    assert (more in table) if more else ("more" not in table)


def test_page_without_trouble_has_no_list_of_it():
    sample = samples.classic()
    done = [record for record in sample.records if record.status is Status.DONE]
    assert "Runs that failed" not in page(sample.answer, sample.study, done)


def test_page_writes_no_nan():
    _, html = make_page("one seed")
    assert not re.search(r"\bnan\b", Dom(html).text, re.IGNORECASE)
    assert "NaN" not in json.dumps(charts_of(html))


@pytest.mark.skipif(BROWSER is None, reason="neither chromium nor chrome is on PATH")
@pytest.mark.parametrize("name", ["classic", "one seed", "foreign"])
def test_page_draws_every_chart_in_a_browser(name, tmp_path):
    sample, html = make_page(name)
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "report.html").as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    dom = Dom(done.stdout.decode())

    charts = [chart["id"] for chart in charts_of(html)]
    assert len(charts) >= 2
    assert {id_: dom.inside(id_, "main-svg") > 0 for id_ in charts} == dict.fromkeys(charts, True)
    assert {id_: dom.inside(id_, "trace") > 0 for id_ in charts} == dict.fromkeys(charts, True)
    assert sample.answer.sentence in " ".join(dom.text.split())
    assert not [address for address in dom.fetched if re.match(r"(https?:)?//", address)]
    assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", dom.styles)


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_figures_save_as_pdf_and_png(name, tmp_path):
    sample = samples.SAMPLES[name]()
    figures = plot(sample.answer, sample.study)

    assert list(figures) == ["strength", "differences"]
    for title, figure in figures.items():
        figure.savefig(tmp_path / f"{title}.png", dpi=40)
        assert (tmp_path / f"{title}.png").stat().st_size > 1000
    figures["differences"].savefig(tmp_path / "differences.pdf")


def test_figures_show_differences_in_points():
    sample = samples.classic()
    panel = plot(sample.answer, sample.study)["differences"].axes[1]
    expected = [100 * value for value in sample.answer.comparisons[7].differences]
    assert any(list(line.get_xdata()) == pytest.approx(expected) for line in panel.lines)
    assert any("−67.37" in note.get_text() for note in panel.texts)


def test_figures_leave_out_what_has_no_data():
    sample = samples.classic()
    lonely = type(sample.answer)(**{**vars(sample.answer), "variants": sample.answer.variants[:1], "comparisons": ()})
    assert plot(lonely, sample.study) == {}


def test_report_needs_no_torch_and_no_optional_library_at_import():
    code = (
        "import sys; before = set(sys.modules); import shrinkwise.experiments.report;"
        "print(sorted({'torch', 'pandas', 'rich', 'jinja2', 'plotly', 'matplotlib'} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
