"""Removes API keys from text before it is stored, shown or logged.

A key is `idc_` and 32 letters or digits (AUTH). The pattern is wider: the prefix in any case, 16 or more letters or
digits, the underscore as JSON, URLs, HTML and Markdown escape it, and invisible characters in between, which can come
with text copied from a web page or a mail.
"""

import logging
import re

REMOVED = "idc_[removed]"

_INVISIBLE = "\u00ad\u200b-\u200f\u2060-\u2064\ufeff"
# A fixed prefix, then one class of characters with a possessive count: linear in the length of the text.
_KEY = re.compile(
    rf"idc[{_INVISIBLE}]*+(?:\\*_|\\+u005f|%(?:25)*5f|&#0*95;|&#x0*5f;|&lowbar;)[a-z0-9{_INVISIBLE}]{{16,}}+",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Return the text with everything that looks like an API key replaced by `idc_[removed]`."""
    return _KEY.sub(REMOVED, text)


def holds_secret(text: str) -> bool:
    """Whether the text contains anything that looks like an API key."""
    return _KEY.search(text) is not None


class RedactingFilter(logging.Filter):
    """Cleans a log record: message, arguments, extra fields, stack and exception text.

    An exception whose text contains a key is reduced to clean text, because handlers would format the exception itself
    again.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        self._clean_message(record)
        self._clean_exception(record)
        for name, value in list(record.__dict__.items()):
            if isinstance(value, str) and holds_secret(value):
                setattr(record, name, redact(value))
        return super().filter(record)

    @staticmethod
    def _clean_message(record: logging.LogRecord) -> None:
        try:
            message, arguments = record.getMessage(), repr(record.args)
        # The logging call itself is wrong: handlers would print its arguments.
        except Exception as error:
            message = arguments = (
                f"{record.msg} (not formatted: {type(error).__name__}, {redact(str(record.args))})"
            )
            record.args = ()
            record.msg = message
        if holds_secret(message) or holds_secret(arguments):
            record.msg, record.args = redact(message), ()

    @staticmethod
    def _clean_exception(record: logging.LogRecord) -> None:
        if not record.exc_info or record.exc_info is True:
            return
        text = logging.Formatter().formatException(record.exc_info)
        if holds_secret(text):
            record.exc_text, record.exc_info = redact(text), None
