r"""The few words of HTTP's grammar that several modules check text against; each ends in ``\Z``, since ``$`` would let a line end pass."""

import re

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
"""A method or the name of a header (RFC 9110, section 5.6.2)."""
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
"""The value of a header (RFC 9110, section 5.5)."""
DIGITS = re.compile(r"[0-9]{1,18}\Z")
"""A length: ASCII digits only, which ``int`` alone does not ask for."""
