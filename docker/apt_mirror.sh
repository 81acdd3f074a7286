#!/bin/sh
# Prints the address of the Debian mirror in apt's sources, one-line ones ('deb [options] URI suite main') and deb822
# ones ('URIs: URI'); nothing where they name none.
set -eu

{
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        sed -nE 's/^deb +(\[[^]]*\] +)?([^ ]+) .*/\2/p'
    cat /etc/apt/sources.list.d/*.sources 2>/dev/null | sed -nE 's/^URIs: *([^ ]+).*/\1/p'
} | grep -vE 'security|backports' | sed -nE 's#^((https?|file):.*/debian)/?$#\1#p' | head -n 1
