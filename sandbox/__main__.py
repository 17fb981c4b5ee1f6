"""`python -m sandbox`: the sandbox provider on its own."""

import argparse
import json
import sys
from pathlib import Path

from sandbox import server
from sandbox.faults import BadFault, read_fault
from sandbox.inventory import PLAIN_NUMBERS, SEED
from sandbox.keys import BadKey, make_key, read_key
from sandbox.practice import RULES


def main(arguments=None):
    """Run the sandbox with these arguments; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        keys = [read_key(text) for text in options.key]
        for path in options.keys_file:
            keys += [make_key(**record) for record in json.loads(path.read_text())]
        faults = [json.loads(text) if text.startswith("{") else read_fault(text) for text in options.fault]
        return server.serve(
            state_dir=options.state,
            port=options.port,
            host=options.host,
            rate_limit=options.rate_limit,
            seed=options.seed,
            keys=keys,
            faults=faults,
            plain_numbers=options.numbers,
            practice=options.practice,
            slow_seconds=options.slow_seconds,
            control=options.control,
            quiet=options.quiet,
        )
    except (BadFault, BadKey) as error:
        print(error, file=sys.stderr)
    except (OSError, TypeError, ValueError) as error:
        print(f"The sandbox cannot start: {error}", file=sys.stderr)
    return 1


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="A stand-in for the IdentityCall API on 127.0.0.1. Nothing real is bought.",
        epilog=RULES + "\nKeys and faults: see sandbox/README.md.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--port", type=int, default=8001, help="port to listen on (default 8001; 0 picks a free one)"
    )
    parser.add_argument("--host", default=server.HOST, help="127.0.0.1; any other address is refused")
    parser.add_argument(
        "--state", type=Path, required=True, metavar="DIR", help="directory for the state of the account"
    )
    parser.add_argument(
        "--rate-limit", type=_count, default=60, help="requests per minute for each key; 0 for no limit"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the numbers on offer")
    parser.add_argument(
        "--numbers",
        type=_count,
        default=PLAIN_NUMBERS,
        help="ordinary numbers on offer in each country and type",
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="NAME=SECRET[:read+write[:PROJECT]]",
        help="add a key",
    )
    parser.add_argument(
        "--keys-file", action="append", default=[], type=Path, help="add the keys of a JSON list"
    )
    parser.add_argument(
        "--fault", action="append", default=[], metavar="KIND[:OPTION=VALUE,...]", help="set a fault"
    )
    parser.add_argument("--slow-seconds", type=float, default=8, help="how long a slow practice number takes")
    parser.add_argument("--no-practice", dest="practice", action="store_false", help="no practice numbers")
    parser.add_argument("--no-control", dest="control", action="store_false", help="no /_control/ endpoint")
    parser.add_argument("--quiet", action="store_true", help="do not log requests")
    return parser


def _count(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("must be a whole number, 0 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
