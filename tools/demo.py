#!/usr/bin/env python3
"""Measure and show guided perturbations on the built-in digit scenes (make demo): about 3 minutes.

Writes results.json and one self-contained index.html.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# Threads that wait sleep instead of spinning: the same speed on a free machine, several times faster on a
# busy one. Must be set before PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from caffe_gp.cli.exit_codes import finish  # noqa: E402
from caffe_gp.cli.options import add_engine  # noqa: E402


def main() -> int:
    """Parse the arguments, measure, print the table, write the report."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    add("--out", type=Path, default=Path("reports/demo"), help="folder for results.json and index.html")
    add("--prototxt", type=Path, default=ROOT / "prototxt" / "digits" / "deploy.prototxt")
    add("--caffemodel", type=Path, default=ROOT / "models" / "digits" / "digits.caffemodel")
    add("--scenes", type=int, default=400, help="test scenes")
    add("--validation", type=int, default=200, help="validation scenes, on which every eps is chosen")
    add("--batch-size", type=int, default=20, help="scenes in one pass")
    add_engine(parser)
    add("--picture", type=Path, help="also write a PNG panel of three successes")
    add("--quiet", action="store_true", help="no progress bar, no table")
    args = parser.parse_args()

    def work() -> None:
        from caffe_gp.experiments import demo, demo_page, demo_text
        from caffe_gp.files.json_files import write_json
        from caffe_gp.report.page import save_page
        from caffe_gp.report.pictures import save_png

        settings = demo.Settings(
            args.prototxt,
            args.caffemodel,
            args.out,
            args.scenes,
            args.validation,
            args.batch_size,
            args.engine,
            args.device,
            args.quiet,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        )
        results, gallery = demo.run(settings)
        write_json(args.out / "results.json", results)
        save_page(args.out / "index.html", demo_page.html(results, gallery))
        if args.picture:
            save_png(args.picture, demo_page.picture(gallery))
        if not args.quiet:
            print(demo_text.table(results))
            print(f"\nthe whole report: {(args.out / 'index.html').resolve()}")

    return finish(work, tool="demo", on_interrupt="The same command goes on from the finished parts.")


if __name__ == "__main__":
    sys.exit(main())
