"""Every released net at hand, and those that are known and not at hand: files.tsv is the list.

A row: whose it is, the commit where known, prototxt and caffemodel below shared data (in the repository where
there are no hashes: not at hand), their sha256, and what is to be said of it.
"""
