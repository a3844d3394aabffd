"""Teacher-student throughput as a table; the same as `dysonjax bench teacher-student`."""

import sys

from dysonjax.cli import main

sys.exit(main(["bench", "teacher-student", *sys.argv[1:]]))
