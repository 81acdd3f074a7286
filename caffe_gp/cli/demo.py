"""``caffe_gp demo``: measure and show guided perturbations on the built-in digit scenes."""

from __future__ import annotations

import argparse
from pathlib import Path

from caffe_gp.cli import call, net_options, option_types, options
from caffe_gp.cli.extras import need

EXAMPLES = """
examples:
  caffe_gp demo                            a table, reports/demo/results.json and index.html
  caffe_gp demo --scenes 20 --validation 10 --out quick
"""

ON_INTERRUPT = options.RESUMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The net, how many scenes, the output."""
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        default=Path("reports/demo"),
        metavar="DIR",
        help="folder for results.json and index.html",
    )
    add("--picture", type=Path, metavar="FILE", help="also write a PNG panel of three successes")
    add("--scenes", type=option_types.count, default=400, metavar="N", help="test scenes")
    add(
        "--validation",
        type=option_types.count,
        default=200,
        metavar="N",
        help="scenes on which every eps is chosen",
    )
    options.add_data_folder(parser)
    options.add_batch_size(parser, default=20)
    net_options.add_engine(parser)
    options.add_quiet(parser)


def work(args: argparse.Namespace) -> None:
    """Measure; print the table; write the report."""
    need("demo", "the demo")
    call.check_output(args.out)
    if args.picture is not None:
        call.check_file(args.picture, "--picture")
    call.sleeping_threads()
    from caffe_gp.experiments import demo, demo_page, demo_text
    from caffe_gp.files.json_files import write_json
    from caffe_gp.report.pictures import save_png

    settings = demo.Settings(
        out=args.out,
        data_root=args.data_folder,
        scenes=args.scenes,
        validation=args.validation,
        batch_size=args.batch_size,
        engine=args.engine,
        device=args.device,
        quiet=args.quiet,
        command=args.command,
    )
    results, gallery = demo.run(settings)
    write_json(args.out / "results.json", results)
    demo_page.report(results, gallery, args.out).write_page(args.out)
    if args.picture:
        save_png(args.picture, demo_page.picture(gallery))
    if not args.quiet:
        print(demo_text.table(results))
        print(f"\nthe whole report: {(args.out / 'index.html').resolve()}")
        print(f"now your own net: {demo_page.OWN_NET.command}")
