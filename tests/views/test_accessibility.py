"""Every page is accessible: headings, labels, tables, links, and nothing inline."""

from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import urljoin, urlsplit

import pytest
from django.template.loader import render_to_string

from purchasing.asking import versions
from purchasing.models import Team
from tests import factories
from tests.views.access import Scene

pytestmark = pytest.mark.django_db
VOID = {"meta", "link", "input", "img", "br", "hr"}
FIELDS = ("input", "select", "textarea")
NAMED_BY_TEXT = ("a", "button", "summary", "h1", "h2", "h3", "caption", "th", "legend", "title")


class Element:
    """A tag with its attributes, its parent and the text inside it."""

    def __init__(self, tag, attributes, parent):
        self.tag, self.attributes, self.parent, self.children, self.text = tag, attributes, parent, [], ""

    def __getitem__(self, name):
        return self.attributes.get(name) or ""

    def __repr__(self):
        return f"<{self.tag} {self.attributes}>"

    @property
    def above(self):
        """Its ancestors, the nearest first."""
        at = self.parent
        while at is not None:
            yield at
            at = at.parent

    @property
    def words(self):
        """All text inside, including the alternative text of images."""
        return " ".join(
            f"{self.text} {self['alt']} {' '.join(child.words for child in self.children)}".split()
        )

    @property
    def hidden(self):
        """Whether it is not visible."""
        return any("hidden" in one.attributes for one in (self, *self.above)) or self["type"] == "hidden"


class Page(HTMLParser):
    """A page as a tree. A tag that is not closed, or closed wrongly, is an error."""

    def __init__(self, response):
        super().__init__()
        self.all, self.errors, self.at = [], [], None
        self.feed(response.content.decode())
        self.close()

    def handle_starttag(self, tag, attributes):
        if len({name for name, _ in attributes}) != len(attributes):
            self.errors.append(f"{tag} has an attribute twice")
        element = Element(tag, dict(attributes), self.at)
        self.all.append(element)
        if self.at is not None:
            self.at.children.append(element)
        if tag not in VOID:
            self.at = element

    def handle_endtag(self, tag):
        if self.at is None or self.at.tag != tag:
            self.errors.append(f"</{tag}> closes {self.at}")
            return
        self.at = self.at.parent

    def handle_data(self, data):
        if self.at is not None:
            self.at.text += data

    def tags(self, *names):
        """All elements of these tags."""
        return [element for element in self.all if element.tag in names]


PAGES = {
    "log in": ("nobody", "/accounts/login/"),
    "log in, wrong": ("nobody", "/accounts/login/", {"username": "sam", "password": "wrong"}),
    "log in, to go on": ("nobody", "/accounts/login/?next=/requests/"),
    "not found, nobody": ("nobody", "/no/such/page/"),
    "change password": ("asker", "/accounts/password/"),
    "change password, wrong": (
        "asker",
        "/accounts/password/",
        {"old_password": "wrong", "new_password1": "1"},
    ),
    "password changed": ("asker", "/accounts/password/done/"),
    "home of a requester": ("asker", "/"),
    "home of an approver": ("approver", "/"),
    "home of an auditor": ("auditor", "/"),
    "paste": ("asker", "/paste/"),
    "paste, wrong": ("asker", "/paste/", {"text": "no number", "country_code": "Germany"}),
    "verdicts": ("asker", "{paste}"),
    "verdicts, none ticked": ("asker", "{paste}", {"page": "1"}),
    "verdicts, several pages": ("asker", "{long paste}"),
    "find": ("asker", "/find/"),
    "find, a list": ("asker", "/find/?country=US&number_type=local"),
    "find, wrong": ("asker", "/find/?country=Atlantis&highest=x&digits=555"),
    "find, with a basket": ("asker", "/find/", "basket"),
    "request purchase": ("asker", "/requests/new/?draft={draft id}"),
    "requests with a draft": ("asker", "/requests/", "draft"),
    "papers": ("asker", "/teams/support/papers/", "papers"),
    "papers of its admin": ("admin", "/teams/support/papers/", "papers"),
    "papers of its admin, wrong": ("admin", "/teams/support/papers/", {"name": "", "country_code": "x"}),
    "papers to change": ("admin", "/teams/support/papers/{papers id}/"),
    "request purchase, wrong": ("asker", "/requests/new/", "wrong request"),
    "requests": ("asker", "/requests/"),
    "request of one's own": ("asker", "{request}"),
    "request to change": ("asker", "{request}edit/"),
    "request to change, wrong": ("asker", "{request}edit/", "wrong change"),
    "request to decide": ("approver", "{request}"),
    "request, rejected without a reason": ("approver", "{request}reject/", {"version": "1"}),
    "approvals": ("approver", "/approvals/"),
    "no approvals": ("other", "/approvals/"),
    "approvals, forbidden": ("asker", "/approvals/"),
    "request of another team": ("other", "{request}"),
    "decisions": ("approver", "/decisions/", "held"),
    "no decisions": ("asker", "/decisions/"),
    "purchase in doubt": ("approver", "{purchase}", "held"),
    "purchase in doubt, wrong": ("approver", "{purchase}it-was-bought/", "held", {"reason": ""}),
    "purchase that is dearer": ("approver", "{purchase}", "dearer"),
    "purchase that is bought": ("asker", "{purchase}", "bought"),
    "purchase that is owned already": ("admin", "{purchase}", "owned"),
    "purchase that is owned already, wrong": ("admin", "{purchase}keep/", "owned", {"reason": ""}),
    "decisions about what is owned already": ("admin", "/decisions/", "owned"),
    "rented, but not in the record": ("admin", "/teams/support/rented/", "unrecorded"),
    "rented, but not in the record, wrong": (
        "admin",
        "/teams/support/rented/keep/",
        "unrecorded",
        {"monthly_cost": "x"},
    ),
    "missing": ("admin", "/teams/support/missing/", "missing"),
    "missing, wrong": ("admin", "/teams/support/missing/gone/", "missing", {"reason": ""}),
    "blind key": ("admin", "/teams/support/key/", "missing"),
    "team of a blind key": ("admin", "/teams/support/", "missing"),
    "home with a blind key": ("admin", "/", "missing"),
    "find with a blind key": ("asker", "/find/", "missing"),
    "numbers that were kept": ("asker", "/numbers/", "unrecorded"),
    "home with unrecorded numbers": ("admin", "/", "unrecorded"),
    "numbers": ("asker", "/numbers/", "bought"),
    "no numbers": ("asker", "/numbers/"),
    "audit": ("auditor", "/audit/", "bought"),
    "audit, older": ("auditor", "/audit/?before=5"),
    "audit, filtered": ("auditor", "/audit/?person=ana&outcome=approved&since=2020-01-01", "bought"),
    "audit, wrong filter": ("auditor", "/audit/?number=x&since=y&request=z&team=t&q=%21&day=w"),
    "audit, of a team": ("approver", "/audit/?q=desks"),
    "event": ("auditor", "/audit/{event}/", "bought"),
    "event of a call": ("auditor", "/audit/{last event}/", "held"),
    "story": ("auditor", "{purchase}story/", "held"),
    "seals": ("auditor", "/audit/proof/"),
    "seals, checked": ("auditor", "/audit/proof/check/", {}),
    "seals, forbidden": ("asker", "/audit/proof/"),
    "teams": ("admin", "/teams/"),
    "teams of a superuser": ("root", "/teams/"),
    "team": ("asker", "/teams/support/"),
    "team of its admin": ("admin", "/teams/support/"),
    "team with a stand-in": ("stand_in", "/teams/support/"),
    "team of an approver, wrong": ("approver", "/teams/support/stand-ins/", {"from_day": "x"}),
    "team of its admin, wrong rules": ("admin", "/teams/support/rules/", {"monthly_budget": "x"}),
    "team of its admin, wrong": ("admin", "/teams/support/stop/", {"reason": ""}),
    "key": ("admin", "/teams/support/key/"),
    "key, wrong": ("admin", "/teams/support/key/", {"key": "idc_x", "scope": "", "password": ""}),
    "key, not removed": ("admin", "/teams/support/key/remove/", {"reason": ""}),
    "member": ("admin", "{member}"),
    "team of its admin, not invited": ("admin", "/teams/support/invite/", {"username": "", "email": "x"}),
    "mail settings": ("asker", "/accounts/mail/"),
    "mail settings, wrong": ("asker", "/accounts/mail/", {"address": "x"}),
    "mails": ("asker", "{mails}"),
    "mail": ("asker", "{mail}"),
    "purchase that the budget does not allow": ("approver", "{purchase}", "dearer", "budget"),
    "decisions that the budget does not allow": ("approver", "/decisions/", "dearer", "budget"),
    "request that the budget does not allow": ("approver", "{request}", "budget"),
    "request with a yes": ("approver", "{request}", "yes"),
    "request with a yes, not rejected": (
        "approver",
        "{request}reject/",
        "yes",
        {"form": "approved", "version": "1"},
    ),
    "request that was changed": ("approver", "{request}", "changed"),
    "too much": ("asker", "/paste/", {f"x{n}": "" for n in range(1001)}),
}


def sent_mail(scene):
    """A mail as it was sent."""
    scene.mail.subject, scene.mail.text, scene.mail.html = (
        "S",
        "Hello",
        "<html><head></head></html>",
    )
    scene.mail.save()
    return scene.mail


@pytest.fixture(params=PAGES.values(), ids=PAGES.keys())
def shown(request, provider):
    """A page as one person sees it: `(browser, response, page)`."""
    role, address, *rest = request.param
    scene = Scene(provider)
    made = {"held": "doubtful"} | {name: name for name in ("dearer", "bought", "basket", "draft", "papers")}
    for state, make in made.items():
        if state in rest:
            getattr(scene, make)
    for state in ("owned", "unrecorded"):
        if state in rest:
            getattr(scene, state)
    if "missing" in rest:
        scene.forget()
    if "yes" in rest:
        Team.objects.update(second_approver_from=0)
        factories.approve(scene.request, scene.ana)
    if "changed" in rest:
        versions.edit(
            scene.request.pk, actor=factories.actor(scene.sam), version=1, reason="Other desks", changes={}
        )
    if "budget" in rest:
        Team.objects.filter(pk=scene.request.team_id).update(monthly_budget=1)
    address = address.replace("{member}", f"/teams/support/members/{scene.member.pk}/")
    address = address.replace("{mails}", "/mails/").replace("{mail}", f"/mails/{sent_mail(scene).pk}/")
    address = address.replace("{request}", f"/requests/{scene.request.pk}/")
    address = address.replace("{purchase}", f"/purchases/{scene.purchase.pk}/")
    address = address.replace("{paste}", f"/paste/{scene.paste.pk}/")
    address = address.replace("{event}", str(scene.request.events.first().pk))
    address = address.replace("{last event}", str(scene.request.events.last().pk))
    if "id}" in address:
        address = address.replace("{draft id}", str(scene.draft.pk)).replace(
            "{papers id}", str(scene.papers.pk)
        )
    client = scene.client(role)
    if address == "{long paste}":
        text = "\n".join(f"+1212555{n:04}" for n in range(101))
        response = client.post("/paste/", {"text": text}, follow=True)
    elif "wrong request" in rest:
        fields = scene.request_fields | {"reason": "", "n-0-name": "x" * 101, "n-0-requirement_group_id": "x"}
        response = client.post(address, fields)
    elif "wrong change" in rest:
        fields = scene.fields("purchasing:request-edit") | {"reason": "", "n-0-name": "x" * 101}
        response = client.post(address, fields)
    elif rest and isinstance(rest[-1], dict):
        response = client.post(address, rest[-1], follow=True)
    else:
        response = client.get(address)
    return client, response, Page(response)


def test_a_page_is_in_order(shown):
    client, response, page = shown
    assert page.errors == []
    for check in (
        head,
        headings,
        ids,
        labels,
        named,
        nothing_inline,
        tables,
        forms,
        landmarks,
        pictures,
    ):
        check(page)
    links(client, page, response.request["PATH_INFO"])


def head(page):
    [root], [title] = page.tags("html"), page.tags("title")
    assert root["lang"] == "en"
    assert title.words.endswith(" · Number Desk") and not title.words.startswith("·")
    assert [one["content"] for one in page.tags("meta") if one["name"] == "viewport"]


def headings(page):
    levels = [int(one.tag[1]) for one in page.tags("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def ids(page):
    given = [one["id"] for one in page.all if "id" in one.attributes]
    assert sorted(given) == sorted(set(given)) and "" not in given
    for one in page.all:
        for name in ("for", "aria-describedby", "aria-labelledby", "aria-controls", "popovertarget"):
            assert set(one[name].split()) <= set(given), one
        if one.tag == "a" and one["href"].startswith("#"):
            assert one["href"][1:] in given, one


def labels(page):
    labelled = {one["for"] for one in page.tags("label") if one.words}
    for field in page.tags(*FIELDS):
        if field["type"] in ("hidden", "submit"):
            continue
        inside = any(one.tag == "label" and one.words for one in field.above)
        assert inside or field["aria-label"] or (field["id"] and field["id"] in labelled), field
        assert field["name"] or field["data-select-all"] or field["aria-label"], field
        if field["aria-invalid"]:
            group = next((one for one in field.above if one.tag == "fieldset"), field)
            said = f"{field['aria-describedby']} {group['aria-describedby']}".split()
            assert any(one.endswith(("_error", "-error")) for one in said), field


def named(page):
    for one in page.tags(*NAMED_BY_TEXT):
        assert one.words or one["aria-label"], one
    for one in page.tags("iframe"):
        assert one["title"] and "allow-scripts" not in one["sandbox"], one


def nothing_inline(page):
    for one in page.all:
        assert not [name for name in one.attributes if name.startswith("on") or name == "style"], one
        assert not one["href"].lower().startswith(("javascript:", "data:")), one
        if one.tag == "script":
            assert one["src"].startswith("/static/") and not one.text.strip(), one
    assert page.tags("style") == []


def tables(page):
    for table in page.tags("table"):
        inside = [one for one in page.all if table in one.above]
        assert [one for one in inside if one.tag == "caption" and one.words], table
        assert all(one["scope"] in ("col", "row") for one in inside if one.tag == "th")
        rows = [one for one in inside if one.tag == "tr"]
        assert len({len([cell for cell in row.children if cell.tag in ("td", "th")]) for row in rows}) == 1


def forms(page):
    for form in page.tags("form"):
        inside = [one for one in page.all if form in one.above]
        tokens = [one for one in inside if one["name"] == "csrfmiddlewaretoken" and one["value"]]
        # A form that only looks something up has its fields in the address, and no token.
        assert len(tokens) == {"post": 1, "get": 0}[form["method"]], form
        assert [one for one in inside if one.tag == "button" and one["type"] == "submit"], form


def landmarks(page):
    [main] = page.tags("main")
    assert main["id"] == "main"
    navs = [one["aria-label"] for one in page.tags("nav")]
    assert "" not in navs and len(navs) == len(set(navs))


def pictures(page):
    assert all("alt" in one.attributes for one in page.tags("img"))


def links(client, page, here):
    """Every link works. The menus are the same on every page, so one page is enough for them."""
    for one in page.tags("a"):
        if here != "/" and any(outer.tag == "nav" for outer in one.above):
            continue
        address = urlsplit(urljoin(here, one["href"]))
        if address.netloc:
            assert one["rel"] == "noreferrer", one
        elif not one["href"].startswith("#"):
            there = client.get(f"{address.path}?{address.query}" if address.query else address.path)
            assert there.status_code in (200, 302), one


@pytest.mark.parametrize("status", [400, 500])
def test_a_page_without_a_person_is_in_order_too(status):
    page = render_to_string(f"{status}.html")
    assert '<html lang="en">' in page and page.count("<h1>") == 1 and "{%" not in page


def test_fragments_are_one_element_with_an_id(provider):
    scene = Scene(provider)
    factories.approve(scene.request, scene.ana)
    client = scene.client("asker")
    for address, name in ((f"/requests/{scene.request.pk}/live/", "request-live"), ("/live/", "my-requests")):
        page = Page(client.get(address))
        roots = [one for one in page.all if one.parent is None and "hx-swap-oob" not in one.attributes]
        assert [one["id"] for one in roots] == [name]
        assert page.errors == []
