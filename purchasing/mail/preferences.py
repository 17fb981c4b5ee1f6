"""A person's mail settings: the address, and whether mails are sent at all."""

from django.db import transaction

from purchasing import audit
from purchasing.models import User
from purchasing.problems import Problem


@transaction.atomic
def choose(user, *, address, wants_mail, actor):
    """Set a person's address and whether mails are sent to it. Returns whether anything changed.

    Raises `Problem` for the address of another account: accounts are looked up by address.
    """
    user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if (user.email, user.wants_mail) == (address, wants_mail):
        return False
    if address and User.objects.filter(email__iexact=address).exclude(pk=user.pk).exists():
        raise Problem("This address belongs to another account.")
    User.objects.filter(pk=user.pk).update(email=address, wants_mail=wants_mail)
    audit.record(
        "member.mail_changed",
        actor=actor,
        member=user.get_username(),
        wants_mail=wants_mail,
        address_changed=user.email != address,
    )
    return True
