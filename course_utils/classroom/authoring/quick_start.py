"""A pytest plugin to load before nbval: spares each notebook a second.

jsonschema, which nbformat loads, would build a parser of internationalized web addresses if one can be had; no notebook
of the course needs one, and jsonschema goes without the parser where it is missing.
"""

import sys

__all__: list[str] = []

sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
