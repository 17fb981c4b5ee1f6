"""Practice numbers: numbers whose last three digits make them misbehave without a fault."""

SOLD_OUT, SLOW, LOST, PAPERS, DEARER = "sold out", "slow", "answer lost", "papers", "dearer"

BY_ENDING = {"991": SOLD_OUT, "992": SLOW, "993": LOST, "994": PAPERS, "995": DEARER}
RESERVED = "99"  # the third and second last digit of every practice number, and of no other number on offer

APPROVED_GROUPS = range(1, 9000)  # the requirement group ids that count as approved

RULES = """\
Practice numbers (the last three digits decide; every other number behaves as documented):
  ...991  sold out: on offer, but buying it answers 422 "<number> is no longer available"
  ...992  slow: it is bought at once, and the answer comes after some seconds (--slow-seconds, default 8)
  ...993  answer lost: it is bought, and the connection is closed without an answer
  ...994  papers: 422 "Requirement group must be approved before purchasing", unless the purchase names an
          approved requirement_group_id (1 to 8999 count as approved; 9000 and above never, for any number)
  ...995  dearer: each time it is listed, its costs rise by a tenth of the original costs; a restart, a reset
          or a cost set at /_control/costs ends that
Every country and type has exactly one of each on offer, at the end of its list.
"""


def rule_of(phone_number):
    """The rule of a practice number, or None for an ordinary one."""
    return BY_ENDING.get(phone_number[-3:])
