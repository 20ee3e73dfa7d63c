"""`videoctx convert`."""

from collections.abc import Sequence

from jsonargparse.typing import PositiveInt

from videoctx.cli.tool_parser import net_from_config, tool_parser


def run_convert(arguments: Sequence[str]) -> None:
    """Convert weights of PyTorchVideo, PySlowFast, mmaction2, GluonCV, torchvision or videoctx.

    The network is the one that the weights belong to, or that of a config. Weights of images are inflated into a
    config's network, and context blocks that the weights lack are initialized as in a new network.
    """
    parser = tool_parser("videoctx convert", run_convert.__doc__)
    parser.add_argument("checkpoint", type=str, help="file with the weights")
    parser.add_argument("-o", "--output", type=str, required=True, help="file to write, for --model.weights")
    parser.add_argument(
        "--num_classes", type=PositiveInt | None, help="number of classes; if it differs, the classifier is new"
    )
    parser.add_argument("--trust", action="store_true", help="read pickles of Caffe2, which can run code")
    net, options = net_from_config(parser, arguments, required=False)

    from videoctx.models.checkpoints import convert_checkpoint

    print(
        convert_checkpoint(
            options.checkpoint,
            options.output,
            num_classes=options.num_classes,
            net=net.make,
            net_config=net.config,
            trust=options.trust,
        )
    )
