"""Exceptions with a text for staff: something cannot be done now, and the text says why."""


class Problem(Exception):
    """Something cannot be done now. The text is written for staff."""


class ForbiddenMove(Problem):
    """A move that the state table does not permit."""


class AlreadyMoved(Problem):
    """Somebody or something else acted first, or the page was older than the request."""


class NotYours(Problem):
    """The user may see this but not do it; the text says who can."""


class AlreadyAsked(Problem):
    """Some numbers, listed in `phone_numbers`, are requested or owned already."""

    def __init__(self, phone_numbers):
        self.phone_numbers = sorted(phone_numbers)
        listed = ", ".join(self.phone_numbers)
        super().__init__(
            f"Already requested or owned: {listed}. Take it out of this request."
            if len(self.phone_numbers) == 1
            else f"Already requested or owned: {listed}. Take them out of this request."
        )


class WrongField(Problem):
    """The value of one field is not accepted: `field` is its name."""

    def __init__(self, field, text):
        super().__init__(text)
        self.field = field
