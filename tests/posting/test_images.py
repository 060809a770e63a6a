"""Images of reports: which are published, where, and that all else stays as its author wrote it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from mlops_nb.core.cutting import cut
from mlops_nb.errors import InvalidInput
from mlops_nb.posting.images import images, replaced
from mlops_nb.posting.workspace import Workspace, image_mime
from tests.forges.github import LoopbackGitHub
from tests.object_stores import BUCKET, S3Server, s3  # noqa: F401 - a fixture
from tests.posting.conftest import PNG, StepAt

SHOWN = """# ![](h.png) heading #

- [x] task $ x * y $ and ![a](one.png "t") `![](code.png)` ![](one.png)
  ![b][ref] ![ref] \\![no](esc.png) https://x.y/?a=1&b=2

> quote ![q](<a b.png>) [![n](nested.png)](link.md)
> second ![z](z.png)

| a | b |
|---|---|
| ![](c.png) | ![](c.png) <img src='t.png'> |

<details><summary>x</summary>
<img alt="x" src="html.png?a=1&amp;b=2"> <!-- <img src="comment.png"> -->

text <img src=bare.png> ![alt ![](inner.png)](outer.png)

</details>

```
![](fenced.png)
```

    ![](indented.png)

[ref]: def.png "title"
[unused]: /etc/hostname
[link](file.txt)
1. item

   ![](in%20list.png)
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_what_is_shown_is_found_and_only_addresses_change(end: str) -> None:
    text = SHOWN.replace("\n", end)
    found = images(text)
    assert [one.address for one in found] == [
        *("h.png", "one.png", "one.png", "a b.png", "nested.png", "z.png", "c.png", "c.png", "t.png", "html.png?a=1&b=2"),
        *("bare.png", "outer.png", "def.png", "in%20list.png"),
    ]
    changed = replaced(text, found, {one.start: f"https://home/{place}?v=1&w=2" for place, one in enumerate(found)})
    assert [one.address for one in images(changed)] == [f"https://home/{place}?v=1&w=2" for place in range(len(found))]
    back = re.sub(r"\"?https://home/(\d+)\?v=1&(?:amp;)?w=2\"?", lambda m: f"@{m[1]}@", changed)
    place = iter(range(99))
    plain = "".join(
        part
        for start, end_ in zip([0, *(one.end for one in found)], [*(one.start for one in found), len(text)], strict=True)
        for part in ([text[start:end_], f"@{next(place)}@"])
    )
    assert re.sub(r"\"?(@\d+@)\"?", r"\1", back) == re.sub(r"\"?(@\d+@)\"?", r"\1", plain).removesuffix(f"@{len(found)}@")


HOSTILE = [
    "![](" * 2000,
    "[" * 5000 + "![](a.png)",
    "![a](<b\n.png>)",
    "<img src=" * 500,
    "![](a.png\x00)",
    "> " * 200 + "![](a.png)",
    "|a|\n|-|\n|![](a.png)\\|x|",
    "\t![](tab.png)\n- \t![](tab2.png)",
    "![](\u202e.png) \ufeff![](b.png)",
    "<svg><img src='a.png'/></svg>\r![](cr.png)\r\n",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_markdown_is_read_in_time_and_replacing_nothing_changes_nothing(text: str) -> None:
    found = images(text)
    assert replaced(text, found, {}) == text
    for one in found:
        assert 0 <= one.start < one.end <= len(text)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "workspace"
    (root / "plots").mkdir(parents=True)
    (root / "plots" / "roc.png").write_bytes(PNG)
    (tmp_path / "outside.png").write_bytes(PNG)
    yield root


def test_what_lies_outside_or_is_hidden_or_no_image_is_refused(place: Path, tmp_path: Path) -> None:
    (place / ".env").write_bytes(PNG)
    (place / ".git").mkdir()
    (place / ".git" / "x.png").write_bytes(PNG)
    (place / "out.png").symlink_to(tmp_path / "outside.png")
    (place / "folder").symlink_to("/etc")
    (place / "secret.png").write_text("AWS_SECRET_ACCESS_KEY=1")
    (place / "pipe.png").symlink_to("/dev/zero")
    (place / "evil.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    workspace = Workspace(place, place, max_bytes=1000)
    (place / "large.png").write_bytes(PNG + b"\0" * 1000)
    for address in (
        *("/etc/hostname", "../outside.png", "out.png", "folder/hostname", "folder/passwd", ".env", ".git/x.png", "secret.png", "pipe.png"),
        *("plots", "evil.svg", "large.png", "plots/../../outside.png", "%2e%2e/outside.png", "a\0b.png", "/proc/self/environ", "."),
    ):
        with pytest.raises(InvalidInput):
            workspace.image(address)
    assert workspace.image("plots/roc.png") is not None and workspace.image(str(place / "plots" / "roc.png")) is not None
    assert workspace.image("https://example.org/x.png") is None and workspace.image("//example.org/x.png") is None
    assert workspace.image("file:///etc/hostname") is None


def test_the_kind_of_an_image_is_told_by_its_content() -> None:
    svg = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>'
    assert [image_mime(one) for one in (PNG, b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\0\0\0\0WEBP", svg)] == [
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"),
    ]
    for active in (b"<svg onload=x()>", b"<svg><a href='http://x'/></svg>", b"<!DOCTYPE svg [<!ENTITY a 'b'>]><svg/>", b"<html>", b""):
        assert image_mime(active) is None


def test_a_report_shows_its_images_from_the_repository_and_links_stay(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    number = hub.open_pull("topic").number
    (work / "roc.png").write_bytes(PNG)
    data = base64.b64encode(PNG + b"2").decode()
    text = "![roc](roc.png) [data](roc.png) ![](/etc/hostname) ![](../x.png) - [x] a & b <img src='roc.png'> "
    text += f"![](data:image/png;base64,{data})\n"
    (work / "report.md").write_text(text)
    result = step_at("pull_request", number)("comment", "create", "report.md")
    assert result.exit_code == 0, result.output
    body = hub.comments_of(number)[0]["body"]
    urls = re.findall(r"http[^)' ]+", body)
    assert len(urls) == 3 and urls[0] == urls[1] != urls[2]
    assert re.sub(r"http[^)' ]+", "URL", body).endswith(
        "![roc](URL) [data](roc.png) ![](/etc/hostname) ![](../x.png) - [x] a & b <img src='URL'> ![](URL)\n"
    )
    assert "/etc/hostname" in result.stderr and "outside" in result.stderr
    names = hub.git.git("ls-tree", "-r", "--name-only", "mlops-reports").split("\n")
    assert sum(name.endswith(".png") for name in names) == 2
    assert not any(b"debian" in (hub.git.read("mlops-reports", name) or b"") for name in names)


def test_no_publish_leaves_the_report_as_it_is(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    number = hub.open_pull("topic").number
    (work / "roc.png").write_bytes(PNG)
    (work / "report.md").write_text("![](roc.png)")
    step_at("pull_request", number).url("comment", "create", "--no-publish", "report.md")
    assert hub.comments_of(number)[0]["body"].endswith("![](roc.png)") and hub.git.resolve("mlops-reports") is None


def test_a_public_place_gets_nothing(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    number = hub.open_pull("topic").number
    (work / "roc.png").write_bytes(PNG)
    (work / "report.md").write_text("![](roc.png)")
    result = step_at("pull_request", number)("comment", "create", "--publish-url", "https://asset.cml.dev", "report.md")
    assert result.exit_code == 0 and "Nothing is published at https://asset.cml.dev" in result.stderr
    assert hub.origin in hub.comments_of(number)[0]["body"]


def test_assets_are_printed_as_cml_prints_them_and_appended(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    (work / "roc.png").write_bytes(PNG)
    (work / "report.md").write_text("# Report\n")
    step = step_at()
    url = step.url("asset", "publish", "roc.png")
    assert step.url("asset", "publish", "--md", "roc.png") == f"![]({url})"
    assert step.url("publish", "--md", "-t", 'a "b"', "roc.png", "--native") == f'![]({url} "a \\"b\\"")'
    assert step.url("asset", "publish", "--md", "--title=ROC", "roc.png", "-f", "report.md") == ""
    assert (work / "report.md").read_text() == f'# Report\n![]({url} "ROC")\n'


def test_texts_are_cut_outside_of_what_is_open() -> None:
    text = "start\n\n<details><summary>s</summary>\n\n~~~~\n" + "line\n" * 100 + "~~~~\n\n</details>\nend\n"
    for size in range(60, len(text), 7):
        short = cut(text, size, "NOTE")
        assert len(short) <= size and short.endswith("NOTE\n")
        assert short.count("~~~~") % 2 == 0 and short.count("<details>") == short.count("</details>")
    assert cut(text, len(text), "NOTE") == text
    assert len(cut("x" * 1000, 100, "NOTE")) <= 100 and cut("`<details>`\n" * 50, 300, "N").count("</details>") == 0


def test_images_may_go_to_a_bucket_of_ones_own(
    hub: LoopbackGitHub,
    work: Path,
    step_at: StepAt,
    s3: S3Server,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = hub.open_pull("topic").number
    (work / "roc.png").write_bytes(PNG)
    (work / "report.md").write_text("![](roc.png)")
    step = step_at("pull_request", number, **s3.environment)
    step.url("comment", "create", "--publish-url", f"s3://{BUCKET}/ci?base=https://plots.example.org/ci", "report.md")
    assert re.search(r"!\[\]\(https://plots\.example\.org/ci/[0-9a-f]{32}\.png\)$", hub.comments_of(number)[0]["body"])
    signed = step.url("asset", "publish", "--url", f"s3://{BUCKET}/ci", "roc.png")
    assert requests.get(signed, timeout=10).content == PNG
    assert len(s3.keys("ci/")) == 1 and hub.git.resolve("mlops-reports") is None
