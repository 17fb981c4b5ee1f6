"""Who may do what: one table of every address, method and role, with the people and records it needs."""

import html
import re
from copy import copy, deepcopy
from datetime import timedelta
from functools import cached_property

import requests
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from purchasing import clock, pasting
from purchasing.approving import approvals
from purchasing.asking import drafts
from purchasing.audit import restores
from purchasing.buying import evidence, held_purchases, procurement, rented
from purchasing.models import (
    Credential,
    Desk,
    Draft,
    Mail,
    Paste,
    Purchase,
    PurchaseRequest,
    RequirementGroup,
    StandIn,
    Team,
    User,
)
from purchasing.provider import offers, owned_list
from purchasing.teams import invitations, money_rules, papers, restore_alarm, stand_ins, stop_buying
from purchasing.worker import sweep
from tests import factories
from tests.healthy_provider import offer, owned

# The columns:
#   nobody     has not logged in                      approver   approves for the team
#   other      holds every role, but in another team  own        is an approver who asked for this themselves
#   asker      the requester who asked for this       admin      is the admin of the team
#   colleague  another requester of the team          auditor    reads every team
#   root       is a superuser                         gone       was an approver; the account is switched off
#   stand_in   stands in for the approver today, and is else a requester like the colleague
# The cells:
#   login      redirected to the log-in page          done       redirected, and something was changed
#   302        redirected, and nothing was changed    a number   that status, and nothing was changed
#   file       a file; only the record shows it       noted      200; only the record and the log-in counter change
# A method that is not listed answers 405 and changes nothing.
TABLE = """
address                           method nobody other asker colleague approver own   stand_in admin auditor root  gone

purchasing:home                   GET    login  200   200   200       200      200   200      200   200     200   login
purchasing:home-live              GET    login  200   200   200       200      200   200      200   200     200   login
purchasing:requests               GET    login  200   200   200       200      200   200      200   200     200   login
purchasing:numbers                GET    login  200   200   200       200      200   200      200   200     200   login
purchasing:audit                  GET    login  200   200   200       200      200   200      200   200     200   login
purchasing:teams                  GET    login  200   200   200       200      200   200      200   200     200   login

purchasing:audit-event            GET    login  404   200   200       200      200   200      200   200     200   login
purchasing:audit-csv              GET    login  file  file  file      file     file  file     file  file    file  login
purchasing:audit-jsonl            GET    login  file  file  file      file     file  file     file  file    file  login
purchasing:audit-xlsx             GET    login  file  file  file      file     file  file     file  file    file  login
purchasing:audit-proof            GET    login  403   403   403       403      403   403      403   200     200   login
purchasing:audit-proof-live       GET    login  403   403   403       403      403   403      403   200     200   login
purchasing:audit-check            POST   login  403   403   403       403      403   403      403   done    done  login
purchasing:audit-compare          POST   login  403   403   403       403      403   403      403   200     200   login
purchasing:story                  GET    login  404   200   200       200      200   200      200   200     200   login

purchasing:paste                  GET    login  200   200   200       403      200   200      403   403     200   login
purchasing:paste                  POST   login  done  done  done      403      done  done     403   403     done  login
purchasing:paste-verdicts         GET    login  404   200   404       404      200   404      404   404     404   login
purchasing:paste-verdicts         POST   login  404   done  404       404      done  404      404   404     404   login
purchasing:paste-live             GET    login  404   200   404       404      200   404      404   404     404   login
purchasing:paste-look-up          POST   login  404   done  404       404      done  404      404   404     404   login
purchasing:find                   GET    login  200   200   200       403      200   200      403   403     200   login
purchasing:find-pick              POST   login  302   done  done      403      done  done     403   403     done  login
purchasing:find-empty             POST   login  302   done  302       403      done  302      403   403     302   login
purchasing:request-new            GET    login  404   200   404       403      200   404      403   403     404   login
purchasing:request-new            POST   login  404   done  404       403      done  404      403   403     404   login
purchasing:request-names          GET    login  404   200   404       404      200   404      404   404     404   login
purchasing:draft-discard          POST   login  404   done  404       404      done  404      404   404     404   login
purchasing:request-again          POST   login  404   done  done      403      done  done     403   403     done  login

purchasing:request                GET    login  404   200   200       200      200   200      200   200     200   login
purchasing:request-live           GET    login  404   200   200       200      200   200      200   200     200   login
purchasing:request-edit           GET    login  404   200   403       403      200   403      403   403     403   login
purchasing:request-edit           POST   login  404   done  403       403      done  403      403   403     403   login
purchasing:request-approve        POST   login  404   403   403       done     403   done     403   403     done  login
purchasing:request-reject         POST   login  404   403   403       done     403   done     403   403     done  login
purchasing:request-seen           POST   login  404   403   403       done     403   done     403   403     done  login
purchasing:request-cancel         POST   login  404   done  403       302      done  403      302   403     302   login

purchasing:approvals              GET    login  200   403   403       200      200   200      403   403     200   login
purchasing:approvals-news         GET    login  200   403   403       200      200   200      403   403     200   login

purchasing:held                   GET    login  200   200   200       200      200   200      200   200     200   login
purchasing:held-give-up-several   POST   login  302   302   302       done     302   302      done  302     done  login
purchasing:held-try-again-several POST   login  302   302   302       done     302   302      403   302     done  login
purchasing:held-approve-again-several POST login 302 302   302       done     302   302      403   302     done  login
purchasing:held-keep-several      POST   login  302   302   302       403      302   302      done  302     done  login
purchasing:held-not-ours-several  POST   login  302   302   302       403      302   302      done  302     done  login
purchasing:purchase               GET    login  404   200   200       200      200   200      200   200     200   login
purchasing:purchase-bought        POST   login  404   403   403       done     403   403      done  403     done  login
purchasing:purchase-again         POST   login  404   403   403       done     403   done     403   403     done  login
purchasing:purchase-give-up       POST   login  404   403   403       done     403   403      done  403     done  login
purchasing:purchase-approve-again POST   login  404   403   403       done     403   done     403   403     done  login

purchasing:purchase-stop-watching POST   login  404   403   403       done     403   403      done  403     done  login
purchasing:purchase-release       POST   login  404   403   403       403      403   403      done  403     done  login

purchasing:purchase-keep          POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:purchase-not-ours      POST   login  404   403   403       403      403   403      done  403     done  login

purchasing:team                   GET    login  404   200   200       200      200   200      200   200     200   login
purchasing:team-stop              POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:team-go-on             POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:team-rules             POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:team-stand-in          POST   login  404   403   403       done     403   403      done  403     done  login
purchasing:team-stand-in-end      POST   login  404   403   403       done     403   done     done  403     done  login

purchasing:team-key               GET    login  404   403   403       403      403   403      200   403     200   login
purchasing:team-key               POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:team-key-test          POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:team-key-scope         POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:team-key-rate          POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:team-key-remove        POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:team-key-right         POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:team-rented            GET    login  404   403   403       403      403   403      200   403     200   login
purchasing:team-rented-keep       POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:team-rented-dismiss    POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:team-missing           GET    login  404   403   403       403      403   403      200   403     200   login
purchasing:team-missing-gone      POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:team-invite            POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:member                 GET    login  404   403   403       403      403   403      200   403     200   login
purchasing:member-roles           POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:member-remove          POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:member-link            POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:person-off             POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:person-on              POST   login  404   403   403       403      403   403      done  403     done  login

purchasing:papers                 GET    login  404   200   200       200      200   200      200   200     200   login
purchasing:papers                 POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:papers-entry           GET    login  404   403   403       403      403   403      200   403     200   login
purchasing:papers-entry           POST   login  404   403   403       403      403   403      done  403     done  login
purchasing:papers-remove          POST   login  404   403   403       403      403   403      done  403     done  login

purchasing:team-new               GET    login  403   403   403       403      403   403      403   403     200   login
purchasing:team-new               POST   login  403   403   403       403      403   403      403   403     done  login
purchasing:team-rename            POST   login  404   403   403       403      403   403      403   403     done  login
purchasing:team-switch-off        POST   login  404   403   403       403      403   403      403   403     done  login
purchasing:team-switch-on         POST   login  404   403   403       403      403   403      403   403     done  login

purchasing:alarm-go-on            POST   login  403   403   403       403      403   403      403   403     done  login
purchasing:stop-all               POST   login  403   403   403       403      403   403      403   403     done  login
purchasing:go-on-all              POST   login  403   403   403       403      403   403      403   403     done  login

login                             GET    200    200   200   200       200      200   200      200   200     200   200
login                             POST   noted  noted noted noted     noted    noted noted    noted noted   noted noted
login                             PUT    200    200   200   200       200      200   200      200   200     200   200
logout                            POST   login  done  done  done      done     done  done     done  done    done  login
password_change                   GET    login  200   200   200       200      200   200      200   200     200   login
password_change                   POST   login  done  done  done      done     done  done     done  done    done  login
password_change                   PUT    login  200   200   200       200      200   200      200   200     200   login
password_change_done              GET    login  200   200   200       200      200   200      200   200     200   login
unsent                            GET    login  302   302   302       302      302   302      302   302     302   login
unsent                            POST   login  302   302   302       302      302   302      302   302     302   login
welcome                           GET    200    200   200   200       200      200   200      200   200     200   200
welcome                           POST   200    200   200   200       200      200   200      200   200     200   200

mail-settings                     GET    login  200   200   200       200      200   200      200   200     200   login
mail-settings                     POST   login  done  done  done      done     done  done     done  done    done  login
purchasing:mails                  GET    login  200   200   200       200      200   200      200   200     200   login
purchasing:mail                   GET    login  404   200   404       404      200   404      404   404     404   login
purchasing:mail-html              GET    login  404   200   404       404      200   404      404   404     404   login

healthz                           GET    200    200   200   200       200      200   200      200   200     200   200
readyz                            GET    200    200   200   200       200      200   200      200   200     200   200
favicon                           GET    302    302   302   302       302      302   302      302   302     302   302
favicon                           POST   302    302   302   302       302      302   302      302   302     302   302
favicon                           PUT    302    302   302   302       302      302   302      302   302     302   302
favicon                           PATCH  302    302   302   302       302      302   302      302   302     302   302
favicon                           DELETE 302    302   302   302       302      302   302      302   302     302   302
"""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_head, *_rows = [line.split() for line in TABLE.splitlines() if line]
ROLES = _head[2:]
# (address, method): {role: cell}
ROWS = {(row[0], row[1]): dict(zip(ROLES, row[2:], strict=True)) for row in _rows}
ADDRESSES = list(dict.fromkeys(address for address, _ in ROWS))

HELD = {
    "nobody": [],
    "other": ["requester", "approver", "admin"],
    "asker": ["requester"],
    "colleague": ["requester"],
    "approver": ["approver"],
    "own": ["requester", "approver"],
    "admin": ["admin"],
    "gone": ["approver"],
}
NAMES = {"asker": "sam", "approver": "ana", "admin": "tom"}
NUMBER = "+12125550101"
TEXT = "+1 212 555 0142\n+1 212 555 0143"
NEW_PASSWORD = "another password of the tests"


def words(response) -> str:
    """The visible text of a page: without tags, with runs of blanks as one space."""
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def snapshot():
    """Every row of every table of Number Desk."""
    rows = {}
    with connection.cursor() as cursor:  # many times faster than the ORM
        for model in apps.get_app_config("purchasing").get_models():
            cursor.execute(f"SELECT * FROM {model._meta.db_table} ORDER BY {model._meta.pk.column}")
            rows[model] = cursor.fetchall()
    return rows


class Scene:
    """Two teams, the people of the table's columns, and the records that an address needs, created on demand.

    What is looked at was asked for by `sam`, or by the approver `own`.
    """

    def __init__(self, provider, *, own=False):
        self.provider = provider
        provider.owned_numbers.clear()
        self.team, self.sales = factories.team(), factories.team("Sales", key="idc_" + "s" * 32)
        self.sam = factories.member("sam", self.team, "requester")
        self.ana = factories.member("ana", self.team, "approver")
        self.asker = self.person("own") if own else self.sam
        Desk.objects.update(swept_at=clock.now())

    def log_everybody_in(self):
        """Make the people of all columns and a session for each, for scenes that begin `on` this one."""
        self.sessions = {role: self.client(role).cookies for role in ROLES}
        self.own = User.objects.get(username="own")
        User.objects.update(last_login=None)

    def on(self, provider, *, own=False) -> "Scene":
        """A scene with the same teams and people, in which nothing was asked for yet."""
        scene = copy(self)
        scene.provider, scene.asker = provider, self.own if own else self.sam
        provider.owned_numbers.clear()
        Desk.objects.update(swept_at=clock.now())
        return scene

    def browser(self, role, **options) -> Client:
        """A browser with the session of that person, once everybody is logged in."""
        client = Client(**options)
        client.cookies = deepcopy(self.sessions[role])
        return client

    def person(self, role) -> User | None:
        """The person of a column of the table."""
        if role == "auditor":
            return factories.auditor()
        if role == "root":
            return User.objects.filter(username="root").first() or factories.superuser()
        if role == "stand_in":
            return self.stand_in.stand_in
        team = self.sales if role == "other" else self.team
        user = None
        for held in HELD[role]:
            user = factories.member(NAMES.get(role, role), team, held)
        return user

    @cached_property
    def stand_in(self) -> StandIn:
        """The colleague who stands in for the approver today."""
        today, person = timezone.localdate(), factories.member("stand_in", self.team, "requester")
        return stand_ins.name_stand_in(
            self.team,
            actor=factories.actor(self.ana),
            approver=self.ana,
            stand_in=person,
            from_day=today,
            to_day=today + timedelta(days=1),
        )

    def client(self, role, **options) -> Client:
        """The browser of that person. `gone` was switched off after logging in."""
        client, person = Client(**options), self.person(role)
        if person:
            client.force_login(person)
        if role == "gone":
            User.objects.filter(pk=person.pk).update(is_active=False)
        return client

    # --- The records behind the addresses -----------------------------------------------------------------------

    @cached_property
    def request(self) -> PurchaseRequest:
        """A request that waits for approval."""
        return factories.request(self.team, self.asker, [NUMBER])

    @property
    def purchase(self) -> Purchase:
        """The one number of the request, as it is now."""
        return self.request.purchases.get()

    @cached_property
    def doubtful(self) -> Purchase:
        """One that is held because nobody knows whether it was bought."""
        factories.approve(self.request, self.ana)
        self.provider.answer_purchase(requests.ReadTimeout())
        procurement.buy(self.purchase.pk)
        Purchase.objects.update(window_ends_at=clock.now() - timedelta(seconds=1))
        sweep.run()
        assert self.purchase.state == "held"
        return self.purchase

    def read_until_another_try_is_open(self):
        """The owned list, read whole and without the number as often as 'try again' requires."""
        for _ in range(evidence.CLEAN_READS):
            Purchase.objects.update(due_at=clock.now())
            evidence.gather(self.team.keys.get().pk)

    @cached_property
    def dearer(self) -> Purchase:
        """One that is held because it costs more now than was approved."""
        self.provider.offers = [offer(NUMBER, monthly="9.00")]
        factories.approve(self.request, self.ana)
        procurement.buy(self.purchase.pk)
        assert self.purchase.state == "held"
        return self.purchase

    @cached_property
    def owned(self) -> Purchase:
        """One that is held because the list shows its number already."""
        self.provider.owned_numbers.append(owned(NUMBER, 4711))
        factories.approve(self.request, self.ana)
        procurement.buy(self.purchase.pk)
        assert self.purchase.held_cause == "owned"
        return self.purchase

    @cached_property
    def unrecorded(self) -> int:
        """The id of a number that the list shows and the record does not explain, beside one that was kept."""
        self.provider.owned_numbers[:] = [owned("+12125550188", 8), owned("+12125550189", 9)]
        owned_list.read(self.team.keys.get())
        rented.keep(self.team, [9], reason="Old", actor=factories.actor(self.person("root")))
        return 8

    def forget(self):
        """Numbers that the team's key showed once, and none of which it shows any more."""
        self.provider.owned_numbers[:] = [owned("+12125550188", 8)]
        owned_list.read(self.team.keys.get())
        rented.keep(self.team, [8], reason="Old", actor=factories.actor(self.person("root")))
        self.provider.owned_numbers.clear()
        owned_list.read(self.team.keys.get())

    @cached_property
    def bought(self) -> Purchase:
        """One that was bought."""
        factories.approve(self.request, self.ana)
        self.provider.sells(NUMBER)
        procurement.buy(self.purchase.pk)
        assert self.purchase.state == "purchased"
        return self.purchase

    @cached_property
    def unwatchable(self) -> Purchase:
        """One that was given up, and whose key IdentityCall now refuses."""
        held_purchases.give_up(self.doubtful, reason="Because", actor=factories.actor(self.ana))
        Credential.objects.update(refused_at=clock.now())
        return self.purchase

    @cached_property
    def paste(self) -> Paste:
        """What was pasted, with one number ticked."""
        return Paste.objects.create(
            user=self.asker,
            team=self.team,
            text=TEXT,
            records=pasting.dump(pasting.read(TEXT)),
            picked=["+12125550142"],
            looked_at=clock.now(),
        )

    @cached_property
    def draft(self) -> Draft:
        """A draft of one number."""
        [candidate] = pasting.read("+12125550142").candidates
        return drafts.of_paste(self.paste, [candidate])

    @cached_property
    def basket(self) -> Draft:
        """A basket with one number of IdentityCall's list in it."""
        listed, seen_at = offers.available(self.team.keys.get(), country_code="US", number_type="local")
        first = listed["+12125550103"]
        return drafts.pick(self.asker, self.team, shown=[(first, seen_at)], ticked={first.phone_number})

    @cached_property
    def papers(self) -> RequirementGroup:
        """An entry of the team's register."""
        return RequirementGroup.objects.create(
            team=self.team, provider_id=12, name="Company register", country_code="DE"
        )

    @cached_property
    def ended(self) -> PurchaseRequest:
        """A request that was rejected."""
        approvals.reject(
            self.request.pk, [self.purchase.pk], approver=factories.actor(self.ana), version=1, reason="No"
        )
        return self.request

    @cached_property
    def member(self) -> User:
        """A requester of the team and of no other, with an address for mail."""
        bea = factories.member("bea", self.team, "requester")
        User.objects.filter(pk=bea.pk).update(email="bea@example.com")
        return bea

    @cached_property
    def mail(self) -> Mail:
        """A mail to the requester."""
        return Mail.objects.create(user=self.asker, team=self.team, kind="outcome", due_at=clock.now())

    def url(self, address) -> str:
        """The address for this scene."""
        _, _, name = address.rpartition(":")
        if name.startswith("paste-"):
            return reverse(address, args=[self.paste.pk])
        if name in ("request-new", "request-names"):
            return f"{reverse(address)}?draft={self.draft.pk}"
        if name == "draft-discard":
            return reverse(address, args=[self.draft.pk])
        if name == "request-again":
            return reverse(address, args=[self.ended.pk])
        if name == "papers":
            return reverse(address, args=[self.team.slug])
        if name.startswith("papers-"):
            return reverse(address, args=[self.team.slug, self.papers.pk])
        if name in ("mail", "mail-html"):
            return reverse(address, args=[self.mail.pk])
        if name == "team-stand-in-end":
            return reverse(address, args=[self.team.slug, self.stand_in.pk])
        if name == "welcome":
            return invitations.link_for(self.member).removeprefix(settings.SITE_URL)
        if name.startswith("member"):
            return reverse(address, args=[self.team.slug, self.member.pk])
        if name.startswith("person"):
            return reverse(address, args=[self.member.pk])
        if name.startswith("team") and name not in ("teams", "team-new"):
            return reverse(address, args=[self.team.slug])
        if name == "purchase-approve-again":
            return reverse(address, args=[self.dearer.pk])
        if name == "purchase-stop-watching":
            return reverse(address, args=[self.unwatchable.pk])
        if name in ("purchase-keep", "purchase-not-ours"):
            return reverse(address, args=[self.owned.pk])
        if name == "purchase-release":
            return reverse(address, args=[self.bought.pk])
        if name == "audit-event":
            return reverse(address, args=[self.request.events.first().pk])
        if name.startswith("purchase") or name == "story":
            return reverse(address, args=[self.doubtful.pk])
        if name == "request" or name.startswith("request-"):
            return reverse(address, args=[self.request.pk])
        return reverse(address)

    def fields(self, address) -> dict:
        """What its form would send. Also prepares what the step needs, such as a stop before 'Go on'."""
        _, _, name = address.rpartition(":")
        decision = {"version": 1, "purchase": [], "reason": "Because"}
        if name.startswith("find"):
            assert self.basket
            shown = {"shown": ["+12125550104", "+12125550105"], "pick": ["+12125550104"]}
            return {"team": self.team.pk, "country": "US", "number_type": "local", "do": "stay", **shown}
        if name.startswith("papers"):
            return self.papers_fields
        if name.startswith("request-") and name not in ("request-new", "request-live", "request-edit"):
            return {**decision, "purchase": [self.purchase.pk]}
        if name in ("purchase-again", "held-try-again-several") and self.doubtful:
            self.read_until_another_try_is_open()
        if name in ("purchase-approve-again", "held-approve-again-several"):
            shown = {f"upfront-{self.dearer.pk}": "1.00", f"monthly-{self.dearer.pk}": "9.00"}
            return shown | {"group": "price", "purchase": [self.dearer.pk], "reason": "Still needed"}
        if name in ("purchase-keep", "purchase-not-ours", "held-keep-several", "held-not-ours-several"):
            return {"purchase": [self.owned.pk], "provider_id": "4711", "reason": "Because"}
        if name in ("team-rented-keep", "team-rented-dismiss"):
            return {"ticked": [self.unrecorded], "reason": "Because"}
        if name in ("team-missing-gone", "team-key-right"):
            self.forget()
            return {"ticked": ["8"], "reason": "Because"}
        if name == "purchase-release":
            assert self.bought
            self.provider.owned_numbers.clear()
            owned_list.read(self.team.keys.get())  # the next read shows that it is gone
            Purchase.objects.update(purchased_at=clock.now() - timedelta(days=1))
        if name.startswith("held-") or name == "purchase-again":
            shown = {f"upfront-{self.doubtful.pk}": "1.00", f"monthly-{self.doubtful.pk}": "2.00"}
            return shown | {"group": "doubt", "purchase": [self.doubtful.pk], "reason": "Because"}
        if name == "purchase-bought":
            self.provider.owned_numbers.append(owned(NUMBER, 4711))
            return {"provider_id": "4711", "reason": "I see it"}
        if name == "team-go-on":
            stop_buying.stop(self.team, actor=factories.actor(self.person("root")), reason="Too dear")
        if name == "go-on-all":
            stop_buying.stop_all(actor=factories.actor(self.person("root")), reason="Too dear")
        if name == "alarm-go-on":
            restore_alarm.sound(restores.Alarm("It is a copy.", epoch=0))
        if name.startswith("team-key"):
            return self.key_fields
        if name == "person-on":
            User.objects.filter(pk=self.member.pk).update(is_active=False)
        if name == "team-switch-on":
            Team.objects.filter(pk=self.team.pk).update(is_active=False)
        return {
            "team-invite": {"username": "bob", "email": "bob@example.com", "roles": ["requester"]},
            "member-roles": {"roles": ["approver"], "seen": "requester"},
            "team-new": {"name": "Help desk"},
            "team-rename": {"name": "Help desk"},
            "paste": {"text": "+1 212 555 0144", "country_code": "", "team": self.team.pk},
            "paste-verdicts": {"page": "1", "pick": ["+12125550143"]},
            "request-new": self.request_fields if name == "request-new" else {},
            "request-edit": {"version": 1, "reason": "New desks", **self.line_fields(NUMBER, "Door")},
            "team-rules": {
                "monthly_budget": "100",
                "budget_is_hard": "hard",
                "second_approver_from": "50",
                "seen": money_rules.mark(self.team),
            },
            "team-stand-in": {
                "approver": self.ana.pk,
                "stand_in": self.sam.pk,
                "from_day": "2999-01-01",
                "to_day": "2999-01-31",
            },
            "login": {"username": "sam", "password": "not the password"},
            "mail-settings": {"address": "somebody@example.com", "wants_mail": "on"},
            "password_change": {
                "old_password": factories.PASSWORD,
                "new_password1": NEW_PASSWORD,
                "new_password2": NEW_PASSWORD,
            },
        }.get(name, {"reason": "Because"})

    @property
    def key_fields(self) -> dict:
        """What the forms of the key's page send together."""
        self.provider.tells_of_the_key()
        return {
            "key": "idc_" + "n" * 32,
            "scope": "project",
            "password": factories.PASSWORD,
            "seen": self.team.keys.get().pk,
            "rate": "300",
            "reason": "Because",
        }

    @property
    def papers_fields(self) -> dict:
        """What the forms of the register send."""
        return {
            "name": "Passport",
            "country_code": "Germany",
            "number_type": "",
            "provider_id": "13",
            "valid_until": "2999-12-31",
            "seen": papers.fingerprint(self.papers),
        }

    @property
    def request_fields(self) -> dict:
        """What the form 'Request purchase' sends for the draft of one number."""
        return {
            "draft": self.draft.pk,
            "team": self.team.pk,
            "reason": "New desks",
            "purpose": "Hotline",
            "do": "send",
            **self.line_fields("+12125550142", "Desk"),
        }

    @staticmethod
    def line_fields(phone_number, name) -> dict:
        """The fields of the one number of a form."""
        return {
            "n-TOTAL_FORMS": 1,
            "n-INITIAL_FORMS": 1,
            "n-0-phone_number": phone_number,
            "n-0-name": name,
            "n-0-number_type": "local",
            "n-0-requirement_group_id": "",
            "n-0-record_calls": "yes",
        }
