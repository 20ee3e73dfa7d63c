"""`videoctx convert`."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse.typing import PositiveInt

from videoctx.cli.output_path import writable_file
from videoctx.cli.tool_parser import net_from_config, tool_parser


def run_convert(arguments: Sequence[str]) -> None:
    """Convert weights of PyTorchVideo, PySlowFast, mmaction2, TSM, 3D-ResNets, GluonCV, torchvision or videoctx.

    The network is the one that the weights belong to, or that of a config. Weights of images are inflated into a
    config's network, and context blocks that the weights lack are initialized as in a new network. With --class_names,
    the output serves classify, attention and export without training.
    """
    parser = tool_parser("videoctx convert", run_convert.__doc__)
    parser.add_argument("checkpoint", type=str, help="file with the weights")
    parser.add_argument("-o", "--output", type=str, required=True, help="file to write, for --model.weights")
    parser.add_argument(
        "--num_classes", type=PositiveInt | None, help="number of classes; if it differs, the classifier is new"
    )
    parser.add_argument(
        "--class_names",
        type=str | None,
        metavar="FILE",
        help="file with one name per line; or kinetics400, kinetics600, kinetics700 or imagenet",
    )
    parser.add_argument(
        "--protocol",
        type=str | None,
        help="how clips are made: videoctx, nonlocal, pyslowfast, mmaction2, pytorchvideo, torchvision or tsm; by"
        " default as in the test of the project that the weights are from",
    )
    parser.add_argument(
        "--clip_len",
        type=PositiveInt | None,
        help="frames per clip; by default as stored, or as the file is named (8x8), or as usual in the project",
    )
    parser.add_argument(
        "--frame_interval", type=PositiveInt | None, help="distance between the frames of a clip; by default likewise"
    )
    parser.add_argument(
        "--sampling",
        type=str | None,
        help="what a clip is: dense, segments (one frame of each of clip_len parts of the video) or uniform; by default"
        " as stored, or as the network was published",
    )
    parser.add_argument("--trust", action="store_true", help="read pickles of Caffe2, which can run code")
    net, options = net_from_config(parser, arguments, required=False)

    writable_file(Path(options.output))

    from videoctx.inference.conversion import convert_checkpoint

    print(
        convert_checkpoint(
            options.checkpoint,
            options.output,
            num_classes=options.num_classes,
            class_names=options.class_names,
            net=net.make,
            protocol=options.protocol,
            clip_len=options.clip_len,
            frame_interval=options.frame_interval,
            sampling=options.sampling,
            trust=options.trust,
        )
    )
