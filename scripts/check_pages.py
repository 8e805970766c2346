"""Makes pages of several kinds of runs and looks at them in a real browser.

Trains one small run a kind on sample records (or takes run folders), makes each page in both languages, opens
it light and dark, 1,280 and 390 pixels wide, and fails where something is wider than the window, is written
over something else, a console message or a request appears, or the page is slow or large.

    pip install playwright        # drives an installed Chromium; nothing is downloaded
    python scripts/check_pages.py --output pages [--run DIR]... [--chromium /usr/bin/chromium]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

TASKS = ("afqmc", "tnews", "cluener", "cmrc2018", "chid", "c3", "webqa")
WIDTHS = (1280, 390)
SECONDS, BYTES = 2.0, 5_000_000

# What is wider than the window without a scroll bar of its own, and chart words that touch each other.
FAULTS = """() => {
  const faults = [];
  const inScroll = (one) => one.closest('.scroll') !== null;
  if (document.documentElement.scrollWidth > window.innerWidth)
    faults.push('the page is wider than the window: ' + document.documentElement.scrollWidth);
  for (const one of document.querySelectorAll('body *')) {
    const box = one.getBoundingClientRect();
    if (!inScroll(one) && box.width > 0 && box.right > window.innerWidth + 1)
      faults.push('cut: <' + one.tagName + '> ' + one.textContent.slice(0, 60));
  }
  for (const chart of document.querySelectorAll('svg.chart')) {
    const frame = chart.getBoundingClientRect();
    const texts = [...chart.querySelectorAll('text')];
    const words = texts.map((one) => [one.textContent, one.getBoundingClientRect()]);
    words.forEach(([text, box], place) => {
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1)
        faults.push('chart word outside its chart: ' + text);
      for (const [other, beside] of words.slice(place + 1))
        if (box.left < beside.right - 1 && beside.left < box.right - 1 &&
            box.top < beside.bottom - 2 && beside.top < box.bottom - 2)
          faults.push('chart words overlap: ' + text + ' | ' + other);
    });
  }
  return [...new Set(faults)].slice(0, 10);
}"""


def clue(*arguments: str) -> None:
    """Run one command, and stop where it fails."""
    subprocess.run([sys.executable, "-m", "clue_runner", *arguments], check=True, stdout=subprocess.DEVNULL)


def sample_run(task: str, folder: Path) -> Path:
    """Return a finished run of a few updates on sample records."""
    path = folder / "runs" / task
    own = task == "webqa"  # its network is not one of the presets for encoders
    model = ["--config", "reader-small"] if own else ["--model", "test"]
    options = ["--data", "sample", "--set", "train.max_steps=16", "--output", str(path)]
    clue("train", "--task", task, *model, *options)
    return path


def main() -> int:
    """Make the pages, look at them, and say what is wrong; return the number of faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("pages"))
    parser.add_argument("--run", type=Path, action="append", help="a run folder or a suite's; repeatable")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    given.output.mkdir(parents=True, exist_ok=True)
    runs = given.run or [sample_run(task, given.output) for task in TASKS]
    faults = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.chromium, args=["--no-sandbox"])
        for run in runs:
            for language in ("en", "zh"):
                page = given.output / f"{run.name}-{language}" / "report.html"
                clue("report", str(run), "--language", language, "--output", str(page))
                faults += look(browser, page.resolve(), given.output / f"{run.name}-{language}")
        browser.close()
    print(f"{faults} faults")
    return faults


def look(browser: object, page: Path, stem: Path) -> int:
    """Open a page in every form; return how many faults there are."""
    faults = [f"{page.stat().st_size:,} bytes"] if page.stat().st_size > BYTES else []
    fastest = float("inf")  # of four: what else runs on the machine is no fault of the page
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            tab = context.new_page()
            said: list[str] = []
            asked: list[str] = []
            tab.on("console", lambda message, said=said: said.append(message.text))
            tab.on("pageerror", lambda error, said=said: said.append(str(error)))
            tab.on("request", lambda request, asked=asked: asked.append(request.url))
            began = time.perf_counter()
            tab.goto(page.as_uri())
            tab.evaluate("document.body.offsetHeight")
            fastest = min(fastest, time.perf_counter() - began)
            others = [url for url in asked if url != page.as_uri() and not url.startswith("data:")]
            found = [*said, *(f"asked for {url}" for url in others), *tab.evaluate(FAULTS)]
            faults += [f"{width} {scheme}: {text}" for text in found]
            tab.screenshot(path=f"{stem}-{width}-{scheme}.png", full_page=True)
            context.close()
    if fastest > SECONDS:
        faults.append(f"opened in {fastest:.2f} s")
    print(f"{page.parent.name}: {page.stat().st_size:,} bytes, {fastest:.2f} s, {len(faults)} faults")
    for fault in faults:
        print(f"  {fault}")
    return len(faults)


if __name__ == "__main__":
    raise SystemExit(min(main(), 1))
