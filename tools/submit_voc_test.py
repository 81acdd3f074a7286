#!/usr/bin/env python3
"""Table 3 on VOC2012 test: label the 1456 images and pack what the evaluation server scores, base and GP.

examples:
  tools/submit_voc_test.py --model fcn-8s                  reports/voc-test/fcn-8s/{base,eps_0.7}.tgz
  tools/submit_voc_test.py --model fcn-8s --device cuda
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from caffe_gp.cli.exit_codes import finish  # noqa: E402
from caffe_gp.cli.options import add_engine  # noqa: E402


def main() -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--model", default="fcn-8s", help="a net of the zoo (default: the paper's, fcn-8s)")
    parser.add_argument("--eps", type=float, help="step at the input (default: the paper's for the model)")
    parser.add_argument("--data-root", type=Path, help="folder of the data (default: CAFFE_GP_DATA or data)")
    parser.add_argument("--out", type=Path, default=Path("reports/voc-test"), help="folder of the archives")
    add_engine(parser)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    args = parser.parse_args()
    return finish(
        lambda: _run(args), tool="submit_voc_test", on_interrupt="The same command goes on where it stopped."
    )


def _run(args: argparse.Namespace) -> None:
    from caffe_gp.datasets import segmentation
    from caffe_gp.datasets.voc_submission import write_archive
    from caffe_gp.evaluation.segmentation import Evaluation, evaluate

    data = segmentation.get("voc2012-test", args.data_root).check()
    folder = args.out / args.model
    run = evaluate(
        Evaluation.of_model(
            args.model,
            data=data,
            out=folder / "run",
            eps=None if args.eps is None else [args.eps],
            save=("labels",),
            engine=args.engine,
            device=args.device,
            workers=args.workers,
            command=shlex.join(["tools/submit_voc_test.py", *sys.argv[1:]]),
        )
    )
    for variant in ("base", f"eps_{run.eps[0]:g}"):
        print(write_archive(data, run.folder / "labels" / variant, folder / f"{variant}.tgz"))


if __name__ == "__main__":
    sys.exit(main())
