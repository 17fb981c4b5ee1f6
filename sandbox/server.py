"""The sandbox as a server on 127.0.0.1: start it, stop it, and control it from a test.

with running(state_dir, rate_limit=0) as provider:
    provider.set_fault("reset_after", times=1)
    requests.post(f"{provider.api_url}/virtual_numbers/purchase", ...)
    assert provider.ledger() == [...]
"""

import contextlib
import errno
import signal
import socket
import socketserver
import sys
import threading
import time

from sandbox.api import BASE_PATH, ENDPOINTS, Api
from sandbox.faults import FaultPlan, make_fault
from sandbox.handler import Handler
from sandbox.inventory import PLAIN_NUMBERS, SEED, Inventory
from sandbox.keys import RateLimit, make_key
from sandbox.state import InUse, State
from sandbox.traffic import Traffic
from sandbox.wire import is_reset

HOST = "127.0.0.1"


class CannotStart(RuntimeError):
    """The sandbox cannot start with these options. The text of the error is written for people."""


class Listener(socketserver.ThreadingTCPServer):
    """Accepts connections and serves each in its own thread."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, provider, port):
        self.provider = provider
        super().__init__((HOST, port), Handler)

    def shutdown_request(self, request):
        if is_reset(request):  # an orderly shutdown first would send FIN, not RST
            request.close()
        else:
            super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """Ignore broken connections."""


class Provider:
    """A running sandbox. All methods are safe from any thread; each is also available at `/_control/` over HTTP.

    `state_dir` holds the state of the account. `rate_limit` is requests per key and minute (0: no limit), `keys` are
    additional keys, `faults` mappings as for `set_fault`. `practice` turns the practice numbers on, and
    `plain_numbers` is how many ordinary numbers are on offer in each country and type.
    """

    def __init__(
        self,
        state_dir,
        *,
        port=0,
        host=HOST,
        rate_limit=60,
        seed=SEED,
        keys=(),
        faults=(),
        plain_numbers=PLAIN_NUMBERS,
        practice=True,
        slow_seconds=8,
        control=True,
        quiet=True,
    ):
        if host != HOST:
            raise CannotStart(f"The sandbox listens on {HOST} only.")
        checked = [make_fault(options, endpoints=ENDPOINTS) for options in faults]
        self.has_control = control
        self.slow_seconds = slow_seconds
        self.quiet = quiet
        self.stopping = threading.Event()
        self.connections = set()
        self.life = 0  # counts resets: a late purchase from before a reset is not carried out
        self.traffic = Traffic()
        self.rate_limit = RateLimit(rate_limit)
        self.fault_plan = FaultPlan()
        for fault in checked:
            self.fault_plan.add(fault)
        self._listening = threading.Lock()
        self._listen_again_at = None
        self._hold_port(port)
        try:
            self.state = State(state_dir, keys=keys)
        except Exception:
            self._port_holder.close()
            raise
        self.api = Api(self.state, Inventory(seed, plain_numbers), practice_numbers=practice)
        self._listen()

    @property
    def url(self):
        return f"http://{HOST}:{self.port}"

    @property
    def api_url(self):
        """The base URL for a client."""
        return self.url + BASE_PATH

    # Reading

    def ledger(self):
        """Every accepted purchase: sequence, time, key (last four), phone_number, id, project_id, payload."""
        return self.state.ledger()

    def counters(self):
        """`total`, `requests` by endpoint and key, `purchase_posts` by phone number, `faults` by kind."""
        return self.traffic.counters() | {"faults": self.fault_plan.counts()}

    def requests(self, after=0):
        """The latest requests to the API, each with time, endpoint, key, phone_number, outcome and fault."""
        return self.traffic.latest(after)

    def owned(self):
        """The numbers on the account, of all projects, as VirtualNumber."""
        return self.state.numbers()

    def offers(self, country_code="US", number_type="mobile"):
        """The phone numbers still on offer; practice numbers come last."""
        offers = self.api.inventory.offers(country_code, number_type)
        return [offer.phone_number for offer in offers if not self.state.is_sold(offer.phone_number)]

    # Control

    def set_fault(self, kind, **options):
        """Set a fault and return its id, or raise BadFault; the options are the fields of `faults.Fault`."""
        return self.fault_plan.add(make_fault({"kind": kind, **options}, endpoints=ENDPOINTS))

    def faults(self):
        return self.fault_plan.all()

    def clear_faults(self, fault_id=None):
        """Clear one fault or all; the counters stay."""
        return self.fault_plan.clear(fault_id)

    def refuse(self, seconds):
        """Refuse connections for `seconds` from now."""
        self.fault_plan.count("refuse")
        self.stop_listening_for(seconds)

    def set_rate_limit(self, per_minute):
        self.rate_limit.per_minute = per_minute
        self.rate_limit.forget()

    def add_key(self, name, secret=None, **options):
        """Add a key, or replace the key of this name; the options are those of `sandbox.keys.make_key`."""
        key = make_key(name, secret, **options)
        self.state.add_key(key)
        return key

    def revoke_key(self, name):
        self.state.revoke_key(name)

    def release(self, phone_number):
        """Remove a number from the account, as the dashboard does; return False if it is not on the account."""
        return self.state.release(phone_number)

    def set_cost(self, phone_number, **costs):
        """Change the costs of an offer: `upfront_cost`, `monthly_cost`, as strings or anything else."""
        self.state.set_costs(phone_number, **costs)

    def reset(self):
        """Empty the account: delete ledger, faults, counters, changed costs and added keys."""
        self.life += 1
        self.fault_plan.reset()
        self.rate_limit.forget()
        self.traffic.reset()
        self.api.listings.clear()
        self.state.reset()

    def stop(self):
        """Stop at once: stop listening, shut open connections, close the files."""
        self.stopping.set()
        with self._listening:
            if self._listen_again_at is None:
                self._stop_listening()
            self._port_holder.close()
        for handler in list(self.connections):
            _shut(handler.connection)
        self.state.close()

    # For the handler

    def phone_number_of(self, call):
        """The number that a call is about, or None: for faults and counters."""
        if call.number_id is not None:
            number = self.state.number(call.number_id)
            return number and number.phone_number
        if call.endpoint == "purchase":
            with contextlib.suppress(Exception):
                phone_number = call.fields().get("phone_number")
                return phone_number if isinstance(phone_number, str) else None
        return None

    def bought_at(self, number_id):
        """When a number was bought (ISO 8601), released or not."""
        return self.state.bought_at(number_id)

    # Sockets

    def _hold_port(self, port):
        """Bind a socket that never listens, which keeps the port ours while connections are refused."""
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind((HOST, port))
        except OSError as error:
            holder.close()
            if error.errno == errno.EADDRINUSE:
                raise CannotStart(f"Port {port} is in use by another program.") from None
            raise CannotStart(f"Port {port} cannot be used: {error.strerror}.") from None
        except OverflowError:
            holder.close()
            raise CannotStart("The port must be a number from 1 to 65535.") from None
        self._port_holder = holder
        self.port = holder.getsockname()[1]

    def stop_listening_for(self, seconds):
        """Stop listening, drop idle connections, and listen again on the same port after `seconds`."""
        with self._listening:
            if self.stopping.is_set():
                return
            until = time.monotonic() + seconds
            if self._listen_again_at is not None:
                self._listen_again_at = max(until, self._listen_again_at)
                return
            self._listen_again_at = until
            self._stop_listening()
        for handler in list(self.connections):
            if not handler.is_busy:
                _shut(handler.connection)
        threading.Thread(target=self._listen_later, daemon=True).start()

    def _listen(self):
        self._listener = Listener(self, self.port)
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()

    def _stop_listening(self):
        self._listener.shutdown()
        self._listener.server_close()

    def _listen_later(self):
        while True:
            with self._listening:
                if self.stopping.is_set():
                    return
                left = self._listen_again_at - time.monotonic()
                if left <= 0:
                    self._listen()
                    self._listen_again_at = None
                    return
            self.stopping.wait(left)


@contextlib.contextmanager
def running(state_dir, **options):
    """Run a sandbox in this process during a with block; options as for Provider."""
    provider = Provider(state_dir, **options)
    try:
        yield provider
    finally:
        provider.stop()


def serve(*, state_dir, port=8001, quiet=False, **options):
    """Run a sandbox until SIGTERM or Ctrl-C; return 0, or 1 with a sentence on stderr if it cannot start."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        with running(state_dir, port=port, quiet=quiet, **options) as provider:
            print(f"Sandbox provider ready at {provider.api_url}", flush=True)
            ended.wait()
    except (CannotStart, InUse) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _shut(connection):
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
