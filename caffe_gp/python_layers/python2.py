"""Python 2 code, recognised by the error that it raises: released Python layers are of its time."""

from __future__ import annotations

import re

# What only Python 2 reads, in the line that a SyntaxError points at.
_SYNTAX = re.compile(
    r"^\s*(print|exec)\b\s*[^\s=(.,\[]"  # print "x", print x
    r"|\bprint\s*>>"
    r"|\bexcept\b[^:]+,\s*\w+\s*:"  # except Exception, e:
    r"|\braise\s+[\w.]+\s*,"
    r"|<>|`"
    r"|\b\d+[lL]\b|\b0\d+\b"
    r"|\bur['\"]"
    r"|\b(def|lambda)\b[^:]*\(\s*\w+,\s*\w+\s*\),"
)
_SAID = ("Missing parentheses in call to", "multiple exception types must be parenthesized")
# Names, methods and modules that Python 3 has no more -> what is there in their place.
_GONE = {
    "basestring": "str",
    "cPickle": "pickle",
    "cStringIO": "io",
    "ConfigParser": "configparser",
    "cmp": "(a > b) - (a < b)",
    "execfile": "exec(open(path).read())",
    "file": "open",
    "has_key": "key in dict",
    "iteritems": "items",
    "iterkeys": "keys",
    "itervalues": "values",
    "izip": "zip",
    "imap": "map",
    "long": "int",
    "Queue": "queue",
    "raw_input": "input",
    "reduce": "functools.reduce",
    "reload": "importlib.reload",
    "StringIO": "io",
    "unichr": "chr",
    "unicode": "str",
    "urllib2": "urllib.request",
    "xrange": "range",
    "__builtin__": "builtins",
}


def hint(error: BaseException) -> str:
    """A sentence that begins with a blank where ``error`` is that of Python 2 code; '' otherwise."""
    if isinstance(error, SyntaxError):
        old = isinstance(error, TabError) or str(error.msg).startswith(_SAID)
        if old or _SYNTAX.search(error.text or ""):
            return (
                " This is Python 2 code, and this is Python 3: convert the file; the command 2to3 does most."
            )
        return ""
    if isinstance(error, (NameError, AttributeError, ImportError)):
        for name in re.findall(r"'(\w+)'", str(error)):
            if name in _GONE:
                return f" '{name}' is of Python 2; in Python 3 it is {_GONE[name]}."
    if isinstance(error, (TypeError, IndexError)):
        text = str(error)
        if "float" in text and "integer" in text or text.startswith("slice indices must be integers"):
            return " In Python 3 the / of two integers is a float: where Python 2 rounded down, write //."
        if re.search(
            r"'(map|filter|zip|range|dict_\w+)' object (is not subscriptable|does not support)", text
        ):
            return " In Python 3 map, filter, zip and dict.keys() give no list: put list(...) around them."
    return ""
