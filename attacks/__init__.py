"""Runnable abuses of files, one an idea, each with what must come out; docs/security.md has the table.

    python -m attacks                  all of them: a line each, and 1 if one did harm or broke a limit
    python -m attacks --only 'h5_*'    those whose name matches
    python -m attacks FOLDER           the files and runs' folders in a folder, whatever they are

Every input is made when it is needed, in a folder of its own, and opened in a process of its own.
"""
