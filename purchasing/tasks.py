"""What the queue runs. Each may run twice, late or never: the purchase row is the truth."""

from django_tasks import task

from purchasing.asking import price_lookup, verdicts
from purchasing.audit import verification
from purchasing.buying import aftercare, evidence, look, procurement
from purchasing.mail import notices, sending


@task(queue_name="purchases", priority=50)
def buy(purchase_id):
    """Purchase one approved number, if it is due."""
    procurement.buy(purchase_id)


@task(queue_name="evidence", priority=40)
def check(key_id):
    """Read a key's owned list for its purchases in doubt."""
    evidence.gather(key_id)


@task(priority=45)
def settle_shown(credential_id):
    """Settle what the last list of a credential shows since a call for it."""
    evidence.settle_shown(credential_id)


@task(priority=45)
def hold_owned(purchase_id, key_id):
    """Hold a queued purchase whose number the list of this key shows already."""
    look.hold_owned(purchase_id, key_id)


@task(priority=30)
def apply(purchase_id):
    """Set a bought number's name and call recording as requested."""
    aftercare.apply(purchase_id)


@task(priority=20)
def confirm_costs(request_id):
    """Ask IdentityCall what the pending numbers of a request cost."""
    price_lookup.confirm(request_id)


@task(priority=20)
def look_again(purchase_id):
    """Ask IdentityCall what a held purchase costs now."""
    price_lookup.look_again(purchase_id)


@task(priority=15)
def look_up(paste_id):
    """Ask IdentityCall for the lists that may hold the pasted numbers."""
    verdicts.look_up(paste_id)


@task(priority=-50)
def send_mails():
    """Write mails about what is new in the record, and send those that are due."""
    notices.collect()
    sending.send()
    sending.forget_old()


@task(priority=-60)
def check_record(check_id):
    """Check the audit record for some seconds; the rest follows in a later task."""
    verification.go_on(check_id)
