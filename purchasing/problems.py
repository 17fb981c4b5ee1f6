"""The exceptions whose text staff read: something cannot be done now, and the sentence says why."""


class Problem(Exception):
    """Something that cannot be done now; its text is written for staff to read."""


class ForbiddenMove(Problem):
    """A move that the state table does not know."""


class AlreadyMoved(Problem):
    """Somebody or something was quicker, or the page was older than the request."""


class NotYours(Problem):
    """The person may see it but not do this; the text says who can."""


class AlreadyAsked(Problem):
    """Numbers that already have a record: `phone_numbers`."""

    def __init__(self, phone_numbers):
        self.phone_numbers = sorted(phone_numbers)
        listed = ", ".join(self.phone_numbers)
        super().__init__(
            f"Already asked for or owned: {listed}. Take it out of this request."
            if len(self.phone_numbers) == 1
            else f"Already asked for or owned: {listed}. Take them out of this request."
        )


class WrongField(Problem):
    """What was typed into one field cannot be taken: `field` is its name."""

    def __init__(self, field, text):
        super().__init__(text)
        self.field = field
