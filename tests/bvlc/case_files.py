"""The files that some cases read, written afresh into the case's folder."""
from __future__ import annotations
