"""``caffe_gp explore``: a page on which a slider moves eps and the labels follow."""

from __future__ import annotations

import argparse
import sys

from caffe_gp.cli import call, net_options, option_types, options
from caffe_gp.cli.extras import need
from caffe_gp.errors import printable

MODEL = "digits"  # looked through where no net is given

EXAMPLES = """
examples:
  caffe_gp explore                                        the demo's net and six scenes, http://127.0.0.1:7860/
  caffe_gp explore --model fcn-32s --images photos
  caffe_gp explore --prototxt deploy.prototxt --caffemodel net.caffemodel --mean 104,117,123 --eps 0.5
  caffe_gp explore --module nets:make --weights w.pt --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
  on another machine, seen through ssh from this one:
    ssh -L 7860:127.0.0.1:7860 user@machine caffe_gp explore

The page answers to this machine only. Press Ctrl-C to end it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The net, the pictures, where the page is."""
    net_options.add_net(parser)
    group = parser.add_argument_group("pictures")
    group.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="DIR-or-LIST",
        help="pictures to offer: image files, folders, lists as of run (default: the demo's six scenes)",
    )
    group.add_argument("--palette", metavar="FILE", help="indexed PNG or text lines 'R G B' (default: VOC's)")
    group.add_argument(
        "--working-size",
        type=option_types.count,
        metavar="N",
        help="the longer side, in pixels, at which larger pictures are labelled by a net that takes any size "
        "(default: 512)",
    )
    net_options.add_preprocessing(group)
    group = parser.add_argument_group("method")
    net_options.add_blob(group)
    group.add_argument(
        "--eps",
        type=option_types.number,
        nargs=1,
        metavar="E",
        help="the step to begin with at --blob; the slider goes to three times as much (default: the "
        "model's, else chosen without labels on the first picture)",
    )
    group = parser.add_argument_group("page")
    group.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen; another one than this machine's own lets others in, without a password",
    )
    group.add_argument(
        "--port", type=option_types.port, default=7860, metavar="N", help="0: any that is free"
    )
    options.add_threads(group)


def work(args: argparse.Namespace) -> None:
    """Open the net and answer until Ctrl-C."""
    need("explore", "the explorer")
    call.sleeping_threads()
    from caffe_gp.evaluation.settings import NetSettings
    from caffe_gp.explore import server
    from caffe_gp.explore.net import WORKING, SharedNet
    from caffe_gp.images.inputs import read_palette

    given = call.given(args)
    images, host, port = given.pop("images"), given.pop("host"), given.pop("port")
    working, threads = given.pop("working_size", WORKING), given.pop("threads", None)
    palette = read_palette(given.pop("palette")) if "palette" in given else None
    if not {"model", "prototxt", "module"} & set(given):
        given["model"] = MODEL
    settings = call.settings_from(NetSettings, given)
    net = SharedNet(settings, working=working, threads=threads, palette=palette)

    def say(address: str) -> None:
        print(f"{printable(net.title)}: {address} (Ctrl-C ends it)", flush=True)
        if host not in server.LOOPBACK:
            print(
                f"warning: whoever reaches {host} can look too, without a password, and upload pictures",
                file=sys.stderr,
                flush=True,
            )

    server.serve(net, images, host=host, port=port, on_ready=say)
