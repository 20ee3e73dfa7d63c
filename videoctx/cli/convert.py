"""`videoctx convert`."""

from collections.abc import Sequence

from jsonargparse.typing import PositiveInt

from videoctx.cli.tool_parser import ToolParser, net_from_config
from videoctx.models.checkpoints import convert_checkpoint


def run_convert(arguments: Sequence[str]) -> None:
    """Take over weights of PyTorchVideo, PySlowFast, mmaction2, GluonCV, torchvision or videoctx.

    The network is the one that the weights are for, or that of a config: then images' weights are inflated into it, and
    context blocks that the weights do not have start as they do in a new network.
    """
    parser = ToolParser(prog="videoctx convert", description=run_convert.__doc__)
    parser.add_argument("checkpoint", type=str, help="the file with the weights")
    parser.add_argument("-o", "--output", type=str, required=True, help="file to write; model.weights takes it")
    parser.add_argument("--num_classes", type=PositiveInt | None, help="where others, the classifier is a new one")
    parser.add_argument("--trust", action="store_true", help="read Caffe2's pickles: say so if you trust the source")
    net, options = net_from_config(parser, arguments, required=False)
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
