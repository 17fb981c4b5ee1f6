"""What a person chooses about mails: where they go, and whether any are sent."""

from django.db import transaction

from purchasing import audit
from purchasing.models import User
from purchasing.problems import Problem


@transaction.atomic
def choose(user, *, address, wants_mail, actor):
    """Set where a person's mails go and whether any are sent; whether that changed anything.

    Raises `Problem` for the address of somebody else, who may be looked for by it.
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
