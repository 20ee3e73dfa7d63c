"""`videoctx app`."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse.typing import restricted_number_type

from videoctx.cli.tool_parser import tool_parser

PORT = 7860
Port = restricted_number_type("Port", int, [(">=", 0), ("<=", 65535)], docstring="a port, 0 for any that is free")


def run_app(arguments: Sequence[str]) -> None:
    """Open a local page on which networks are tried: drop a video, see what it is, when, and where they look.

    Nothing leaves this computer, and no other computer reaches the page unless --host lets it.
    """
    parser = tool_parser("videoctx app", run_app.__doc__)
    parser.add_argument("ckpt_path", nargs="+", type=str, help="checkpoints of `videoctx fit` or `convert`")
    parser.add_argument("--manifest", type=Path | None, help="a manifest whose videos are examples")
    parser.add_argument("--run", type=Path | None, help="folder of a run of `videoctx test`, whose results are shown")
    parser.add_argument("--host", type=str, default="127.0.0.1", help="address of the page; 0.0.0.0 lets others in")
    parser.add_argument("--port", type=Port, default=PORT, help="port of the page; 0 for any that is free")
    parser.add_argument(
        "--private_urls", action="store_true", help="accept URLs of this computer and of its private network"
    )
    options = parser.parse_args(list(arguments))

    from videoctx.app.serving import listening_socket, serve, url_of

    with listening_socket(options.host, options.port) as opened:
        from videoctx.app.examples import read_examples
        from videoctx.app.networks import load_networks
        from videoctx.app.server import make_server
        from videoctx.app.tested_run import TestedRun
        from videoctx.app.workplace import Workplace

        examples = read_examples(options.manifest) if options.manifest else []
        run = TestedRun(options.run) if options.run else None
        networks = load_networks(options.ckpt_path)
        work = Workplace(networks, examples=examples, run=run, private_urls=options.private_urls)
        try:
            print(f"{url_of(options.host, opened)}\nCtrl-C ends it", flush=True)
            serve(make_server(work, host=options.host), opened)
        finally:
            work.close()
