"""What a study has come to, a line of JSON per run, so that it goes on on another machine without the runs' folders.

A line is written when a run has ended, and synced: a study may be stopped at any time. Two studies may write to files
of their own and have these joined by `cat`.
"""

import json
import os
import pathlib
import shlex


# A recipe of `tune` that says all of itself, so that rows stay comparable whatever the defaults become.
FIXED = (
    "--head linear --head-init solved --optimizer adamw --lr 3e-4 --weight-decay 0.01 --batch-size 16 --epochs 6 "
    "--search-epochs 3 --schedule cosine --warmup 0.5 --resize squash --augment none"
)


def merged(base, change):
    """The flags of `base`, those of `change` in their place."""
    flags = {}
    for text in (base, change):
        name = None
        for word in shlex.split(text):
            if word.startswith("--"):
                name = word
                flags[name] = []
            else:
                flags[name].append(word)
    return [word for name, values in flags.items() for word in (name, *values)]


class Ledger:
    """Rows by key, in a file that is only ever appended to."""

    def __init__(self, path, fields):
        """`fields` are those of a row that tell runs apart."""
        self.path, self.fields, self.rows = pathlib.Path(path), fields, {}
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                row = json.loads(line)
                self.rows[self.key(row)] = row

    def key(self, row):
        return tuple(str(row[field]) for field in self.fields)

    def get(self, **row):
        return self.rows.get(self.key(row))

    def add(self, row):
        self.rows[self.key(row)] = row
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
