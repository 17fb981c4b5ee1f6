"""Cuts API keys out of text before it is kept, shown or logged.

A key is `idc_` and 32 letters or digits (AUTH). What is cut is wider than that: any case of the prefix, 16 or
more letters or digits, the underscore as JSON, URLs, HTML and Markdown escape it, and invisible characters in
between, as copying from a web page or a mail leaves them.
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
    """Return the text with everything of the form of an API key replaced by `idc_[removed]`."""
    return _KEY.sub(REMOVED, text)


def holds_secret(text: str) -> bool:
    """Say whether the text holds anything of the form of an API key."""
    return _KEY.search(text) is not None


class RedactingFilter(logging.Filter):
    """Cleans a log record: message, arguments, extra fields, stack and exception text.

    An exception whose text holds a key is kept as clean text alone, because handlers format the exception
    itself anew.
    """

    def filter(self, record: logging.LogRecord) -> bool | logging.LogRecord:
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
        except Exception as error:  # the logging call itself is wrong: its handler would print the arguments
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
